"""The IAM handwriting database: English lines by some 650 writers.

As its archives unpack: images ``lines/a01/a01-000u/a01-000u-00.png``, their transcriptions in
``ascii/lines.txt``, and lists of the lines (or forms, ``a01-000u``) of each part: text files whose names
begin with ``train``, ``valid`` and ``test``, in the folder itself or in one within it.

Source: Marti and Bunke, "The IAM-database: an English sentence database for offline handwriting recognition"
(2002).
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from gtn_ebm.errors import DataError
from recipes.handwriting_lines.line import Line
from recipes.handwriting_lines.rows import rows
from recipes.images import read_grey

TRANSCRIPTIONS = Path("ascii", "lines.txt")

LAYOUT = f"{TRANSCRIPTIONS.as_posix()} (IAM)"

PARTS = ("train", "valid", "test")
"""How the names of lists begin."""

_NAME = re.compile(r"[a-z][0-9]{2}-[0-9]{3}[a-z]?-[0-9]{2}")
_FIELDS = 9  # of a transcription: name, ok or err, grey level, components, x, y, width, height, text


def is_layout(directory: Path) -> bool:
    """Whether it is a folder of this database."""
    return (directory / TRANSCRIPTIONS).is_file()


def read_folder(directory: Path) -> dict[str, list[Line]]:
    """The lines of each part, by PARTS; a part without a list, such as "test", is left out.

    ``err`` in a transcription says that the line was cut badly into words, which is nothing to us: both kinds
    are read. Punctuation is a word of its own, as in the database.

    Raises:
        DataError: with file and line: what is missing, doubled, unreadable, or of another form; there is no
            list of lines to train on.
    """
    texts = _transcriptions(directory / TRANSCRIPTIONS)
    images = directory / "lines"
    if not images.is_dir():
        raise DataError(f"{images}: no such folder; unpack the images of the lines there")
    lists = _lists(directory)
    if "train" not in lists:
        raise DataError(
            f"{directory}: no list of the lines to train on; looked for train*.txt here and in its folders"
        )
    return {part: _lines(images, texts, files) for part, files in lists.items()}


def _transcriptions(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for number, row in _entries(path):
        fields = row.split(" ", _FIELDS - 1)
        where = f"{path}, line {number}"
        if len(fields) < _FIELDS or fields[1] not in ("ok", "err") or not _NAME.fullmatch(fields[0]):
            raise DataError(
                f"{where}: {row[:60]!r} is no transcription; expected 'a01-000u-00 ok GREY PIECES X Y WIDTH "
                "HEIGHT some|words'"
            )
        if fields[0] in texts:
            raise DataError(f"{where}: {fields[0]} is transcribed a second time; keep one of them")
        texts[fields[0]] = " ".join(fields[-1].replace("|", " ").split())
    if not texts:
        raise DataError(f"{path}: no transcriptions")
    return texts


def _lists(directory: Path) -> dict[str, list[Path]]:
    """The lists of each part; a part may have several, such as validationset1.txt and validationset2.txt."""
    places = [*directory.glob("*.txt"), *directory.glob("*/*.txt")]
    lists = {part: sorted(path for path in places if path.name.startswith(part)) for part in PARTS}
    return {part: files for part, files in lists.items() if files}


def _lines(images: Path, texts: dict[str, str], files: list[Path]) -> list[Line]:
    of_form: dict[str, list[str]] = {}
    for name in texts:
        of_form.setdefault(name.rpartition("-")[0], []).append(name)
    chosen: dict[str, None] = {}
    for path in files:
        for number, row in _entries(path):
            names = [row] if row in texts else of_form.get(row)
            if names is None:
                raise DataError(
                    f"{path}, line {number}: {row[:60]!r} is no line or form in {TRANSCRIPTIONS.as_posix()}"
                )
            chosen.update(dict.fromkeys(names))
    return [Line(name, texts[name], partial(read_grey, _image(images, name))) for name in chosen]


def _image(images: Path, name: str) -> Path:
    form = name.rpartition("-")[0]
    return images / form.partition("-")[0] / form / f"{name}.png"


def _entries(path: Path) -> list[tuple[int, str]]:
    """Rows that are no comments."""
    return [(number, row) for number, row in rows(path) if not row.startswith("#")]
