"""The losses of table 1 of LeCun, Chopra, Hadsell, Ranzato and Huang, "A tutorial on energy-based learning"
(2006).

E(Y) is the energy of the desired answer, E(Ȳ) that of the most offending incorrect answer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gtn_ebm.losses.registry import loss


@loss(math.inf)
def perceptron(desired: Tensor, everything: Tensor) -> Tensor:
    """E(Y) − min E, or F_β(Y) − F_β(all)."""
    return desired - everything


@loss(1.0, "mmi")
def nll(desired: Tensor, everything: Tensor) -> Tensor:
    """F_β(Y) − F_β(all) = −(1/β) log p(Y)."""
    return desired - everything


@loss(math.inf)
def hinge(desired: Tensor, wrong: Tensor, margin: float | Tensor = 1.0) -> Tensor:
    """[m + E(Y) − E(Ȳ)]⁺."""
    return torch.relu(margin + desired - wrong)


@loss(math.inf)
def log(desired: Tensor, wrong: Tensor) -> Tensor:
    """log(1 + exp(E(Y) − E(Ȳ)))."""
    return softplus(desired - wrong)
