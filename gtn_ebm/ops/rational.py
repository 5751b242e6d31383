"""Union, concatenation and closure."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure, as_array, check_one_dtype
from gtn_ebm.ops.arc_maps import SideBySide, carry_attributes, stack_attributes
from gtn_ebm.symbols import EPSILON


@takes_graphs
def union(*graphs: Graph) -> Graph:
    """The paths of all the graphs, side by side. No state or arc is added, since a graph may have several
    initial states.

    Raises:
        GraphError: no graph, different dtypes or symbol tables, or attributes of different kinds under one
        name.

    Cost: O(S + A) time and memory, of all graphs together.
    """
    _check(graphs)
    offsets = _first_states(graphs)
    return _assemble(
        graphs,
        _NewArcs(graphs[0].energies),
        torch.cat([graph.initial for graph in graphs]),
        torch.cat([graph.final for graph in graphs]),
        states=int(offsets[-1]),
    )


@takes_graphs
def concat(*graphs: Graph) -> Graph:
    """Each path is a path of the first graph, then one of the second, and so on.

    Between two graphs stands one state, entered by an epsilon arc from each final state of the one (with its
    final energy) and left by an epsilon arc to each initial state of the next (with its initial energy).

    Raises:
        GraphError: as ``union``.

    Cost: O(S + A) time and memory, of all graphs together.
    """
    _check(graphs)
    offsets = _first_states(graphs)
    joints = len(graphs) - 1
    new = _NewArcs(graphs[0].energies)
    for k in range(joints):
        joint = int(offsets[-1]) + k
        new.leave(joint, int(offsets[k]), graphs[k].final)
        new.enter(joint, int(offsets[k + 1]), graphs[k + 1].initial)
    nowhere = graphs[0].energies.new_full((int(offsets[-1]) + joints,), torch.inf, requires_grad=False)
    initial = torch.cat([graphs[0].initial, nowhere[graphs[0].states :]])
    final = torch.cat([nowhere[: offsets[-2]], graphs[-1].final, nowhere[offsets[-1] :]])
    return _assemble(graphs, new, initial, final, states=int(offsets[-1]) + joints)


@takes_graphs
def closure(graph: Graph, lower: int = 0, upper: int | None = None) -> Graph:
    """Each path is several paths of the graph in a row: at least ``lower`` and at most ``upper`` of them.

    ``closure(graph)`` is the Kleene star, ``closure(graph, 1)`` the plus, ``closure(graph, 0, 1)`` makes the
    graph optional. No path in a row is the empty one, of energy 0. Every row makes exactly one path, so that
    sums over paths are right.

    A state stands before and after each copy of the graph, one copy for each path that is counted; epsilon
    arcs lead from it to each initial state of the next copy (with its initial energy) and to it from each
    final state of the last (with its final energy). Without ``upper`` there is a cycle: one state in all for
    ``lower`` 0, else an epsilon arc back around the last copy.

    Raises:
        GraphError: not 0 ≤ lower ≤ upper with an upper of at least 1.

    Cost: O(copies · (S + A)) time and memory; one copy where ``upper`` is left out and ``lower`` is 0.

    >>> closure(Graph.linear([0]), 1)
    Graph(4 states, 4 arcs, acceptor)
    """
    if lower < 0 or (upper is not None and upper < max(lower, 1)):
        raise GraphError(f"a closure needs 0 ≤ lower ≤ upper and 1 ≤ upper, not {lower} and {upper}")
    copies = max(lower, 1) if upper is None else upper
    between = copies * graph.states + np.arange(copies + 1)
    if upper is None and lower == 0:
        between = between[[0, 0]]
    new = _NewArcs(graph.energies)
    for k in range(copies):
        new.enter(int(between[k]), k * graph.states, graph.initial)
        new.leave(int(between[k + 1]), k * graph.states, graph.final)
    if upper is None and lower > 0:
        new.link(int(between[-1]), int(between[-2]))
    initial = graph.energies.new_full((int(between[-1]) + 1,), torch.inf, requires_grad=False)
    final = initial.clone()
    initial[between[0]] = 0.0
    final[between[lower:]] = 0.0
    energies = torch.cat([graph.energies.repeat(copies), new.energies])
    stems = np.full(len(energies), -1, np.int32)
    stems[: copies * graph.arcs] = np.tile(np.arange(graph.arcs, dtype=np.int32), copies)
    return Graph(
        _side_by_side((graph,) * copies, new, states=len(initial)),
        energies,
        initial,
        final,
        attributes=carry_attributes((graph,), (stems,)),
        input_symbols=graph.input_symbols,
        output_symbols=graph.output_symbols,
        arc_maps=(stems,),
    )


class _NewArcs:
    """Epsilon arcs that a construction adds, each with the energy of an initial or final state. They are
    gathered in parts, which are joined when asked for.
    """

    def __init__(self, like: Tensor):
        self._sources = [np.zeros(0, np.int64)]
        self._destinations = [np.zeros(0, np.int64)]
        self._energies = [like.new_zeros(0)]

    @property
    def source(self) -> NDArray[np.int64]:
        return np.concatenate(self._sources)

    @property
    def destination(self) -> NDArray[np.int64]:
        return np.concatenate(self._destinations)

    @property
    def energies(self) -> Tensor:
        return torch.cat(self._energies)

    def enter(self, joint: int, offset: int, initial: Tensor) -> None:
        """From ``joint`` to each initial state of a graph whose states are moved on by ``offset``."""
        states = self._add(initial) + offset
        self._sources.append(np.full_like(states, joint))
        self._destinations.append(states)

    def leave(self, joint: int, offset: int, final: Tensor) -> None:
        """From each final state of such a graph to ``joint``."""
        states = self._add(final) + offset
        self._sources.append(states)
        self._destinations.append(np.full_like(states, joint))

    def link(self, source: int, destination: int) -> None:
        """One of energy 0."""
        self._sources.append(np.array([source]))
        self._destinations.append(np.array([destination]))
        self._energies.append(self._energies[0].new_zeros(1))

    def _add(self, ends: Tensor) -> NDArray[np.int64]:
        states = np.flatnonzero(as_array(ends) != np.inf)
        self._energies.append(ends[torch.from_numpy(states).to(ends.device)])
        return states


def _first_states(graphs: tuple[Graph, ...]) -> NDArray[np.int64]:
    """The number of the first state of each graph among all, and last the number of states."""
    return np.cumsum([0, *(graph.states for graph in graphs)])


def _check(graphs: tuple[Graph, ...]) -> None:
    if not graphs:
        raise GraphError("at least one graph is needed")
    first = graphs[0]
    check_one_dtype(graphs)
    for k, graph in enumerate(graphs):
        if (graph.input_symbols, graph.output_symbols) != (first.input_symbols, first.output_symbols):
            raise GraphError(f"graph {k} has other symbol tables than graph 0")


def _assemble(graphs: tuple[Graph, ...], new: _NewArcs, initial: Tensor, final: Tensor, states: int) -> Graph:
    """The graphs side by side, with the new arcs behind all of theirs, and a map to the arcs of each."""
    structure = _side_by_side(graphs, new, states)
    maps = SideBySide([graph.arcs for graph in graphs], structure.arcs)
    return Graph(
        structure,
        torch.cat([*(graph.energies for graph in graphs), new.energies]),
        initial,
        final,
        attributes=stack_attributes(graphs, maps.stems(), structure.arcs),
        input_symbols=graphs[0].input_symbols,
        output_symbols=graphs[0].output_symbols,
        arc_maps=maps,
    )


def _side_by_side(graphs: tuple[Graph, ...], new: _NewArcs, states: int) -> Structure:
    """The graphs' arcs, states moved on, and then the new ones."""
    offsets = _first_states(graphs)
    new_source = new.source
    epsilons = np.full(len(new_source), EPSILON, np.int32)
    source = [graph.source + offset for graph, offset in zip(graphs, offsets, strict=False)]
    destination = [graph.destination + offset for graph, offset in zip(graphs, offsets, strict=False)]
    acceptor = all(graph.is_acceptor for graph in graphs)
    return Structure(
        np.concatenate([*source, new_source]),
        np.concatenate([*destination, new.destination]),
        np.concatenate([*(graph.input_labels for graph in graphs), epsilons]),
        None if acceptor else np.concatenate([*(graph.output_labels for graph in graphs), epsilons]),
        states=states,
    )
