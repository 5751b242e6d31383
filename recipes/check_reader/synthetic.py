"""Synthetic amounts: single handwritten digits put side by side, on the printed background of a cheque.

What varies between writers (size, slant, pen, spacing, marks) is chosen once for an amount and varied a
little for each symbol. Every amount comes from a random stream of its own, so example 17 of a set is the
same image whichever process draws it, and whatever was drawn before.
"""

import csv
import json
import math
import shutil
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from skimage.morphology import skeletonize

from gtn_ebm.errors import DataError
from recipes.check_reader.data import Box, Digits

Ink = NDArray[np.float32]
"""How much ink lies on each pixel: float32 [h, w] in [0, 1]."""

_WORK_HEIGHT = 48  # rows of a digit while its strokes are worked on
_WORK_SIZE = (88, 60)  # columns and rows of the sheet it is worked on, with room for strokes that are added

# How often amounts have 1, 2, ... 8 digits, and begin with the digits 1, 2, ... 9 (roughly Benford's law).
_LENGTHS = np.array([0.004, 0.012, 0.1, 0.33, 0.46, 0.08, 0.01, 0.004])
_FIRST_DIGITS = np.array([0.31, 0.17, 0.125, 0.095, 0.085, 0.065, 0.055, 0.045, 0.05])
_SEPARATORS = {".": 0.5, ",": 0.07, " ": 0.15, "": 0.28}
_PREFIXES = {"": 0.955, "$": 0.02, "*": 0.01, "#": 0.005, ".": 0.01}
_ENDINGS = {
    "": 0.68,
    ".": 0.14,
    ",": 0.03,
    "-": 0.045,
    ".-": 0.035,
    ",-": 0.01,
    ".--": 0.005,
    "--": 0.005,
    "=": 0.02,
    ".=": 0.005,
    "≠": 0.01,
    "00/100": 0.01,
    "oo": 0.015,
    ",00": 0.01,
    ".00": 0.005,
}
# Widths of the digits 0, 1, ... 9 relative to those of the digits they are made from.
_WIDTHS = (1.07, 1.1, 0.9, 1.0, 0.74, 1.0, 0.92, 0.9, 1.03, 0.92)


@dataclass(frozen=True)
class SyntheticAmount:
    """An image (uint8 [h, w]) of an amount, and what is on it.

    `digits` is what a reader should answer: cents are part of it unless they are zero. `drawn` has all
    symbols from left to right, a space for a wide gap, an "o" for a small raised zero, "≠" for a dash with
    strokes through it. A box is x, y, width, height in pixels: `boxes` has one for each of `digits`,
    `drawn_boxes` one for each of `drawn`.
    """

    image: NDArray[np.uint8]
    digits: str
    drawn: str
    boxes: list[Box]
    drawn_boxes: list[Box]


@dataclass(frozen=True)
class _Symbol:
    character: str
    in_answer: bool
    small: bool = False


@dataclass(frozen=True)
class _Writer:
    """What stays the same within one amount; lengths in pixels of the image."""

    height: float
    slant: float  # columns to the right per row upwards
    width: float  # factor on the width of the digits
    pen: float  # width of a stroke
    gap: float  # mean free space between neighbours, in heights
    zero: float  # height of a 0 in heights
    unsteadiness: float  # standard deviation of the pen's way from the intended
    crosses_seven: bool
    upstroke_of_one: float  # its length in heights; 0: none
    mirrors_nine: bool
    joins: float  # the chance that the pen stays down between two digits


class Amounts:
    """An endless set of synthetic amounts, written with the given digits.

    The same `digits` and `seed` give the same set. Raises DataError where a digit has no image.

    >>> from recipes.check_reader.data import read_digits
    >>> amount = Amounts(read_digits(), seed=1).render(5)
    >>> len(amount.boxes) == len(amount.digits)
    True
    """

    def __init__(self, digits: Digits, seed: int = 0) -> None:
        if seed < 0:
            raise DataError(f"seed {seed}: give 0 or more")
        missing = sorted(set(range(10)) - set(digits.labels.tolist()))
        if missing:
            raise DataError(f"no image of the digits {missing}; give images of all ten")
        self._images = digits.images
        self._upright = _upright_maps(digits.images)
        self._of_class = [np.flatnonzero(digits.labels == label) for label in range(10)]
        self._seed = seed

    def render(self, index: int) -> SyntheticAmount:
        """Amount number `index` (0, 1, ...) of this set. Raises IndexError below 0."""
        if index < 0:
            raise IndexError(f"amount {index}: give 0 or more")
        random = np.random.default_rng([self._seed, index])
        symbols, writer = _symbols(random), _writer(random)
        ink, boxes = self._write(random, writer, symbols)
        image = _photograph(random, _background(random, *ink.shape), ink)
        return SyntheticAmount(
            image,
            "".join(symbol.character for symbol in symbols if symbol.in_answer),
            "".join(symbol.character for symbol in symbols),
            [box for box, symbol in zip(boxes, symbols, strict=True) if symbol.in_answer],
            boxes,
        )

    def _write(self, random: Generator, writer: _Writer, symbols: list[_Symbol]) -> tuple[Ink, list[Box]]:
        """The ink of all symbols on one sheet, cut close around them, and the box of each symbol."""
        pieces: list[Ink] = []
        corners: list[tuple[int, int]] = []
        slope, x, previous = random.normal(0, 0.025), 0.0, ""
        for symbol in symbols:
            piece, below = self._symbol(random, writer, symbol)
            # No neighbour may overtake another: the boxes stay in reading order.
            overlap = 0.4 * min(piece.shape[1], pieces[-1].shape[1]) if pieces else 0
            x += max(_gap(random, writer, previous, symbol.character), -overlap)
            baseline = slope * x + random.normal(0, 0.04) * writer.height
            if symbol.small:
                baseline -= 0.5 * writer.height
            pieces.append(piece)
            corners.append((round(x), round(baseline + below - piece.shape[0])))
            x += piece.shape[1]
            previous = symbol.character
        ink, boxes = _sheet(random, writer, pieces, corners)
        for box, neighbour, (one, other) in zip(boxes, boxes[1:], pairwise(symbols), strict=False):
            if one.character.isdigit() and other.character.isdigit() and random.random() < writer.joins:
                _join(random, writer, ink, box, neighbour)
        return ink, boxes

    def _symbol(self, random: Generator, writer: _Writer, symbol: _Symbol) -> tuple[Ink, float]:
        """The ink of one symbol, cut close, and how far it reaches below the baseline."""
        character = "0" if symbol.character == "o" else symbol.character
        if not character.isdigit():
            return _mark(random, writer, character)
        label = int(character)
        height = writer.height * np.exp(random.normal(0, 0.1)) * (0.5 if symbol.small else 1.0)
        if label == 0:
            height *= writer.zero
        images = self._of_class[label]
        index = images[random.integers(len(images))]
        image = cv2.warpAffine(self._images[index], self._upright[index], _WORK_SIZE)
        scale = height / _WORK_HEIGHT
        strokes = _strokes(random, writer, image, label, min(writer.pen / scale, 0.2 * _WORK_HEIGHT))
        width = writer.width * _WIDTHS[label] * np.exp(random.normal(0, 0.1))
        return _placed(random, writer, strokes, scale, width), abs(random.normal(0, 0.03)) * height


def write_folder(directory: str | Path, count: int, digits: Digits, seed: int = 0) -> None:
    """Writes the first `count` amounts of a set as `images/*.png`, `labels.csv` and `boxes.json`.

    All or nothing: the folder appears when it is complete. Raises DataError where `directory` exists already.
    """
    directory = Path(directory)
    if directory.exists():
        raise DataError(f"{directory}: exists already; give the name of a new folder")
    directory.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        _write_files(beside, Amounts(digits, seed), count)
        beside.chmod(0o755)
        beside.replace(directory)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_files(directory: Path, amounts: Amounts, count: int) -> None:
    (directory / "images").mkdir()
    boxes = {}
    with (directory / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        labels = csv.writer(file, lineterminator="\n")
        labels.writerow(("file", "digits"))
        for index in range(count):
            amount, name = amounts.render(index), f"synthetic_{index:06d}.png"
            if not cv2.imwrite(str(directory / "images" / name), amount.image):
                raise DataError(f"{directory / 'images' / name}: could not be written; is the disk full?")
            labels.writerow((name, amount.digits))
            boxes[name] = [
                {"digit": digit, "bbox_xywh": list(box)}
                for digit, box in zip(amount.digits, amount.boxes, strict=True)
            ]
    (directory / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")


# What is written -------------------------------------------------------------------------------------------


def _choice(random: Generator, chances: dict[str, float]) -> str:
    weights = np.fromiter(chances.values(), float)
    return list(chances)[random.choice(len(weights), p=weights / weights.sum())]


def _amount(random: Generator) -> str:
    """The digits of a whole amount, round ones being more common."""
    length = 1 + random.choice(len(_LENGTHS), p=_LENGTHS / _LENGTHS.sum())
    digits = [
        1 + random.choice(9, p=_FIRST_DIGITS / _FIRST_DIGITS.sum()),
        *random.integers(0, 10, length - 1),
    ]
    zeros = random.choice([0, 1, 2, 3, 4], p=[0.72, 0.06, 0.07, 0.13, 0.02])
    for position in range(max(1, length - zeros), length):
        digits[position] = 0
    return "".join(map(str, digits))


def _symbols(random: Generator) -> list[_Symbol]:
    """All that is drawn for one amount, from left to right."""
    amount, prefix, ending = _amount(random), _choice(random, _PREFIXES), _choice(random, _ENDINGS)
    separator = _choice(random, _SEPARATORS)
    if ending in (",00", ".00"):
        separator = "." if ending[0] == "," else ","
    head = len(amount) % 3 or 3
    groups = [amount[:head], *(amount[start : start + 3] for start in range(head, len(amount), 3))]
    body = separator.join(groups)
    if ending in (",00", ".00") and random.random() < 0.3:  # cents that count
        body, ending = f"{body}{ending[0]}{random.integers(1, 100):02d}", ""
    small = ending in ("00/100", "oo")
    return [
        *(_Symbol(character, False) for character in prefix),
        *(_Symbol(character, character.isdigit()) for character in body),
        *(_Symbol(character, False, small) for character in ending),
    ]


def _writer(random: Generator) -> _Writer:
    height = float(np.clip(38 * np.exp(random.normal(0, 0.14)), 22, 60))
    return _Writer(
        height=height,
        slant=float(np.clip(random.normal(0.28, 0.22), -0.18, 1.0)),
        width=float(np.exp(random.normal(0.05, 0.17))),
        pen=float(np.clip(height * 0.078 * np.exp(random.normal(0, 0.25)), 1.6, 6.5)),
        gap=float(random.normal(0.03, 0.08)),
        zero=float(random.choice([1.0, random.uniform(0.55, 0.9)])),
        unsteadiness=float(random.uniform(0.1, 1.0)),
        crosses_seven=bool(random.random() < 0.4),
        upstroke_of_one=float(random.uniform(0.3, 1.0)) if random.random() < 0.4 else 0.0,
        mirrors_nine=bool(random.random() < 0.2),
        joins=float(random.choice([0.0, 0.3], p=[0.85, 0.15])),
    )


def _gap(random: Generator, writer: _Writer, previous: str, symbol: str) -> float:
    """The free space before a symbol, below 0 where it overlaps its neighbour."""
    if previous == "":
        return 0.0
    if symbol == " ":
        return float(random.uniform(0.1, 0.4) * writer.height)
    spread = 0.04 if not (previous.isdigit() and symbol.isdigit()) else 0.1
    wide = random.exponential(0.3) if symbol in "-=≠" and previous != "-" else 0.0
    return float((writer.gap + random.normal(0, spread) + wide) * writer.height)


# Strokes ---------------------------------------------------------------------------------------------------


def _upright_maps(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The affine map [n, 2, 3] of each image onto the work sheet: upright, and of the work height."""
    side = images.shape[1]
    maps = np.empty((len(images), 2, 3))
    rows = np.arange(side, dtype=np.float64)
    for start in range(0, len(images), 4096):
        part = images[start : start + 4096].astype(np.float64)
        mass = np.maximum(part.sum((1, 2)), 1e-9)
        column_sums, row_sums = part.sum(1), part.sum(2)
        x, y = column_sums @ rows / mass, row_sums @ rows / mass
        covariance = np.einsum("nyx,y,x->n", part, rows, rows, optimize=True) / mass - x * y
        variance = np.maximum(row_sums @ rows**2 / mass - y**2, 1e-9)
        slant = np.clip(covariance / variance, -1, 1)
        inked = row_sums > 0.1 * row_sums.max(1, keepdims=True)
        top, bottom = inked.argmax(1), side - inked[:, ::-1].argmax(1)
        scale = _WORK_HEIGHT / np.maximum(bottom - top, 1)
        middle = np.array(_WORK_SIZE) / 2
        stop = start + len(part)
        maps[start:stop, 0, 0] = scale
        maps[start:stop, 0, 1] = -scale * slant
        maps[start:stop, 0, 2] = middle[0] - scale * (x - slant * y)
        maps[start:stop, 1, 0] = 0
        maps[start:stop, 1, 1] = scale
        maps[start:stop, 1, 2] = middle[1] - scale * (top + bottom - 1) / 2
    return maps


def _strokes(random: Generator, writer: _Writer, image: NDArray[np.uint8], label: int, pen: float) -> Ink:
    """A digit on the work sheet, drawn anew with a pen of the given width in the sheet's pixels."""
    if label == 9 and writer.mirrors_nine:
        image = np.ascontiguousarray(image[:, ::-1])
    middle = skeletonize(cv2.GaussianBlur(image, (0, 0), 1.4) > 105)
    distance = cv2.distanceTransform((~middle).view(np.uint8), cv2.DIST_L2, 3)
    sheet = (np.clip(pen / 2 - distance + 0.5, 0, 1) * 255).astype(np.uint8)
    width = max(1, round(pen))
    if label == 7 and writer.crosses_seven:
        _cross(random, sheet, width)
    if label == 1 and writer.upstroke_of_one > 0:
        _upstroke(random, sheet, width, writer.upstroke_of_one)
    return sheet.astype(np.float32) / 255


def _line(sheet: NDArray[np.uint8], start: tuple[float, float], end: tuple[float, float], width: int) -> None:
    points = [(round(x * 16), round(y * 16)) for x, y in (start, end)]
    cv2.line(sheet, points[0], points[1], 255, width, cv2.LINE_AA, 4)


def _cross(random: Generator, sheet: NDArray[np.uint8], width: int) -> None:
    """The bar through a 7."""
    y = _WORK_SIZE[1] / 2 + _WORK_HEIGHT * random.uniform(-0.08, 0.1)
    row = np.flatnonzero(sheet[round(y)] > 127)
    x = row.mean() if len(row) else sheet.shape[1] / 2
    reach, rise = _WORK_HEIGHT * random.uniform(0.15, 0.35), _WORK_HEIGHT * random.normal(0.02, 0.05)
    _line(sheet, (x - reach, y + rise), (x + reach, y - rise), width)


def _upstroke(random: Generator, sheet: NDArray[np.uint8], width: int, length: float) -> None:
    """The stroke that leads up to the top of a 1."""
    y = (_WORK_SIZE[1] - _WORK_HEIGHT + width) / 2 + 2
    row = np.flatnonzero(sheet[round(y) + 2] > 127)
    x = row.mean() if len(row) else sheet.shape[1] / 2
    down = min(length, 0.95) * _WORK_HEIGHT
    _line(sheet, (x, y), (x - down * random.uniform(0.3, 0.6), y + down * random.uniform(0.7, 1.0)), width)


def _placed(random: Generator, writer: _Writer, strokes: Ink, scale: float, width: float) -> Ink:
    """Strokes from the work sheet at their final size, slanted and a little turned, cut close."""
    slant, turn = writer.slant + random.normal(0, 0.06), random.normal(0, 0.04)
    linear = scale * np.array(((width, -slant - turn), (width * turn, 1)))
    rows = int(strokes.shape[0] * scale) + 6
    columns = int(strokes.shape[1] * scale * (width + abs(slant))) + 6
    shift = np.array((columns, rows)) / 2 - linear @ (np.array(_WORK_SIZE) / 2)
    placed = cv2.warpAffine(strokes, np.column_stack((linear, shift)), (columns, rows))
    return _cut(np.asarray(placed, np.float32))


def _cut(ink: Ink) -> Ink:
    """The part of a sheet that has ink on it; one blank pixel where none has."""
    inked = ink > 0.3
    rows, columns = np.flatnonzero(inked.any(1)), np.flatnonzero(inked.any(0))
    if len(rows) == 0:
        return np.zeros((1, 1), np.float32)
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _mark(random: Generator, writer: _Writer, symbol: str) -> tuple[Ink, float]:
    """The ink of a symbol that is no digit, and how far it reaches below the baseline."""
    if symbol == " ":
        return np.zeros((1, 1), np.float32), 0.0
    strokes, below = _MARKS[symbol]
    stretch = {"-": random.uniform(0.6, 2.2), "=": random.uniform(0.7, 1.4)}.get(symbol, 1.0)
    pen = writer.pen * random.uniform(0.8, 1.1) * (1.3 if symbol == "." else 1.0)
    lines = []
    for stroke in strokes:
        points = (
            np.array(stroke) * (stretch, 1.0)
            + random.normal(0, 0.03, 2)
            + random.normal(0, 0.02, (len(stroke), 2))
        )
        points[:, 0] -= writer.slant * points[:, 1]
        lines.append(points * writer.height)
    return _pen_lines(lines, pen), (below + random.normal(0, 0.05)) * writer.height


def _pen_lines(lines: list[NDArray[np.float64]], pen: float) -> Ink:
    """The ink of lines through points x, y [n, 2] in pixels, cut close."""
    finer = 4  # drawn larger, since OpenCV draws whole widths only
    points = np.concatenate(lines)
    origin = points.min(0) - pen
    columns, rows = np.ceil(points.max(0) + pen - origin).astype(int) + 1
    sheet = np.zeros((rows * finer, columns * finer), np.uint8)
    for line in lines:
        corners = np.rint((line - origin) * finer * 16).astype(np.int32)
        cv2.polylines(sheet, [corners], False, 255, max(1, round(pen * finer)), cv2.LINE_8, 4)
    reduced = cv2.resize(sheet, (columns, rows), interpolation=cv2.INTER_AREA)
    return _cut(np.asarray(reduced, np.float32) / np.float32(255))


def _join(random: Generator, writer: _Writer, ink: Ink, box: Box, neighbour: Box) -> None:
    """The line of a pen that stays on the paper from one digit to the next."""
    start = (box[0] + 0.75 * box[2], box[1] + random.uniform(0.05, 0.3) * box[3])
    end = (neighbour[0] + 0.25 * neighbour[2], neighbour[1] + random.uniform(0.05, 0.3) * neighbour[3])
    if end[0] - start[0] > 0.6 * writer.height:  # too far apart
        return
    sheet = np.zeros(ink.shape, np.uint8)
    _line(sheet, start, end, max(1, round(0.8 * writer.pen)))
    np.maximum(ink, sheet.astype(np.float32) / 255, out=ink)


# The strokes of each mark, points in heights with y downwards, and how far it reaches below the baseline.
_MARKS: dict[str, tuple[list[list[tuple[float, float]]], float]] = {
    ".": ([[(0, 0), (0.03, 0.02)]], 0.0),
    ",": ([[(0.04, 0), (0.05, 0.08), (-0.03, 0.22)]], 0.15),
    "-": ([[(-0.25, 0.02), (0.25, -0.02)]], -0.4),
    "=": ([[(-0.25, -0.08), (0.25, -0.1)], [(-0.25, 0.1), (0.25, 0.08)]], -0.3),
    "≠": (
        [[(-0.45, 0.02), (0.45, -0.02)], [(-0.08, 0.15), (0.0, -0.15)], [(0.08, 0.15), (0.16, -0.15)]],
        -0.35,
    ),
    "/": ([[(-0.2, 0.5), (0.25, -0.5)]], 0.05),
    "$": (
        [
            [(0.25, -0.35), (0.0, -0.45), (-0.22, -0.25), (0.0, 0.0), (0.25, 0.2), (0.0, 0.42), (-0.28, 0.3)],
            [(0.02, -0.6), (0.0, 0.6)],
        ],
        0.1,
    ),
    "#": (
        [
            [(-0.12, -0.4), (-0.16, 0.4)],
            [(0.14, -0.4), (0.1, 0.4)],
            [(-0.32, -0.14), (0.32, -0.16)],
            [(-0.34, 0.16), (0.3, 0.13)],
        ],
        0.0,
    ),
    "*": ([[(-0.2, 0), (0.2, 0)], [(-0.1, -0.2), (0.1, 0.2)], [(0.1, -0.2), (-0.1, 0.2)]], -0.3),
}


def _sheet(
    random: Generator, writer: _Writer, pieces: list[Ink], corners: list[tuple[int, int]]
) -> tuple[Ink, list[Box]]:
    """All pieces on one sheet, and the box of each; cut out as real amounts are, at times into the ink."""
    rows = np.array([(y, y + piece.shape[0]) for piece, (_, y) in zip(pieces, corners, strict=True)])
    columns = np.array([(x, x + piece.shape[1]) for piece, (x, _) in zip(pieces, corners, strict=True)])
    rows, columns = rows - rows.min(), columns - columns.min()
    ink = np.zeros((rows.max(), columns.max()), np.float32)
    for piece, (top, bottom), (left, right) in zip(pieces, rows, columns, strict=True):
        part = ink[top:bottom, left:right]
        np.maximum(part, piece, out=part)
    above, below = ((random.gamma(2.5, (0.1, 0.08)) - (0.08, 0.09)) * writer.height).astype(int)
    before, after = ((random.exponential((0.2, 0.3)) - 0.02) * writer.height).astype(int)
    height, width = max(24, ink.shape[0] + above + below), max(24, ink.shape[1] + before + after)
    shift = np.array(((1, 0, before), (0, 1, above)), np.float32)
    ink = np.asarray(cv2.warpAffine(ink, shift, (width, height), flags=cv2.INTER_NEAREST), np.float32)
    rows, columns = np.clip(rows + above, 0, height), np.clip(columns + before, 0, width)
    return _unsteady(random, writer, ink), [
        (float(left), float(top), max(1.0, float(right - left)), max(1.0, float(bottom - top)))
        for (top, bottom), (left, right) in zip(rows, columns, strict=True)
    ]


def _unsteady(random: Generator, writer: _Writer, ink: Ink) -> Ink:
    """The same ink moved by up to about a pixel, differently here and there, as by an unsteady hand."""
    height, width = ink.shape
    coarse = random.normal(0, writer.unsteadiness, (2, 2 + height // 10, 2 + width // 10)).astype(np.float32)
    x, y = (cv2.resize(moves, (width, height), interpolation=cv2.INTER_CUBIC) for moves in coarse)
    x = x + np.arange(width, dtype=np.float32)
    y = y + np.arange(height, dtype=np.float32)[:, None]
    return np.asarray(cv2.remap(ink, x, y, cv2.INTER_LINEAR), np.float32)


# Paper and camera ------------------------------------------------------------------------------------------


def _background(random: Generator, height: int, width: int) -> NDArray[np.float32]:
    """The printed paper, float32 [h, w] in grey levels: a tone, fine lines or dots, shade and rules."""
    kind = random.choice(["waves", "crossed", "dots", "fine", "plain"], p=[0.33, 0.37, 0.13, 0.13, 0.04])
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    if kind == "waves":
        paper = np.full((height, width), random.normal(170, 7), np.float32)
        paper -= random.uniform(22, 45) * _lines(random, rows, columns, random.normal(0, 0.03), (3.2, 6))
    elif kind == "crossed":
        paper = np.full((height, width), random.normal(212, 7), np.float32)
        for _ in range(random.integers(1, 4)):
            angle = random.uniform(-1.3, 1.3) if random.random() < 0.6 else random.normal(0, 0.05)
            paper -= random.uniform(15, 50) * _lines(random, rows, columns, angle, (4, 12))
    elif kind == "fine":
        paper = np.full((height, width), random.normal(203, 8), np.float32)
        paper -= random.uniform(18, 45) * _lines(random, rows, columns, random.normal(1.5, 0.1), (3, 5))
    else:
        paper = np.full((height, width), random.normal(174, 12), np.float32)
        if kind == "dots":
            period, strength = random.uniform(3, 6), random.uniform(4, 12)
            paper += strength * np.cos(6.283 / period * columns) * np.cos(6.283 / period * rows)
            specks = random.normal(0, 10, (height // 2 + 1, width // 2 + 1)).astype(np.float32)
            paper += cv2.resize(specks, (width, height), interpolation=cv2.INTER_CUBIC)
    return _rules(random, _shade(random, paper))


def _lines(
    random: Generator, rows: Ink, columns: Ink, angle: float, periods: tuple[float, float]
) -> NDArray[np.float32]:
    """A family of parallel wavy lines at an angle to the rows, 1 on a line and near 0 between."""
    cosine, sine = math.cos(angle), math.sin(angle)
    along = cosine * columns + sine * rows
    across = cosine * rows - sine * columns
    bow = (
        random.normal(0, 0.0012) * along[:1] ** 2 if abs(angle) < 0.2 else random.normal(0, 0.0012) * along**2
    )
    wave = random.gamma(2, 0.8) * np.sin(along / random.uniform(4, 25) + random.uniform(0, 6.3))
    phase = (across + wave + bow) * (6.283 / random.uniform(*periods)) + random.uniform(0, 6.3)
    return np.exp(random.uniform(1, 4) * (np.cos(phase) - 1))


def _shade(random: Generator, paper: NDArray[np.float32]) -> NDArray[np.float32]:
    """Light that falls off over the paper, and sometimes an edge beyond which it is lighter or darker."""
    height, width = paper.shape
    corners = 1 + random.normal(0, 0.025, (2, 2)).astype(np.float32)
    paper = paper * cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    chance = random.random()
    if chance < 0.08:
        paper[: int(random.uniform(0.05, 0.4) * height)] *= random.uniform(1.03, 1.15)
    elif chance < 0.14:
        paper[:, int(random.uniform(0.3, 0.9) * width) :] *= random.uniform(0.87, 1.1)
    return paper


def _rules(random: Generator, paper: NDArray[np.float32]) -> NDArray[np.float32]:
    """Printed rules below and above the amount, and at its left."""
    height, width = paper.shape
    sheet = np.zeros((height, width), np.uint8)
    for chance, low, high in ((0.4, 0.8, 1.0), (0.15, 0.0, 0.15)):
        if random.random() < chance:
            y = random.uniform(low, high) * (height - 1)
            _line(
                sheet,
                (-2, y),
                (width + 2, y + random.normal(0, 0.006) * width),
                int(random.choice([1, 1, 2])),
            )
    if random.random() < 0.03:
        x = random.uniform(0, 0.05) * width
        _line(sheet, (x, -2), (x, height + 2), 1)
    return paper * (1 - random.uniform(0.3, 0.65) / 255 * sheet.astype(np.float32))


def _photograph(random: Generator, paper: NDArray[np.float32], ink: Ink) -> NDArray[np.uint8]:
    """Ink on paper as a scanner sees it: soft, noisy and compressed."""
    height, width = paper.shape
    strength = random.uniform(0.4, 0.8)
    grain = 1 + random.normal(0, random.uniform(0.02, 0.2), (height // 2 + 1, width // 2 + 1)).astype(
        np.float32
    )
    ink = np.clip(ink * cv2.resize(grain, (width, height)), 0, 1.1)
    image = paper * (1 - strength * ink)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), random.uniform(0.3, 0.75)), np.float32)
    image = image + random.uniform(0.5, 3) * random.standard_normal(image.shape, np.float32)
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    _, packed = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(60, 96))])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), np.uint8)
