"""Pruning: only what lies on paths that are nearly as good as the best one."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import Tree, least_tree
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, as_array
from gtn_ebm.kernels import paths as kernels
from gtn_ebm.ops.connection import connect

ROUNDING = 1e-12
"""How much of the largest energy of a path two sums of the same energies may differ by."""


@takes_graphs
def prune(graph: Graph, threshold: float | None = None, keep_states: int | None = None) -> Graph:
    """The graph of the arcs and states on paths whose energy is at most ``threshold`` more than the least.

    With least energies d(u) from the initial states to u and d'(v) from v to the end, an arc from u to v of
    energy e is kept where d(u) + e + d'(v) ≤ least + threshold; an initial or final state likewise. In the
    tropical sense, as in OpenFst, so that the paths within the threshold are all kept, and others of the arcs
    kept with them. Where a sum is on the limit up to rounding, it counts as within.

    Args:
        graph: any graph without a cycle of negative energy on its paths.
        threshold: ≥ 0; no limit where omitted.
        keep_states: keeps at most so many states: those of the best path, and then of the best path that goes
            through another state, for as long as all the states of it are few enough. No limit where omitted.

    Returns:
        A connected graph; states and arcs keep their order. It is empty where not even the best path is short
        enough, of several as good as each other the one that is come upon first.

    Raises:
        CycleError: a cycle of negative energy lies on a path; the message names it.
        GraphError: a negative limit, or an energy that is NaN or −inf.

    Cost: two shortest distances at β = ∞, O(S + A) time and memory for an acyclic graph; with ``keep_states``
    also O(S log S) time.

    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0, 0], [1, 1, 1], [0, 1, 2]), torch.tensor([0.0, 1.0, 3.0]))
    >>> prune(graph, threshold=1.0).input_labels
    array([0, 1], dtype=int32)
    """
    if threshold is not None and not threshold >= 0.0:
        raise GraphError(f"the threshold must not be negative, but is {threshold}")
    if keep_states is not None and keep_states < 0:
        raise GraphError(f"a graph cannot have {keep_states} states")
    bare = live(graph).to("cpu", torch.float64)
    energies, initial, final = (as_array(part) for part in (bare.energies, bare.initial, bare.final))
    before = least_tree(bare, "from")
    after = least_tree(bare, "to")
    through = before.energy + after.energy
    limit = _limit(through, before, after, math.inf if threshold is None else threshold)
    states = through <= limit
    if keep_states is not None:
        states = kernels.on_best_paths(
            np.argsort(through, kind="stable")[: states.sum()],
            graph.source, graph.destination, before.arc, after.arc, keep_states,
        )  # fmt: skip
    source, destination = graph.source, graph.destination
    arcs = before.energy[source] + energies + after.energy[destination] <= limit
    return connect(
        graph.with_energies(
            _only(graph.energies, arcs & states[source] & states[destination]),
            _only(graph.initial, states & (initial + after.energy <= limit)),
            _only(graph.final, states & (before.energy + final <= limit)),
        )
    )


def _limit(through: NDArray[np.float64], before: Tree, after: Tree, threshold: float) -> float:
    """The largest energy, below +inf, of a path to keep."""
    if not len(through) or through.min() == np.inf:
        return -math.inf
    largest = max(np.abs(tree.energy[np.isfinite(tree.energy)]).max() for tree in (before, after))
    return min(through.min() + threshold + ROUNDING * largest, np.finfo(np.float64).max)


def _only(energies: Tensor, kept: NDArray[np.bool_]) -> Tensor:
    return torch.where(torch.from_numpy(kept).to(energies.device), energies, torch.inf)


def live(graph: Graph) -> Graph:
    """The graph without its gradient and attributes and, if it has cycles, with arcs on no path at +inf: a
    cycle there does no harm, and states and arcs keep their numbers."""
    bare = Graph(graph.structure, graph.energies.detach(), graph.initial.detach(), graph.final.detach())
    bare = bare.with_symbols(graph.input_symbols, graph.output_symbols)  # for errors
    if graph.structure.is_acyclic:
        return bare
    kept = np.zeros(graph.arcs, np.bool_)
    kept[connect(bare).arc_maps[0]] = True
    return bare.with_energies(_only(bare.energies, kept))
