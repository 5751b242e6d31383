"""The path of least energy: LeCun's Viterbi transformer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.arguments import in_lists, takes_graphs
from gtn_ebm.distance import least_tree, usable
from gtn_ebm.graph import Graph, Structure, as_array, check_one_dtype
from gtn_ebm.kernels import paths as kernels
from gtn_ebm.ops.pruning import live
from gtn_ebm.parallel import parallel_map
from gtn_ebm.symbols import EPSILON


@in_lists
class Path(NamedTuple):
    """A path through a graph.

    Attributes:
        arcs: its arcs, first to last, [L] int64.
        energy: the sum of its arcs', its initial and its final energy; a scalar, differentiable in each of
            them. It is summed in float64 whatever the dtype of the energies, and then rounded to it.
        input_labels, output_labels: read and written along it, epsilons left out.
    """

    arcs: NDArray[np.int64]
    energy: Tensor
    input_labels: list[int]
    output_labels: list[int]


class Traces(NamedTuple):
    """N paths as integers: the arcs of path k are ``arcs[begins[k]:begins[k + 1]]``.

    Attributes:
        first: the states they start in, [N].
        arcs: of all paths in a row.
        begins: where in it those of each begin, and the number of all, [N + 1].
        last: the states they end in, [N].
    """

    first: NDArray[np.int64]
    arcs: NDArray[np.int64]
    begins: NDArray[np.int64]
    last: NDArray[np.int64]


def paths_along(graph: Graph, traces: Traces) -> list[Path]:
    """The paths with their labels, and with energies that are differentiable in those of the graph."""
    arcs, begins = traces.arcs, traces.begins.tolist()
    between = list(pairwise(begins))
    read = _labels(graph.input_labels[arcs], between)
    written = map(list, read) if graph.is_acceptor else _labels(graph.output_labels[arcs], between)
    along = (arcs[begin:end] for begin, end in between)
    return [
        Path(*parts) for parts in zip(along, _energies(graph, traces).unbind(), read, written, strict=True)
    ]


def _labels(labels: NDArray[np.int32], between: list[tuple[int, int]]) -> list[list[int]]:
    """The labels of each path that are not epsilon."""
    return [_without_epsilon(labels[begin:end]) for begin, end in between]


def _without_epsilon(labels: NDArray[np.int32]) -> list[int]:
    every: list[int] = labels.tolist()
    return [label for label in every if label != EPSILON] if EPSILON in every else every


def _energies(graph: Graph, traces: Traces) -> Tensor:
    """[N], summed in float64."""
    first, arcs, last = (
        torch.from_numpy(places).to(graph.energies.device)
        for places in (traces.first, traces.arcs, traces.last)
    )
    path_of = torch.from_numpy(np.repeat(np.arange(len(first)), np.diff(traces.begins))).to(arcs.device)
    ends = graph.initial.index_select(0, first).double() + graph.final.index_select(0, last).double()
    along = graph.energies.index_select(0, arcs).double()
    return ends.index_add(0, path_of, along).to(graph.dtype)


@overload
def best_path(graphs: Graph) -> Path | None: ...
@overload
def best_path(graphs: Sequence[Graph]) -> list[Path | None]: ...
@takes_graphs
def best_path(graphs: Graph | Sequence[Graph]) -> Path | list[Path | None] | None:
    """The path of least energy of each graph, or None where no path has a finite energy.

    Args:
        graphs: one graph, or a list of them.

    Raises:
        CycleError: a cycle of negative energy lies on a path; the message names it.
        GraphError: an energy that is NaN or −inf.

    Cost: O(S + A) time and O(S) memory for an acyclic graph; that of ``shortest_distance`` at β = ∞ for one
    with cycles.

    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0, 1], [1, 1, 2], [0, 1, 2]), torch.tensor([3.0, 1.0, 2.0]))
    >>> best_path(graph).input_labels
    [1, 2]
    """
    if isinstance(graphs, Graph):
        return _best(graphs, _least(graphs))
    return [_best(graph, found) for graph, found in zip(graphs, parallel_map(_least, graphs), strict=True)]


@takes_graphs
def minimum_energy(graphs: Graph | Sequence[Graph]) -> Tensor:
    """min over paths of E(path): a scalar, or [B] for a list of graphs; +inf where there is no path.

    Its derivative is 1 for each time the best path uses an arc, and 0 elsewhere. Args and errors as of
    ``best_path``.

    Cost: that of ``best_path``.
    """
    if isinstance(graphs, Graph):
        return minimum_energy([graphs])[0]
    if not graphs:
        return torch.zeros(0)
    check_one_dtype(graphs)
    return torch.stack(
        [
            _no_path(graph) if path is None else path.energy
            for graph, path in zip(graphs, best_path(graphs), strict=True)
        ]
    )


def _no_path(graph: Graph) -> Tensor:
    """+inf, with a gradient of 0 in every energy."""
    return torch.cat([part[:0] for part in (graph.energies, graph.initial, graph.final)]).sum() + torch.inf


class InOrder(NamedTuple):
    """A graph as kernels take it: its arcs grouped by the state they leave, those of u being ``offsets[u]``
    to ``offsets[u + 1]``."""

    offsets: NDArray[np.uint32]
    destination: NDArray[np.uint32]
    energy: NDArray[Any]
    initial: NDArray[Any]
    final: NDArray[Any]

    @classmethod
    def of(cls, graph: Graph) -> InOrder:
        energy, order = as_array(graph.energies), graph.structure.out_order
        return cls(
            *graph.structure.outgoing,
            energy if order is None else energy[order],
            as_array(graph.initial),
            as_array(graph.final),
        )

    def in_float64(self) -> InOrder:
        """So that a kernel need not be compiled for every dtype."""
        return InOrder(*self[:2], *(part.astype(np.float64, copy=False) for part in self[2:]))


def as_given(structure: Structure, in_order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of arcs that are numbered in the order by state."""
    order = structure.out_order
    return in_order if order is None else order[in_order].astype(np.int64)


class ToGo(NamedTuple):
    """Where least energy leads.

    Attributes:
        first: the state that the best path starts in; NONE, or REFUSED for an energy that is NaN or −inf.
        to_go: the least energy from each state to the end, its final energy included, [S] float64.
        best_arc: the arc on such a path, numbered in the order by state, −1 where it ends, [S].
    """

    first: int
    to_go: NDArray[np.float64]
    best_arc: NDArray[np.int64]


def least_to_go(graph: Graph) -> ToGo:
    """The best path from each state to the end, of a graph as ``live`` gives it.

    Raises:
        CycleError: a cycle of negative energy lies on a path; the message names it.
        GraphError: an energy that is NaN or −inf.
    """
    if not graph.structure.is_acyclic:
        return _to_go_on_cycles(graph)
    found = ToGo(*kernels.least(graph.structure.topological_order, *InOrder.of(graph)))
    if found.first == kernels.REFUSED:
        _check(graph)
    return found


def _to_go_on_cycles(graph: Graph) -> ToGo:
    to_go, best_arc = least_tree(graph, "to")
    total = as_array(graph.initial) + to_go
    first = int(total.argmin()) if total.min() < np.inf else kernels.NONE
    if graph.structure.out_order is not None:
        place = np.empty(graph.arcs, np.int64)
        place[graph.structure.out_order] = np.arange(graph.arcs)
        best_arc = np.where(best_arc >= 0, place[best_arc], -1)
    return ToGo(first, to_go, best_arc)


def _check(graph: Graph) -> None:
    for part in (graph.energies, graph.initial, graph.final):
        usable(part)


class _Found(NamedTuple):
    """The best path: its first state (or NONE or REFUSED), arcs numbered by state, last state and energy."""

    first: int
    arcs: NDArray[np.int64]
    last: int
    energy: float


def _least(graph: Graph) -> _Found:
    in_order = InOrder.of(graph)
    if graph.structure.is_acyclic:
        found = _Found(*kernels.best(graph.structure.topological_order, *in_order))
    else:
        first, _, best_arc = least_to_go(live(graph))
        found = _Found(*kernels.follow(*in_order[1:], first, best_arc))
    if found.first == kernels.REFUSED:
        _check(graph)
    return found


def _best(graph: Graph, found: _Found) -> Path | None:
    first, arcs, last, energy = found
    if first < 0:
        return None
    arcs = as_given(graph.structure, arcs)
    wanted = graph.energies.requires_grad or graph.initial.requires_grad or graph.final.requires_grad
    if wanted and torch.is_grad_enabled():
        traces = Traces(np.array([first]), arcs, np.array([0, len(arcs)]), np.array([last]))
        return paths_along(graph, traces)[0]
    read = _without_epsilon(graph.input_labels[arcs])
    written = list(read) if graph.is_acceptor else _without_epsilon(graph.output_labels[arcs])
    return Path(arcs, graph.energies.new_full((), energy, requires_grad=False), read, written)
