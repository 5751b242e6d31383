"""Whole files only: nothing half-written is ever seen under its own name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

FileName = str | os.PathLike[str]


def write_beside(path: FileName, write: Callable[[Path], object]) -> None:
    """Lets ``write`` make a file beside ``path``, then renames it; OSError where that is impossible."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(beside)
        beside.replace(path)
    except OSError as error:  # which names the file beside, of which nobody has heard
        raise type(error)(error.errno, error.strerror, str(path)) from error
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: FileName, text: str) -> None:
    """Writes ``text`` in UTF-8, as ``write_beside`` does."""
    write_beside(path, lambda beside: beside.write_text(text, encoding="utf-8", newline="\n"))
