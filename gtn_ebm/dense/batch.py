"""What every recursion over frames starts from: emissions, lengths and graphs, checked; a graph as integers.

A matrix of emissions gives each frame an energy for each class. A path of a graph *consumes* a frame with
every arc that has an input label, and pays for it the frame's energy of that label on top of the arc's own;
arcs with EPSILON as input label consume none. Output labels play no part. Over T frames a path must consume
exactly T.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gtn_ebm.dense.checks import check_energies_of, check_floating, lengths_of, named
from gtn_ebm.distance import Divergence, arcs_on_paths, cycle_through, least_tree
from gtn_ebm.errors import CycleError, GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.kernels.structure import group, state_on_cycle, topological_order
from gtn_ebm.ops import project, remove_epsilons
from gtn_ebm.symbols import EPSILON


class Chain(NamedTuple):
    """A left-to-right graph of at least one arc: every arc consumes a frame and enters a state from itself,
    from the state before or from the one before that, each state by one label only.

    Attributes:
        column: which of ``FrameArcs.classes`` each state is entered by, [S] uint32; 0 where none enters.
        arcs: the arc that enters state s from s − k is ``arcs[k, s]``, [3, S] int32; −1 for none.
    """

    column: NDArray[np.uint32]
    arcs: NDArray[np.int32]


class FrameArcs(NamedTuple):
    """The arcs of a structure as recursions over frames pull them: by the state they enter.

    With α_t(v) the sum (or the least energy) of all ways into state v that have consumed t frames, a step is:
    α_t(v) from α_{t−1}(``source``) over the arcs ``offsets[v]`` to ``offsets[v + 1]``, with the emission of
    their ``label``; then, still at t and in the order given, the epsilon arcs add α_t(``epsilon_source``) to
    α_t(``epsilon_destination``). At t = 0 the epsilons follow the initial energies.

    Attributes:
        classes: the labels that occur, each once and in order, [D] int32.
        offsets: where the arcs of each state begin, [S + 1] uint32.
        source, label, arc: of each arc that consumes a frame: the state it leaves, its label, and its number
            in the structure, [A'] uint32.
        column: its label's place in ``classes``, [A'] uint32.
        epsilon_source, epsilon_destination, epsilon_arc: of each epsilon arc, [E] uint32; ordered so that all
            epsilon arcs into a state come before those out of it.
        chain: the same in the form of a chain where the structure is one, else None.
    """

    classes: NDArray[np.int32]
    offsets: NDArray[np.uint32]
    source: NDArray[np.uint32]
    label: NDArray[np.uint32]
    arc: NDArray[np.uint32]
    column: NDArray[np.uint32]
    epsilon_source: NDArray[np.uint32]
    epsilon_destination: NDArray[np.uint32]
    epsilon_arc: NDArray[np.uint32]
    chain: Chain | None


class Batch(NamedTuple):
    """B items, checked. Items that share a graph hold the same objects.

    Attributes:
        emissions: energies, [B, T, C], as given: any floating dtype, any strides, on any device.
        lengths: how many frames each item has, [B], each in 0 … T.
        graphs: of each item, [B]. One whose epsilons have cycles is replaced by an equivalent one without
            epsilons; its ``arc_maps`` hold the arc of the given graph that each arc ends with.
        arcs: those of each of these graphs, [B].
    """

    emissions: Tensor
    lengths: list[int]
    graphs: list[Graph]
    arcs: list[FrameArcs]


def prepare(
    emissions: Tensor,
    lengths: Tensor | ArrayLike | None,
    graphs: Graph | Sequence[Graph],
    beta: float = 1.0,
) -> Batch:
    """Checks a batch, and gives each graph the form that recursions over frames take.

    Args:
        emissions: energies (−log p of a network), [B, T, C] floating; lower is better, +inf is impossible.
        lengths: frames of each item, [B] integers; T for all where None.
        graphs: one for all items, or a list of B, which the caller has checked to be graphs (``takes_graphs``
            names the function that was called). Input labels are classes, below C.
        beta: inverse temperature at which epsilon cycles are summed, if a graph has any; ∞ for the least.

    Raises:
        GraphError: a shape, dtype, length or number of graphs that does not fit; a label that is no class,
            with its item and arc.
        CycleError: the sum over an epsilon cycle diverges; the message names a cycle at fault.
    """
    check_floating(emissions, "emissions", "batch", "frames", "classes")
    items = len(emissions)
    each = graph_of_each(graphs, items)
    known: dict[int, tuple[Graph, FrameArcs]] = {}
    for graph in each:
        if id(graph) not in known:
            known[id(graph)] = _in_frames(graph, beta)
    _check_labels(each, [known[id(graph)][1] for graph in each], emissions.shape[2])
    prepared = [known[id(graph)] for graph in each]
    return Batch(
        emissions,
        lengths_of(lengths, items, emissions.shape[1]),
        [graph for graph, _ in prepared],
        [arcs for _, arcs in prepared],
    )


def graph_of_each(graphs: Graph | Sequence[Graph], items: int) -> list[Graph]:
    """The graph of each item; raises GraphError where there is neither one for all nor one for each."""
    each = [graphs] * items if isinstance(graphs, Graph) else list(graphs)
    if len(each) != items:
        raise GraphError(f"there are {len(each)} graphs for {items} items; give one for all, or one for each")
    return each


def _in_frames(graph: Graph, beta: float) -> tuple[Graph, FrameArcs]:
    try:
        return graph, frame_arcs(graph.structure)
    except CycleError:
        _check_silent_cycles(graph)
        silent = remove_epsilons(project(graph, "input"), beta)
        return silent, frame_arcs(silent.structure)


def _check_silent_cycles(graph: Graph) -> None:
    """Raises CycleError where one of epsilons has a negative energy, which takes sums much longer to see.

    Energies are checked before, while arcs have the numbers that the graph gives them.
    """
    check_energies_of(graph, "the graph")
    useful, numbers, _ = arcs_on_paths(graph)
    chosen = useful.input_labels == EPSILON
    ends = useful.source[chosen], useful.destination[chosen]
    labels = useful.input_labels[chosen], useful.output_labels[chosen]
    silent = Structure.of_valid(*ends, *labels, graph.states)
    anywhere = torch.zeros(graph.states, dtype=graph.dtype)
    energies = graph.energies.detach().cpu()[torch.from_numpy(numbers[chosen])]
    cycles = Graph(
        silent,
        energies,
        anywhere,
        anywhere,
        input_symbols=graph.input_symbols,
        output_symbols=graph.output_symbols,
    )
    least_tree(cycles, "from")


def _check_labels(graphs: Sequence[Graph], arcs: Sequence[FrameArcs], classes: int) -> None:
    for item, (graph, of_graph) in enumerate(zip(graphs, arcs, strict=True)):
        if len(of_graph.classes) and of_graph.classes[-1] >= classes:
            arc = int(graph.input_labels.argmax())
            raise GraphError(
                f"item {item}: arc {arc} of its graph has label {graph.input_labels[arc]}, "
                f"but the emissions have {named(classes)}"
            )


_known: WeakKeyDictionary[Structure, FrameArcs] = WeakKeyDictionary()


def frame_arcs(structure: Structure) -> FrameArcs:
    """The arcs of the structure as recursions over frames pull them; worked out once for each structure.

    O(S + A log A).

    Raises:
        CycleError: its epsilons have a cycle; the message names it, state by state.
    """
    known = _known.get(structure)
    if known is None:
        known = _known[structure] = _frame_arcs(structure)
    return known


def _frame_arcs(structure: Structure) -> FrameArcs:
    source, destination = structure.source.view(np.uint32), structure.destination.view(np.uint32)
    consumes = structure.input_labels != EPSILON
    silent = _in_topological_order(structure, np.flatnonzero(~consumes).astype(np.uint32))
    real = np.flatnonzero(consumes).astype(np.uint32)
    offsets, order = group(destination[real], structure.states)
    arc = real[order]
    classes, places = np.unique(structure.input_labels[arc], return_inverse=True)
    column: NDArray[np.uint32] = places.astype(np.uint32)
    chain = None if len(silent) else _chain(structure, arc, column)
    return FrameArcs(
        classes,
        offsets,
        source[arc],
        classes[column].view(np.uint32),
        arc,
        column,
        source[silent],
        destination[silent],
        silent,
        chain,
    )


def _in_topological_order(structure: Structure, silent: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The epsilon arcs, those out of a state after those into it."""
    if len(silent) == 0:
        return silent
    source, destination = (ends[silent].view(np.uint32) for ends in (structure.source, structure.destination))
    offsets, order = group(source, structure.states)
    states = topological_order(offsets, destination[order])
    if len(states) < structure.states:
        ordered = np.zeros(structure.states, np.bool_)
        ordered[states] = True
        state = state_on_cycle(source, *group(destination, structure.states), ordered)
        costs = np.full(structure.arcs, np.inf)
        costs[silent] = 0.0
        cycle = cycle_through(structure, costs, state)
        raise Divergence(f"state {state} lies on a cycle of epsilon arcs: {{cycle}}", structure, cycle)
    rank = np.empty(structure.states, np.int64)
    rank[states] = np.arange(structure.states)
    return silent[np.argsort(rank[source], kind="stable")]


def _chain(structure: Structure, arc: NDArray[np.uint32], column: NDArray[np.uint32]) -> Chain | None:
    source, destination = structure.source[arc], structure.destination[arc]
    step = destination - source
    if len(arc) == 0 or step.min() < 0 or step.max() > 2:
        return None
    arcs = np.full((3, structure.states), -1, np.int32)
    arcs[step, destination] = arc
    entered_by = np.zeros(structure.states, np.uint32)
    entered_by[destination] = column
    one_arc, one_label = (arcs >= 0).sum() == len(arc), (entered_by[destination] == column).all()
    return Chain(entered_by, arcs) if one_arc and one_label else None
