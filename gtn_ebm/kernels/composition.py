"""Composition of two transducers with the sequencing epsilon filter (Allauzen, Riley, Schalkwyk 2009).

A composed state is (state of the first, state of the second, filter state). Moves, and the filter state they
lead to:

    both on a real label                  from 0, 1   to 0
    the first alone, on output epsilon    from 0      to 0
    the second alone, on input epsilon    from 0, 1   to 1

so that between two real labels the first's epsilons come before the second's, and each pair of matching paths
makes exactly one composed path. Where the first has no epsilon to take, the last move leads to 0 instead,
which saves states; where it has nothing but epsilons, that move leads nowhere and is not made.

Breadth first, states found through a hash table of open addressing. Nothing is allocated while searching:
``expand`` returns when an array is full, the caller grows it and calls again.
"""

import numpy as np
from numba import njit

DONE, STATES_FULL, ARCS_FULL = 0, 1, 2
EMPTY = -1
EPSILON = -1


# To the next cache line, and one place on in it: odd, so that all places of the table are tried in the end.
NEXT = np.int64(17)


@njit(inline="always")
def _slot(key, mask):
    # Sixteen neighbouring keys share a cache line: states found one after the other have neighbouring keys.
    block = (key >> np.int64(4)) * np.int64(-7046029254386353131)
    line = block >> np.int64(32)
    return ((line << np.int64(4)) | ((key + (block >> np.int64(60))) & np.int64(15))) & mask


@njit(nogil=True, cache=True)
def fill_table(keys, count, table):
    """Enters the ids 0 … count − 1 of ``keys`` into an empty table, whose length is a power of two."""
    mask = np.int64(len(table) - 1)
    for state in range(count):
        slot = _slot(keys[state], mask)
        while table[slot] != EMPTY:
            slot = (slot + NEXT) & mask
        table[slot] = state


@njit(inline="always")
def _find(key, keys, table, mask, states):
    """The id of ``key``, entered under the next id if it is new; and the number of states then."""
    slot = _slot(key, mask)
    while True:
        state = table[slot]
        if state == EMPTY:
            table[slot] = states
            keys[states] = key
            return states, states + 1
        if keys[state] == key:
            return np.int64(state), states
        slot = (slot + NEXT) & mask


@njit(inline="always")
def _after(labels, start, stop, wanted):
    """The first place in ``labels[start:stop]``, sorted, whose label is greater than ``wanted``; by leaps."""
    step = 1
    low = start
    high = start
    while high < stop and labels[high] <= wanted:
        low = high + 1
        high += step
        step *= 2
    high = min(high, stop)
    while low < high:
        middle = (low + high) // 2
        if labels[middle] <= wanted:
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True)
def expand(
    offsets1, labels1, next1, final1, offsets2, labels2, next2,
    keys, table, source, destination, place1, place2, progress,
):  # fmt: skip
    """Expands composed states until all are done or an array may get full; returns DONE, STATES_FULL or
    ARCS_FULL.

    The arcs of both graphs are sorted by state and then by the label to match (epsilon, −1, first);
    ``offsets`` index them by state. A key is (filter · states1 + q1) · states2 + q2. ``place1`` and
    ``place2`` receive the places of the two arcs in that sorting, −1 where that graph stays. ``progress``
    holds (states, arcs, states expanded).
    """
    states1, states2 = np.int64(len(offsets1) - 1), np.int64(len(offsets2) - 1)
    pairs = states1 * states2
    mask = np.int64(len(table) - 1)
    states, arcs, expanded = progress[0], progress[1], progress[2]
    status = DONE
    while expanded < states:
        filtered = keys[expanded] >= pairs
        pair = keys[expanded] - pairs if filtered else keys[expanded]
        q1 = pair // states2
        q2 = pair - q1 * states2
        start1, end1 = np.int64(offsets1[q1]), np.int64(offsets1[q1 + 1])
        start2, end2 = np.int64(offsets2[q2]), np.int64(offsets2[q2 + 1])
        i = _after(labels1, start1, end1, -1)
        j = _after(labels2, start2, end2, -1)
        # A state is expanded whole or, when an array fills up, taken up anew.
        first_arc = arcs
        wanted = i - start1 + j - start2
        status = (
            ARCS_FULL if arcs + wanted > len(source) else STATES_FULL if states + wanted > len(keys) else DONE
        )
        if status != DONE:
            break
        if not filtered:
            for a in range(start1, i):
                target, states = _find(np.int64(next1[a]) * states2 + q2, keys, table, mask, states)
                source[arcs], destination[arcs], place1[arcs], place2[arcs] = expanded, target, a, -1
                arcs += 1
        if i < end1 or final1[q1]:
            base = (q1 if i == start1 else q1 + states1) * states2
            for b in range(start2, j):
                target, states = _find(base + np.int64(next2[b]), keys, table, mask, states)
                source[arcs], destination[arcs], place1[arcs], place2[arcs] = expanded, target, -1, b
                arcs += 1
        while i < end1 and j < end2:
            label = labels1[i]
            if label < labels2[j]:
                i = _after(labels1, i, end1, labels2[j] - 1)
                continue
            if label > labels2[j]:
                j = _after(labels2, j, end2, label - 1)
                continue
            stop1, stop2 = i + 1, j + 1
            while stop1 < end1 and labels1[stop1] == label:
                stop1 += 1
            while stop2 < end2 and labels2[stop2] == label:
                stop2 += 1
            wanted = (stop1 - i) * (stop2 - j)
            status = (
                ARCS_FULL
                if arcs + wanted > len(source)
                else STATES_FULL
                if states + wanted > len(keys)
                else DONE
            )
            if status != DONE:
                break
            for a in range(i, stop1):
                base = np.int64(next1[a]) * states2
                for b in range(j, stop2):
                    target, states = _find(base + np.int64(next2[b]), keys, table, mask, states)
                    source[arcs], destination[arcs], place1[arcs], place2[arcs] = expanded, target, a, b
                    arcs += 1
            i, j = stop1, stop2
        if status != DONE:
            arcs = first_arc
            break
        expanded += 1
    progress[0], progress[1], progress[2] = states, arcs, expanded
    return status


@njit(nogil=True, cache=True)
def finals(keys, final1, final2):
    """Which of the composed states (boolean) are final."""
    result = np.empty(len(keys), np.bool_)
    states1, states2 = np.int64(len(final1)), np.int64(len(final2))
    for state in range(len(keys)):
        key = keys[state]
        row = key // states2
        result[state] = final1[row if row < states1 else row - states1] and final2[key - row * states2]
    return result


@njit(nogil=True, cache=True)
def reaching(source, destination, final):
    """The states (boolean) from which a final one is reached, and whether that is sure; arcs sorted by
    source.

    One sweep back over the arcs, which is sure where all arcs but loops lead to greater states.
    """
    reached = final.copy()
    backwards = 0
    state = np.uint32(0)
    reaches = len(final) > 0 and final[0]
    for place in range(len(source)):
        arc = len(source) - 1 - place
        if source[arc] != state:
            state = source[arc]
            reaches = final[state]
        reaches |= reached[destination[arc]]
        reached[state] = reaches
        backwards += destination[arc] < state
    return reached, backwards == 0


@njit(nogil=True, cache=True)
def kept_states(kept, keys, states1, states2):
    """The number in the result of each state; of those kept, both graphs' states and whether filtered."""
    states1, states2 = np.int64(states1), np.int64(states2)
    number = np.empty(len(keys), np.uint32)
    first, second = np.empty(len(keys), np.int32), np.empty(len(keys), np.int32)
    filtered = np.empty(len(keys), np.bool_)
    states = 0
    for state in range(len(keys)):
        number[state] = states
        if kept[state]:
            row = keys[state] // states2
            filtered[states] = row >= states1
            first[states] = row - states1 if row >= states1 else row
            second[states] = keys[state] - row * states2
            states += 1
    return number, first[:states], second[:states], filtered[:states]


@njit(nogil=True, cache=True)
def keep_arcs(kept, number, source, destination, place1, place2, order1, order2, inputs1, outputs2):
    """Drops, in place, the arcs to states not ``kept``, renumbers their states, and turns places into arcs.

    Returns the input and output labels of the arcs left. ``order1`` and ``order2`` are empty where places are
    arcs.
    """
    inputs, outputs = np.empty(len(source), np.int32), np.empty(len(source), np.int32)
    arcs = 0
    for arc in range(len(source)):
        if kept[destination[arc]]:
            a, b = place1[arc], place2[arc]
            if a >= 0 and len(order1):
                a = order1[a]
            if b >= 0 and len(order2):
                b = order2[b]
            source[arcs] = number[source[arc]]
            destination[arcs] = number[destination[arc]]
            place1[arcs], place2[arcs] = a, b
            inputs[arcs] = inputs1[a] if a >= 0 else EPSILON
            outputs[arcs] = outputs2[b] if b >= 0 else EPSILON
            arcs += 1
    return inputs[:arcs], outputs[:arcs]
