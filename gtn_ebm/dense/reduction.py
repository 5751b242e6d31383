"""What a criterion gives back for a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from gtn_ebm.errors import GraphError

REDUCTIONS = ("none", "mean", "sum")


def check_reduction(reduction: str) -> None:
    """Raises GraphError where there is no reduction of that name."""
    if reduction not in REDUCTIONS:
        raise GraphError(f"reduction is {reduction!r}; it must be 'none', 'mean' or 'sum'")


def reduced(losses: Tensor, reduction: str, zero_infinity: bool = False) -> Tensor:
    """The losses [B] as they are ("none"), or their "sum" or "mean"; infinite ones as 0 on demand."""
    if zero_infinity:
        losses = losses.masked_fill(losses == torch.inf, 0.0)
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.mean()
