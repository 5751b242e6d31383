"""Operations that change the order of arcs or states only."""

from __future__ import annotations

from typing import Literal

import numpy as np

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph
from gtn_ebm.ops.arc_maps import restricted


@takes_graphs
def arc_sort(graph: Graph, side: Literal["input", "output"]) -> Graph:
    """The graph with its arcs ordered by the state they leave and then by input or output label, epsilon
    first. Stable.

    No operation here needs it (each sorts for itself, once); files and readers may.

    Raises:
        GraphError: ``side`` is neither "input" nor "output".

    Cost: O(S + A) time and memory by counting; O(A log A) time where labels are far apart.
    """
    if side not in ("input", "output"):
        raise GraphError(f"side must be 'input' or 'output', not {side!r}")
    index = graph.structure.out_by_input if side == "input" else graph.structure.out_by_output
    return restricted(graph, index.arcs.view(np.int32), np.arange(graph.states, dtype=np.int32))


@takes_graphs
def topological_sort(graph: Graph) -> Graph:
    """The graph with states renumbered so that every arc leads to a greater one, and arcs ordered by source.

    Raises:
        CycleError: there is a cycle; the message names a state on it.

    Cost: O(S + A) time and memory.
    """
    order = graph.structure.topological_order
    rank = np.empty(graph.states, np.int32)
    rank[order] = np.arange(graph.states, dtype=np.int32)
    arcs = np.argsort(rank[graph.source], kind="stable").astype(np.int32)
    return restricted(graph, arcs, order.view(np.int32))
