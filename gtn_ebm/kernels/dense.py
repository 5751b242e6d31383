"""Sums over the paths of a graph through frames, each of which gives every class a weight.

A path consumes a frame with each arc that has a label; the arc's weight is multiplied by the frame's for the
class. Such arcs come grouped by the state they enter, epsilon arcs so that those into a state come before
those out of it (``FrameArcs``); S states, A arcs that consume, E epsilons, D classes, T frames.

A sum of weights exp(−βE) is value · 2^(256 · digit), both float64, as in ``kernels/lattice.py``: it neither
underflows nor overflows, and no exponential or logarithm is taken inside the recursions. Values are within
2^±128 once normalised, weights within 2^±384, so that what is multiplied stays within 2^±896. A weight
without digits has an empty array for them.
"""

import numpy as np
from numba import njit

DIGIT = 256
UP, DOWN = 2.0**DIGIT, 2.0**-DIGIT
LOW, HIGH = 2.0 ** (-DIGIT // 2), 2.0 ** (DIGIT // 2)
NEVER = 1 << 60


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


@njit(inline="always")
def _digit(digits, place):
    return digits[place] if len(digits) else 0.0


@njit(nogil=True, cache=True)
def fewest_frames(source, destination, epsilon_source, epsilon_destination, start, most):
    """The fewest frames that a way from the states of ``start`` (boolean) to each state consumes, [S].

    More than ``most`` are NEVER. Arcs are best given in the order in which ways use them.
    """
    fewest = np.where(start, 0, NEVER)
    for _ in range(most + 1):
        changed = 0
        for e in range(len(epsilon_source)):
            p, q = epsilon_source[e], epsilon_destination[e]
            shorter = fewest[p] < fewest[q]
            changed += shorter
            fewest[q] = fewest[p] if shorter else fewest[q]
        for a in range(len(source)):
            p, q = source[a], destination[a]
            shorter = fewest[p] + 1 < fewest[q]
            changed += shorter
            fewest[q] = fewest[p] + 1 if shorter else fewest[q]
        if changed == 0:
            break
    return fewest


@njit(inline="always")
def _arrive(row, state, term, term_digit):
    """Adds to the sum of a state, which stays normalised."""
    value, digit = _add(row[state, 0], row[state, 1], term, term_digit)
    row[state, 0], row[state, 1] = _normalised(value, digit)


@njit(inline="always")
def _posterior(alpha, state, term, term_digit, total):
    """The probability of being in the state, of a row of α, and going on by what weighs ``term``."""
    return min(_plain(alpha[state, 0] * term / total[0], alpha[state, 1] + term_digit - total[1]), 1.0)


@njit(nogil=True, cache=True)
def forward(graph, weights, emissions, fewest, alpha):
    """α_t(v), the sum over all ways into state v that have consumed t frames; returns their total at the end.

    Args:
        graph: (offsets [S + 1], source [A], column [A], epsilon source [E], epsilon destination [E]).
        weights: of arcs, epsilons, initial and final states, each followed by its digits.
        emissions: weights of the classes at each frame, [T, 2, D].
        fewest: frames from the start to each state and from there to the end, [S] each.
        alpha: sums to fill, [T + 1, S, 2]; where it has two rows only, the last two are kept.
    """
    offsets, source, column, epsilon_source, epsilon_destination = graph
    weight, weight_digit, epsilon, epsilon_digit, initial, initial_digit, final, final_digit = weights
    until, to_go = fewest
    frames, states = len(emissions), len(initial)
    for v in range(states):
        alpha[0, v, 0], alpha[0, v, 1] = _normalised(initial[v], _digit(initial_digit, v))
    for t in range(frames + 1):
        row = alpha[t % len(alpha)]
        for v in range(states if t else 0):
            before, emission = alpha[(t - 1) % len(alpha)], emissions[t - 1]
            value, digit = 0.0, 0.0
            if until[v] <= t and to_go[v] <= frames - t:
                for a in range(offsets[v], offsets[v + 1]):
                    term = before[source[a], 0] * weight[a] * emission[0, column[a]]
                    term_digit = before[source[a], 1] + _digit(weight_digit, a) + emission[1, column[a]]
                    if term_digit == digit:
                        value += term
                    else:
                        value, digit = _add(value, digit, term, term_digit)
            row[v, 0], row[v, 1] = _normalised(value, digit)
        for e in range(len(epsilon)):
            p, q = epsilon_source[e], epsilon_destination[e]
            _arrive(row, q, row[p, 0] * epsilon[e], row[p, 1] + _digit(epsilon_digit, e))
    row = alpha[frames % len(alpha)]
    total, total_digit = 0.0, 0.0
    for v in range(states):
        total, total_digit = _add(
            total, total_digit, row[v, 0] * final[v], row[v, 1] + _digit(final_digit, v)
        )
        total, total_digit = _normalised(total, total_digit)
    return total, total_digit


@njit(inline="always")
def _onwards(weight, weight_digit, arc, beta, state):
    """What an arc into the state weighs with all ways on from there."""
    return weight[arc] * beta[state, 0], _digit(weight_digit, arc) + beta[state, 1]


@njit(nogil=True, cache=True)
def _leave_epsilons(graph, weights, alpha, beta, total, posterior):
    """Adds to a row of β the ways on by epsilon arcs; gives the posteriors of these."""
    epsilon_source, epsilon_destination = graph[3:]
    for e in range(len(posterior) - 1, -1, -1):
        p, q = epsilon_source[e], epsilon_destination[e]
        term, digit = _onwards(weights[2], weights[3], e, beta, q)
        posterior[e] = _posterior(alpha, p, term, digit, total)
        _arrive(beta, p, term, digit)


@njit(nogil=True, cache=True)
def _step_back(graph, weights, emission, alpha, beta, before, total, posterior):
    """β_{t−1} into ``before`` from β_t, with α_{t−1}; gives the posteriors of the arcs."""
    offsets, source, column = graph[:3]
    for v in range(len(before)):
        before[v, 0] = before[v, 1] = 0.0
    for v in range(len(before)):
        for a in range(offsets[v], offsets[v + 1]):
            u, c = source[a], column[a]
            posterior[a] = 0.0
            if beta[v, 0] > 0.0 and alpha[u, 0] > 0.0:
                term, digit = _onwards(weights[0], weights[1], a, beta, v)
                term, digit = term * emission[0, c], digit + emission[1, c]
                posterior[a] = _posterior(alpha, u, term, digit, total)
                _arrive(before, u, term, digit)


@njit(nogil=True, cache=True)
def backward(graph, weights, emissions, alpha, total, occupancy, arcs, epsilons):
    """The posteriors: of classes at each frame into ``occupancy`` [T, D], of arcs and epsilons added up over
    the frames into ``arcs`` [1, A] and ``epsilons`` [1, E], or for each frame into [T, A] and [T + 1, E].

    Args as of ``forward``, ``alpha`` with all its rows, ``total`` as it gave it.

    Returns:
        Those of initial and of final states, [S] each.
    """
    initial, initial_digit, final, final_digit = weights[4:]
    frames, states = len(emissions), len(initial)
    at_start, at_end = np.empty(states, np.float64), np.empty(states, np.float64)
    beta, before = np.empty((states, 2), np.float64), np.empty((states, 2), np.float64)
    by_arc, by_epsilon = np.empty(arcs.shape[1], np.float64), np.empty(epsilons.shape[1], np.float64)
    by_class = np.empty(occupancy.shape[1], np.float64)
    for v in range(states):
        beta[v, 0], beta[v, 1] = _normalised(final[v], _digit(final_digit, v))
        at_end[v] = _posterior(alpha[frames], v, beta[v, 0], beta[v, 1], total)
    for t in range(frames, -1, -1):
        _leave_epsilons(graph, weights, alpha[t], beta, total, by_epsilon)
        epsilons[t % len(epsilons)] += by_epsilon
        if t == 0:
            break
        _step_back(graph, weights, emissions[t - 1], alpha[t - 1], beta, before, total, by_arc)
        arcs[(t - 1) % len(arcs)] += by_arc
        by_class[:] = 0.0
        for a in range(len(by_arc)):
            by_class[graph[2][a]] += by_arc[a]
        for d in range(len(by_class)):
            occupancy[t - 1, d] = min(by_class[d], 1.0)
        beta, before = before, beta
    for v in range(states):
        at_start[v] = _posterior(beta, v, initial[v], _digit(initial_digit, v), total)
    return at_start, at_end


@njit(inline="always")
def _mean(values, probabilities, state):
    return values[state] / probabilities[state] if probabilities[state] > 0.0 else 0.0


@njit(nogil=True, cache=True)
def means_before(graph, posteriors, direction):
    """Of a direction's values summed along the ways into each state after t frames, the mean over paths
    through it, [T + 1, S].

    ``posteriors`` and ``direction`` are (of classes at each frame [T, D], arcs, epsilons, initial and final
    states [S]); posteriors of arcs and epsilons at each frame, [T, A] and [T + 1, E], values [A] and [E].
    """
    offsets, source, column, epsilon_source, epsilon_destination = graph
    _, of_arcs, of_epsilons, at_start, _ = posteriors
    classes, arcs, epsilons, start, _ = direction
    frames, states = len(classes), len(start)
    mean = np.empty((frames + 1, states), np.float64)
    values, through = at_start * start, at_start.copy()
    for t in range(frames + 1):
        for v in range(states if t else 0):
            values[v] = through[v] = 0.0
            for a in range(offsets[v], offsets[v + 1]):
                p = of_arcs[t - 1, a]
                through[v] += p
                values[v] += p * (mean[t - 1, source[a]] + arcs[a] + classes[t - 1, column[a]])
        for e in range(len(epsilons)):
            p = of_epsilons[t, e]
            through[epsilon_destination[e]] += p
            values[epsilon_destination[e]] += p * (_mean(values, through, epsilon_source[e]) + epsilons[e])
        for v in range(states):
            mean[t, v] = _mean(values, through, v)
    return mean


@njit(nogil=True, cache=True)
def covariances(graph, posteriors, direction, before, result):
    """Of each class at each frame, arc, epsilon, initial and final state: the covariance of a path's use of
    it with the direction's values summed along the path. Added to the arrays of ``result``.

    Args as of ``means_before``, whose result ``before`` is; ``result`` is as ``direction``.
    """
    offsets, source, column, epsilon_source, epsilon_destination = graph
    _, of_arcs, of_epsilons, at_start, at_end = posteriors
    classes, arcs, epsilons, start, end = direction
    frames, states = len(classes), len(start)
    mean = (at_end * (before[frames] + end)).sum()
    values, through = at_end * end, at_end.copy()
    after = np.empty(states, np.float64)
    for t in range(frames, -1, -1):
        for e in range(len(epsilons) - 1, -1, -1):
            p, u = of_epsilons[t, e], epsilon_source[e]
            onwards = epsilons[e] + _mean(values, through, epsilon_destination[e])
            result[2][e] += p * (before[t, u] + onwards - mean)
            through[u] += p
            values[u] += p * onwards
        for v in range(states):
            after[v] = _mean(values, through, v)
            values[v] = through[v] = 0.0
        for v in range(states if t else 0):
            for a in range(offsets[v], offsets[v + 1]):
                p, u, c = of_arcs[t - 1, a], source[a], column[a]
                onwards = arcs[a] + classes[t - 1, c] + after[v]
                result[0][t - 1, c] += p * (before[t - 1, u] + onwards - mean)
                result[1][a] += p * (before[t - 1, u] + onwards - mean)
                through[u] += p
                values[u] += p * onwards
    result[3][:] += at_start * (start + after - mean)
    result[4][:] += at_end * (before[frames] + end - mean)
