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
from array import array
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.io.ends import check_energies, check_labels, finite_states, single_initial
from gtn_ebm.io.files import File, write_whole
from gtn_ebm.io.lines import Lines, energy, whole_number
from gtn_ebm.io.symbols import EPSILON_NAMES, writable
from gtn_ebm.symbols import EPSILON, Symbols

_INFINITY = "Infinity"
_LARGEST = 2**31 - 1  # in files, where epsilon is 0
_FORM = {
    1: "'source destination label [energy]' (arcs with two labels: read_text)",
    2: "'source destination input output [energy]' (arcs with one label: read_acceptor_text)",
}


def read_text(
    path: File,
    input_symbols: Symbols | None = None,
    output_symbols: Symbols | None = None,
    dtype: torch.dtype = torch.float32,
) -> Graph:
    """Reads a graph whose arcs have two labels: four columns, or five with an energy.

    Args:
        path: a text file in UTF-8, or an open binary file.
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
    return _read(path, (input_symbols, output_symbols), dtype)


def read_acceptor_text(
    path: File, symbols: Symbols | None = None, dtype: torch.dtype = torch.float32
) -> Graph:
    """Reads an acceptor whose arcs have one label: three columns, or four with an energy.

    The rest is as in ``read_text``.
    """
    return _read(path, (symbols,), dtype)


@takes_graphs
def write_text(graph: Graph, path: File) -> None:
    """Writes a graph in the form that ``read_text`` and ``fstcompile`` read, with two labels for each arc.

    Labels are written as names where the graph has a symbol table. The form has one initial state, at energy
    0: any other graph gets a new state, numbered after all others, from which an epsilon arc with the initial
    energy leads to each initial state. Arcs keep their order. Arc attributes are not written, nor states that
    no line needs.

    Raises:
        GraphError: an energy that is NaN or −inf; a symbol that contains a space or a line's end, or that is
            ``<eps>`` or ``<epsilon>``; a label without a name in its table, or of 2³¹ − 1.
        OSError: the folder cannot be written.
    """
    check_energies(graph)
    check_labels(graph, "text files")
    write_whole(path, "".join(_rows(graph)))


def _read(path: File, tables: tuple[Symbols | None, ...], dtype: torch.dtype) -> Graph:
    rows = _Rows(len(tables), dtype)
    names = [_labels_of(table) for table in tables]
    lines = Lines(path)
    for number, fields in lines.columns(3 + len(tables)):
        if fields[0].startswith("#"):
            continue
        with lines.at(number):
            if len(fields) <= 2:
                rows.end(fields)
            else:
                rows.arc(fields, names)
    if rows.first is None:
        raise lines.error_at_end("the file holds no arc and no final state")
    return rows.graph(rows.first, tables)


class _Rows:
    """The arcs and final states of the lines read so far, in the numbers of the file."""

    def __init__(self, labels: int, dtype: torch.dtype):
        self.dtype = dtype
        self.first: int | None = None  # the state the first line begins with
        self._ends = array("q"), array("q")
        self._labels = tuple(array("i") for _ in range(labels))
        self._energies = array("d")
        self._final: dict[int, float] = {}

    def end(self, fields: list[str]) -> None:
        state = self._state(fields[0])
        if state in self._final:
            raise GraphFormatError(f"state {state} is made final a second time")
        self._final[state] = energy(fields[1], self.dtype) if len(fields) > 1 else 0.0

    def arc(self, fields: list[str], names: list[dict[str, int] | None]) -> None:
        labels, rest = fields[2 : 2 + len(names)], fields[2 + len(names) :]
        source, destination = self._state(fields[0]), whole_number(fields[1], "a state")
        if len(labels) < len(names) or len(rest) > 1:
            found = f"{len(fields)} columns" + " or more" * (len(rest) > 1)
            raise GraphFormatError(f"found {found} where an arc is {_FORM[len(names)]}")
        for column, label, table in zip(self._labels, labels, names, strict=True):
            column.append(_label(label, table))
        self._energies.append(energy(rest[0], self.dtype) if rest else 0.0)
        self._ends[0].append(source)
        self._ends[1].append(destination)

    def _state(self, text: str) -> int:
        state = whole_number(text, "a state")
        self.first = state if self.first is None else self.first
        return state

    def graph(self, first: int, tables: tuple[Symbols | None, ...]) -> Graph:
        source, destination = (np.frombuffer(ends, np.int64) for ends in self._ends)
        named = np.fromiter(self._final, np.int64, len(self._final))
        numbers = np.unique(np.concatenate([[first], named, source, destination]))
        labels = [np.frombuffer(column, np.int32) for column in self._labels]
        final = torch.full((len(numbers),), torch.inf, dtype=torch.float64)
        final[torch.from_numpy(np.searchsorted(numbers, named))] = torch.tensor(
            list(self._final.values()), dtype=torch.float64
        )
        return Graph(
            Structure(
                np.searchsorted(numbers, source),
                np.searchsorted(numbers, destination),
                labels[0],
                None if np.array_equal(labels[0], labels[-1]) else labels[-1],
                states=len(numbers),
            ),
            torch.tensor(self._energies, dtype=torch.float64).to(self.dtype),
            initial=[int(np.searchsorted(numbers, first))],
            final=final.to(self.dtype),
            input_symbols=tables[0],
            output_symbols=tables[-1],
        )


def _labels_of(table: Symbols | None) -> dict[str, int] | None:
    """What each name in a file means; None where labels are numbers."""
    if table is None:
        return None
    for name in EPSILON_NAMES[:2]:
        if name in table:
            raise GraphError(
                f"the table has {name!r} among its symbols, but in files that is epsilon; rename it"
            )
    return {**dict.fromkeys(EPSILON_NAMES, EPSILON), **{name: label for label, name in enumerate(table)}}


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
    graph, first = single_initial(graph)
    read = _names(graph.input_labels, graph.input_symbols)
    written = _names(graph.output_labels, graph.output_symbols)
    energies, final = number_texts(graph.energies), number_texts(graph.final)
    ends = finite_states(graph.final).tolist()
    if graph.source[:1].tolist() != [first]:
        # A line of its own says which state is the initial one.
        yield _row(first, final[first])
        ends = [state for state in ends if state != first]
    arcs = zip(graph.source.tolist(), graph.destination.tolist(), read, written, energies, strict=True)
    yield from (_row(*arc) for arc in arcs)
    yield from (_row(state, final[state]) for state in ends)


def _row(*columns: object) -> str:
    return "\t".join(str(column) for column in columns if column != "") + "\n"


def number_texts(energies: Tensor) -> list[str]:
    """Each energy in the fewest digits that give it back, "" for 0."""
    energies = energies.detach().cpu()
    values = (energies if energies.dtype in (torch.float32, torch.float64) else energies.float()).numpy()
    return ["" if value == 0 else _INFINITY if value == np.inf else str(value) for value in values]


def _names(labels: NDArray[np.int32], table: Symbols | None) -> list[str]:
    if table is None:
        return [str(label + 1) for label in labels.tolist()]
    names = {label: writable(table.name(label)) for label in np.unique(labels).tolist() if label != EPSILON}
    return [names.get(label, EPSILON_NAMES[0]) for label in labels.tolist()]
