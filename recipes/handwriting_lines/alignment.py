"""Where in an image each character and word of a known text is."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes.handwriting_lines.reader import Letter, LineReader
from recipes.handwriting_lines.words import word_spans

COLUMNS = ("line", "kind", "text", "start", "end")
"""Of a table."""


class AlignedLine(NamedTuple):
    """A line, and the columns of its image that its characters and words take, fractions of pixels.

    Attributes:
        name, text: of the line.
        characters: without blanks between words.
        words: from the first to the last ink of each.
    """

    name: str
    text: str
    characters: tuple[Letter, ...]
    words: tuple[Letter, ...]


def align(reader: LineReader, name: str, image: NDArray[np.uint8], text: str) -> AlignedLine:
    """Finds the characters and words of a text in the image of its line.

    A network sees a character in a frame or two, anywhere in its ink. So a word takes the columns from its
    first to its last ink, and its characters share them: each border is midway between the frames of its
    neighbours.

    Raises:
        DataError: the image has no ink, or is too short for the text.
    """
    letters = reader.align(image, text)
    columns = image.shape[1]  # beyond which a word without ink of its own could reach
    spans = [(min(start, columns - 1), min(end, columns)) for start, end in word_spans(image, letters)]
    of_words = [
        list(some) for blank, some in groupby(letters, lambda letter: letter.text == " ") if not blank
    ]
    characters = [
        character for some, span in zip(of_words, spans, strict=True) for character in _shared(some, *span)
    ]
    words = [Letter(word, *map(float, span)) for word, span in zip(text.split(), spans, strict=True)]
    return AlignedLine(name, text, tuple(characters), tuple(words))


def _shared(letters: Sequence[Letter], start: float, end: float) -> list[Letter]:
    """The characters of a word, side by side from its start to its end."""
    each = [character for letter in letters for character in _single(letter)]
    middles = [(one.end + other.start) / 2 for one, other in pairwise(each)]
    borders = [start, *(min(max(middle, start), end) for middle in middles), end]
    return [Letter(one.text, *span) for one, span in zip(each, pairwise(borders), strict=True)]


def _single(letter: Letter) -> list[Letter]:
    """Characters that were read together, of the same width."""
    borders = np.linspace(letter.start, letter.end, len(letter.text) + 1).tolist()
    return [Letter(one, *span) for one, span in zip(letter.text, pairwise(borders), strict=True)]


def as_json(lines: Iterable[AlignedLine]) -> str:
    """A list of objects with ``line``, ``text``, ``characters`` and ``words``, these with ``text``, ``start``
    and ``end``."""
    content = [
        {
            "line": line.name,
            "text": line.text,
            "characters": [_rounded(letter) for letter in line.characters],
            "words": [_rounded(letter) for letter in line.words],
        }
        for line in lines
    ]
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def as_csv(lines: Iterable[AlignedLine]) -> str:
    """A table of COLUMNS, a row for each word and then for its line's characters."""
    file = io.StringIO()
    table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    table.writeheader()
    for line in lines:
        for kind, letters in (("word", line.words), ("character", line.characters)):
            table.writerows({"line": line.name, "kind": kind, **_rounded(letter)} for letter in letters)
    return file.getvalue()


def _rounded(letter: Letter) -> dict[str, str | float]:
    return {"text": letter.text, "start": round(letter.start, 1), "end": round(letter.end, 1)}
