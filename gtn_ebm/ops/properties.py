"""What kind of graph it is: properties with OpenFst's names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.kernels import properties as kernels
from gtn_ebm.kernels.structure import is_sorted_within, reachable
from gtn_ebm.ops.arc_maps import restricted
from gtn_ebm.ops.composition import intersect
from gtn_ebm.ops.connection import connect
from gtn_ebm.ops.encoding import distinct
from gtn_ebm.symbols import EPSILON


@takes_graphs
def properties(graph: Graph) -> Properties:
    """The graph's properties, each worked out when first asked for.

    Cost: O(S + A) time and memory for each property, but O(S² + A²) at worst for functional and unambiguous.

    >>> from gtn_ebm import Structure
    >>> found = properties(Graph(Structure([0, 0, 1], [1, 1, 1], [0, 1, 0], [0, 1, 1])))
    >>> found.acceptor, found.i_deterministic, found.cyclic, found.functional
    (False, True, True, True)
    >>> str(properties(Graph.linear([0, 1]))).split(", ")[:3]
    ['acceptor', 'i_deterministic', 'o_deterministic']
    """
    return Properties(graph)


@dataclass(frozen=True, eq=False)
class Properties:
    """Booleans named as in OpenFst, so that ``not p.cyclic`` is its ACYCLIC; and two more, ``functional`` and
    ``unambiguous``. Arcs of energy +inf are absent and do not count; an epsilon is a label like any other
    where determinism is concerned.

    Most take O(states + arcs). Where the graph is not deterministic, ``functional`` and ``unambiguous`` take
    time and memory as its square does, which is found once for both.
    """

    graph: Graph

    def __str__(self) -> str:
        """The names of those that hold."""
        asked = (name for name, value in vars(Properties).items() if isinstance(value, cached_property))
        return ", ".join(name for name in asked if not name.startswith("_") and getattr(self, name))

    @cached_property
    def acceptor(self) -> bool:
        """Every arc writes what it reads."""
        return self._present.is_acceptor

    @cached_property
    def i_deterministic(self) -> bool:
        """At most one initial state, and no state has two arcs of one input label."""
        return self._starts <= 1 and not repeats_label(self._structure, self._structure.input_labels)

    @cached_property
    def o_deterministic(self) -> bool:
        """At most one initial state, and no state has two arcs of one output label."""
        return self._starts <= 1 and not repeats_label(self._structure, self._structure.output_labels)

    @cached_property
    def epsilons(self) -> bool:
        """Some arc has epsilon on both sides."""
        structure = self._structure
        return bool(((structure.input_labels == EPSILON) & (structure.output_labels == EPSILON)).any())

    @cached_property
    def i_epsilons(self) -> bool:
        """Some arc reads epsilon."""
        return bool((self._structure.input_labels == EPSILON).any())

    @cached_property
    def o_epsilons(self) -> bool:
        """Some arc writes epsilon."""
        return bool((self._structure.output_labels == EPSILON).any())

    @cached_property
    def i_label_sorted(self) -> bool:
        """The input labels of each state's arcs ascend, in the order of the arcs."""
        return self._is_sorted(self._structure.input_labels)

    @cached_property
    def o_label_sorted(self) -> bool:
        """The output labels of each state's arcs ascend, in the order of the arcs."""
        return self._is_sorted(self._structure.output_labels)

    @cached_property
    def weighted(self) -> bool:
        """Some arc, initial or final state has an energy other than 0."""
        parts = (self._present.energies, self.graph.initial, self.graph.final)
        return any(bool(((part != 0) & (part != np.inf)).any()) for part in map(as_array, parts))

    @cached_property
    def cyclic(self) -> bool:
        """There is a cycle."""
        return bool(self._on_cycle.any())

    @cached_property
    def initial_cyclic(self) -> bool:
        """An initial state lies on a cycle."""
        return bool(self._initial[self._structure.source[self._on_cycle]].any())

    @cached_property
    def weighted_cycles(self) -> bool:
        """An arc on a cycle has an energy other than 0."""
        return bool((as_array(self._present.energies)[self._on_cycle] != 0).any())

    @cached_property
    def top_sorted(self) -> bool:
        """Every arc leads to a state of greater number."""
        return bool((self._structure.source < self._structure.destination).all())

    @cached_property
    def accessible(self) -> bool:
        """Every state is reached from an initial one."""
        reached = reachable(
            self._structure.destination.view(np.uint32), *self._structure.out_index, self._initial
        )
        return bool(reached.all())

    @cached_property
    def coaccessible(self) -> bool:
        """A final state is reached from every state."""
        final = as_array(self.graph.final) != np.inf
        reached = reachable(self._structure.source.view(np.uint32), *self._structure.in_index, final)
        return bool(reached.all())

    @cached_property
    def string(self) -> bool:
        """The graph is one path that meets every state once, or has no state. (OpenFst asks for states
        numbered along the path, too.)"""
        if self.graph.states == 0:
            return True
        finals = int((as_array(self.graph.final) != np.inf).sum())
        in_a_row = self._present.arcs == self.graph.states - 1 and not self.cyclic
        # As many arcs as steps, and all states on ways from the one start to the one end: a single way.
        return in_a_row and self._starts == finals == 1 and self.accessible and self.coaccessible

    @cached_property
    def functional(self) -> bool:
        """No string that is read is written as two different ones.

        Source: Béal, Carton, Prieur, Sakarovitch, "Squaring transducers" (2003).
        """
        if self.acceptor or self._reads_one_way:
            return True
        labels = self._connected.output_labels
        return self._write_the_same(
            np.pad(labels, (0, self._reading.arcs - len(labels)), constant_values=EPSILON)
        )

    @cached_property
    def unambiguous(self) -> bool:
        """No string is read along two different paths. By the same method as ``functional``, with the number
        of each arc for what it writes."""
        return self._reads_one_way or self._write_the_same(np.arange(self._reading.arcs, dtype=np.int32))

    @cached_property
    def _present(self) -> Graph:
        """The graph without absent arcs."""
        present = np.flatnonzero(as_array(self.graph.energies) != np.inf)
        if len(present) == self.graph.arcs:
            return self.graph
        return restricted(self.graph, present.astype(np.int32), np.arange(self.graph.states, dtype=np.int32))

    @cached_property
    def _connected(self) -> Graph:
        return connect(self.graph)

    @property
    def _structure(self) -> Structure:
        return self._present.structure

    @cached_property
    def _initial(self) -> NDArray[np.bool_]:
        return np.asarray(as_array(self.graph.initial) != np.inf)

    @property
    def _starts(self) -> int:
        return int(self._initial.sum())

    @cached_property
    def _on_cycle(self) -> NDArray[np.bool_]:
        """Of the arcs present, those within a strongly connected component."""
        order, starts = self._structure.components
        sizes = starts[1:] - starts[:-1]
        component = np.empty(self.graph.states, np.int64)
        component[order] = np.repeat(np.arange(len(starts) - 1), sizes)
        return np.asarray(component[self._structure.source] == component[self._structure.destination])

    def _is_sorted(self, labels: NDArray[np.int32]) -> bool:
        index = self._structure.out_index
        return bool(is_sorted_within(self._structure.source[index.arcs], labels[index.arcs]))

    @cached_property
    def _reads_one_way(self) -> bool:
        """Whether the label to read tells the next arc, so that no string can be read along two paths."""
        connected = self._connected
        one_start = int((as_array(connected.initial) != np.inf).sum()) <= 1
        labels = connected.input_labels
        return one_start and EPSILON not in labels and not repeats_label(connected.structure, labels)

    @cached_property
    def _reading(self) -> Graph:
        """The connected graph's input side, with one state and an epsilon arc to each initial one added, so
        that another start is another arc."""
        old = self._connected
        starts = np.flatnonzero(as_array(old.initial) != np.inf)
        structure = Structure(
            np.append(old.source, np.full(len(starts), old.states)),
            np.append(old.destination, starts),
            np.append(old.input_labels, np.full(len(starts), EPSILON)),
            states=old.states + 1,
        )
        final = torch.cat([old.final.detach(), old.final.new_full((1,), torch.inf)])
        return Graph(structure, final.new_zeros(structure.arcs), [old.states], final)

    @cached_property
    def _square(self) -> Graph:
        """Each path is a pair of paths that read the same."""
        return intersect(self._reading, self._reading)

    def _write_the_same(self, written: NDArray[np.int32]) -> bool:
        """Whether any two paths that read the same write the same, arc a of ``_reading`` writing
        ``written[a]``."""
        square = self._square
        outputs = [np.where(arcs < 0, np.int32(EPSILON), written[arcs]) for arcs in square.arc_maps]
        initial, final = (as_array(part) != np.inf for part in (square.initial, square.final))
        return bool(
            kernels.delays_agree(*square.structure.out_index, square.destination, *outputs, initial, final)
        )


def repeats_label(structure: Structure, labels: NDArray[np.int32]) -> bool:
    """Whether a state has two arcs of one of these labels, [A]; epsilon is one."""
    _, codes = distinct(structure.source, labels)
    return len(codes) > 0 and int(codes.max()) + 1 < len(codes)
