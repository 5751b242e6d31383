"""Energies times a number."""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph


@takes_graphs
def scale(graph: Graph, factor: float | Tensor) -> Graph:
    """The graph whose paths have ``factor`` times the energy. What is +inf, and so on no path, stays so.

    Args:
        graph: any graph.
        factor: any finite number; gradients flow through it where it is a scalar tensor.

    Raises:
        GraphError: the factor is not one finite number.

    Cost: O(S + A) time and memory.

    >>> scale(Graph.linear([0, 1], energies=torch.tensor([1.0, 2.0])), -2.0).energies
    tensor([-2., -4.])
    """
    number: object = factor.tolist() if isinstance(factor, Tensor) else factor
    if not isinstance(number, Real) or not math.isfinite(number):
        raise GraphError(f"energies are scaled by a finite number, not {factor!r:.60}")
    parts = (_scaled(part, factor) for part in (graph.energies, graph.initial, graph.final))
    return graph.with_energies(*parts)


def _scaled(energies: Tensor, factor: float | Tensor) -> Tensor:
    absent = torch.isposinf(energies)
    # 0 · inf, and its derivative, would be NaN.
    return torch.where(absent, torch.inf, factor * torch.where(absent, 0.0, energies))
