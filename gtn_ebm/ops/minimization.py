"""Minimization: states from which the same strings follow become one."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import shortest_distance
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.kernels import partition as kernels
from gtn_ebm.ops.arc_maps import Map, carry_attributes, select
from gtn_ebm.ops.connection import connect
from gtn_ebm.ops.encoding import distinct
from gtn_ebm.ops.properties import properties
from gtn_ebm.ops.pushing import push, push_labels
from gtn_ebm.ops.tape import free_energies
from gtn_ebm.symbols import EPSILON


@takes_graphs
def minimize(graph: Graph, beta: float = 1.0, *, delta: float = 1e-6) -> Graph:
    """The smallest deterministic graph with the same strings at the same energies.

    Labels (of a transducer) and energies are pushed to the initial state; then states are merged whose arcs
    have the same labels and energies and lead to states that are merged. A graph whose energies are all 0
    keeps them: nothing is pushed then. Of a transducer, an arc that gets several labels is followed by arcs
    that only write, as in ``push_labels``, whose states come on top of the fewest possible; and nothing is
    pushed beyond an initial state. States of a transducer where nothing is read, written or chosen go.

    Args:
        graph: deterministic: at most one initial state and no two arcs of one input label at any state,
            epsilon being a label like any other. Cycles are allowed.
        beta: inverse temperature of the free energy by which energies are pushed. Which one it is makes no
            difference to what is accepted; with ``math.inf`` no sum over cycles diverges.
        delta: pushed energies are equal where they round to the same multiple of ``delta``; so the energy
            of a path may change by ``delta`` for each of its arcs.

    Returns:
        A connected graph. ``arc_maps`` holds the arc each arc stems from, −1 where several were merged, in
        which case attributes cannot follow either.

        Differentiable, at finite β as often as wanted: the energy of arcs merged is their mean by the
        probability of being at the states they leave, under p(path) ∝ exp(−βE(path)). With it the derivatives
        of the free energy F_β of the result are those of the graph, exactly. The energy of one path of the
        result, though, depends on all paths that share merged arcs with it.

    Raises:
        GraphError: the graph is not deterministic, or ``delta`` is not positive.
        CycleError: the sum over a cycle diverges at ``beta``.

    Source: Mohri, "Minimization algorithms for sequential transducers" (2000); Hopcroft (1971).

    Cost: O(A log S) time, O(S + A) memory, and two shortest distances.

    >>> twice = Graph(Structure([0, 0, 1, 2], [1, 2, 3, 3], [0, 1, 5, 5]))
    >>> minimize(twice)
    Graph(3 states, 3 arcs, acceptor)
    """
    if not 0.0 < delta < math.inf:
        raise GraphError(f"delta must be positive and finite, not {delta}")
    connected = connect(graph.to(torch.float64))
    if not properties(connected).i_deterministic:
        raise GraphError(
            "minimize needs a deterministic graph: one initial state, and no two arcs of one input label at "
            "a state; determinize it first"
        )
    steps = [connected]
    if not connected.is_acceptor:
        steps.append(push_labels(connected))
        steps.append(_without_idle_states(steps[-1]))
    if weighted := _has_energies(connected):
        steps.append(push(steps[-1], beta=beta))
    ready = steps[-1]
    block = _equivalent_states(ready, delta)
    if not weighted and not ready.structure.is_acyclic:
        beta = math.inf  # the sum over the cycles of a graph without energies need not converge
    merged, arcs = _merged(ready, block, beta)
    for step in reversed(steps):
        arcs = np.where(arcs < 0, np.int32(-1), step.arc_maps[0][arcs])
    return Graph(
        merged.structure,
        *(part.to(graph.dtype) for part in (merged.energies, merged.initial, merged.final)),
        attributes=merged.attributes,
        input_symbols=graph.input_symbols,
        output_symbols=graph.output_symbols,
        arc_maps=(arcs,),
    )


def _without_idle_states(graph: Graph) -> Graph:
    """Leaves out states whose only way on is an arc that neither reads nor writes: such as rows of arcs that
    wrote the labels of an arc before they were pushed. Their energies go to the arcs that lead to them."""
    source, destination = graph.source, graph.destination.copy()
    silent = (graph.input_labels == EPSILON) & (graph.output_labels == EPSILON)
    ends = (as_array(graph.initial) != np.inf) | (as_array(graph.final) != np.inf)
    idle = (np.bincount(source, minlength=graph.states) == 1) & ~ends
    arcs = np.flatnonzero(silent & idle[source])
    onwards = np.arange(graph.states, dtype=np.int32)
    onwards[source[arcs]] = destination[arcs]
    device = graph.energies.device
    states = torch.from_numpy(source[arcs]).to(device)
    cost = graph.energies.new_zeros(graph.states).index_add(
        0, states, graph.energies[torch.from_numpy(arcs).to(device)]
    )
    # Each step goes twice as far; it ends because there is a way from every state to a final one.
    while (onwards[onwards] != onwards).any():
        cost = cost + select(cost, onwards)
        onwards = onwards[onwards]
    structure = Structure.of_valid(
        source, onwards[destination], graph.input_labels, graph.output_labels, graph.states
    )
    return connect(
        Graph(
            structure,
            graph.energies + select(cost, destination),
            graph.initial,
            graph.final,
            attributes=graph.attributes,
        )
    )


def _has_energies(graph: Graph) -> bool:
    energies, final = as_array(graph.energies), as_array(graph.final)
    return bool(energies.any() or (final[final != np.inf] != 0).any())


def _equivalent_states(graph: Graph, delta: float) -> NDArray[np.int64]:
    """The block of each state: states of one block accept the same, to be told apart by no string."""
    energies, final = (np.rint(as_array(part) / delta) for part in (graph.energies, graph.final))
    _, codes = distinct(graph.input_labels, graph.output_labels, energies)
    offsets, order = graph.structure.in_index
    seed = 0
    while True:
        marks = np.random.default_rng(seed).integers(0, 2**64, int(codes.max(initial=-1)) + 1, np.uint64)
        block = distinct(final)[1].astype(np.int64)
        blocks = int(block.max(initial=-1)) + 1
        kernels.refine(block, blocks, offsets, graph.source[order].astype(np.int64), marks[codes[order]])
        if _is_stable(graph.structure, block, codes):
            return block
        seed += 1  # two sums of marks were equal by accident, which happens about once in 2⁶⁴


def _is_stable(structure: Structure, block: NDArray[np.int64], codes: Map) -> bool:
    """Whether each state of a block has an arc of each code that any of them has, to the same block."""
    first, edges = distinct(block[structure.source], codes, block[structure.destination])
    sizes = np.bincount(block, minlength=1)
    return bool((np.bincount(edges) == sizes[block[structure.source[first]]]).all())


class _Flow(NamedTuple):
    """Free energies of the paths to and from each state, [S] each, and of each state
    p(being at the state | being at one of its block), by expected numbers of visits."""

    before: Tensor
    after: Tensor
    shares: NDArray[np.float64]

    @classmethod
    def of(cls, graph: Graph, block: NDArray[np.int64], beta: float) -> _Flow:
        before, after = shortest_distance(graph, beta, "from"), shortest_distance(graph, beta, "to")
        least = np.full(len(block), np.inf)
        energies = as_array((before + after).detach())
        np.minimum.at(least, block, energies)
        above = energies - least[block]
        weights = (above == 0.0).astype(np.float64) if beta == math.inf else np.exp(-beta * above)
        return cls(before, after, weights / np.bincount(block, weights, len(block))[block])


def _merged(graph: Graph, block: NDArray[np.int64], beta: float) -> tuple[Graph, Map]:
    """The graph whose states are the blocks, energies being means by the states' shares; and the arc that
    each of its arcs stems from."""
    states, number = distinct(block)
    first, place = distinct(number[graph.source], graph.input_labels)
    arcs = np.where(np.bincount(place, minlength=len(first)) == 1, first, np.int32(-1)).astype(np.int32)
    # Of an acceptor, the two sides stay the same array.
    inputs, outputs = graph.input_labels[first], graph.output_labels[first]
    structure = Structure.of_valid(
        number[graph.source[first]],
        number[graph.destination[first]],
        inputs,
        inputs if graph.is_acceptor else outputs,
        len(states),
    )
    starts = states.copy()
    start = np.flatnonzero(as_array(graph.initial) != np.inf)
    starts[number[start]] = start
    flow = _Flow.of(graph, block, beta)
    energies, initial, final = (
        _mean(graph.energies, place, flow.shares[graph.source], len(first)),
        select(graph.initial, starts),
        _mean(graph.final, number, flow.shares, len(states)),
    )
    if beta < math.inf and torch.is_grad_enabled() and flow.after.requires_grad:
        exact = _as_sums(graph, flow, number, place, structure, starts, beta)
        energies, initial, final = map(_with_derivatives, (energies, initial, final), exact)
    attributes = carry_attributes((graph,), (arcs,))
    return Graph(structure, energies, initial, final, attributes=attributes), arcs


def _as_sums(
    graph: Graph, flow: _Flow, number: Map, place: Map, structure: Structure, starts: Map, beta: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The energies of the merged graph as functions of all energies of which every derivative of the sum over
    paths is right.

    With a(p) and d(p) the free energies to and from the states p of a block B, its own from there on is
    V(B) = F_p(a + d) − F_p(a). An arc to the block C has F_p(a + e + d') − F_p(a) − V(C), d' being that of
    the state that p's arc leads to. So V is what the merged graph has from B on, whatever the energies.
    """
    blocks = structure.states
    # Copies, as torch takes no array that it must not write to.
    source, destination = graph.source.copy(), graph.destination.copy()
    arrived = _sum(flow.before, number, blocks, beta)
    onwards = _sum(flow.before + flow.after, number, blocks, beta) - arrived
    through = select(flow.before, source) + graph.energies + select(flow.after, destination)
    leaving, entered = select(arrived, structure.source.copy()), select(onwards, structure.destination.copy())
    return (
        _sum(through, place, structure.arcs, beta) - leaving - entered,
        select(graph.initial + flow.after, starts) - onwards,
        _sum(flow.before + graph.final, number, blocks, beta) - arrived,
    )


def _sum(energies: Tensor, place: Map, places: int, beta: float) -> Tensor:
    """F_β of the finite energies that go to each place."""
    finite = torch.from_numpy(np.flatnonzero(as_array(energies) != np.inf)).to(energies.device)
    target = torch.from_numpy(place.astype(np.int64)).to(energies.device)[finite]
    return free_energies(energies[finite], target, places, beta)


def _with_derivatives(energies: Tensor, exact: Tensor) -> Tensor:
    """The energies, free of rounding as they are, with derivatives from what is equal to them."""
    finite = torch.isfinite(energies)
    exact = torch.where(finite, exact, 0.0)
    return energies.detach() + (exact - exact.detach())


def _mean(energies: Tensor, place: Map, shares: NDArray[np.float64], places: int) -> Tensor:
    """The mean by the shares of the energies that go to each place: all finite, or all +inf."""
    finite = torch.from_numpy(np.flatnonzero(as_array(energies) != np.inf)).to(energies.device)
    target = torch.from_numpy(place).to(energies.device)[finite].long()
    share = torch.from_numpy(shares).to(energies)[finite]
    mean = energies.new_zeros(places).index_add(0, target, share * energies[finite])
    is_finite = torch.zeros_like(mean, dtype=torch.bool).index_fill(0, target, True)
    return mean.masked_fill(~is_finite, torch.inf)
