"""The best few strings of an acceptor without epsilons, all paths of a string summed.

Arcs come grouped by the state they leave and sorted by label: those of state u are ``offsets[u]`` to
``offsets[u + 1]``. Energies are those at β = 1.
"""

import heapq

import numpy as np
from numba import njit

NONE = -1


@njit(nogil=True, cache=True)
def _free(energies):
    """−log Σ exp(−E) of some energies."""
    least = np.inf
    for energy in energies:
        least = min(least, energy)
    if least == np.inf:
        return np.inf
    total = 0.0
    for energy in energies:
        total += np.exp(least - energy)
    return least - np.log(total)


@njit(nogil=True, cache=True)
def raise_bounds(order, offsets, labels, destination, energy, final, bound, sweeps):
    """Raises lower bounds of the free energy of any one string from each state on, in place.

    A string is no better than its first label with the bounds of all states that this leads to together, and
    the best first label counts: bound(u) = min(final(u), min over labels of F over arcs of (energy + bound)).
    With the states in topological ``order`` one sweep finds it; on cycles more sweeps come nearer.
    """
    for _ in range(sweeps):
        for place in range(len(order)):
            u = order[len(order) - 1 - place]
            if bound[u] == np.inf:
                continue
            best = np.float64(final[u])
            first = np.int64(offsets[u])
            while first < offsets[u + 1]:
                last = first
                while last < offsets[u + 1] and labels[last] == labels[first]:
                    last += 1
                ways = np.empty(last - first)
                for arc in range(first, last):
                    ways[arc - first] = energy[arc] + bound[destination[arc]]
                best = min(best, _free(ways))
                first = last
            bound[u] = max(bound[u], best)


@njit(nogil=True, cache=True)
def best_strings(offsets, labels, destination, energy, initial, final, bound, count, most):
    """The ``count`` strings of least free energy: (labels of all, where each begins), and whether more than
    ``most`` beginnings of strings were looked at, in which case there are fewer.

    A search from beginnings to longer ones, best first. A beginning leads to states, each with the free
    energy of the paths that read it and get there. With those from there on, at least ``bound``, they make a
    bound of the free energy of any string that begins so. What ends is known exactly: a string that comes
    first in the queue is the best of all that is left.
    """
    # A beginning is (the one before, its last label, where its states are); a state of it (state, energy).
    beginnings = [(np.int64(NONE), np.int64(NONE), np.int64(0), np.int64(0)) for _ in range(0)]
    states = [(np.int64(0), 0.0) for _ in range(0)]
    found = [np.int64(0) for _ in range(0)]
    queue = [(0.0, np.int64(0), np.int64(0), False) for _ in range(0)]  # (energy, number, beginning, is end)
    for u in range(len(initial)):
        if initial[u] + bound[u] < np.inf:
            states.append((np.int64(u), np.float64(initial[u])))
    if len(states) > 0:
        beginnings.append((np.int64(NONE), np.int64(NONE), np.int64(0), np.int64(len(states))))
        queue.append((0.0, np.int64(0), np.int64(0), False))
    number = np.int64(1)
    looked_at = 0
    while len(found) < count and len(queue) > 0 and looked_at <= most:
        _, _, place, is_end = heapq.heappop(queue)
        if is_end:
            found.append(place)
            continue
        looked_at += 1
        _, _, begin, end = beginnings[place]
        ending = _free(np.array([states[k][1] + final[states[k][0]] for k in range(begin, end)]))
        if ending < np.inf:
            heapq.heappush(queue, (ending, number, place, True))
            number += 1
        onwards = _arcs_on(offsets, labels, destination, energy, bound, states, begin, end)
        first = 0
        while first < len(onwards):
            label = onwards[first][0]
            last = first
            while last < len(onwards) and onwards[last][0] == label:
                last += 1
            least = _longer(beginnings, states, bound, place, onwards, first, last)
            heapq.heappush(queue, (least, number, np.int64(len(beginnings) - 1), False))
            number += 1
            first = last
    return _written_out(beginnings, found), looked_at > most


@njit(nogil=True, cache=True)
def _arcs_on(offsets, labels, destination, energy, bound, states, begin, end):
    """(label, next state, free energy with the arc) of all arcs from a beginning, sorted."""
    onwards = [(np.int64(0), np.int64(0), 0.0) for _ in range(0)]
    for k in range(begin, end):
        state, so_far = states[k]
        for arc in range(offsets[state], offsets[state + 1]):
            target = np.int64(destination[arc])
            if energy[arc] + bound[target] < np.inf:
                onwards.append((np.int64(labels[arc]), target, so_far + energy[arc]))
    onwards.sort()
    return onwards


@njit(nogil=True, cache=True)
def _longer(beginnings, states, bound, place, onwards, first, last):
    """Adds the beginning that is one label longer, by some of the arcs; returns a bound of what begins so."""
    begin = np.int64(len(states))
    while first < last:
        target = onwards[first][1]
        stop = first
        while stop < last and onwards[stop][1] == target:
            stop += 1
        states.append((target, _free(np.array([onwards[k][2] for k in range(first, stop)]))))
        label = onwards[first][0]
        first = stop
    beginnings.append((place, label, begin, np.int64(len(states))))
    return _free(np.array([states[k][1] + bound[states[k][0]] for k in range(begin, len(states))]))


@njit(nogil=True, cache=True)
def _written_out(beginnings, found):
    """Strings label by label."""
    labels = [np.int64(0) for _ in range(0)]
    begins = np.zeros(len(found) + 1, np.int64)
    for k, place in enumerate(found):
        while beginnings[place][0] >= 0:
            labels.append(beginnings[place][1])
            place = beginnings[place][0]
        begins[k + 1] = len(labels)
    written = np.array(labels, np.int64)
    for k in range(len(found)):
        written[begins[k] : begins[k + 1]] = written[begins[k] : begins[k + 1]][::-1].copy()
    return written, begins
