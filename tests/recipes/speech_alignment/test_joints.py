"""Pauses of joined recordings, in sound made up of hums that fade."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from recipes.speech_alignment.joints import at_joints

RATE = 8000
FRAME = RATE // 200


def _hum(frames: int, fade: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Of so many frames, of which it fades so many at its end, with a noise of its own."""
    time = np.arange(frames * FRAME)
    loud = np.minimum(1.0, 10.0 ** (-np.clip(time - (frames - fade) * FRAME, 0, None) / (8 * FRAME)))
    return 0.1 * loud * np.sin(time) + random.normal(0, 5e-4, len(time))


def _joined(
    lengths: list[int], fade: int, noise: float, random: np.random.Generator
) -> tuple[NDArray[np.float32], list[float], list[bool]]:
    """Pauses and hums by turns: samples, true times in frames, and which are pauses."""
    pauses = [place % 2 == 0 for place in range(len(lengths))]
    parts = [
        random.normal(0, noise, length * FRAME) if pause else _hum(length, fade, random)
        for length, pause in zip(lengths, pauses, strict=True)
    ]
    return np.concatenate(parts).astype(np.float32), [0.0, *np.cumsum(lengths).astype(float)], pauses


@pytest.mark.parametrize("noise", [0.0, 1e-4, 2e-3])
@pytest.mark.parametrize("seed", range(3))
def test_pauses_reach_from_one_part_to_the_next(noise: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    samples, truth, pauses = _joined([30, 40, 12, 50, 25, 40, 30, 45, 20, 60, 30], 20, noise, random)
    # A model takes the faint end of each hum for pause, and begins others early.
    off = [time - 15 if pause else time - 4 for time, pause in zip(truth[1:-1], pauses[1:], strict=True)]
    found = at_joints([0.0, *off, truth[-1]], pauses, samples, RATE)
    assert (found[0], found[-1]) == (0.0, truth[-1])
    assert np.abs(np.subtract(found, truth)).max() <= 1.0


def test_nothing_is_moved_where_sounds_fade_into_the_noise_of_the_recording() -> None:
    random = np.random.default_rng(0)
    samples, truth, pauses = _joined([30, 40, 12, 50, 25, 40, 30, 45, 20, 60, 30], 40, 0.0, random)
    samples += random.normal(0, 2e-3, len(samples)).astype(np.float32)
    off = [0.0, *(time - 5 if pause else time for time, pause in zip(truth[1:-1], pauses[1:], strict=True))]
    off.append(truth[-1])
    assert at_joints(off, pauses, samples, RATE) == off


def test_units_keep_their_order() -> None:
    random = np.random.default_rng(1)
    lengths = [10, 3, 9, 2, 12, 1, 9, 4, 10, 3, 11]
    samples, truth, pauses = _joined(lengths, 0, 1e-3, random)
    for _ in range(20):
        off = np.clip(np.add(truth[1:-1], random.uniform(-3, 3, len(truth) - 2)), 1, truth[-1] - 1)
        times = [0.0, *np.sort(off + 0.01 * np.arange(len(off))), truth[-1]]
        found = at_joints(times, pauses, samples, RATE)
        assert all(one < other for one, other in pairwise(found))


def test_few_pauses_say_nothing_of_joints() -> None:
    random = np.random.default_rng(2)
    samples, truth, pauses = _joined([30, 40, 30, 40, 30], 0, 1e-3, random)
    off = [0.0, *(time + 3 for time in truth[1:-1]), truth[-1]]
    assert at_joints(off, pauses, samples, RATE) == off
