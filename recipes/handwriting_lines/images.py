"""Images of lines in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.images import read_grey


def load_image(path: str | Path) -> NDArray[np.uint8]:
    """An image as grey levels, uint8 [height, width], 0 black, the way up that its EXIF data says.

    Raises:
        DataError: a file that is missing, no image, damaged, or of more than 100 million pixels.
    """
    return read_grey(path)
