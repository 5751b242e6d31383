"""Our graphs as OpenFst's, by way of pynini, for tests to compare with."""

from __future__ import annotations

import math

import pynini

from gtn_ebm import EPSILON, Graph


def to_openfst(graph: Graph) -> pynini.Fst:
    """An Fst in the log semiring, doubles; label k as k + 1, because 0 is OpenFst's epsilon."""
    fst = pynini.Fst(arc_type="log64")
    fst.add_states(graph.states)
    energies = graph.energies.detach().tolist()
    for k in range(graph.arcs):
        labels = (int(x[k]) - EPSILON for x in (graph.input_labels, graph.output_labels))
        fst.add_arc(int(graph.source[k]), _arc(*labels, energies[k], int(graph.destination[k])))
    for state, energy in enumerate(graph.final.tolist()):
        if energy < math.inf:
            fst.set_final(state, pynini.Weight("log64", energy))
    start = fst.add_state()
    fst.set_start(start)
    for state, energy in enumerate(graph.initial.tolist()):
        if energy < math.inf:
            fst.add_arc(start, _arc(0, 0, energy, state))
    return fst


def _arc(input_label: int, output_label: int, energy: float, state: int) -> pynini.Arc:
    return pynini.Arc(input_label, output_label, pynini.Weight("log64", energy), state)


def sum_over_paths(fst: pynini.Fst) -> float:
    """−log Σ exp(−E) over all paths; +inf where there is none."""
    if fst.start() < 0:
        return math.inf
    distance = pynini.shortestdistance(fst, delta=1e-12)
    energies = [float(d) + float(fst.final(state)) for state, d in zip(fst.states(), distance, strict=False)]
    least = min(energies, default=math.inf)
    return least if math.isinf(least) else least - math.log(math.fsum(math.exp(least - e) for e in energies))
