"""Prefix search: what was most likely said, summed over alignments, without a lexicon."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gtn_ebm.arguments import check_graph, takes_graphs
from gtn_ebm.dense.batch import frame_arcs
from gtn_ebm.dense.checks import (
    check_class,
    check_count,
    check_energies,
    check_energies_of,
    check_floating,
    lengths_of,
)
from gtn_ebm.distance import naming_cycles
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.kernels import prefix_search as kernels
from gtn_ebm.parallel import parallel_map
from gtn_ebm.symbols import EPSILON


class Prefix(NamedTuple):
    """A string and −log Σ exp(−E) over its alignments, the energy of the grammar included.

    Alignments by way of strings that the search gave up are missing from the sum, so that the energy is never
    too small.
    """

    labels: list[int]
    energy: float


@takes_graphs
def prefix_search(
    emissions: Tensor,
    lengths: Tensor | ArrayLike | None = None,
    grammar: Graph | None = None,
    count: int = 1,
    width: int = 100,
    blank: int = 0,
) -> list[list[Prefix]]:
    """The most likely strings of labels by the rules of connectionist temporal classification, best first.

    Unlike ``decode`` it sums over the alignments of a string, at β = 1, instead of taking the best one. After
    each frame it goes on with the best ``width`` strings (Graves and Jaitly 2014, algorithm 1; Hannun et al.
    2014). ``forced_align`` tells when the labels of an answer are.

    Args:
        emissions: energies (−log p of a network), [B, T, C] floating; lower is better, +inf is impossible.
        lengths: frames of each item, [B] integers; T for all where None.
        grammar: an acceptor of strings with their energies, such as ``io.read_arpa`` gives; every string at
            0 where omitted. It must have one initial state, and leave a state by at most one arc with a label
            and one epsilon arc. An epsilon arc is a back-off: it is taken where no other arc has the label,
            and where a string ends in a state that is not final.
        count: how many strings; fewer where no more are left.
        width: strings to go on with after each frame.
        blank: the class of no label.

    Raises:
        GraphError: a shape, dtype or length that does not fit; a blank that is no class; a grammar of another
            form; an energy that is NaN or −inf.
        CycleError: the back-offs of the grammar have a cycle.

    >>> import torch
    >>> half = torch.tensor([[[0.6, 0.4], [0.6, 0.4]]])  # the best path says nothing: 0.36
    >>> prefix_search(-half.log())[0][0].labels
    [1]
    """
    check_floating(emissions, "emissions", "batch", "frames", "classes")
    items, frames, classes = emissions.shape
    each = lengths_of(lengths, items, frames)
    searches = [PrefixSearch(classes, grammar, width, blank) for _ in range(items)]
    pieces = zip(searches, emissions.detach(), each, strict=True)
    parallel_map(lambda piece: piece[0].feed(piece[1][: piece[2]]), pieces)
    return [search.result(count) for search in searches]


class PrefixSearch:
    """``prefix_search`` of one recording that comes piece by piece: the same result as all at once.

    Args:
        classes: C, the blank among them.
        grammar, width, blank: as of ``prefix_search``, which see for the errors, too.
    """

    def __init__(self, classes: int, grammar: Graph | None = None, width: int = 100, blank: int = 0):
        if grammar is not None:
            check_graph(grammar, "PrefixSearch: grammar")
        check_class(blank, classes, "the blank")
        check_count(width, "width")
        self._classes, self._width, self._blank = classes, width, blank
        self._grammar, start, self._final = _as_arrays(
            _anything(classes, blank) if grammar is None else grammar
        )
        self._least = _least_step(self._grammar)
        self._nodes, self._energies = _room_for(4 * width)
        for part, value in zip(self._nodes, (-1, EPSILON, -1, -1, start), strict=True):
            part[0] = value
        self._energies[0] = as_array(grammar.initial)[start] if grammar is not None else 0.0
        self._active = np.zeros(width, np.int64), np.zeros(width), np.full(width, -np.inf)
        options = width * classes
        self._options = (
            *(np.empty(options, np.int64) for _ in range(3)),
            *(np.empty(options) for _ in range(2)),
        )
        self._used, self._count = 1, 1

    def feed(self, emissions: Tensor) -> None:
        """Goes on over the next frames: emissions [T, C].

        Raises:
            GraphError: a shape or dtype that does not fit; an energy that is NaN or −inf.
        """
        check_floating(emissions, "emissions", "frames", "classes")
        if emissions.shape[1] != self._classes:
            raise GraphError(f"emissions must have {self._classes} classes, not {emissions.shape[1]}")
        frames = as_array(emissions)
        check_energies(frames, "the emission of frame {} and class {}")
        while True:
            taken, self._used, self._count = kernels.search(
                frames, self._blank, self._width, self._nodes, self._energies, self._used, self._active,
                self._count, np.full(len(self._energies), -1, np.int64), self._options, self._grammar,
                self._least,
            )  # fmt: skip
            frames = frames[taken:]
            if len(frames) == 0:
                return
            nodes, energies = _room_for(len(self._energies))
            self._nodes = tuple(np.concatenate(pair) for pair in zip(self._nodes, nodes, strict=True))
            self._energies = np.concatenate([self._energies, energies])

    def result(self, count: int = 1) -> list[Prefix]:
        """The best ``count`` strings if the frames end here, best first; GraphError where it is below 0."""
        check_count(count, "count", least=0)
        node, ends_blank, ends_label = (part[: self._count] for part in self._active)
        energy = self._energies[node] - np.logaddexp(ends_blank, ends_label)
        energy += kernels.ends(self._nodes[4][node], self._final, self._grammar)
        order = np.argsort(energy, kind="stable")[:count]
        return [Prefix(self._labels(node[k]), float(energy[k])) for k in order if energy[k] < math.inf]

    def _labels(self, node: int) -> list[int]:
        labels = []
        while node > 0:
            labels.append(int(self._nodes[1][node]))
            node = self._nodes[0][node]
        return labels[::-1]


def _room_for(nodes: int) -> tuple[tuple[NDArray[np.int32], ...], NDArray[np.float64]]:
    return tuple(np.empty(nodes, np.int32) for _ in range(5)), np.empty(nodes)


def _anything(classes: int, blank: int) -> Graph:
    """One state, which every label but the blank leads back to."""
    labels = np.delete(np.arange(classes), blank)
    return Graph(Structure(np.zeros_like(labels), np.zeros_like(labels), labels, states=1))


def _least_step(grammar: tuple[NDArray[Any], ...]) -> float:
    """A lower bound on what the grammar takes for a label, by as many back-offs in a row as there may be."""
    _, _, _, energies, back_off, back_off_energy = grammar
    state, paid = np.arange(len(back_off)), np.zeros(len(back_off))
    least = 0.0
    while len(state):
        backs_off = back_off[state] >= 0
        paid = paid[backs_off] + back_off_energy[state[backs_off]]
        state = back_off[state[backs_off]]
        least = min(least, paid.min(initial=0.0))
    return float(least + energies.min(initial=np.inf if len(energies) else 0.0))


def _as_arrays(grammar: Graph) -> tuple[tuple[NDArray[Any], ...], int, NDArray[np.float64]]:
    """As the kernel takes it, its first state and its final energies."""
    with naming_cycles(grammar):
        frame_arcs(grammar.structure)  # refuses cycles of epsilons
    check_energies_of(grammar, "the grammar")
    starts = np.flatnonzero(as_array(grammar.initial) < np.inf)
    order = grammar.structure.out_by_input.arcs
    source, labels = grammar.source[order], grammar.input_labels[order]
    twice = np.flatnonzero((source[1:] == source[:-1]) & (labels[1:] == labels[:-1]))
    if len(starts) != 1 or len(twice) or not grammar.is_acceptor:
        raise GraphError(
            "a grammar must be an acceptor with one initial state and one arc for each state and label, but "
            f"{grammar!r} has {len(starts)} initial states and {len(twice)} arcs too many; determinize it"
        )
    energies = as_array(grammar.energies)[order].astype(np.float64)
    real, silent = labels != EPSILON, labels == EPSILON
    offsets = np.zeros(grammar.states + 1, np.int64)
    offsets[1:] = np.bincount(source[real], minlength=grammar.states).cumsum()
    back_off, back_off_energy = np.full(grammar.states, -1, np.int64), np.zeros(grammar.states)
    back_off[source[silent]] = grammar.destination[order[silent]]
    back_off_energy[source[silent]] = energies[silent]
    arrays = (
        offsets,
        labels[real],
        grammar.destination[order][real],
        energies[real],
        back_off,
        back_off_energy,
    )
    return arrays, int(starts[0]), as_array(grammar.final).astype(np.float64)
