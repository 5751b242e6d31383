"""How well lines are read, and how exactly their words are found."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from gtn_ebm import DataError
from gtn_ebm.kernels import edit_distance
from recipes.handwriting_lines.line import Line
from recipes.handwriting_lines.reader import LineReader

Read = Callable[[NDArray[np.uint8]], str]
"""From the image of a line to what it says."""


def edits(desired: Sequence[Hashable], found: Sequence[Hashable]) -> int:
    """The least number of insertions, deletions and substitutions that lead from one to the other.

    >>> edits("manuscript", "manscribt"), edits("in se".split(), "inse".split())
    (2, 2)
    """
    names = {name: label for label, name in enumerate({*desired, *found})}
    labels = np.array([names[name] for name in (*desired, *found)], np.int64)
    begins = np.array([0, len(desired), len(labels)], np.int64)
    return int(edit_distance.between(labels, begins)[0, 1])


def character_errors(reader: LineReader, lines: Sequence[Line]) -> float:
    """Edits of characters, blanks between words included, divided by the characters there are."""
    wrong = sum(edits(text_of(line), reader.read(line.load()).text) for line in lines)
    return wrong / max(1, sum(len(text_of(line)) for line in lines))


def text_of(line: Line) -> str:
    """What a line says. Raises DataError where that is not known."""
    if line.text is None:
        raise DataError(f"{line.name}: nothing is known of what it says; leave it out or transcribe it")
    return line.text
