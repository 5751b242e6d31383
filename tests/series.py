"""What a graph says of all pairs of strings at once: what operations keep that change a graph and not its
language. Worked out with small dense matrices, cycles of epsilons included, and so right on any graph."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pynini
import torch
from numpy.typing import NDArray

from gtn_ebm import EPSILON, Graph, Structure

Numbers = NDArray[np.float64]

LABELS = (EPSILON, 0, 1)

# Of each label a matrix, of epsilon the unit one. That two series agree at matrices drawn at random, not at
# numbers, tells strings apart by the order of their labels.
_MATRICES = np.concatenate([np.eye(2)[None], np.random.default_rng(7).uniform(0.05, 0.25, (2, 2, 2))])
_KRONECKER = np.einsum("iab,ocd->ioacbd", _MATRICES, _MATRICES).reshape(3, 3, 4, 4)


def series(graph: Graph, beta: float = 1.0) -> Numbers:
    """Energies that are the same for two graphs where all pairs of strings have the same F_β in both, and
    otherwise almost never.

    For finite β: −(1/β) log Σ over all paths of exp(−βE) times the product of a random matrix for each label
    read, and one for each label written, [16]. For β = ∞: the least energy of each pair of strings of at most
    two labels, [49].
    """
    parts = [part.detach().double().numpy() for part in (graph.energies, graph.initial, graph.final)]
    return _least(graph, *parts) if math.isinf(beta) else _value(graph, beta, *parts)


def _value(graph: Graph, beta: float, energies: Numbers, initial: Numbers, final: Numbers) -> Numbers:
    moves = np.zeros((graph.states, graph.states, 4, 4))
    weights = np.exp(-beta * energies)[:, None, None]
    matrices = _KRONECKER[graph.input_labels + 1, graph.output_labels + 1]
    np.add.at(moves, (graph.source, graph.destination), weights * matrices)
    matrix = moves.transpose(0, 2, 1, 3).reshape(4 * graph.states, 4 * graph.states)
    to_go = np.kron(np.exp(-beta * final)[:, None], np.eye(4))
    # Eliminated state after state without subtractions, so that what is nothing stays so.
    for first in range(4 * graph.states - 4, -1, -4):
        before, here = slice(first), slice(first, first + 4)
        star = np.linalg.inv(np.eye(4) - matrix[here, here])
        assert (star >= 0.0).all(), "the sum over paths diverges"
        matrix[here, before], to_go[here] = star @ matrix[here, before], star @ to_go[here]
        to_go[before] += matrix[before, here] @ to_go[here]
        matrix[before, before] += matrix[before, here] @ matrix[here, before]
    for first in range(4, 4 * graph.states, 4):
        to_go[first : first + 4] += matrix[first : first + 4, :first] @ to_go[:first]
    total = np.einsum("s,sij->ij", np.exp(-beta * initial), to_go.reshape(-1, 4, 4))
    with np.errstate(divide="ignore"):
        return -np.log(total.ravel()) / beta


# Strings of at most two labels as nodes of a binary tree: string k is followed by 2k + 1 and 2k + 2.
_TO = {EPSILON: np.arange(7), 0: np.array([1, 3, 5]), 1: np.array([2, 4, 6])}
_FROM = {EPSILON: np.arange(7), 0: np.arange(3), 1: np.arange(3)}


def _least(graph: Graph, energies: Numbers, initial: Numbers, final: Numbers) -> Numbers:
    """Bellman's and Ford's algorithm on states, strings read and strings written."""
    found = np.full((graph.states, 7, 7), np.inf)
    found[:, 0, 0] = initial
    moves = []
    for read, written in itertools.product(LABELS, repeat=2):
        chosen = (graph.input_labels == read) & (graph.output_labels == written)
        if chosen.any():
            least = np.full((graph.states, graph.states, 1, 1), np.inf)
            np.minimum.at(
                least[..., 0, 0], (graph.source[chosen], graph.destination[chosen]), energies[chosen]
            )
            moves.append((np.ix_(_FROM[read], _FROM[written]), np.ix_(_TO[read], _TO[written]), least))
    for _ in range(5 * graph.states + 5):
        before = found.copy()
        for (rows, columns), (rows_after, columns_after), least in moves:
            came = (found[:, rows, columns][:, None] + least).min(0)
            found[:, rows_after, columns_after] = np.minimum(found[:, rows_after, columns_after], came)
        if np.array_equal(found, before):
            return (found + final[:, None, None]).min(0, initial=np.inf).ravel()
    raise AssertionError("a cycle of negative energy")


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
