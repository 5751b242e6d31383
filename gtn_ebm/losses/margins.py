"""Losses of a desired answer y and wrong ones ŷ, each with a margin m(y, ŷ) of its own.

The pair losses take E(ŷ) of one wrong answer for each desired one; ``hinge`` is another of them. Where E(ŷ)
is +inf, it is no answer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gtn_ebm.errors import GraphError
from gtn_ebm.losses.registry import by_name, loss


@loss(beta=math.inf, aliases=("bromley",))
def simple(desired: Tensor, wrong: Tensor, margin: float | Tensor = 1.0) -> Tensor:
    """[E(y)]⁺ + [m(y, ŷ) − E(ŷ)]⁺: the desired energy is to be 0 or less, the wrong one at least the margin.

    Args:
        margin: m ≥ 0, one for all or [...].

    Margin: m.
    Collapse: no, where m > 0: equal energies cost at least m.
    Pushed up: the wrong answer, while its energy is below m.
    Source: Bromley, Guyon, LeCun, Säckinger, Shah 1993, "Signature verification using a Siamese time delay
        neural network"; in this form LeCun, Canziani 2021, lectures on energy-based models (NYU).
    """
    return torch.relu(desired) + torch.relu(margin - wrong)


@loss(beta=math.inf, aliases=("contrastive",))
def square_square_pair(desired: Tensor, wrong: Tensor, margin: float | Tensor = 1.0) -> Tensor:
    """([E(y)]⁺)² + ([m(y, ŷ) − E(ŷ)]⁺)²: as square-square, but content with a desired energy below 0.

    Args:
        margin: m ≥ 0, one for all or [...].

    Margin: m.
    Collapse: no, where m > 0: equal energies cost at least m²/2.
    Pushed up: the wrong answer, while its energy is below m.
    Source: Chopra, Hadsell, LeCun 2005; Hadsell, Chopra, LeCun 2006, "Dimensionality reduction by learning an
        invariant mapping"; in this form LeCun, Canziani 2021.
    """
    return torch.relu(desired).square() + torch.relu(margin - wrong).square()


@loss(beta=1.0)
def exponential(desired: Tensor, wrong: Tensor, margin: float | Tensor = 0.0) -> Tensor:
    """exp(m(y, ŷ) + E(y) − E(ŷ)): additive over wrong answers, whose sum is the loss of their F_1.

    So at β = 1, its β where omitted, it is the additive margin loss over *all* wrong answers of a graph.

    Args:
        margin: m ≥ 0, one for all or [...]; it only scales the loss, unless it is m(y, ŷ).

    Margin: positive, without end.
    Collapse: no: N equal wrong energies cost N exp(m).
    Pushed up: every wrong answer, by exp(−E(ŷ)), and without bound where the desired one is worse.
    Source: Freund, Schapire 1997, and Collins, Koo 2005, "Discriminative reranking for natural language
        parsing"; Altun, Johnson, Hofmann 2003.
    """
    return torch.exp(margin + desired - wrong)


@loss(beta=math.inf)
def additive_margin(
    desired: Tensor, wrong_answers: Tensor, margin: float | Tensor = 1.0, pair: str = "hinge"
) -> Tensor:
    """Σ over ŷ of H(E(y), E(ŷ), m(y, ŷ)): a pair loss summed over a set of wrong answers.

    Args:
        wrong_answers: E(ŷ), [..., K]; +inf for none.
        margin: m ≥ 0, one for all or [..., K].
        pair: the name of H, a loss of "desired" and "wrong" with a margin.

    Margin: m.
    Collapse: as of the pair loss, no where m > 0.
    Pushed up: every wrong answer of the set that the pair loss pushes up.
    Source: LeCun, Canziani 2021: the generalised additive margin loss.

    >>> additive_margin(torch.tensor(1.0), torch.tensor([1.5, 1.0, 4.0]))
    tensor(1.5000)
    """
    one = by_name(pair)
    if one.needs != ("desired", "wrong") or "margin" not in one.options:
        raise GraphError(f"the loss {pair!r} is not one of a desired and a wrong energy with a margin")
    of_pairs = one.function(desired[..., None], wrong_answers, margin=margin)
    # An answer that is not there adds nothing, though some pair losses keep a term of the desired answer.
    return torch.where(torch.isposinf(wrong_answers), 0.0, of_pairs).sum(-1)
