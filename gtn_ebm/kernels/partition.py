"""The coarsest stable partition: which states cannot be told apart by the edges that reach them.

Hopcroft's algorithm (1971) with sums in the place of letters, as in colour refinement (Cardon, Crochemore
1982): a block is split by the sum of marks each of its states gets from a splitter. Since the sums over the
parts of a split block add up to that over the whole, the largest part need not be a splitter again.
"""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def refine(block, blocks, offsets, touched_by, marks):
    """Splits blocks until, for any two states of a block and every block C, the marks that the two get from
    the edges of the states of C have the same sum modulo 2⁶⁴.

    Args:
        block: of each state, [S] int64, 0 … blocks − 1, each of them used; overwritten with the result.
        offsets, touched_by, marks: the edges of state s, from ``offsets[s]`` to ``offsets[s + 1]``: the state
            (int64) that each gives its mark (uint64) to.

    Returns the number of blocks. O(edges · log states), beside sorting within blocks.
    """
    states = len(block)
    first, end = np.zeros(states + 1, np.int64), np.empty(states, np.int64)
    for state in range(states):
        first[block[state] + 1] += 1
    for b in range(blocks):
        first[b + 1] += first[b]
        end[b] = first[b]
    members, place = np.empty(states, np.int64), np.empty(states, np.int64)
    for state in range(states):
        place[state] = end[block[state]]
        members[place[state]] = state
        end[block[state]] += 1
    waiting, is_waiting = np.empty(states, np.int64), np.zeros(states, np.bool_)
    for b in range(blocks):
        waiting[b] = b
        is_waiting[b] = True
    count = blocks
    touched, is_touched = np.empty(states, np.int64), np.zeros(states, np.bool_)
    sums = np.zeros(states, np.uint64)
    hit, hits = np.empty(states, np.int64), np.zeros(states, np.int64)
    while count > 0:
        count -= 1
        splitter = waiting[count]
        is_waiting[splitter] = False
        found = 0
        for position in range(first[splitter], end[splitter]):
            state = members[position]
            for edge in range(offsets[state], offsets[state + 1]):
                target = touched_by[edge]
                if not is_touched[target]:
                    is_touched[target] = True
                    sums[target] = 0
                    touched[found] = target
                    found += 1
                sums[target] += marks[edge]
        # The touched states of each block go to its front.
        blocks_hit = 0
        for t in range(found):
            state = touched[t]
            is_touched[state] = False
            b = block[state]
            if hits[b] == 0:
                hit[blocks_hit] = b
                blocks_hit += 1
            front = first[b] + hits[b]
            other = members[front]
            members[place[state]], place[other] = other, place[state]
            members[front], place[state] = state, front
            hits[b] += 1
        for h in range(blocks_hit):
            b = hit[h]
            start, stop = first[b], first[b] + hits[b]
            hits[b] = 0
            _sort_by_sum(members[start:stop], sums)
            for position in range(start, stop):
                place[members[position]] = position
            # Each run of equal sums becomes a block of its own; the last, or the rest, keeps its number.
            before = blocks
            largest, largest_size = -1, 0
            begin = start
            for position in range(start + 1, stop + 1):
                if position < stop and sums[members[position]] == sums[members[begin]]:
                    continue
                if position == end[b]:
                    break
                first[blocks], end[blocks] = begin, position
                for moved in range(begin, position):
                    block[members[moved]] = blocks
                if position - begin > largest_size:
                    largest, largest_size = blocks, position - begin
                blocks += 1
                begin = position
            first[b] = begin
            exempt = b
            if largest_size > end[b] - begin and not is_waiting[b]:
                waiting[count] = b
                is_waiting[b] = True
                count += 1
                exempt = largest
            for new in range(before, blocks):
                if new != exempt:
                    waiting[count] = new
                    is_waiting[new] = True
                    count += 1
    return blocks


@njit(nogil=True, cache=True)
def _sort_by_sum(members, sums):
    for place in range(1, len(members)):
        if sums[members[place]] != sums[members[0]]:
            members[:] = members[np.argsort(sums[members])].copy()
            return
