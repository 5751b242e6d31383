"""Composition of two transducers with the sequencing epsilon filter (Allauzen, Riley, Schalkwyk 2009).

A composed state is (state of the first, state of the second, filter state). Moves, and the filter state they
lead to:

    both on a real label                  from 0, 1   to 0
    the first alone, on output epsilon    from 0      to 0
    the second alone, on input epsilon    from 0, 1   to 1

so that between two real labels the first's epsilons come before the second's, and each pair of matching paths
makes exactly one composed path. Where the first has no epsilon to take, the last move leads to 0 instead,
which saves states; where it has nothing but epsilons, that move leads nowhere and is not made.

Breadth first, states found through a hash table of open addressing. The key of a composed state is
(filter · states1 + q1) · states2 + q2. The arcs of both graphs come as (offsets by state, labels,
destinations), in each state by the label to match (epsilon, −1, first).
"""

import numpy as np
from numba import njit

DONE, STATES_FULL, ARCS_FULL = 0, 1, 2
EMPTY = -1
EPSILON = -1


# To the next cache line, and one place on in it: odd, so that all places of the table are tried in the end.
NEXT = np.int64(17)


@njit(inline="always")
def _slot(key, mask, direct):
    """Where to look for a key first: at its own place in a table that has one for each."""
    if direct:
        return key
    # Sixteen neighbouring keys share a cache line: states found one after the other have neighbouring keys.
    block = (key >> np.int64(4)) * np.int64(-7046029254386353131)
    line = block >> np.int64(32)
    return ((line << np.int64(4)) | ((key + (block >> np.int64(60))) & np.int64(15))) & mask


@njit(nogil=True, cache=True)
def _table(keys, count, possible):
    """A hash table of the first ``count`` keys, at most half full when all keys are there, of all that are
    ``possible``."""
    size = np.int64(1)
    while size < 2 * len(keys):
        size *= 2
    table = np.full(size, np.int32(EMPTY), np.int32)
    for state in range(count):
        slot = _slot(keys[state], size - 1, possible <= size)
        while table[slot] != EMPTY:
            slot = (slot + NEXT) & (size - 1)
        table[slot] = state
    return table


@njit(inline="always")
def _find(key, keys, table, mask, direct, states):
    """The id of ``key``, entered under the next id if it is new; and the number of states then."""
    slot = _slot(key, mask, direct)
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


@njit(inline="always")
def _same_label(labels, start, stop):
    """The place behind the labels from ``start`` that are the same."""
    end = start + 1
    while end < stop and labels[end] == labels[start]:
        end += 1
    return end


@njit(nogil=True, cache=True)
def _expand(first, final1, second, found, progress):
    """Expands composed states until all are done (DONE) or the arrays of states or of arcs may get full.

    ``found`` are the arrays of keys, the hash table, and of arcs: sources, destinations and the places of the
    two arcs in their sorting, −1 where that graph stays. ``progress`` holds (states, arcs, states expanded).
    """
    offsets1, labels1, next1 = first
    offsets2, labels2, next2 = second
    states1, states2 = np.int64(len(offsets1) - 1), np.int64(len(offsets2) - 1)
    pairs = states1 * states2
    keys, table, source, destination, place1, place2 = found
    mask, direct = np.int64(len(table) - 1), 2 * pairs <= len(table)
    states, arcs, expanded = progress[0], progress[1], progress[2]
    status = DONE
    while expanded < states:
        filtered = keys[expanded] >= pairs
        pair = keys[expanded] - pairs if filtered else keys[expanded]
        q1 = pair // states2
        q2 = pair - q1 * states2
        start1, end1 = np.int64(offsets1[q1]), np.int64(offsets1[q1 + 1])
        start2, end2 = np.int64(offsets2[q2]), np.int64(offsets2[q2 + 1])
        i = _after(labels1, start1, end1, EPSILON)
        j = _after(labels2, start2, end2, EPSILON)
        # A state is expanded whole or, when an array fills up, taken up anew.
        first_arc = arcs
        wanted = i - start1 + j - start2
        status = _full(states + wanted, arcs + wanted, len(keys), len(source))
        if status != DONE:
            break
        if not filtered:
            for a in range(start1, i):
                target, states = _find(np.int64(next1[a]) * states2 + q2, keys, table, mask, direct, states)
                source[arcs], destination[arcs], place1[arcs], place2[arcs] = expanded, target, a, -1
                arcs += 1
        if i < end1 or final1[q1]:
            base = (q1 if i == start1 else q1 + states1) * states2
            for b in range(start2, j):
                target, states = _find(base + np.int64(next2[b]), keys, table, mask, direct, states)
                source[arcs], destination[arcs], place1[arcs], place2[arcs] = expanded, target, -1, b
                arcs += 1
        while i < end1 and j < end2:
            if labels1[i] < labels2[j]:
                i = _after(labels1, i, end1, labels2[j] - 1)
                continue
            if labels1[i] > labels2[j]:
                j = _after(labels2, j, end2, labels1[i] - 1)
                continue
            stop1, stop2 = _same_label(labels1, i, end1), _same_label(labels2, j, end2)
            wanted = (stop1 - i) * (stop2 - j)
            status = _full(states + wanted, arcs + wanted, len(keys), len(source))
            if status != DONE:
                break
            for a in range(i, stop1):
                base = np.int64(next1[a]) * states2
                for b in range(j, stop2):
                    target, states = _find(base + np.int64(next2[b]), keys, table, mask, direct, states)
                    source[arcs], destination[arcs], place1[arcs], place2[arcs] = expanded, target, a, b
                    arcs += 1
            i, j = stop1, stop2
        if status != DONE:
            arcs = first_arc
            break
        expanded += 1
    progress[0], progress[1], progress[2] = states, arcs, expanded
    return status


@njit(inline="always")
def _full(states, arcs, most_states, most_arcs):
    """Which arrays have no room for so many."""
    return ARCS_FULL if arcs > most_arcs else STATES_FULL if states > most_states else DONE


@njit(nogil=True, cache=True)
def _grown(array):
    larger = np.empty(2 * len(array), array.dtype)
    larger[: len(array)] = array
    return larger


@njit(nogil=True, cache=True)
def _finals(keys, final1, final2):
    """Which of the composed states (boolean) are final."""
    result = np.empty(len(keys), np.bool_)
    states1, states2 = np.int64(len(final1)), np.int64(len(final2))
    for state in range(len(keys)):
        key = keys[state]
        row = key // states2
        result[state] = final1[row if row < states1 else row - states1] and final2[key - row * states2]
    return result


@njit(nogil=True, cache=True)
def _reaching(source, destination, final):
    """The states (boolean) from which a final one is reached, and whether that is sure; arcs sorted by
    source.

    One sweep back over the arcs, which is sure where it reaches all, or all arcs but loops lead to greater
    states.
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
    return reached, backwards == 0 or reached.all()


@njit(nogil=True, cache=True)
def search(first, initial1, final1, second, initial2, final2, guess, most):
    """All composed states that are reached and the arcs between them: (how many states, keys, arcs, final,
    reaching, sure).

    ``arcs`` are (source, destination, place of the first's arc, place of the second's); ``reaching`` are the
    states (boolean) from which a final one is reached, if that is ``sure``. The search ends where there are
    more than ``most`` states, in a state of no use.
    """
    starts1, starts2 = np.flatnonzero(initial1), np.flatnonzero(initial2)
    states = starts = len(starts1) * len(starts2)
    possible = 2 * len(initial1) * len(initial2)
    keys = np.empty(max(256, guess, 2 * starts if starts <= most else 0), np.int64)
    room = max(256, 2 * guess)
    source, destination = np.empty(room, np.uint32), np.empty(room, np.uint32)
    place1, place2 = np.empty(room, np.int32), np.empty(room, np.int32)
    progress = np.zeros(3, np.int64)
    status = DONE
    if starts <= most:
        for q1 in starts1:
            for q2 in starts2:
                keys[progress[0]] = q1 * len(initial2) + q2
                progress[0] += 1
        table = _table(keys, starts, possible)
        status = ARCS_FULL
    while status != DONE:
        found = keys, table, source, destination, place1, place2
        status = _expand(first, final1, second, found, progress)
        states = progress[0]
        if states > most:
            break
        if status == STATES_FULL:
            keys = _grown(keys)
            table = _table(keys, states, possible)
        elif status == ARCS_FULL:
            source, destination = _grown(source), _grown(destination)
            place1, place2 = _grown(place1), _grown(place2)
    keys = keys[: progress[0]]
    source, destination = source[: progress[1]], destination[: progress[1]]
    final = _finals(keys, final1, final2)
    reaching, sure = _reaching(source, destination, final)
    arcs = source, destination, place1[: progress[1]], place2[: progress[1]]
    return states, keys, arcs, final, reaching, sure


@njit(nogil=True, cache=True)
def _kept_states(kept, keys, ends1, ends2):
    """(number in the result of each state; of those kept the first's state, the second's, and the initial and
    final energy). A path starts in filter state 0 and may end in any."""
    initial1, final1 = ends1
    initial2, final2 = ends2
    states1, states2 = np.int64(len(initial1)), np.int64(len(initial2))
    number = np.empty(len(keys), np.uint32)
    first, second = np.empty(len(keys), np.int32), np.empty(len(keys), np.int32)
    initial, final = np.empty(len(keys), initial1.dtype), np.empty(len(keys), initial1.dtype)
    states = 0
    for state in range(len(keys)):
        number[state] = states
        if kept[state]:
            row = keys[state] // states2
            filtered = row >= states1
            q1 = row - states1 if filtered else row
            q2 = keys[state] - row * states2
            first[states], second[states] = q1, q2
            initial[states] = np.inf if filtered else initial1[q1] + initial2[q2]
            final[states] = final1[q1] + final2[q2]
            states += 1
    return number, (first[:states], second[:states]), (initial[:states], final[:states])


@njit(nogil=True, cache=True)
def _keep_arcs(kept, number, source, destination, place1, place2):
    """Drops, in place, arcs to states not ``kept``, and renumbers states; returns how many arcs are left."""
    count = 0
    for arc in range(len(source)):
        if kept[destination[arc]]:
            source[count], destination[count] = number[source[arc]], number[destination[arc]]
            place1[count], place2[count] = place1[arc], place2[arc]
            count += 1
    return count


@njit(nogil=True, cache=True)
def _to_arcs(places, order):
    """Puts arcs in the place of places, −1 staying as it is."""
    for k in range(len(places)):
        if places[k] >= 0:
            places[k] = order[np.uint32(places[k])]


@njit(nogil=True, cache=True)
def _carried(arcs, values, none):
    """``values[arcs]``, and ``none`` where an arc is −1."""
    result = np.empty(len(arcs), values.dtype)
    for k in range(len(arcs)):
        arc = arcs[k]
        result[k] = values[np.uint32(arc)] if arc >= 0 else none
    return result


@njit(nogil=True, cache=True)
def connected(
    kept, keys, arcs, order1, order2, inputs1, outputs2, acceptors, energies1, energies2, ends1, ends2
):
    """The part of what ``search`` found whose states are ``kept``: (source and destination, input and output
    labels, the operands' arcs, the operands' states, energies of arcs, initial and final energies).

    An operand that stays has arc −1. ``order1`` and ``order2`` are empty where places are arcs. What two
    acceptors write is the same array as what they read. The arrays ``arcs`` are written over.
    """
    number, states, ends = _kept_states(kept, keys, ends1, ends2)
    source, destination, arcs1, arcs2 = arcs
    count = len(source)
    if len(states[0]) < len(keys):
        count = _keep_arcs(kept, number, source, destination, arcs1, arcs2)
    arcs1, arcs2 = arcs1[:count], arcs2[:count]
    if len(order1):
        _to_arcs(arcs1, order1)
    if len(order2):
        _to_arcs(arcs2, order2)
    energies = np.empty(count, energies1.dtype)
    for k in range(count):
        a, b = arcs1[k], arcs2[k]
        energy = energies1[np.uint32(a)] if a >= 0 else energies.dtype.type(0.0)
        energies[k] = energy + energies2[np.uint32(b)] if b >= 0 else energy
    inputs = _carried(arcs1, inputs1, EPSILON)
    outputs = inputs if acceptors else _carried(arcs2, outputs2, EPSILON)
    return (source[:count], destination[:count]), (inputs, outputs), (arcs1, arcs2), states, energies, ends
