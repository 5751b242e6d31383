"""What the network sees of a line: its ink, at one height."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from gtn_ebm import DataError

HEIGHT = 48
"""Rows of what the network sees."""

MARGIN = 16
"""Columns of paper before and after the line, which no image is sure to have."""

MOST_COLUMNS = 32768
"""Of ink at that height; a longer line is refused, for it is none."""

LEAST_CONTRAST = 24
"""Grey levels between ink and paper; less is an empty page."""


def ink_of(image: NDArray[np.uint8], height: int = HEIGHT) -> NDArray[np.uint8]:
    """The ink of a line, 0 for paper to 255, uint8 ``[height, W]``, scaled to a height and without a margin.

    Args:
        image: ``[h, w]`` uint8, dark ink on a bright ground.
        height: of the result; the width keeps its proportion.

    Raises:
        DataError: no pixels, no ink, or more than MOST_COLUMNS columns at HEIGHT.
    """
    if image.ndim != 2 or image.dtype != np.uint8 or image.size == 0:
        raise DataError(f"a line must be a grey image, uint8 of [rows, columns], not {list(image.shape)}")
    rows, columns = image.shape
    if columns * HEIGHT > MOST_COLUMNS * rows:
        raise DataError(f"{columns} columns and {rows} rows are too long for one line; cut it into several")
    dark, bright = np.percentile(image[:: max(1, rows // 256), :: max(1, columns // 4096)], (0.5, 90))
    width = max(1, round(columns * height / rows))
    shrinks = height < rows
    scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if bright - dark < LEAST_CONTRAST:
        dark = float(scaled.min())  # a letter alone on a long line
    if bright - dark < LEAST_CONTRAST:
        raise DataError("there is no ink in this image; give one of a line, dark on a bright ground")
    return np.clip((bright - scaled.astype(np.float32)) * (255 / (bright - dark)), 0, 255).astype(np.uint8)
