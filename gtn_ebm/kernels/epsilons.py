"""Epsilon closures: where each state gets by epsilon arcs alone, and the arcs that go on from there."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def closures(offsets, destination, starts):
    """The part of the epsilon graph that each of ``starts`` reaches, all these parts side by side.

    The epsilon arcs come grouped by the state they leave. An entry is (owner, state): ``state`` is reached
    from ``starts[owner]``; a start's own entry is the first of its entries. Returns of each entry its owner
    and state [K], of each owner its first entry [J + 1], and of each epsilon arc between two entries of one
    owner (source entry, destination entry, place of the arc) [E].
    """
    owner, state = np.empty(0, np.uint32), np.empty(0, np.uint32)
    source, target, placed = np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.uint32)
    first_entry = np.zeros(len(starts) + 1, np.int64)
    entry_of = np.empty(len(offsets) - 1, np.int64)
    queue = np.empty(len(offsets) - 1, np.uint32)
    for filling in (False, True):  # the first round counts
        entry_of[:] = -1
        entries = arcs = 0
        for start in range(len(starts)):
            first = done = entries
            first_entry[start] = first
            queue[0] = starts[start]
            entry_of[starts[start]] = first
            entries += 1
            while done < entries:
                q = queue[done - first]
                if filling:
                    owner[done], state[done] = start, q
                for place in range(offsets[q], offsets[q + 1]):
                    p = destination[place]
                    if entry_of[p] < first:
                        entry_of[p] = entries
                        queue[entries - first] = p
                        entries += 1
                    if filling:
                        source[arcs], target[arcs], placed[arcs] = done, entry_of[p], place
                    arcs += 1
                done += 1
        if not filling:
            owner, state = np.empty(entries, np.uint32), np.empty(entries, np.uint32)
            source, target = np.empty(arcs, np.uint32), np.empty(arcs, np.uint32)
            placed = np.empty(arcs, np.uint32)
    first_entry[len(starts)] = entries
    return owner, state, first_entry, source, target, placed


@njit(nogil=True, cache=True)
def leaving(offsets, arcs, state):
    """Each arc that leaves the state of an entry: its entry and itself; in the order of the entries.

    Those that leave q are ``arcs[offsets[q]:offsets[q + 1]]``.
    """
    count = np.int64(0)
    for q in state:
        count += np.int64(offsets[q + 1] - offsets[q])
    entry, arc = np.empty(count, np.int32), np.empty(count, np.int32)
    filled = 0
    for k in range(len(state)):
        for place in range(offsets[state[k]], offsets[state[k] + 1]):
            entry[filled], arc[filled] = k, arcs[place]
            filled += 1
    return entry, arc
