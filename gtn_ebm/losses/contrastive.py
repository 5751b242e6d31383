"""Losses of the probabilities of a desired answer y among K wrong ones, p ∝ exp(−βE), β = 1/temperature.

A wrong energy of +inf is no answer and adds nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gtn_ebm.losses.registry import loss, soft_plus


@loss(beta=1.0, aliases=("cpc",))
def info_nce(desired: Tensor, wrong_answers: Tensor, beta: float = 1.0) -> Tensor:
    """−log [exp(−βE(y)) / (exp(−βE(y)) + Σ exp(−βE(ŷ)))]: which of K + 1 answers is the desired one?

    Over all wrong answers it is β times ``nll``.

    Args:
        wrong_answers: E(ŷ), [..., K]; +inf for none.
        beta: β, finite.

    Margin: positive, without end.
    Collapse: no: equal energies cost log(K + 1).
    Pushed up: every wrong answer of the set, by its probability within it.
    Source: van den Oord, Li, Vinyals 2018, "Representation learning with contrastive predictive coding",
        eq. 4; Sohn 2016.

    >>> info_nce(torch.tensor(1.0), torch.tensor([1.0, 1.0, 1.0])).exp()
    tensor(4.)
    """
    gaps = beta * (desired[..., None] - wrong_answers)
    return torch.logsumexp(torch.cat([gaps.new_zeros(*gaps.shape[:-1], 1), gaps], -1), -1)


@loss(beta=1.0, aliases=("pirl",))
def nce(desired: Tensor, wrong_answers: Tensor, beta: float = 1.0) -> Tensor:
    """−log h(E(y)) − Σ log(1 − h(E(ŷ))) with h(E) = exp(−βE) / (exp(−βE) + Σ exp(−βE(ŷ))): is each answer
    the desired one?

    Args:
        wrong_answers: E(ŷ), [..., K]; +inf for none. With K = 1 the second term is constant.
        beta: β, finite.

    Margin: positive, without end.
    Collapse: no: equal energies cost more than a gap does.
    Pushed up: every wrong answer of the set, by its probability within it; the second term evens them out.
    Source: Misra, van der Maaten 2020, "Self-supervised learning of pretext-invariant representations",
        section 2; Gutmann, Hyvärinen 2010, "Noise-contrastive estimation".
    """
    present = ~torch.isposinf(wrong_answers)
    weights = torch.where(present, -beta * wrong_answers, torch.finfo(wrong_answers.dtype).min)
    all_wrong = torch.logsumexp(weights, -1)
    of_wrong = soft_plus(weights - all_wrong[..., None])
    return soft_plus(beta * desired + all_wrong) + torch.where(present, of_wrong, 0.0).sum(-1)
