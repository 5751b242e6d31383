"""Recordings that were once copied as if they were text, mended.

Such a copy turns each carriage return into a line feed, and each carriage return before a line feed into
nothing. Where a byte of 16-bit samples is lost, all that follows is read from the wrong byte on, and is noise
until the next loss; and times are off. The corpus sample that comes with NLTK is such a copy.

What was lost stood before a line feed. So the losses are a path through the line feeds, between two states:
samples begin at even bytes, or at odd ones. Its energy is the logarithm of how much the samples bend, far
less when they are read rightly, and a price for each loss.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

RETURN, FEED = 13, 10
ENOUGH = 4096
"""Bytes of sound among which there would be a carriage return."""

LOSS = 20.0
"""Energy of a lost byte: what three or four samples read wrongly cost."""


def is_damaged(data: Bytes) -> bool:
    """Whether carriage returns are missing where there should be some: not where all low bytes are 0, as in
    sound of 8 bits written with 16."""
    return (
        len(data) >= ENOUGH
        and not (data == RETURN).any()
        and bool((data == FEED).any())
        and bool(data[::2].any())
    )


def restored(data: Bytes) -> tuple[Bytes, int]:
    """The bytes of 16-bit samples in one channel as they were, and how many were lost."""
    if not is_damaged(data):
        return data, 0
    lost = _losses(data)
    whole = np.insert(data, lost, np.uint8(RETURN))
    whole = whole[: len(whole) // 2 * 2]
    return _returned(whole), len(lost)


def _losses(data: Bytes) -> list[int]:
    """The places of the line feeds before which a byte is lost."""
    feeds = np.flatnonzero(data == FEED)
    ends = np.concatenate([feeds, [len(data)]])
    costs = [_roughness(data, parity) for parity in (0, 1)]
    stretches = [np.diff(cost[ends], prepend=0.0) for cost in costs]
    # Least energy with samples that begin at even and at odd bytes, and where the state was entered.
    even, odd, entered = 0.0, math.inf, list[tuple[bool, bool]]()
    for place, (of_even, of_odd) in enumerate(zip(*(each.tolist() for each in stretches), strict=True)):
        even, odd = even + of_even, odd + of_odd
        if place < len(feeds):
            entered.append((odd + LOSS < even, even + LOSS < odd))
            even, odd = min(even, odd + LOSS), min(odd, even + LOSS)
    state, lost = int(odd < even), []
    for place in range(len(feeds) - 1, -1, -1):
        if entered[place][state]:
            lost.append(int(feeds[place]))
            state = 1 - state
    return lost[::-1]


def _roughness(data: Bytes, parity: int) -> NDArray[np.float64]:
    """Up to each byte, the sum over samples that begin at even or odd bytes of log(1 + |second difference|),
    [N + 1]."""
    count = (len(data) - parity) // 2
    samples = data[parity : parity + 2 * count].view("<i2").astype(np.float64)
    bends = np.log1p(np.abs(np.diff(samples, 2, prepend=[0.0, 0.0])))
    cost = np.zeros(len(data) + 1)
    cost[parity + 1 : parity + 1 + 2 * count : 2] = bends
    return cost.cumsum()


def _returned(data: Bytes) -> Bytes:
    """High bytes that are line feeds made carriage returns again where the samples jump less so."""
    samples = data.view("<i2").astype(np.int64)
    result = data.copy()
    suspects = np.flatnonzero(data[1::2] == FEED)
    for run in np.split(suspects, np.flatnonzero(np.diff(suspects) > 1) + 1):
        if len(run):
            result[2 * run[_raised(samples, run)] + 1] = RETURN
    return result


def _raised(samples: NDArray[np.int64], run: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which samples of a run jump less if they are raised: the best path between two states."""
    raise_by = np.array([0, (RETURN - FEED) * 256])
    before, behind = run[0] - 1, run[-1] + 1
    levels = samples[run][:, None] + raise_by
    cost = np.abs(levels[0] - samples[before]) if before >= 0 else np.zeros(2)
    came = np.zeros((len(run), 2), np.int64)
    for place in range(1, len(run)):
        ways = cost[:, None] + np.abs(levels[place] - levels[place - 1][:, None])
        came[place] = ways.argmin(0)
        cost = ways.min(0)
    if behind < len(samples):
        cost = cost + np.abs(levels[-1] - samples[behind])
    state = int(cost.argmin())
    raised = np.zeros(len(run), np.bool_)
    for place in range(len(run) - 1, -1, -1):
        raised[place] = state == 1
        state = int(came[place, state])
    return raised
