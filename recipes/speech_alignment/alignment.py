"""The times of words and phones of a recording, and what is to be looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from gtn_ebm import DataError, GraphError, compose
from gtn_ebm.dense import Span, forced_align
from recipes.speech_alignment import audio, features
from recipes.speech_alignment.acoustic_model import STATES, AcousticModel
from recipes.speech_alignment.audio import Passing, Samples
from recipes.speech_alignment.boundaries import boundaries
from recipes.speech_alignment.corpus import Recording
from recipes.speech_alignment.features import HOP
from recipes.speech_alignment.flags import Limits, as_alignment, check_fits
from recipes.speech_alignment.intervals import FileAlignment
from recipes.speech_alignment.joints import at_joints
from recipes.speech_alignment.lexicon import Lexicon, Pronunciation
from recipes.speech_alignment.pieces import Piece, Sounding, pieces_of
from recipes.speech_alignment.transcript import (
    FILLERS,
    SILENCE,
    Prices,
    Token,
    Word,
    transcript,
    words_of,
)
from recipes.speech_alignment.windows import WINDOW, in_windows

PRICES = Prices(silence=2.0, inserted=14.0, wrong=11.0, skipped=20.0, repeated=21.0, filler=14.0)
"""Of what a text does not say: see docs/design.md."""

STAR_PRICE = 0.55
"""Of each frame that is any sound, so that what the text says is preferred."""

SLACK = 0.2
"""By which any sound may explain each frame better without its being held against a word."""

DAMAGED = f"damaged: bytes were lost in a copy as text, and {audio.LONG:.0f} s are the most that are mended"
"""Flag of a long recording."""

LIMITS = Limits(word=3.0, phone=STATES * HOP, confidence=0.5, misfit=9.5)
"""A phone that lasts as few frames as it can take was pressed in."""


def align(model: AcousticModel, recording: Recording, lexicon: Lexicon) -> FileAlignment:
    """Aligns a recording with its text, a long one bit by bit, in memory that does not grow with its sound.

    Raises:
        DataError: the sound or the text cannot be read, has nothing in it, or does not fit the other.
    """
    words = words_of(recording.text, lexicon)
    _, duration = audio.rate_and_duration(recording.audio)
    if duration > audio.LONG:
        check_fits(words, duration)
        sound = Passing(audio.blocks(recording.audio, model.rate))
        pieces = in_windows(sound, model.rate, words, _Look(model, fillers_of(lexicon)))
        flags = (DAMAGED,) if audio.was_copied_as_text(recording.audio) else ()
        return as_alignment(recording.name, sound.passed / model.rate, words, pieces, LIMITS, flags)
    whole = recording.sound(model.rate)
    flags = (f"mended: bytes lost in a copy as text: {whole.lost}",) if whole.lost else ()
    return align_samples(model, whole.samples, words, lexicon, recording.name, flags)


def align_samples(
    model: AcousticModel,
    samples: Samples,
    words: Sequence[Word],
    lexicon: Lexicon,
    name: str = "",
    flags: tuple[str, ...] = (),
) -> FileAlignment:
    """The same of samples [N] at the model's rate, between −1 and 1, and words.

    Raises:
        DataError: there is nothing but silence, or the words do not fit.
    """
    duration = len(samples) / model.rate
    check_fits(words, duration)
    if duration > WINDOW:
        pieces = in_windows(Passing([samples]), model.rate, words, _Look(model, fillers_of(lexicon)))
    elif features.is_silent(features.log_mel(torch.from_numpy(samples), model.rate)):
        raise DataError("there is nothing but silence")
    else:
        spoken = soundings(model, samples, words, fillers_of(lexicon))
        pieces = pieces_of(_joined(spoken, samples, model.rate))
    return as_alignment(name, duration, words, pieces, LIMITS, flags)


def _joined(spoken: Sequence[Sounding], samples: Samples, rate: int) -> list[Sounding]:
    """The same, with pauses where their noise is if a few words were joined to a recording (``joints``).

    What passes by in windows keeps its boundaries: long recordings are cut in the pauses of those who speak,
    which are not over where the cut is.
    """
    times = [each.start / HOP for each in spoken] + [spoken[-1].end / HOP]
    pauses = [each.token.kind == "silence" for each in spoken]
    begins = [min(HOP * time, spoken[-1].end) for time in at_joints(times, pauses, samples, rate)]
    return [
        each._replace(start=start, end=end)
        for each, (start, end) in zip(spoken, pairwise(begins), strict=True)
    ]


def fillers_of(lexicon: Lexicon) -> list[Pronunciation]:
    """Of those FILLERS that the lexicon has."""
    return [phones for filler in FILLERS if filler in lexicon for phones in lexicon.pronunciations(filler)]


class _Look:
    """Aligns windows of a recording, one after the other. Where one has nothing nearly as loud as before
    it is silence: its noise, standardised, would look like speech."""

    def __init__(self, model: AcousticModel, fillers: Sequence[Pronunciation]):
        self._model, self._fillers, self._loudest = model, fillers, -math.inf

    def __call__(
        self, samples: Samples, words: Sequence[Word], *, open_start: bool, open_end: bool
    ) -> list[Piece]:
        loudest = features.loudest(torch.from_numpy(samples), self._model.rate)
        if loudest < self._loudest - features.NOTHING:
            end = len(samples) / self._model.rate
            silence = Sounding(Token("silence", 0, SILENCE), 0.0, end, math.ceil(end / HOP), 1.0)
            return [Piece("silence", 0, [silence])]
        self._loudest = max(self._loudest, loudest)
        return pieces_of(soundings(self._model, samples, words, self._fillers, open_end, open_start))


def soundings(
    model: AcousticModel,
    samples: Samples,
    words: Sequence[Word],
    fillers: Sequence[Pronunciation] = (),
    open_end: bool = False,
    open_start: bool = False,
) -> list[Sounding]:
    """What is spoken along the best path, one token after the other.

    The best path alone says what was spoken, so that what might have been said instead takes nothing from a
    clean text. When it was spoken is asked of that row of tokens alone.

    Raises:
        DataError: the text is too long for the sound.
    """
    given = transcript(words, model.units, PRICES, fillers, open_end, open_start)
    emissions = model.emissions(samples, model.rate)
    emissions[:, model.classes :] += STAR_PRICE
    with torch.no_grad():
        try:
            (alignment,) = forced_align(
                emissions[None], None, [compose(model.topology(), given.graph)], blank=None
            )
        except GraphError as error:
            raise DataError(
                f"the text of {len(words)} words is too long for {len(emissions) * HOP:.2f} s ({error})"
            ) from error
        spans, tokens = alignment.spans, [given.tokens[span.label] for span in alignment.spans]
        units = [model.units.index(token.unit) for token in tokens]
        classes = torch.from_numpy(alignment.labels)[:, None]
        better = emissions.gather(1, classes)[:, 0] - (emissions[:, -1] - STAR_PRICE) - SLACK
    change = features.change(torch.from_numpy(samples), model.rate)
    between, probable = boundaries(model, emissions, change, spans, units)
    times = [0.0, *between.tolist(), float(len(emissions))]
    end = len(samples) / model.rate
    return [
        Sounding(
            token, min(start * HOP, end), min(stop * HOP, end), span.end - span.start, float(sure), misfit
        )
        for token, span, sure, misfit, (start, stop) in zip(
            tokens, spans, probable, misfits(better.tolist(), tokens, spans), pairwise(times), strict=True
        )
    ]


def misfits(better: Sequence[float], tokens: Sequence[Token], spans: Sequence[Span]) -> list[float]:
    """Of each token the most that a stretch of frames adds up to which ends in it, and goes no further back
    than its word (Page's cumulative sum, 1954), by how much ``better`` any sound explains each frame."""
    found, total = list[float](), 0.0
    for before, token, span in zip([None, *tokens[:-1]], tokens, spans, strict=True):
        if before is None or (before.kind, before.word) != (token.kind, token.word):
            total = 0.0
        most = 0.0
        for each in better[span.start : span.end]:
            total = max(0.0, total + each)
            most = max(most, total)
        found.append(most)
    return found
