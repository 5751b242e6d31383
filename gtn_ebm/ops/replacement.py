"""Replacement: recursive transition networks, written out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure, as_array, check_one_dtype
from gtn_ebm.ops.arc_maps import gather, stack_attributes
from gtn_ebm.symbols import EPSILON


@takes_graphs
def replace(root: Graph, graphs: Mapping[int, Graph], *, max_states: int | None = None) -> Graph:
    """The recursive transition network of ``root``, written out: arcs that write a label of ``graphs`` call
    that graph.

    An arc with such a label on its output side becomes epsilon arcs to each initial state of a copy of the
    graph (with the arc's energy plus the initial energy), and epsilon arcs lead from each final state of the
    copy (with its final energy) to where the arc led. The arcs of the copy are replaced in turn. So each way
    of putting a path of the called graph in the place of a call makes exactly one path; the called label
    itself is neither read nor written.

    Args:
        root: any graph.
        graphs: the graph that each label stands for.
        max_states: the most states the result may have; without end where omitted. It grows with the product
            of the calls of calls.

    Returns:
        A graph whose ``arc_maps`` lead to the arcs of ``root`` and then of each of ``graphs``, in their
        order; a calling arc's copies stem from it. States that became useless are kept: see ``connect``.

    Raises:
        GraphError: a graph calls itself, by itself or through others (the message names them); more than
            ``max_states`` states, seen before memory is taken; different dtypes or symbol tables.

    This is OpenFst's ``replace`` with ``epsilon_on_replace=True``. Its default differs in the calls alone: a
    calling arc there still reads what it read (an arc that reads 5 and writes 9, the label of a graph,
    becomes one that reads 5 and writes epsilon), so that an acceptor that calls becomes a transducer.

    Cost: time and memory are those of the result.

    >>> twice = Graph.linear([7, 7])
    >>> replace(twice, {7: Graph.linear([0, 1])})
    Graph(9 states, 8 arcs, acceptor)
    """
    operands = (root, *graphs.values())
    _check(root, graphs)
    network = _Network(operands, {label: k for k, label in enumerate(graphs, start=1)})
    states = network.count_states()[0]
    if max_states is not None and states > max_states:
        raise GraphError(
            f"written out, the network has {states} states, more than the {max_states} that max_states "
            "allows; raise it, or minimize the graphs that are called most"
        )
    return network.graph(network.written_out())


@dataclass
class _WrittenOut:
    """A graph with its calls replaced; its first states are its own. Arcs and states that energies come from
    are numbered through all operands, −1 where there is none.
    """

    states: int
    source: NDArray[np.int64]
    destination: NDArray[np.int64]
    input_labels: NDArray[np.int32]
    output_labels: NDArray[np.int32]
    arc: NDArray[np.int32]
    entered: NDArray[np.int32]
    left: NDArray[np.int32]

    def columns(self) -> tuple[NDArray, ...]:
        return (
            self.source, self.destination, self.input_labels, self.output_labels,
            self.arc, self.entered, self.left,
        )  # fmt: skip


class _Network:
    """The operands, operand 0 being the root, and who calls whom."""

    def __init__(self, operands: tuple[Graph, ...], number: dict[int, int]):
        self.operands = operands
        self.first_arc = np.cumsum([0, *(graph.arcs for graph in operands)])
        self.first_state = np.cumsum([0, *(graph.states for graph in operands)])
        labels = np.array(sorted(number), np.int64)
        numbers = np.array([number[label] for label in sorted(number)], np.int64)
        self.called = [_looked_up(graph.output_labels, labels, numbers) for graph in operands]
        self.calls = [np.unique(called[called >= 0]).tolist() for called in self.called]
        self.names = ["the root", *(f"label {label}" for label in number)]
        self.order = self._callees_first()

    def _callees_first(self) -> list[int]:
        """The operands that the root needs, each after those it calls, so the root last."""
        order: list[int] = []
        done: set[int] = set()
        stack = [(0, iter(self.calls[0]))]
        while stack:
            caller, callees = stack[-1]
            callee = next(callees, None)
            if callee is None:
                order.append(caller)
                done.add(caller)
                stack.pop()
            elif (above := [number for number, _ in stack]).count(callee):
                cycle = [self.names[number] for number in [*above[above.index(callee) :], callee]]
                raise GraphError(
                    f"the calls go round: {' → '.join(cycle)}; the network would have no end. "
                    "Unroll it to a depth, or compose with what it should read"
                )
            elif callee not in done:
                stack.append((callee, iter(self.calls[callee])))
        return order

    def count_states(self) -> dict[int, int]:
        """Of each operand in ``order``, once its calls are replaced."""
        states: dict[int, int] = {}
        for caller in self.order:
            called = self.called[caller]
            states[caller] = self.operands[caller].states + sum(
                int((called == callee).sum()) * states[callee] for callee in self.calls[caller]
            )
        return states

    def written_out(self) -> _WrittenOut:
        """The root, its calls replaced."""
        done: dict[int, _WrittenOut] = {}
        for caller in self.order:
            done[caller] = self._replaced(caller, done)
        return done[0]

    def _replaced(self, caller: int, done: dict[int, _WrittenOut]) -> _WrittenOut:
        graph, called = self.operands[caller], self.called[caller]
        kept = np.flatnonzero(called < 0)
        nothing = np.full(len(kept), -1, np.int32)
        parts: list[tuple[NDArray, ...]] = [
            (
                graph.source[kept].astype(np.int64), graph.destination[kept].astype(np.int64),
                graph.input_labels[kept], graph.output_labels[kept],
                (kept + self.first_arc[caller]).astype(np.int32), nothing, nothing,
            )
        ]  # fmt: skip
        states = graph.states
        for callee in self.calls[caller]:
            arcs = np.flatnonzero(called == callee)
            copies = states + np.arange(len(arcs)) * done[callee].states
            parts.append(_copied(done[callee], copies))
            parts += self._calls_and_returns(caller, callee, arcs, copies)
            states += len(arcs) * done[callee].states
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return _WrittenOut(states, *columns)

    def _calls_and_returns(
        self, caller: int, callee: int, arcs: NDArray[np.int64], copies: NDArray[np.int64]
    ) -> list[tuple[NDArray, ...]]:
        """The epsilon arcs that stand for ``arcs``, each calling the copy whose first state is given."""
        graph, target = self.operands[caller], self.operands[callee]
        initial, final = (np.flatnonzero(as_array(part) != np.inf) for part in (target.initial, target.final))
        parts: list[tuple[NDArray, ...]] = []
        for ends, calling in ((initial, True), (final, False)):
            outside = np.repeat((graph.source if calling else graph.destination)[arcs], len(ends))
            inside = (copies[:, None] + ends).ravel()
            epsilons = np.full(len(inside), EPSILON, np.int32)
            nothing = np.full(len(inside), -1, np.int32)
            state = np.tile((ends + self.first_state[callee]).astype(np.int32), len(arcs))
            if calling:
                arc = np.repeat((arcs + self.first_arc[caller]).astype(np.int32), len(ends))
                parts.append((outside.astype(np.int64), inside, epsilons, epsilons, arc, state, nothing))
            else:
                parts.append((inside, outside.astype(np.int64), epsilons, epsilons, nothing, nothing, state))
        return parts

    def graph(self, found: _WrittenOut) -> Graph:
        """The written-out root with the operands' energies and attributes on it."""
        root = self.operands[0]
        same = np.array_equal(found.input_labels, found.output_labels)
        structure = Structure(
            found.source,
            found.destination,
            found.input_labels,
            None if same else found.output_labels,
            found.states,
        )
        new = root.energies.new_full((found.states - root.states,), torch.inf, requires_grad=False)
        energies = (torch.cat([graph.energies for graph in self.operands]), found.arc)
        initial = (torch.cat([graph.initial for graph in self.operands]), found.entered)
        final = (torch.cat([graph.final for graph in self.operands]), found.left)
        maps = [
            np.where((found.arc >= first) & (found.arc < last), found.arc - first, -1).astype(np.int32)
            for first, last in zip(self.first_arc, self.first_arc[1:], strict=False)
        ]
        placed = [np.flatnonzero(chosen >= 0) for chosen in maps]
        stems = [
            (places, chosen[places].astype(np.int64)) for places, chosen in zip(placed, maps, strict=True)
        ]
        return Graph(
            structure,
            gather(*energies) + gather(*initial) + gather(*final),
            torch.cat([root.initial, new]),
            torch.cat([root.final, new]),
            attributes=stack_attributes(self.operands, stems, len(found.arc)),
            input_symbols=root.input_symbols,
            output_symbols=root.output_symbols,
            arc_maps=maps,
        )


def _copied(one: _WrittenOut, copies: NDArray[np.int64]) -> tuple[NDArray, ...]:
    """Its arcs once for each copy, whose first states are given."""
    source, destination, *others = one.columns()
    moved = [(copies[:, None] + ends).ravel() for ends in (source, destination)]
    return (*moved, *(np.tile(column, len(copies)) for column in others))


def _looked_up(
    labels: NDArray[np.int32], known: NDArray[np.int64], numbers: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The number of each label, −1 where it is not known; ``known`` is sorted."""
    if len(known) == 0:
        return np.full(len(labels), -1, np.int64)
    place = np.minimum(np.searchsorted(known, labels), len(known) - 1)
    return np.where(known[place] == labels, numbers[place], -1)


def _check(root: Graph, graphs: Mapping[int, Graph]) -> None:
    check_one_dtype((root, *graphs.values()))
    for label, graph in graphs.items():
        if label < 0:
            raise GraphError(f"label {label} cannot stand for a graph; labels are 0 or more")
        theirs = graph.input_symbols, graph.output_symbols
        if theirs != (root.input_symbols, root.output_symbols):
            raise GraphError(f"the graph of label {label} has other symbol tables than the root")
