"""Operations that change the order of arcs or states only."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.ops.arc_maps import carry_attributes, gather


def arc_sort(graph: Graph, side: Literal["input", "output"]) -> Graph:
    """The graph with its arcs ordered by the state they leave and then by input or output label, epsilon first. Stable.

    No operation here needs it (each sorts for itself, once); files and readers may.

    Raises:
        GraphError: ``side`` is neither "input" nor "output".
    """
    if side not in ("input", "output"):
        raise GraphError(f"side must be 'input' or 'output', not {side!r}")
    index = graph.structure.out_by_input if side == "input" else graph.structure.out_by_output
    return _reordered(graph, index.arcs.view(np.int32), np.arange(graph.states, dtype=np.uint32))


def topological_sort(graph: Graph) -> Graph:
    """The graph with its states renumbered so that every arc leads to a greater one, and its arcs ordered by the state they leave.

    Raises:
        CycleError: there is a cycle; the message names a state on it.
    """
    order = graph.structure.topological_order
    rank = np.empty(graph.states, np.int32)
    rank[order] = np.arange(graph.states, dtype=np.int32)
    arcs = np.argsort(rank[graph.source], kind="stable").astype(np.int32)
    return _reordered(graph, arcs, order)


def _reordered(graph: Graph, arcs: np.ndarray, states: np.ndarray) -> Graph:
    """``arcs`` and ``states`` hold the old number of each arc and state in the new order."""
    rank = np.empty(graph.states, np.int32)
    rank[states] = np.arange(graph.states, dtype=np.int32)
    structure = Structure(
        rank[graph.source[arcs]],
        rank[graph.destination[arcs]],
        graph.input_labels[arcs],
        None if graph.is_acceptor else graph.output_labels[arcs],
        states=graph.states,
    )
    places = torch.from_numpy(states.astype(np.int64)).to(graph.energies.device)
    return Graph(
        structure,
        gather(graph.energies, arcs),
        graph.initial.index_select(0, places),
        graph.final.index_select(0, places),
        attributes=carry_attributes((graph,), (arcs,)),
        input_symbols=graph.input_symbols,
        output_symbols=graph.output_symbols,
        arc_maps=(arcs,),
    )
