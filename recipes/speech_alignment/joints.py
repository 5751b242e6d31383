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
"""Frames in the middle of each pause that say what its noise is like."""

LEAST_DEVIATION = 0.05
"""Of the logarithm of a band's energy."""

STRANGE, STRANGEST = 2.5, 40.0
"""Mean squared deviations, in units of those of the noise: from where on a frame is not taken for noise, and
the most that any counts."""

ABRUPT = 4.0
"""How much stranger the frames before an abrupt begin of a pause are than those after it."""

FEWEST, MOST_OF_THEM = 4, 0.75
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
    middles = [(begin + end) / 2 for begin, end in pairwise(times)]
    strange = _strangeness(samples, rate, [middles[unit] for unit in chosen])
    moved, contrasts = dict[int, float](), list[float]()
    for unit in chosen:
        first = int(middles[unit - 1]) + 1 if unit else 0
        last = int(middles[unit + 1]) if unit + 1 < len(pauses) else len(strange)
        begin, end = _least_strange(strange, first, last)
        if end - begin >= CORE:
            moved |= {unit: float(begin), unit + 1: float(end)}
            if begin > CORE:
                before, after = strange[begin - CORE : begin], strange[begin : begin + CORE]
                contrasts.append(float(before.mean() / max(after.mean(), 1.0)))
    joined = len(contrasts) >= FEWEST and np.mean(np.array(contrasts) >= ABRUPT) >= MOST_OF_THEM
    inner = range(1, len(pauses))
    return [
        moved[place] if joined and place in inner and place in moved else time
        for place, time in enumerate(times)
    ]


def _strangeness(samples: Samples, rate: int, middles: Sequence[float]) -> NDArray[np.float32]:
    """How far each frame's spectrum is from that around the middles of pauses: the mean over bands of squared
    deviations from their median, in units of their own, [T]."""
    spectra = features.spectra(torch.from_numpy(samples), rate, WINDOW)
    bands = (
        (spectra @ features.mel_bands(rate, spectra.shape[1], BANDS) + features.LEAST_ENERGY).log().numpy()
    )
    core = bands[
        np.unique([int(middle) + step for middle in middles for step in range(-CORE // 2, CORE // 2)])
    ]
    centre = np.median(core, 0)
    spread = 1.4826 * np.median(np.abs(core - centre), 0) + LEAST_DEVIATION
    strange: NDArray[np.float32] = np.square((bands - centre) / spread).mean(1).clip(max=STRANGEST)
    return strange


def _least_strange(strange: NDArray[np.float32], first: int, last: int) -> tuple[int, int]:
    """The stretch within these frames that falls short of STRANGE by most."""
    sums = np.concatenate([[0.0], np.cumsum(STRANGE - strange[first:last])])
    end = int((sums - np.minimum.accumulate(sums)).argmax())
    return first + int(sums[: end + 1].argmin()), first + end
