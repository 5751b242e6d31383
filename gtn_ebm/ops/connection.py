"""Connection: only what lies on a whole path."""

from __future__ import annotations

import numpy as np
import torch

from gtn_ebm.graph import Graph, Structure
from gtn_ebm.kernels.structure import group, reachable
from gtn_ebm.ops.arc_maps import carry_attributes, gather


def connect(graph: Graph) -> Graph:
    """The graph without the states and arcs that lie on no path from an initial to a final state.

    An arc or state whose energy is +inf is on no path. O(states + arcs). States and arcs keep their order.

    >>> graph = Graph(Structure([0, 0, 3], [1, 2, 1], [0, 1, 2]), final=[1])
    >>> connect(graph)
    Graph(2 states, 1 arcs, acceptor)
    """
    energies, initial, final = (
        torch.isfinite(part.detach()).cpu().numpy() for part in (graph.energies, graph.initial, graph.final)
    )
    usable = np.flatnonzero(energies)
    source, destination = (ends[usable].view(np.uint32) for ends in (graph.source, graph.destination))
    forwards = reachable(destination, *group(source, graph.states), initial)
    kept = forwards & reachable(source, *group(destination, graph.states), final)
    return _select(graph, usable[kept[source] & kept[destination]], kept)


def _select(graph: Graph, arcs: np.ndarray, states: np.ndarray) -> Graph:
    """The part of the graph with these arcs (numbers) and states (boolean)."""
    chosen = arcs.astype(np.int32)
    number = np.cumsum(states, dtype=np.int32) - np.int32(1)
    structure = Structure(
        number[graph.source[chosen]],
        number[graph.destination[chosen]],
        graph.input_labels[chosen],
        None if graph.is_acceptor else graph.output_labels[chosen],
        states=int(states.sum()),
    )
    places = torch.from_numpy(np.flatnonzero(states)).to(graph.energies.device)
    return Graph(
        structure,
        gather(graph.energies, chosen),
        graph.initial.index_select(0, places),
        graph.final.index_select(0, places),
        attributes=carry_attributes((graph,), (chosen,)),
        input_symbols=graph.input_symbols,
        output_symbols=graph.output_symbols,
        arc_maps=(chosen,),
    )
