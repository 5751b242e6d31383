"""Connection: only what lies on a whole path."""

from __future__ import annotations

import numpy as np

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.graph import Graph, as_array
from gtn_ebm.kernels.structure import group, reachable
from gtn_ebm.ops.arc_maps import restricted


@takes_graphs
def connect(graph: Graph) -> Graph:
    """The graph without the states and arcs that lie on no path from an initial to a final state.

    An arc or state whose energy is +inf is on no path. States and arcs keep their order.

    Cost: O(S + A) time and memory.

    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0, 3], [1, 2, 1], [0, 1, 2]), final=[1])
    >>> connect(graph)
    Graph(2 states, 1 arcs, acceptor)
    """
    # NaN and −inf stay in, so that what computes with them next refuses them by name.
    energies, initial, final = (
        as_array(part) != np.inf for part in (graph.energies, graph.initial, graph.final)
    )
    usable = np.flatnonzero(energies)
    source, destination = (ends[usable].view(np.uint32) for ends in (graph.source, graph.destination))
    forwards = reachable(destination, *group(source, graph.states), initial)
    kept = forwards & reachable(source, *group(destination, graph.states), final)
    arcs = usable[kept[source] & kept[destination]]
    return restricted(graph, arcs.astype(np.int32), np.flatnonzero(kept).astype(np.int32))


def connect_result(graph: Graph) -> Graph:
    """``connect`` as the last step of an operation: the arc maps lead on to the operands of ``graph``."""
    kept = connect(graph)
    return kept.with_arc_maps(*(chosen[kept.arc_maps[0]] for chosen in graph.arc_maps))
