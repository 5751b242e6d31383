"""Sums over the paths of a chain through frames: states in a row, each entered from itself and the two before.

What ``kernels/dense.py`` does for any graph, state beside state: the loops over states have no branches, so
that they run on vector units. A sum is value · 2^(256 · digit), both float64, as in ``kernels/lattice.py``;
values are within 2^±128 once normalised and the weights of arcs within 2^±48, so that a term of two digits
less is at most 2^−160 of what it is added to, and left out. Zero has the digit NOTHING.

A row of states is [2, MARGIN + S + MARGIN], values and digits. At frame t only the states from ``low[t]`` to
``high[t]`` are worked out, those on a way from start to end; a row holds zeros just outside.
"""

import numpy as np
from numba import njit

DIGIT = 256
UP, DOWN = 2.0**DIGIT, 2.0**-DIGIT
LOW, HIGH = 2.0 ** (-DIGIT // 2), 2.0 ** (DIGIT // 2)
NOTHING = -1e15
MARGIN = 2
LARGEST_EXPONENT = 48.0
"""Of the weights of arcs, in powers of two."""


@njit(nogil=True, cache=True)
def alignments(labels, blank, classes):
    """The chain of a target's alignments by the rules of CTC, as ``forward`` takes it.

    Its states are blank, the first label, blank, …, the last label, blank; equal labels are kept apart by a
    blank. Returns (the classes that occur, column, weights, initial, final); no classes at all where a label
    is none of ``classes``.
    """
    states = 2 * len(labels) + 1
    place = np.full(classes, -1, np.int32)
    used = np.empty(min(len(labels) + 1, classes), np.int32)
    column = np.zeros(states, np.int32)
    weights = np.zeros((3, states + MARGIN), np.float64)
    initial = np.zeros((2, states + 2 * MARGIN), np.float64)
    initial[1] = NOTHING
    final = initial.copy()
    initial[:, MARGIN] = 1.0, 0.0
    final[:, max(MARGIN, MARGIN + states - 2) : MARGIN + states] = np.array([[1.0], [0.0]])
    weights[0, :states] = 1.0
    weights[1, 1:states] = 1.0
    used[0], place[blank] = blank, 0
    found = 1
    for k in range(len(labels)):
        label = labels[k]
        if not 0 <= label < classes:
            return used[:0], column, weights, initial, final
        if place[label] < 0:
            place[label] = found
            used[found] = label
            found += 1
        column[2 * k + 1] = place[label]
        weights[2, 2 * k + 1] = k > 0 and label != labels[k - 1]
    return used[:found], column, weights, initial, final


@njit(nogil=True, cache=True)
def bands(skip, initial, final, frames):
    """Between which states every way from start to end is after t frames, (low, high), [T + 1] each.

    ``skip[s]`` is the weight of the arc into s from s − 2. Where there is no way, some low is above its high.
    """
    states = len(initial)
    low, high = np.empty(frames + 1, np.int64), np.empty(frames + 1, np.int64)
    last, first = np.int64(-1), np.int64(states)
    for state in range(states):
        if initial[state] > 0.0:
            last = state
        if final[state] > 0.0:
            first = min(first, state)
    for t in range(frames + 1):
        high[t] = last
        last += 2 if last + 2 < states and skip[last + 2] > 0.0 else 1
        last = min(last, states - 1)
    for t in range(frames, -1, -1):
        low[t] = first
        if first < states:
            first = max(first - (2 if skip[first] > 0.0 else 1), 0)
    return low, high


@njit(inline="always")
def _factor(distance):
    """2^(256 · distance) for 0 and −1, and 0 for less, which is too little to count."""
    return 1.0 if distance == 0.0 else (DOWN if distance == -1.0 else 0.0)


@njit(inline="always")
def _normalised(value, digit):
    """The same number, its value brought within 2^±128 by one digit."""
    change = 1.0 if value >= HIGH else (-1.0 if value < LOW else 0.0)
    value *= DOWN if value >= HIGH else (UP if value < LOW else 1.0)
    return value, (digit + change if value > 0.0 else NOTHING)


@njit(inline="always")
def _sum(value, digit, weight, value_1, digit_1, weight_1, value_2, digit_2, weight_2):
    """The weighted sum of three numbers, which takes the largest digit of those that count."""
    digit = digit if weight > 0.0 else NOTHING
    digit_1 = digit_1 if weight_1 > 0.0 else NOTHING
    digit_2 = digit_2 if weight_2 > 0.0 else NOTHING
    largest = max(max(digit, digit_1), digit_2)
    total = value * weight * _factor(digit - largest)
    total += value_1 * weight_1 * _factor(digit_1 - largest)
    total += value_2 * weight_2 * _factor(digit_2 - largest)
    return total, largest


@njit(nogil=True, cache=True)
def _clear(row, low, high):
    """Zeros just below and above the states looked at."""
    for k in range(MARGIN):
        for state in (low - MARGIN + k, high + 1 + k):
            row[0, MARGIN + state] = 0.0
            row[1, MARGIN + state] = NOTHING


@njit(nogil=True, cache=True)
def _spread(emission, column, row):
    """The weights that a frame gives to classes, for each state."""
    value, digit = emission[0], emission[1]
    for state in range(len(column)):
        row[0, state] = value[column[state]]
        row[1, state] = digit[column[state]]


@njit(nogil=True, cache=True)
def _step(value, digit, weight, weight_1, weight_2, emission, emission_digit, result, result_digit):
    """α_t from α_{t−1}, which begins two states lower; all others begin with the first state looked at."""
    for k in range(len(result)):
        total, largest = _sum(
            value[k + 2], digit[k + 2], weight[k],
            value[k + 1], digit[k + 1], weight_1[k],
            value[k], digit[k], weight_2[k],
        )  # fmt: skip
        result[k], result_digit[k] = _normalised(total * emission[k], largest + emission_digit[k])


@njit(nogil=True, cache=True)
def _total(alpha, final, low, high):
    """Σ_s α(s) final(s) over two rows, normalised."""
    total, total_digit = 0.0, NOTHING
    for place in range(MARGIN + low, MARGIN + high + 1):
        total, total_digit = _sum(
            total, total_digit, 1.0, alpha[0, place] * final[0, place], alpha[1, place] + final[1, place], 1.0,
            0.0, NOTHING, 0.0,
        )  # fmt: skip
        total, total_digit = _normalised(total, total_digit)
    return total, total_digit


@njit(nogil=True, cache=True)
def forward(emissions, column, weights, initial, final, low, high, alpha):
    """α_t(s), the sum over all ways into state s that have consumed t frames; returns their total at the end.

    Args:
        emissions: weights of the classes at each frame, [T, 2, D].
        column: the class of each state, [S].
        weights: of the arc into s from s − k, [3, S + MARGIN]; 0 where there is none.
        initial, final: weights of states, as rows.
        low, high: of ``bands``.
        alpha: rows to fill, [T + 1, …]; where there are two only, the last two are kept.
    """
    frames = len(emissions)
    for t in range(frames + 1):
        if low[t] > high[t]:
            return 0.0, NOTHING
    rows = len(alpha)
    emission = np.empty((2, len(column)), np.float64)
    alpha[0] = initial
    for t in range(1, frames + 1):
        a, b = low[t], high[t] + 1
        before, row = alpha[(t - 1) % rows], alpha[t % rows]
        _spread(emissions[t - 1], column[a:b], emission)
        _step(
            before[0, a : b + 2], before[1, a : b + 2], weights[0, a:b], weights[1, a:b], weights[2, a:b],
            emission[0], emission[1], row[0, a + MARGIN : b + MARGIN], row[1, a + MARGIN : b + MARGIN],
        )  # fmt: skip
        _clear(row, a, b - 1)
    return _total(alpha[frames % rows], final, low[frames], high[frames])


@njit(inline="always")
def _posterior(alpha, alpha_digit, beta, beta_digit, inverse, total_digit):
    """α β / Z."""
    distance = alpha_digit + beta_digit - total_digit
    return min(alpha * beta * inverse * (UP if distance == 1.0 else _factor(distance)), 1.0)


@njit(nogil=True, cache=True)
def _enter(alpha, alpha_digit, beta, beta_digit, emission, emission_digit, inverse, total_digit, posterior):
    """The posteriors of states; β is multiplied by the emissions in its place."""
    for k in range(len(posterior)):
        posterior[k] = _posterior(alpha[k], alpha_digit[k], beta[k], beta_digit[k], inverse, total_digit)
        beta[k], beta_digit[k] = _normalised(beta[k] * emission[k], beta_digit[k] + emission_digit[k])


@njit(nogil=True, cache=True)
def _step_back(value, digit, weight, weight_1, weight_2, result, result_digit):
    """β_{t−1} from β_t times the emissions; all begin with the first state looked at."""
    for k in range(len(result)):
        result[k], result_digit[k] = _sum(
            value[k], digit[k], weight[k],
            value[k + 1], digit[k + 1], weight_1[k + 1],
            value[k + 2], digit[k + 2], weight_2[k + 2],
        )  # fmt: skip


@njit(nogil=True, cache=True)
def _add_arcs(alpha, alpha_digit, weight, beta, beta_digit, inverse, total_digit, posterior):
    """Adds the posteriors of the arcs of one kind at one frame."""
    for k in range(len(posterior)):
        posterior[k] += _posterior(
            alpha[k] * weight[k], alpha_digit[k], beta[k], beta_digit[k], inverse, total_digit
        )


@njit(nogil=True, cache=True)
def _by_class(posterior, column, partial, result):
    """The posteriors of states summed by class. Neighbouring states go to sums of their own at first, for
    states two apart often share their class, and each addition would wait for the one before."""
    partial[:] = 0.0
    for k in range(len(posterior)):
        partial[(k >> 1) & 3, column[k]] += posterior[k]
    for d in range(len(result)):
        result[d] = min(partial[0, d] + partial[1, d] + partial[2, d] + partial[3, d], 1.0)


@njit(nogil=True, cache=True)
def backward(
    emissions, column, weights, final, low, high, alpha, total, total_digit, occupancy, arcs
):
    """The posteriors: of classes at each frame into ``occupancy`` [T, D], of arcs into ``arcs`` [3, S].

    Args as of ``forward``, ``alpha`` with all its rows; ``arcs`` may be [0, S], where not wanted.

    Returns:
        Those of initial and of final states, [S] each.
    """
    frames, states = len(emissions), len(column)
    inverse = 1.0 / total
    beta, entering = final.copy(), np.empty_like(final)
    emission = np.empty((2, states), np.float64)
    posterior = np.empty(states, np.float64)
    partial = np.empty((4, occupancy.shape[1]), np.float64)
    at_end = np.zeros(states, np.float64)
    a, b = low[frames], high[frames] + 1
    row = alpha[frames]
    for s in range(a, b):
        p = MARGIN + s
        at_end[s] = _posterior(row[0, p], row[1, p], final[0, p], final[1, p], inverse, total_digit)
    for t in range(frames, 0, -1):
        a, b = low[t], high[t] + 1
        inside = slice(a + MARGIN, b + MARGIN)
        row, before = alpha[t], alpha[t - 1]
        _spread(emissions[t - 1], column[a:b], emission)
        _enter(
            row[0, inside], row[1, inside], beta[0, inside], beta[1, inside], emission[0], emission[1],
            inverse, total_digit, posterior[: b - a],
        )  # fmt: skip
        _by_class(posterior[: b - a], column[a:b], partial, occupancy[t - 1])
        _clear(beta, a, b - 1)
        for k in range(len(arcs)):
            _add_arcs(
                before[0, a + MARGIN - k : b + MARGIN - k], before[1, a + MARGIN - k : b + MARGIN - k],
                weights[k, a:b], beta[0, inside], beta[1, inside], inverse, total_digit, arcs[k, a:b],
            )  # fmt: skip
        a, b = low[t - 1], high[t - 1] + 1
        _step_back(
            beta[0, a + MARGIN : b + 2 * MARGIN], beta[1, a + MARGIN : b + 2 * MARGIN],
            weights[0, a : b + MARGIN], weights[1, a : b + MARGIN], weights[2, a : b + MARGIN],
            entering[0, a + MARGIN : b + MARGIN], entering[1, a + MARGIN : b + MARGIN],
        )  # fmt: skip
        beta, entering = entering, beta
    at_start = np.zeros(states, np.float64)
    for s in range(low[0], high[0] + 1):
        p = MARGIN + s
        at_start[s] = _posterior(alpha[0, 0, p], alpha[0, 1, p], beta[0, p], beta[1, p], inverse, total_digit)
    return at_start, at_end
