"""The times of words and phones of a recording, and what is to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gtn_ebm import DataError, Graph, GraphError, compose
from gtn_ebm.dense import Span, forced_align
from recipes.speech_alignment.acoustic_model import STATES, AcousticModel
from recipes.speech_alignment.audio import Samples
from recipes.speech_alignment.corpus import Recording
from recipes.speech_alignment.features import HOP
from recipes.speech_alignment.intervals import FileAlignment, Interval
from recipes.speech_alignment.lexicon import Lexicon
from recipes.speech_alignment.transcript import (
    FILLERS,
    STAR,
    Prices,
    Token,
    Transcript,
    Word,
    transcript,
    words_of,
)

PRICES = Prices(silence=2.0, inserted=14.0, wrong=8.0, skipped=14.0, repeated=20.0, filler=14.0)
"""Of what a text does not say: see docs/design.md."""

STAR_PRICE = 0.35
"""Of each frame that is any sound, so that what the text says is preferred."""

LONGEST_WORD = 3.0
"""Seconds from which on a word is too long."""

SHORTEST_PHONE = 3
"""Frames, as few as a phone can take: it was pressed in."""

LEAST_CONFIDENCE = 0.35


class Piece(NamedTuple):
    """A run of tokens along the best path that belong together: one speaking of a word, or what is no word."""

    kind: str
    word: int
    spans: list[Span]
    tokens: list[Token]


def align(model: AcousticModel, recording: Recording, lexicon: Lexicon) -> FileAlignment:
    """Aligns a recording with its text.

    Raises:
        DataError: the sound or the text cannot be read, has nothing in it, or does not fit the other.
    """
    words = words_of(recording.text, lexicon)
    sound = recording.sound(model.rate)
    flags = (f"mended: {sound.lost} bytes were lost in a copy as text",) if sound.lost else ()
    return align_samples(model, lexicon, sound.samples, model.rate, words, recording.name, flags)


def align_samples(
    model: AcousticModel,
    lexicon: Lexicon,
    samples: Samples,
    rate: int,
    words: Sequence[Word],
    name: str = "",
    flags: tuple[str, ...] = (),
) -> FileAlignment:
    """The same of samples [N] and words."""
    emissions = model.emissions(samples, rate)
    emissions[:, model.classes :] += STAR_PRICE
    fillers = [p for filler in FILLERS if filler in lexicon for p in lexicon.pronunciations(filler)]
    graph = transcript(words, model.units, PRICES, fillers)
    pieces = best_pieces(model.topology(), emissions, graph)
    duration = len(samples) / rate
    return as_alignment(name, duration, words, pieces, flags)


def best_pieces(topology: Graph, emissions: Tensor, given: Transcript) -> list[Piece]:
    """Along the best path of emissions [T, C].

    Raises:
        DataError: the text is too long for the sound.
    """
    with torch.no_grad():
        try:
            (alignment,) = forced_align(
                emissions[None], None, [compose(topology, given.graph)], blank=None, beta=1.0
            )
        except GraphError as error:
            raise DataError(
                f"the text does not fit {len(emissions) * HOP:.2f} s of sound: it has {len(given.words)} words "
                f"({error})"
            ) from error
    pieces: list[Piece] = []
    for span in alignment.spans:
        token = given.tokens[span.label]
        spoken = token.kind == "word"
        if spoken and pieces and pieces[-1].kind in ("word", "repeated") and pieces[-1].word == token.word:
            pieces[-1].spans.append(span)
            pieces[-1].tokens.append(token)
        else:
            pieces.append(Piece(token.kind, token.word, [span], [token]))
    return pieces


def as_alignment(
    name: str, duration: float, words: Sequence[Word], pieces: Sequence[Piece], flags: tuple[str, ...] = ()
) -> FileAlignment:
    """Intervals of words and phones, with flags."""
    said = {piece.word: place for place, piece in enumerate(pieces) if piece.kind in ("word", "repeated", "wrong")}
    found: list[Interval] = []
    number, here = 0, 0.0
    for place, piece in enumerate(pieces):
        while number < len(words) and said.get(number, len(pieces)) > place and number not in said:
            if number >= piece.word:
                break
            found.append(_skipped(words[number], here))
            number += 1
        if piece.kind != "silence":
            found.append(_interval(piece, words, duration, again=said.get(piece.word) != place))
            here = found[-1].end
        if said.get(piece.word) == place and piece.kind in ("word", "repeated", "wrong"):
            number = piece.word + 1
    found += [_skipped(word, here) for word in words[number:]]
    phones = [
        _flagged_phone(Interval(*_times(span, duration), token.unit, _confidence(span)), span)
        for piece in pieces
        if piece.kind != "silence"
        for span, token in zip(piece.spans, piece.tokens, strict=True)
        if token.unit != STAR
    ]
    return FileAlignment(name, duration, tuple(found), tuple(phones), flags)


def _skipped(word: Word, time: float) -> Interval:
    return Interval(time, time, word.label, 0.0, ("skipped",))


def _interval(piece: Piece, words: Sequence[Word], duration: float, again: bool) -> Interval:
    start, end = _times(piece.spans[0], duration)[0], _times(piece.spans[-1], duration)[1]
    frames = sum(span.end - span.start for span in piece.spans)
    confidence = sum(_confidence(span) * (span.end - span.start) for span in piece.spans) / max(frames, 1)
    if piece.kind in ("inserted", "filler"):
        label = "".join(token.unit for token in piece.tokens)
        return Interval(start, end, label, confidence, ("inserted",))
    word = words[piece.word]
    flags = []
    if piece.kind == "wrong":
        flags.append("wrong" if word.pronunciations else "unknown")
    elif again:
        flags.append("repeated")
    elif confidence < LEAST_CONFIDENCE:
        flags.append("low confidence")
    if end - start > LONGEST_WORD:
        flags.append("too long")
    return Interval(start, end, word.label, confidence, tuple(flags))


def _flagged_phone(phone: Interval, span: Span) -> Interval:
    short = span.end - span.start <= SHORTEST_PHONE
    return Interval(phone.start, phone.end, phone.label, phone.confidence, ("too short",) if short else ())


def _times(span: Span, duration: float) -> tuple[float, float]:
    return round(min(span.start * HOP, duration), 6), round(min(span.end * HOP, duration), 6)


def _confidence(span: Span) -> float:
    return max(0.0, min(1.0, span.confidence))
