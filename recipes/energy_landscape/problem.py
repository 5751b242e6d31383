"""A circle in the plane: given x, which y? Two are right, and a latent variable tells them apart."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

RADIUS = 0.75
SURELY_WRONG = 0.15
"""How far from the circle an answer must be to count as wrong (as in LeCun et al. 2006, definition 2)."""


class Problem(NamedTuple):
    """N points of the circle and, at each, J answers that one might give.

    Attributes:
        x, y: of the points, [N].
        answers: the values of y that may be answered, [J]: a grid from −1 to 1 that holds every y.
        desired: which of them is right at each point, [N].
        costs: how far each would be from the circle at each point, [N, J].
        wrong: whether each is wrong at each point, [N, J]: at least ``SURELY_WRONG`` off.
    """

    x: Tensor
    y: Tensor
    answers: Tensor
    desired: Tensor
    costs: Tensor
    wrong: Tensor


def circle(columns: int = 48, grid: int = 49) -> Problem:
    """The upper and the lower point of the circle at each of ``columns`` places x."""
    x = np.tile(RADIUS * np.cos(np.pi * (np.arange(columns) + 0.5) / columns), 2)
    exact = np.sqrt(RADIUS**2 - x**2) * np.repeat([1.0, -1.0], columns)
    answers = np.linspace(-1.0, 1.0, grid)
    desired = np.abs(answers - exact[:, None]).argmin(1)
    costs = np.abs(np.hypot(x[:, None], answers) - RADIUS)
    return Problem(
        torch.from_numpy(x).float(),
        torch.from_numpy(answers[desired]).float(),
        torch.from_numpy(answers).float(),
        torch.from_numpy(desired),
        torch.from_numpy(costs).float(),
        torch.from_numpy(costs >= SURELY_WRONG),
    )


def energies(problem: Problem, of_paths: Tensor, beta: float) -> dict[str, Tensor]:
    """Whatever a loss may need (``gtn_ebm.losses.ENERGIES``), by name.

    Args:
        of_paths: E(x, ŷ, z) of every point, answer and value of the latent variable, [N, J, Z].
        beta: inverse temperature of the sums over z and over answers; ∞ for the least.
    """
    of_answers = free_energy(of_paths, beta)
    wrong = of_answers.masked_fill(~problem.wrong, torch.inf)
    found = {
        "desired": of_answers.gather(1, problem.desired[:, None])[:, 0],
        "everything": free_energy(of_answers, beta),
        "wrong": free_energy(wrong, beta),
        "wrong_answers": wrong,
        "answers": of_answers,
        "costs": problem.costs,
    }
    if math.isfinite(beta):
        found["expected_cost"] = (torch.softmax(-beta * of_answers, 1) * problem.costs).sum(1)
    return found


def free_energy(energies: Tensor, beta: float) -> Tensor:
    """F_β over the last dimension."""
    return energies.amin(-1) if math.isinf(beta) else -torch.logsumexp(-beta * energies, -1) / beta
