"""Whether two paths that read the same write the same."""

import numpy as np
from numba import njit

EPSILON = -1


@njit(nogil=True, cache=True)
def delays_agree(offsets, arcs, destination, written1, written2, initial, final):
    """Whether the two sides write the same along every path of a connected graph whose arcs (grouped by
    source) write ``written1`` on one side and ``written2`` on the other.

    What one side has written ahead of the other, its delay, must be the same on all ways to a state, must
    begin with what the other writes next, and must be nothing at a final state. Each state is met once.
    """
    states = len(offsets) - 1
    pool, used = np.empty(1024, np.int32), 0
    ahead = np.full(states, -1, np.int8)  # 0 or 1, the side ahead; −1 where the state has not been met
    start, length = np.zeros(states, np.int64), np.zeros(states, np.int64)
    queue, met = np.empty(states, np.int64), 0
    for state in range(states):
        if initial[state]:
            ahead[state] = 0
            queue[met] = state
            met += 1
    done = 0
    while done < met:
        state = queue[done]
        done += 1
        if final[state] and length[state] > 0:
            return False
        for place in range(offsets[state], offsets[state + 1]):
            arc = arcs[place]
            side, begin, size = np.int64(ahead[state]), start[state], length[state]
            for writer in range(2):
                label = written1[arc] if writer == 0 else written2[arc]
                if label == EPSILON:
                    continue
                if size > 0 and side != writer:
                    if pool[begin] != label:
                        return False
                    begin += 1
                    size -= 1
                    continue
                if used + size + 1 > len(pool):
                    pool = np.append(pool, np.empty(len(pool) + size, np.int32))
                if begin + size != used:  # strings share the pool: only the last can be written on
                    pool[used : used + size] = pool[begin : begin + size]
                    begin = used
                pool[begin + size] = label
                size += 1
                used = begin + size
                side = writer
            target = destination[arc]
            if ahead[target] < 0:
                ahead[target], start[target], length[target] = side, begin, size
                queue[met] = target
                met += 1
            elif length[target] != size or (size > 0 and ahead[target] != side):
                return False
            else:
                for k in range(size):
                    if pool[start[target] + k] != pool[begin + k]:
                        return False
    return True
