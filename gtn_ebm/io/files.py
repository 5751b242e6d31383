"""Whole files only: read at once, and nothing half-written is ever seen under its own name.

Wherever this package takes a file, an open binary file will do as well, such as ``sys.stdin.buffer``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from gtn_ebm.errors import GraphFormatError

FileName = str | os.PathLike[str]
File = FileName | BinaryIO


def read_whole(file: File) -> tuple[bytes, str]:
    """All bytes of a file, and its name for messages; GraphFormatError where it cannot be read."""
    if not isinstance(file, str | os.PathLike):
        return file.read(), str(getattr(file, "name", "the input"))
    try:
        return Path(file).read_bytes(), str(file)
    except OSError as error:
        raise GraphFormatError(f"{file} cannot be read: {error.strerror}") from error


def write_beside(path: FileName, write: Callable[[Path], object]) -> None:
    """Lets ``write`` make a file beside ``path``, then renames it; OSError where that is impossible.

    A link is followed. What is there already and is no file, such as a pipe or a device, is written to.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file() and not path.is_dir():
        write(path)
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(beside)
        beside.replace(path)
    except OSError as error:  # which names the file beside, of which nobody has heard
        raise type(error)(error.errno, error.strerror, str(path)) from error
    finally:
        beside.unlink(missing_ok=True)


def write_whole(file: File, content: str | bytes) -> None:
    """Writes bytes, or text in UTF-8: to an open file as they are, under a name as ``write_beside`` does."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    if isinstance(file, str | os.PathLike):
        write_beside(file, lambda beside: beside.write_bytes(data))
    else:
        file.write(data)
