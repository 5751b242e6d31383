"""What a criterion gives back for a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gtn_ebm.errors import GraphError

REDUCTIONS = ("none", "mean", "sum")


def check_reduction(reduction: str) -> None:
    """Raises GraphError where there is no reduction of that name."""
    if reduction not in REDUCTIONS:
        raise GraphError(f"reduction is {reduction!r}; it must be 'none', 'mean' or 'sum'")


def reduced(
    losses: Tensor, reduction: str, zero_infinity: bool = False, sizes: Sequence[int] | None = None
) -> Tensor:
    """The losses [B] as they are ("none"), their "sum", or their "mean" over the items, each divided by its
    size before where sizes are given; infinite ones as 0 on demand."""
    if zero_infinity:
        losses = losses.masked_fill(losses == torch.inf, 0.0)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return (losses if sizes is None else losses / torch.tensor(sizes, device=losses.device)).mean()
