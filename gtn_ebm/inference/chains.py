"""Markov chains over paths, for when exact sums cost too much: a part of a path at a time is drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm.arguments import in_lists, takes_graphs
from gtn_ebm.distance import usable
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.inference.expectation import check_finite
from gtn_ebm.inference.least_energy import InOrder, Path, Traces, as_given, paths_along
from gtn_ebm.inference.sampling import at_unit_beta, numpy_generator
from gtn_ebm.kernels import chains as kernels


@in_lists
class PathChains:
    """Markov chains whose stationary distribution is p(path) ∝ exp(−β (E(path) + extra(path))).

    A move takes a window of ranks at random, ranks being places in a topological order of the states, and
    draws anew what the path does within it, from its exact distribution given what it does outside (block
    Gibbs sampling). It costs the arcs that leave the window's states, not those of the graph. With ``extra``,
    which need not be a sum over arcs, it is a Metropolis-Hastings proposal, accepted with probability
    min(1, exp(−β Δextra)). A window is as often as not twice as wide, and so on, so that every path is
    reached in the end, and a move's mean cost is log(S / window) times that of the narrowest.

    Args:
        graph: an acyclic graph; its energies may be other ones at each call of ``move``.
        paths: where the chains begin, one each: any paths of the graph, such as ``[best_path(graph)]`` or
            those that ``random_paths`` draws. (A path without arcs begins anew in a state at random.)
        beta: inverse temperature, finite and > 0.
        generator: where the randomness comes from; torch's own where omitted.
        window: the fewest ranks to draw anew, ≥ 1. As many as the graph has states make each move an
            independent exact sample.
        extra: an energy that is added to that of the graph's arcs; +inf forbids a path.

    Raises:
        CycleError: the graph has a cycle; the message names a state on it.
        GraphError: something is no path of the graph, no path is given, the window is below 1, or β is out of
            range.

    Source: Jensen, Kong and Kjærulff, "Blocking Gibbs sampling in very large probabilistic expert systems"
    (1995).

    >>> from gtn_ebm import best_path
    >>> graph = Graph(Structure([0, 0], [1, 1], [7, 8]), torch.tensor([0.0, 50.0]))
    >>> chains = PathChains(graph, [best_path(graph)])
    >>> [path.input_labels for path in chains.move(graph, 10)]
    [[7]]
    """

    @takes_graphs
    def __init__(
        self,
        graph: Graph,
        paths: Sequence[Path],
        beta: float = 1.0,
        generator: torch.Generator | None = None,
        *,
        window: int = 16,
        extra: Callable[[Path], float] | None = None,
    ):
        check_finite(beta)
        if not isinstance(window, int) or window < 1:
            raise GraphError(f"a window must hold one state or more, not {window!r:.60}")
        if extra is not None and not callable(extra):
            raise GraphError(f"extra must be a function from a path to its energy, not {extra!r:.60}")
        if not len(paths):
            raise GraphError("there is no path for a chain to begin with")
        order = graph.structure.topological_order
        self.window, self.beta = window, beta
        self._structure, self._extra = graph.structure, extra
        self._random = numpy_generator(generator)
        self._order = order
        self._rank = np.empty(graph.states, np.int64)
        self._rank[order] = np.arange(graph.states)
        self._place = np.empty(graph.arcs, np.int64)
        self._place[graph.structure.out_index.arcs] = np.arange(graph.arcs)
        self._chains = [self._as_chain(graph, path) for path in paths]

    @takes_graphs
    def move(self, graph: Graph, count: int) -> list[Path]:
        """Makes ``count`` moves of each chain by the energies of ``graph``, which has the structure that the
        chains were made for, and returns the paths where they are then, their energies differentiable.

        Raises:
            GraphError: another structure, count < 0, or an energy (``extra``, too) that is NaN or −inf.
        """
        if count < 0:
            raise GraphError(f"cannot make {count} moves")
        if not _is_same(graph.structure, self._structure):
            raise GraphError("the chains are of paths of another structure; make new ones for this graph")
        for part in (graph.energies, graph.initial, graph.final):
            usable(part)
        in_order = InOrder.of(at_unit_beta(graph, self.beta)).in_float64()
        arrays = (*in_order, self._rank)
        if self._extra is None:
            self._chains = [self._moved(arrays, chain, count) for chain in self._chains]
        else:
            for _ in range(count):
                self._chains = [self._accepted(graph, arrays, chain) for chain in self._chains]
        return self._paths(graph, self._chains)

    def _moved(self, arrays: Any, chain: Chain, count: int) -> Chain:
        moved: Chain = kernels.move(arrays, self._order, *chain, self.window, count, self._random)
        return moved

    def _accepted(self, graph: Graph, arrays: Any, chain: Chain) -> Chain:
        assert self._extra is not None
        proposed = self._moved(arrays, chain, 1)
        before, after = (float(self._extra(p)) for p in self._paths(graph.detach(), [chain, proposed]))
        if not (before > -np.inf and after > -np.inf):
            raise GraphError(f"the extra energies {before} and {after} of two paths must not be NaN or −inf")
        if np.isinf(before):  # any way out of what is forbidden is taken
            return proposed
        return proposed if self._random.random() < np.exp(min(0.0, self.beta * (before - after))) else chain

    def _paths(self, graph: Graph, chains: Sequence[Chain]) -> list[Path]:
        begins = np.cumsum([0, *(len(arcs) for _, arcs in chains)])
        first = np.array([first for first, _ in chains], np.int64)
        arcs = as_given(graph.structure, np.concatenate([arcs for _, arcs in chains]))
        last = first.copy()
        ending = begins[1:] > begins[:-1]
        last[ending] = graph.destination[arcs[begins[1:][ending] - 1]]
        return paths_along(graph, Traces(first, arcs, begins, last))

    def _as_chain(self, graph: Graph, path: Path) -> Chain:
        """The path as kernels take it."""
        arcs = path.arcs
        if not len(arcs):
            return self._empty_path(graph), np.empty(0, np.int64)
        if arcs.min() < 0 or arcs.max() >= graph.arcs:
            raise GraphError(f"the graph has {graph.arcs} arcs, and no path along the arcs {arcs.tolist()}")
        ends = int(graph.source[arcs[0]]), int(graph.destination[arcs[-1]])
        apart = graph.destination[arcs[:-1]] != graph.source[arcs[1:]]
        if apart.any() or graph.initial[ends[0]] == torch.inf or graph.final[ends[1]] == torch.inf:
            raise GraphError(f"the arcs {arcs.tolist()} are no path of the graph")
        return ends[0], self._place[arcs]

    def _empty_path(self, graph: Graph) -> int:
        """A state where a path without arcs may be, as likely as it is among such paths."""
        energies = (graph.initial + graph.final).detach().double().numpy(force=True) * self.beta
        if not len(energies) or energies.min() == np.inf:
            raise GraphError("the graph has no path without arcs")
        weights = np.exp(energies.min() - energies)
        return int(self._random.choice(len(weights), p=weights / weights.sum()))


Chain = tuple[int, NDArray[np.int64]]
"""A path: its first state, and its arcs in the order by state."""


def _is_same(one: Structure, other: Structure) -> bool:
    return one is other or (
        one.states == other.states
        and np.array_equal(one.source, other.source)
        and np.array_equal(one.destination, other.destination)
    )
