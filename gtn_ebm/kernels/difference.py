"""The paths of one graph beside where a deterministic acceptor is after what they write, or that it is lost.

A state is a pair (state of the graph, state of the acceptor), whose key is q₁ · (states₂ + 1) + q₂; the
acceptor's states are one more than it has, the last being where a string that it cannot read leads. Pairs are
found breadth first, through a hash table.
"""

import numpy as np
from numba import njit

DONE, STATES_FULL, ARCS_FULL = 0, 1, 2
EMPTY = EPSILON = -1


@njit(inline="always")
def _slot(key, mask):
    hashed = key * np.int64(-7046029254386353131)
    return (hashed ^ (hashed >> np.int64(32))) & mask


@njit(nogil=True, cache=True)
def fill_table(keys, count, table):
    """Enters the first ``count`` keys into an empty table, whose length is a power of two."""
    mask = np.int64(len(table) - 1)
    for state in range(count):
        slot = _slot(keys[state], mask)
        while table[slot] != EMPTY:
            slot = (slot + 1) & mask
        table[slot] = state


@njit(inline="always")
def _next(offsets, labels, targets, state, label):
    """Where the acceptor goes from a state on a label; its labels are sorted in each state."""
    lost = len(offsets) - 1
    if state == lost or label == EPSILON:
        return np.int64(state)
    low, stop = np.int64(offsets[state]), np.int64(offsets[state + 1])
    high = stop
    while low < high:
        middle = (low + high) // 2
        if labels[middle] < label:
            low = middle + 1
        else:
            high = middle
    return np.int64(targets[low]) if low < stop and labels[low] == label else np.int64(lost)


@njit(nogil=True, cache=True)
def expand(
    offsets1, arcs1, written1, next1, offsets2, labels2, next2,
    keys, table, source, destination, arc, progress,
):  # fmt: skip
    """Expands pairs until all are done (DONE) or the arrays of states or of arcs may get full.

    ``arcs1`` are the graph's arcs by state, ``arc`` receives the one of each new arc, and ``progress`` holds
    (pairs, arcs, pairs expanded).
    """
    states2 = np.int64(len(offsets2))
    mask = np.int64(len(table) - 1)
    states, arcs, expanded = progress[0], progress[1], progress[2]
    status = DONE
    while expanded < states:
        q1 = keys[expanded] // states2
        q2 = keys[expanded] - q1 * states2
        leaving = np.int64(offsets1[q1 + 1]) - np.int64(offsets1[q1])
        status = ARCS_FULL if arcs + leaving > len(arc) else DONE
        if states + leaving > len(keys):
            status = STATES_FULL
        if status != DONE:
            break
        for chosen in arcs1[offsets1[q1] : offsets1[q1 + 1]]:
            following = _next(offsets2, labels2, next2, q2, written1[chosen])
            key = np.int64(next1[chosen]) * states2 + following
            slot = _slot(key, mask)
            while table[slot] != EMPTY and keys[table[slot]] != key:
                slot = (slot + 1) & mask
            if table[slot] == EMPTY:
                table[slot] = states
                keys[states] = key
                states += 1
            source[arcs], destination[arcs], arc[arcs] = expanded, table[slot], chosen
            arcs += 1
        expanded += 1
    progress[0], progress[1], progress[2] = states, arcs, expanded
    return status
