"""What belongs together along the best path through what may have been said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from recipes.speech_alignment.transcript import Token

SAID = ("word", "repeated", "wrong")
"""Kinds of pieces in which a word of the text is said."""

HEARD = ("word", "repeated")
"""Kinds of pieces in which it is, moreover, pronounced as the lexicon has it."""


class Sounding(NamedTuple):
    """A token as it was spoken: seconds, how many frames the best path gives it, how probable it is, and how
    much better a stretch of its word that ends in it is explained by any sound than by this one."""

    token: Token
    start: float
    end: float
    frames: int
    confidence: float
    misfit: float = 0.0


class Piece(NamedTuple):
    """What belongs together along the best path: one speaking of a word, a silence, or what is no word."""

    kind: str
    word: int
    soundings: list[Sounding]

    @property
    def start(self) -> float:
        """Seconds."""
        return self.soundings[0].start

    @property
    def end(self) -> float:
        """Seconds."""
        return self.soundings[-1].end

    def moved(self, time: float, words: int) -> Piece:
        """Later by seconds and words."""
        moved = [each._replace(start=each.start + time, end=each.end + time) for each in self.soundings]
        return Piece(self.kind, self.word + words, moved)


def pieces_of(spoken: Sequence[Sounding]) -> list[Piece]:
    """Tokens of one word put together."""
    pieces: list[Piece] = []
    for each in spoken:
        kind, word, _ = each.token
        before = pieces[-1] if pieces else None
        goes_on = (
            before
            and before.word == word
            and ((kind == "word" and before.kind in HEARD) or kind == before.kind == "filler")
        )
        if before and goes_on:
            before.soundings.append(each)
        else:
            pieces.append(Piece(kind, word, [each]))
    return pieces
