"""From the columns of letters to those of words: where the ink of a word begins and ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from recipes.handwriting_lines.ink import ink_of
from recipes.handwriting_lines.reader import Letter

LEAST_INK = 64
"""Of 255, in some row of a column that is not between words."""


def word_spans(image: NDArray[np.uint8], letters: Sequence[Letter]) -> list[tuple[int, int]]:
    """The first column of each word and one past its last.

    Words are parted by the widest run of columns without ink between the middle of the one's last letter and
    the middle of the other's first.

    Args:
        image: of the line, grey.
        letters: of its text in order, blanks between words among them.
    """
    paper = (
        len(image) // 24
    )  # as if there were as much more on either side, where a letter may touch the edge
    inked = np.pad((ink_of(image, len(image)) >= LEAST_INK).any(axis=0), paper)
    words = [list(some) for blank, some in groupby(letters, lambda letter: letter.text == " ") if not blank]
    if not words:
        return []
    middles = [(_middle(word[0]) + paper, _middle(word[-1]) + paper) for word in words]
    lasts, firsts = [0, *(last for _, last in middles)], [*(first for first, _ in middles), len(inked)]
    gaps = [_gap(inked, last, first) for last, first in zip(lasts, firsts, strict=True)]
    starts, ends = [end - paper for _, end in gaps[:-1]], [start - paper for start, _ in gaps[1:]]
    return [(start, max(start + 1, end)) for start, end in zip(starts, ends, strict=True)]


def _middle(letter: Letter) -> int:
    return int((letter.start + letter.end) / 2)


def _gap(inked: NDArray[np.bool_], start: int, end: int) -> tuple[int, int]:
    """The widest run of columns without ink from ``start`` to ``end``; midway where none is."""
    runs = _runs(inked[start:end])
    widest = max(runs, key=lambda run: run[1] - run[0], default=None)
    if widest is None:
        return (start + end) // 2, (start + end) // 2
    # All of it, even if the network was sure of a letter beside its ink.
    before, after = np.flatnonzero(inked[: start + widest[0]]), np.flatnonzero(inked[start + widest[1] :])
    return (
        int(before[-1]) + 1 if before.size else 0,
        start + widest[1] + int(after[0]) if after.size else len(inked),
    )


def _runs(inked: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Begin and end of each run of False."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], inked, [True]]).astype(np.int8)))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
