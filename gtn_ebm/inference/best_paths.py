"""The best few paths of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph
from gtn_ebm.inference.least_energy import InOrder, Path, Traces, as_given, least_to_go, paths_along
from gtn_ebm.kernels import paths as kernels
from gtn_ebm.kernels import strings
from gtn_ebm.ops.pruning import live
from gtn_ebm.symbols import EPSILON

Arrays = Sequence[NDArray[Any]]
Strings = tuple[tuple[int, ...], tuple[int, ...]]


def best_paths(graph: Graph, count: int, unique: bool = False) -> list[Path]:
    """The ``count`` paths of least energy, exactly, best first; fewer where the graph has no more.

    Args:
        graph: any graph without a cycle of negative energy on its paths.
        count: how many paths.
        unique: whether of all paths that read and write the same strings only the best counts.

    Returns:
        The paths, their energies ascending and differentiable. Which of several paths of equal energy come
        first is the same at each call.

    Raises:
        CycleError: a cycle of negative energy lies on a path; the message names a state on it.
        GraphError: count < 0, or an energy that is NaN or −inf.

    After one pass as for ``best_path`` and one along the best path, a path more costs O(log n), the arcs of
    the states where it leaves others, and its length to be written out (Eppstein 1998, "Finding the k
    shortest paths"). A string more costs the arcs of the states that each of its prefixes leads to (Mohri and
    Riley 2002, "An efficient algorithm for the n-best-strings problem"). A transducer whose arcs read without
    writing, or write without reading, in several orders for the same strings, has each order looked at.

    >>> import torch
    >>> from gtn_ebm import Structure
    >>> two_steps = Structure([0, 0, 1, 1], [1, 1, 2, 2], [0, 1, 2, 3])
    >>> graph = Graph(two_steps, torch.tensor([0.0, 1.0, 0.0, 5.0]))
    >>> [path.input_labels for path in best_paths(graph, 3)]
    [[0, 2], [1, 2], [0, 3]]
    """
    if count < 0:
        raise GraphError(f"cannot find {count} paths")
    usable = live(graph)
    _, *tree = least_to_go(usable)
    in_order = InOrder.of(usable).in_float64()
    if unique:
        return _unique(graph, in_order, tree, count)
    return _paths(graph, kernels.several(*in_order, *tree, count))


def _paths(graph: Graph, found: Arrays) -> list[Path]:
    first, arcs, begins, last = found
    paths = paths_along(graph, Traces(first, as_given(graph.structure, arcs), begins, last))
    # Sums of what detours cost are rounded in another order than sums along the path.
    return sorted(paths, key=lambda path: path.energy.item())


def _unique(graph: Graph, in_order: InOrder, tree: Arrays, count: int) -> list[Path]:
    """The kernel tells strings apart label by label: reading "a" and then writing "x" is not doing both at
    once. So it is asked for more until ``count`` are left of those that differ as strings.
    """
    labels = _labels(graph)
    asked = count
    while True:
        found = _paths(graph, strings.best_strings(*in_order, labels, *tree, asked))
        best: dict[Strings, Path] = {}
        for path in found:
            best.setdefault((tuple(path.input_labels), tuple(path.output_labels)), path)
        if len(best) >= count or len(found) < asked:
            return list(best.values())[:count]
        asked *= 2


def _labels(graph: Graph) -> NDArray[np.int64]:
    """What each arc, in the order by state, reads and writes: one number, 0 for nothing."""
    read, written = (
        labels.astype(np.int64) - EPSILON for labels in (graph.input_labels, graph.output_labels)
    )
    both = read if graph.is_acceptor else (read << 32) | written
    order = graph.structure.out_order
    return both if order is None else both[order]
