"""Longest common prefixes of what all paths from each state write, and the labels that move because of them.

The prefix of a state begins what any one path from it writes. So one path is chosen for each state, all of
them along a tree towards the final states (``next_arc``), and the prefix is the length of a part of it.
"""

import numpy as np
from numba import njit

EPSILON = -1


@njit(nogil=True, cache=True)
def shortest_paths(in_offsets, in_arcs, source, output, final):
    """An arc on from each state towards the nearest final one, −1 from a final state; the states that lead to
    one, nearest first; and how many labels the path along these arcs writes."""
    states = len(final)
    next_arc = np.full(states, -1, np.int64)
    length = np.zeros(states, np.int64)
    seen = final.copy()
    order = np.empty(states, np.uint32)
    found = 0
    for q in range(states):
        if final[q]:
            order[found] = q
            found += 1
    done = 0
    while done < found:
        q = order[done]
        done += 1
        for arc in in_arcs[in_offsets[q] : in_offsets[q + 1]]:
            p = source[arc]
            if not seen[p]:
                seen[p] = True
                next_arc[p] = arc
                length[p] = length[q] + (output[arc] != EPSILON)
                order[found] = p
                found += 1
    return next_arc, order[:found], length


@njit(inline="always")
def _next_label(state, next_arc, destination, output):
    """The next label that the path from ``state`` writes, which must write one more; and the state then."""
    while True:
        arc = next_arc[state]
        state = np.int64(destination[arc])
        if output[arc] != EPSILON:
            return output[arc], state


@njit(inline="always")
def _common(arc, state, length, next_arc, destination, output):
    """How many labels of the prefix of ``state`` begin what ``arc``, which leaves it, and then the prefix of
    the state it enters write."""
    other = np.int64(destination[arc])
    limit = length[other] + (output[arc] != EPSILON)
    if next_arc[state] == arc:
        return min(limit, length[state])
    limit = min(limit, length[state])
    same = np.int64(0)
    if limit > 0 and output[arc] != EPSILON:
        label, state = _next_label(state, next_arc, destination, output)
        if label != output[arc]:
            return same
        same += 1
    while same < limit and state != other:
        label, state = _next_label(state, next_arc, destination, output)
        other_label, other = _next_label(other, next_arc, destination, output)
        if label != other_label:
            return same
        same += 1
    return limit


@njit(nogil=True, cache=True)
def shorten(out_offsets, out_arcs, in_offsets, in_arcs, source, destination, output, next_arc, order, length):
    """Cuts ``length`` in place, from that of the whole chosen path (or less, which stays a bound), to the
    longest common prefix.

    A state is looked at again whenever one that it leads to has been cut.
    """
    states = len(order)
    queue = order.copy()  # a ring
    waiting = np.ones(len(length), np.bool_)
    first, count = 0, states
    while count > 0:
        q = np.int64(queue[first])
        first = (first + 1) % states
        count -= 1
        waiting[q] = False
        shortest = length[q]
        if next_arc[q] >= 0:
            for arc in out_arcs[out_offsets[q] : out_offsets[q + 1]]:
                shortest = min(shortest, _common(arc, q, length, next_arc, destination, output))
        if shortest == length[q]:
            continue
        length[q] = shortest
        for arc in in_arcs[in_offsets[q] : in_offsets[q + 1]]:
            p = source[arc]
            if not waiting[p]:
                waiting[p] = True
                queue[(first + count) % states] = p
                count += 1


@njit(nogil=True, cache=True)
def prefix(state, length, next_arc, destination, output):
    """The labels of a state's prefix, written out."""
    labels = np.empty(length[state], np.int32)
    for place in range(len(labels)):
        labels[place], state = _next_label(state, next_arc, destination, output)
    return labels


@njit(nogil=True, cache=True)
def moved_labels(source, destination, output, next_arc, length):
    """What each arc writes once each state's prefix is written before it is entered: the labels of arc a are
    ``labels[offsets[a]:offsets[a + 1]]``."""
    arcs = len(source)
    offsets = np.zeros(arcs + 1, np.int64)
    for arc in range(arcs):
        own = np.int64(output[arc] != EPSILON)
        offsets[arc + 1] = offsets[arc] + own + length[destination[arc]] - length[source[arc]]
    labels = np.empty(offsets[arcs], np.int32)
    for arc in range(arcs):
        start, stop = offsets[arc], offsets[arc + 1]
        if start == stop:
            continue
        state = np.int64(destination[arc])
        skipped = length[source[arc]]
        if output[arc] != EPSILON and skipped == 0:
            labels[start] = output[arc]
            start += 1
        elif output[arc] != EPSILON:
            skipped -= 1
        for _ in range(skipped):
            _, state = _next_label(state, next_arc, destination, output)
        for place in range(start, stop):
            labels[place], state = _next_label(state, next_arc, destination, output)
    return offsets, labels
