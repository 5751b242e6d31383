"""How the kernels go over the arcs of a graph, from its initial states or from its final ones."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Structure
from gtn_ebm.kernels import distance as kernels

Direction = Literal["from", "to"]


class Walk(NamedTuple):
    """The arcs as walked in one direction: grouped by the state walked from, the states in components."""

    order: NDArray[np.uint32]
    starts: NDArray[np.uint32]
    place: NDArray[np.uint32]
    offsets: NDArray[np.uint32]
    onwards: NDArray[np.uint32]
    arcs: NDArray[np.uint32] | None

    def chosen(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of the arcs in the order walked."""
        return values if self.arcs is None else values[self.arcs]

    @property
    def graph(self) -> tuple[NDArray[np.uint32], ...]:
        """As kernels take it."""
        return self[:5]


def walk(structure: Structure, direction: Direction) -> Walk:
    """The arcs of a structure from the initial states on, or "to" the final ones."""
    offsets, onwards = structure.outgoing
    order, starts = structure.components
    arcs = structure.out_order
    if direction == "to":
        # The same components the other way round.
        offsets, arcs = structure.in_index
        onwards = structure.source.view(np.uint32)[arcs]
        order = np.ascontiguousarray(order[::-1])
        starts = np.ascontiguousarray(np.uint32(structure.states) - starts[::-1])
    return Walk(order, starts, kernels.positions(order), offsets, onwards, arcs)


def opposite(direction: Direction) -> Direction:
    """The other one."""
    return "to" if direction == "from" else "from"


def walked(structure: Structure, direction: Direction) -> tuple[Tensor, Tensor]:
    """The states each arc is walked from and to, as indices of tensors."""
    source, destination = (
        torch.from_numpy(s.astype(np.int64)) for s in (structure.source, structure.destination)
    )
    return (source, destination) if direction == "from" else (destination, source)


def check_direction(direction: str) -> None:
    """Raises GraphError unless it is "from" or "to"."""
    if direction not in ("from", "to"):
        raise GraphError(f'direction must be "from" or "to", not {direction!r}')
