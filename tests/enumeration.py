"""What small graphs say when all their paths are written out, and random small graphs to try that on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st

from gtn_ebm import EPSILON, Graph, Structure


class Walk(NamedTuple):
    """One path of finite energy, written out. Labels are without epsilons."""

    first: int
    arcs: tuple[int, ...]
    last: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    energy: float


def walks(graph: Graph, most_arcs: int = 64) -> list[Walk]:
    """Every path of at most ``most_arcs`` arcs, in no order to rely on."""
    energies, initial, final = (
        part.detach().double().tolist() for part in (graph.energies, graph.initial, graph.final)
    )
    leaving: list[list[int]] = [[] for _ in range(graph.states)]
    for arc, state in enumerate(graph.source.tolist()):
        leaving[state].append(arc)
    found: list[Walk] = []

    def go_on(first: int, arcs: tuple[int, ...], state: int, energy: float) -> None:
        if energy + final[state] < math.inf:
            inputs, outputs = (_without_epsilon(x, arcs) for x in (graph.input_labels, graph.output_labels))
            found.append(Walk(first, arcs, state, inputs, outputs, energy + final[state]))
        if len(arcs) < most_arcs:
            for arc in leaving[state]:
                if energies[arc] < math.inf:
                    go_on(first, (*arcs, arc), int(graph.destination[arc]), energy + energies[arc])

    for state, energy in enumerate(initial):
        if energy < math.inf:
            go_on(state, (), state, energy)
    return found


def _without_epsilon(labels: np.ndarray, arcs: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(label for label in labels[list(arcs)].tolist() if label != EPSILON) if arcs else ()


Weighted = dict[tuple[tuple[int, ...], tuple[int, ...]], list[float]]


def language(found: Sequence[Walk]) -> Weighted:
    """The energies, in order, of all paths that read and write the same."""
    result: Weighted = {}
    for walk in found:
        result.setdefault((walk.inputs, walk.outputs), []).append(walk.energy)
    return {strings: sorted(energies) for strings, energies in result.items()}


def same_language(ours: Weighted, theirs: Weighted) -> bool:
    """Whether two languages have the same paths: none twice, none lost, energies equal up to rounding."""
    return ours.keys() == theirs.keys() and all(
        len(ours[strings]) == len(theirs[strings]) and np.allclose(ours[strings], theirs[strings], atol=1e-9)
        for strings in ours
    )


def log_sum(found: Sequence[Walk], beta: float) -> float:
    """F_β = −(1/β) log Σ exp(−β E)."""
    if not found:
        return math.inf
    least = min(walk.energy for walk in found)
    return least - math.log(math.fsum(math.exp(beta * (least - walk.energy)) for walk in found)) / beta


def summed(graph: Graph, beta: float) -> dict[tuple[tuple[int, ...], tuple[int, ...]], float]:
    """F_β over all paths that read and write the same."""
    if math.isinf(beta):
        return {strings: energies[0] for strings, energies in language(walks(graph)).items()}
    return {
        strings: float(-np.logaddexp.reduce(-beta * np.array(energies)) / beta)
        for strings, energies in language(walks(graph)).items()
    }


def probabilities(
    graph: Graph, found: Sequence[Walk], beta: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of arcs, initial and final states, under p ∝ exp(−β E)."""
    arcs, initial, final = np.zeros(graph.arcs), np.zeros(graph.states), np.zeros(graph.states)
    total = log_sum(found, beta)
    for walk in found:
        probability = math.exp(beta * (total - walk.energy))
        initial[walk.first] += probability
        final[walk.last] += probability
        for arc in walk.arcs:
            arcs[arc] += probability
    return arcs, initial, final


ENERGIES = st.one_of(
    st.floats(-3.0, 3.0, allow_subnormal=False), st.sampled_from([0.0, 40.0, -40.0]), st.just(math.inf)
)
FINITE_ENERGIES = st.floats(-3.0, 3.0, allow_subnormal=False)


@st.composite
def graphs(
    draw: st.DrawFn,
    acyclic: bool = True,
    acceptor: bool | None = None,
    energies: st.SearchStrategy[float] = ENERGIES,
    most_states: int = 5,
    most_arcs: int = 8,
    dtype: torch.dtype = torch.float64,
) -> Graph:
    """Random graphs: several or no initial and final states, epsilons on either side, dead states, parallel
    arcs, energies of +inf, a single state, no state at all."""
    states = draw(st.integers(0, most_states))
    # An acyclic graph's arcs lead up in a random numbering of the states, so that their order tells nothing.
    numbers = draw(st.permutations(range(states)))
    state = st.integers(0, max(states - 1, 0))
    label = st.integers(EPSILON, 1)
    arcs = (
        draw(st.lists(st.tuples(state, state, label, label, energies), max_size=most_arcs)) if states else []
    )
    if acyclic:
        arcs = [(min(p, q), max(p, q), i, o, e) for p, q, i, o, e in arcs if p != q]
    acceptor = draw(st.booleans()) if acceptor is None else acceptor
    # Half the states are no ends.
    ends = st.lists(st.one_of(st.just(math.inf), energies), min_size=states, max_size=states)
    source, destination, inputs, outputs, weights = zip(*arcs, strict=True) if arcs else [()] * 5
    structure = Structure(
        [numbers[q] for q in source],
        [numbers[q] for q in destination],
        inputs,
        None if acceptor else outputs,
        states=states,
    )
    return Graph(
        structure, *(torch.tensor(values, dtype=dtype) for values in (weights, draw(ends), draw(ends)))
    )


def visible(graph: Graph) -> Graph:
    """The same graph reading one label more than epsilon had been, so that it is told apart from nothing."""
    outputs = None if graph.is_acceptor else graph.output_labels
    structure = Structure(graph.source, graph.destination, graph.input_labels + 1, outputs, graph.states)
    return Graph(structure, graph.energies, graph.initial, graph.final)


def requiring_grad(graph: Graph) -> list[torch.Tensor]:
    """Copies of the arcs', the initial and the final energies to differentiate in."""
    return [part.detach().clone().requires_grad_() for part in (graph.energies, graph.initial, graph.final)]


def finite_part(graph: Graph, part: str) -> torch.Tensor:
    """Where the named energies are finite: only there can one differentiate numerically."""
    return torch.isfinite(getattr(graph, part).detach())
