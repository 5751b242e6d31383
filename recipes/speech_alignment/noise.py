"""Noise that recordings are made noisy with, to learn from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recipes.speech_alignment.audio import Samples

TALKERS = 6
"""Of ``murmur``."""


def white(length: int, chance: np.random.Generator) -> Samples:
    """Alike at all frequencies, [N]."""
    return chance.normal(size=length).astype(np.float32)


def murmur(samples: Samples, chance: np.random.Generator) -> Samples:
    """Some voices at once, all the recording's own: backwards, each from another place on, [N]."""
    voices = [np.roll(samples[::-1], int(shift)) for shift in chance.integers(0, len(samples), TALKERS)]
    total: Samples = np.sum(voices, 0, dtype=np.float32)
    return total


def noisy(samples: Samples, noise: Samples, decibels: float) -> Samples:
    """The samples, with noise whose power is so far below theirs on average, [N]."""
    powers: NDArray[np.float32] = np.array([np.mean(samples**2), np.mean(noise**2) + 1e-20])
    louder = np.sqrt(powers[0] / powers[1]) * 10 ** (-decibels / 20)
    result: Samples = (samples + louder * noise).astype(np.float32)
    return result
