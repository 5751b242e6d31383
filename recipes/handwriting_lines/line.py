"""A line of text as every source of data gives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Line:
    """A line of handwriting, its image not yet in memory.

    Attributes:
        name: unique in its data.
        text: what it says, words with one blank between them; None where that is not known.
        load: gives the image, ``(height, width)`` uint8, dark ink on a bright ground; raises
            :class:`~gtn_ebm.errors.DataError` where the file is none.
        words: x-spans of the words of the text in pixels of the image, first column and one past the last;
            None where they are not known.
    """

    name: str
    text: str | None
    load: Callable[[], NDArray[np.uint8]]
    words: tuple[tuple[int, int], ...] | None = None
