"""A long recording bit by bit: what is held at a time depends on WINDOW, and not on how long it is.

In each window as many words are aligned as the fastest speaker says in it, and the sound may end behind any
of them. What ends before the margin stays; the next window begins there. Where for some seconds no word of
the text is heard, the sound may have what the text lacks, or the text what the sound lacks. So the place is
looked for further on in the text; where nothing there fits either, the sound is passed over until something
does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

import numpy as np

from recipes.speech_alignment.audio import Passing, Samples
from recipes.speech_alignment.pieces import HEARD, SAID, Piece, Sounding
from recipes.speech_alignment.transcript import STAR, Token, Word

WINDOW, MARGIN = 20.0, 5.0
"""Seconds of a long recording that are looked at together, and of their end that are looked at again."""

FASTEST = 5.0
"""Words a second."""

FOREIGN = 4.0
"""Seconds of speech without a word of the text from which on the place in the text may be lost."""

SURE, SURE_AHEAD = 4, 8
"""Words that are no accident once the place was lost: where the text goes on, and further on."""

AHEAD, STEP, SEARCHES = 300, 250, 4
"""Words among which the place is looked for at once, from one such stretch of the text to the next, and how
many of them in each window."""


class Look(Protocol):
    """Aligns samples with words; the sound may begin before any of the words, and end behind any."""

    def __call__(
        self, samples: Samples, words: Sequence[Word], *, open_start: bool, open_end: bool
    ) -> list[Piece]: ...


def in_windows(sound: Passing, rate: float, words: Sequence[Word], look: Look) -> list[Piece]:
    """The pieces of a recording of any length.

    Args:
        sound: of the recording.
        rate: samples, or rows of what stands for them, a second.
        words: of its text.
        look: aligns a window.
    """
    walk, begin, width = _Walk(words, look), 0, round(WINDOW * rate)
    while True:
        samples, last = sound.window(begin, width)
        kept = walk.step(samples, len(samples) / rate, last)
        walk.keep(kept, begin / rate)
        step = math.ceil(kept[-1].end * rate - 1e-6) if kept else 0  # not before what is kept ends
        if last and step >= len(samples):
            return walk.pieces
        begin += step


class Run(NamedTuple):
    """Pieces among which words of the text are heard, or seconds of speech in which none is."""

    known: bool
    pieces: list[Piece]

    @property
    def words(self) -> int:
        """How many are heard."""
        return sum(piece.kind in HEARD for piece in self.pieces)

    @property
    def first(self) -> Piece:
        """The first word that is heard."""
        return next(piece for piece in self.pieces if piece.kind in HEARD)

    def is_sure(self, words: int) -> bool:
        """Whether so many are heard, and for longer than anything else."""
        heard = sum(piece.end - piece.start for piece in self.pieces if piece.kind in HEARD)
        return self.known and self.words >= words and heard >= _foreign(self.pieces)


def runs(pieces: Sequence[Piece]) -> list[Run]:
    """Pieces put together to runs."""
    found: list[Run] = []
    for heard, group in groupby(pieces, lambda piece: piece.kind in HEARD):
        part = list(group)
        known = heard or _foreign(part) < FOREIGN
        if known and found and found[-1].known:
            found[-1].pieces.extend(part)
        else:
            found.append(Run(known, part))
    return found


def _foreign(pieces: Sequence[Piece]) -> float:
    """Seconds of what is neither a word that is heard nor silence."""
    return sum(piece.end - piece.start for piece in pieces if piece.kind not in (*HEARD, "silence"))


def passed_over(pieces: Sequence[Piece], end: float) -> list[Piece]:
    """The same as one stretch of any sound, up to a time, with silence around it."""
    before = [_cut(piece, end) for piece in pieces if piece.start < end]
    loud = [place for place, piece in enumerate(before) if piece.kind != "silence"]
    if not loud:
        return before
    part = [each for piece in before[loud[0] : loud[-1] + 1] for each in piece.soundings]
    frames = [each.frames for each in part]
    sure = float(np.average([each.confidence for each in part], weights=frames))
    star = Sounding(Token("inserted", 0, STAR), part[0].start, part[-1].end, sum(frames), sure)
    return [*before[: loud[0]], Piece("inserted", 0, [star]), *before[loud[-1] + 1 :]]


def _cut(piece: Piece, end: float) -> Piece:
    soundings = [each._replace(end=min(each.end, end)) for each in piece.soundings if each.start < end]
    return Piece(piece.kind, piece.word, soundings)


class _Walk:
    """Through a text, window by window: the ``pieces`` found, and the number of words that are ``done``."""

    def __init__(self, words: Sequence[Word], look: Look):
        self.pieces: list[Piece] = []
        self.done = 0
        self._words, self._look = words, look
        self._lost, self._searched = True, 0

    def step(self, samples: Samples, length: float, last: bool) -> list[Piece]:
        """The pieces of a window of ``length`` seconds that stay; the next one begins where they end."""
        limit = math.inf if last else WINDOW - MARGIN
        words = self._words[self.done : self.done + round(WINDOW * FASTEST)]
        whole = last and self.done + len(words) == len(self._words)
        found = runs(self._look(samples, words, open_start=False, open_end=not whole))
        first, *others = found
        if first.known and (first.is_sure(SURE) or not (self._lost and others)):
            self._lost, self._searched = False, 0
            kept = [piece for piece in first.pieces if piece.end <= limit]
            return kept or passed_over(first.pieces, limit)
        self._lost = True
        here = next((run for run in found if run.is_sure(SURE)), None)
        if here is None or here.words < SURE_AHEAD:
            here = self._ahead(samples, length, here.words if here else 0) or here
        end = limit if here is None else min(limit, here.first.start)
        return passed_over([piece for run in found for piece in run.pieces], end)

    def keep(self, found: Sequence[Piece], time: float) -> None:
        """Puts the pieces of a window that begins at this time to the others."""
        for piece in (each.moved(time, self.done) for each in found):
            before = self.pieces[-1] if self.pieces else None
            if before and before.kind == piece.kind == "inserted":
                self.pieces[-1] = _joined(before, piece)
            else:
                self.pieces.append(piece)
        said = [piece.word + 1 for piece in found if piece.kind in SAID]
        self.done += max(said, default=0)

    def _ahead(self, samples: Samples, length: float, words: int) -> Run | None:
        """Where more words are heard further on in the text, up to the end of the window.

        A sentence may stand there, too, by accident: only where the text is heard for half of a window it is
        gone on with there.
        """
        for _ in range(SEARCHES):
            place = self.done + self._searched
            if place >= len(self._words):
                self._searched = 0
                return None
            self._searched += STEP
            further = self._words[place : place + AHEAD]
            *_, run = runs(self._look(samples, further, open_start=True, open_end=True))
            if run.is_sure(max(SURE_AHEAD, words + 1)) and place + run.first.word > self.done:
                self._searched = 0
                if length - run.first.start >= min(WINDOW, length) / 2:
                    self.done = place + run.first.word
                return run
        return None


def _joined(one: Piece, other: Piece) -> Piece:
    """Two stretches of any sound as one."""
    first, second = one.soundings[0], other.soundings[-1]
    frames = first.frames + second.frames
    sure = (first.confidence * first.frames + second.confidence * second.frames) / frames
    return Piece("inserted", other.word, [first._replace(end=second.end, frames=frames, confidence=sure)])
