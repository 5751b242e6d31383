"""The Saint Gall database: a Latin manuscript of the ninth century, its lines level and binary.

Images ``line_images_normalized/csg562-003-01.png``, transcriptions in ``transcription.txt``, the x-spans
of words in ``word_location.txt`` where there are any, and the pages of each part in ``train.txt``,
``valid.txt`` and ``test.txt``.

The transcription has letters and two more characters: a mark of punctuation, ``pt``, and the sign for "et",
``et``; here they are ``.`` and ``&``.

Source: Fischer, Frinken, Fornés and Bunke, "Transcription alignment of Latin manuscripts using hidden Markov
models" (2011).
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from gtn_ebm.errors import DataError
from recipes.handwriting_lines.line import Line
from recipes.handwriting_lines.rows import rows
from recipes.images import read_grey

TRANSCRIPTIONS, IMAGES, LOCATIONS = "transcription.txt", "line_images_normalized", "word_location.txt"

LAYOUT = f"{TRANSCRIPTIONS} beside {IMAGES}/ (Saint Gall)"

PARTS = ("train", "valid", "test")
"""Names of the lists of pages."""

SPECIAL = {"pt": ".", "et": "&"}
"""Characters whose names in the transcription are longer than one letter."""

_NAME = re.compile(r"(?P<page>\w+-\w+)-\w+")
_SPAN = re.compile(r"(\d+)-(\d+)")


def is_layout(directory: Path) -> bool:
    """Whether it is a folder of this database."""
    return (directory / TRANSCRIPTIONS).is_file() and (directory / IMAGES).is_dir()


def read_folder(directory: Path) -> dict[str, list[Line]]:
    """The lines of each part, by PARTS, in the order of the transcription.

    A line that is transcribed but has no image is left out, and so are pages of no list and parts without
    lines.

    Raises:
        DataError: with file and line: what is missing, doubled, unreadable or of another form; no list of
            pages, or one without lines.
    """
    texts = _transcriptions(directory / TRANSCRIPTIONS)
    locations = _locations(directory / LOCATIONS, texts)
    pages = {part: directory / f"{part}.txt" for part in PARTS if (directory / f"{part}.txt").is_file()}
    if not pages:
        raise DataError(f"{directory}: no list of pages; write those to train on in train.txt, one a line")
    parts = {part: _lines(directory / IMAGES, texts, locations, path) for part, path in pages.items()}
    found = {part: lines for part, lines in parts.items() if lines}
    if not found:
        raise DataError(f"{directory}: no line of the listed pages is transcribed and has an image")
    return found


def _lines(
    images: Path, texts: dict[str, str], locations: dict[str, tuple[tuple[int, int], ...]], path: Path
) -> list[Line]:
    pages = {page for _, page in rows(path)}
    return [
        Line(name, text, partial(read_grey, image), locations.get(name))
        for name, text in texts.items()
        if _page(name) in pages and (image := images / f"{name}.png").is_file()
    ]


def _transcriptions(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for number, row in rows(path):
        where = f"{path}, line {number}"
        name, *fields = row.split(" ")
        if not fields or not _NAME.fullmatch(name):
            raise DataError(
                f"{where}: {row[:60]!r} is no transcription; expected 'csg562-003-01 s-o-m-e|w-o-r-d-s'"
            )
        if name in texts:
            raise DataError(f"{where}: {name} is transcribed a second time; keep one of them")
        texts[name] = _text(fields[0], where)
    if not texts:
        raise DataError(f"{path}: no transcriptions")
    return texts


def _text(spelt: str, where: str) -> str:
    words = []
    for word in filter(None, spelt.split("|")):
        characters = [SPECIAL.get(name, name) for name in word.split("-")]
        strange = [name for name in characters if len(name) != 1]
        if strange:
            raise DataError(
                f"{where}: {strange[0]!r} in {word[:60]!r} is no character; known are letters, pt and et"
            )
        words.append("".join(characters))
    return " ".join(words)


def _locations(path: Path, texts: dict[str, str]) -> dict[str, tuple[tuple[int, int], ...]]:
    """The first column of each word and one past its last; none where there is no such file."""
    locations = {}
    for number, row in rows(path) if path.is_file() else ():
        where = f"{path}, line {number}"
        name, _, spans = row.rpartition(" ")
        name = name.partition(" ")[0]
        found = [_SPAN.fullmatch(span) for span in spans.split("|")]
        ends = [(int(span[1]), int(span[2]) + 1) for span in found if span]
        if len(ends) < len(found) or any(start >= end for start, end in ends):
            raise DataError(
                f"{where}: {row[:60]!r} holds no x-spans; expected 'csg562-024-01 1863 0-422|469-730'"
            )
        if name in texts and len(ends) != len(texts[name].split()):
            raise DataError(f"{where}: {len(ends)} spans, but {name} has {len(texts[name].split())} words")
        locations[name] = tuple(ends)
    return locations


def _page(name: str) -> str:
    found = _NAME.fullmatch(name)
    return found["page"] if found else ""
