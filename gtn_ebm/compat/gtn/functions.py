"""gtn's functions of graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import gtn_ebm.graph as core
from gtn_ebm import inference, ops
from gtn_ebm.compat.gtn.autograd import SCALAR, apply
from gtn_ebm.compat.gtn.graph import Graph, GtnRuntimeError, epsilon
from gtn_ebm.compat.gtn.parallel import vectorised
from gtn_ebm.ops.arc_maps import restricted, select
from gtn_ebm.ops.epsilons import remove_epsilons
from gtn_ebm.parallel import parallel_map


@vectorised
def add(g1: Graph, g2: Graph) -> Graph:
    """The sum of two scalar graphs. Raises RuntimeError where either has not exactly one arc."""
    _check_scalar("add", g1, g2)
    return apply(lambda first, second: first.with_energies(first.energies + second.energies), g1, g2)


@vectorised
def subtract(g1: Graph, g2: Graph) -> Graph:
    """The difference of two scalar graphs. Raises RuntimeError where either has not exactly one arc."""
    _check_scalar("subtract", g1, g2)
    return apply(lambda first, second: first.with_energies(first.energies - second.energies), g1, g2)


@vectorised
def negate(g: Graph) -> Graph:
    """A scalar graph with the opposite weight. Raises RuntimeError where it has not exactly one arc."""
    _check_scalar("negate", g)
    return apply(lambda graph: graph.with_energies(0.0 - graph.energies), g)


def _check_scalar(name: str, *graphs: Graph) -> None:
    for graph in graphs:
        if graph.num_arcs() != 1:
            raise GtnRuntimeError(f"{name} is for graphs of one arc, but one given has {graph.num_arcs()}")


def clone(g: Graph) -> Graph:
    """A copy, through which gradients go."""
    return apply(lambda graph: graph.with_energies(graph.energies.clone()), g)


@vectorised
def project_input(g: Graph) -> Graph:
    """The acceptor of the input labels."""
    return apply(lambda graph: ops.project(graph, "input"), g)


@vectorised
def project_output(g: Graph) -> Graph:
    """The acceptor of the output labels."""
    return apply(lambda graph: ops.project(graph, "output"), g)


def concat(*graphs: Any, **named: Any) -> Any:
    """A path of each graph in a row: ``concat(graphs)`` or ``concat(g1, g2)``; lists of these side by side.

    An arc labelled epsilon leads from each accept node of one graph to each start node of the next. No graph
    at all gives the graph of the empty string.
    """
    given = (*graphs, *named.values())
    return _of_each(_concat, given[0]) if len(given) == 1 else _concat_two(*given)


@vectorised
def _concat_two(g1: Graph, g2: Graph) -> Graph:
    return apply(_concat, g1, g2)


def union(graphs: Sequence[Graph] | Sequence[Sequence[Graph]]) -> Any:
    """The paths of all the graphs, side by side; of a list of lists, one union for each."""
    return _of_each(_union, graphs)


def _of_each(function: Callable[..., core.Graph], graphs: Sequence[Any]) -> Graph | list[Graph]:
    if all(isinstance(graph, Graph) for graph in graphs):
        return apply(function, *graphs)
    return parallel_map(lambda several: apply(function, *several), graphs)


def _union(*graphs: core.Graph) -> core.Graph:
    return ops.union(*graphs) if graphs else core.Graph(core.Structure([], [], []))


def _concat(*graphs: core.Graph) -> core.Graph:
    if not graphs:
        return core.Graph.linear([])
    columns, energies, offset = [], [], 0
    for k, graph in enumerate(graphs):
        ends, labels = (graph.source, graph.destination), (graph.input_labels, graph.output_labels)
        columns.append(np.stack([*(end + offset for end in ends), *labels]))
        energies.append(graph.energies)
        if k:
            before = graphs[k - 1]
            accepts, starts = _finite(before.final), _finite(graph.initial)
            source = np.repeat(accepts + offset - before.states, len(starts))
            destination = np.tile(starts + offset, len(accepts))
            columns.append(np.stack([source, destination, *np.full((2, len(source)), epsilon)]))
            energies.append(select(before.final, accepts).repeat_interleave(len(starts)))
        offset += graph.states
    source, destination, read, written = np.concatenate(columns, axis=1).astype(np.int32)
    return core.Graph(
        core.Structure(source, destination, read, written, offset),
        torch.cat(energies),
        _beyond(graphs[0].initial, after=offset - graphs[0].states),
        _beyond(graphs[-1].final, before=offset - graphs[-1].states),
    )


def _finite(ends: Tensor) -> NDArray[np.int32]:
    return np.flatnonzero(ends.detach().numpy() != np.inf).astype(np.int32)


def _beyond(ends: Tensor, before: int = 0, after: int = 0) -> Tensor:
    """The ends of one graph among several: +inf in the states before and after."""
    return torch.cat([ends.new_full((before,), torch.inf), ends, ends.new_full((after,), torch.inf)])


@vectorised
def closure(g: Graph) -> Graph:
    """Kleene star: any number of paths in a row. Node 0 is new, the only start and accept node."""
    return apply(_closure, g)


def _closure(graph: core.Graph) -> core.Graph:
    starred = ops.closure(graph)  # whose new state comes last
    states = np.roll(np.arange(starred.states, dtype=np.int32), 1)
    return restricted(starred, np.arange(starred.arcs, dtype=np.int32), states)


@vectorised
def compose(g1: Graph, g2: Graph) -> Graph:
    """The transducer that reads what ``g1`` reads and writes what ``g2`` writes of what ``g1`` wrote.

    Each pair of paths whose labels match makes one path, with epsilons on either side, too.
    """
    return apply(ops.compose, g1, g2)


@vectorised
def intersect(g1: Graph, g2: Graph) -> Graph:
    """The acceptor of what both accept. Raises ValueError where either is a transducer (undefined in gtn)."""
    return apply(ops.intersect, g1, g2)


@vectorised
def remove(g: Graph, label: int = epsilon, olabel: int | None = None, *, ilabel: int | None = None) -> Graph:
    """An equivalent graph without the arcs labelled ``label``, as if they were epsilons: ``remove(g)``,
    ``remove(g, label)`` or ``remove(g, ilabel, olabel)``.

    In gtn the result has no weights and no gradient. Here the weight of a removed arc goes to the arcs after
    it, and to the accept node where it is the last (see docs/gtn.md): ``forward_score`` stays as it is.

    Raises:
        ValueError: a cycle of removed arcs over which the sum of paths diverges.
    """
    read = label if ilabel is None else ilabel
    written = read if olabel is None else olabel
    return apply(lambda graph: _remove(graph, read, written), g)


def _remove(graph: core.Graph, read: int, written: int) -> core.Graph:
    structure = graph.structure
    chosen = (structure.input_labels == read) & (structure.output_labels == written)
    # The labels of the other arcs are their numbers meanwhile, so that no other epsilon is removed.
    marks = np.where(chosen, epsilon, np.arange(structure.arcs)).astype(np.int32)
    removed = remove_epsilons(_labelled(graph, marks, marks))
    arcs = removed.input_labels
    return _labelled(removed, structure.input_labels[arcs], structure.output_labels[arcs])


def _labelled(graph: core.Graph, read: NDArray[np.int32], written: NDArray[np.int32]) -> core.Graph:
    structure = core.Structure.of_valid(graph.source, graph.destination, read, written, graph.states)
    return core.Graph(structure, graph.energies, graph.initial, graph.final)


@vectorised
def forward_score(g: Graph) -> Graph:
    """log Σ exp(score) over all paths, as a scalar graph; −inf where there is none.

    Raises:
        ValueError: a cycle on a path from a start to an accept node.
    """
    return apply(lambda graph: scalar(inference.free_energy(_acyclic(graph))), g)


@vectorised
def viterbi_score(g: Graph) -> Graph:
    """The greatest score of a path, as a scalar graph; −inf where there is none.

    Errors as ``forward_score``.
    """
    return apply(lambda graph: scalar(inference.minimum_energy(_acyclic(graph))), g)


def _acyclic(graph: core.Graph) -> core.Graph:
    if not graph.structure.is_acyclic:
        graph = ops.connect(graph)  # a cycle that no path gets through is no matter
        graph.structure.topological_order  # noqa: B018  raises CycleError
    return graph


def scalar(energy: Tensor) -> core.Graph:
    """A graph of one arc with this energy."""
    return core.Graph(SCALAR, energy.reshape(1))


@vectorised
def viterbi_path(g: Graph) -> Graph:
    """The path of greatest score as a chain; the empty graph where there is none.

    Errors as ``forward_score``.
    """
    return apply(_viterbi_path, g)


def _viterbi_path(graph: core.Graph) -> core.Graph:
    graph = _acyclic(graph)
    best = inference.best_path(graph.detach())
    if best is None:
        return core.Graph(core.Structure([], [], []))
    if len(best.arcs):
        last = int(graph.destination[best.arcs[-1]])
    else:
        last = int((graph.initial + graph.final).argmin())
    return chain(graph, best.arcs, last)


def chain(graph: core.Graph, arcs: NDArray[np.int64], last: int) -> core.Graph:
    """The path of these arcs as a graph of its own; it ends as the graph does in state ``last``."""
    energies = graph.energies[torch.from_numpy(arcs)]
    path = core.Graph.linear(graph.input_labels[arcs], graph.output_labels[arcs], energies)
    return path.with_energies(energies, final=_beyond(graph.final[last : last + 1], before=len(arcs)))
