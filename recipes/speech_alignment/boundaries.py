"""When what was spoken began and ended: the boundaries of a row of units, expected over all ways to divide
its frames among them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.dense import Span, free_energy
from recipes.speech_alignment.acoustic_model import STATES, AcousticModel

SOFTNESS = 0.3
"""Of energies once it is known what was spoken: expected boundaries gain by it."""

TOGETHER, AROUND = 20, 6
"""Units whose boundaries are worked out at a time, and how many more are looked at on either side."""


def boundaries(
    model: AcousticModel, emissions: Tensor, change: Tensor, spans: Sequence[Span], units: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each unit of a row but the first begins, in frames, [N − 1], and how probable each is on its
    span, [N].

    A boundary is at Σₜ t · p(t) · c(t) / Σₜ p(t) · c(t), where p(t) is the probability that the unit begins
    with frame t, and c(t) how much the sound changes there: the models know which change it is about, and
    people, too, set a boundary where they see one. That is nearer to theirs on average than where the best
    path changes, and finer than frames. Each unit keeps a frame at least.

    A few units are worked on at a time, with AROUND more on either side, for what is further off tells
    nothing of their boundaries, and would take time that grows with the square of what is spoken.

    Args:
        emissions: energies of classes, [T, C].
        change: see ``features.change``, above 0, [T].
        spans: of the units along the best path.
        units: numbers of the model's.
    """
    begins, probable = [np.empty(0)], [np.empty(0)]
    for first in range(0, len(units), TOGETHER):
        part = slice(max(0, first - AROUND), first + TOGETHER + AROUND)
        frames = slice(spans[part][0].start, spans[part][-1].end)
        occupied = _occupied(model, emissions[frames], units[part])
        own = slice(first - part.start, first - part.start + TOGETHER)
        begins.append(frames.start + _expected(occupied, change[frames])[own])
        probable += [
            occupied[span.start - frames.start : span.end - frames.start, place].mean(0, keepdim=True).numpy()
            for place, span in list(enumerate(spans[part]))[own]
        ]
    return _apart(np.concatenate(begins)[1:], len(emissions)), np.concatenate(probable)


def _occupied(model: AcousticModel, emissions: Tensor, units: Sequence[int]) -> Tensor:
    """The probability of each unit of a row at each frame, [T, N]: a derivative of the free energy."""
    classes, row = model.row(units)
    with torch.enable_grad():
        softened = (SOFTNESS * emissions[:, classes]).requires_grad_()
        (found,) = torch.autograd.grad(free_energy(softened[None], None, row).sum(), softened)
    return found.unflatten(1, (-1, STATES)).sum(2)


def _expected(occupied: Tensor, change: Tensor) -> NDArray[np.float64]:
    """Where each unit begins, in frames, by the probabilities of units [T, N]; 0 for the first, [N]."""
    reached = occupied.double().flip(1).cumsum(1).flip(1)  # that it is this unit's turn, or was
    begins = reached.diff(dim=0, prepend=torch.zeros(1, occupied.shape[1])).clamp(min=0)
    weights = begins * change.double()[:, None]
    times = torch.arange(len(occupied), dtype=weights.dtype)
    found: NDArray[np.float64] = (times @ weights / weights.sum(0)).numpy()
    return found


def _apart(times: NDArray[np.float64], frames: int) -> NDArray[np.float64]:
    """Boundaries moved as far as it takes for a frame to be between any two, and at either end."""
    steps = np.arange(1, len(times) + 1)
    later = np.maximum.accumulate(np.maximum(times - steps, 0.0)) + steps
    return np.minimum(later, frames - steps[::-1])
