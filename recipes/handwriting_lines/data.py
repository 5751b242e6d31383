"""Lines of handwriting from wherever they are."""

from __future__ import annotations

from itertools import count, islice
from pathlib import Path
from typing import Protocol

from gtn_ebm import DataError
from recipes.handwriting_lines import iam, page_xml, saint_gall
from recipes.handwriting_lines.line import Line
from recipes.handwriting_lines.synthetic import SyntheticLines

PARTS = ("train", "valid", "test")

SYNTHETIC = "synthetic"
"""Stands for a folder where lines are to be written on the spot."""

SYNTHETIC_LINES = {"train": 1000, "valid": 100, "test": 100}
"""How many, each part with a seed of its own."""

SYNTHETIC_EPOCHS = 14
"""Enough to learn to read these, in about two minutes on one core."""


class Layout(Protocol):
    """A module that knows how some database lies in a folder.

    Attributes:
        LAYOUT: what it looks for, in words.
    """

    LAYOUT: str

    def is_layout(self, directory: Path) -> bool:
        """Whether it is a folder of this kind."""

    def read_folder(self, directory: Path) -> dict[str, list[Line]]:
        """The lines of each part there is, by PARTS."""


LAYOUTS: tuple[Layout, ...] = (saint_gall, iam, page_xml)


def load(data: str, part: str) -> list[Line]:
    """The lines of a part of some data.

    Args:
        data: a folder in one of LAYOUTS, or SYNTHETIC.
        part: one of PARTS.

    Raises:
        DataError: no such folder or part, or what the folder holds is amiss; the message says where.
    """
    if part not in PARTS:
        raise DataError(f"no part {part!r}; there are {', '.join(PARTS)}")
    if data == SYNTHETIC:
        return _synthetic(part)
    directory = Path(data)
    if not directory.is_dir():
        raise DataError(f"{directory}: no such folder; give one of lines and their transcriptions")
    layout = next((layout for layout in LAYOUTS if layout.is_layout(directory)), None)
    if layout is None:
        looked_for = "; ".join(layout.LAYOUT for layout in LAYOUTS)
        raise DataError(f"{directory}: not laid out in any way known here; looked for {looked_for}")
    parts = layout.read_folder(directory)
    if part not in parts:
        raise DataError(f"{directory}: has no part {part!r}; it has {', '.join(parts)}")
    return parts[part]


def _synthetic(part: str) -> list[Line]:
    """Lines of which no text is one of a part before."""
    place = PARTS.index(part)
    known = {line.text for before in PARTS[:place] for line in _synthetic(before)}
    others = (line for line in map(SyntheticLines(place).line, count()) if line.text not in known)
    return list(islice(others, SYNTHETIC_LINES[part]))
