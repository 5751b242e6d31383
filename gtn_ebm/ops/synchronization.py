"""Synchronisation: input and output labels side by side, the one that runs ahead waiting for the other."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.kernels import synchronization as kernels
from gtn_ebm.ops.arc_maps import Map, carry_attributes, gather, select
from gtn_ebm.ops.connection import connect
from gtn_ebm.ops.tables import hash_table

NONE = np.int32(-1)


@takes_graphs
def synchronize(graph: Graph, *, max_states: int | None = None) -> Graph:
    """The transducer with input and output labels side by side for as long as a path has both left.

    Along each path of the result first come arcs that read one label and write one (or neither), then arcs
    that only read or only write what is left: its delay, the difference between the numbers of labels written
    and read, is zero at first and then only grows in size. Each path stands for exactly one path of the
    graph, with its energy. Arcs of two epsilons stay where a label has to wait; ``remove_epsilons`` takes
    them out.

    Args:
        graph: any number of initial and final states, any epsilons; on every cycle that lies on a path as
            many labels must be read as written, or the result would need endless memory.
        max_states: where given, the most states to make.

    Returns:
        A graph without dead states. ``arc_maps`` holds the arc that each arc stems from (and whose energy and
        attributes it has), −1 for those that write what is left at the end of a path.

    Raises:
        GraphError: a cycle whose numbers of labels differ, or more than ``max_states`` states.

    Source: Mohri, "Edit-distance of weighted automata: general definitions and algorithms" (2003).

    Cost: time and memory of the result: a state for every state and every string that waits there, as many as
    the labels' delays allow, which may be exponential in the largest delay.

    >>> late = Graph.linear([0, 1, -1], [-1, -1, 2])  # reads 0 and 1, then writes 2
    >>> early = synchronize(late)
    >>> path = [(i, o) for i, o in zip(early.input_labels.tolist(), early.output_labels.tolist())]
    >>> sorted(path)  # the arcs of two epsilons are where 0 and 1 begin to wait
    [(-1, -1), (-1, -1), (0, 2), (1, -1)]
    """
    return queued(graph, both_sides=True, max_states=max_states)


def queued(graph: Graph, both_sides: bool, max_states: int | None) -> Graph:
    """The graph with labels that wait in a queue until an arc has one on the other side, too: outputs, or,
    where ``both_sides``, those of whichever side runs ahead. What waits at a path's end follows it.

    Each path of the result stands for one path of the graph; parameters and errors as of ``synchronize``.
    """
    connected = connect(graph)
    starts = np.flatnonzero(as_array(connected.initial) != np.inf).astype(np.int32)
    room = _Room(starts, connected.arcs + 256)
    piled_up = _search(connected, both_sides, max_states, room)
    if piled_up is not None:
        state = graph.source[connected.arc_maps[0][connected.source == piled_up][0]]
        raise GraphError(
            f"labels pile up without end near state {state}: a cycle there has more labels on one side than "
            "on the other; cut it, or compose with an acyclic graph first"
        )
    states, done = room.states(connected.states)
    source, target, read, written, places = room.found_arcs()
    arcs = np.append(connected.structure.out_index.arcs.view(np.int32), NONE)[places]
    final = select(connected.final, states)
    nowhere = connected.initial.new_full((len(states) - len(starts),), torch.inf)
    return Graph(
        Structure.of_valid(source, target, read, written, len(states)),
        gather(connected.energies, arcs),
        torch.cat([select(connected.initial, starts), nowhere]),
        final.masked_fill(torch.from_numpy(~done).to(final.device), torch.inf),
        attributes=carry_attributes((connected,), (arcs,)),
        input_symbols=graph.input_symbols,
        output_symbols=graph.output_symbols,
        arc_maps=(np.append(connected.arc_maps[0], NONE)[arcs],),
    )


def _search(connected: Graph, both_sides: bool, max_states: int | None, room: _Room) -> int | None:
    """Finds all states and arcs; or returns the state where a queue gets longer than it may."""
    structure = connected.structure
    offsets, destination = structure.outgoing
    inputs, outputs = (
        labels[structure.out_index.arcs] for labels in (structure.input_labels, structure.output_labels)
    )
    final = as_array(connected.final) != np.inf
    status = kernels.FULL
    while status == kernels.FULL:
        status = kernels.expand(
            offsets, inputs, outputs, destination, final, both_sides, *room.arrays(), room.progress
        )
        found, _, _, height = room.progress
        if max_states is not None and found > max_states:
            raise GraphError(f"the result has more than {max_states} states; allow more with max_states")
        if status == kernels.FULL:
            room.grow()
    return int(room.keys[room.stack[height]] % connected.states) if status == kernels.UNBOUNDED else None


class _Room:
    """The arrays that the search fills, and how far it has come; begun with the states where paths start."""

    def __init__(self, starts: Map, size: int):
        size = max(size, 2 * len(starts))
        self.keys, self.stack = np.empty(size, np.int64), np.empty(size, np.int64)
        self.keys[: len(starts)] = starts  # nothing waits there yet
        self.stack[: len(starts)] = np.arange(len(starts))
        self.queues = np.zeros((size, 3), np.int64)
        self.queue_keys = np.full(size, -1, np.int64)  # the empty queue, 0, has no key
        self.arcs = [np.empty(size, np.int32) for _ in range(5)]
        self.progress = np.array([len(starts), 0, 1, len(starts)])
        self._fill_tables()

    def _fill_tables(self) -> None:
        self.table, self.queue_table = (
            hash_table(kernels.fill_table, self.keys, self.progress[kernels.STATES]),
            hash_table(kernels.fill_table, self.queue_keys, self.progress[kernels.QUEUES]),
        )

    def grow(self) -> None:
        """Twice the room for everything."""
        self.keys, self.stack, self.queues, self.queue_keys, *self.arcs = (
            np.concatenate([array, np.empty_like(array)])
            for array in (self.keys, self.stack, self.queues, self.queue_keys, *self.arcs)
        )
        self._fill_tables()

    def arrays(self) -> tuple[NDArray, ...]:
        """As the kernel takes them."""
        return (
            self.keys, self.table, self.stack, self.queues, self.queue_keys, self.queue_table, *self.arcs
        )  # fmt: skip

    def states(self, states: int) -> tuple[Map, NDArray[np.bool_]]:
        """The state of the operand, which has ``states``, that each state found stands for; and whether
        nothing waits there."""
        keys = self.keys[: self.progress[kernels.STATES]]
        return (keys % states).astype(np.int32), keys // states // 4 == kernels.EMPTY

    def found_arcs(self) -> list[NDArray[np.int32]]:
        """Source, target, labels read and written, place of the arc each stems from."""
        return [array[: self.progress[kernels.ARCS]] for array in self.arcs]
