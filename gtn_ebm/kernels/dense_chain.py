"""Sums over the paths of a chain through frames: each state is entered from itself and the two before.

What ``kernels/dense.py`` does for any graph, at a few multiplications a state. A sum is
value · 2^(256 · digit) as there, but the digits of a row of states stay as they are for many frames, an era,
and so arcs need only be weighed once by 2^256 to the difference of two digits. Then a step from frame to
frame has no branch, and runs on vector units. Every value that it gives is looked at: unless all are within
2^±400, or 0 because the frame's weight is 0, the frame is done again state by state, values within 2^±128,
and the digits are chosen anew. What underflows on the way to a value of 2^−400 or more is at most 2^−700 or
so; it loses nothing.

Rows of states have MARGIN cells more on either side. At frame t only the states from ``low[t]`` to
``high[t]`` are worked out, those on a way from start to end; a row holds zeros just outside.

The frames' weights are made and the gradient is written here for any graph.
"""

import numpy as np
from numba import njit

LOG2_E = 1.4426950408889634
LN_2 = 0.6931471805599453
# exp(x) = Σ xⁿ/n!; |x| ≤ ln2/2 leaves less than 1e-17 after the thirteenth power.
C2, C3, C4, C5, C6, C7 = 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040
C8, C9, C10, C11, C12, C13 = 1 / 40320, 1 / 362880, 1 / 3628800, 1 / 39916800, 1 / 479001600, 1 / 6227020800

DIGIT = 256
UP, DOWN = 2.0**DIGIT, 2.0**-DIGIT
LOW, HIGH = 2.0 ** (-DIGIT // 2), 2.0 ** (DIGIT // 2)
SMALLEST, LARGEST = 2.0**-400, 2.0**400
"""Of values for which digits stay as they are."""

MARGIN = 2
LARGEST_ARC_EXPONENT = 48.0
"""Of the weights of arcs, in powers of two."""

LARGEST_PLAIN_EXPONENT = 384.0
LARGEST_EXPONENT = 1e12
BITS_OF_EXPONENT = 2.0**52 + 1023.0
"""Added to a small whole number k, it leaves in the lowest bits those of the exponent of 2^k."""


@njit(inline="always")
def _exp2(x):
    """2^x for |x| < 1000."""
    k = np.rint(x)
    t = (x - k) * LN_2
    p = C9 + t * (C10 + t * (C11 + t * (C12 + t * C13)))
    p = C4 + t * (C5 + t * (C6 + t * (C7 + t * (C8 + t * p))))
    p = 1.0 + t * (1.0 + t * (C2 + t * (C3 + t * p)))
    return p * np.int64(np.float64(k + BITS_OF_EXPONENT).view(np.int64) << 52).view(np.float64)


@njit(inline="always")
def _powers(energy, scale, value, digit):
    """2^(energy · scale); returns how many energies are unusable."""
    unusable = 0
    for d in range(len(energy)):
        x = energy[d] * scale
        infinite = x == -np.inf
        usable = abs(x) < LARGEST_EXPONENT
        unusable += not (usable or infinite)
        x = x if usable else 0.0
        k = np.rint(x / DIGIT) if abs(x) > LARGEST_PLAIN_EXPONENT else 0.0
        weight = _exp2(x - k * DIGIT)
        value[d] = 0.0 if infinite else weight
        digit[d] = k
    return unusable


@njit(nogil=True, cache=True, fastmath={"contract"})
def weigh_emissions(energies, start, frame_stride, class_stride, classes, beta, weights):
    """exp(−βE) of these classes at each frame, into ``weights`` [T, 2, D]: values and digits.

    The energy of class c at frame t is ``energies[start + t * frame_stride + c * class_stride]``. Returns the
    first frame with an energy that is NaN, −inf or too large to add up without loss, −1 for none.
    """
    row = np.empty(len(classes), np.float64)
    first = np.int64(-1)
    for t in range(len(weights)):
        place = start + t * frame_stride
        for d in range(len(classes)):
            row[d] = energies[place + classes[d] * class_stride]
        if _powers(row, -beta * LOG2_E, weights[t, 0], weights[t, 1]) and first < 0:
            first = np.int64(t)
    return first


@njit(nogil=True, cache=True)
def scatter_emissions(occupancy, factor, start, frame_stride, class_stride, classes, gradient):
    """Puts factor · occupancy [T, D] where the gradient in those classes' energies stands."""
    for t in range(len(occupancy)):
        place = start + t * frame_stride
        for d in range(len(classes)):
            gradient[place + classes[d] * class_stride] = occupancy[t, d] * factor


@njit(nogil=True, cache=True)
def alignments(labels, blank, classes):
    """The chain of a target's alignments by the rules of CTC, as ``forward`` takes it.

    Its states are blank, the first label, blank, …, the last label, blank; equal labels are kept apart by a
    blank. Returns (the classes that occur, column, weights, ends); no classes at all where a label
    is none of ``classes``.
    """
    states = 2 * len(labels) + 1
    place = np.full(classes, -1, np.int32)
    used = np.empty(min(len(labels) + 1, classes), np.int32)
    column = np.zeros(states, np.uint32)
    weights = np.zeros((3, states + MARGIN), np.float64)
    initial, final = np.zeros(states, np.float64), np.zeros(states, np.float64)
    initial[0] = 1.0
    final[max(states - 2, 0) :] = 1.0
    ends = initial, np.empty(0, np.float64), final, np.empty(0, np.float64)
    weights[0, :states] = 1.0
    weights[1, 1:states] = 1.0
    used[0], place[blank] = blank, 0
    found = 1
    for k in range(len(labels)):
        label = labels[k]
        if not 0 <= label < classes:
            return used[:0], column, weights, ends
        if place[label] < 0:
            place[label] = found
            used[found] = label
            found += 1
        column[2 * k + 1] = place[label]
        weights[2, 2 * k + 1] = k > 0 and label != labels[k - 1]
    return used[:found], column, weights, ends


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
def _add(value, digit, term, term_digit):
    """The sum of two numbers, which takes the larger digit."""
    if term == 0.0:
        return value, digit
    if value == 0.0:
        return term, term_digit
    while term > 0.0 and term_digit < digit:
        term *= DOWN
        term_digit += 1.0
    while value > 0.0 and digit < term_digit:
        value *= DOWN
        digit += 1.0
    return value + term, max(digit, term_digit)


@njit(inline="always")
def _normalised(value, digit):
    """The same number with its value within 2^±128, or 0."""
    while value >= HIGH:
        value *= DOWN
        digit += 1.0
    while 0.0 < value < LOW:
        value *= UP
        digit -= 1.0
    return value, digit


@njit(inline="always")
def _scaled(value, digit):
    """value · 2^(256 · digit), which may be 0 or infinite."""
    if value == 0.0 or digit < -6.0:
        return 0.0
    if digit > 6.0:
        return np.inf
    while digit < 0.0:
        value *= DOWN
        digit += 1.0
    while digit > 0.0:
        value *= UP
        digit -= 1.0
    return value


@njit(inline="always")
def _digit(digits, place):
    return digits[place] if len(digits) else 0.0


@njit(inline="always")
def _clear(row, low, high):
    """Zeros just below and above the states worked out."""
    for k in range(MARGIN):
        row[low + k] = 0.0
        row[MARGIN + high + 1 + k] = 0.0


@njit(inline="always")
def _spread(emission, column, plain, row):
    """The weights that a frame gives to classes, for each state; NaN for those with a digit."""
    for d in range(len(plain)):
        plain[d] = emission[0, d] if emission[1, d] == 0.0 else np.nan
    for k in range(len(column)):
        row[k] = plain[column[k]]


@njit(nogil=True, cache=True, fastmath={"contract"})
def _step(before, weight, weight_1, weight_2, emission, row):
    """α_t from α_{t−1}, which begins two states lower; returns how many values are out of range."""
    wrong = 0
    for k in range(len(row)):
        value = (
            before[k + 2] * weight[k] + before[k + 1] * weight_1[k] + before[k] * weight_2[k]
        ) * emission[k]
        row[k] = value
        wrong += not ((value <= LARGEST) & ((value >= SMALLEST) | (emission[k] == 0.0)))
    return wrong


@njit(nogil=True, cache=True, fastmath={"contract"})
def _step_back(after, weight, weight_1, weight_2, emission, row):
    """β_{t−1} from β_t times the emissions; returns how many values are out of range."""
    wrong = 0
    for k in range(len(row)):
        value = after[k] * weight[k] + after[k + 1] * weight_1[k + 1] + after[k + 2] * weight_2[k + 2]
        possible = emission[k] + emission[k + 1] + emission[k + 2]
        row[k] = value
        wrong += not ((value <= LARGEST) & ((value >= SMALLEST) | (possible == 0.0)))
    return wrong


@njit(nogil=True, cache=True)
def _step_by_state(before, before_digit, weights, emission, column, low, high, row, digit):
    """α_t from α_{t−1} in digits of its own; states further up, which are 0 as yet, take the next one's."""
    digit[:low] = 0.0
    carried, begun = 0.0, False
    for s in range(low, len(column)):
        value, own = 0.0, 0.0
        if s <= high:
            for k in range(min(s, 2) + 1):
                term = before[MARGIN + s - k] * weights[k, s] * emission[0, column[s]]
                value, own = _add(value, own, term, before_digit[s - k] + emission[1, column[s]])
            value, own = _normalised(value, own)
            row[MARGIN + s] = value
        if value > 0.0:
            if not begun:
                digit[low:s] = own
            carried, begun = own, True
        digit[s] = carried


@njit(nogil=True, cache=True)
def _step_back_by_state(after, after_digit, weights, emission, column, low, high, upper, row, digit):
    """β_{t−1} from β_t, whose last state is ``upper``, in digits of its own, states below taking the next
    one's."""
    carried, begun = 0.0, False
    for s in range(high, -1, -1):
        value, own = 0.0, 0.0
        if s >= low:
            for k in range(min(upper - s, 2) + 1):
                c = column[s + k]
                term = after[MARGIN + s + k] * weights[k, s + k] * emission[0, c]
                value, own = _add(value, own, term, after_digit[s + k] + emission[1, c])
            value, own = _normalised(value, own)
            row[MARGIN + s] = value
        if value > 0.0:
            if not begun:
                digit[s + 1 : high + 1] = own
            carried, begun = own, True
        digit[s] = carried


@njit(nogil=True, cache=True)
def _weigh_arcs(weights, digit, low, high, direction, weighed):
    """The weights of arcs between the states from ``low`` to ``high``, for values with these digits: from
    below for α (direction 1), from above for β (−1)."""
    for s in range(low, high + 1):
        weighed[0, s] = weights[0, s]
        for k in (1, 2):
            inside = s - k >= low
            weighed[k, s] = _scaled(weights[k, s], direction * (digit[s - k] - digit[s])) if inside else 0.0


@njit(nogil=True, cache=True)
def forward(emissions, column, weights, ends, low, high, alpha, digits, era):
    """α_t(s), the sum over all ways into state s that have consumed t frames; returns their total at the end.

    Args:
        emissions: weights of the classes at each frame, [T, 2, D].
        column: the class of each state, [S].
        weights: of the arc into s from s − k, [3, S + MARGIN]; 0 where there is none.
        ends: weights of initial states and their digits, of final states and theirs, [S] or [0] each.
        low, high: of ``bands``.
        alpha, digits: rows to fill, [T + 1, MARGIN + S + MARGIN] and [T + 1, S]; where they have two only,
            the last two are kept.
        era: filled with the row of ``digits`` at each frame, [T + 1].
    """
    initial, initial_digit, final, final_digit = ends
    frames, states = len(emissions), len(column)
    for t in range(frames + 1):
        if low[t] > high[t]:
            return 0.0, 0.0
    weighed = np.zeros((3, states), np.float64)
    emission, plain = np.empty(states, np.float64), np.empty(emissions.shape[2], np.float64)
    carried = 0.0
    for s in range(states):
        alpha[0, MARGIN + s], digits[0, s] = _normalised(initial[s], _digit(initial_digit, s))
        carried = digits[0, s] if initial[s] > 0.0 else carried
        digits[0, s] = carried
    alpha[0, :MARGIN] = 0.0
    alpha[0, MARGIN + states :] = 0.0
    _weigh_arcs(weights, digits[0], 0, states - 1, 1.0, weighed)
    now = era[0] = 0
    for t in range(1, frames + 1):
        a, b = low[t], high[t] + 1
        before, row = alpha[(t - 1) % len(alpha)], alpha[t % len(alpha)]
        _spread(emissions[t - 1], column[a:b], plain, emission)
        if _step(
            before[a : b + 2], weighed[0, a:b], weighed[1, a:b], weighed[2, a:b], emission, row[a + 2 : b + 2]
        ):
            old, new = digits[now % len(digits)], digits[(now + 1) % len(digits)]
            _step_by_state(before, old, weights, emissions[t - 1], column, a, b - 1, row, new)
            _weigh_arcs(weights, new, a, states - 1, 1.0, weighed)
            now += 1
        _clear(row, a, b - 1)
        era[t] = now
    row, digit = alpha[frames % len(alpha)], digits[now % len(digits)]
    total, total_digit = 0.0, 0.0
    for s in range(low[frames], high[frames] + 1):
        term = row[MARGIN + s] * final[s]
        total, total_digit = _add(total, total_digit, term, digit[s] + _digit(final_digit, s))
        total, total_digit = _normalised(total, total_digit)
    return total, total_digit


@njit(inline="always")
def _posteriors(alpha, beta, factor, posterior):
    for k in range(len(posterior)):
        posterior[k] = min(alpha[k] * beta[k] * factor[k], 1.0)


@njit(inline="always")
def _multiply(values, factors, products):
    for k in range(len(products)):
        products[k] = values[k] * factors[k]


@njit(inline="always")
def _by_class(posterior, column, partial, result):
    """The posteriors of states summed by class. Neighbouring states go to sums of their own at first, for
    states two apart often share their class, and each addition would wait for the one before."""
    partial[:] = 0.0
    for k in range(len(posterior)):
        partial[(k >> 1) & 3, column[k]] += posterior[k]
    for d in range(len(result)):
        result[d] = min(partial[0, d] + partial[1, d] + partial[2, d] + partial[3, d], 1.0)


@njit(nogil=True, cache=True)
def backward(emissions, column, weights, ends, low, high, alpha, digits, era, total, occupancy):
    """The posteriors of classes at each frame, into ``occupancy`` [T, D], by β_t(s), the sum over all ways on
    from state s after t frames. Args as of ``forward``, whose result ``total`` is, with all rows of α."""
    final, final_digit = ends[2], ends[3]
    frames, states = len(emissions), len(column)
    beta, other = np.zeros((2, states + 2 * MARGIN), np.float64)
    digit, other_digit = np.zeros((2, states), np.float64)
    entering = np.zeros(states + 2 * MARGIN, np.float64)
    emission = np.zeros(states + 2 * MARGIN, np.float64)
    plain, partial = np.empty(occupancy.shape[1], np.float64), np.empty((4, occupancy.shape[1]), np.float64)
    posterior, factor = np.empty(states, np.float64), np.empty(states, np.float64)
    weighed = np.zeros((3, states + MARGIN), np.float64)
    carried = 0.0
    for s in range(states - 1, -1, -1):
        beta[MARGIN + s], digit[s] = _normalised(final[s], _digit(final_digit, s))
        carried = digit[s] if final[s] > 0.0 else carried
        digit[s] = carried
    _weigh_arcs(weights, digit, 0, states - 1, -1.0, weighed)
    seen = -1
    for t in range(frames, 0, -1):
        a, b = low[t], high[t] + 1
        if seen != era[t]:
            seen = era[t]
            for s in range(states):
                size = _scaled(1.0 / total[0], digits[seen, s] + digit[s] - total[1])
                factor[s] = min(size, 2.0**1000)
        _posteriors(alpha[t, a + 2 : b + 2], beta[a + 2 : b + 2], factor[a:b], posterior[: b - a])
        _by_class(posterior[: b - a], column[a:b], partial, occupancy[t - 1])
        _spread(emissions[t - 1], column[a:b], plain, emission[a + 2 :])
        _clear(emission, a, b - 1)
        _clear(beta, a, b - 1)
        _multiply(beta[a : b + 4], emission[a : b + 4], entering[a : b + 4])
        c, d = low[t - 1], high[t - 1] + 1
        if _step_back(
            entering[c + 2 : d + 4], weighed[0, c : d + 2], weighed[1, c : d + 2], weighed[2, c : d + 2],
            emission[c + 2 : d + 4], other[c + 2 : d + 2],
        ):  # fmt: skip
            _step_back_by_state(
                beta, digit, weights, emissions[t - 1], column, c, d - 1, b - 1, other, other_digit
            )
            digit, other_digit = other_digit, digit
            _weigh_arcs(weights, digit, 0, d - 1, -1.0, weighed)
            weighed[:, d:] = 0.0
            seen = -1
        beta, other = other, beta


@njit(nogil=True, cache=True)
def sums(emissions, column, weights, ends, scratch, occupancy):
    """The sum over all ways through the chain, value and digit; and the posteriors of classes at each frame
    into ``occupancy``, unless that has no rows.

    Args:
        emissions, column, weights, ends: as of ``forward``.
        scratch: memory for what is in between, α and digits of all rows that ``forward`` wants, or of two.
        occupancy: [T, D] or [0, D].
    """
    frames, states = len(emissions), len(column)
    low, high = bands(weights[2], ends[0], ends[2], frames)
    rows = frames + 1 if len(occupancy) else 2
    width = states + 2 * MARGIN
    alpha = scratch[: rows * width].reshape(rows, width)
    digits = scratch[rows * width : rows * (width + states)].reshape(rows, states)
    era = np.empty(frames + 1, np.int64)
    total = forward(emissions, column, weights, ends, low, high, alpha, digits, era)
    if total[0] > 0.0:
        if len(occupancy):
            backward(emissions, column, weights, ends, low, high, alpha, digits, era, total, occupancy)
    else:
        occupancy[:] = 0.0
    return total


@njit(nogil=True, cache=True)
def sums_of_target(
    log_probs, start, frame_stride, class_stride, frames, classes, labels, blank, keep, scratch
):
    """The same for the alignments of a target by the rules of CTC, from the logarithms of probabilities.

    Args:
        log_probs: where that of class c at frame t is, ``weigh_emissions`` says.
        frames, classes: how many there are.
        labels, blank: as of ``alignments``.
        keep: whether posteriors are wanted.
        scratch: as of ``sums``.

    Returns:
        (the classes that occur, none where a label is no class; their posteriors, [T, D] or [0, D]; the first
        frame with a logarithm that is unusable or −1; value and digit of the sum).
    """
    used, column, weights, ends = alignments(labels, blank, classes)
    occupancy = np.empty((frames if keep else 0, len(used)), log_probs.dtype)
    emissions = np.empty((frames, 2, len(used)), np.float64)
    # Logarithms of probabilities are energies at β = −1.
    wrong = weigh_emissions(log_probs, start, frame_stride, class_stride, used, -1.0, emissions)
    if len(used) == 0 or wrong >= 0:
        return used, occupancy, wrong, 0.0, 0.0
    value, digit = sums(emissions, column, weights, ends, scratch, occupancy)
    return used, occupancy, wrong, value, digit
