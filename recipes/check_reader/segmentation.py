"""Heuristic over-segmentation: from the picture of a handwritten amount to a segmentation graph.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition" (1998), section
VI: cut the ink at more places than there are characters, and let an arc of a graph stand for every run of
neighbouring pieces that might be one character. Reading the amount is then finding the right path, which is
left to a network and to the graph.

The cuts are *seams*, paths from the top row to the bottom row that cross as little ink as they can; they lean
with the writing and follow the gap between two digits that overlap. An *atom* is what lies between two
neighbouring seams.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from gtn_ebm import DataError, Graph, Structure

HEIGHT = 48
"""Rows of the working image."""

MAX_WIDTH = 1024
"""Most columns of the working image; a wider one is squeezed."""

FULL_INK = 0.8
"""Share of the darkest ink's darkness from which ink counts as full."""

MIN_CONTRAST = 16.0
"""Least darkness of full ink beyond that of the paper, in grey levels of 0 to 255."""

BACKGROUND_SIZE = 25
"""Pixels of the closing that sees through strokes to the paper behind; wider than any stroke."""

RULE_LENGTH = 0.5
"""Least length of a printed rule, in widths of the image; strokes and dashes are shorter."""

RULE_ROWS = 7
"""Rows from which ink on a rule is a stroke that crosses it, and stays."""

FIRM_INK = 0.5
"""Connected ink that nowhere reaches this is not the pen's."""

INKED = 0.15
"""Least ink of a pixel that counts where ink is connected and where the extent of a region is measured."""

CUT_SPACING = 3
"""Least columns between two cuts."""

CUT_BONUS = 2.0
"""A cut that crosses less ink than this is worth making."""

STRIP_WIDTH = 4
"""Most columns between two cuts."""

LEAN_COST = 0.15
"""What a seam pays for one column to the right on its way up, in pixels of full ink."""

BACK_COST = 1.0
"""What a seam pays for one column to the left on its way up; more, because writing leans to the right."""

STEP_COST = 0.02
"""What a seam pays for one row of blank paper, in pixels of full ink."""

ATOM_INK = 1.0
"""Least ink of a strip, in full pixels, for it to be an atom."""

MAX_ATOMS = 14
"""Most atoms one character is merged from."""

MAX_ASPECT = 1.8
"""Most width of a character, in heights of the text."""


@dataclass(frozen=True)
class Segmentation:
    """A segmentation graph and its picture: N atoms, left to right, and R arcs over the states 0 to N.

    Attributes:
        ink: float32 [HEIGHT, W], the working image: 0 is paper, 1 is full ink.
        left: float32 [N, HEIGHT], the first column of each atom in every row.
        right: float32 [N, HEIGHT], the column after the last one of each atom in every row.
        arcs: int32 [R, 2], source and destination: arc (i, j), i < j, merges the atoms i .. j - 1. Sorted;
            every atom has its own arc (i, i + 1), so each state lies on a path from 0 to N.
        boxes: float32 [R, 4], x0, y0, x1, y1 of the ink of each arc's region in working pixels, ends not
            included.
        scale: float, working columns per column of the picture given.
    """

    ink: NDArray[np.float32]
    left: NDArray[np.float32]
    right: NDArray[np.float32]
    arcs: NDArray[np.int32]
    boxes: NDArray[np.float32]
    scale: float

    @property
    def graph(self) -> Graph:
        """Its R arcs, of energy 0; label and attribute ``region`` of each are its number, int64."""
        source, destination = self.arcs.T
        regions = np.arange(len(source))
        return Graph(
            Structure(source, destination, regions), attributes={"region": torch.from_numpy(regions)}
        )

    def region(self, arc: int) -> NDArray[np.float32]:
        """The ink from an arc's first atom to its last alone, float32 [HEIGHT, w], w the columns it spans."""
        first, last = self.arcs[arc]
        left, right = self.left[first], self.right[last - 1]
        x0, x1 = int(left.min()), int(right.max())
        columns = np.arange(x0, x1)
        inside = (columns >= left[:, None]) & (columns < right[:, None])
        return np.where(inside, self.ink[:, x0:x1], np.float32(0))


def normalise(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Ink on a flat background.

    Args:
        image: uint8 [h, w], dark ink on lighter paper.

    Returns:
        float32 [HEIGHT, w'], 0 for paper to 1 for full ink; the aspect is kept while w' <= MAX_WIDTH.

    Raises:
        DataError: the image is not uint8 [h, w], is empty, or has no ink.
    """
    if image.ndim != 2 or image.dtype != np.uint8:
        raise DataError(f"expected a grey image, uint8 [h, w], not {image.dtype} {list(image.shape)}")
    if image.size == 0:
        raise DataError(f"no ink: the image is empty, {list(image.shape)}")
    rows, columns = image.shape
    width = min(max(round(columns * HEIGHT / rows), 1), MAX_WIDTH)
    shrinks = rows > HEIGHT or columns > width
    grey = cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    darkness = _darkness(grey)
    # Half of the pixels or more are paper: their median and its spread tell the printed pattern from the pen.
    middle, darkest = np.percentile(darkness, [50, 99.5])
    contrast = FULL_INK * (darkest - middle)
    if contrast < MIN_CONTRAST:
        raise DataError("no ink: nothing in the image is clearly darker than its background")
    pattern = min(2 * np.median(np.abs(darkness - middle)), contrast / 2)
    ink = np.clip((darkness - middle - pattern) / (contrast - pattern), 0, 1)
    return _without_specks(_without_rules(ink.astype(np.float32)))


def _darkness(grey: NDArray[Any]) -> NDArray[np.float32]:
    """How much darker each pixel is than the paper around it, in grey levels."""
    smooth = cv2.GaussianBlur(grey, (3, 3), 0)
    paper = cv2.morphologyEx(smooth, cv2.MORPH_CLOSE, np.ones((BACKGROUND_SIZE, BACKGROUND_SIZE), np.uint8))
    paper = cv2.blur(paper, (BACKGROUND_SIZE, BACKGROUND_SIZE))
    return paper.astype(np.float32) - smooth


def _without_rules(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    """Takes away printed rules, which are long, thin and level, but not the strokes that cross them."""
    length = max(HEIGHT, round(RULE_LENGTH * ink.shape[1]))
    # Thickened first, because a rule that is not quite level climbs a row now and then.
    thick = cv2.dilate(ink, np.ones((3, 1), np.uint8))
    rule = cv2.morphologyEx(thick, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    strokes = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((RULE_ROWS, 1), np.uint8))
    return np.where(rule > 0.2, np.minimum(ink, strokes), ink)


def _without_specks(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    """Takes away connected ink that is faint everywhere: what is left of the printed pattern and of rules."""
    count, part = cv2.connectedComponents((ink >= INKED).astype(np.uint8))
    firm = np.zeros(count, bool)
    firm[part[ink >= FIRM_INK]] = True
    firm[0] = True  # what is under INKED already: the soft edges of strokes
    return np.where(firm[part], ink, np.float32(0))


def segment(image: NDArray[np.uint8]) -> Segmentation:
    """The segmentation graph of a picture, uint8 [h, w], of a handwritten amount.

    Raises:
        DataError: the image is not uint8 [h, w], is empty, or has no ink.
    """
    ink = normalise(image)
    left, right, extents = _atoms(ink, _seams(ink))
    arcs, boxes = _merges(extents)
    return Segmentation(
        ink=ink,
        left=left.astype(np.float32),
        right=right.astype(np.float32),
        arcs=arcs,
        boxes=boxes,
        scale=ink.shape[1] / image.shape[1],
    )


def _seams(ink: NDArray[np.float32]) -> NDArray[np.intp]:
    """The cuts, [S, HEIGHT] columns in every row, the image's own left and right borders included."""
    width = ink.shape[1]
    # Seams start from the row in the middle of the writing and find their way up and down.
    start = round(float(np.average(np.arange(HEIGHT), weights=ink.sum(axis=1) + 1e-6)))
    above, up = _cheapest_paths(ink[start::-1], leftwards=BACK_COST, rightwards=LEAN_COST)
    below, down = _cheapest_paths(ink[start:], leftwards=LEAN_COST, rightwards=BACK_COST)
    columns = _cuts(above + below - ink[start])
    seams = np.empty((len(columns) + 2, HEIGHT), np.intp)
    seams[0], seams[-1] = 0, width
    seams[1:-1, start::-1] = _follow(up, columns)
    seams[1:-1, start:] = _follow(down, columns)
    return np.maximum.accumulate(seams, axis=0)


def _cheapest_paths(
    ink: NDArray[np.float32], *, leftwards: float, rightwards: float
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """The least cost of a path from each column of the first row to the last row, float32 [width], and its
    steps sideways, int8 [rows - 1, width]: -1, 0 or 1 on leaving a row in a column."""
    rows, width = ink.shape
    steps = np.empty((rows - 1, width), np.int8)
    padded = np.full(width + 2, np.inf, np.float32)
    cost = padded[1:-1]
    cost[:] = ink[-1]
    neighbours = sliding_window_view(padded, width)
    sideways = np.array([[leftwards], [0], [rightwards]], np.float32)
    for row in range(rows - 2, -1, -1):
        onward = neighbours + sideways
        steps[row] = onward.argmin(axis=0) - 1
        cost[:] = onward.min(axis=0) + ink[row] + STEP_COST
    return cost, steps


def _follow(steps: NDArray[np.int8], columns: NDArray[np.intp]) -> NDArray[np.intp]:
    """The paths, [len(columns), rows], that set out from these columns."""
    path = [columns]
    for row in steps:
        path.append(path[-1] + row[path[-1]])
    return np.stack(path, axis=1)


def _cuts(cost: NDArray[np.float32]) -> NDArray[np.intp]:
    """The columns to cut at: of all ways to cut the width into strips of CUT_SPACING to STRIP_WIDTH columns,
    that of the least total cost, each cut's less CUT_BONUS."""
    width = len(cost)
    total = np.concatenate([[0.0], cost[1:] - CUT_BONUS, [0.0]])
    before = np.zeros(width + 1, np.intp)
    for column in range(1, width + 1):
        first = max(column - STRIP_WIDTH, 0)
        window = total[first : max(column - CUT_SPACING, first) + 1]
        before[column] = first + window.argmin()
        total[column] += window.min()
    cuts = [int(before[width])]
    while cuts[-1] > 0:
        cuts.append(int(before[cuts[-1]]))
    return np.array(cuts[-2::-1], np.intp)


def _atoms(
    ink: NDArray[np.float32], seams: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """The left and right borders of the strips that hold ink, [N, HEIGHT], and their ink's boxes, [N, 4]."""
    # A pixel's strip, counted from 1, is the number of seams at or before it.
    starts = np.zeros((HEIGHT, ink.shape[1] + 1), np.intp)
    np.add.at(starts, (np.arange(HEIGHT), seams[:-1]), 1)
    strip = np.cumsum(starts[:, :-1], axis=1)
    mass = np.bincount(strip.ravel(), weights=ink.ravel(), minlength=len(seams))[1:]
    extents = find_objects(np.where(ink >= INKED, strip, 0), max_label=len(mass))
    kept = [k for k, extent in enumerate(extents) if extent is not None and mass[k] >= ATOM_INK]
    if not kept:
        raise DataError("no ink: nothing in the image is larger than a speck or is not a printed line")
    boxes = [(extents[k][1].start, extents[k][0].start, extents[k][1].stop, extents[k][0].stop) for k in kept]
    return seams[:-1][kept], seams[1:][kept], np.array(boxes, np.float32)


def _merges(extents: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The arcs, [R, 2], and the boxes of their ink, [R, 4], from the boxes of the atoms' ink, [N, 4]."""
    count = len(extents)
    first, offset = np.divmod(np.arange(count * MAX_ATOMS), MAX_ATOMS)
    low, high = extents[:, :2], extents[:, 2:]
    boxes = np.zeros((count, MAX_ATOMS, 4), np.float32)
    for more in range(min(MAX_ATOMS, count)):
        boxes[: count - more, more] = np.concatenate([low, high], axis=1)
        low = np.minimum(low[:-1], extents[more + 1 :, :2])
        high = np.maximum(high[:-1], extents[more + 1 :, 2:])
    merged = boxes[first, offset]
    text = np.percentile(extents[:, 3], 90) - np.percentile(extents[:, 1], 10)
    narrow = (merged[:, 2] - merged[:, 0] <= MAX_ASPECT * text) | (offset == 0)
    fits = narrow & (first + offset < count)
    arcs = np.stack([first, first + offset + 1], axis=1)
    return arcs[fits].astype(np.int32), merged[fits]


def right_path(
    segmentation: Segmentation, boxes: Sequence[tuple[float, float, float, float]], *, overlap: float = 0.5
) -> list[int] | None:
    """The arcs that are the true digits, one a digit, or None where the graph has no such path.

    An arc matches a digit if the spans of their boxes along x have an intersection over union of `overlap` or
    more. The arcs follow one another along one path: digit k's arc ends in or before the state where digit
    k + 1's begins, and the atoms between them, if any, are left to other arcs. Of all such paths, that whose
    boxes have the greatest summed intersection over union by area.

    Args:
        segmentation: a segmentation graph.
        boxes: the digits' boxes, left to right: x, y, width, height in pixels of the picture segmented.
        overlap: least intersection over union, above 0, at most 1.
    """
    arcs = segmentation.arcs
    states = int(arcs.max()) + 1
    # The greatest sum of a path for the digits so far that ends in or before each state, and its arcs.
    best, chains = np.zeros(states), [()] * states
    for x, y, width, height in boxes:
        corners = np.array([x, y, x + width, y + height]) * segmentation.scale
        along, area = overlaps(segmentation.boxes, corners)
        score = np.where(along >= overlap, best[arcs[:, 0]] + area, -np.inf)
        reached, extended = np.full(states, -np.inf), [()] * states
        for arc in np.flatnonzero(score > -np.inf):
            source, destination = arcs[arc]
            if score[arc] > reached[destination]:
                reached[destination], extended[destination] = score[arc], (*chains[source], int(arc))
        for state in range(1, states):
            if reached[state - 1] > reached[state]:
                reached[state], extended[state] = reached[state - 1], extended[state - 1]
        best, chains = reached, extended
    return list(chains[-1]) if best[-1] > -np.inf else None


def overlaps(
    boxes: NDArray[np.float32], box: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intersection over union of each of R boxes with one, of spans along x, [R], and of areas, [R]."""
    shared = np.clip(np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2]), 0, None)
    size, other = boxes[:, 2:] - boxes[:, :2], box[2:] - box[:2]
    along = shared[:, 0] / (size[:, 0] + other[0] - shared[:, 0])
    area = shared.prod(axis=1) / (size.prod(axis=1) + other.prod() - shared.prod(axis=1))
    return along, area
