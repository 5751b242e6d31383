"""Losses that are what answers cost on average, under p ∝ exp(−βE)."""

from __future__ import annotations

import torch
from torch import Tensor

from gtn_ebm.errors import GraphError
from gtn_ebm.losses.registry import loss


@loss(beta=1.0, aliases=("mwer",))
def expected_risk(answers: Tensor, costs: Tensor, beta: float = 1.0) -> Tensor:
    """Σ p(ŷ) c(ŷ) with p(ŷ) ∝ exp(−βE(ŷ)) over a set of K answers: minimum word error rate, where c counts
    wrong words.

    The derivative in E(ŷ) is −β p(ŷ) (c(ŷ) − Σ p c): that average is the baseline of Prabhavalkar et al., and
    subtracting one from the costs changes the loss, but not its gradient.

    Args:
        answers: E(ŷ), [..., K]; +inf for none. Where all are, the loss is +inf.
        costs: c(ŷ), [..., K]; finite, but for answers that are none.
        beta: β, finite.

    Margin: positive, without end, in the order of the costs.
    Collapse: no: equal energies cost the mean of the costs.
    Pushed up: every answer of the set that costs more than the average.
    Source: Prabhavalkar et al. 2018, "Minimum word error rate training for attention-based
        sequence-to-sequence models"; Povey, Woodland 2002.

    >>> expected_risk(torch.tensor([1.0, 1.0]), torch.tensor([0.0, 3.0]))
    tensor(1.5000)
    """
    absent = torch.isposinf(answers)
    if (torch.isposinf(costs) & ~absent).any():
        raise GraphError("an answer of finite energy costs +inf; the cost must know every answer")
    none = absent.all(-1)
    usable = torch.where(none[..., None], 0.0, answers)
    probabilities = torch.softmax(-beta * usable, -1)
    risk = (probabilities * torch.where(absent, 0.0, costs)).sum(-1)
    return torch.where(none, torch.inf, risk)


@loss(beta=1.0)
def bayes_risk(expected_cost: Tensor) -> Tensor:
    """Σ p(ŷ) c(ŷ) over all answers of a graph, whose expected cost it is.

    Margin: positive, without end, in the order of the costs.
    Collapse: no: equal energies cost the mean of the costs.
    Pushed up: every path that costs more than the average, by its probability.
    Source: Kaiser, Horvat, Kačič 2000, "A novel loss function for the overall risk criterion based
        discriminative training of HMM models"; Li, Eisner 2009, "First- and second-order expectation
        semirings".
    """
    return expected_cost
