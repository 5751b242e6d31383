"""The AT&T text form of graphs, as OpenFst's ``fstcompile`` reads and ``fstprint`` writes it.

An arc is a line ``source destination input output [energy]``, a final state a line ``state [energy]``;
columns stand apart by tabs or spaces. The initial state is the one the first line begins with, at energy 0.
An energy left out is 0; ``Infinity`` is +inf. An acceptor may be written with one label a line (``fstcompile
--acceptor``); because four columns would mean two things, that form has a function of its own,
``read_acceptor_text``.

Labels are names where a symbol table is given, ``<eps>`` (also ``<epsilon>``, and ``ε`` unless the table has
it) being epsilon. Without a table they are numbers, where OpenFst's 0 is epsilon: the file's number is our
label + 1.

Beyond OpenFst, blank lines and lines that begin with ``#`` are skipped in graphs (not in symbol tables, where
``#`` may be a symbol).

Source: https://www.openfst.org/twiki/bin/view/FST/FstQuickTour.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.io.files import FileName, write_whole
from gtn_ebm.symbols import EPSILON, EPSILON_NAME, Symbols

_EPSILON = "<eps>"
_EPSILONS = (_EPSILON, "<epsilon>", EPSILON_NAME)
_INFINITY = "Infinity"
_LARGEST = 2**31  # our largest label + 1
_FORM = {
    1: "'source destination label [energy]' (arcs with two labels: read_text)",
    2: "'source destination input output [energy]' (arcs with one label: read_acceptor_text)",
}
_ENERGY = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|\+?inf(inity)?", re.ASCII | re.IGNORECASE)


def read_text(
    path: FileName,
    input_symbols: Symbols | None = None,
    output_symbols: Symbols | None = None,
    dtype: torch.dtype = torch.float32,
) -> Graph:
    """Reads a graph whose arcs have two labels: four columns, or five with an energy.

    Args:
        path: a text file in UTF-8.
        input_symbols, output_symbols: the tables of the names in the file; labels are numbers where omitted.
        dtype: of the energies.

    Returns:
        The graph, its arcs in the order of their lines, its states numbered without gaps in the order of
        their numbers in the file. The tables become its own.

    Raises:
        GraphFormatError: with file and line: a wrong number of columns, a label that is not in its table, an
            energy that is no number, NaN, −inf or too large for ``dtype``, a state that is final twice, a
            file that cannot be read, is not UTF-8 or holds nothing.
        GraphError: a table that has ``<eps>`` or ``<epsilon>`` among its symbols.
    """
    return _read(Path(path), (input_symbols, output_symbols), dtype)


def read_acceptor_text(
    path: FileName, symbols: Symbols | None = None, dtype: torch.dtype = torch.float32
) -> Graph:
    """Reads an acceptor whose arcs have one label: three columns, or four with an energy.

    The rest is as in ``read_text``.
    """
    return _read(Path(path), (symbols,), dtype)


def write_text(graph: Graph, path: FileName) -> None:
    """Writes a graph in the form that ``read_text`` and ``fstcompile`` read, with two labels for each arc.

    Labels are written as names where the graph has a symbol table. The form has one initial state, at energy
    0: any other graph gets a new state, numbered after all others, from which an epsilon arc with the initial
    energy leads to each initial state. Arcs keep their order. Arc attributes are not written, nor states that
    no line needs.

    Raises:
        GraphError: an energy that is NaN or −inf; a symbol that contains a space or a line's end, or that is
            ``<eps>`` or ``<epsilon>``; a label without a name in its table.
        OSError: the folder cannot be written.
    """
    write_whole(path, "".join(_rows(graph)))


def read_symbols(path: FileName) -> Symbols:
    """Reads a symbol table: a line ``name number`` for each symbol, number 0 being epsilon (``<eps>``).

    The symbols are taken in the order of their numbers: label k is number k + 1 where the numbers have no
    gap.

    Raises:
        GraphFormatError: with file and line: not two columns, a number below 0 or no number, a name or number
            given twice, number 0 for a symbol other than epsilon or the reverse, a file that cannot be read.
    """
    path = Path(path)
    numbers: dict[str, int] = {}
    names: dict[int, str] = {}
    for line, fields in _lines(path):
        with _at(path, line):
            name, number = _symbol(fields)
            if name in numbers or number in names:
                raise GraphFormatError(f"the name {name!r} or the number {number} is in the table already")
            numbers[name], names[number] = number, name
    return Symbols(names[number] for number in sorted(names) if number > 0)


def write_symbols(symbols: Symbols, path: FileName) -> None:
    """Writes a symbol table that ``read_symbols`` and OpenFst read: epsilon is 0, label k is number k + 1.

    Raises:
        GraphError: a symbol that contains a space or a line's end, or that is ``<eps>`` or ``<epsilon>``.
        OSError: the folder cannot be written.
    """
    names = [_EPSILON, *map(_writable, symbols)]
    write_whole(path, "".join(f"{name}\t{number}\n" for number, name in enumerate(names)))


@contextmanager
def _at(path: Path, line: int) -> Iterator[None]:
    """Adds file and line to a GraphFormatError raised inside."""
    try:
        yield
    except GraphFormatError as error:
        raise GraphFormatError(f"{path}, line {line}: {error}") from None


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number and the columns of each line that is not blank."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise GraphFormatError(f"{path} cannot be read: {error.strerror}") from error
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        found = f"byte {data[error.start]:#x}"
        raise GraphFormatError(f"{path}, line {number}: {found} is not UTF-8; save as UTF-8") from None
    # Not splitlines() nor split(): other characters that Unicode calls space may stand in a symbol.
    for number, line in enumerate(text.split("\n"), start=1):
        fields = [field for field in line.rstrip("\r").replace("\t", " ").split(" ") if field]
        if fields:
            yield number, fields


def _symbol(fields: list[str]) -> tuple[str, int]:
    if len(fields) != 2:
        raise GraphFormatError(f"found {len(fields)} columns; write a symbol's name and its number")
    name, number = fields[0], _number(fields[1], "the number of a symbol")
    if number == 0 and name not in _EPSILONS:
        raise GraphFormatError(f"number 0 is {name!r}; it must be epsilon, as in '{_EPSILON} 0'")
    if number > 0 and name in _EPSILONS[:2]:
        raise GraphFormatError(f"{name} has number {number}; epsilon must have number 0")
    return name, number


def _read(path: Path, tables: tuple[Symbols | None, ...], dtype: torch.dtype) -> Graph:
    arcs: list[tuple[int, int, list[int], float]] = []
    final: dict[int, float] = {}
    first = None
    names = [_labels_of(table) for table in tables]
    for line, fields in _lines(path):
        if fields[0].startswith("#"):
            continue
        with _at(path, line):
            state = _number(fields[0], "a state")
            if len(fields) <= 2:
                if state in final:
                    raise GraphFormatError(f"state {state} is made final a second time")
                final[state] = _energy(fields[1:], dtype)
            else:
                arcs.append(_arc(state, fields, names, dtype))
        first = state if first is None else first
    if first is None:
        raise GraphFormatError(f"{path} holds no arc and no final state")
    return _graph(arcs, final, first, tables, dtype)


def _arc(
    state: int, fields: list[str], names: list[dict[str, int] | None], dtype: torch.dtype
) -> tuple[int, int, list[int], float]:
    labels, energy = fields[2 : 2 + len(names)], fields[2 + len(names) :]
    if len(labels) < len(names) or len(energy) > 1:
        raise GraphFormatError(f"found {len(fields)} columns where an arc is {_FORM[len(names)]}")
    return (
        state,
        _number(fields[1], "a state"),
        [_label(label, table) for label, table in zip(labels, names, strict=True)],
        _energy(energy, dtype),
    )


def _graph(
    arcs: list[tuple[int, int, list[int], float]],
    final: dict[int, float],
    first: int,
    tables: tuple[Symbols | None, ...],
    dtype: torch.dtype,
) -> Graph:
    numbers = sorted({first, *final, *(arc[0] for arc in arcs), *(arc[1] for arc in arcs)})
    place = {number: state for state, number in enumerate(numbers)}
    labels = [[arc[2][side] for arc in arcs] for side in range(len(tables))]
    structure = Structure(
        [place[arc[0]] for arc in arcs],
        [place[arc[1]] for arc in arcs],
        labels[0],
        None if labels[-1] == labels[0] else labels[-1],
        states=len(numbers),
    )
    return Graph(
        structure,
        torch.tensor([arc[3] for arc in arcs], dtype=dtype),
        initial=[place[first]],
        final=torch.tensor([final.get(number, torch.inf) for number in numbers], dtype=dtype),
        input_symbols=tables[0],
        output_symbols=tables[-1],
    )


def _number(text: str, what: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise GraphFormatError(f"{text!r} is not {what}; write a whole number from 0")
    return int(text)


def _energy(fields: list[str], dtype: torch.dtype) -> float:
    text = fields[0] if fields else "0"
    if not _ENERGY.fullmatch(text):
        raise GraphFormatError(f"{text!r} is not an energy; write a number, or Infinity for +inf")
    energy = float(text)
    if abs(energy) > torch.finfo(dtype).max and "inf" not in text.lower():
        raise GraphFormatError(f"the energy {text} is too large for {dtype}")
    return energy


def _labels_of(table: Symbols | None) -> dict[str, int] | None:
    """What each name in a file means; None where labels are numbers."""
    if table is None:
        return None
    for name in _EPSILONS[:2]:
        if name in table:
            raise GraphError(
                f"the table has {name!r} among its symbols, but in files that is epsilon; rename it"
            )
    return {**dict.fromkeys(_EPSILONS, EPSILON), **{name: label for label, name in enumerate(table)}}


def _label(text: str, names: dict[str, int] | None) -> int:
    if names is not None:
        if text not in names:
            raise GraphFormatError(f"{text!r} is not in the symbol table")
        return names[text]
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) > _LARGEST:
        wanted = f"write a number from 0 to {_LARGEST}, or give a symbol table to read names"
        raise GraphFormatError(f"{text!r} is not a label; {wanted}")
    return int(text) - 1


def _rows(graph: Graph) -> Iterator[str]:
    """The lines of a graph."""
    energies, initial, final = (_written(part) for part in (graph.energies, graph.initial, graph.final))
    tables = graph.input_symbols, graph.output_symbols
    read, written = _names(graph.input_labels, tables[0]), _names(graph.output_labels, tables[1])
    starts = [state for state, energy in enumerate(initial) if energy != _INFINITY]
    if len(starts) == 1 and not initial[starts[0]]:
        first, entries = starts[0], []
    else:
        first, entries = graph.states, starts
        final.append(_INFINITY)
    if not entries and graph.source[:1].tolist() != [first]:
        # A line of its own says which state is the initial one.
        yield _row(first, final[first])
        final[first] = _INFINITY
    epsilons = ["0" if table is None else _EPSILON for table in tables]
    for state in entries:
        yield _row(first, state, *epsilons, initial[state])
    for arc, (source, destination) in enumerate(zip(graph.source, graph.destination, strict=True)):
        yield _row(source, destination, read[arc], written[arc], energies[arc])
    for state, energy in enumerate(final):
        if energy != _INFINITY:
            yield _row(state, energy)


def _row(*columns: object) -> str:
    return "\t".join(str(column) for column in columns if column != "") + "\n"


def _written(energies: Tensor) -> list[str]:
    """Each energy in the fewest digits that give it back, "" for 0."""
    energies = energies.detach().cpu()
    unusable = torch.isnan(energies) | (energies == -torch.inf)
    if unusable.any():
        place = int(unusable.nonzero()[0])
        raise GraphError(
            f"energy {place} of {len(energies)} is {energies[place]:g}: NaN and −inf cannot be written"
        )
    values = (energies if energies.dtype in (torch.float32, torch.float64) else energies.float()).numpy()
    return ["" if value == 0 else _INFINITY if value == np.inf else str(value) for value in values]


def _names(labels: NDArray[np.int32], table: Symbols | None) -> list[str]:
    if table is None:
        return [str(label + 1) for label in labels.tolist()]
    names = {label: _writable(table.name(label)) for label in np.unique(labels).tolist() if label != EPSILON}
    return [names.get(label, _EPSILON) for label in labels.tolist()]


def _writable(name: str) -> str:
    if name in _EPSILONS[:2] or re.search("[\t\n\r \ud800-\udfff]", name):
        wrong = "is epsilon's name" if name in _EPSILONS else "has a space or no UTF-8 form"
        raise GraphError(f"the symbol {name!r} cannot be written, for it {wrong}; rename it")
    return name
