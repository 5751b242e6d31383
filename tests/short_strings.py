"""The energy of each pair of short strings, summed over all paths that read the one and write the other: what
operations keep that change a graph and not its language. Worked out with small dense matrices, cycles of
epsilons included, and so right on any graph."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pynini
import torch
from numpy.typing import NDArray

from gtn_ebm import EPSILON, Graph, Structure

STRINGS = [string for length in range(3) for string in itertools.product((0, 1), repeat=length)]
"""All strings of at most two labels; shorter ones first."""


def short_strings(graph: Graph, beta: float = 1.0) -> NDArray[np.float64]:
    """F_β over the paths that read ``STRINGS[i]`` and write ``STRINGS[j]``, [7, 7]; +inf where there is
    none."""
    energies, initial, final = (
        part.detach().double().numpy() for part in (graph.energies, graph.initial, graph.final)
    )
    moves = {
        labels: _matrix(graph, labels, energies, beta)
        for labels in itertools.product((EPSILON, 0, 1), repeat=2)
    }
    star = _star(moves[EPSILON, EPSILON], beta)
    reached: dict[tuple[tuple[int, ...], tuple[int, ...]], NDArray[np.float64]] = {}
    result = np.full((len(STRINGS), len(STRINGS)), np.inf)
    for (i, read), (j, written) in itertools.product(enumerate(STRINGS), repeat=2):
        here = initial if not read and not written else np.full(graph.states, np.inf)
        steps = []
        if read:
            steps.append((read[:-1], written, read[-1], EPSILON))
        if written:
            steps.append((read, written[:-1], EPSILON, written[-1]))
        if read and written:
            steps.append((read[:-1], written[:-1], read[-1], written[-1]))
        for before, written_before, *labels in steps:
            came = _times(reached[before, written_before], moves[tuple(labels)], beta)
            here = _sum(np.stack([here, came]), beta)
        reached[read, written] = _times(here, star, beta)
        result[i, j] = _sum(reached[read, written] + final, beta)
    return result


def _sum(energies: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """F_β along the first axis."""
    if len(energies) == 0:
        return np.full(energies.shape[1:], np.inf)
    if math.isinf(beta):
        return energies.min(0)
    return -np.logaddexp.reduce(-beta * energies, 0) / beta


def _times(row: NDArray[np.float64], matrix: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    return _sum(row[:, None] + matrix, beta)


def _matrix(
    graph: Graph, labels: tuple[int, ...], energies: NDArray[np.float64], beta: float
) -> NDArray[np.float64]:
    """F_β over the arcs with these labels between each two states."""
    matrix = np.full((graph.states, graph.states), np.inf)
    chosen = (graph.input_labels == labels[0]) & (graph.output_labels == labels[1])
    for arc in np.flatnonzero(chosen):
        place = graph.source[arc], graph.destination[arc]
        matrix[place] = _sum(np.array([matrix[place], energies[arc]]), beta)
    return matrix


def _star(matrix: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """The sum over all numbers of steps: by elimination, state after state."""
    result = matrix.copy()
    for k in range(len(matrix)):
        loop = 0.0 if math.isinf(beta) else math.log1p(-math.exp(-beta * result[k, k])) / beta
        through = result[:, k, None] + loop + result[None, k]
        result = _sum(np.stack([result, through]), beta)
    none = np.where(np.eye(len(matrix), dtype=bool), 0.0, np.inf)
    return _sum(np.stack([result, none]), beta)


def from_openfst(fst: pynini.Fst) -> Graph:
    """The graph of an Fst that ``to_openfst`` could have made; label 0 there is epsilon."""
    arcs = [
        (state, arc.nextstate, arc.ilabel + EPSILON, arc.olabel + EPSILON, float(arc.weight))
        for state in fst.states()
        for arc in fst.arcs(state)
    ]
    source, destination, read, written, energies = zip(*arcs, strict=True) if arcs else [()] * 5
    final = [float(fst.final(state)) for state in fst.states()]
    return Graph(
        Structure(source, destination, read, written, states=len(final)),
        torch.tensor(energies, dtype=torch.float64),
        initial=[fst.start()] if fst.start() >= 0 else [],
        final=torch.tensor(final, dtype=torch.float64),
    )
