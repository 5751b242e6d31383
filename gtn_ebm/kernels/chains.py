"""Markov chains over the paths of an acyclic graph: part of a path is drawn anew, the rest stays.

Arcs come grouped by the state they leave: those of state u are ``offsets[u]`` to ``offsets[u + 1]``. The rank
of a state is its place in a topological order, so that arcs lead to higher ranks. A path is its first state
and its arcs. Energies are those at β = 1.
"""

import numpy as np
from numba import njit


@njit(inline="always")
def _log_add(total, value):
    """log(exp(total) + exp(value))."""
    if value == -np.inf:
        return total
    if total == -np.inf:
        return value
    high, low = max(total, value), min(total, value)
    return high + np.log1p(np.exp(low - high))


@njit(inline="always")
def _by_arc(arc, graph, window, to_go):
    """The log weight of all ways on by an arc within the window: to where the path goes on behind it, if it
    does."""
    destination, energy, rank = graph[1], graph[2], graph[5]
    low, high, behind = window
    state = np.int64(destination[arc])
    if low < rank[state] < high:
        return to_go[rank[state] - low - 1] - energy[arc]
    return -np.float64(energy[arc]) if state == behind else -np.inf


@njit(nogil=True, cache=True)
def _sums(graph, order, window):
    """Log weights of all ways on from each rank within the window."""
    offsets, _, _, _, final, _ = graph
    low, high, behind = window
    to_go = np.full(high - low - 1, -np.inf)
    for place in range(len(to_go)):
        state = order[high - 1 - place]
        total = -np.float64(final[state]) if behind < 0 else -np.inf
        for arc in range(offsets[state], offsets[state + 1]):
            total = _log_add(total, _by_arc(arc, graph, window, to_go))
        to_go[high - low - 2 - place] = total
    return to_go


@njit(nogil=True, cache=True)
def _start(graph, order, window, to_go, generator):
    """A first state within the window, or the one behind it; −1 where there is none."""
    initial = graph[3]
    low, _, behind = window
    total = -np.float64(initial[behind]) if behind >= 0 else -np.inf
    for place in range(len(to_go)):
        total = _log_add(total, to_go[place] - initial[order[low + 1 + place]])
    if total == -np.inf:
        return np.int64(-1)
    left = generator.random()
    chosen = np.int64(behind)
    if behind >= 0:
        left -= np.exp(-initial[behind] - total)
        if left < 0.0:
            return chosen
    for place in range(len(to_go)):
        state = np.int64(order[low + 1 + place])
        share = np.exp(to_go[place] - initial[state] - total)
        if share > 0.0:
            chosen = state
            left -= share
            if left < 0.0:
                break
    return chosen


@njit(nogil=True, cache=True)
def _step(state, graph, window, to_go, generator):
    """An arc on from a state, −1 to end there, −2 where there is no way on."""
    offsets, _, _, _, final, _ = graph
    ending = -np.float64(final[state]) if window[2] < 0 else -np.inf
    total = ending
    for arc in range(offsets[state], offsets[state + 1]):
        total = _log_add(total, _by_arc(arc, graph, window, to_go))
    if total == -np.inf:
        return np.int64(-2)
    left = generator.random() - np.exp(ending - total)
    chosen = np.int64(-1)
    if left < 0.0:
        return chosen
    for arc in range(offsets[state], offsets[state + 1]):
        share = np.exp(_by_arc(arc, graph, window, to_go) - total)
        if share > 0.0:
            chosen = np.int64(arc)
            left -= share
            if left < 0.0:
                break
    return chosen


@njit(nogil=True, cache=True)
def resample(graph, order, first, arcs, low, high, generator):
    """The path with what lies strictly between the ranks ``low`` and ``high`` drawn anew, given the rest.

    ``graph`` is (offsets, destination, energy, initial, final, rank). What the path does up to the last state
    of a rank ≤ ``low``, and from the first state of a rank ≥ ``high`` on, stays as it is; so the exact
    conditional distribution of the rest can be drawn from, and leaves that of whole paths as it is.
    """
    destination, rank = graph[1], graph[5]
    states = np.empty(len(arcs) + 1, np.int64)
    states[0] = first
    for place in range(len(arcs)):
        states[place + 1] = destination[arcs[place]]
    kept = np.searchsorted(rank[states], low, side="right")  # states before the window
    after = np.searchsorted(rank[states], high, side="left")  # the first state behind it
    behind = states[after] if after < len(states) else np.int64(-1)
    window = np.int64(low), np.int64(high), behind
    to_go = _sums(graph, order, window)
    between = np.empty(high - low, np.int64)
    count = 0
    state = states[kept - 1] if kept > 0 else _start(graph, order, window, to_go, generator)
    if state < 0:
        return first, arcs
    begin = first if kept > 0 else state
    while state != behind:
        arc = _step(state, graph, window, to_go, generator)
        if arc == -2:
            return first, arcs
        if arc == -1:
            break
        between[count] = arc
        count += 1
        state = np.int64(destination[arc])
    return begin, np.concatenate((arcs[: max(kept - 1, 0)], between[:count], arcs[after:]))


@njit(nogil=True, cache=True)
def move(graph, order, first, arcs, window, count, generator):
    """The path after ``count`` moves, each within a window at random.

    A window is ``window`` ranks wide, and as often as not twice as wide, and so on, up to the whole graph, so
    that any path can be reached from any other.
    """
    states = len(order)
    for _ in range(count):
        width = min(window, states)
        while width < states and generator.random() < 0.5:
            width = min(2 * width, states)
        # One as wide as the graph holds all of it, wherever it begins.
        low = np.int64(generator.integers(-width, states)) if width < states else np.int64(-1)
        first, arcs = resample(
            graph, order, first, arcs, max(low, -1), min(low + width + 1, states), generator
        )
    return first, arcs
