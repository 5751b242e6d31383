"""Strongly connected components."""

import numpy as np
from numba import njit

UNSEEN = np.uint32(0xFFFFFFFF)


@njit(nogil=True, cache=True)
def components(offsets, destination):
    """Tarjan's algorithm (1972), without recursion, on arcs grouped by source.

    Returns (order, starts): the states component by component, each before those its arcs lead to, and where
    each component begins in that order, with the number of states at the end. Within a component the states
    are in the reverse of the order in which a depth-first search leaves them: as few arcs as that can give
    lead back.
    """
    states = len(offsets) - 1
    number = np.full(states, UNSEEN, np.uint32)  # when the search met the state
    low = np.empty(states, np.uint32)
    component = np.full(states, UNSEEN, np.uint32)
    next_arc = offsets[:-1].copy()
    way = np.empty(states, np.uint32)  # from the root of the search to where it is
    pending = np.empty(states, np.uint32)  # met, but in no component yet
    left = np.empty(states, np.uint32)
    met = leaving = waiting = found = 0
    for root in range(states):
        if number[root] != UNSEEN:
            continue
        height = 1
        way[0] = root
        while height > 0:
            state = way[height - 1]
            if number[state] == UNSEEN:
                number[state] = low[state] = met
                met += 1
                pending[waiting] = state
                waiting += 1
            below = UNSEEN
            while next_arc[state] < offsets[state + 1]:
                target = destination[next_arc[state]]
                if number[target] == UNSEEN:
                    below = target  # the arc is looked at once more, on the way back
                    break
                next_arc[state] += np.uint32(1)
                if component[target] == UNSEEN:
                    low[state] = min(low[state], low[target])
            if below != UNSEEN:
                way[height] = below
                height += 1
                continue
            height -= 1
            left[leaving] = state
            leaving += 1
            if low[state] == number[state]:
                while True:
                    waiting -= 1
                    component[pending[waiting]] = found
                    if pending[waiting] == state:
                        break
                found += 1
    starts = np.zeros(found + 1, np.uint32)
    for state in range(states):
        starts[found - component[state]] += np.uint32(1)
    for k in range(found):
        starts[k + 1] += starts[k]
    place = starts[:-1].copy()
    order = np.empty(states, np.uint32)
    for position in range(states):
        state = left[states - 1 - position]
        own = found - 1 - component[state]
        order[place[own]] = state
        place[own] += np.uint32(1)
    return order, starts
