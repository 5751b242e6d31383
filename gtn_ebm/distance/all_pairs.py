"""Sums over all paths between every two states."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance.cycles import raise_divergence
from gtn_ebm.distance.divergence import naming_cycles
from gtn_ebm.distance.energies import check_beta, energy_of, weights
from gtn_ebm.distance.least import LeastEnergies
from gtn_ebm.distance.walks import walked
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.kernels import distance as kernels


@takes_graphs
def all_pairs_distance(graph: Graph, beta: float = 1.0) -> Tensor:
    """F_β over all paths from each state to each: D[p, q], the path without arcs from p to p included.

    Initial and final energies do not count.

    Returns:
        [S, S], in the dtype of the energies; +inf where there is no path. Differentiable, as often as wanted.

    Args and errors as of ``shortest_distance``.

    Cost: O(S²) memory; for finite β O(S³) time by Lehmann's generalisation of Kleene's, Floyd's and
    Warshall's algorithm, and O(S³ + A S) exponentials for the gradient; S searches for β = ∞.

    >>> graph = Graph(Structure([0, 1], [1, 0], [0, 1]), torch.tensor([1.0, 2.0]))
    >>> all_pairs_distance(graph, beta=math.inf)
    tensor([[0., 1.],
            [2., 0.]])
    """
    check_beta(beta)
    energies = graph.energies.double()
    if math.isinf(beta):
        ends = torch.full(
            (graph.states, graph.states), torch.inf, dtype=torch.float64, device=energies.device
        )
        ends.fill_diagonal_(0.0)
        with naming_cycles(graph):
            rows = [LeastEnergies.apply(graph.structure, beta, "from", energies, row) for row in ends]
        distance = torch.stack(rows) if rows else ends
    else:
        with naming_cycles(graph):
            distance = _AllPairs.apply(graph.structure, beta, energies)
    return distance.to(graph.energies)


class _AllPairs(torch.autograd.Function):
    """Energies in float64 → F_β between all pairs of states."""

    @staticmethod
    def forward(ctx: Any, structure: Structure, beta: float, energies: Tensor) -> Tensor:
        value, digit = weights(energies, beta)
        sums, sums_digit, state, cycles = kernels.all_pairs(
            structure.source.view(np.uint32),
            structure.destination.view(np.uint32),
            value,
            digit,
            structure.states,
        )
        if state >= 0:
            raise_divergence(structure, state, -math.log(cycles) / beta, as_array(energies))
        distance = torch.from_numpy(energy_of(sums, sums_digit, beta)).to(energies.device)
        ctx.structure, ctx.beta = structure, beta
        ctx.save_for_backward(energies, distance)
        return distance

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Σ_pq grad_pq ∂D_pq/∂e_a = Σ_q exp(−β(e_a + D_vq − D_uq)) T_uq for the arc a from u to v, with
        T_uq = Σ_p grad_pq exp(−β(D_pu + D_uq − D_pq)): the exponents are bounded, as no path is left out."""
        energies, distance = ctx.saved_tensors
        source, destination = (end.to(energies.device) for end in walked(ctx.structure, "from"))
        reached = distance < torch.inf
        finite = torch.where(reached, distance, 0.0)

        def ratio(exponent: Tensor, used: Tensor) -> Tensor:
            return torch.where(used, torch.exp(-ctx.beta * torch.where(used, exponent, 0.0)), 0.0)

        through = torch.zeros_like(distance)
        for p in range(len(distance)):
            exponent = finite[p][:, None] + finite - finite[p]
            wanted = torch.where(reached[p], grad[p], 0.0)
            through = through + wanted * ratio(exponent, reached[p][:, None] & reached)
        exponent = energies[:, None] + finite[destination] - finite[source]
        used = (energies < torch.inf)[:, None] & reached[destination]
        return None, None, (ratio(exponent, used) * through[source]).sum(1)
