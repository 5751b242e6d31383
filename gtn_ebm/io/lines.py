"""Text files line by line: columns, numbers and energies, with line and byte in every message.

A hostile file must not take memory out of proportion: lines are decoded one at a time, and a line is never
cut into more columns than its form has.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import torch

from gtn_ebm.errors import GraphFormatError
from gtn_ebm.io.files import File, read_whole

LONGEST_LINE = 1 << 24
"""In bytes."""

# Not split(): other characters that Unicode calls space may stand in a symbol.
_COLUMN = re.compile("[^ \t]+")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf(inity)?", re.ASCII | re.IGNORECASE)


class Lines:
    """The lines of a file in UTF-8, numbered from 1.

    Raises:
        GraphFormatError: the file cannot be read; on iteration, a line that is not UTF-8 or too long.
    """

    def __init__(self, file: File):
        self._data, self.name = read_whole(file)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        for number, data in enumerate(io.BytesIO(self._data), start=1):
            with self.at(number):
                line = _decoded(data.removeprefix(b"\xef\xbb\xbf") if number == 1 else data)
            yield number, line

    def columns(self, most: int) -> Iterator[tuple[int, list[str]]]:
        """The number and the columns of each line that is not blank, as ``columns`` cuts them."""
        for number, line in self:
            found = columns(line, most)
            if found:
                yield number, found

    @contextmanager
    def at(self, number: int) -> Iterator[None]:
        """Adds file, line and byte to a GraphFormatError raised inside."""
        try:
            yield
        except GraphFormatError as error:
            begin = sum(map(len, islice(io.BytesIO(self._data), number - 1)))
            where = f"{self.name}, line {number}"
            raise GraphFormatError(f"{where}: {error} (the line begins at byte {begin})") from None

    def error_at_end(self, message: str) -> GraphFormatError:
        """An error that only the end of the file shows."""
        return GraphFormatError(f"{self.name}, byte {len(self._data)}: {message}")


def _decoded(data: bytes) -> str:
    if len(data) > LONGEST_LINE:
        raise GraphFormatError(f"the line has {len(data)} bytes; at most {LONGEST_LINE} are read")
    try:
        return data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise GraphFormatError(f"byte {data[error.start]:#x} is not UTF-8; save as UTF-8") from None


def columns(line: str, most: int) -> list[str]:
    """The columns of a line, which stand apart by tabs or spaces: ``most`` of them, and the next, if any."""
    return [found[0] for found in islice(_COLUMN.finditer(line), most + 1)]


def whole_number(text: str, what: str, largest: int = 10**18 - 1) -> int:
    """A number from 0 to ``largest``."""
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) > largest:
        wanted = "a whole number from 0" if largest == 10**18 - 1 else f"a number from 0 to {largest}"
        raise GraphFormatError(f"{text!r} is not {what}; write {wanted}")
    return int(text)


def real_number(text: str, what: str, dtype: torch.dtype = torch.float64) -> float:
    """A finite number or an infinity; what ``dtype`` cannot hold is refused, not made infinite."""
    if not _FLOAT.fullmatch(text):
        raise GraphFormatError(f"{text!r} is not {what}; write a number, or Infinity for +inf")
    value = float(text)
    if abs(value) > torch.finfo(dtype).max and "n" not in text.lower():
        raise GraphFormatError(f"the number {text} is too large for {dtype}")
    return value


def energy(text: str, dtype: torch.dtype) -> float:
    """An energy: a number, or +inf."""
    value = real_number(text, "an energy", dtype)
    if value == -math.inf:
        raise GraphFormatError(f"{text!r} is not an energy; write a number, or Infinity for +inf")
    return value


def score(text: str, what: str) -> float:
    """A score, by ``what`` its format calls it: a number in single precision, or −inf."""
    value = real_number(text, f"a {what}", torch.float32)
    if value == math.inf:
        raise GraphFormatError(
            f"the {what} is +inf; an arc can be impossible, −inf, but not certain beyond all"
        )
    return value
