"""Recordings that were joined from parts: the pauses between these are of one steady noise, or of nothing at
all, which begins and ends from one frame to the next.

A voice fades into a pause, and a model says by what it learnt where a word is over. At a joint more than the
voice is over: the background of one part. So in a recording where most pauses begin abruptly, they begin and
end with their noise, however quiet the parts are at their own ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.speech_alignment import features
from recipes.speech_alignment.audio import Samples

WINDOW = 0.010
"""Seconds that a frame sees: few, so that an edge is sharp."""

BANDS = 10

CORE = 4
"""Frames in the middle of each pause that say what its noise is like, and around an edge that tell how abrupt
it is."""

LEAST_DEVIATION = 0.05
"""Of the logarithm of a band's energy."""

STRANGE, STRANGEST = 2.5, 40.0
"""Mean squared deviations, in units of those of the noise: from where on a frame is not taken for noise, and
the most that any counts."""

ABRUPT = 5.0
"""How much stranger the frames before an abrupt begin of a pause are than those after it."""

FEWEST, MOST_OF_THEM = 3, 0.75
"""Pauses behind something that a recording must have to be judged, and the share of them that begin abruptly
where it was joined."""


def at_joints(times: Sequence[float], pauses: Sequence[bool], samples: Samples, rate: int) -> list[float]:
    """The boundaries of a row of units, with those of pauses put where their noise begins and ends if the
    recording was joined from parts.

    Args:
        times: of N units' begins, and of the last one's end, in frames, [N + 1].
        pauses: which of the units are pauses, [N].
        samples: of the recording.
        rate: of the samples.

    Returns:
        The times, [N + 1], in order as before; the same ones if it was not joined.
    """
    chosen = [unit for unit, pause in enumerate(pauses) if pause and times[unit + 1] - times[unit] >= CORE]
    if len(chosen) < FEWEST:
        return list(times)
    middles = [0.0, *((begin + end) / 2 for begin, end in pairwise(times)), times[-1]]
    around = [(int(middles[unit]) + (unit > 0), int(middles[unit + 2])) for unit in chosen]
    bands = _bands(samples, rate)
    core = [int(middles[unit + 1]) + step for unit in chosen for step in range(-CORE // 2, CORE // 2)]
    for _ in range(2):  # with the noise of the middles of pauses, and then with that of all that is found
        strange = _strangeness(bands, bands[core])
        found = [_least_strange(strange, first, last) for first, last in around]
        core = [frame for begin, end in found for frame in range(begin, end)] or core
    edges, contrasts = dict[int, float](), list[float]()
    for unit, (begin, end) in zip(chosen, found, strict=True):
        if end - begin < CORE:
            continue
        edges |= {unit: float(begin), unit + 1: float(end)}
        if unit and begin >= CORE:
            before, after = strange[begin - CORE : begin], strange[begin : begin + CORE]
            contrasts.append(float(before.mean() / max(after.mean(), 1.0)))
    if len(contrasts) < FEWEST or np.mean(np.array(contrasts) >= ABRUPT) < MOST_OF_THEM:
        return list(times)
    return [times[0], *(edges.get(place, times[place]) for place in range(1, len(pauses))), times[-1]]


def _bands(samples: Samples, rate: int) -> NDArray[np.float32]:
    """Logarithms of the energies of a few bands, [T, BANDS]."""
    power = features.spectra(torch.from_numpy(samples), rate, WINDOW)
    energies = power @ features.mel_bands(rate, power.shape[1], BANDS)
    return (energies + features.LEAST_ENERGY).log().numpy()


def _strangeness(bands: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far each frame is from those of the noise: the mean over bands of squared deviations from their
    median, in units of their own, [T]."""
    centre = np.median(noise, 0)
    spread = 1.4826 * np.median(np.abs(noise - centre), 0) + LEAST_DEVIATION
    strange: NDArray[np.float32] = np.square((bands - centre) / spread).mean(1).clip(max=STRANGEST)
    return strange


def _least_strange(strange: NDArray[np.float32], first: int, last: int) -> tuple[int, int]:
    """The stretch within these frames that falls short of STRANGE by most."""
    sums = np.concatenate([[0.0], np.cumsum(STRANGE - strange[first:last])])
    end = int((sums - np.minimum.accumulate(sums)).argmax())
    return first + int(sums[: end + 1].argmin()), first + end
