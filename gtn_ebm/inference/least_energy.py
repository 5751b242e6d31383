"""The path of least energy: LeCun's Viterbi transformer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.distance import SLACK, usable
from gtn_ebm.errors import CycleError
from gtn_ebm.graph import Graph, Structure, as_array, check_one_dtype
from gtn_ebm.kernels import components, distance
from gtn_ebm.kernels import paths as kernels
from gtn_ebm.ops.connection import connect
from gtn_ebm.parallel import parallel_map
from gtn_ebm.symbols import EPSILON


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
    return [
        _path(graph, traces.arcs[traces.begins[k] : traces.begins[k + 1]], energy)
        for k, energy in enumerate(_energies(graph, traces).unbind())
    ]


def _path(graph: Graph, arcs: NDArray[np.int64], energy: Tensor) -> Path:
    read = _without_epsilon(graph.input_labels[arcs])
    written = list(read) if graph.is_acceptor else _without_epsilon(graph.output_labels[arcs])
    return Path(arcs, energy, read, written)


def _without_epsilon(labels: NDArray[np.int32]) -> list[int]:
    kept: list[int] = labels[labels != EPSILON].tolist()
    return kept


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
def best_path(graphs: Graph | Sequence[Graph]) -> Path | list[Path | None] | None:
    """The path of least energy of each graph, or None where no path has a finite energy.

    O(states + arcs) for an acyclic graph; what ``shortest_distance`` at β = ∞ takes for one with cycles.

    Args:
        graphs: one graph, or a list of them.

    Raises:
        CycleError: a cycle of negative energy lies on a path; the message names a state on it.
        GraphError: an energy that is NaN or −inf.

    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0, 1], [1, 1, 2], [0, 1, 2]), torch.tensor([3.0, 1.0, 2.0]))
    >>> best_path(graph).input_labels
    [1, 2]
    """
    if isinstance(graphs, Graph):
        return _best(graphs, _least(graphs))
    return [_best(graph, found) for graph, found in zip(graphs, parallel_map(_least, graphs), strict=True)]


def minimum_energy(graphs: Graph | Sequence[Graph]) -> Tensor:
    """min over paths of E(path): a scalar, or [B] for a list of graphs; +inf where there is no path.

    Its derivative is 1 for each time the best path uses an arc, and 0 elsewhere. Args and errors as of
    ``best_path``.
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


def live(graph: Graph) -> Graph:
    """The same graph, but if it has cycles, arcs on no path are at +inf: a cycle there must do no harm."""
    if graph.structure.is_acyclic:
        return graph
    parts = graph.energies.detach(), graph.initial.detach(), graph.final.detach()
    kept = connect(Graph(graph.structure, *parts)).arc_maps[0]
    energies = torch.full_like(parts[0], torch.inf)
    energies[kept] = parts[0][kept]
    return Graph(graph.structure, energies, *parts[1:])


class Tree(NamedTuple):
    """Where least energy leads.

    Attributes:
        first: the state that the best path starts in; NONE, or REFUSED for an energy that is NaN or −inf.
        to_go: the least energy from each state to the end, its final energy included, [S] float64.
        best_arc: the arc on such a path, numbered in the order by state, −1 where it ends, [S].
    """

    first: int
    to_go: NDArray[np.float64]
    best_arc: NDArray[np.int64]


def least_tree(graph: Graph) -> Tree:
    """The best path from each state to the end, of a graph as ``live`` gives it.

    Raises:
        CycleError: a cycle of negative energy lies on a path; the message names a state on it.
        GraphError: an energy that is NaN or −inf.
    """
    if not graph.structure.is_acyclic:
        return _tree_on_cycles(graph)
    tree = Tree(*kernels.least(graph.structure.topological_order, *InOrder.of(graph)))
    if tree.first == kernels.REFUSED:
        _check(graph)
    return tree


def _tree_on_cycles(graph: Graph) -> Tree:
    _check(graph)
    structure, energies = graph.structure, as_array(graph.energies)
    offsets, arcs = structure.in_index
    source = structure.source.view(np.uint32)[arcs]
    order, starts = components.components(offsets, source)
    to_go = as_array(graph.final).astype(np.float64)
    place = distance.positions(order)
    best_arc, state = distance.least(order, starts, place, offsets, source, energies[arcs], SLACK, to_go)
    best_arc = np.where(best_arc >= 0, arcs[best_arc].astype(np.int64), -1)
    if state >= 0:
        cycle = [best_arc[state]]
        while structure.destination[cycle[-1]] != state:
            cycle.append(best_arc[structure.destination[cycle[-1]]])
        raise CycleError(
            f"the cycle through state {state} has a negative energy of {math.fsum(energies[cycle]):.6g}, so "
            "that no path is the best; raise its energy, or compose with an acyclic graph first"
        )
    total = as_array(graph.initial) + to_go
    first = int(total.argmin()) if len(total) and total.min() < np.inf else kernels.NONE
    if structure.out_order is not None:
        place_of = np.empty(structure.arcs, np.int64)
        place_of[structure.out_order] = np.arange(structure.arcs)
        best_arc = np.where(best_arc >= 0, place_of[best_arc], -1)
    return Tree(first, to_go, best_arc)


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
        tree = least_tree(live(graph))
        found = _Found(*kernels.follow(*in_order[1:], tree.first, tree.best_arc))
    if found.first == kernels.REFUSED:
        _check(graph)
    return found


def _best(graph: Graph, found: _Found) -> Path | None:
    first, arcs, last, energy = found
    if first < 0:
        return None
    arcs = as_given(graph.structure, arcs)
    if torch.is_grad_enabled() and any(p.requires_grad for p in (graph.energies, graph.initial, graph.final)):
        traces = Traces(np.array([first]), arcs, np.array([0, len(arcs)]), np.array([last]))
        return paths_along(graph, traces)[0]
    return _path(graph, arcs, torch.tensor(energy, dtype=graph.dtype, device=graph.energies.device))
