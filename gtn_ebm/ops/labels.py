"""Operations that change labels only: the arcs stay as they are."""

from __future__ import annotations

from typing import Literal

import numpy as np

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.symbols import Symbols


def project(graph: Graph, side: Literal["input", "output"]) -> Graph:
    """The acceptor of the graph's input or output labels.

    Raises:
        GraphError: ``side`` is neither "input" nor "output".
    """
    if side not in ("input", "output"):
        raise GraphError(f"side must be 'input' or 'output', not {side!r}")
    structure, symbols = graph.structure, graph.input_symbols if side == "input" else graph.output_symbols
    labels = structure.input_labels if side == "input" else structure.output_labels
    projected = Structure.of_valid(structure.source, structure.destination, labels, labels, structure.states)
    return _relabelled(graph, projected, symbols, symbols)


def invert(graph: Graph) -> Graph:
    """The transducer with input and output exchanged."""
    old = graph.structure
    structure = Structure.of_valid(
        old.source, old.destination, old.output_labels, old.input_labels, old.states
    )
    return _relabelled(graph, structure, graph.output_symbols, graph.input_symbols)


def _relabelled(
    graph: Graph, structure: Structure, input_symbols: Symbols | None, output_symbols: Symbols | None
) -> Graph:
    return Graph(
        structure,
        graph.energies,
        graph.initial,
        graph.final,
        attributes=graph.attributes,
        input_symbols=input_symbols,
        output_symbols=output_symbols,
        arc_maps=(np.arange(graph.arcs, dtype=np.int32),),
    )
