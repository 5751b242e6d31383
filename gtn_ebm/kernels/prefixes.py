"""The longest common prefix of what all paths from a state write."""

import numpy as np
from numba import njit

NO_PATH = np.int64(-1)


@njit(nogil=True, cache=True)
def _next(state, labels, onwards, first_arc):
    """Goes from a state along the first arcs to the next one with a label: (label, the state behind it)."""
    arc = first_arc[state]
    while labels[arc] < 0:
        arc = first_arc[onwards[arc]]
    return labels[arc], onwards[arc]


@njit(nogil=True, cache=True)
def common_prefixes(order, offsets, onwards, labels, usable, is_final, length, first_arc):
    """The length of each state's prefix into ``length``, −1 where no path leads to a final state, and into
    ``first_arc`` an arc that begins with it.

    A prefix is never written out: it is read off by following the first arcs. A prefix only becomes
    shorter, and so the rounds end, after one where the order is that of an acyclic graph.
    """
    length[:] = NO_PATH
    first_arc[:] = -1
    for state in range(len(order)):
        if is_final[state]:
            length[state] = 0
    changed = True
    while changed:
        changed = False
        for position in range(len(order)):
            state = order[len(order) - 1 - position]
            for arc in range(offsets[state], offsets[state + 1]):
                after = onwards[arc]
                if not usable[arc] or length[after] < 0 or length[state] == 0:
                    continue
                offered = length[after] + (labels[arc] >= 0)
                if length[state] < 0:
                    length[state], first_arc[state] = offered, np.int64(arc)
                    changed = True
                    continue
                common = _common(state, arc, min(length[state], offered), labels, onwards, first_arc)
                changed |= common < length[state]
                length[state] = common


@njit(nogil=True, cache=True)
def _common(state, arc, most, labels, onwards, first_arc):
    """How many labels, at most ``most``, agree on the way of the state's prefix and on that beginning by
    the arc."""
    if most == 0 or np.int64(arc) == first_arc[state]:
        return most
    common = 0
    here, there = np.int64(state), np.int64(onwards[arc])
    if labels[arc] >= 0:
        label, here = _next(here, labels, onwards, first_arc)
        if label != labels[arc]:
            return 0
        common = 1
    while common < most and here != there:
        label, here = _next(here, labels, onwards, first_arc)
        other, there = _next(there, labels, onwards, first_arc)
        if label != other:
            return common
        common += 1
    return most


@njit(nogil=True, cache=True)
def prefix(state, length, labels, onwards, first_arc):
    """The labels of a state's prefix, written out."""
    result = np.empty(length[state], np.int64)
    count = np.int64(len(result))
    for place in range(count):
        result[place], state = _next(state, labels, onwards, first_arc)
    return result
