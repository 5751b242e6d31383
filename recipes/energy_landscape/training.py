"""Training with a loss by name, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gtn_ebm.losses import EnergyLoss
from recipes.energy_landscape.model import ARCHITECTURES
from recipes.energy_landscape.problem import RADIUS, Problem, energies, free_energy

RATE = 0.002
FLAT = 0.1
"""Of a gap between wrong and right answers: less is none to speak of, where margins are 1."""


class Landscape(NamedTuple):
    """What a training came to. Energies are least ones over the latent variable, whatever the loss summed.

    Attributes:
        loss, architecture: their names.
        surface: E(x, y), [rows of y from −1 to 1, columns of x from −RADIUS to RADIUS].
        gaps: E(best wrong answer) − E(right answer) at each point, after training, [N].
        history: quantiles of the gaps during training, [times, len(QUANTILES)].
        steps: when these were taken, [times].
    """

    loss: str
    architecture: str
    surface: Tensor
    gaps: Tensor
    history: Tensor
    steps: list[int]

    @property
    def right(self) -> float:
        """The share of points whose right answer is better than any wrong one."""
        return (self.gaps > 0).float().mean().item()

    @property
    def collapsed(self) -> bool:
        """Whether right and wrong answers have nearly the same energy at most points."""
        return abs(self.gaps.median().item()) < FLAT


QUANTILES = (0.05, 0.5, 0.95)


def train(
    problem: Problem,
    loss: str,
    architecture: str,
    steps: int,
    seed: int,
    progress: Callable[[], object] = lambda: None,
) -> Landscape:
    """Trains by gradient descent on all points at once; ``progress`` is called after each step."""
    torch.manual_seed(seed)
    network = ARCHITECTURES[architecture]()
    of_energies = EnergyLoss(loss)
    beta = of_energies.loss.beta
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    history, times = [], []
    for step in range(steps):
        of_paths = network(problem.x, problem.answers)
        found = energies(problem, of_paths, beta)
        if step % max(1, steps // 50) == 0:
            history.append(_gaps(problem, of_paths.detach()).quantile(torch.tensor(QUANTILES)))
            times.append(step)
        optimiser.zero_grad()
        of_energies(**{name: found[name] for name in of_energies.needs}).mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        progress()
    with torch.no_grad():
        gaps = _gaps(problem, network(problem.x, problem.answers))
        history.append(gaps.quantile(torch.tensor(QUANTILES)))
        surface = _surface(network)
    return Landscape(loss, architecture, surface, gaps, torch.stack(history), [*times, steps])


def _gaps(problem: Problem, of_paths: Tensor) -> Tensor:
    least = energies(problem, of_paths, math.inf)
    return least["wrong"] - least["desired"]


def _surface(network: nn.Module, size: int = 161) -> Tensor:
    places = torch.linspace(-1.0, 1.0, size)
    return free_energy(network(RADIUS * places, places), math.inf).T
