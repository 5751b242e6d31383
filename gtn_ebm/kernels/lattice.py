"""Recursions over the states of an acyclic graph in topological order: sums over paths, least paths, and derivatives.

A weight exp(−βE) is carried as a float64 mantissa times a power of two with an exponent of its own (int64): it neither
underflows nor overflows, an arc costs a multiplication and an addition, and no exponential or logarithm is taken inside
the recursions.
"""

import numpy as np
from numba import njit

LOG2_E = 1.4426950408889634
LN_2 = 0.6931471805599453
# exp(x) = Σ xⁿ/n!; |x| ≤ ln2/2 leaves less than 1e-17 after the thirteenth power.
C2, C3, C4, C5, C6, C7 = 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040
C8, C9, C10, C11, C12, C13 = 1 / 40320, 1 / 362880, 1 / 3628800, 1 / 39916800, 1 / 479001600, 1 / 6227020800
# 2^d for −TABLE_HALF ≤ d ≤ 0; below that a term is lost to rounding in any case.
TABLE_HALF = 128
LARGEST_EXPONENT = 1e12
POWER_OF_TWO = 2.0 ** np.arange(-TABLE_HALF, 1)


@njit(nogil=True, cache=True)
def weights(energies, beta):
    """exp(−βE) as (mantissa, exponent), the mantissa 0 where E is +inf; and whether any E is unusable.

    Unusable is NaN, −inf, or beyond the range in which exponents can be added up without overflow.
    """
    mantissa = np.empty(len(energies), np.float64)
    exponent = np.empty(len(energies), np.int64)
    scale = -beta * LOG2_E
    unusable = 0
    for i in range(len(energies)):
        energy = np.float64(energies[i])
        infinite = energy == np.inf
        x = 0.0 if infinite else energy * scale
        within = abs(x) < LARGEST_EXPONENT
        unusable += not within
        x = x if within else 0.0
        k = np.rint(x)
        t = (x - k) * LN_2
        p = C9 + t * (C10 + t * (C11 + t * (C12 + t * C13)))
        p = C4 + t * (C5 + t * (C6 + t * (C7 + t * (C8 + t * p))))
        p = 1.0 + t * (1.0 + t * (C2 + t * (C3 + t * p)))
        mantissa[i] = 0.0 if infinite else p
        exponent[i] = np.int64(k)
    return mantissa, exponent, unusable > 0


@njit(inline="always")
def _add(mantissa, exponent, other, other_exponent):
    """Sum of two scaled numbers; the result keeps the larger exponent."""
    if other == 0.0:
        return mantissa, exponent
    if mantissa == 0.0:
        return other, other_exponent
    shift = other_exponent - exponent
    if shift <= 0:
        if shift > -TABLE_HALF:
            mantissa += other * POWER_OF_TWO[shift + TABLE_HALF]
        return mantissa, exponent
    if shift < TABLE_HALF:
        other += mantissa * POWER_OF_TWO[TABLE_HALF - shift]
    return other, other_exponent


@njit(inline="always")
def _normalise(mantissa, exponent):
    """The same number with its mantissa in [1/2, 1)."""
    while mantissa >= 1.0:
        mantissa *= 0.5
        exponent += 1
    while 0.0 < mantissa < 0.5:
        mantissa *= 2.0
        exponent -= 1
    return mantissa, exponent


@njit(inline="always")
def _share(mantissa, exponent, total, total_exponent):
    """mantissa · 2^exponent / total, for a quotient known to be at most 1 up to rounding."""
    if mantissa == 0.0:
        return 0.0
    share = mantissa / total
    shift = exponent - total_exponent
    while shift > 0:
        share *= 2.0
        shift -= 1
    while shift < -TABLE_HALF and share > 0.0:
        share *= POWER_OF_TWO[0]
        shift += TABLE_HALF
    if share > 0.0:
        share *= POWER_OF_TWO[shift + TABLE_HALF]
    return min(share, 1.0)


@njit(nogil=True, cache=True)
def forward(order, source, in_offsets, in_arcs, weight, weight_exponent, alpha, alpha_exponent):
    """α(v) = initial(v) + Σ_{arcs u→v} α(u) w, in place: ``alpha`` comes in as the weights of the initial states."""
    for v in order:
        m = alpha[v]
        e = alpha_exponent[v]
        for arc in in_arcs[in_offsets[v] : in_offsets[v + 1]]:
            u = source[arc]
            m, e = _add(m, e, alpha[u] * weight[arc], alpha_exponent[u] + weight_exponent[arc])
        m, e = _normalise(m, e)
        alpha[v] = m
        alpha_exponent[v] = e


@njit(nogil=True, cache=True)
def total(alpha, alpha_exponent, final, final_exponent):
    """Z = Σ_v α(v) final(v), as (mantissa, exponent)."""
    m = 0.0
    e = np.int64(0)
    for v in range(len(alpha)):
        m, e = _add(m, e, alpha[v] * final[v], alpha_exponent[v] + final_exponent[v])
        m, e = _normalise(m, e)
    return m, e


@njit(nogil=True, cache=True)
def backward(
    order, destination, out_offsets, out_arcs, weight, weight_exponent, alpha, alpha_exponent, beta, beta_exponent, z, z_exponent,
    posterior,
):  # fmt: skip
    """β(u) = final(u) + Σ_{arcs u→v} w β(v), in place, and the posterior α(u) w β(v) / Z of every arc."""
    for position in range(len(order) - 1, -1, -1):
        u = order[position]
        m = beta[u]
        e = beta_exponent[u]
        before = alpha[u]
        before_exponent = alpha_exponent[u]
        for arc in out_arcs[out_offsets[u] : out_offsets[u + 1]]:
            v = destination[arc]
            after = weight[arc] * beta[v]
            after_exponent = weight_exponent[arc] + beta_exponent[v]
            m, e = _add(m, e, after, after_exponent)
            posterior[arc] = _share(before * after, before_exponent + after_exponent, z, z_exponent)
        m, e = _normalise(m, e)
        beta[u] = m
        beta_exponent[u] = e


@njit(nogil=True, cache=True)
def shares(alpha, alpha_exponent, beta, beta_exponent, z, z_exponent):
    """α β / Z of every state: with α or β restricted to initial or final weights, their posteriors."""
    result = np.empty(len(alpha), np.float64)
    for v in range(len(alpha)):
        result[v] = _share(alpha[v] * beta[v], alpha_exponent[v] + beta_exponent[v], z, z_exponent)
    return result


@njit(nogil=True, cache=True)
def mean_before(order, source, in_offsets, in_arcs, weight, weight_exponent, initial, initial_exponent, alpha, alpha_exponent,
                arc_value, initial_value):  # fmt: skip
    """Mean, over the weighted paths from the initial states to v, of the values summed along the path (0 if none)."""
    mean = np.zeros(len(alpha), np.float64)
    for v in order:
        if alpha[v] == 0.0:
            continue
        value = _share(initial[v], initial_exponent[v], alpha[v], alpha_exponent[v]) * initial_value[v]
        for arc in in_arcs[in_offsets[v] : in_offsets[v + 1]]:
            u = source[arc]
            share = _share(alpha[u] * weight[arc], alpha_exponent[u] + weight_exponent[arc], alpha[v], alpha_exponent[v])
            if share > 0.0:
                value += share * (mean[u] + arc_value[arc])
        mean[v] = value
    return mean


@njit(nogil=True, cache=True)
def least(order, source, in_offsets, in_arcs, energy, initial, final):
    """The path of least energy: (energy, its last state or −1, the best arc into each state or −1)."""
    states = len(initial)
    least_energy = initial.copy()
    best_arc = np.full(states, -1, np.int64)
    for v in order:
        best = least_energy[v]
        for arc in in_arcs[in_offsets[v] : in_offsets[v + 1]]:
            candidate = least_energy[source[arc]] + energy[arc]
            if candidate < best:
                best = candidate
                best_arc[v] = np.int64(arc)
        least_energy[v] = best
    last = -1
    best = np.inf
    for v in range(states):
        if least_energy[v] + final[v] < best:
            best = least_energy[v] + final[v]
            last = v
    return best, last, best_arc


@njit(nogil=True, cache=True)
def trace(source, best_arc, last):
    """The arcs of the path found by ``least``, first to last."""
    length = 0
    state = last
    while best_arc[state] >= 0:
        length += 1
        state = np.int64(source[best_arc[state]])
    arcs = np.empty(length, np.int64)
    state = last
    while length > 0:
        length -= 1
        arcs[length] = best_arc[state]
        state = np.int64(source[best_arc[state]])
    return arcs
