"""Amounts in folders, their images, and the single digits that synthetic amounts are made of."""

import csv
import gzip
import io
import json
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gtn_ebm.errors import DataError
from recipes.images import read_grey

Box = tuple[float, float, float, float]

MAXIMUM_HEIGHT = 512
MAXIMUM_WIDTH = 4096

_SPLIT_SEED = 20141


@dataclass(frozen=True)
class Example:
    """One amount: its file name within `images/`, where that is, and the digits one should read."""

    file: str
    path: Path
    digits: str


@dataclass(frozen=True)
class Digits:
    """Single handwritten digits: `images` uint8 [n, s, s] with ink 255 on 0, `labels` uint8 [n]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def read_folder(directory: str | Path) -> list[Example]:
    """The examples of a folder of `images/` and `labels.csv` (columns `file,digits`), in the csv's order.

    Raises DataError, naming the file and the line, for anything missing, empty, doubled or unreadable, and
    for an image name that leads out of `images/`.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise DataError(f"{directory}: no such folder; give one that holds images/ and labels.csv")
    images, labels = directory / "images", directory / "labels.csv"
    if not images.is_dir():
        raise DataError(f"{images}: no such folder; put the images that labels.csv names there")
    rows = _csv_rows(labels)
    examples: dict[str, Example] = {}
    for line, file, digits in rows:
        where = f"{labels}, line {line}"
        if file in examples:
            raise DataError(f"{where}: {file!r} is labelled a second time; keep one line an image")
        if not re.fullmatch("[0-9]+", digits):
            raise DataError(
                f"{where}: the label of {file!r} is {digits!r}; write one or more digits 0 to 9 only"
            )
        examples[file] = Example(file, _image_path(images, file, where), digits)
    if not examples:
        raise DataError(f"{labels}: no examples; add one line FILE,DIGITS an image")
    return list(examples.values())


def read_boxes(directory: str | Path) -> dict[str, list[Box]]:
    """The boxes of the digits of each image, from `boxes.json`; {} where a folder has none.

    A box is x, y, width, height in pixels of the image as stored; boxes come in reading order. The file maps
    an image's name to a list of `{"digit": "7", "bbox_xywh": [x, y, w, h]}`. Raises DataError for anything
    else.
    """
    path = Path(directory) / "boxes.json"
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected an object that maps image names to lists of boxes")
    return {file: _boxes_of(entries, f"{path}, {file!r}") for file, entries in content.items()}


def split(examples: list[Example]) -> dict[str, list[Example]]:
    """The parts "train" (80 %), "validation" (10 %) and "test" (10 %), the same ones in every run.

    The order within a part is random too, so that the first examples of a part are a fair sample of it.
    Raises DataError for fewer than three examples.
    """
    if len(examples) < 3:
        raise DataError(f"{len(examples)} examples cannot be split into three parts; give at least 3")
    by_name = sorted(examples, key=lambda example: example.file)
    # RandomState's stream is frozen: another version of numpy gives the same parts.
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(by_name))
    shuffled = [by_name[i] for i in order]
    held_out = max(1, len(examples) // 10)
    return {
        "train": shuffled[2 * held_out :],
        "validation": shuffled[:held_out],
        "test": shuffled[held_out : 2 * held_out],
    }


def load_image(path: str | Path) -> NDArray[np.uint8]:
    """An image as grey levels, uint8 [height, width], 0 black; the way up that its EXIF data says.

    Transparent parts show white paper. What is larger than 512 rows or 4096 columns is reduced to that by
    averaging areas. Raises DataError for a file that is no image, is damaged, holds more than 100 million
    pixels, or is more than twice as high as wide (an amount photographed sideways).
    """
    pixels = read_grey(path, _reduction)
    height, width = pixels.shape
    if height > 2 * width:
        raise DataError(
            f"{path}: {width} columns and {height} rows: an amount is wider than high, so this photograph is "
            "probably rotated; turn it upright or cut the amount out"
        )
    scale = _reduction(width, height)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return pixels


def read_digits(directory: str | Path | None = None) -> Digits:
    """The digits of MNIST's training files in `directory`, or without one the 8 x 8 digits of scikit-learn.

    The files are `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, with or without `.gz`.
    Raises DataError for files that are missing, cut short, too long or inconsistent.
    """
    if directory is None:
        return _scikit_learn_digits()
    directory = Path(directory)
    images = _read_idx(directory, "train-images-idx3-ubyte", dimensions=3)
    labels = _read_idx(directory, "train-labels-idx1-ubyte", dimensions=1)
    if len(images) != len(labels):
        raise DataError(f"{directory}: {len(images)} images but {len(labels)} labels; fetch both files again")
    if len(images) == 0 or images.shape[1] != images.shape[2] or images.shape[1] == 0:
        raise DataError(f"{directory}: expected square images, found an array of shape {images.shape}")
    if labels.max() > 9:
        raise DataError(f"{directory}: a label is {labels.max()}; expected digits 0 to 9")
    return Digits(images, labels)


def _csv_rows(path: Path) -> list[tuple[int, str, str]]:
    """The line number, file and digits of each row."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); write a csv with columns file,digits"
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        header = next(reader, [])
        missing = [column for column in ("file", "digits") if column not in header]
        if missing:
            raise DataError(
                f"{path}, line 1: no column {' and no column '.join(missing)}; begin with file,digits"
            )
        file, digits = header.index("file"), header.index("digits")
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(row)} fields where line 1 has {len(header)}"
                )
            rows.append((reader.line_num, row[file], row[digits]))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not a csv ({error})") from error
    return rows


def _image_path(images: Path, file: str, where: str) -> Path:
    """The path of an image named in a label file, which nobody but its author vouches for."""
    if file in ("", ".", "..") or re.search(r"[/\\:\0]", file):
        raise DataError(f"{where}: {file!r} is not a plain file name; name a file that lies in {images}")
    path = images / file
    if not path.is_file():
        raise DataError(f"{where}: no image {path}; add it or remove the line")
    if not path.resolve().is_relative_to(images.resolve()):
        raise DataError(f"{where}: {path} is a link out of the folder; put the image itself there")
    return path


def _boxes_of(entries: Any, where: str) -> list[Box]:
    if not isinstance(entries, list):
        raise DataError(f"{where}: expected a list of boxes")
    boxes = []
    for number, entry in enumerate(entries):
        numbers = entry.get("bbox_xywh") if isinstance(entry, dict) else None
        if (
            not isinstance(numbers, list)
            or len(numbers) != 4
            or any(type(n) not in (int, float) for n in numbers)
        ):
            raise DataError(f"{where}, box {number}: expected bbox_xywh with four numbers, found {numbers!r}")
        x, y, width, height = (float(n) for n in numbers)
        if not np.isfinite([x, y, width, height]).all() or width <= 0 or height <= 0:
            raise DataError(f"{where}, box {number}: {numbers} is no box; width and height must be above 0")
        boxes.append((x, y, width, height))
    centres = [x + width / 2 for x, _, width, _ in boxes]
    if centres != sorted(centres):
        raise DataError(f"{where}: the boxes are not in order from left to right")
    return boxes


def _reduction(width: int, height: int) -> float:
    return min(1.0, MAXIMUM_HEIGHT / height, MAXIMUM_WIDTH / width)


def _read_idx(directory: Path, name: str, dimensions: int) -> NDArray[np.uint8]:
    """An idx file of bytes: two zeros, the type 8, the number of dimensions, the sizes, the values."""
    plain, packed = directory / name, directory / f"{name}.gz"
    path = plain if plain.is_file() else packed
    if not path.is_file():
        raise DataError(f"{packed}: no such file; put MNIST's {name}.gz there")
    try:
        with gzip.open(path, "rb") if path == packed else path.open("rb") as file:
            header = file.read(4 + 4 * dimensions)
            if header[:4] != bytes((0, 0, 8, dimensions)) or len(header) != 4 + 4 * dimensions:
                raise DataError(
                    f"{path}: not an idx file of bytes with {dimensions} dimensions; fetch it again"
                )
            shape = struct.unpack(f">{dimensions}I", header[4:])
            size = int(np.prod([int(n) for n in shape], dtype=object))
            values = file.read(size + 1)
    except (OSError, EOFError, zlib.error, OverflowError, MemoryError) as error:
        raise DataError(f"{path}: cut short or damaged ({error}); fetch it again") from error
    if len(values) != size:
        relation = "fewer" if len(values) < size else "more"
        raise DataError(f"{path}: {relation} than the {size} bytes that its header announces; fetch it again")
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def _scikit_learn_digits() -> Digits:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            "the built-in digits need scikit-learn: pip install scikit-learn, or give MNIST"
        ) from error
    bunch = load_digits()
    return Digits(np.rint(bunch.images * (255 / 16)).astype(np.uint8), bunch.target.astype(np.uint8))
