"""Arrays and hash tables that searches outgrow: kernels say when, and their callers give larger ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

FREE = -1
"""What stands in a place of a table that holds nothing."""


def grown(records: NDArray[Any], length: int) -> NDArray[Any]:
    """The records, numbers or rows, with room for ``length`` of them."""
    larger = np.empty((length, *records.shape[1:]), records.dtype)
    larger[: len(records)] = records
    return larger


def hash_table(fill: Callable[..., None], keys: NDArray[Any], count: int) -> NDArray[np.int32]:
    """A table of the first ``count`` keys, entered by ``fill``, at most half full when all keys are there."""
    table = np.full(1 << int(2 * len(keys) - 1).bit_length(), FREE, np.int32)
    fill(keys, count, table)
    return table
