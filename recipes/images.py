"""Images of any usual format as grey levels."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from gtn_ebm import DataError

IMAGE_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
MAXIMUM_PIXELS = 100_000_000

Reduction = Callable[[int, int], float]
"""From the columns and rows of an image to the scale, 1 or less, at which it will be used."""

# What undoes each of EXIF's orientations; 1 is upright.
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_grey(path: str | Path, reduction: Reduction = lambda columns, rows: 1.0) -> NDArray[np.uint8]:
    """An image as grey levels, uint8 [height, width], 0 black; the way up that its EXIF data says.

    Transparent parts show white paper.

    Args:
        path: of the file.
        reduction: tells to what scale the image will be reduced, so that what is not needed is not decoded;
            what comes back is no smaller than that.

    Raises:
        DataError: no image, a damaged one, or one of more than 100 million pixels.
    """
    path = Path(path)
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {problem}; give an image ({', '.join(IMAGE_FORMATS)})")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; copy the image again")
    try:
        return _decode(path, reduction)
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(_too_large(path)) from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path}: not an image of a format known here, or damaged ({', '.join(IMAGE_FORMATS)})"
        ) from error
    except Exception as error:  # a damaged file makes Pillow's decoders raise nearly every kind of error
        raise DataError(
            f"{path}: cannot be read as an image ({error}); it may be damaged or in another format than "
            f"{', '.join(IMAGE_FORMATS)}: save it again as PNG or JPEG"
        ) from error


def _decode(path: Path, reduction: Reduction) -> NDArray[np.uint8]:
    # Not Image.open(path): Pillow then maps plain pixels into memory, and mixes up a sideways TIFF's.
    with path.open("rb") as file, Image.open(file, formats=IMAGE_FORMATS) as image:
        if image.width * image.height > MAXIMUM_PIXELS:
            raise DataError(_too_large(path))
        # Pillow turns a TIFF upright by itself, the other formats it leaves as stored.
        orientation = 1 if image.format == "TIFF" else image.getexif().get(ExifTags.Base.Orientation, 1)
        scale = reduction(*(image.size[::-1] if orientation in (5, 6, 7, 8) else image.size))
        # Lets a JPEG be decoded at 1/2 to 1/8 of its size, never below what is asked for.
        image.draft(None, (math.ceil(image.width * scale), math.ceil(image.height * scale)))
        grey = _grey(image)
        if orientation in _TO_UPRIGHT:
            grey = grey.transpose(_TO_UPRIGHT[orientation])
    return np.array(grey, dtype=np.uint8)


def _grey(image: Image.Image) -> Image.Image:
    """An image of mode L: transparent parts white, 16 bits and floats scaled to 8 bits."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_eight_bits(image))
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        paper = Image.new("RGBA", colour.size, "white")
        image = Image.alpha_composite(paper, colour)
    return image.convert("L")


def _eight_bits(image: Image.Image) -> NDArray[np.uint8]:
    values = np.asarray(image)
    if image.mode == "F":
        if not np.isfinite(values).all():
            raise ValueError("it has pixels that are not finite numbers")
        brightest = float(values.max())
        white = next((level for level in (1.0, 255.0, 65535.0) if brightest <= level), brightest)
    else:
        white = 65535.0
    return np.rint(np.clip(values, 0, white) * (255.0 / white)).astype(np.uint8)


def _too_large(path: Path) -> str:
    return (
        f"{path}: more than {MAXIMUM_PIXELS // 10**6} million pixels; reduce the image or cut out what is "
        "to be read"
    )
