"""Other images of the same line: what another day, pen or hand might have made of it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

BEND_EVERY = 24
"""Columns of the result between two points of the random bend, about one letter."""


def augment(ink: NDArray[np.uint8], height: int, random: Generator) -> NDArray[np.uint8]:
    """A variation of a line's ink (see ``ink_of``), scaled from any height to ``height``.

    Another slant, size, stretch, place and slope, letters bent and moved a little, a broader, finer or softer
    pen, paler ink, and here and there a part rubbed out.
    """
    return _rubbed(_faded(_pen(_geometry(ink, height, random), random), random), random)


def _geometry(ink: NDArray[np.uint8], height: int, random: Generator) -> NDArray[np.uint8]:
    """One affine map and a slow bend of both coordinates, sampled once."""
    rows, columns = ink.shape
    scale = height / rows
    size, stretch = np.exp(random.normal(0, 0.06)), np.exp(random.normal(0, 0.08))
    slant, slope = random.normal(0, 0.12), random.normal(0, 0.004)
    width = max(8, round(columns * scale * stretch))
    points = (3, max(3, width // BEND_EVERY))
    bend_x, bend_y = (
        cv2.resize(
            random.normal(0, spread, points).astype(np.float32),
            (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
        for spread in (1.2, 0.8)
    )
    x = np.arange(width, dtype=np.float32)[None, :] - width / 2
    y = np.arange(height, dtype=np.float32)[:, None] - height / 2
    from_x = (x + bend_x + slant * y) / (scale * stretch) + columns / 2
    from_y = (y + bend_y + slope * x + random.normal(0, 1.0)) / (scale * size) + rows / 2
    warped = cv2.remap(
        ink,
        from_x.astype(np.float32),
        from_y.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return np.asarray(warped, np.uint8)


def _pen(ink: NDArray[np.uint8], random: Generator) -> NDArray[np.uint8]:
    """A broader, finer or softer pen, now and then."""
    kind = random.random()
    if kind < 0.15:
        across = (2, 1) if random.random() < 0.5 else (1, 2)
        return np.asarray(cv2.dilate(ink, np.ones(across, np.uint8)), np.uint8)
    if kind < 0.3:
        across = (2, 1) if random.random() < 0.5 else (1, 2)
        return np.asarray(cv2.erode(ink, np.ones(across, np.uint8)), np.uint8)
    if kind < 0.5:
        return np.asarray(cv2.GaussianBlur(ink, (0, 0), random.uniform(0.4, 0.9)), np.uint8)
    return ink


def _faded(ink: NDArray[np.uint8], random: Generator) -> NDArray[np.uint8]:
    """Paler ink, and noise."""
    strength = random.uniform(0.7, 1.0)
    noise = random.normal(0, random.exponential(6.0), (ink.shape[0], ink.shape[1])).astype(np.float32)
    return np.clip(ink * strength + noise, 0, 255).astype(np.uint8)


def _rubbed(ink: NDArray[np.uint8], random: Generator) -> NDArray[np.uint8]:
    """A few small parts without ink."""
    rows, columns = ink.shape
    for _ in range(random.poisson(columns / 200)):
        top, left = random.integers(0, rows), random.integers(0, columns)
        ink[top : top + random.integers(2, 12), left : left + random.integers(2, 8)] = 0
    return ink
