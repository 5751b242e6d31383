"""Composition of transducers and intersection of acceptors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.kernels import composition as kernels
from gtn_ebm.kernels.structure import group, reachable
from gtn_ebm.ops.arc_maps import Map, carry_attributes, gather
from gtn_ebm.parallel import parallel_map


@overload
def compose(first: Graph, second: Graph) -> Graph: ...
@overload
def compose(first: Sequence[Graph], second: Graph | Sequence[Graph]) -> list[Graph]: ...
@overload
def compose(first: Graph, second: Sequence[Graph]) -> list[Graph]: ...
def compose(first: Graph | Sequence[Graph], second: Graph | Sequence[Graph]) -> Graph | list[Graph]:
    """The transducer that reads what ``first`` reads and writes what ``second`` writes of what ``first`` wrote.

    Each pair of a path of ``first`` and a path of ``second`` whose labels match (output with input, epsilons left out)
    makes exactly one path, of the sum of their energies, so that sums over paths are right with epsilons on either side.
    Only states on a whole path are kept.

    Args:
        first, second: graphs, any number of initial and final states, cycles and epsilons allowed. Where either is a list,
            so is the result; a graph beside a list is composed with each of the list.

    Returns:
        A graph with ``arc_maps`` (arcs of first, arcs of second) and the attributes of both.

    Raises:
        GraphError: lists of different lengths, different dtypes, the symbol tables between the two differ, or both have an
            arc attribute of the same name.

    Source: Mohri, Pereira, Riley, "Weighted finite-state transducers in speech recognition" (2002), section 3.1: the
    epsilon filter. Time and memory grow with the states and arcs reached, not with the product of the sizes.

    >>> ab = Graph(Structure([0], [1], [0], [1]), torch.tensor([1.0]))
    >>> bc = Graph(Structure([0], [1], [1], [2]), torch.tensor([0.5]))
    >>> ac = compose(ab, bc)
    >>> ac.input_labels, ac.output_labels, ac.energies
    (array([0], dtype=int32), array([2], dtype=int32), tensor([1.5000]))
    """
    if isinstance(first, Graph) and isinstance(second, Graph):
        return _compose(first, second)
    count = max(len(side) for side in (first, second) if not isinstance(side, Graph))
    firsts, seconds = ([side] * count if isinstance(side, Graph) else side for side in (first, second))
    if len(firsts) != len(seconds):
        raise GraphError(f"lists of {len(firsts)} and {len(seconds)} graphs cannot be composed one by one")
    return parallel_map(lambda pair: _compose(*pair), list(zip(firsts, seconds, strict=True)))


def intersect(first: Graph, second: Graph) -> Graph:
    """The acceptor of the strings that both accept; each energy is the sum of theirs. As ``compose`` otherwise.

    Raises:
        GraphError: either is a transducer; as ``compose``.
    """
    for graph, which in ((first, "first"), (second, "second")):
        if not graph.is_acceptor:
            raise GraphError(f"intersect needs acceptors, but the {which} graph is a transducer; project it, or use compose")
    return compose(first, second)


def _compose(first: Graph, second: Graph) -> Graph:
    if first.dtype != second.dtype:
        raise GraphError(f"cannot compose energies in {first.dtype} with energies in {second.dtype}; convert one with .to()")
    between = first.output_symbols, second.input_symbols
    if None not in between and between[0] != between[1]:
        raise GraphError("the first graph's output symbols are not the second graph's input symbols")
    source, destination, arcs1, arcs2, keys = _search(first, second)
    structure = Structure(
        source,
        destination,
        np.where(arcs1 < 0, np.int32(-1), _labels(first.input_labels, arcs1)),
        None
        if first.is_acceptor and second.is_acceptor
        else np.where(arcs2 < 0, np.int32(-1), _labels(second.output_labels, arcs2)),
        states=len(keys),
    )
    pairs, filters = keys // 3, keys % 3
    states1, states2 = (pairs // second.states).astype(np.int32), (pairs % second.states).astype(np.int32)
    initial = gather(first.initial, states1) + gather(second.initial, states2)
    # A path starts in filter state 0 and may end in any.
    started = torch.from_numpy(filters == 0).to(initial.device)
    return Graph(
        structure,
        gather(first.energies, arcs1) + gather(second.energies, arcs2),
        torch.where(started, initial, torch.inf),
        gather(first.final, states1) + gather(second.final, states2),
        attributes=carry_attributes((first, second), (arcs1, arcs2)),
        input_symbols=first.input_symbols,
        output_symbols=second.output_symbols,
        arc_maps=(arcs1, arcs2),
    )


def _labels(labels: NDArray[np.int32], arcs: Map) -> NDArray[np.int32]:
    return labels[arcs] if len(labels) else np.full(len(arcs), -1, np.int32)


def _search(first: Graph, second: Graph) -> tuple[Map, Map, Map, Map, NDArray[np.int64]]:
    """(source, destination, arc of first, arc of second) of each composed arc, and the key of each state, connected."""
    index1, index2 = first.structure.out_by_output, second.structure.out_by_input
    matched1 = index1.offsets, first.output_labels[index1.arcs], first.destination[index1.arcs].view(np.uint32)
    matched2 = index2.offsets, second.input_labels[index2.arcs], second.destination[index2.arcs].view(np.uint32)
    starts = (np.flatnonzero(_finite(first.initial))[:, None] * second.states + np.flatnonzero(_finite(second.initial))) * 3
    keys, (source, destination, place1, place2) = _expand((*matched1, *matched2), starts.ravel(), first.arcs + second.arcs)
    pairs = keys // 3
    states2 = max(second.states, 1)
    final = _finite(first.final)[pairs // states2] & _finite(second.final)[pairs % states2]
    kept = reachable(source, *group(destination, len(keys)), final)
    number = np.cumsum(kept, dtype=np.int32) - np.int32(1)
    arcs = kept[destination]
    return (
        number[source[arcs]],
        number[destination[arcs]],
        _arcs(index1.arcs, place1[arcs]),
        _arcs(index2.arcs, place2[arcs]),
        keys[kept],
    )


def _finite(energies: Tensor) -> NDArray[np.bool_]:
    finite: NDArray[np.bool_] = torch.isfinite(energies.detach()).cpu().numpy()
    return finite


def _arcs(by_place: NDArray[np.uint32], places: Map) -> Map:
    if len(places) == 0 or places.min() >= 0:
        return by_place[places].view(np.int32)
    return np.where(places < 0, -1, by_place[places] if len(by_place) else -1).astype(np.int32)


def _expand(matched: tuple[NDArray, ...], starts: NDArray[np.int64], guess: int) -> tuple[NDArray[np.int64], list[NDArray]]:
    """The keys of all states reached from ``starts`` and the four arrays of arcs, grown as the kernel asks."""
    keys = np.empty(max(256, guess, 2 * len(starts)), np.int64)
    keys[: len(starts)] = starts
    arcs = [np.empty(max(256, 2 * guess), dtype) for dtype in (np.uint32, np.uint32, np.int32, np.int32)]
    progress = np.array([len(starts), 0, 0])
    table = _table(keys, progress)
    while (status := kernels.expand(*matched, keys, table, *arcs, progress)) != kernels.DONE:
        if status == kernels.STATES_FULL:
            keys = _grown(keys)
            table = _table(keys, progress)
        else:
            arcs = [_grown(array) for array in arcs]
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
