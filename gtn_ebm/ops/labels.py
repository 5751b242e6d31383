"""Operations that change labels only: the arcs stay as they are."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.symbols import EPSILON, Symbols


@takes_graphs
def project(graph: Graph, side: Literal["input", "output"]) -> Graph:
    """The acceptor of the graph's input or output labels.

    Raises:
        GraphError: ``side`` is neither "input" nor "output".

    Cost: O(A) time and memory, for the arc map.
    """
    if side not in ("input", "output"):
        raise GraphError(f"side must be 'input' or 'output', not {side!r}")
    labels, symbols = (
        (graph.input_labels, graph.input_symbols)
        if side == "input"
        else (graph.output_labels, graph.output_symbols)
    )
    return relabelled(graph, labels, labels, (symbols, symbols))


@takes_graphs
def invert(graph: Graph) -> Graph:
    """The transducer with input and output exchanged.

    Cost: O(A) time and memory, for the arc map.
    """
    symbols = graph.output_symbols, graph.input_symbols
    return relabelled(graph, graph.output_labels, graph.input_labels, symbols)


@takes_graphs
def relabel(
    graph: Graph,
    input_labels: Mapping[int, int] | Symbols | None = None,
    output_labels: Mapping[int, int] | Symbols | None = None,
) -> Graph:
    """The graph with other labels. A side left out stays as it is, the output side of an acceptor, too.

    Args:
        input_labels, output_labels: the new label of each old one, those not named staying as they are, and
            epsilon (−1) allowed on either hand; the symbol table is kept. Or a new symbol table, in which
            each label becomes the one of the same name.

    Raises:
        GraphError: a new label below −1 or from 2³¹ up; a new table where the graph has none for that side,
            or without a name that an arc uses.
        TypeError: a new label is no whole number.

    Cost: O(A log A) time, O(A + labels) memory.

    >>> graph = Graph.linear([0, 1, 0], input_symbols=Symbols("ab"))
    >>> relabel(graph, {0: 7}, {0: 7}).input_labels
    array([7, 1, 7], dtype=int32)
    >>> relabel(graph, Symbols("cba"), Symbols("cba")).input_labels
    array([2, 1, 2], dtype=int32)
    """
    read, input_symbols = _renamed(graph.input_labels, graph.input_symbols, input_labels, "input")
    written, output_symbols = _renamed(graph.output_labels, graph.output_symbols, output_labels, "output")
    return relabelled(graph, read, written, (input_symbols, output_symbols))


def _renamed(
    labels: NDArray[np.int32], symbols: Symbols | None, new: Mapping[int, int] | Symbols | None, side: str
) -> tuple[NDArray[np.int32], Symbols | None]:
    """One side's labels and symbols after ``relabel``."""
    if new is None or len(labels) == 0:
        return labels, new if isinstance(new, Symbols) else symbols
    used, places = np.unique(labels, return_inverse=True)
    if isinstance(new, Symbols):
        if symbols is None:
            raise GraphError(f"the graph has no {side} symbols whose names could be found in the new table")
        changed = [EPSILON if label == EPSILON else new.label(symbols.name(label)) for label in used.tolist()]
        symbols = new
    else:
        changed = [operator.index(new.get(label, label)) for label in used.tolist()]
    wrong = next((label for label in changed if not EPSILON <= label <= np.iinfo(np.int32).max), None)
    if wrong is not None:
        raise GraphError(f"{side} label {wrong} is outside {EPSILON} … 2³¹ − 1")
    return np.array(changed, np.int32)[places], symbols


def relabelled(
    graph: Graph,
    inputs: NDArray[np.int32],
    outputs: NDArray[np.int32],
    symbols: tuple[Symbols | None, Symbols | None],
    energies: Tensor | None = None,
) -> Graph:
    """The graph with other labels, valid ones, and their symbols; and other energies where given."""
    old = graph.structure
    if inputs is not outputs and np.array_equal(inputs, outputs):
        outputs = inputs
    return Graph(
        Structure.of_valid(old.source, old.destination, inputs, outputs, old.states),
        graph.energies if energies is None else energies,
        graph.initial,
        graph.final,
        attributes=graph.attributes,
        input_symbols=symbols[0],
        output_symbols=symbols[1],
        arc_maps=(np.arange(graph.arcs, dtype=np.int32),),
    )
