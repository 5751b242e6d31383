"""Our graphs as OpenFst's, by way of pynini: a peer to compare with."""

from __future__ import annotations

import math

import numpy as np
import pynini
import pywrapfst
from numpy.typing import NDArray

from gtn_ebm import EPSILON, Graph


def to_openfst(graph: Graph, arc_type: str = "log64") -> pynini.Fst:
    """The graph with "standard", "log" or "log64" arcs; label k as k + 1, 0 being epsilon there."""
    fst = pynini.Fst(arc_type=arc_type)
    weight_type = "tropical" if arc_type == "standard" else arc_type
    fst.add_states(graph.states)

    def add(source: int, read: int, written: int, energy: float, destination: int) -> None:
        fst.add_arc(
            source,
            pywrapfst.Arc(
                read - EPSILON, written - EPSILON, pywrapfst.Weight(weight_type, energy), destination
            ),
        )

    labels = graph.input_labels.tolist(), graph.output_labels.tolist()
    for arc in zip(
        graph.source.tolist(), *labels, graph.energies.tolist(), graph.destination.tolist(), strict=True
    ):
        add(*arc)
    for state, energy in _finite(graph.final.tolist()):
        fst.set_final(state, pywrapfst.Weight(weight_type, energy))
    starts = _finite(graph.initial.tolist())
    if [energy for _, energy in starts] == [0.0]:
        fst.set_start(starts[0][0])
    else:
        start = fst.add_state()
        fst.set_start(start)
        for state, energy in starts:
            add(start, EPSILON, EPSILON, energy, state)
    return fst


def _finite(energies: list[float]) -> list[tuple[int, float]]:
    return [(state, energy) for state, energy in enumerate(energies) if energy < math.inf]


def sum_over_paths(fst: pynini.Fst) -> float:
    """−log Σ exp(−E) over all paths; +inf where there is none."""
    if fst.start() < 0:
        return math.inf
    distance = np.array([float(d) for d in pynini.shortestdistance(fst, delta=1e-12)])
    final = np.array([float(fst.final(state)) for state in fst.states()])[: len(distance)]
    total: float = -np.logaddexp.reduce(-(distance + final), initial=-np.inf)
    return total


def posteriors(fst: pynini.Fst, graph: Graph) -> NDArray[np.float64]:
    """Of the graph's arcs, from forward and backward distances in its Fst, which has one start state."""
    forward, backward = (
        np.array([float(d) for d in pynini.shortestdistance(fst, reverse=reverse)])
        for reverse in (False, True)
    )
    total = backward[fst.start()]
    return np.exp(total - forward[graph.source] - graph.energies.numpy() - backward[graph.destination])
