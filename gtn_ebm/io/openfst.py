"""OpenFst's binary form of graphs: vector and const, with standard, log or log64 arcs.

OpenFst's label 0 is epsilon, its label k + 1 our label k. Where a file has a symbol table inside, labels are
the places of their numbers in it, as in ``io.symbols``.

The form, all little-endian: a header (magic number, the names of the kinds of graph and of arc, version,
flags, properties, initial state, number of states and of arcs), the symbol tables, and then
- vector: for each state its final weight, the number of its arcs, and these;
- const: all states (final weight, first arc, number of arcs, and of those with epsilon), then all arcs, both
  from a multiple of 16 bytes where the file is aligned.

Source: https://www.openfst.org/twiki/bin/view/FST/FstAdvancedUsage, and files written by OpenFst 1.8.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.io.cursor import Cursor
from gtn_ebm.io.ends import check_energies, check_labels, single_initial
from gtn_ebm.io.files import File, write_whole
from gtn_ebm.io.symbols import decode_symbols, encode_symbols
from gtn_ebm.symbols import Symbols

_MAGIC = 2125659606
_WEIGHTS = {"standard": "<f4", "log": "<f4", "log64": "<f8"}
_HAS_INPUT_SYMBOLS, _HAS_OUTPUT_SYMBOLS, _IS_ALIGNED = 1, 2, 4
_ALIGNMENT = 16
_ALIGNED_VERSION = 1
_VERSIONS = {"vector": 2, "const": 2}
_PROPERTIES = {"vector": 0b11, "const": 0b01}  # expanded, mutable; OpenFst works out all others
_NO_STATE = -1


class _Header(NamedTuple):
    fst_type: str
    arc_type: str
    version: int
    flags: int
    start: int
    states: int
    arcs: int


class _Body(NamedTuple):
    """What the states and arcs of a file say; ``byte`` tells where a given arc or state stands."""

    final: NDArray[np.floating[Any]]
    counts: NDArray[np.int64]
    arcs: NDArray[Any]
    byte_of_state: Callable[[int], int]
    byte_of_arc: Callable[[int], int]


def _arc_dtype(arc_type: str, padded: bool) -> np.dtype[Any]:
    weight = np.dtype(_WEIGHTS[arc_type])
    # Const files hold arcs as C++ lays them out in memory, vector files without gaps.
    fields = [("input", "<i4"), ("output", "<i4"), ("weight", weight), ("next", "<i4")]
    return np.dtype(fields, align=padded)


def _state_dtype(arc_type: str, fst_type: str) -> np.dtype[Any]:
    counts = [("count", "<i8")] if fst_type == "vector" else _CONST_COUNTS
    return np.dtype([("final", _WEIGHTS[arc_type]), *counts])


_CONST_COUNTS = [("first", "<u4"), ("count", "<u4"), ("input_epsilons", "<u4"), ("output_epsilons", "<u4")]


def read_openfst(path: File) -> Graph:
    """Reads a graph in OpenFst's binary form; files aligned for mapping into memory, too.

    Args:
        path: the file, or an open binary file.

    Returns:
        The graph, its states numbered as in the file, its arcs in the file's order; energies are float64 for
        log64 arcs, else float32. Symbol tables inside become its own.

    Raises:
        GraphFormatError: with file and byte: a file that is cut off, goes on after its end, or is no vector
            or const graph of standard, log or log64 arcs; a state or label that does not exist; an energy
            that is NaN or −inf.
    """
    cursor = Cursor(path)
    header = _read_header(cursor)
    tables = [
        decode_symbols(cursor) if header.flags & flag else None
        for flag in (_HAS_INPUT_SYMBOLS, _HAS_OUTPUT_SYMBOLS)
    ]
    body = (_read_vector if header.fst_type == "vector" else _read_const)(cursor, header)
    cursor.end()
    _check_body(cursor, body)
    labels = [
        _our_labels(cursor, body, side, table)
        for side, table in zip(("input", "output"), tables, strict=True)
    ]
    states = len(body.final)
    if not _NO_STATE <= header.start < states:
        raise cursor.error(f"the initial state is {header.start}, but there are {states} states", 0)
    return Graph(
        Structure(
            np.repeat(np.arange(states, dtype=np.int32), body.counts),
            body.arcs["next"].astype(np.int32),
            labels[0],
            None if np.array_equal(labels[0], labels[1]) else labels[1],
            states,
        ),
        _tensor(body.arcs["weight"]),
        [] if header.start == _NO_STATE else [header.start],
        _tensor(body.final),
        input_symbols=None if tables[0] is None else tables[0][0],
        output_symbols=None if tables[1] is None else tables[1][0],
    )


def _tensor(weights: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(weights.astype(weights.dtype.newbyteorder("=")))


def _read_header(cursor: Cursor) -> _Header:
    if cursor.integer(4, "the header") != _MAGIC:
        raise cursor.error("this is no binary file of OpenFst's", 0)
    fst_type, arc_type = (cursor.text(f"the kind of {what}") for what in ("graph", "arc"))
    version, flags = (cursor.integer(4, f"the {what}") for what in ("version", "flags"))
    cursor.integer(8, "the properties")
    start, states, arcs = (cursor.integer(8, f"the {what}") for what in ("start", "states", "arcs"))
    if fst_type not in _VERSIONS:
        raise cursor.error(f"this is a {fst_type!r} graph; convert it to vector or const with fstconvert", 4)
    if arc_type not in _WEIGHTS:
        raise cursor.error(f"its arcs are {arc_type!r}; convert them with fstmap to one of {[*_WEIGHTS]}", 4)
    if version > _VERSIONS[fst_type]:
        raise cursor.error(f"version {version} of this form is not known", 4)
    return _Header(fst_type, arc_type, version, flags, start, states, arcs)


def _read_vector(cursor: Cursor, header: _Header) -> _Body:
    head, arc = _state_dtype(header.arc_type, "vector"), _arc_dtype(header.arc_type, padded=False)
    begin = cursor.offset
    places = _walk(cursor, header.states, head.itemsize, arc.itemsize)
    # All is in units of four bytes from here: the words of states and of arcs are parted in one pass.
    words = np.frombuffer(cursor.data, "<i4", (cursor.offset - begin) // 4, begin)
    of_arc = np.ones(len(words), np.bool_)
    for word in range(head.itemsize // 4):
        of_arc[(places - begin) // 4 + word] = False
    states, arcs = words[~of_arc].view(head), words[of_arc].view(arc)
    counts = states["count"].astype(np.int64)
    starts = np.cumsum(counts) - counts

    def byte_of_arc(number: int) -> int:
        state = int(np.searchsorted(starts, number, side="right")) - 1
        return int(places[state]) + head.itemsize + (number - int(starts[state])) * arc.itemsize

    return _Body(states["final"], counts, arcs, lambda state: int(places[state]), byte_of_arc)


def _walk(cursor: Cursor, states: int, head: int, arc: int) -> NDArray[np.int64]:
    """Where each state of a vector file begins; −1 states: as many as the file holds."""
    if states != _NO_STATE and not 0 <= states <= cursor.remaining // head:
        raise cursor.error(f"{states} states are announced for {cursor.remaining} bytes")
    places = array("q")
    count_at = struct.Struct("<q").unpack_from
    offset, end = cursor.offset, len(cursor.data)
    while offset < end if states == _NO_STATE else len(places) < states:
        places.append(offset)
        if offset + head > end:
            raise cursor.error(f"state {len(places) - 1} is cut off", offset)
        count = count_at(cursor.data, offset + head - 8)[0]
        if not 0 <= count <= (end - offset - head) // arc:
            found = f"state {len(places) - 1} should have {count} arcs"
            raise cursor.error(f"{found}, but {end - offset - head} bytes are left", offset + head - 8)
        offset += head + count * arc
    cursor.offset = offset
    return np.frombuffer(places, np.int64)


def _read_const(cursor: Cursor, header: _Header) -> _Body:
    is_aligned = header.version == _ALIGNED_VERSION or bool(header.flags & _IS_ALIGNED)
    _align(cursor, is_aligned)
    first_state, state = cursor.offset, _state_dtype(header.arc_type, "const")
    states = cursor.array(state, header.states, "the states")
    _align(cursor, is_aligned)
    first_arc, arc = cursor.offset, _arc_dtype(header.arc_type, padded=True)
    arcs = cursor.array(arc, header.arcs, "the arcs")
    counts = states["count"].astype(np.int64)
    ends = np.cumsum(counts)
    wrong = np.flatnonzero(states["first"] != ends - counts)
    if len(wrong) or int(counts.sum()) != len(arcs):
        raise cursor.error(
            f"the arcs of the states are not {len(arcs)} in a row",
            first_state + state.itemsize * int(wrong[0] if len(wrong) else 0),
        )
    return _Body(
        states["final"],
        counts,
        arcs,
        lambda number: first_state + number * state.itemsize,
        lambda number: first_arc + number * arc.itemsize,
    )


def _align(cursor: Cursor, is_aligned: bool) -> None:
    if is_aligned:
        cursor.skip(-cursor.offset % _ALIGNMENT, "the gap before aligned data")


def _check_body(cursor: Cursor, body: _Body) -> None:
    states = len(body.final)
    is_wrong = (body.arcs["next"] < 0) | (body.arcs["next"] >= states)
    if is_wrong.any():
        arc = int(np.argmax(is_wrong))
        found = f"the arc leads to state {body.arcs['next'][arc]}, but there are {states} states"
        raise cursor.error(found, body.byte_of_arc(arc))
    for weights, byte_of in ((body.arcs["weight"], body.byte_of_arc), (body.final, body.byte_of_state)):
        is_wrong = ~(weights > -np.inf)
        if is_wrong.any():
            place = int(np.argmax(is_wrong))
            raise cursor.error(
                f"the weight is {weights[place]}; NaN and −inf are no energies", byte_of(place)
            )


def _our_labels(
    cursor: Cursor, body: _Body, side: str, table: tuple[Symbols, NDArray[np.int64]] | None
) -> NDArray[np.int32]:
    labels = body.arcs[side]
    if table is None:
        is_wrong, ours = labels < 0, labels - 1
    else:
        numbers = np.concatenate([[0], table[1]])
        places = np.searchsorted(numbers, labels)
        is_wrong = numbers[np.minimum(places, len(numbers) - 1)] != labels
        ours = (places - 1).astype(np.int32)
    if is_wrong.any():
        arc = int(np.argmax(is_wrong))
        found = f"the {side} label {labels[arc]} is " + ("negative" if table is None else "not in the table")
        raise cursor.error(found, body.byte_of_arc(arc))
    return ours.astype(np.int32)


@takes_graphs
def write_openfst(graph: Graph, path: File, arc_type: str = "standard", fst_type: str = "vector") -> None:
    """Writes a graph in OpenFst's binary form, its symbol tables inside.

    Args:
        graph: its arcs are written grouped by the state they leave; attributes are not. OpenFst's graphs
            have one initial state, at energy 0: any other graph gets a new one, as by ``write_text``.
        path: the file, or an open binary file.
        arc_type: "standard" (minimum) or "log" (sum), whose weights are float32, or "log64".
        fst_type: "vector", or "const", which OpenFst reads faster and cannot change.

    Raises:
        GraphError: an energy that is NaN or −inf, or finite and too large for the arc type; a label of
            2³¹ − 1, or one without a name in its table; a symbol ``<eps>``; a type other than those above.
        OSError: the folder cannot be written.

    >>> import io
    >>> file = io.BytesIO()
    >>> write_openfst(Graph.linear([3, 1]), file)
    >>> read_openfst(io.BytesIO(file.getvalue())).input_labels
    array([3, 1], dtype=int32)
    """
    for name, known in ((arc_type, _WEIGHTS), (fst_type, _VERSIONS)):
        if name not in known:
            raise GraphError(f"{name!r} is not one of {[*known]}")
    check_energies(graph, torch.float64 if arc_type == "log64" else torch.float32)
    check_labels(graph, "OpenFst's files")
    graph, start = single_initial(graph)
    tables = [_encoded_table(labels, table) for labels, table in _sides(graph)]
    flags = sum(flag for flag, table in zip((1, 2), tables, strict=True) if table)
    # pynini takes as many arcs as a const file says, and 0 in a vector file.
    arcs = graph.arcs if fst_type == "const" else 0
    parts = [
        struct.pack("<i", _MAGIC),
        *(struct.pack("<i", len(name)) + name.encode() for name in (fst_type, arc_type)),
        struct.pack("<iiq", _VERSIONS[fst_type], flags, _PROPERTIES[fst_type]),
        struct.pack("<qqq", start, graph.states, arcs),
        *tables,
        *_encoded_body(graph, arc_type, fst_type),
    ]
    write_whole(path, b"".join(parts))


def _sides(graph: Graph) -> list[tuple[NDArray[np.int32], Symbols | None]]:
    return [(graph.input_labels, graph.input_symbols), (graph.output_labels, graph.output_symbols)]


def _encoded_table(labels: NDArray[np.int32], table: Symbols | None) -> bytes:
    if table is None:
        return b""
    largest = int(labels.max(initial=0))
    if len(labels) and largest >= len(table):
        table.name(largest)  # which says that there is none
    return encode_symbols(table)


def _encoded_body(graph: Graph, arc_type: str, fst_type: str) -> list[bytes]:
    order = graph.structure.out_index.arcs
    offsets = graph.structure.out_index.offsets.astype(np.int64)
    states = np.zeros(graph.states, _state_dtype(arc_type, fst_type))
    states["final"] = as_array(graph.final)
    states["count"] = np.diff(offsets)
    arcs = np.zeros(graph.arcs, _arc_dtype(arc_type, padded=fst_type == "const"))
    arcs["input"], arcs["output"] = graph.input_labels[order] + 1, graph.output_labels[order] + 1
    arcs["weight"] = as_array(graph.energies)[order]
    arcs["next"] = graph.destination[order]
    if fst_type == "const":
        states["first"] = offsets[:-1]
        for side in ("input", "output"):
            source = graph.source[order][arcs[side] == 0]
            states[f"{side}_epsilons"] = np.bincount(source, minlength=graph.states)
        return [states.tobytes(), arcs.tobytes()]
    head, arc = states.dtype.itemsize // 4, arcs.dtype.itemsize // 4
    of_arc = np.ones(len(states) * head + len(arcs) * arc, np.bool_)
    for word in range(head):
        of_arc[np.arange(graph.states) * head + offsets[:-1] * arc + word] = False
    words = np.empty(len(of_arc), "<i4")
    words[of_arc], words[~of_arc] = arcs.view("<i4"), states.view("<i4")
    return [words.tobytes()]
