"""The losses as their formulas say, without a thought for rounding: what the library's are held against."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def positive(x: Tensor) -> Tensor:
    """[x]⁺."""
    return torch.where(x > 0, x, torch.zeros_like(x))


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def _nce(desired: Tensor, wrong_answers: Tensor, beta: float) -> Tensor:
    good, bad = torch.exp(-beta * desired), torch.exp(-beta * wrong_answers)
    h_good = good / (good + bad.sum(-1))
    h_bad = bad / (bad + bad.sum(-1, keepdim=True))
    return -torch.log(h_good) - torch.log(1 - h_bad).sum(-1)


def _info_nce(desired: Tensor, wrong_answers: Tensor, beta: float) -> Tensor:
    good, bad = torch.exp(-beta * desired), torch.exp(-beta * wrong_answers)
    return -torch.log(good / (good + bad.sum(-1)))


def _expected_risk(answers: Tensor, costs: Tensor, beta: float) -> Tensor:
    weights = torch.exp(-beta * answers)
    return (weights * costs).sum(-1) / weights.sum(-1)


FORMULAS: dict[str, Callable[..., Tensor]] = {
    "energy": lambda desired: desired,
    "perceptron": lambda desired, everything: desired - everything,
    "hinge": lambda desired, wrong, margin: positive(margin + desired - wrong),
    "log": lambda desired, wrong: torch.log(1 + torch.exp(desired - wrong)),
    "lvq2": lambda desired, wrong, limit: positive(desired - wrong) - positive(desired - wrong - limit),
    "mce": lambda desired, wrong: sigmoid(desired - wrong),
    "square_square": lambda desired, wrong, margin: desired**2 + positive(margin - wrong) ** 2,
    "square_exponential": lambda desired, wrong, gamma: desired**2 + gamma * torch.exp(-wrong),
    "nll": lambda desired, everything: desired - everything,
    "mee": lambda desired, everything, beta: 1 - torch.exp(-beta * desired) / torch.exp(-beta * everything),
    "simple": lambda desired, wrong, margin: positive(desired) + positive(margin - wrong),
    "square_square_pair": lambda desired, wrong, margin: (
        positive(desired) ** 2 + positive(margin - wrong) ** 2
    ),
    "exponential": lambda desired, wrong, margin: torch.exp(margin + desired - wrong),
    "additive_margin": lambda desired, wrong_answers, margin, pair: FORMULAS[pair](
        desired[..., None], wrong_answers, margin
    ).sum(-1),
    "info_nce": _info_nce,
    "nce": _nce,
    "expected_risk": _expected_risk,
    "bayes_risk": lambda expected_cost: expected_cost,
}
