"""What the commands of all recipes have in common."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from gtn_ebm import GtnEbmError


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


@contextmanager
def stoppable() -> Iterator[None]:
    """Lets one stop a training from the keyboard."""
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo("\nstopped; the same command goes on from the last whole epoch", err=True)
        raise typer.Exit(130) from error
