"""The transducer's lattice: T frames by U + 1 places in the target, with logits of C classes in each cell.

From cell (t, u) the blank leads to (t + 1, u) and the label that comes next to (t, u + 1); the blank of the
last cell ends a path. Only these two of a cell's C log probabilities are kept, and the sum that normalises
it; the gradient is written in one pass from these and the logits.
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

LOG2_E = np.float32(1.4426950408889634)
LN_2 = np.float32(0.6931471805599453)
# exp(x) = Σ xⁿ/n!; |x| ≤ ln2/2 leaves 1e-8 after the sixth power.
ONE, C2, C3, C4, C5, C6 = (np.float32(1 / n) for n in (1, 2, 6, 24, 120, 720))
LEAST_POWER = np.float32(-126.0)
ZERO = np.float32(0.0)


def _exp(x):
    """exp(x) for x ≤ 0; for float32 in a form that is compiled to vector instructions."""
    raise NotImplementedError


@overload(_exp, inline="always")
def _exp_of_type(x):
    if x != types.float32:
        return lambda x: math.exp(x)

    def exp(x):
        power = x * LOG2_E
        k = np.rint(max(power, LEAST_POWER))
        t = (power - k) * LN_2
        p = ONE + t * (ONE + t * (C2 + t * (C3 + t * (C4 + t * (C5 + t * C6)))))
        p *= np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)
        return ZERO if power < LEAST_POWER else p

    return exp


@njit(nogil=True, cache=True)
def _largest(values):
    # Four chains of comparisons at a time, because each waits for the one before.
    a = b = c = d = values[0]
    whole = len(values) // 4 * 4
    for i in range(0, whole, 4):
        a, b = max(a, values[i]), max(b, values[i + 1])
        c, d = max(c, values[i + 2]), max(d, values[i + 3])
    for i in range(whole, len(values)):
        a = max(a, values[i])
    return max(max(a, b), max(c, d))


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _sum_of_exp(values, shift):
    total = values.dtype.type(0.0)
    for i in range(len(values)):
        total += _exp(values[i] - shift)
    return total


@njit(nogil=True, cache=True)
def weights(logits, target, blank, normalise, log_sums, blanks, labels):
    """Of each cell the log of the sum over its classes, 0 unless ``normalise``, and the log probabilities of
    its two arcs, [T, U + 1] each, of logits that may have more of both; whether one is NaN or +inf."""
    frames, places = log_sums.shape
    unusable = False
    for t in range(frames):
        for u in range(places):
            cell = logits[t, u]
            log_sum = 0.0
            if normalise:
                largest = _largest(cell)
                log_sum = np.float64(largest)
                if largest != -np.inf:
                    log_sum += math.log(_sum_of_exp(cell, largest))
            log_sums[t, u] = log_sum
            # A cell of which all classes are impossible has nothing to normalise.
            shift = log_sum if log_sum != -np.inf else 0.0
            blanks[t, u] = cell[blank] - shift
            labels[t, u] = cell[target[u]] - shift if u < places - 1 else -np.inf
            unusable |= not (log_sum < np.inf and blanks[t, u] < np.inf and labels[t, u] < np.inf)
    return unusable


@njit(inline="always")
def _log_add(x, y):
    larger, smaller = max(x, y), min(x, y)
    return larger if smaller == -np.inf else larger + math.log1p(math.exp(smaller - larger))


@njit(nogil=True, cache=True)
def forward(blanks, labels, alpha):
    """α(t, u), the log probability of all ways to the cell, into ``alpha`` [T, U + 1]; returns log Z."""
    frames, places = blanks.shape
    for t in range(frames):
        for u in range(places):
            value = 0.0 if t == u == 0 else -np.inf
            if t > 0:
                value = alpha[t - 1, u] + blanks[t - 1, u]
            if u > 0:
                value = _log_add(value, alpha[t, u - 1] + labels[t, u - 1])
            alpha[t, u] = value
    return alpha[-1, -1] + blanks[-1, -1]


@njit(nogil=True, cache=True)
def backward(blanks, labels, alpha, total):
    """Turns the log probabilities in ``blanks`` and ``labels`` into the posteriors of their arcs."""
    frames, places = blanks.shape
    after = np.full(places, -np.inf)  # log probability from (t + 1, u) on
    after[-1] = 0.0
    for t in range(frames - 1, -1, -1):
        for u in range(places - 1, -1, -1):
            by_blank = blanks[t, u] + after[u]
            by_label = labels[t, u] + after[u + 1] if u < places - 1 else -np.inf
            after[u] = _log_add(by_blank, by_label)
            before = alpha[t, u] - total
            blanks[t, u] = min(math.exp(before + by_blank), 1.0)
            labels[t, u] = min(math.exp(before + by_label), 1.0)


@njit(nogil=True, cache=True, fastmath={"contract"})
def _fill(values, shift, factor, result):
    for i in range(len(values)):
        result[i] = _exp(values[i] - shift) * factor


@njit(nogil=True, cache=True, fastmath={"contract"})
def _clamp(values, bound):
    for i in range(len(values)):
        values[i] = min(max(values[i], -bound), bound)


@njit(nogil=True, cache=True)
def gradient(logits, target, blank, normalise, log_sums, blanks, labels, clamp, scale, result):
    """Of −log Z in the logits, times ``scale``, from the posteriors of the arcs, into zeros of their shape.

    An entry is p(class) · posterior(cell), less the posterior of the class's own arc. Cells that no alignment
    comes by are left alone.
    """
    of_type = logits.dtype.type
    frames, places = log_sums.shape
    for t in range(frames):
        for u in range(places):
            posterior = blanks[t, u] + labels[t, u]
            if posterior == 0.0:
                continue
            cell = result[t, u]
            if normalise:
                # What is lost in rounding the shift to the logits' type goes into the factor.
                shift = of_type(log_sums[t, u])
                factor = math.exp(shift - log_sums[t, u]) * posterior * scale
                _fill(logits[t, u], shift, of_type(factor), cell)
            cell[blank] -= blanks[t, u] * scale
            if u < places - 1:
                cell[target[u]] -= labels[t, u] * scale
            if clamp < np.inf:
                _clamp(cell, of_type(clamp * abs(scale)))
