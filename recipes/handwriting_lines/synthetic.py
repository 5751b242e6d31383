"""Synthetic lines: invented words, written with the strokes of pen plotters' fonts by an unsteady hand.

The fonts of Allen Hershey (1967) are polylines, so that a pen of any width can follow them. What varies
between writers (font, size, slant, pen, spacing, unsteadiness) is chosen once for a line and varied a little
for each character. Every line comes from a random stream of its own: line 17 of a set is the same whatever
was drawn before. The language is one and the same for all sets: a few hundred words, frequent ones and rare
ones, and now and then one that nobody has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gtn_ebm.errors import DataError
from recipes.handwriting_lines.line import Line

FONTS = ("rowmans", "timesi")
"""Of the package Hershey-Fonts: a printed and a sloping hand; "scripts" is a joined one, and harder."""

WORDS = 300
"""Of the language."""

HEIGHT = 64
"""Of images, in pixels."""

_BEGINNINGS = (*"bcdfghlmnprstv", "br", "cl", "dr", "fl", "gr", "pl", "pr", "st", "tr", "qu")
_MIDDLES = (*"aeiouaeiou", "ae", "au")
_ENDS = ("", "", "", *"mnrststx", "nt", "rs")

_X_HEIGHT = 14.0  # of the fonts, from their baseline at 9 up to −5
_BASELINE = 9.0
_FINENESS = 3  # bits of a pixel's fraction that strokes are drawn with

Stroke = NDArray[np.float64]
"""Points x, y that a pen goes through, [P, 2]."""


class _Glyph(NamedTuple):
    strokes: tuple[Stroke, ...]  # x from 0, y downwards from the baseline, in heights of an x
    width: float


@dataclass(frozen=True)
class _Writer:
    """What stays the same within a line; lengths in pixels."""

    glyphs: dict[str, _Glyph]
    height: float  # of an x
    width: float  # factor on widths
    slant: float  # columns to the right for each row upwards
    pen: float
    gap: float  # between words, in heights of an x
    unsteadiness: float  # standard deviation of the pen's way from the intended, in heights of an x
    slope: float  # rows down for each column
    ink: float  # grey level
    paper: float


class SyntheticLines:
    """An endless set of written lines. The same ``seed``, ``words`` and ``fonts`` give the same set.

    Args:
        seed: of the set, ≥ 0.
        words: the fewest and the most of a line.
        fonts: names in the package Hershey-Fonts, of which each line has one.

    Raises:
        DataError: a seed or a number of words out of range; the package is missing, or has no such font.

    >>> line = SyntheticLines(seed=1).line(5)
    >>> line.load().shape[0], len(line.words) == len(line.text.split(" "))
    (64, True)
    """

    def __init__(self, seed: int = 0, words: tuple[int, int] = (1, 2), fonts: Sequence[str] = FONTS) -> None:
        if seed < 0 or not 1 <= words[0] <= words[1]:
            raise DataError(f"seed {seed} and {words} words: give a seed of 0 or more, and 1 word or more")
        self._glyphs = [_glyphs(font) for font in fonts]
        self._seed, self._words = seed, words

    def line(self, index: int) -> Line:
        """Line number ``index`` (0, 1, …) of this set. Raises IndexError below 0."""
        if index < 0:
            raise IndexError(f"line {index}: give 0 or more")
        random = np.random.default_rng([self._seed, index])
        text = _text(random, int(random.integers(self._words[0], self._words[1] + 1)))
        writer = _writer(random, self._glyphs[random.integers(len(self._glyphs))])
        words, width = _written(random, writer, text.split(" "))
        spans = tuple(_span(strokes, writer.pen, width) for strokes in words)
        strokes = [stroke for word in words for stroke in word]
        load = partial(_image, strokes, writer, width, int(random.integers(2**31)))
        return Line(f"synthetic-{self._seed}-{index}", text, load, spans)

    def lines(self, count: int, start: int = 0) -> list[Line]:
        """``count`` lines, from number ``start`` on."""
        return [self.line(index) for index in range(start, start + count)]


@cache
def _glyphs(font: str) -> dict[str, _Glyph]:
    try:
        from HersheyFonts import HersheyFonts
    except ImportError as error:
        raise DataError(
            "synthetic lines need the package Hershey-Fonts: pip install Hershey-Fonts"
        ) from error
    hershey = HersheyFonts()
    if font not in hershey.default_font_names:
        raise DataError(f"no font {font!r}; there are {', '.join(hershey.default_font_names)}")
    hershey.load_default_font(font)
    found = {}
    for character in "abcdefghijklmnopqrstuvwxyz.":
        (glyph,) = hershey.glyphs_for_text(character)
        strokes = tuple(
            (np.array(stroke, np.float64) - (glyph.left_offset, _BASELINE)) / _X_HEIGHT
            for stroke in glyph.strokes
        )
        found[character] = _Glyph(strokes, glyph.char_width / _X_HEIGHT)
    return found


@cache
def vocabulary() -> tuple[str, ...]:
    """The words of the language, the most frequent first.

    >>> len(vocabulary()), vocabulary()[:4]
    (300, ('et', 'in', 'est', 'non'))
    """
    random = np.random.default_rng(1967)
    words = dict.fromkeys(("et", "in", "est", "non"))
    while len(words) < WORDS:
        words[_invented(random)] = None
    return tuple(words)


def _invented(random: Generator) -> str:
    syllables = random.choice([1, 2, 3], p=[0.2, 0.55, 0.25])
    return "".join(
        str(random.choice(_BEGINNINGS)) + str(random.choice(_MIDDLES)) for _ in range(syllables)
    ) + str(random.choice(_ENDS))


def _text(random: Generator, count: int) -> str:
    """Words with one blank between them; a word of rank r is about as frequent as 1/r (Zipf's law)."""
    words = vocabulary()
    frequencies = 1.0 / (3.0 + np.arange(len(words)))
    chosen = random.choice(len(words), count, p=frequencies / frequencies.sum())
    unseen = random.random(count) < 0.1
    text = [_invented(random) if new else words[k] for k, new in zip(chosen, unseen, strict=True)]
    return " ".join(text) + ("." if random.random() < 0.3 else "")


def _writer(random: Generator, glyphs: dict[str, _Glyph]) -> _Writer:
    height = random.uniform(16, 20)
    return _Writer(
        glyphs=glyphs,
        height=height,
        width=random.uniform(0.8, 1.05),
        slant=random.normal(0.05, 0.08),
        pen=random.uniform(2.0, 3.4),
        gap=random.uniform(0.9, 1.4),
        unsteadiness=random.uniform(0.01, 0.035),
        slope=random.normal(0, 0.006),
        ink=random.uniform(0, 90),
        paper=random.uniform(200, 255),
    )


def _written(random: Generator, writer: _Writer, words: Sequence[str]) -> tuple[list[list[Stroke]], int]:
    """The strokes of each word in pixels, and how wide an image they need."""
    x, written = 0.0, []
    for word in words:
        strokes = []
        for character in word:
            glyph = writer.glyphs[character]
            strokes += [_stroke(random, writer, stroke, x) for stroke in _jittered(random, glyph)]
            x += glyph.width * writer.width * writer.height * np.exp(random.normal(0, 0.04))
        written.append(strokes)
        x += writer.gap * writer.height * np.exp(random.normal(0, 0.15))
    left = min(stroke[:, 0].min() for strokes in written for stroke in strokes)
    before, after = random.uniform(4, 16, 2)
    right_by = np.array([before - left, 0.0])
    moved = [[stroke + right_by for stroke in strokes] for strokes in written]
    right = max(stroke[:, 0].max() for strokes in moved for stroke in strokes)
    return moved, int(np.ceil(right + after))


def _jittered(random: Generator, glyph: _Glyph) -> list[Stroke]:
    """A character a little larger or smaller, turned and moved, as no two of one hand are alike."""
    size = np.exp(random.normal(0, 0.04, 2))
    shear, offset = random.normal(0, 0.04, 2), random.normal(0, 0.03, 2)
    matrix = np.array([[size[0], shear[0]], [shear[1], size[1]]])
    return [stroke @ matrix + offset for stroke in glyph.strokes]


def _stroke(random: Generator, writer: _Writer, stroke: Stroke, x: float) -> Stroke:
    """In pixels, from column x on, with the tremor of the hand."""
    places = (stroke + random.normal(0, writer.unsteadiness, stroke.shape)) * writer.height
    column = x + places[:, 0] * writer.width - writer.slant * places[:, 1]
    return np.stack([column, 0.66 * HEIGHT + places[:, 1] + writer.slope * column], 1)


def _span(strokes: Sequence[Stroke], pen: float, width: int) -> tuple[int, int]:
    """The columns with ink of these strokes."""
    columns = np.concatenate([stroke[:, 0] for stroke in strokes])
    return (
        max(0, int(np.floor(columns.min() - pen / 2))),
        min(width, int(np.ceil(columns.max() + pen / 2)) + 1),
    )


def _image(strokes: Sequence[Stroke], writer: _Writer, width: int, seed: int) -> NDArray[np.uint8]:
    """Drawn at twice the size, so that pens of any width differ, on paper with a grain."""
    sheet = np.zeros((2 * HEIGHT, 2 * width), np.uint8)
    points = [np.rint(stroke * (2 << _FINENESS)).astype(np.int32) for stroke in strokes]
    cv2.polylines(sheet, points, False, 255, max(1, round(2 * writer.pen)), cv2.LINE_AA, _FINENESS)
    ink = cv2.resize(sheet, (width, HEIGHT), interpolation=cv2.INTER_AREA) / 255.0
    grain = np.random.default_rng(seed).normal(0, 6, ink.shape)
    grey = writer.paper + ink * (writer.ink - writer.paper) + cv2.GaussianBlur(grain, (3, 3), 0)
    return np.rint(grey).clip(0, 255).astype(np.uint8)
