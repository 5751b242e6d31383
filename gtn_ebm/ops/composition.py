"""Composition of transducers and intersection of acceptors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure, as_array, as_tensor
from gtn_ebm.kernels import composition as kernels
from gtn_ebm.kernels.structure import group, reachable
from gtn_ebm.ops.arc_maps import Map, carry_attributes, scatter
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
    transducers" (2009): the sequencing epsilon filter.

    Cost: O(pairs of states and of arcs reached) time and memory, up to S₁ S₂ and A₁ A₂, and not the product
    of the sizes unless that is reached; arcs are found by label in a binary search.

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

    Cost: that of ``compose``.
    """
    for side, which in ((first, "first"), (second, "second")):
        graphs = [side] if isinstance(side, Graph) else side
        number = next((k for k, graph in enumerate(graphs) if not graph.is_acceptor), None)
        if number is not None:
            named = f"the {which} graph" if isinstance(side, Graph) else f"graph {number} of the {which} list"
            raise GraphError(f"intersect needs acceptors, but {named} is a transducer; project it or compose")
    return compose(first, second, max_states=max_states)


class _Composed(NamedTuple):
    """What a search finds: the structure, the arcs and states of both operands that its own stand for, and
    the energies of its arcs, initial and final states."""

    structure: Structure
    arcs: tuple[Map, Map]
    states: tuple[Map, Map]
    energies: tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def _check(first: Graph, second: Graph) -> None:
    if first.dtype != second.dtype:
        raise GraphError(
            f"cannot compose energies in {first.dtype} with energies in {second.dtype}; convert with .to()"
        )
    between = first.output_symbols, second.input_symbols
    if None not in between and between[0] != between[1]:
        raise GraphError("the first graph's output symbols are not the second graph's input symbols")


def _search(first: Graph, second: Graph, max_states: int | None) -> _Composed:
    energies1, *ends1 = (as_array(part) for part in (first.energies, first.initial, first.final))
    energies2, *ends2 = (as_array(part) for part in (second.energies, second.initial, second.final))
    *by_output, order1 = first.structure.by_output
    *by_input, order2 = second.structure.by_input
    found, keys, arcs, final, kept, sure = kernels.search(
        tuple(by_output),
        *(part != np.inf for part in ends1),
        tuple(by_input),
        *(part != np.inf for part in ends2),
        first.arcs + second.arcs,
        most := np.iinfo(np.int64).max if max_states is None else max_states,
    )
    if found > most:
        raise GraphError(
            f"the composition has {found} states or more, more than the {most} that max_states allows; "
            "raise it, or make the graphs smaller first (connect, determinize, minimize or prune them)"
        )
    if not sure:
        source, destination = arcs[:2]
        kept = reachable(source, *group(destination, len(keys)), final)
    acceptors = first.is_acceptor and second.is_acceptor
    ends, (inputs, outputs), arcs, states, energies, of_ends = kernels.connected(
        kept,
        keys,
        arcs,
        order1,
        order2,
        first.input_labels,
        second.output_labels,
        acceptors,
        energies1,
        energies2,
        tuple(ends1),
        tuple(ends2),
    )
    source, destination = (end.view(np.int32) for end in ends)
    structure = Structure.of_valid(
        source, destination, inputs, inputs if acceptors else outputs, len(states[0])
    )
    return _Composed(structure, arcs, states, (energies, *of_ends))


def _weighted(first: Graph, second: Graph, composed: _Composed) -> Graph:
    """The composed structure with the operands' energies and attributes on it."""
    parts = [part for graph in (first, second) for part in (graph.energies, graph.initial, graph.final)]
    if torch.is_grad_enabled() and any(part.requires_grad for part in parts):
        energies, initial, final = _Sums.apply(composed, *parts)
    else:
        energies, initial, final = (as_tensor(sums, first.energies) for sums in composed.energies)
    return Graph(
        composed.structure,
        energies,
        initial,
        final,
        attributes=carry_attributes((first, second), composed.arcs),
        input_symbols=first.input_symbols,
        output_symbols=second.output_symbols,
        arc_maps=composed.arcs,
    )


class _Sums(torch.autograd.Function):
    """Energies of the arcs, initial and final states of both operands → their sums, as the search found
    them."""

    @staticmethod
    def forward(ctx: Any, composed: _Composed, *parts: Tensor) -> tuple[Tensor, ...]:
        ctx.composed, ctx.lengths = composed, [len(part) for part in parts]
        return tuple(as_tensor(sums, parts[0]) for sums in composed.energies)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        of_arcs, of_initial, of_final = grads
        # Where no path starts, as in the states that the filter marks, there is no sum.
        absent = torch.from_numpy(ctx.composed.energies[1] == np.inf).to(of_initial.device)
        of_initial = of_initial.masked_fill(absent, 0.0)
        back = [
            (grad, chosen)
            for arcs, states in zip(ctx.composed.arcs, ctx.composed.states, strict=True)
            for grad, chosen in ((of_arcs, arcs), (of_initial, states), (of_final, states))
        ]
        wanted = zip(back, ctx.lengths, ctx.needs_input_grad[1:], strict=True)
        return None, *(scatter(*pair, length) if needed else None for pair, length, needed in wanted)
