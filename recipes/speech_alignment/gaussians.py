"""Mixtures of Gaussians for the states of phones: likelihoods, and how they are learnt.

A likelihood has no notion of "no label": each state has to explain all frames it is given, beginnings and
ends of sounds included. So what these models learn from transcripts alone has no peaks, and they say where
things are before anything discriminative does.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

LEAST_WEIGHT = 1e-3
LEAST_FRAMES = 40.0
"""A component with fewer is not split."""

PULL = 20.0
"""Frames of the mean variance of all states that every component's variance is averaged with."""

FLOOR = 0.05
"""The least variance, as a share of that of all frames."""


class Statistics(NamedTuple):
    """What the frames given to each component add up to: counts [C, K], sums and squares [C, K, D]."""

    counts: Tensor
    sums: Tensor
    squares: Tensor

    def __add__(self, other: object) -> Statistics:
        assert isinstance(other, Statistics)
        return Statistics(*(a + b for a, b in zip(self, other, strict=True)))


class Gaussians(nn.Module):
    """A mixture of K Gaussians with diagonal covariance for each of C classes of frames with D features."""

    means: Tensor
    variances: Tensor
    log_weights: Tensor

    def __init__(self, classes: int, features: int, components: int = 1):
        super().__init__()
        self.register_buffer("means", torch.zeros(classes, components, features))
        self.register_buffer("variances", torch.ones(classes, components, features))
        self.register_buffer("log_weights", torch.full((classes, components), -math.log(components)))

    def joint(self, frames: Tensor) -> Tensor:
        """log p(component, frame | class), [T, C, K], of frames [T, D]."""
        precisions = 1 / self.variances.flatten(0, 1)
        means = self.means.flatten(0, 1)
        constants = (precisions.log() - means.square() * precisions - math.log(2 * math.pi)).sum(1) / 2
        quadratic = frames @ (means * precisions).T - frames.square() @ (precisions.T / 2)
        return (quadratic + constants).unflatten(1, self.log_weights.shape) + self.log_weights

    def forward(self, frames: Tensor) -> Tensor:
        """−log p(frame | class), [T, C], of frames [T, D]."""
        return -self.joint(frames).logsumexp(2)

    def statistics(self, frames: Tensor, posteriors: Tensor, noisy: Tensor | None = None) -> Statistics:
        """Of frames [T, D] that belong to classes with probabilities [T, C]; or of the same frames in noise
        [T, D], if given, each in the component to which it belongs without."""
        shares = (self.joint(frames).softmax(2) * posteriors[:, :, None]).flatten(1).T
        frames = frames if noisy is None else noisy
        counts = self.log_weights.shape
        return Statistics(
            shares.sum(1).unflatten(0, counts),
            (shares @ frames).unflatten(0, counts),
            (shares @ frames.square()).unflatten(0, counts),
        )

    def maximise(self, found: Statistics, of_all: Tensor) -> None:
        """The parameters under which the frames are likeliest; ``of_all`` is the variance of all frames, [D].

        Variances are averaged with those within all components, which are known better than any one.
        """
        counts = found.counts[:, :, None]
        seen = counts > 1
        means = torch.where(seen, found.sums / counts.clamp(min=1), self.means)
        within = (found.squares - counts * means.square()).clamp(min=0)
        shared = torch.where(seen, within, 0).sum((0, 1)) / torch.where(seen, counts, 0).sum().clamp(min=1)
        variances = (within + PULL * shared) / (counts + PULL)
        self.means.copy_(means)
        self.variances.copy_(torch.where(seen, variances, self.variances).clamp(min=FLOOR * of_all))
        shares = (found.counts + 1e-3) / (found.counts + 1e-3).sum(1, keepdim=True)
        self.log_weights.copy_(shares.clamp(min=LEAST_WEIGHT).log())

    def split(self, counts: Tensor) -> None:
        """Twice the components: each that has frames enough becomes two, a little apart."""
        enough = (counts > LEAST_FRAMES)[:, :, None]
        apart = torch.where(enough, 0.2 * self.variances.sqrt(), 0.0)
        self.means = torch.cat([self.means - apart, self.means + apart], 1)
        self.variances = self.variances.repeat(1, 2, 1)
        # What is not split keeps its weight in one of the two.
        half = math.log(0.5)
        first = torch.where(enough[:, :, 0], self.log_weights + half, self.log_weights)
        second = torch.where(enough[:, :, 0], self.log_weights + half, -30.0)
        self.log_weights = torch.cat([first, second], 1)
