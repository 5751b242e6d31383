"""A decoding graph as beam search takes it: worked out once, kept as long as the graph."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm.dense.batch import frame_arcs
from gtn_ebm.dense.checks import check_energies_of
from gtn_ebm.distance import naming_cycles, shortest_distance
from gtn_ebm.errors import CycleError
from gtn_ebm.graph import Graph, as_array
from gtn_ebm.kernels import beam as kernels
from gtn_ebm.symbols import EPSILON


class Arcs(NamedTuple):
    """Arcs grouped by the state they leave, as kernels take them; ``number`` in the graph."""

    offsets: NDArray[np.uint32]
    destination: NDArray[np.uint32]
    label: NDArray[np.uint32]
    energy: NDArray[np.float64]
    number: NDArray[np.uint32]

    @classmethod
    def of(cls, graph: Graph, chosen: NDArray[np.bool_]) -> Arcs:
        """Those of a graph's arcs that are chosen, [A]."""
        numbers = graph.structure.out_index.arcs
        numbers = numbers[chosen[numbers]]
        offsets = np.zeros(graph.states + 1, np.uint32)
        offsets[1:] = np.bincount(graph.source[numbers], minlength=graph.states).cumsum()
        return cls(
            offsets,
            graph.destination[numbers].view(np.uint32),
            graph.input_labels[numbers].view(np.uint32),
            as_array(graph.energies)[numbers].astype(np.float64),
            numbers,
        )


class SearchGraph(NamedTuple):
    """A decoding graph as kernels take it.

    Attributes:
        consuming, silent: its arcs that consume a frame, and its epsilon arcs.
        arc_numbers: of the first, then of the second from behind: the k-th epsilon arc goes by −1 − k.
        initial, final: the energies of beginning and of ending in each state, [S].
        starts: the states in which a path may begin.
        to_go: a lower bound on the energy from each state to the end in the graph alone, [S].
        largest_label: of those read.
        versions: of the tensors of energies, which may be changed in place; None where not counted.
        scratch: arrays of all states for kernels, as many as searches have needed at once.
    """

    consuming: Arcs
    silent: Arcs
    arc_numbers: NDArray[np.int32]
    initial: NDArray[np.float64]
    final: NDArray[np.float64]
    starts: NDArray[np.int64]
    to_go: NDArray[np.float64]
    largest_label: int
    versions: tuple[int | None, ...]
    scratch: list[tuple[NDArray[Any], ...]]

    @contextmanager
    def borrowed(self) -> Iterator[tuple[NDArray[Any], ...]]:
        """Scratch that no other search has meanwhile. Made anew for each, it would take longer than a short
        search.
        """
        try:
            scratch = self.scratch.pop()
        except IndexError:
            states = len(self.to_go)
            scratch = (
                np.empty(states, np.int64),
                np.empty(states),
                np.full(states, kernels.UNSEEN, np.int32),
                np.empty(states, np.uint8),
                np.empty(states, np.int64),
            )
        yield scratch
        self.scratch.append(scratch)  # not after an error, which may leave it in any state


_known: WeakKeyDictionary[Graph, SearchGraph] = WeakKeyDictionary()


def search_graph(graph: Graph) -> SearchGraph:
    """That of a graph; made anew where its energies may have been changed.

    Raises:
        GraphError: an energy that is NaN or −inf.
        CycleError: a cycle of epsilon arcs; the message names it, state by state.
    """
    known = _known.get(graph)
    parts = graph.energies, graph.initial, graph.final
    versions = tuple(None if part.is_inference() else part._version for part in parts)
    if known is None or known.versions != versions or None in versions:
        with naming_cycles(graph):
            frame_arcs(graph.structure)  # refuses cycles of epsilons
        check_energies_of(graph, "the decoding graph")
        consumes = graph.input_labels != EPSILON
        consuming, silent = Arcs.of(graph, consumes), Arcs.of(graph, ~consumes)
        initial = as_array(graph.initial).astype(np.float64)
        known = _known[graph] = SearchGraph(
            consuming,
            silent,
            np.concatenate([consuming.number, silent.number[::-1]]).view(np.int32),
            initial,
            as_array(graph.final).astype(np.float64),
            np.flatnonzero(initial < np.inf),
            _least_to_go(graph),
            int(graph.input_labels.max(initial=EPSILON)),
            versions,
            [],
        )
    return known


def _least_to_go(graph: Graph) -> NDArray[np.float64]:
    try:
        return as_array(shortest_distance(graph.detach().to(torch.float64), math.inf, direction="to"))
    except CycleError:  # of negative energy: nothing can be said
        return np.full(graph.states, -np.inf)
