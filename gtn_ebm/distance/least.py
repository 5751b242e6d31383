"""Least energies, and the tree of best paths."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.distance.divergence import Divergence, naming_cycles
from gtn_ebm.distance.energies import usable
from gtn_ebm.distance.walks import Direction, walk
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.kernels import distance as kernels

SLACK = 4e-15
"""How much smaller, relatively, a least energy must be to count as smaller on a cycle."""


class Tree(NamedTuple):
    """Least paths of each state.

    Attributes:
        energy: the least energy of a path between the ends of the graph and the state, [S] float64.
        arc: the arc of this path at the state, −1 where it has none, [S]. These arcs never lead round a
            cycle, not even one of energy 0.
    """

    energy: NDArray[np.float64]
    arc: NDArray[np.int64]


def least_tree(graph: Graph, direction: Direction) -> Tree:
    """The best path "from" the initial states to each state, or from it "to" the final ones.

    Raises:
        CycleError: a cycle of negative energy; the message names it, state by state.
        GraphError: an energy that is NaN or −inf.
    """
    with naming_cycles(graph):
        ends = graph.initial if direction == "from" else graph.final
        return _least_tree(graph.structure, direction, graph.energies, ends)


def _least_tree(structure: Structure, direction: Direction, energies: Tensor, ends: Tensor) -> Tree:
    values = usable(energies.double())
    arc, energy, state = least_arcs(structure, direction, values, usable(ends.double()))
    if state >= 0:
        back = _back(structure, direction)
        cycle = [int(arc[state])]
        while back[cycle[-1]] != state:
            cycle.append(int(arc[back[cycle[-1]]]))
        raise Divergence(
            f"the cycle through state {state} has a negative energy of {math.fsum(values[cycle]):.6g}: "
            "{cycle}; so no path is the best; raise its energy, or compose with an acyclic graph first",
            structure,
            cycle[::-1] if direction == "from" else cycle,
        )
    return Tree(energy, arc)


def least_arcs(
    structure: Structure, direction: Direction, energies: NDArray[Any], ends: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """The last arc of a least path of each state and its energy; and a state on a cycle of negative energy,
    which these arcs lead round, or −1."""
    way, energy = walk(structure, direction), ends.copy()
    arc, state = kernels.least(*way.graph, way.chosen(energies), SLACK, energy)
    if way.arcs is not None:
        entered = arc >= 0
        arc[entered] = way.arcs[arc[entered]]
    return arc, energy, state


def _back(structure: Structure, direction: Direction) -> NDArray[np.uint32]:
    """The state that each arc is walked from."""
    return (structure.source if direction == "from" else structure.destination).view(np.uint32)


class LeastEnergies(torch.autograd.Function):
    """(energies, ends) in float64 → the least energy to each state."""

    @staticmethod
    def forward(
        ctx: Any, structure: Structure, beta: float, direction: Direction, energies: Tensor, ends: Tensor
    ) -> Tensor:
        tree = _least_tree(structure, direction, energies, ends)
        ctx.tree = tree.arc, _back(structure, direction)
        result = torch.from_numpy(tree.energy).to(energies.device)
        ctx.save_for_backward(energies, result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        energies, distance = ctx.saved_tensors
        last_arc = torch.from_numpy(ctx.tree[0]).to(energies.device)
        uses = _TreeSums.apply(*ctx.tree, torch.where(distance < torch.inf, grad, 0.0))
        entered = (last_arc >= 0).nonzero()[:, 0]
        by_arc = torch.zeros_like(energies).index_add(0, last_arc[entered], uses[entered])
        return None, None, None, by_arc, torch.where(last_arc < 0, uses, 0.0)


class _TreeSums(torch.autograd.Function):
    """Values of the states [S] → for each state, their sum over all states whose least path goes through
    it."""

    @staticmethod
    def forward(
        ctx: Any, last_arc: NDArray[np.int64], walked_from: NDArray[np.uint32], values: Tensor
    ) -> Tensor:
        ctx.tree = last_arc, walked_from
        return torch.from_numpy(kernels.along_tree(last_arc, walked_from, as_array(values))).to(values.device)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """The sum over all states on the least path to each, in steps that double in length."""
        last_arc, walked_from = ctx.tree
        root = len(last_arc)  # a state of value 0 above all
        above = np.full(root + 1, root)
        entered = np.flatnonzero(last_arc >= 0)
        above[entered] = walked_from[last_arc[entered]]
        sums, jump = torch.cat([grad, grad.new_zeros(1)]), torch.from_numpy(above).to(grad.device)
        for _ in range(root.bit_length()):
            sums, jump = sums + sums[jump], jump[jump]
        return None, None, sums[:root]
