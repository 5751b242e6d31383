"""Symbol tables as files, in OpenFst's text and binary forms.

In both, number 0 is epsilon, and our label k is number k + 1. From a table with gaps between its numbers the
symbols are taken in the order of their numbers, so that our labels have none.
"""

from __future__ import annotations

import re
from array import array

import numpy as np
from numpy.typing import NDArray

from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.io.cursor import Cursor
from gtn_ebm.io.files import File, write_whole
from gtn_ebm.io.lines import Lines, whole_number
from gtn_ebm.symbols import EPSILON_NAME, Symbols

EPSILON_NAMES = ("<eps>", "<epsilon>", EPSILON_NAME)
"""What epsilon is called in files, first as we write it."""

_MAGIC = 2125658996


def read_symbols(path: File) -> Symbols:
    """Reads a symbol table: a line ``name number`` for each symbol, number 0 being epsilon (``<eps>``).

    The symbols are taken in the order of their numbers: label k is number k + 1 where the numbers have no
    gap.

    Raises:
        GraphFormatError: with file and line: not two columns, a number below 0 or no number, a name or number
            given twice, number 0 for a symbol other than epsilon or the reverse, a file that cannot be read.
    """
    numbers: dict[str, int] = {}
    names: dict[int, str] = {}
    lines = Lines(path)
    for line, fields in lines.columns(2):
        with lines.at(line):
            name, number = _symbol(fields)
            if name in numbers or number in names:
                raise GraphFormatError(f"the name {name!r} or the number {number} is in the table already")
            numbers[name], names[number] = number, name
    return Symbols(names[number] for number in sorted(names) if number > 0)


def _symbol(fields: list[str]) -> tuple[str, int]:
    if len(fields) != 2:
        found = f"{len(fields)} columns" + " or more" * (len(fields) > 2)
        raise GraphFormatError(f"found {found}; write a symbol's name and its number")
    name, number = fields[0], whole_number(fields[1], "the number of a symbol")
    if number == 0 and name not in EPSILON_NAMES:
        raise GraphFormatError(f"number 0 is {name!r}; it must be epsilon, as in '{EPSILON_NAMES[0]} 0'")
    if number > 0 and name in EPSILON_NAMES[:2]:
        raise GraphFormatError(f"{name} has number {number}; epsilon must have number 0")
    return name, number


def write_symbols(symbols: Symbols, path: File) -> None:
    """Writes a symbol table that ``read_symbols`` and OpenFst read: epsilon is 0, label k is number k + 1.

    Raises:
        GraphError: a symbol that contains a space or a line's end, or that is ``<eps>`` or ``<epsilon>``.
        OSError: the folder cannot be written.
    """
    names = [EPSILON_NAMES[0], *map(writable, symbols)]
    write_whole(path, "".join(f"{name}\t{number}\n" for number, name in enumerate(names)))


def writable(name: str) -> str:
    """The symbol as it is; GraphError where a text file cannot hold it."""
    if name in EPSILON_NAMES[:2] or re.search("[\t\n\r \ud800-\udfff]", name):
        wrong = "is epsilon's name" if name in EPSILON_NAMES else "has a space or no UTF-8 form"
        raise GraphError(f"the symbol {name!r} cannot be written, for it {wrong}; rename it")
    return name


def read_binary_symbols(path: File) -> Symbols:
    """Reads a symbol table in OpenFst's binary form.

    Number 0 is epsilon whatever its name; the other symbols are taken as ``read_symbols`` takes them.

    Raises:
        GraphFormatError: with file and byte: a file that is cut off, goes on after its end or is no symbol
            table; a negative number; a name or number given twice; a name that is empty or not UTF-8.
    """
    cursor = Cursor(path)
    symbols, _ = decode_symbols(cursor)
    cursor.end()
    return symbols


def write_binary_symbols(symbols: Symbols, path: File) -> None:
    """Writes a symbol table in OpenFst's binary form: epsilon is 0, label k is number k + 1.

    Raises:
        GraphError: a symbol that is ``<eps>`` or has no UTF-8 form.
        OSError: the folder cannot be written.
    """
    write_whole(path, encode_symbols(symbols))


def decode_symbols(cursor: Cursor) -> tuple[Symbols, NDArray[np.int64]]:
    """The table that begins here, and the number of each symbol in the file, ascending."""
    start = cursor.offset
    if cursor.integer(4, "a symbol table") != _MAGIC:
        raise cursor.error("here should begin a symbol table of OpenFst's binary form", start)
    cursor.text("the table's name")
    cursor.integer(8, "the next free number")
    names: list[str] = []
    numbers = array("q")
    for _ in range(_size(cursor)):
        name = cursor.text("a symbol's name")
        number = cursor.integer(8, "a symbol's number")
        if number < 0:
            raise cursor.error(f"the symbol {name!r} has the number {number}", cursor.offset - 8)
        if number > 0:
            names.append(name)
            numbers.append(number)
    order = np.argsort(numbers, kind="stable")
    ascending = np.frombuffer(numbers, np.int64)[order]
    if (ascending[1:] == ascending[:-1]).any():
        raise cursor.error("in the symbol table that begins here, two symbols have one number", start)
    try:
        return Symbols(names[place] for place in order.tolist()), ascending
    except GraphError as error:
        raise cursor.error(f"in the symbol table that begins here, {error}", start) from None


def _size(cursor: Cursor) -> int:
    smallest = 4 + 8
    size = cursor.integer(8, "the number of symbols")
    if not 0 <= size <= cursor.remaining // smallest:
        raise cursor.error(f"{size} symbols are announced for {cursor.remaining} bytes", cursor.offset - 8)
    return size


def encode_symbols(symbols: Symbols) -> bytes:
    """The table in OpenFst's binary form."""
    names = [EPSILON_NAMES[0], *symbols]
    if EPSILON_NAMES[0] in symbols:
        raise GraphError(f"{EPSILON_NAMES[0]!r} is epsilon's name in files; rename the symbol")
    parts = [_integer(_MAGIC, 4), _text("gtn_ebm"), _integer(len(names), 8), _integer(len(names), 8)]
    for number, name in enumerate(names):
        parts += _text(name), _integer(number, 8)
    return b"".join(parts)


def _integer(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little", signed=True)


def _text(text: str) -> bytes:
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise GraphError(f"the symbol {text!r} has no UTF-8 form; rename it") from None
    return _integer(len(data), 4) + data
