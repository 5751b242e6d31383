"""Recursions over the states of an acyclic graph in topological order: sums over paths and derivatives.

Arcs come grouped by the state they leave: those of state u are ``offsets[u]`` to ``offsets[u + 1]``.

A sum of weights exp(−βE) is carried as value · 2^(256 · digit), both float64, so that it neither underflows
nor overflows. Neighbouring sums almost always share their digit, which leaves a multiplication and an
addition for an arc: no exponential or logarithm is taken inside the recursions. A normalised value is within
2^±128, a weight within 2^±384, and so the product of two sums, a weight and the total's inverse is within
2^±768, which a float64 holds.
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
LARGEST_PLAIN_EXPONENT = 384.0
LARGEST_EXPONENT = 1e12


@njit(inline="always")
def _power_of_two(exponent):
    """2^exponent for −1022 ≤ exponent ≤ 1023, from its bits."""
    return np.int64((np.int64(exponent) + 1023) << 52).view(np.float64)


@njit(inline="always")
def _exp2(x):
    """2^x for |x| < 1000."""
    k = np.rint(x)
    t = (x - k) * LN_2
    p = C9 + t * (C10 + t * (C11 + t * (C12 + t * C13)))
    p = C4 + t * (C5 + t * (C6 + t * (C7 + t * (C8 + t * p))))
    p = 1.0 + t * (1.0 + t * (C2 + t * (C3 + t * p)))
    return p * _power_of_two(k)


@njit(nogil=True, cache=True, fastmath={"contract"})
def weights(energies, beta):
    """exp(−βE) as (values, digits), digits empty where all are 0; and whether any E is unusable.

    Unusable is NaN, −inf, or beyond the range in which digits can be added up without loss.
    """
    count = len(energies)
    value = np.empty(count, np.float64)
    scale = -beta * LOG2_E
    large = 0
    for i in range(count):
        x = np.float64(energies[i]) * scale
        infinite = x == -np.inf
        plain = abs(x) <= LARGEST_PLAIN_EXPONENT
        large += not (plain or infinite)
        power = _exp2(x if plain else 0.0)
        value[i] = 0.0 if infinite else power
    digit = np.zeros(count if large else 0, np.float64)
    unusable = False
    for i in range(len(digit)):
        x = np.float64(energies[i]) * scale
        if energies[i] == np.inf:
            value[i] = 0.0
        elif abs(x) < LARGEST_EXPONENT:
            digit[i] = np.rint(x / DIGIT)
            value[i] = _exp2(x - digit[i] * DIGIT)
        else:
            unusable = True
    return value, digit, unusable


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
def _plain(value, digit):
    """value · 2^(256 digit), known to be in range or else too small to matter."""
    while digit < 0.0 and value > 0.0:
        value *= DOWN
        digit += 1.0
    while digit > 0.0 and value > 0.0:
        value *= UP
        digit -= 1.0
    return value


@njit(nogil=True, cache=True)
def forward(
    order, offsets, destination, weight, weight_digit, initial, initial_digit, final, final_digit, alpha
):
    """α(v) = initial(v) + Σ_{arcs u→v} α(u) w, into ``alpha`` [S, 2]; returns Z = Σ_v α(v) final(v)."""
    states = len(initial)
    scaled = len(weight_digit) > 0
    for v in range(states):
        alpha[v, 0] = initial[v]
        alpha[v, 1] = initial_digit[v] if len(initial_digit) else 0.0
    total = total_digit = 0.0
    for u in order:
        value, digit = _normalised(alpha[u, 0], alpha[u, 1])
        alpha[u, 0] = value
        alpha[u, 1] = digit
        if value == 0.0:
            continue
        for arc in range(offsets[u], offsets[u + 1]):
            v = destination[arc]
            term = value * weight[arc]
            term_digit = digit + weight_digit[arc] if scaled else digit
            if alpha[v, 1] == term_digit:
                alpha[v, 0] += term
            else:
                alpha[v, 0], alpha[v, 1] = _add(alpha[v, 0], alpha[v, 1], term, term_digit)
        if final[u] > 0.0:
            end_digit = final_digit[u] if len(final_digit) else 0.0
            total, total_digit = _add(total, total_digit, value * final[u], digit + end_digit)
            total, total_digit = _normalised(total, total_digit)
    return total, total_digit


@njit(nogil=True, cache=True)
def backward(
    order, offsets, destination, weight, weight_digit, initial, initial_digit, final, final_digit,
    alpha, total, total_digit, beta, arc_posterior, initial_posterior, final_posterior,
):  # fmt: skip
    """β(u) = final(u) + Σ_{arcs u→v} w β(v), into ``beta`` [S, 2], and the posteriors.

    Those are α(u) w β(v) / Z of an arc, initial(u) β(u) / Z and α(u) final(u) / Z.
    """
    scaled = len(weight_digit) > 0
    inverse = 1.0 / total
    for position in range(len(order)):
        u = order[len(order) - 1 - position]
        before = alpha[u, 0] * inverse
        before_digit = alpha[u, 1] - total_digit
        value = final[u]
        digit = final_digit[u] if len(final_digit) else 0.0
        final_posterior[u] = min(_plain(before * value, before_digit + digit), 1.0)
        factor = 0.0
        factor_digit = np.inf
        for arc in range(offsets[u], offsets[u + 1]):
            v = destination[arc]
            term = weight[arc] * beta[v, 0]
            term_digit = beta[v, 1]
            if scaled:
                term_digit += weight_digit[arc]
            if term_digit == digit:
                value += term
            else:
                value, digit = _add(value, digit, term, term_digit)
            if term_digit != factor_digit and term > 0.0:
                factor = _plain(before, before_digit + term_digit)
                factor_digit = term_digit
            arc_posterior[arc] = min(factor * term, 1.0)
        value, digit = _normalised(value, digit)
        beta[u, 0] = value
        beta[u, 1] = digit
        start_digit = initial_digit[u] if len(initial_digit) else 0.0
        initial_posterior[u] = min(
            _plain(initial[u] * value * inverse, start_digit + digit - total_digit), 1.0
        )


@njit(nogil=True, cache=True)
def means(
    order,
    offsets,
    destination,
    arc_posterior,
    initial_posterior,
    final_posterior,
    arc_value,
    initial_value,
    final_value,
):
    """Means over paths through each state of the values summed along them: up to the state, and from it on.

    The paths are weighted by the posteriors; a state on no path has means of 0.
    """
    states = len(initial_posterior)
    before = initial_posterior * initial_value
    probability = initial_posterior.copy()
    for u in order:
        before[u] = before[u] / probability[u] if probability[u] > 0.0 else 0.0
        for arc in range(offsets[u], offsets[u + 1]):
            v = destination[arc]
            before[v] += arc_posterior[arc] * (before[u] + arc_value[arc])
            probability[v] += arc_posterior[arc]
    after = np.empty(states, np.float64)
    for position in range(states):
        u = order[states - 1 - position]
        value = final_posterior[u] * final_value[u]
        through = final_posterior[u]
        for arc in range(offsets[u], offsets[u + 1]):
            value += arc_posterior[arc] * (arc_value[arc] + after[destination[arc]])
            through += arc_posterior[arc]
        after[u] = value / through if through > 0.0 else 0.0
    return before, after
