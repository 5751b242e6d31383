"""Lines small enough to be learned in a second, and readers of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from recipes.handwriting_lines.criteria import CTC
from recipes.handwriting_lines.line import Line
from recipes.handwriting_lines.network import LineNetwork
from recipes.handwriting_lines.reader import LineReader

TEXTS = ("ab", "ba", "a b", "b a", "aba", "bab", "ab a", "b ab")

GLYPH = 24  # columns a character


def written(text: str, rows: int = 48) -> NDArray[np.uint8]:
    """A line whose "a" is a ring and whose other letters are bars, in cells of GLYPH columns."""
    image = np.full((48, max(1, len(text)) * GLYPH), 255, np.uint8)
    for place, character in enumerate(text):
        left = place * GLYPH
        if character == "a":
            cv2.circle(image, (left + GLYPH // 2, 26), 7, 0, 3)
        elif character != " ":
            cv2.rectangle(image, (left + 8, 8), (left + 14, 36), 0, -1)
    return image if rows == 48 else np.repeat(np.repeat(image, rows // 48, 0), rows // 48, 1)


def small_lines(texts: tuple[str, ...] = TEXTS) -> list[Line]:
    return [Line(f"line-{number}", text, partial(written, text)) for number, text in enumerate(texts)]


def small_network(classes: int) -> LineNetwork:
    return LineNetwork(classes, (4, 8, 8, 8), 8)


def small_reader(vocabulary: str = " ab") -> LineReader:
    """With weights as they are before training."""
    torch.manual_seed(0)
    criterion = CTC(list(vocabulary))
    return LineReader(small_network(len(criterion.classes)), criterion)


def small_folder(folder: Path) -> Path:
    """A Saint Gall database of eight lines: four to train on, and four whose words' places are known."""
    images = folder / "line_images_normalized"
    images.mkdir(parents=True)
    transcriptions, locations = [], []
    for number, text in enumerate(TEXTS):
        name = f"csg-{number // 4 + 1:03}-{number % 4 + 1:02}"
        image = written(text, 96)
        cv2.imwrite(str(images / f"{name}.png"), image)
        spelt = "|".join("-".join(word) for word in text.split())
        transcriptions.append(f"{name} {spelt} {spelt.replace('-', '')}\n")
        if number >= 4:
            locations.append(f"{name} {image.shape[1]} {'|'.join(_span(*span) for span in spans(text, 2))}\n")
    (folder / "transcription.txt").write_text("".join(transcriptions))
    (folder / "word_location.txt").write_text("".join(locations))
    (folder / "train.txt").write_text("csg-001\n")
    (folder / "valid.txt").write_text("csg-002\n")
    return folder


def _span(start: int, end: int) -> str:
    return f"{start}-{end - 1}"


def spans(text: str, scale: int = 1) -> list[tuple[int, int]]:
    """First column with ink of each word of ``written`` and one past its last."""
    inked = (written(text) < 128).any(0)
    found = []
    place = 0
    for word in text.split():
        place = text.index(word, place)
        columns = np.flatnonzero(inked[place * GLYPH : (place + len(word)) * GLYPH]) + place * GLYPH
        found.append((int(columns[0]) * scale, int(columns[-1] + 1) * scale))
        place += len(word)
    return found
