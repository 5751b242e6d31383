"""Incorrect answers: those that a desired answer competes with.

An answer is what a path writes. That it is incorrect is decided exactly, by the complement of the desired
answers, and not among a few best paths, which may all write a desired one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph
from gtn_ebm.inference.free_energy import free_energy
from gtn_ebm.inference.least_energy import Path, best_path
from gtn_ebm.ops.composition import compose
from gtn_ebm.ops.difference import complement, written_labels


@overload
def most_offending(graphs: Graph, desired: Graph) -> Path | None: ...
@overload
def most_offending(graphs: Sequence[Graph], desired: Sequence[Graph]) -> list[Path | None]: ...
@takes_graphs
def most_offending(
    graphs: Graph | Sequence[Graph], desired: Graph | Sequence[Graph]
) -> Path | list[Path | None] | None:
    """The most offending incorrect answer: the path of least energy whose output is no desired answer, or
    None where there is no such path.

    With the graph of ``cost_augmented`` it is the wrong answer that violates a margin most.

    Args:
        graphs: graphs of all answers, one or a list.
        desired: acceptors of the desired answers, such as ``Graph.linear`` of one; their energies count for
            nothing.

    Returns:
        Paths as of ``best_path``, differentiable; their arcs are numbered as in the ``graphs``.

    Raises:
        GraphError: ``desired`` is a transducer, lists of different lengths, or an energy that is NaN or −inf.
        CycleError: a cycle of negative energy lies on such a path.

    Source: LeCun, Chopra, Hadsell, Ranzato, Huang, "A tutorial on energy-based learning" (2006),
    definition 1.

    Cost: that of ``difference`` and ``best_path``.

    >>> import torch
    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0, 0], [1, 1, 1], [0, 0, 1]), torch.tensor([1.0, 2.0, 4.0]))
    >>> most_offending(graph, Graph.linear([0])).energy
    tensor(4.)
    """
    if isinstance(graphs, Graph) and isinstance(desired, Graph):
        return most_offending([graphs], [desired])[0]
    wrong = incorrect_paths(graphs, desired)
    return [
        None if path is None else path._replace(arcs=among.arc_maps[0][path.arcs].astype(path.arcs.dtype))
        for among, path in zip(wrong, best_path(wrong), strict=True)
    ]


@takes_graphs
def incorrect_free_energy(
    graphs: Graph | Sequence[Graph], desired: Graph | Sequence[Graph], beta: float = 1.0
) -> Tensor:
    """F_β over all paths whose output is no desired answer; β = ∞ is the energy of the most offending one.

    Args:
        graphs, desired: as of ``most_offending``.
        beta: inverse temperature, > 0.

    Returns:
        A scalar, or for lists of B graphs [B]; +inf, with a gradient of 0, where there is no such path.

    Raises as ``most_offending`` and ``free_energy``.

    Cost: that of ``difference`` and ``free_energy``.

    >>> import torch
    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0, 0], [1, 1, 1], [0, 0, 1]), torch.tensor([1.0, 2.0, 4.0]))
    >>> incorrect_free_energy(graph, Graph.linear([0])), incorrect_free_energy(graph, graph)
    (tensor(4.), tensor(inf))
    """
    if isinstance(graphs, Graph) and isinstance(desired, Graph):
        return incorrect_free_energy([graphs], [desired], beta)[0]
    return free_energy(incorrect_paths(graphs, desired), beta)


def incorrect_paths(graphs: Graph | Sequence[Graph], desired: Graph | Sequence[Graph]) -> list[Graph]:
    """The paths of each graph whose output is no desired answer; ``arc_maps`` lead to its arcs.

    The same as ``difference``, by composition with the complement, which is faster where answers are short.
    """
    if isinstance(graphs, Graph) or isinstance(desired, Graph):
        raise GraphError("give one graph and its desired answers, or a list of each")
    if len(graphs) != len(desired):
        raise GraphError(f"there are {len(graphs)} graphs, but {len(desired)} of desired answers")
    others = [
        complement(answers, written_labels(graph)).to(graph.energies.detach())
        for graph, answers in zip(graphs, desired, strict=True)
    ]
    return compose(graphs, others)
