"""Transducers whose labels wait in a queue until they may be written: what synchronisation and epsilon
normalisation share.

A state of the result is (state q, queue, which side waits, whether the path has ended). In each step an arc's
label on the side that waits joins the queue's end; if its label on the other side is real, that one passes
through together with the queue's first label, and else nothing is written at all. A path that ends with
labels waiting writes them on arcs that follow.

Queues are interned: each is a number, found through a hash table from the queue without its last label and
that label. Without its first label each queue is a queue with a number, too, so that both ends are at hand.
"""

import numpy as np
from numba import njit

DONE, FULL, UNBOUNDED = 0, 1, 2
EMPTY, EPSILON = 0, -1
FREE = -1
FIRST, TAIL, LENGTH = 0, 1, 2  # columns of ``queues``
STATES, ARCS, QUEUES, HEIGHT = 0, 1, 2, 3  # places in ``progress``


@njit(inline="always")
def _slot(key, mask):
    mixed = key * np.int64(-7046029254386353131)
    return (mixed ^ (mixed >> np.int64(32))) & mask


@njit(nogil=True, cache=True)
def fill_table(keys, count, table):
    """Enters the ids 0 … count − 1 of ``keys`` into an empty table, whose length is a power of two."""
    mask = np.int64(len(table) - 1)
    for item in range(count):
        slot = _slot(keys[item], mask)
        while table[slot] != FREE:
            slot = (slot + 1) & mask
        table[slot] = item


@njit(inline="always")
def _find(key, keys, table, count):
    """The id of ``key``, entered as the next id if it is new; and the count of ids then."""
    mask = np.int64(len(table) - 1)
    slot = _slot(key, mask)
    while table[slot] != FREE:
        if keys[table[slot]] == key:
            return np.int64(table[slot]), count
        slot = (slot + 1) & mask
    table[slot] = count
    keys[count] = key
    return np.int64(count), count + 1


@njit(inline="always")
def _append(queue, label, queues, keys, table, count):
    """The queue with the label at its end, and the count of queues then: it and its tails may be new."""
    result, before = np.int64(-1), np.int64(-1)
    head = queues[queue, FIRST] if queue != EMPTY else np.int64(label)
    while True:
        longer, after = _find((queue << np.int64(32)) | np.int64(label), keys, table, count)
        if before >= 0:
            queues[before, TAIL] = longer
        else:
            result = longer
        if after == count:
            return result, count
        count = after
        queues[longer, FIRST] = head
        queues[longer, LENGTH] = queues[queue, LENGTH] + 1
        if queue == EMPTY:
            queues[longer, TAIL] = EMPTY
            return result, count
        before = longer
        queue = queues[queue, TAIL]
        head = queues[queue, FIRST] if queue != EMPTY else np.int64(label)


@njit(inline="always")
def _enter(key, keys, table, stack, found, height):
    """The state of ``key``, put on the stack if it is new; the states found and the stack's height then."""
    state, after = _find(key, keys, table, found)
    if after > found:
        stack[height] = state
        height += 1
    return state, after, height


@njit(nogil=True, cache=True)
def expand(
    offsets, inputs, outputs, destination, final, both_sides,
    keys, table, stack, queues, queue_keys, queue_table, source, target, read, written, place, progress,
):  # fmt: skip
    """Expands states, the last found first, until all are done (DONE), an array may get full (FULL) or a
    queue gets longer than it can where the result is finite (UNBOUNDED; ``stack[height]`` is the state then).

    The arcs are grouped by ``offsets``. A key is ((queue · 2 + ended) · 2 + input waits) · S + q. Only output
    labels wait, or either side's where ``both_sides``: then the side that runs ahead. Receives the arcs of
    the result: source, target, labels read and written, place of the arc it stems from (−1 for none).

    A queue is as long as the labels on its side outnumber those on the other along the path to its state, or
    along the last part of it since the queue was empty. Where no cycle adds to that, a path without a cycle
    has as much, and so less than S.
    """
    states = np.int64(len(final))
    found, arcs, known, height = progress[STATES], progress[ARCS], progress[QUEUES], progress[HEIGHT]
    status = DONE
    while height > 0 and status == DONE:
        expanded = stack[height - 1]
        rest, q = keys[expanded] // states, keys[expanded] % states
        queue, ended, input_waits = rest // 4, rest // 2 % 2, rest % 2
        start, stop = np.int64(offsets[q]), np.int64(offsets[q + 1])
        wanted, longest = stop - start + 1, queues[queue, LENGTH] + 1
        if (
            arcs + wanted > len(source) or found + wanted > len(keys)
            or known + wanted * longest > len(queue_keys)
        ):  # fmt: skip
            status = FULL
            break
        height -= 1
        if queue != EMPTY and (ended or final[q]):
            # The path ends here: the first label that waits, and the others after it.
            first, tail = queues[queue, FIRST], queues[queue, TAIL]
            key = (tail * 4 + 2 + (input_waits if tail != EMPTY else 0)) * states + q
            target[arcs], found, height = _enter(key, keys, table, stack, found, height)
            source[arcs], place[arcs] = expanded, -1
            read[arcs], written[arcs] = (first, EPSILON) if input_waits else (EPSILON, first)
            arcs += 1
        for a in range(start, start if ended else stop):
            waits = input_waits
            if both_sides and queue == EMPTY and outputs[a] == EPSILON:
                waits = np.int64(1)
            joining, passing = (inputs[a], outputs[a]) if waits else (outputs[a], inputs[a])
            longer = queue
            if joining != EPSILON:
                longer, known = _append(queue, joining, queues, queue_keys, queue_table, known)
            leaving = np.int64(EPSILON)
            if passing != EPSILON and longer != EMPTY:
                leaving, longer = queues[longer, FIRST], queues[longer, TAIL]
            if queues[longer, LENGTH] >= states:
                stack[height] = expanded
                status = UNBOUNDED
                break
            key = (longer * 4 + (waits if longer != EMPTY else 0)) * states + np.int64(destination[a])
            target[arcs], found, height = _enter(key, keys, table, stack, found, height)
            source[arcs], place[arcs] = expanded, a
            read[arcs], written[arcs] = (leaving, passing) if waits else (passing, leaving)
            arcs += 1
    progress[STATES], progress[ARCS], progress[QUEUES], progress[HEIGHT] = found, arcs, known, height
    return status
