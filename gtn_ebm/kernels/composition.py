"""Composition of two transducers with the three-state epsilon filter of Mohri, Pereira and Riley (2002).

A composed state is (state of the first, state of the second, filter state). Moves, and the filter state they lead to:

    both on a real label           from 0, 1, 2   to 0
    both on epsilon                from 0         to 0
    the first alone, on epsilon    from 0, 1      to 1
    the second alone, on epsilon   from 0, 2      to 2

so that each pair of matching paths makes exactly one composed path. Breadth first, states found through a hash table of
open addressing. Nothing is allocated while searching: ``expand`` returns when an array is full, the caller grows it and
calls again.
"""

import numpy as np
from numba import njit

DONE, STATES_FULL, ARCS_FULL = 0, 1, 2
EMPTY = -1


@njit(inline="always")
def _slot(key, mask):
    mixed = key * np.int64(-7046029254386353131)
    return (mixed ^ (mixed >> np.int64(32))) & mask


@njit(nogil=True, cache=True)
def fill_table(keys, count, table):
    """Enters the ids 0 … count − 1 of ``keys`` into an empty table, whose length is a power of two."""
    mask = np.int64(len(table) - 1)
    for state in range(count):
        slot = _slot(keys[state], mask)
        while table[slot] != EMPTY:
            slot = (slot + 1) & mask
        table[slot] = state


@njit(inline="always")
def _find(key, keys, table, mask, states):
    """The id of ``key``, entered under the next id if it is new."""
    slot = _slot(key, mask)
    while True:
        state = table[slot]
        if state == EMPTY:
            table[slot] = states
            keys[states] = key
            return np.int64(states), states + 1
        if keys[state] == key:
            return np.int64(state), states
        slot = (slot + 1) & mask


@njit(inline="always")
def _gallop(labels, start, stop, wanted):
    """The first place in ``labels[start:stop]``, which is sorted, whose label is at least ``wanted``."""
    step = 1
    low = start
    high = start
    while high < stop and labels[high] < wanted:
        low = high + 1
        high += step
        step *= 2
    high = min(high, stop)
    while low < high:
        middle = (low + high) // 2
        if labels[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True)
def expand(offsets1, labels1, next1, offsets2, labels2, next2, keys, table, source, destination, place1, place2, progress):
    """Expands composed states until all are done or an array is full; returns DONE, STATES_FULL or ARCS_FULL.

    The arcs of both graphs are sorted by state and then by the label to match (epsilon, −1, first); ``offsets`` index
    them by state. A key is (q1 · states2 + q2) · 3 + filter. ``place1`` and ``place2`` receive the places of the two arcs in
    that sorting, −1 where that graph stays. ``progress`` holds (states, arcs, states expanded).
    """
    states2 = np.int64(len(offsets2) - 1)
    mask = np.int64(len(table) - 1)
    states, arcs, expanded = progress[0], progress[1], progress[2]
    limit = np.int64(len(source))
    status = DONE
    while expanded < states:
        key = keys[expanded]
        filter_state = key % 3
        pair = key // 3
        q1, q2 = pair // states2, pair % states2
        i, end1 = np.int64(offsets1[q1]), np.int64(offsets1[q1 + 1])
        j, end2 = np.int64(offsets2[q2]), np.int64(offsets2[q2 + 1])
        epsilons1, epsilons2 = i, j
        while epsilons1 < end1 and labels1[epsilons1] < 0:
            epsilons1 += 1
        while epsilons2 < end2 and labels2[epsilons2] < 0:
            epsilons2 += 1
        first_arc = arcs
        # A state is expanded whole or, when an array fills up, taken up anew.
        if filter_state != 2:
            for a in range(i, epsilons1):
                if arcs >= limit or states >= len(keys):
                    break
                key = (np.int64(next1[a]) * states2 + q2) * 3 + 1
                target, states = _find(key, keys, table, mask, states)
                source[arcs], destination[arcs], place1[arcs], place2[arcs] = expanded, target, a, -1
                arcs += 1
        if filter_state != 1:
            for b in range(j, epsilons2):
                if arcs >= limit or states >= len(keys):
                    break
                key = (q1 * states2 + np.int64(next2[b])) * 3 + 2
                target, states = _find(key, keys, table, mask, states)
                source[arcs], destination[arcs], place1[arcs], place2[arcs] = expanded, target, -1, b
                arcs += 1
        if filter_state != 0:
            i, j = epsilons1, epsilons2
        while i < end1 and j < end2:
            label = labels1[i]
            if label < labels2[j]:
                i = _gallop(labels1, i, end1, labels2[j])
                continue
            if label > labels2[j]:
                j = _gallop(labels2, j, end2, label)
                continue
            group2 = j
            while i < end1 and labels1[i] == label:
                j = group2
                while j < end2 and labels2[j] == label:
                    if arcs >= limit or states >= len(keys):
                        break
                    key = (np.int64(next1[i]) * states2 + np.int64(next2[j])) * 3
                    target, states = _find(key, keys, table, mask, states)
                    source[arcs], destination[arcs], place1[arcs], place2[arcs] = expanded, target, i, j
                    arcs += 1
                    j += 1
                if arcs >= limit or states >= len(keys):
                    break
                i += 1
            if arcs >= limit or states >= len(keys):
                break
        if arcs >= limit:
            arcs = first_arc
            status = ARCS_FULL
            break
        if states >= len(keys):
            arcs = first_arc
            status = STATES_FULL
            break
        expanded += 1
    progress[0], progress[1], progress[2] = states, arcs, expanded
    return status
