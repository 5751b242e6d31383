"""Lines of handwriting from wherever they are."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from gtn_ebm import DataError
from recipes.handwriting_lines import saint_gall
from recipes.handwriting_lines.line import Line

PARTS = ("train", "valid", "test")


class Layout(Protocol):
    """A module that knows how some database lies in a folder."""

    def is_layout(self, directory: Path) -> bool:
        """Whether it is a folder of this kind."""

    def read_folder(self, directory: Path) -> dict[str, list[Line]]:
        """The lines of each part there is, by PARTS."""


LAYOUTS: tuple[Layout, ...] = (saint_gall,)


def load(data: str, part: str) -> list[Line]:
    """The lines of a part of some data.

    Args:
        data: a folder in one of LAYOUTS.
        part: one of PARTS.

    Raises:
        DataError: no such folder or part, or what the folder holds is amiss; the message says where.
    """
    directory = Path(data)
    if not directory.is_dir():
        raise DataError(f"{directory}: no such folder; give one of lines and their transcriptions")
    layout = next((layout for layout in LAYOUTS if layout.is_layout(directory)), None)
    if layout is None:
        raise DataError(
            f"{directory}: not laid out in any way known here; see recipes/handwriting_lines/data.py"
        )
    parts = layout.read_folder(directory)
    if part not in parts:
        raise DataError(f"{directory}: has no part {part!r}; it has {', '.join(parts)}")
    return parts[part]
