"""How energies, attributes and whole graphs follow an arc map to the arcs of a result.

A map holds, for each arc (or state) of the result, the arc (or state) of the operand it stems from, −1 for
none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Attribute, Graph, Structure

Map = NDArray[np.int32]
Places = NDArray[np.int64]
Stems = tuple[Places, Places]


def select(values: Tensor, chosen: Map) -> Tensor:
    """``values[chosen]``, differentiable; no −1 in ``chosen``."""
    return values.index_select(0, torch.from_numpy(chosen).to(values.device))


def gather(energies: Tensor, chosen: Map) -> Tensor:
    """``energies[chosen]``, differentiable, and 0 where ``chosen`` is −1."""
    if len(chosen) and chosen.min() < 0:
        energies = torch.cat([energies, energies.new_zeros(1)])
        chosen = np.where(chosen < 0, np.int32(len(energies) - 1), chosen)
    return select(energies, chosen)


def scatter(grad: Tensor, chosen: Map, length: int) -> Tensor:
    """What ``gather`` hands back to its ``length`` energies: Σ over all k with chosen[k] = i of grad[k]."""
    places = torch.from_numpy(chosen).to(grad.device)
    if len(chosen) and chosen.min() < 0:
        return scatter(grad[places >= 0], chosen[chosen >= 0], length)
    return grad.new_zeros(length).index_add(0, places, grad)


def _fill(values: Tensor) -> float | int | bool:
    if values.dtype.is_floating_point or values.dtype.is_complex:
        return torch.nan
    # An unsigned type has no −1: its places are written over, or refused.
    return -1 if values.dtype.is_signed else False


def _check_fill(name: str, values: Attribute, lacking: bool) -> None:
    """Refuses to fill −1 into unsigned integers."""
    if lacking and isinstance(values, Tensor) and values.dtype != torch.bool and not values.dtype.is_signed:
        raise GraphError(
            f"the arc attribute {name!r} is in {values.dtype}, which has no −1 for arcs without it; "
            "convert it to a signed type, such as int64"
        )


def _follow(values: Attribute, chosen: Map) -> Attribute:
    if isinstance(values, list):
        return [None if arc < 0 else values[arc] for arc in chosen.tolist()]
    places = torch.from_numpy(chosen).to(values.device)
    if len(chosen) == 0 or chosen.min() >= 0:
        return values.index_select(0, places)
    missing = values.new_full((1, *values.shape[1:]), _fill(values))
    return torch.cat([values, missing]).index_select(0, torch.where(places < 0, len(values), places))


def carry_attributes(graphs: Sequence[Graph], maps: Sequence[Map]) -> dict[str, Attribute]:
    """The attributes of all operands, on the arcs of the result.

    An arc that stems from no arc of an operand gets None in a list, NaN, −1 or False in a tensor.

    Raises:
        GraphError: two operands have attributes of the same name, or −1 is needed in a tensor of unsigned
            integers.
    """
    names = [name for graph in graphs for name in graph.attributes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise GraphError(f"both graphs have an arc attribute {twice!r}; rename or drop one of them first")
    result: dict[str, Attribute] = {}
    for graph, chosen in zip(graphs, maps, strict=True):
        for name, values in graph.attributes.items():
            _check_fill(name, values, bool((chosen < 0).any()))
            result[name] = _follow(values, chosen)
    return result


class SideBySide(Sequence[Map]):
    """The maps to operands of so many arcs each, whose arcs stand one operand behind the other in a result.

    Each map is made when it is asked for: together they are as many times as long as there are operands.
    """

    def __init__(self, counts: Sequence[int], arcs: int):
        self._first = np.cumsum([0, *counts])
        self._arcs = arcs

    def __len__(self) -> int:
        return len(self._first) - 1

    @overload
    def __getitem__(self, operand: int) -> Map: ...
    @overload
    def __getitem__(self, operand: slice) -> tuple[Map, ...]: ...
    def __getitem__(self, operand: int | slice) -> Map | tuple[Map, ...]:
        if isinstance(operand, slice):
            return tuple(self[k] for k in range(*operand.indices(len(self))))
        first, last = self._first[:-1][operand], self._first[1:][operand]
        chosen = np.full(self._arcs, -1, np.int32)
        chosen[first:last] = np.arange(last - first)
        return chosen

    def stems(self) -> list[Stems]:
        """For each operand where its arcs stand, and which they are."""
        between = zip(self._first[:-1], self._first[1:], strict=True)
        return [(np.arange(first, last), np.arange(last - first)) for first, last in between]


def stack_attributes(graphs: Sequence[Graph], stems: Sequence[Stems], arcs: int) -> dict[str, Attribute]:
    """The attributes of operands whose arcs stand side by side among the ``arcs`` of the result, each arc's
    own, wherever it comes from.

    ``stems`` holds, for each operand, the places in the result of arcs that stem from it, and from which.

    Raises:
        GraphError: an attribute of one name is of different kinds in the graphs, or −1 is needed in a tensor
            of unsigned integers.
    """
    result: dict[str, Attribute] = {}
    having: dict[str, int] = {}
    for graph, (places, own) in zip(graphs, stems, strict=True):
        for name, values in graph.attributes.items():
            having[name] = having.get(name, 0) + len(places)
            result[name] = _placed(name, values, places, own, result.get(name), arcs)
    for name, values in result.items():
        _check_fill(name, values, having[name] < arcs)
    return result


def _placed(
    name: str, values: Attribute, places: Places, own: Places, before: Attribute | None, arcs: int
) -> Attribute:
    """The values of these arcs at their places among the others, ``before``, or where there are none yet."""
    if isinstance(values, list) and not isinstance(before, Tensor):
        listed = [None] * arcs if before is None else before
        for place, arc in zip(places.tolist(), own.tolist(), strict=True):
            listed[place] = values[arc]
        return listed
    if isinstance(values, Tensor) and not isinstance(before, list):
        stacked = values.new_full((arcs, *values.shape[1:]), _fill(values)) if before is None else before
        if (stacked.dtype, stacked.shape[1:]) == (values.dtype, values.shape[1:]):
            where, which = (torch.from_numpy(part).to(values.device) for part in (places, own))
            return stacked.index_copy_(0, where, values.index_select(0, which))
    raise GraphError(f"the arc attribute {name!r} is of different kinds in the graphs")


def restricted(graph: Graph, arcs: Map, states: NDArray[np.int32]) -> Graph:
    """The graph of these arcs and states, in the given order; no arc may touch another state."""
    number = np.full(graph.states, -1, np.int32)
    number[states] = np.arange(len(states), dtype=np.int32)
    input_labels = graph.input_labels[arcs]
    return Graph(
        Structure.of_valid(
            number[graph.source[arcs]],
            number[graph.destination[arcs]],
            input_labels,
            input_labels if graph.is_acceptor else graph.output_labels[arcs],
            len(states),
        ),
        select(graph.energies, arcs),
        select(graph.initial, states),
        select(graph.final, states),
        attributes=carry_attributes((graph,), (arcs,)),
        input_symbols=graph.input_symbols,
        output_symbols=graph.output_symbols,
        arc_maps=(arcs,),
    )
