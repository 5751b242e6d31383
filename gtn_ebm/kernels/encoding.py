"""Numbers for different rows of a table."""

import numpy as np
from numba import njit

EMPTY = -1


@njit(nogil=True, cache=True)
def distinct(rows):
    """(first, ranks): where each different row of ``rows``, [N, K] int64, first stands, in that order, and
    which of these each row is. By a hash table of open addressing, at most half full."""
    count, columns = rows.shape
    size = 2
    while size < 2 * count:
        size *= 2
    table = np.full(size, EMPTY, np.int32)
    mask = np.uint64(size - 1)
    first, ranks = np.empty(count, np.int32), np.empty(count, np.int32)
    found = 0
    for row in range(count):
        key = np.uint64(0)
        for column in range(columns):
            key = (key ^ np.uint64(rows[row, column])) * np.uint64(0x9E3779B97F4A7C15)
            key ^= key >> np.uint64(29)
        slot = key & mask
        while True:
            rank = table[slot]
            if rank == EMPTY:
                table[slot] = rank = found
                first[found] = row
                found += 1
                break
            same = True
            for column in range(columns):
                same &= rows[first[rank], column] == rows[row, column]
            if same:
                break
            slot = (slot + np.uint64(1)) & mask
        ranks[row] = rank
    return first[:found].copy(), ranks
