"""What the commands of all recipes have in common."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from gtn_ebm import DataError, GtnEbmError


def run(app: typer.Typer, arguments: Sequence[str] | None) -> None:
    """Runs a command; what is wrong with its input becomes one line and exit code 2.

    Args:
        app: the recipe's commands.
        arguments: the command and its options; those of the command line where None.
    """
    try:
        app(arguments)
    except GtnEbmError as error:
        complain(str(error))
        sys.exit(2)
    except OSError as error:
        complain(str(error) if error.filename is None else f"{error.filename}: {error.strerror}")
        sys.exit(2)


def complain(message: str) -> None:
    """Says in one line what is wrong."""
    typer.echo(f"error: {printable(message)}", err=True)


def printable(text: str) -> str:
    """On one line and in any encoding that has the letters, whatever a file is named."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def check_is_folder(out: Path | None) -> None:
    """DataError if there is anything else of that name."""
    if out is not None and out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file; give the name of a folder")


def check_can_be_made(*files: Path | None) -> None:
    """DataError where a file could not be written, said before long work, which would be lost."""
    for file in files:
        if file is not None and file.is_dir():
            raise DataError(f"{file}: is a folder; give the name of a file")
        if file is not None and not file.parent.is_dir():
            raise DataError(f"{file}: there is no folder {file.parent}; make it first")


def check_names_differ(files: Sequence[Path]) -> None:
    """DataError where two files have one name, for pictures of them are named after them alone."""
    name, count = Counter(file.name for file in files).most_common(1)[0]
    if count > 1:
        raise DataError(f"{count} images are named {name}; read them apart, each with its own --svg folder")


@contextmanager
def stoppable(where: str = "from the last whole epoch") -> Iterator[None]:
    """Lets one stop long work from the keyboard, and says where the same command goes on."""
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo(f"\nstopped; the same command goes on {where}", err=True)
        raise typer.Exit(130) from error
