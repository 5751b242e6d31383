"""From what was spoken to intervals of words and phones, and what is to be looked at in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gtn_ebm import DataError
from recipes.speech_alignment.intervals import FileAlignment, Interval
from recipes.speech_alignment.pieces import SAID, Piece, Sounding
from recipes.speech_alignment.transcript import SILENCE, STAR, Word
from recipes.speech_alignment.windows import FASTEST

MOST_UNHEARD = 0.5
"""Share of the words of a text beyond which it is taken for another recording's."""


DOUBTFUL = "doubtful: most words are flagged, so the text may be another recording's"


class Limits(NamedTuple):
    """Of what is plausible.

    Attributes:
        word: seconds beyond which one is too long.
        phone: seconds, with which one is still too short.
        confidence: in a word, below which it is to be looked at.
        misfit: of a word, above which it is: it may have swallowed what the text lacks.
    """

    word: float
    phone: float
    confidence: float
    misfit: float


def check_fits(words: Sequence[Word], duration: float) -> None:
    """DataError where a text is far too long: nobody would like to wait for that being found out."""
    if len(words) * (1 - MOST_UNHEARD) > FASTEST * max(duration, 1.0):
        raise DataError(
            f"the text does not fit {duration:.2f} s of sound: nobody says {len(words)} words in it"
        )


def as_alignment(
    name: str,
    duration: float,
    words: Sequence[Word],
    pieces: Sequence[Piece],
    limits: Limits,
    flags: tuple[str, ...] = (),
) -> FileAlignment:
    """Intervals of words and phones, with flags. Of a word that was said again the last time counts.

    Raises:
        DataError: most words are not heard.
    """
    said = {piece.word: place for place, piece in enumerate(pieces) if piece.kind in SAID}
    found: list[Interval] = []
    number, here = 0, 0.0
    for place, piece in enumerate(pieces):
        if piece.kind == "silence":
            continue
        final = said.get(piece.word) == place
        if final:
            found += [_skipped(word, here) for word in words[number : piece.word]]
            number = piece.word + 1
        found.append(_interval(piece, words, limits, again=piece.kind in SAID and not final))
        here = piece.end
    found += [_skipped(word, here) for word in words[number:]]
    unheard = sum(bool({"skipped", "wrong"} & set(word.flags)) for word in found)
    if unheard > MOST_UNHEARD * len(words):
        raise DataError(
            f"the text does not fit {duration:.2f} s of sound: of {len(words)} words {unheard} are not heard"
        )
    phones = [
        _phone(each, limits)
        for piece in pieces
        for each in piece.soundings
        if each.token.unit not in (SILENCE, STAR)
    ]
    if sum(bool(word.flags) for word in found) > MOST_UNHEARD * len(words):
        flags = (*flags, DOUBTFUL)
    return FileAlignment(name, duration, tuple(found), tuple(phones), flags)


def _skipped(word: Word, time: float) -> Interval:
    return Interval(time, time, word.label, 0.0, ("skipped",))


def _interval(piece: Piece, words: Sequence[Word], limits: Limits, again: bool) -> Interval:
    frames = [each.frames for each in piece.soundings]
    confidence = float(np.average([each.confidence for each in piece.soundings], weights=frames))
    if piece.kind not in SAID:
        label = "".join(each.token.unit for each in piece.soundings)
        return Interval(piece.start, piece.end, label, confidence, ("inserted",))
    word, flags = words[piece.word], list[str]()
    if piece.kind == "wrong":
        flags.append("wrong" if word.pronunciations else "unknown")
    elif again:
        flags.append("repeated")
    elif confidence < limits.confidence:
        flags.append("low confidence")
    elif max(each.misfit for each in piece.soundings) > limits.misfit:
        flags.append("poor fit")
    if piece.end - piece.start > limits.word:
        flags.append("too long")
    return Interval(piece.start, piece.end, word.label, confidence, tuple(flags))


def _phone(each: Sounding, limits: Limits) -> Interval:
    flags = ("too short",) if each.end - each.start <= limits.phone else ()
    return Interval(each.start, each.end, each.token.unit, each.confidence, flags)
