"""Other images of the same amount: what a scan, a pen or a hand might have made different."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray


def augment(image: NDArray[np.uint8], random: Generator) -> NDArray[np.uint8]:
    """A variation of a grey image, uint8 [h, w]: another slant, size, frame, pen, light and noise."""
    return vary_ink(_geometry(image, random), random)


def vary_ink(image: NDArray[np.uint8], random: Generator) -> NDArray[np.uint8]:
    """A variation in which everything stays in its place: another pen, light and noise."""
    return _light(_pen(image, random), random)


def _geometry(image: NDArray[np.uint8], random: Generator) -> NDArray[np.uint8]:
    """Slant, turn, stretch and another frame, by one affine map and a slow random bend."""
    height, width = image.shape
    slant, turn = random.normal(0, 0.15), random.normal(0, 0.02)
    scale = np.exp(random.normal(0, 0.1))
    stretch = scale * np.exp(random.normal(0, 0.12))
    new_height = max(16, round(height * np.exp(random.normal(0, 0.08))))
    new_width = max(16, round(width * stretch + abs(slant) * height))
    rows, columns = np.mgrid[0:new_height, 0:new_width].astype(np.float32)
    y = (rows - new_height / 2 - random.normal(0, 0.03) * height) / scale
    x = (columns - new_width / 2) / stretch
    # The bend is given on a coarse grid of about one point a digit.
    points = (4, max(3, new_width // 25))
    bend_x, bend_y = (
        cv2.resize(
            random.normal(0, 0.02 * height, points).astype(np.float32),
            (new_width, new_height),
            interpolation=cv2.INTER_CUBIC,
        )
        for _ in range(2)
    )
    bent = cv2.remap(
        image,
        (x + slant * y - turn * y + width / 2 + bend_x).astype(np.float32),
        (y + turn * x + height / 2 + bend_y).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(bent, np.uint8)


def _pen(image: NDArray[np.uint8], random: Generator) -> NDArray[np.uint8]:
    """A broader, finer or softer pen, now and then."""
    kind = random.random()
    if kind < 0.12:
        return np.asarray(cv2.erode(image, np.ones((2, 2), np.uint8)), np.uint8)
    if kind < 0.2:
        return np.asarray(cv2.dilate(image, np.ones((2, 2), np.uint8)), np.uint8)
    if kind < 0.4:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), random.uniform(0.4, 1.0)), np.uint8)
    return image


def _light(image: NDArray[np.uint8], random: Generator) -> NDArray[np.uint8]:
    """Contrast, brightness and noise."""
    grey = image.astype(np.float32)
    mean = grey.mean()
    grey = (grey - mean) * np.exp(random.normal(0, 0.2)) + mean + random.normal(0, 12)
    grey += random.normal(0, 1, grey.shape).astype(np.float32) * random.exponential(3)
    return np.clip(grey, 0, 255).astype(np.uint8)
