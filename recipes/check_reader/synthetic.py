"""Synthetic amounts: single handwritten digits joined into amounts, on the printed background of a cheque.

Everything that varies between writers (size, slant, pen, spacing, marks) is drawn once for an amount, and once
more, less, for each symbol. Every amount comes from a random stream of its own, so example 17 of a set is the
same image whichever process draws it, and whatever was drawn before.
"""

import csv
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gtn_ebm.errors import DataError
from recipes.check_reader.data import Box, Digits

Ink = NDArray[np.float32]
"""How much ink lies on each pixel: float32 [h, w] in [0, 1]."""

_WORK_HEIGHT = 60  # rows of a digit while its strokes are worked on
_MARGIN = 24  # free pixels around it, for strokes that are added

# How often amounts have 1, 2, ... 8 digits, and begin with the digits 1, 2, ... 9 (roughly Benford's law).
_LENGTHS = np.array([0.004, 0.012, 0.1, 0.33, 0.46, 0.08, 0.01, 0.004])
_FIRST_DIGITS = np.array([0.31, 0.17, 0.125, 0.095, 0.085, 0.065, 0.055, 0.045, 0.05])
_SEPARATORS = {".": 0.5, ",": 0.07, " ": 0.15, "": 0.28}
_PREFIXES = {"": 0.93, "$": 0.03, "*": 0.015, "#": 0.015, ".": 0.01}
_ENDINGS = {
    "": 0.5,
    ".": 0.16,
    ",": 0.04,
    "-": 0.09,
    ".-": 0.08,
    ",-": 0.02,
    ".--": 0.01,
    "--": 0.01,
    "=": 0.025,
    ".=": 0.01,
    "+": 0.01,
    "00/100": 0.015,
    "oo": 0.015,
    ",00": 0.01,
    ".00": 0.005,
}


@dataclass(frozen=True)
class SyntheticAmount:
    """An image (uint8 [h, w]) of an amount, and what is on it.

    `digits` is what a reader should answer; `drawn` all symbols from left to right, a space for a wide gap; and
    `boxes` one x, y, width, height in pixels for each of `digits`.
    """

    image: NDArray[np.uint8]
    digits: str
    drawn: str
    boxes: list[Box]


@dataclass(frozen=True)
class _Writer:
    """What stays the same within one amount; lengths in pixels of the image."""

    height: float
    slant: float  # columns to the right per row upwards
    width: float  # factor on the width of the digits
    pen: float  # width of a stroke
    gap: float  # mean free space between neighbours, in heights
    zero: float  # height of a 0 in heights
    unsteadiness: float
    crosses_seven: bool
    upstroke_of_one: float  # its length in heights; 0: none
    mirrors_nine: bool


class Amounts:
    """An endless set of synthetic amounts, written with the given digits.

    The same `digits` and `seed` give the same set. Raises DataError where a digit has no image.

    >>> from recipes.check_reader.data import read_digits
    >>> amount = Amounts(read_digits(), seed=1).render(5)
    >>> len(amount.boxes) == len(amount.digits)
    True
    """

    def __init__(self, digits: Digits, seed: int = 0) -> None:
        missing = sorted(set(range(10)) - set(digits.labels.tolist()))
        if missing:
            raise DataError(f"no image of the digits {missing}; give images of all ten")
        self._images = digits.images
        self._upright = _upright_maps(digits.images)
        self._of_class = [np.flatnonzero(digits.labels == label) for label in range(10)]
        self._seed = seed

    def render(self, index: int) -> SyntheticAmount:
        """Amount number `index` (0, 1, ...) of this set."""
        random = np.random.default_rng([self._seed, index])
        amount, ending = _amount(random), _choice(random, _ENDINGS)
        symbols, is_answer = _symbols(random, amount, ending)
        ink, boxes = self._write(random, _writer(random), symbols)
        image = _photograph(random, _background(random, *ink.shape), ink)
        return SyntheticAmount(
            image,
            "".join(s for s, answers in zip(symbols, is_answer, strict=True) if answers),
            "".join(symbols),
            [box for box, answers in zip(boxes, is_answer, strict=True) if answers],
        )

    def _write(self, random: Generator, writer: _Writer, symbols: list[str]) -> tuple[Ink, list[Box]]:
        """The ink of all symbols on one sheet, cut close around them, and the box of each symbol."""
        pieces, lefts, tops = [], [], []
        x, previous = 0.0, ""
        slope = random.normal(0, 0.025)
        for position, symbol in enumerate(symbols):
            small = symbols[position:].count("/") > 0 or "/" in symbols[:position] or symbol == "o"
            piece, below = self._symbol(random, writer, symbol, small)
            x += _gap(random, writer, previous, symbol)
            baseline = slope * x + random.normal(0, 0.04) * writer.height
            raised = 0.5 * writer.height if small else 0.0
            pieces.append(piece)
            lefts.append(round(x))
            tops.append(round(baseline - raised + below - piece.shape[0]))
            x += piece.shape[1]
            previous = symbol
        return _sheet(random, writer, pieces, lefts, tops)

    def _symbol(self, random: Generator, writer: _Writer, symbol: str, small: bool) -> tuple[Ink, float]:
        """The ink of one symbol, cut close, and how far it reaches below the baseline."""
        size = 0.5 if small else 1.0
        if symbol == "o":
            symbol = "0"
        if not symbol.isdigit():
            return _mark(random, writer, symbol)
        label = int(symbol)
        index = random.choice(self._of_class[label])
        height = writer.height * size * np.exp(random.normal(0, 0.1)) * (writer.zero if label == 0 else 1.0)
        ink = cv2.warpAffine(
            self._images[index], self._upright[index], (_WORK_HEIGHT + 2 * _MARGIN,) * 2, flags=cv2.INTER_CUBIC
        )
        scale = height / _WORK_HEIGHT
        strokes = _strokes(random, writer, ink, label, self._images.shape[1], writer.pen / scale)
        return _placed(random, writer, strokes, scale), abs(random.normal(0, 0.03)) * height


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
        os.replace(beside, directory)
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
    digits = [1 + random.choice(9, p=_FIRST_DIGITS / _FIRST_DIGITS.sum()), *random.integers(0, 10, length - 1)]
    zeros = random.choice([0, 1, 2, 3, 4], p=[0.72, 0.06, 0.07, 0.13, 0.02])
    for position in range(max(1, length - zeros), length):
        digits[position] = 0
    return "".join(map(str, digits))


def _symbols(random: Generator, amount: str, ending: str) -> tuple[list[str], list[bool]]:
    """The symbols to draw and for each whether the answer keeps it."""
    separator = _choice(random, _SEPARATORS)
    if ending in (",00", ".00"):
        separator = "." if ending[0] == "," else ","
        if random.random() < 0.3:  # cents that count
            cents = f"{random.integers(1, 100):02d}"
            return _symbols_of(random, amount, separator, ending[0], cents, "")
    return _symbols_of(random, amount, separator, "", "", ending)


def _symbols_of(
    random: Generator, amount: str, separator: str, point: str, cents: str, ending: str
) -> tuple[list[str], list[bool]]:
    head = len(amount) % 3 or 3
    groups = [amount[:head], *(amount[i : i + 3] for i in range(head, len(amount), 3))]
    body = separator.join(groups) + point + cents
    prefix = _choice(random, _PREFIXES)
    return list(prefix + body + ending), [False] * len(prefix) + [s.isdigit() for s in body] + [False] * len(ending)


def _writer(random: Generator) -> _Writer:
    height = float(np.clip(34 * np.exp(random.normal(0, 0.2)), 20, 60))
    return _Writer(
        height=height,
        slant=float(np.clip(random.normal(0.28, 0.22), -0.18, 1.0)),
        width=float(np.exp(random.normal(0.05, 0.17))),
        pen=float(np.clip(height * 0.085 * np.exp(random.normal(0, 0.25)), 1.6, 6.5)),
        gap=float(random.normal(0.06, 0.09)),
        zero=float(random.choice([1.0, random.uniform(0.55, 0.9)])),
        unsteadiness=float(random.gamma(2, 0.5)),
        crosses_seven=bool(random.random() < 0.4),
        upstroke_of_one=float(random.uniform(0.3, 1.0)) if random.random() < 0.4 else 0.0,
        mirrors_nine=bool(random.random() < 0.2),
    )


def _gap(random: Generator, writer: _Writer, previous: str, symbol: str) -> float:
    """The free space before a symbol, below 0 where it overlaps its neighbour."""
    if previous == "":
        return 0.0
    if symbol == " ":
        return float(random.uniform(0.1, 0.4) * writer.height)
    spread = 0.04 if not (previous.isdigit() and symbol.isdigit()) else 0.1
    wide = random.exponential(0.35) if symbol in "-=+" else 0.0
    return float((writer.gap + random.normal(0, spread) + wide) * writer.height)


# Strokes ---------------------------------------------------------------------------------------------------


def _upright_maps(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """For each image the affine map [n, 2, 3] onto the work sheet that removes its slant and fits its height."""
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
        centre = _MARGIN + _WORK_HEIGHT / 2
        stop = start + len(part)
        maps[start:stop, 0, 0] = scale
        maps[start:stop, 0, 1] = -scale * slant
        maps[start:stop, 0, 2] = centre - scale * (x - slant * y)
        maps[start:stop, 1, 0] = 0
        maps[start:stop, 1, 1] = scale
        maps[start:stop, 1, 2] = centre - scale * (top + bottom - 1) / 2
    return maps


def _strokes(
    random: Generator, writer: _Writer, image: NDArray[np.uint8], label: int, side: int, pen: float
) -> Ink:
    """A digit on the work sheet, drawn anew with a pen of the given width."""
    if label == 9 and writer.mirrors_nine:
        image = cv2.flip(image, 1)
    blurred = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 3)
    ridge = cv2.dilate(blurred, _DISC)
    # Across a stroke the blurred ink falls off like a bell; where it falls below this share of its ridge,
    # the new stroke ends, so that all strokes get one width, whatever the width of the old ones.
    spread = 4.0 if side > 16 else 4.8
    share = np.exp(-0.5 * (min(pen, 14.0) / 2 / spread) ** 2)
    softness = 0.12
    ink = np.clip((blurred / np.maximum(ridge, 1) - share) / softness + 0.5, 0, 1)
    ink *= np.clip((blurred - 25) / 25, 0, 1)
    sheet = (ink * 255).astype(np.uint8)
    width = max(1, round(pen))
    if label == 7 and writer.crosses_seven:
        _cross(random, sheet, width)
    if label == 1 and writer.upstroke_of_one > 0:
        _upstroke(random, sheet, width, writer.upstroke_of_one)
    return sheet.astype(np.float32) / 255


_DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13))


def _line(sheet: NDArray[np.uint8], start: tuple[float, float], end: tuple[float, float], width: int) -> None:
    points = [(round(x * 16), round(y * 16)) for x, y in (start, end)]
    cv2.line(sheet, points[0], points[1], 255, width, cv2.LINE_AA, 4)


def _cross(random: Generator, sheet: NDArray[np.uint8], width: int) -> None:
    """The bar through a 7."""
    y = _MARGIN + _WORK_HEIGHT * random.uniform(0.42, 0.6)
    row = np.flatnonzero(sheet[round(y)] > 127)
    x = row.mean() if len(row) else sheet.shape[1] / 2
    reach, rise = _WORK_HEIGHT * random.uniform(0.15, 0.35), _WORK_HEIGHT * random.normal(0.02, 0.05)
    _line(sheet, (x - reach, y + rise), (x + reach, y - rise), width)


def _upstroke(random: Generator, sheet: NDArray[np.uint8], width: int, length: float) -> None:
    """The stroke that leads up to the top of a 1."""
    y = _MARGIN + 2 + width / 2
    row = np.flatnonzero(sheet[round(y) + 2] > 127)
    x = row.mean() if len(row) else sheet.shape[1] / 2
    down = min(length, 0.95) * _WORK_HEIGHT
    _line(sheet, (x, y), (x - down * random.uniform(0.35, 0.75), y + down * random.uniform(0.7, 1.0)), width)


def _placed(random: Generator, writer: _Writer, strokes: Ink, scale: float) -> Ink:
    """Strokes from the work sheet at their final size, slanted and unsteady, cut close around the ink."""
    slant = writer.slant + random.normal(0, 0.06)
    across = scale * writer.width * np.exp(random.normal(0, 0.1))
    turn = random.normal(0, 0.04)
    half = strokes.shape[0] / 2
    height = int(strokes.shape[0] * scale) + 4
    width = int(strokes.shape[1] * (across + abs(slant) * scale)) + 4
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    y = (rows - height / 2) / scale
    x = (columns - width / 2) / across + slant * scale / across * y
    bend = random.normal(0, writer.unsteadiness, (2, 4, 4)).astype(np.float32)
    source_x = half + x - turn * y + cv2.resize(bend[0], (width, height), interpolation=cv2.INTER_CUBIC)
    source_y = half + y + turn * x + cv2.resize(bend[1], (width, height), interpolation=cv2.INTER_CUBIC)
    placed = cv2.remap(strokes, source_x.astype(np.float32), source_y.astype(np.float32), cv2.INTER_LINEAR)
    return _cut(placed)


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
    height, jitter = writer.height, random.normal(0, 0.06, (8, 2))
    strokes, below = _MARKS[symbol]
    stretch = {"-": random.uniform(0.5, 1.8), "=": random.uniform(0.7, 1.4)}.get(symbol, 1.0)
    side = int(3.2 * height) + 8
    sheet = np.zeros((side, side), np.uint8)
    pen = max(1, round(writer.pen * (1.25 if symbol == "." else 1.0)))
    for number, stroke in enumerate(strokes):
        points = (np.array(stroke) + jitter[number : number + 1] * 0.5) * (stretch, 1.0)
        points += random.normal(0, 0.02, points.shape)
        points[:, 0] -= writer.slant * points[:, 1]
        points = points * height + side / 2
        cv2.polylines(sheet, [np.rint(points * 16).astype(np.int32)], False, 255, pen, cv2.LINE_AA, 4)
    return _cut(sheet.astype(np.float32) / 255), (below + float(jitter[7, 0])) * height


_TURN = np.linspace(0, 2 * np.pi, 12)
# The strokes of each mark, points in heights with y downwards, and how far it reaches below the baseline.
_MARKS: dict[str, tuple[list[list[tuple[float, float]]], float]] = {
    ".": ([[(0, 0), (0.03, 0.02)]], 0.0),
    ",": ([[(0.04, 0), (0.05, 0.08), (-0.03, 0.22)]], 0.15),
    "-": ([[(-0.25, 0.02), (0.25, -0.02)]], -0.4),
    "=": ([[(-0.25, -0.08), (0.25, -0.1)], [(-0.25, 0.1), (0.25, 0.08)]], -0.3),
    "+": ([[(-0.45, 0.02), (0.45, -0.02)], [(-0.08, 0.15), (0.0, -0.15)], [(0.08, 0.15), (0.16, -0.15)]], -0.35),
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
    random: Generator, writer: _Writer, pieces: list[Ink], lefts: list[int], tops: list[int]
) -> tuple[Ink, list[Box]]:
    """All pieces on one sheet with margins like those of a cut-out amount, and the box of each."""
    height = writer.height
    before, after = (random.exponential((0.16, 0.3)) * height).astype(int)
    above, under = (random.gamma(2.5, (0.11, 0.07)) * height).astype(int)
    left, top = min(lefts) - before, min(tops) - above
    right = max(x + piece.shape[1] for x, piece in zip(lefts, pieces, strict=True)) + after
    bottom = max(y + piece.shape[0] for y, piece in zip(tops, pieces, strict=True)) + under
    ink = np.zeros((max(bottom - top, 20), max(right - left, 20)), np.float32)
    boxes: list[Box] = []
    for piece, x, y in zip(pieces, lefts, tops, strict=True):
        rows, columns = piece.shape
        part = ink[y - top : y - top + rows, x - left : x - left + columns]
        np.maximum(part, piece, out=part)
        boxes.append((float(x - left), float(y - top), float(columns), float(rows)))
    return ink, boxes


# Paper and camera ------------------------------------------------------------------------------------------


def _background(random: Generator, height: int, width: int) -> NDArray[np.float32]:
    """The printed paper, float32 [h, w] in grey levels: one tone, families of fine lines, dots, shade, rules."""
    kind = random.choice(["waves", "crossed", "dots", "fine", "plain"], p=[0.33, 0.37, 0.13, 0.13, 0.04])
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    if kind == "waves":
        paper = np.full((height, width), random.normal(160, 8), np.float32)
        paper -= random.uniform(12, 26) * _lines(random, rows, columns, random.normal(0, 0.03), (3.2, 6))
    elif kind == "crossed":
        paper = np.full((height, width), random.normal(203, 10), np.float32)
        for _ in range(random.integers(1, 4)):
            angle = random.uniform(-1.3, 1.3) if random.random() < 0.6 else random.normal(0, 0.05)
            paper -= random.uniform(10, 45) * _lines(random, rows, columns, angle, (4, 12))
    elif kind == "fine":
        paper = np.full((height, width), random.normal(195, 12), np.float32)
        paper -= random.uniform(8, 22) * _lines(random, rows, columns, random.normal(1.5, 0.1), (3, 5))
    else:
        paper = np.full((height, width), random.normal(172, 16), np.float32)
        if kind == "dots":
            period, strength = random.uniform(3, 6), random.uniform(5, 14)
            paper += strength * np.cos(6.283 / period * columns) * np.cos(6.283 / period * rows)
            paper += random.normal(0, 5, (height, width)).astype(np.float32)
    return _rules(random, _shade(random, paper))


def _lines(
    random: Generator, rows: Ink, columns: Ink, angle: float, periods: tuple[float, float]
) -> NDArray[np.float32]:
    """A family of parallel wavy lines at an angle to the rows, 1 on a line and near 0 between."""
    along = np.cos(angle) * columns + np.sin(angle) * rows
    across = np.cos(angle) * rows - np.sin(angle) * columns
    bow = random.normal(0, 0.0012) * along[:1] ** 2 if abs(angle) < 0.2 else random.normal(0, 0.0012) * along**2
    wave = random.gamma(2, 0.8) * np.sin(along / random.uniform(4, 25) + random.uniform(0, 6.3))
    phase = (across + wave + bow) * (6.283 / random.uniform(*periods)) + random.uniform(0, 6.3)
    return np.exp(random.uniform(1, 4) * (np.cos(phase).astype(np.float32) - 1))


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
            _line(sheet, (-2, y), (width + 2, y + random.normal(0, 0.006) * width), int(random.choice([1, 1, 2])))
    if random.random() < 0.03:
        x = random.uniform(0, 0.05) * width
        _line(sheet, (x, -2), (x, height + 2), 1)
    return paper * (1 - random.uniform(0.3, 0.65) / 255 * sheet.astype(np.float32))


def _photograph(random: Generator, paper: NDArray[np.float32], ink: Ink) -> NDArray[np.uint8]:
    """Ink on paper as a scanner sees it: soft, noisy and compressed."""
    height, width = paper.shape
    strength = random.uniform(0.4, 0.85)
    grain = 1 + random.normal(0, random.uniform(0.02, 0.2), (height // 2 + 1, width // 2 + 1)).astype(np.float32)
    ink = np.clip(ink * cv2.resize(grain, (width, height)), 0, 1.1)
    image = paper * (1 - strength * ink)
    image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.4, 0.9))
    image += random.normal(0, random.uniform(0.5, 3), image.shape)
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    _, packed = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(60, 96))])
    return cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE)
