"""The best few paths of a graph."""

from __future__ import annotations

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph
from gtn_ebm.inference.least_energy import InOrder, Path, Traces, as_given, least_to_go, paths_along
from gtn_ebm.kernels import paths as kernels
from gtn_ebm.kernels import strings
from gtn_ebm.ops.pruning import live


@takes_graphs
def best_paths(graph: Graph, count: int, *, unique: bool = False) -> list[Path]:
    """The ``count`` paths of least energy, exactly, best first; fewer where the graph has no more.

    Args:
        graph: any graph without a cycle of negative energy on its paths.
        count: how many paths.
        unique: whether of all paths that read and write the same strings only the best counts.

    Returns:
        The paths, their energies ascending and differentiable. Which of several paths of equal energy come
        first is the same at each call.

    Raises:
        CycleError: a cycle of negative energy lies on a path; the message names it.
        GraphError: count < 0, or an energy that is NaN or −inf.

    Sources: Eppstein, "Finding the k shortest paths" (1998); for strings Mohri and Riley, "An efficient
    algorithm for the n-best-strings problem" (2002).

    Cost: O(S + A) time and memory for the best; then O(log S) time for a path more, the arcs of the
    states where it leaves others, and its length to be written out. A string more takes the arcs of the
    states that each part of it leads to, however many paths these are on.

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
    _, *to_go = least_to_go(usable)
    in_order = InOrder.of(usable).in_float64()
    if unique:
        order = graph.structure.out_index.arcs
        labels = graph.input_labels[order], graph.output_labels[order]
        first, arcs, begins, last = strings.best_strings(*in_order, *to_go, *labels, count)
    else:
        first, arcs, begins, last = kernels.several(*in_order, *to_go, count)
    paths = paths_along(graph, Traces(first, as_given(graph.structure, arcs), begins, last))
    # Sums of what detours cost are rounded in another order than sums along the path.
    return sorted(paths, key=lambda path: path.energy.item())
