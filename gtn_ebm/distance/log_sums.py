"""Sums over all paths to each state, with their derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtn_ebm.distance.cycles import raise_infinite
from gtn_ebm.distance.energies import energy_of, weights
from gtn_ebm.distance.walks import Direction, opposite, walk, walked
from gtn_ebm.graph import Structure, as_array
from gtn_ebm.kernels import distance as kernels


class LogSums(torch.autograd.Function):
    """(energies, ends) in float64 → F_β to each state."""

    @staticmethod
    def forward(
        ctx: Any, structure: Structure, beta: float, direction: Direction, energies: Tensor, ends: Tensor
    ) -> Tensor:
        way = walk(structure, direction)
        value, digit = weights(ends, beta)
        sums = np.stack([value, digit if len(digit) else np.zeros(len(value))], axis=1)
        state, cycles = kernels.sums(*way.graph, *weights(energies, beta, way.arcs), sums)
        if state >= 0:
            raise_infinite(structure, way, state, cycles, as_array(energies), beta)
        distance = torch.from_numpy(energy_of(sums[:, 0], sums[:, 1], beta)).to(energies.device)
        ctx.structure, ctx.beta, ctx.direction = structure, beta, direction
        ctx.save_for_backward(energies, ends, distance)
        return distance

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """With p_a = exp(−β(d_u + e_a − d_v)), the share of the paths to v that come by arc a from u, the
        derivative of Σ grad · d in e_a is p_a z_v, where z_u = grad_u + Σ_{a: u→v} p_a z_v."""
        energies, ends, distance = ctx.saved_tensors
        at, to = (state.to(energies.device) for state in walked(ctx.structure, ctx.direction))
        reached = distance < torch.inf
        finite = torch.where(reached, distance, 0.0)

        def share(before: Tensor, after: Tensor, used: Tensor) -> Tensor:
            exponent = torch.where(used, before - after, 0.0)
            return torch.where(used, torch.exp(-ctx.beta * exponent), 0.0)

        by_arc = share(finite[at] + energies, finite[to], reached[at] & (energies < torch.inf))
        by_end = share(ends, finite, ends < torch.inf)
        uses = _Solution.apply(
            ctx.structure, opposite(ctx.direction), by_arc, torch.where(reached, grad, 0.0)
        )
        return None, None, None, by_arc * uses[to], by_end * uses


class _Solution(torch.autograd.Function):
    """(P of the arcs, b) → x = b + x P in the direction walked, [S]: x_v = b_v + Σ_{a: u→v} x_u p_a."""

    @staticmethod
    def forward(ctx: Any, structure: Structure, direction: Direction, share: Tensor, right: Tensor) -> Tensor:
        way = walk(structure, direction)
        x = as_array(right).copy()
        state, cycles = kernels.solve(*way.graph, way.chosen(as_array(share)), x)
        if state >= 0:
            with np.errstate(divide="ignore"):
                raise_infinite(structure, way, state, cycles, -np.log(as_array(share)), 1.0)
        ctx.structure, ctx.direction = structure, direction
        solution = torch.from_numpy(x).to(share.device)
        ctx.save_for_backward(share, solution)
        return solution

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        share, solution = ctx.saved_tensors
        at, to = (state.to(share.device) for state in walked(ctx.structure, ctx.direction))
        adjoint = _Solution.apply(ctx.structure, opposite(ctx.direction), share, grad)
        return None, None, solution[at] * adjoint[to], adjoint
