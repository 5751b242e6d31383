"""Pushing: energies or output labels as early, or as late, on every path as they can stand."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import shortest_distance
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.kernels import prefixes as kernels
from gtn_ebm.ops.arc_maps import carry_attributes, gather, select
from gtn_ebm.ops.connection import connect
from gtn_ebm.ops.reversal import reverse
from gtn_ebm.symbols import EPSILON

End = Literal["initial", "final"]


@takes_graphs
def push(graph: Graph, beta: float = 1.0, *, to: End = "initial") -> Graph:
    """The graph with the same energy on each path, moved towards the initial or the final states.

    With d(q) the free energy F_β of all paths from q to the end, an arc p → q gets E + d(q) − d(p), a final
    state final(q) − d(q) and an initial one initial(q) + d(q). So what leaves a state is a probability: over
    its arcs and its ending there Σ exp(−βE) = 1, and the graph's own free energy is that of its initial
    energies alone. To the final states it is the mirror image, with d(q) over all paths from the beginning.

    Args:
        graph: cycles are summed in closed form.
        beta: inverse temperature; with ``math.inf`` the least energy of what leaves a state becomes 0.
        to: "initial" or "final".

    Returns:
        A graph without dead states (of which there is no d). ``arc_maps`` holds the arc each arc stems from.

    Raises:
        GraphError: ``to`` is neither "initial" nor "final".
        CycleError: the sum over a cycle diverges.

    Source: Mohri, "Weighted automata algorithms" (2009). Differentiable.

    Cost: one shortest distance, O(S + A) time and memory for an acyclic graph.

    >>> graph = Graph(Structure([0, 0, 1], [1, 1, 2], [0, 1, 2]), torch.tensor([1.0, 1.0, 4.0]))
    >>> pushed = push(graph)
    >>> pushed.energies, pushed.initial
    (tensor([0.6931, 0.6931, 0.0000]), tensor([4.3069,    inf,    inf]))
    """
    _check_end(to)
    connected = connect(graph)
    if to == "initial":
        ahead = shortest_distance(connected, beta, direction="to")
    else:
        ahead = -shortest_distance(connected, beta, direction="from")
    source, destination = (
        connected.source.copy(),
        connected.destination.copy(),
    )  # torch warns of read-only ones
    return connected.with_energies(
        connected.energies + (select(ahead, destination) - select(ahead, source)),
        connected.initial + ahead,
        connected.final - ahead,
    )


@takes_graphs
def push_labels(graph: Graph, *, to: End = "initial") -> Graph:
    """The transducer whose output labels stand as early (or as late) on every path as they can.

    With d(q) the longest common prefix of what all paths from q write, an arc p → q that writes b writes
    d(p)⁻¹ b d(q) instead, so that paths that go on from a state have no first label in common. Initial states
    are the exception: there d is empty, since nothing can be written before them. Where an arc gets more
    labels than one, arcs that only write follow it (or, towards the final states, stand before it). Towards
    the final states it is the mirror image, with the longest common suffix of what all paths up to q write.

    Each path stands for exactly one path of the graph, with its energy and labels. The arcs that only write
    have an energy of 0; no state is split, whatever the lengths.

    Args:
        graph: any graph, cycles and epsilons allowed.
        to: "initial" or "final".

    Returns:
        A graph without dead states. ``arc_maps`` holds the arc each arc stems from, −1 for those added.

    Raises:
        GraphError: ``to`` is neither "initial" nor "final".

    Source: Mohri, "Minimization algorithms for sequential transducers" (2000).

    Cost: O(S + A) time and memory for acyclic graphs with short common prefixes; long ones may be read anew
    for every arc.

    >>> graph = Graph(Structure([0, 0, 1, 1], [1, 2, 2, 2], [0, 1, 2, 3], [-1, 5, 7, 7]))
    >>> push_labels(graph).output_labels
    array([ 7,  5, -1, -1], dtype=int32)
    """
    _check_end(to)
    if to == "final":
        pushed = push_labels(reverse(graph))
        return reverse(pushed).with_arc_maps(*pushed.arc_maps)
    connected = connect(graph)
    structure = connected.structure
    ends = structure.source.view(np.uint32), structure.destination.view(np.uint32)
    initial, final = (as_array(part) != np.inf for part in (connected.initial, connected.final))
    next_arc, order, length = kernels.shortest_paths(
        *structure.in_index, ends[0], structure.output_labels, final
    )
    length[initial] = 0
    kernels.shorten(
        *structure.out_index, *structure.in_index, *ends, structure.output_labels, next_arc, order, length
    )
    return _rewritten(connected, *kernels.moved_labels(*ends, structure.output_labels, next_arc, length))


def _check_end(to: End) -> None:
    if to not in ("initial", "final"):
        raise GraphError(f"to must be 'initial' or 'final', not {to!r}")


def _rewritten(connected: Graph, offsets: NDArray[np.int64], labels: NDArray[np.int32]) -> Graph:
    """The graph whose arc k writes the labels from ``offsets[k]`` to ``offsets[k + 1]``: the first of them
    itself, the others on arcs behind it."""
    arcs, states = connected.arcs, connected.states
    counts = np.diff(offsets)
    first = offsets[:-1][counts > 0]
    output = np.full(arcs, EPSILON, np.int32)
    output[counts > 0] = labels[first]
    # Each other label gets an arc and the state it leaves; those behind one arc follow each other.
    others = np.ones(len(labels), np.bool_)
    others[first] = False
    behind = np.repeat(np.arange(arcs), counts)[others]
    source = (states + np.arange(len(behind))).astype(np.int32)
    begins = np.diff(behind, prepend=-1) > 0
    ends = np.diff(behind, append=arcs) > 0
    destination = np.where(ends, connected.destination[behind], source + np.int32(1))
    entered = connected.destination.copy()
    entered[behind[begins]] = source[begins]
    none = np.full(len(behind), -1, np.int32)
    arc_map = np.concatenate([np.arange(arcs, dtype=np.int32), none])
    structure = Structure.of_valid(
        np.concatenate([connected.source, source]),
        np.concatenate([entered, destination]),
        np.concatenate([connected.input_labels, np.full(len(behind), EPSILON, np.int32)]),
        np.concatenate([output, labels[others]]),
        states + len(behind),
    )
    nowhere = connected.initial.new_full((len(behind),), torch.inf, requires_grad=False)
    return Graph(
        structure,
        gather(connected.energies, arc_map),
        torch.cat([connected.initial, nowhere]),
        torch.cat([connected.final, nowhere]),
        attributes=carry_attributes((connected,), (arc_map,)),
        input_symbols=connected.input_symbols,
        output_symbols=connected.output_symbols,
        arc_maps=(np.concatenate([connected.arc_maps[0], none]),),
    )
