"""The text and binary forms of ``gtn``: start nodes, accept nodes, arcs.

gtn's weights are scores, higher being better: ours with the sign turned. Epsilon is −1 in both. Its start and
accept nodes have no weights.

Text: a line of the start nodes, a line of the accept nodes, then a line ``source destination label``,
``source destination input output`` or ``source destination input output weight`` for each arc.
Binary, in integers of 32 bits, little end first: the numbers of nodes, arcs, start and accept nodes; the
start nodes; the accept nodes; source, destination, input and output label of each arc; the weights, float32.

Source: https://github.com/gtn-org/gtn, gtn/utils.cpp.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphFormatError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.io.cursor import Cursor
from gtn_ebm.io.ends import check_energies, check_states, finite_states, single_final, single_initial
from gtn_ebm.io.files import File, write_whole
from gtn_ebm.io.lines import Lines, columns, score, whole_number
from gtn_ebm.io.text import number_texts
from gtn_ebm.symbols import EPSILON

_LARGEST = 2**31 - 1
_NODE = re.compile("[^ \t]+")


def read_gtn(path: File) -> Graph:
    """Reads a graph as ``gtn.save`` writes it.

    Args:
        path: the file, or an open binary file.

    Returns:
        The graph, its states and arcs in the file's order, its energies, float32, minus the file's weights.

    Raises:
        GraphFormatError: with file and byte: a file that is cut off or goes on after its end; a node, start
            node or accept node that does not exist; a label below −1; a weight that is NaN or +inf; many
            more nodes announced than any arc or end names.
    """
    cursor = Cursor(path)
    states, arcs, starts, accepts = (
        cursor.integer(4, f"the number of {what}") for what in ("nodes", "arcs", "start", "accept nodes")
    )
    initial = _nodes(cursor, starts, states, "start")
    final = _nodes(cursor, accepts, states, "accept")
    begin = cursor.offset
    table = cursor.array("<i4", 4 * arcs, "the arcs").reshape(-1, 4)
    weights = cursor.array("<f4", arcs, "the weights")
    cursor.end()
    try:
        check_states(states, 2 * arcs + starts + accepts)
    except GraphFormatError as error:
        raise cursor.error(str(error), 0) from None
    wrong = (
        (table[:, :2] < 0).any(1)
        | (table[:, :2] >= states).any(1)
        | (table[:, 2:] < EPSILON).any(1)
        | ~(weights < np.inf)
    )
    if wrong.any():
        arc = int(np.argmax(wrong))
        found = f"arc {arc} is {table[arc].tolist()} with weight {weights[arc]}, of {states} nodes"
        raise cursor.error(f"{found}; a node, label or weight of it is not possible", begin + 16 * arc)
    source, destination, read, written = table.T.astype(np.int32)
    return _graph(
        states,
        source,
        destination,
        read,
        written,
        -torch.from_numpy(weights.astype(np.float32)),
        initial,
        final,
    )


def _nodes(cursor: Cursor, count: int, states: int, what: str) -> NDArray[np.int32]:
    begin = cursor.offset
    nodes = cursor.array("<i4", count, f"the {what} nodes")
    wrong = (nodes < 0) | (nodes >= states)
    if wrong.any():
        place = int(np.argmax(wrong))
        raise cursor.error(f"{what} node {nodes[place]} is none of {states}", begin + 4 * place)
    return nodes


@takes_graphs
def write_gtn(graph: Graph, path: File) -> None:
    """Writes a graph as ``gtn.save`` does, for ``gtn.load``.

    Attributes and symbol tables are not written. Where an initial energy is neither 0 nor +inf, a new start
    node comes last, with an epsilon arc for each initial state; accept nodes likewise.

    Raises:
        GraphError: an energy that is NaN, −inf or finite and too large for float32.
        OSError: the folder cannot be written.
    """
    graph = _without_end_energies(graph)
    initial, final = finite_states(graph.initial), finite_states(graph.final)
    numbers = [graph.states, graph.arcs, len(initial), len(final)]
    arcs = np.stack([graph.source, graph.destination, graph.input_labels, graph.output_labels], axis=1)
    parts = [np.array(numbers), initial, final, arcs]
    weights = -graph.energies.detach().float().cpu().numpy()
    write_whole(
        path, b"".join(part.astype("<i4").tobytes() for part in parts) + weights.astype("<f4").tobytes()
    )


def read_gtn_text(path: File) -> Graph:
    """Reads a graph as ``gtn.savetxt`` writes it.

    Args:
        path: a text file, or an open binary file.

    Returns:
        The graph, its arcs in the order of their lines, its energies, float32, minus the file's weights.

    Raises:
        GraphFormatError: with file and line: a wrong number of columns; a node below 0; a start or accept
            node given twice; a label below −1; a weight that is NaN, +inf or too large; a node numbered far
            beyond all that the file names.
    """
    lines = Lines(path)
    each = iter(lines)
    initial, final = (_node_line(lines, each, what) for what in ("start", "accept"))
    table, weights = array("i"), array("d")
    for number, line in each:
        with lines.at(number):
            fields = columns(line, 5)
            if not 3 <= len(fields) <= 5:
                found = f"{len(fields)} columns" + " or more" * (len(fields) > 5)
                raise GraphFormatError(
                    f"found {found}; an arc is 'source destination input [output [weight]]'"
                )
            ends = [whole_number(text, "a node", _LARGEST) for text in fields[:2]]
            labels = [_label(text) for text in (fields[2], fields[3] if len(fields) > 3 else fields[2])]
            table.extend(ends + labels)
            weights.append(score(fields[4], "weight") if len(fields) > 4 else 0.0)
    rows = np.frombuffer(table, np.int32).reshape(-1, 4)
    source, destination, read, written = rows.T.copy()
    states = 1 + max(int(part.max(initial=-1)) for part in (initial, final, source, destination))
    try:
        check_states(states, 2 * len(rows) + len(initial) + len(final))
    except GraphFormatError as error:
        raise lines.error_at_end(str(error)) from None
    energies = -torch.tensor(weights, dtype=torch.float32)
    return _graph(states, source, destination, read, written, energies, initial, final)


def _node_line(lines: Lines, each: Iterator[tuple[int, str]], what: str) -> NDArray[np.int32]:
    number, line = next(each, (0, ""))
    if number == 0:
        raise lines.error_at_end(f"the file ends before its line of {what} nodes")
    nodes = array("i")
    with lines.at(number):
        for found in _NODE.finditer(line):
            nodes.append(whole_number(found[0], "a node", _LARGEST))
        result = np.frombuffer(nodes, np.int32)
        if len(np.unique(result)) < len(result):
            raise GraphFormatError(f"the line names a {what} node twice")
    return result


def _label(text: str) -> int:
    return EPSILON if text == "-1" else whole_number(text, "a label", _LARGEST)


@takes_graphs
def write_gtn_text(graph: Graph, path: File) -> None:
    """Writes a graph as ``gtn.savetxt`` does, for ``gtn.loadtxt``, but its weights in full.

    The rest is as in ``write_gtn``.
    """
    graph = _without_end_energies(graph)
    ends = [" ".join(map(str, finite_states(part).tolist())) for part in (graph.initial, graph.final)]
    columns = (graph.source, graph.destination, graph.input_labels, graph.output_labels)
    weights = number_texts(-graph.energies.float())
    rows = zip(*(column.tolist() for column in columns), weights, strict=True)
    lines = [*ends, *(f"{a} {b} {c} {d} {weight or 0}" for a, b, c, d, weight in rows)]
    write_whole(path, "".join(f"{line}\n" for line in lines))


def _without_end_energies(graph: Graph) -> Graph:
    check_energies(graph, torch.float32)
    if not _are_plain(graph.initial):
        graph, _ = single_initial(graph)
    if not _are_plain(graph.final):
        graph, _ = single_final(graph)
    return graph


def _are_plain(ends: torch.Tensor) -> bool:
    return bool(((ends == 0) | (ends == torch.inf)).all())


def _graph(
    states: int,
    source: NDArray[np.int32],
    destination: NDArray[np.int32],
    read: NDArray[np.int32],
    written: NDArray[np.int32],
    energies: torch.Tensor,
    initial: NDArray[np.int32],
    final: NDArray[np.int32],
) -> Graph:
    structure = Structure(
        source, destination, read, None if np.array_equal(read, written) else written, states
    )
    return Graph(structure, energies, initial.tolist(), final.tolist())
