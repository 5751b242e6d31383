"""Edit distances: of strings to each other, and of all strings to those of an acceptor.

Several strings come as all their labels in a row and where in it each one's begin.

For an acceptor, all rows of distances that strings lead to are found, each once. A row, [S], holds for each
state of the acceptor the least cost of getting there with what has been read, less the least of its entries,
or NONE. An arc costs nothing where its label is read, else 1; with ``skips``, it may also be taken without
reading, for 1. The last state is not the acceptor's: there everything read is free, so that an entry above
its own counts as its own.
"""

import numpy as np
from numba import njit

NONE = 1 << 29
DONE, FULL = 0, 1
FREE = -1


@njit(nogil=True, cache=True)
def between(labels, begins):
    """The edit distance of each string to each, [N, N]."""
    count = len(begins) - 1
    distances = np.zeros((count, count), np.int64)
    for one in range(count):
        first = labels[begins[one] : begins[one + 1]]
        for other in range(one):
            second = labels[begins[other] : begins[other + 1]]
            row = np.arange(len(second) + 1)
            for i in range(len(first)):
                diagonal = row[0]
                row[0] = i + 1
                for j in range(len(second)):
                    above = row[j + 1]
                    replaced = diagonal + (first[i] != second[j])
                    row[j + 1] = min(replaced, min(above, row[j]) + 1)
                    diagonal = above
            distances[one, other] = distances[other, one] = row[len(second)]
    return distances


@njit(inline="always")
def _find(rows, table, mask, place):
    """The slot of the row at ``place``, or the empty one where it would be entered."""
    states = rows.shape[1]
    key = np.uint64(0)
    for state in range(states):
        key = (key ^ np.uint64(rows[place, state])) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    slot = key & mask
    while table[slot] != FREE:
        same = True
        for state in range(states):
            same &= rows[table[slot], state] == rows[place, state]
        if same:
            break
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(nogil=True, cache=True)
def fill_table(rows, count, table):
    """Enters the first ``count`` rows into an empty table, whose length is a power of two."""
    mask = np.uint64(len(table) - 1)
    for place in range(count):
        table[_find(rows, table, mask, place)] = place


@njit(inline="always")
def _read(source, destination, label, skips, read, before, after):
    """The row after reading a label, all of its entries."""
    last = len(before) - 1
    after[:] = NONE
    after[last] = before[last]
    for arc in range(len(source)):
        cost = before[source[arc]] + np.int32(label[arc] != read)
        after[destination[arc]] = min(after[destination[arc]], cost)
    changing = skips
    while changing:
        changing = False
        for arc in range(len(source)):
            cost = after[source[arc]] + np.int32(1)
            if cost < after[destination[arc]]:
                after[destination[arc]] = cost
                changing = True


@njit(inline="always")
def _reduce(row):
    """Takes off the least entry, which it returns, once none is above the last."""
    most, least = row[len(row) - 1], np.int32(NONE)
    for state in range(len(row)):
        row[state] = min(row[state], most)
        least = min(least, row[state])
    for state in range(len(row)):
        if row[state] < NONE:
            row[state] -= least
    return least


@njit(nogil=True, cache=True)
def expand(source, destination, label, skips, read, rows, table, following, least, progress):
    """Expands rows until all are done (DONE) or their array may get full (FULL).

    ``following`` and ``least``, [N, L], receive the row that each of the L labels leads to, and what was
    taken off it; ``progress`` holds (rows, rows expanded).
    """
    mask = np.uint64(len(table) - 1)
    count, expanded = progress[0], progress[1]
    status = DONE
    while expanded < count and status == DONE:
        if count + len(read) > len(rows):
            status = FULL
            break
        for k in range(len(read)):
            # Written where it stands if it is new.
            _read(source, destination, label, skips, read[k], rows[expanded], rows[count])
            least[expanded, k] = _reduce(rows[count])
            slot = _find(rows, table, mask, count)
            if table[slot] == FREE:
                table[slot] = count
                count += 1
            following[expanded, k] = table[slot]
        expanded += 1
    progress[0], progress[1] = count, expanded
    return status
