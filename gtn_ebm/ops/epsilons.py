"""Removal of epsilons, and their move to the ends of paths."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import all_pairs_distance, shortest_distance
from gtn_ebm.errors import CycleError, GraphError
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.kernels import epsilons as kernels
from gtn_ebm.kernels.components import components
from gtn_ebm.kernels.structure import group
from gtn_ebm.ops.arc_maps import Map, carry_attributes, select
from gtn_ebm.ops.connection import connect
from gtn_ebm.ops.labels import invert
from gtn_ebm.ops.synchronization import queued
from gtn_ebm.symbols import EPSILON

LARGE = 32
"""Epsilon cycles through more states than this are summed once, not for every state that reaches them."""


@takes_graphs
def remove_epsilons(graph: Graph, beta: float = 1.0) -> Graph:
    """The graph without arcs that neither read nor write: an equivalent one without such a step.

    With D(q, p) the free energy of all epsilon paths from q to p, the empty one included,
    D(q, p) = F_β over them, the result has for every q, every such p and every other arc p → r an arc q → r
    of energy D(q, p) + E(p → r), and final energies F_β over p of D(q, p) + final(p). So every F_β over the
    paths that read and write the same stays as it is; epsilon cycles are summed in closed form.

    Args:
        graph: any graph; arcs with an epsilon on one side only stay.
        beta: inverse temperature; ``math.inf`` keeps the least epsilon path between two states.

    Returns:
        A graph without dead states. ``arc_maps`` holds the arc that each arc ends with, whose labels and
        attributes it has: each arc stems from exactly one, since arcs that get the same states and labels
        stay side by side, as they do in any graph here.

    Raises:
        CycleError: the sum over an epsilon cycle diverges; the message names it and its energy.

    Source: Mohri, "Generic epsilon-removal and input epsilon-normalization algorithms for weighted
    transducers" (2002). Differentiable in every energy.

    Cost: time and memory grow with the epsilon closures of the states that stay and the arcs that leave them:
    O(S A) at worst, and up to n³ operations for n states on epsilon cycles together, fewer where the arcs
    between them are few.

    >>> from gtn_ebm import EPSILON
    >>> graph = Graph(Structure([0, 1, 0], [1, 2, 2], [EPSILON, 5, 7]), torch.tensor([1.0, 2.0, 0.5]))
    >>> removed = remove_epsilons(graph)
    >>> removed.input_labels, removed.energies, removed.arc_maps[0]
    (array([7, 5], dtype=int32), tensor([0.5000, 3.0000]), array([2, 1], dtype=int32))
    """
    connected = connect(graph)
    kept = connected.arc_maps[0]
    try:
        connected = _split(connected, beta)
        closures = _closures(connected)
        distance = shortest_distance(closures.paths, beta)
    except CycleError:
        # The same cycle again, with the states' numbers in the graph that was given.
        shortest_distance(_silent_part(graph, kept), beta)
        raise
    arcs = closures.arcs
    number = np.full(connected.states, -1, np.int32)
    number[closures.starts] = np.arange(len(closures.starts), dtype=np.int32)
    inputs = connected.input_labels[arcs]
    structure = Structure.of_valid(
        closures.owner[closures.entry],
        number[connected.destination[arcs]],
        inputs,
        inputs if graph.is_acceptor else connected.output_labels[arcs],
        len(closures.starts),
    )
    return Graph(
        structure,
        select(distance, closures.entry) + select(connected.energies, arcs),
        select(connected.initial, closures.starts),
        distance[len(closures.owner) :],
        attributes=carry_attributes((connected,), (arcs,)),
        input_symbols=graph.input_symbols,
        output_symbols=graph.output_symbols,
        arc_maps=(connected.arc_maps[0][arcs],),
    )


@takes_graphs
def epsilon_normalize(
    graph: Graph, side: Literal["input", "output"], beta: float = 1.0, *, max_states: int | None = None
) -> Graph:
    """The graph with epsilons of one side at the ends of paths only: of the input, say, all arcs that read
    nothing come after all that read.

    What an arc writes waits until an arc has a label to read; what waits at a path's end is written there.
    The arcs that then neither read nor write are removed as by ``remove_epsilons``, with F_β over paths.

    Args:
        graph: any number of initial and final states, cycles as long as no more and more labels wait.
        side: whose epsilons move.
        beta: inverse temperature, of the sums over epsilon paths.
        max_states: where given, the most states to make on the way.

    Returns:
        A graph without dead states. ``arc_maps`` holds the arc whose label on ``side`` and whose attributes
        each arc has, −1 for those at the end of a path that read nothing.

    Raises:
        GraphError: ``side`` is neither "input" nor "output"; a cycle on which more and more labels wait;
            more than ``max_states`` states.
        CycleError: as ``remove_epsilons``.

    Source: Mohri, as for ``remove_epsilons``.

    Cost: time and memory of the result: a state for every state and every string that waits there; and that
    of ``remove_epsilons``.

    >>> graph = Graph.linear([-1, 5], [7, -1])  # writes 7, then reads 5
    >>> normal = epsilon_normalize(graph, "input")
    >>> normal.input_labels, normal.output_labels
    (array([5], dtype=int32), array([7], dtype=int32))
    """
    if side not in ("input", "output"):
        raise GraphError(f"side must be 'input' or 'output', not {side!r}")
    if side == "output":
        normal = epsilon_normalize(invert(graph), "input", beta, max_states=max_states)
        return invert(normal).with_arc_maps(*normal.arc_maps)
    waiting = queued(graph, both_sides=False, max_states=max_states)
    try:
        normal = remove_epsilons(waiting, beta)
    except CycleError:
        # An epsilon cycle of the graph itself: the same error, with its states' numbers.
        remove_epsilons(graph, beta)
        raise
    return normal.with_arc_maps(waiting.arc_maps[0][normal.arc_maps[0]])


class _Closures(NamedTuple):
    """Epsilon closures side by side: an entry for each state that stays and each state it gets to.

    Attributes:
        paths: a graph of the entries and the epsilon arcs between them, and behind them a state for each
            closure, entered from where a path may end, at that state's final energy.
        starts: the states that stay, each with a closure, [J].
        owner: whose closure each entry is in, [K].
        entry, arcs: each arc that leaves a closure, and from which entry, [A of the result].
    """

    paths: Graph
    starts: Map
    owner: Map
    entry: Map
    arcs: Map


def _closures(connected: Graph) -> _Closures:
    structure = connected.structure
    source, destination = (ends.view(np.uint32) for ends in (structure.source, structure.destination))
    epsilon = _is_epsilon(connected)
    silent, real = (np.flatnonzero(chosen).astype(np.uint32) for chosen in (epsilon, ~epsilon))
    # A path of the result visits where it starts and where a real arc leads.
    stays = as_array(connected.initial) != np.inf
    stays[destination[real]] = True
    starts = np.flatnonzero(stays).astype(np.uint32)
    offsets, order = group(source[silent], structure.states)
    owner, state, first, *links, place = kernels.closures(offsets, destination[silent[order]], starts)
    real_offsets, real_order = group(source[real], structure.states)
    entry, arcs = kernels.leaving(real_offsets, real[real_order], state)
    ends = np.flatnonzero((as_array(connected.final) != np.inf)[state])
    count = len(owner)
    # From each closure's first entry to everywhere; a path of the operand that ends in it leads behind.
    paths = _silent(
        np.concatenate([links[0], ends.astype(np.uint32)]),
        np.concatenate([links[1], owner[ends] + np.uint32(count)]),
        torch.cat(
            [
                select(connected.energies, silent[order[place]].view(np.int32)),
                select(connected.final, state[ends].view(np.int32)),
            ]
        ),
        first[:-1],
        count + len(starts),
    )
    return _Closures(paths, starts.view(np.int32), owner.view(np.int32), entry, arcs)


def _split(connected: Graph, beta: float) -> Graph:
    """An equivalent graph without large components of states on epsilon cycles: each of their states becomes
    one to enter by and one to leave by, with an arc of the free energy between each two."""
    structure, epsilon = connected.structure, _is_epsilon(connected)
    large = _large_components(structure, np.flatnonzero(epsilon).astype(np.int32))
    if not large:
        return connected
    component = np.full(structure.states, -1, np.int32)
    within = np.full(structure.states, -1, np.int32)
    for k, inside in enumerate(large):
        component[inside], within[inside] = k, np.arange(len(inside))
    of_arc = np.where(epsilon, component[structure.source], -1)
    of_arc[component[structure.destination] != of_arc] = -1
    between = []
    for k, inside in enumerate(large):
        arcs = np.flatnonzero(of_arc == k).astype(np.int32)
        source, destination = (
            within[ends[arcs]].view(np.uint32) for ends in (structure.source, structure.destination)
        )
        cycles = _silent(source, destination, select(connected.energies, arcs), inside[:0], len(inside))
        between.append(all_pairs_distance(cycles, beta).flatten())
    return _with_links(connected, np.flatnonzero(of_arc < 0).astype(np.int32), large, between)


def _large_components(structure: Structure, silent: Map) -> list[Map]:
    """The states of each component of more than LARGE states; ``silent`` are the epsilon arcs."""
    source, destination = (ends[silent].view(np.uint32) for ends in (structure.source, structure.destination))
    offsets, order = group(source, structure.states)
    onwards = destination[order]
    onwards.setflags(write=False)  # as a structure's arrays are: numba compiles anew for another kind
    states, starts = components(offsets, onwards)
    degree = np.bincount(source, minlength=structure.states)
    degree += np.bincount(destination, minlength=structure.states)
    found = []
    for k in np.flatnonzero(np.diff(starts) > LARGE):
        inside = states[starts[k] : starts[k + 1]].astype(np.int32)
        # States with few arcs first: eliminated in this order, they leave most pairs without an arc for long.
        found.append(inside[np.argsort(degree[inside], kind="stable")])
    return found


def _with_links(connected: Graph, kept: Map, large: list[Map], between: list[Tensor]) -> Graph:
    """The arcs ``kept``, and from each state of each of the ``large`` components an epsilon arc to a new
    state for each of its states, which the kept arcs leave from now on."""
    inside = np.concatenate(large)
    states = connected.states + len(inside)
    leaving = np.arange(connected.states, dtype=np.int32)
    leaving[inside] = np.arange(connected.states, states)
    links = [np.repeat(part, len(part)) for part in large]
    to_links = [np.tile(leaving[part], len(part)) for part in large]
    count = sum(map(len, links))
    silent, none = np.full(count, EPSILON, np.int32), np.full(count, -1, np.int32)
    inputs = np.concatenate([connected.input_labels[kept], silent])
    # Where a path may begin and end: the old state, or the place behind them all that holds +inf.
    first, last = np.full((2, states), connected.states, np.int32)
    first[: connected.states] = last[leaving] = np.arange(connected.states)
    nowhere = connected.initial.new_full((1,), torch.inf, requires_grad=False)
    return Graph(
        Structure.of_valid(
            np.concatenate([leaving[connected.source[kept]], *links]),
            np.concatenate([connected.destination[kept], *to_links]),
            inputs,
            inputs if connected.is_acceptor else np.concatenate([connected.output_labels[kept], silent]),
            states,
        ),
        torch.cat([select(connected.energies, kept), *between]),
        select(torch.cat([connected.initial, nowhere]), first),
        select(torch.cat([connected.final, nowhere]), last),
        attributes=carry_attributes((connected,), (np.concatenate([kept, none]),)),
        input_symbols=connected.input_symbols,
        output_symbols=connected.output_symbols,
        arc_maps=(np.concatenate([connected.arc_maps[0][kept], none]),),
    )


def _silent(
    source: NDArray[np.uint32],
    destination: NDArray[np.uint32],
    energies: Tensor,
    starts: NDArray[np.integer],
    states: int,
) -> Graph:
    """A graph of epsilon arcs with these initial states, and no final ones."""
    labels = np.full(len(source), EPSILON, np.int32)
    structure = Structure.of_valid(source.view(np.int32), destination.view(np.int32), labels, labels, states)
    ends = energies.new_full((2, states), torch.inf, requires_grad=False)
    ends[0, torch.from_numpy(starts.astype(np.int64))] = 0.0
    return Graph(structure, energies, ends[0], ends[1])


def _silent_part(graph: Graph, kept: Map) -> Graph:
    """The epsilon arcs among those ``kept``, from every state."""
    arcs = kept[_is_epsilon(graph)[kept]]
    source, destination = (ends[arcs].view(np.uint32) for ends in (graph.source, graph.destination))
    return _silent(source, destination, select(graph.energies, arcs), np.arange(graph.states), graph.states)


def _is_epsilon(graph: Graph) -> NDArray[np.bool_]:
    """Which arcs neither read nor write."""
    return (graph.input_labels == EPSILON) & (graph.output_labels == EPSILON)
