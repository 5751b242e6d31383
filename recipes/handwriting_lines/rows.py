"""The rows of the text files that lists and transcriptions of lines come in."""

from __future__ import annotations

from pathlib import Path

from gtn_ebm import DataError


def rows(path: Path) -> list[tuple[int, str]]:
    """Those that are not empty, without blanks at their ends, with their numbers from 1.

    Raises:
        DataError: the file cannot be read, or is no text in UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); it must be a text file in UTF-8") from error
    return [(number, row.strip()) for number, row in enumerate(text.splitlines(), 1) if row.strip()]
