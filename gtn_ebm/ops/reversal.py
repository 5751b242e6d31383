"""Reversal: every path read backwards."""

from __future__ import annotations

import numpy as np

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.graph import Graph, Structure


@takes_graphs
def reverse(graph: Graph) -> Graph:
    """The graph whose paths are those of ``graph`` from end to start: mirrored strings, the same energies.

    Arcs are turned round, and initial and final states change places; no state is added, since a graph may
    have several initial states. Its own inverse.

    Cost: O(A) time and memory, for the arc map.

    >>> graph = reverse(Graph.linear([0, 1]))
    >>> graph.source, graph.destination, graph.input_labels
    (array([1, 2], dtype=int32), array([0, 1], dtype=int32), array([0, 1], dtype=int32))
    """
    old = graph.structure
    return Graph(
        Structure.of_valid(old.destination, old.source, old.input_labels, old.output_labels, old.states),
        graph.energies,
        graph.final,
        graph.initial,
        attributes=graph.attributes,
        input_symbols=graph.input_symbols,
        output_symbols=graph.output_symbols,
        arc_maps=(np.arange(graph.arcs, dtype=np.int32),),
    )
