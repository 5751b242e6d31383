"""Sums over the ways to cut a sequence into labelled segments whose transitions are the same at every cut.

One sequence of L frames: ``segment[t, k − 1, c]`` is the weight exp(−βE) of a segment of k frames, labelled
c, that begins at frame t; ``transition[c, d]`` that of a cut from c to d. Frames of sums are carried with one
power of two for all labels, so that the step over a cut is a product with the matrix of transitions, which a
compiler turns into vector instructions. That is exact while what is added up lies within 2^±LIMIT of each
other; where it does not, the kernel says so and computes nothing.
"""

import math

import numpy as np
from numba import njit

LIMIT = 300
"""Of the powers of two of weights, of a frame's sums beside its largest, and of neighbouring frames: a
product of three of them is a normal float64."""

LOW, HIGH = 2.0**-LIMIT, 2.0**LIMIT
NONE = -(1 << 40)
"""The power of two of a frame of zeros."""


@njit(inline="always")
def _normalised(frame, power):
    """Divides the frame by the power of two of its largest sum: its new power, and whether it is in range,
    which NaN is not."""
    largest = 0.0
    least = np.inf
    unusable = 0
    for value in frame:
        largest = value if value > largest else largest
        least = value if 0.0 < value < least else least
        unusable += not value >= 0.0
    if largest == 0.0 or unusable:
        return NONE, unusable == 0
    shift = math.frexp(largest)[1]
    factor = math.ldexp(1.0, -shift)
    for c in range(len(frame)):
        frame[c] *= factor
    return power + shift, least * factor >= LOW


@njit(inline="always")
def _largest(powers, begin, end):
    largest = np.int64(NONE)
    for t in range(begin, end):
        largest = max(largest, powers[t])
    return largest


@njit(inline="always")
def _add_segment(sums, frame, weight, shift):
    """Adds 2^shift · frame · weight to the sums of a frame."""
    factor = math.ldexp(1.0, shift)
    for c in range(len(sums)):
        sums[c] += factor * frame[c] * weight[c]


@njit(inline="always")
def _times(frame, matrix, product):
    """``frame @ matrix`` into ``product``."""
    product[:] = 0.0
    for c in range(len(frame)):
        value = frame[c]
        row = matrix[c]
        for d in range(len(product)):
            product[d] += value * row[d]


@njit(nogil=True, cache=True)
def forward(segment, transition, initial, final, begun, begun_power, ended, ended_power):
    """Sums over what may come before a segment of each label that begins at a frame, into ``begun`` [T, C],
    and over all up to one that ends before a frame, into ``ended`` [T + 1, C], with their powers of two.

    Returns the sum over all and its power, and whether all was in range; a weight that is NaN is not, unless
    nothing can come before it.
    """
    frames, longest, _ = segment.shape
    begun[0] = initial
    begun_power[0], fits = _normalised(begun[0], 0)
    for t in range(1, frames + 1):
        first = max(0, t - longest)
        power = _largest(begun_power, first, t)
        ended[t] = 0.0
        for u in range(first, t):
            if begun_power[u] != NONE:
                fits = fits and begun_power[u] - power >= -LIMIT
                _add_segment(ended[t], begun[u], segment[u, t - u - 1], max(begun_power[u] - power, -LIMIT))
        ended_power[t], small = _normalised(ended[t], power)
        fits = fits and small
        if not fits:
            return 0.0, NONE, False
        if t < frames:
            _times(ended[t], transition, begun[t])
            begun_power[t], fits = _normalised(begun[t], ended_power[t])
    total = 0.0
    for c in range(len(final)):
        total += ended[frames, c] * final[c]
    total, shift = math.frexp(total)
    return total, ended_power[frames] + shift, fits


@njit(inline="always")
def _share(power, total):
    """2^power / total; 0 where it is so large that what it is multiplied with can only be 0."""
    return math.ldexp(1.0, power) / total if power <= 3 * LIMIT + 64 else 0.0


@njit(nogil=True, cache=True)
def backward(
    segment, transition, final, begun, begun_power, ended, ended_power, total, total_power,
    of_segment, of_transition, of_initial, of_final,
):  # fmt: skip
    """The probability of each segment, how often each transition is expected, the probabilities of the first
    and of the last label; returns whether all was in range."""
    frames, longest, labels = segment.shape
    across = np.ascontiguousarray(transition.T)
    after = np.empty((frames + 1, labels))  # over all that may follow a segment that ends before a frame
    after_power = np.empty(frames + 1, np.int64)
    onwards = np.empty(labels)  # over all from a segment's beginning on
    of_transition[:] = 0.0
    after[frames] = final
    after_power[frames], fits = _normalised(after[frames], 0)
    share = _share(ended_power[frames] - total_power, total)
    for c in range(labels):
        of_final[c] = ended[frames, c] * final[c] * share
    for t in range(frames - 1, -1, -1):
        last = min(t + longest, frames)
        power = _largest(after_power, t + 1, last + 1)
        onwards[:] = 0.0
        for u in range(t + 1, last + 1):
            weight = segment[t, u - t - 1]
            if begun_power[t] == NONE or after_power[u] == NONE:
                of_segment[t, u - t - 1] = 0.0
            else:
                share = _share(begun_power[t] + after_power[u] - total_power, total)
                for c in range(labels):
                    of_segment[t, u - t - 1, c] = min(begun[t, c] * weight[c] * after[u, c] * share, 1.0)
            if after_power[u] != NONE:
                fits = fits and after_power[u] - power >= -LIMIT
                _add_segment(onwards, after[u], weight, max(after_power[u] - power, -LIMIT))
        power, small = _normalised(onwards, power)
        fits = fits and small
        if t == 0 or not fits:
            break
        if power != NONE and ended_power[t] != NONE:
            share = _share(ended_power[t] + power - total_power, total)
            for c in range(labels):
                before = ended[t, c] * share
                for d in range(labels):
                    of_transition[c, d] += before * onwards[d]
        _times(onwards, across, after[t])
        after_power[t], small = _normalised(after[t], power)
        fits = fits and small
    of_transition *= transition
    for u in range(min(longest, frames)):
        of_initial += of_segment[0, u]
    return fits
