"""How energies, attributes and whole graphs follow an arc map to the arcs of a result.

A map holds, for each arc (or state) of the result, the arc (or state) of the operand it stems from, −1 for
none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Attribute, Graph, Structure

Map = NDArray[np.int32]


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
    # An unsigned type has no −1: its places are overwritten by arcs of other graphs, or refused.
    return -1 if values.dtype.is_signed else False


def _check_fill(name: str, values: Attribute, chosen: Map) -> None:
    """Refuses to fill −1 into unsigned integers."""
    if not isinstance(values, Tensor) or values.dtype == torch.bool or values.dtype.is_signed:
        return
    if (chosen < 0).any():
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
            _check_fill(name, values, chosen)
            result[name] = _follow(values, chosen)
    return result


def stack_attributes(graphs: Sequence[Graph], maps: Sequence[Map]) -> dict[str, Attribute]:
    """The attributes of operands whose arcs stand side by side in the result: each arc's own, wherever it
    comes from.

    Raises:
        GraphError: an attribute of one name is of different kinds in the graphs, or −1 is needed in a tensor
            of unsigned integers.
    """
    result: dict[str, Attribute] = {}
    for graph, chosen in zip(graphs, maps, strict=True):
        for name, values in graph.attributes.items():
            here = _follow(values, chosen)
            before = result.get(name)
            if before is None:
                result[name] = here
            elif isinstance(before, list) and isinstance(here, list):
                result[name] = [
                    theirs if arc < 0 else ours
                    for ours, theirs, arc in zip(here, before, chosen, strict=True)
                ]
            elif isinstance(before, Tensor) and isinstance(here, Tensor) and before.shape == here.shape:
                ours = torch.from_numpy(chosen >= 0).to(here.device).view(-1, *[1] * (here.ndim - 1))
                result[name] = torch.where(ours, here, before)
            else:
                raise GraphError(f"the arc attribute {name!r} is of different kinds in the graphs")
    for name, values in result.items():
        having = [chosen for graph, chosen in zip(graphs, maps, strict=True) if name in graph.attributes]
        _check_fill(name, values, np.maximum.reduce(having))
    return result


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
