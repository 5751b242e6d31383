"""Composition of transducers and intersection of acceptors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Index, Structure, as_array
from gtn_ebm.kernels import composition as kernels
from gtn_ebm.kernels.structure import group, reachable
from gtn_ebm.ops.arc_maps import Map, carry_attributes, gather, select
from gtn_ebm.parallel import parallel_map


@overload
def compose(first: Graph, second: Graph, *, max_states: int | None = None) -> Graph: ...
@overload
def compose(
    first: Sequence[Graph], second: Graph | Sequence[Graph], *, max_states: int | None = None
) -> list[Graph]: ...
@overload
def compose(first: Graph, second: Sequence[Graph], *, max_states: int | None = None) -> list[Graph]: ...
@takes_graphs
def compose(
    first: Graph | Sequence[Graph], second: Graph | Sequence[Graph], *, max_states: int | None = None
) -> Graph | list[Graph]:
    """The transducer that reads what ``first`` reads and writes what ``second`` writes of what ``first``
    wrote.

    Each pair of a path of ``first`` and a path of ``second`` whose labels match (output with input, epsilons
    left out) makes exactly one path, of the sum of their energies, so that sums over paths are right with
    epsilons on either side. Only states on a whole path are kept.

    Args:
        first, second: graphs, any number of initial and final states, cycles and epsilons allowed. Where
            either is a list, so is the result; a graph beside a list is composed with each of the list.
        max_states: how many states the search may find in one composition, those included that turn out to be
            on no whole path; without end where omitted.

    Returns:
        A graph with ``arc_maps`` (arcs of first, arcs of second) and the attributes of both.

    Raises:
        GraphError: lists of different lengths, different dtypes, the symbol tables between the two differ,
            both have an arc attribute of the same name, or there are more than ``max_states`` states, which
            is seen before memory is taken for twice as many.

    Source: Allauzen, Riley, Schalkwyk, "A generalized composition algorithm for weighted finite-state
    transducers" (2009): the sequencing epsilon filter. Time and memory grow with the states and arcs reached,
    not with the product of the sizes.

    >>> ab = Graph(Structure([0], [1], [0], [1]), torch.tensor([1.0]))
    >>> bc = Graph(Structure([0], [1], [1], [2]), torch.tensor([0.5]))
    >>> ac = compose(ab, bc)
    >>> ac.input_labels, ac.output_labels, ac.energies
    (array([0], dtype=int32), array([2], dtype=int32), tensor([1.5000]))
    """
    if isinstance(first, Graph) and isinstance(second, Graph):
        return compose([first], second, max_states=max_states)[0]
    count = max(len(side) for side in (first, second) if not isinstance(side, Graph))
    firsts, seconds = ([side] * count if isinstance(side, Graph) else side for side in (first, second))
    if len(firsts) != len(seconds):
        raise GraphError(f"lists of {len(firsts)} and {len(seconds)} graphs cannot be composed one by one")
    pairs = list(zip(firsts, seconds, strict=True))
    for pair in pairs:
        _check(*pair)
    # The search runs side by side; the energies follow on this thread, where autograd and its settings are.
    found = parallel_map(lambda pair: _search(*pair, max_states), pairs)
    return [_weighted(*pair, composed) for pair, composed in zip(pairs, found, strict=True)]


@overload
def intersect(first: Graph, second: Graph, *, max_states: int | None = None) -> Graph: ...
@overload
def intersect(
    first: Sequence[Graph], second: Graph | Sequence[Graph], *, max_states: int | None = None
) -> list[Graph]: ...
@overload
def intersect(first: Graph, second: Sequence[Graph], *, max_states: int | None = None) -> list[Graph]: ...
@takes_graphs
def intersect(
    first: Graph | Sequence[Graph], second: Graph | Sequence[Graph], *, max_states: int | None = None
) -> Graph | list[Graph]:
    """The acceptor of the strings that both accept; each energy is the sum of theirs. As ``compose``
    otherwise, also with lists of graphs.

    Raises:
        GraphError: any of them is a transducer; as ``compose``.
    """
    for side, which in ((first, "first"), (second, "second")):
        graphs = [side] if isinstance(side, Graph) else side
        number = next((k for k, graph in enumerate(graphs) if not graph.is_acceptor), None)
        if number is not None:
            named = f"the {which} graph" if isinstance(side, Graph) else f"graph {number} of the {which} list"
            raise GraphError(f"intersect needs acceptors, but {named} is a transducer; project it or compose")
    return compose(first, second, max_states=max_states)


class _Composed(NamedTuple):
    """What a search finds: the structure, and the arcs and states of both operands that its own stand for."""

    structure: Structure
    arcs1: Map
    arcs2: Map
    states1: Map
    states2: Map
    filtered: NDArray[np.bool_]


def _check(first: Graph, second: Graph) -> None:
    if first.dtype != second.dtype:
        raise GraphError(
            f"cannot compose energies in {first.dtype} with energies in {second.dtype}; convert with .to()"
        )
    between = first.output_symbols, second.input_symbols
    if None not in between and between[0] != between[1]:
        raise GraphError("the first graph's output symbols are not the second graph's input symbols")


def _weighted(first: Graph, second: Graph, composed: _Composed) -> Graph:
    """The composed structure with the operands' energies and attributes on it."""
    structure, arcs1, arcs2, states1, states2, filtered = composed
    initial = select(first.initial, states1) + select(second.initial, states2)
    if filtered.any():
        # A path starts in filter state 0 and may end in any.
        initial = initial.masked_fill(torch.from_numpy(filtered).to(initial.device), torch.inf)
    return Graph(
        structure,
        gather(first.energies, arcs1) + gather(second.energies, arcs2),
        initial,
        select(first.final, states1) + select(second.final, states2),
        attributes=carry_attributes((first, second), (arcs1, arcs2)),
        input_symbols=first.input_symbols,
        output_symbols=second.output_symbols,
        arc_maps=(arcs1, arcs2),
    )


def _search(first: Graph, second: Graph, max_states: int | None) -> _Composed:
    structure1, structure2 = first.structure, second.structure
    by_label1, order1 = _by_label(structure1, structure1.output_labels, structure1.out_by_output)
    by_label2, order2 = _by_label(structure2, structure2.input_labels, structure2.out_by_input)
    initial1, final1, initial2, final2 = (
        as_array(part) != np.inf for part in (first.initial, first.final, second.initial, second.final)
    )
    most = np.iinfo(np.int64).max if max_states is None else max_states
    if (pairs := int(initial1.sum()) * int(initial2.sum())) > most:
        raise GraphError(_too_many(f"{pairs} initial states", most))
    starts = np.flatnonzero(initial1)[:, None] * second.states + np.flatnonzero(initial2)
    keys, arcs = _expand((*by_label1, final1, *by_label2), starts.ravel(), first.arcs + second.arcs, most)
    source, destination, arcs1, arcs2 = arcs
    final = kernels.finals(keys, final1, final2)
    kept, sure = kernels.reaching(source, destination, final)
    if not sure:
        kept = reachable(source, *group(destination, len(keys)), final)
    number, *of_states = kernels.kept_states(kept, keys, first.states, second.states)
    inputs, outputs = kernels.keep_arcs(
        kept, number, *arcs, order1, order2, first.input_labels, second.output_labels
    )
    structure = Structure.of_valid(
        source[: len(inputs)].view(np.int32),
        destination[: len(inputs)].view(np.int32),
        inputs,
        inputs if first.is_acceptor and second.is_acceptor else outputs,
        states=len(of_states[0]),
    )
    return _Composed(structure, arcs1[: len(inputs)], arcs2[: len(inputs)], *of_states)


def _by_label(
    structure: Structure, labels: NDArray[np.int32], index: Index
) -> tuple[tuple[NDArray, ...], NDArray]:
    """(offsets, labels, next states) in the index's order, and that order; empty if it is the arcs'."""
    destination = structure.destination.view(np.uint32)
    if index is structure.out_index and structure.out_order is None:
        return (index.offsets, labels, destination), index.arcs[:0]
    return (index.offsets, labels[index.arcs], destination[index.arcs]), index.arcs


def _too_many(found: str, most: int) -> str:
    return (
        f"the composition has {found}, more than the {most} that max_states allows; "
        "raise it, or make the graphs smaller first (connect, determinize, minimize or prune them)"
    )


def _expand(
    operands: tuple[NDArray, ...], starts: NDArray[np.int64], guess: int, most: int
) -> tuple[NDArray[np.int64], list[NDArray]]:
    """The keys of all states reached from ``starts`` and the arrays of arcs, grown as the kernel asks."""
    keys = np.empty(max(256, guess, 2 * len(starts)), np.int64)
    keys[: len(starts)] = starts
    arcs = [np.empty(max(256, 2 * guess), dtype) for dtype in (np.uint32, np.uint32, np.int32, np.int32)]
    progress = np.array([len(starts), 0, 0])
    table = _table(keys, progress)
    while (status := kernels.expand(*operands, keys, table, *arcs, progress)) != kernels.DONE:
        if progress[0] > most:
            break
        if status == kernels.STATES_FULL:
            keys = _grown(keys)
            table = _table(keys, progress)
        else:
            arcs = [_grown(array) for array in arcs]
    if progress[0] > most:
        raise GraphError(_too_many(f"{progress[0]} states or more", most))
    return keys[: progress[0]], [array[: progress[1]] for array in arcs]


def _table(keys: NDArray[np.int64], progress: NDArray[np.int64]) -> NDArray[np.int32]:
    """A hash table of the states so far, at most half full when ``keys`` is."""
    table = np.full(1 << int(2 * len(keys) - 1).bit_length(), kernels.EMPTY, np.int32)
    kernels.fill_table(keys, progress[0], table)
    return table


def _grown(array: NDArray) -> NDArray:
    larger = np.empty(2 * len(array), array.dtype)
    larger[: len(array)] = array
    return larger
