"""Single paths of any graph: the best, the best few, and paths drawn at random.

Arcs come grouped by the state they leave: those of state u are ``offsets[u]`` to ``offsets[u + 1]``. Several
paths come back as all their arcs in a row and where in it each path's begin.
"""

import numpy as np
from numba import njit

NONE, REFUSED = -1, -2
"""For the first state of a path: there is no path; an energy is NaN or −inf."""


@njit(nogil=True, cache=True)
def least(order, offsets, destination, energy, initial, final):
    """Least energies to go of an acyclic graph, the best arc on from each state (−1 to end), the best start.

    The start is NONE where there is no path, and REFUSED where an energy is NaN or −inf.
    """
    states = len(order)
    to_go = np.empty(states, np.float64)
    best_arc = np.empty(states, np.int64)
    first = np.int64(NONE)
    least_total = np.inf
    refused = 0
    for place in range(len(energy)):
        refused += not energy[place] > -np.inf
    for position in range(states):
        u = order[states - 1 - position]
        best = np.float64(final[u])
        choice = np.int64(-1)
        for arc in range(offsets[u], offsets[u + 1]):
            candidate = energy[arc] + to_go[destination[arc]]
            choice = np.int64(arc) if candidate < best else choice
            best = min(candidate, best)
        to_go[u] = best
        best_arc[u] = choice
        refused += not (final[u] > -np.inf and initial[u] > -np.inf)
        if initial[u] + best < least_total:
            least_total = initial[u] + best
            first = np.int64(u)
    return np.int64(REFUSED) if refused else first, to_go, best_arc


@njit(nogil=True, cache=True)
def follow(destination, energy, initial, final, first, best_arc):
    """The path along the best arcs from the state ``first``, if it is one: (first, arcs, last, energy)."""
    if first < 0:
        return first, best_arc[:0], first, np.inf
    length = 0
    state = first
    while best_arc[state] >= 0:
        length += 1
        state = np.int64(destination[best_arc[state]])
    arcs = np.empty(length, np.int64)
    total = np.float64(initial[first])
    state = first
    for place in range(length):
        arcs[place] = best_arc[state]
        total += energy[arcs[place]]
        state = np.int64(destination[arcs[place]])
    return first, arcs, state, total + final[state]


@njit(nogil=True, cache=True)
def best(order, offsets, destination, energy, initial, final):
    """The best path of an acyclic graph, as ``follow`` gives it."""
    first, _, best_arc = least(order, offsets, destination, energy, initial, final)
    return follow(destination, energy, initial, final, first, best_arc)


@njit(nogil=True, cache=True)
def steps(offsets, destination, energy, final, to_go):
    """Of each state, the probabilities of its arcs summed up one by one [A], and that of ending there [S].

    ``to_go`` is the free energy (at β = 1) from each state to the end. Where it is +inf they are left at 0.
    """
    cumulative = np.zeros(len(destination), np.float64)
    ending = np.zeros(len(final), np.float64)
    for u in range(len(final)):
        if to_go[u] == np.inf:
            continue
        total = 0.0
        for arc in range(offsets[u], offsets[u + 1]):
            total += np.exp(to_go[u] - energy[arc] - to_go[destination[arc]])
            cumulative[arc] = total
        ending[u] = np.exp(to_go[u] - final[u])
    return cumulative, ending


@njit(nogil=True, cache=True)
def walk(offsets, destination, cumulative, ending, first, generator):
    """A path at random from each state of ``first``: (arcs of all, where each path's begin, last states)."""
    arcs = [np.int64(0) for _ in range(0)]
    begins = np.zeros(len(first) + 1, np.int64)
    last = np.empty(len(first), np.int64)
    for place, start in enumerate(first):
        u = np.int64(start)
        while True:
            low, high = np.int64(offsets[u]), np.int64(offsets[u + 1])
            onwards = cumulative[high - 1] if high > low else 0.0
            chosen = generator.random() * (onwards + ending[u])
            if chosen >= onwards:
                break
            while low < high:  # the first arc whose sum is above what was drawn
                middle = (low + high) // 2
                if cumulative[middle] > chosen:
                    high = middle
                else:
                    low = middle + 1
            arcs.append(low)
            u = np.int64(destination[low])
        begins[place + 1] = len(arcs)
        last[place] = u
    return np.array(arcs, dtype=np.int64), begins, last
