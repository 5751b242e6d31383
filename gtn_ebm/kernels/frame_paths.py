"""The best path of emissions through any graph: least energies over the frames, and packed back-pointers.

The arcs that consume a frame come grouped by the state they enter: those of state v are ``offsets[v]`` to
``offsets[v + 1]``. Epsilon arcs come in an order in which all into a state stand before those out of it.
Energies are summed in float64.

A back-pointer says which of the arcs into a state was best, the epsilon arcs counted last, in as few bits as
that needs: none where only one arc enters. Where those of all frames would need too much memory, the frames
are cut into blocks: one pass keeps the least energies at the beginning of each, a second goes from the last
block to the first and works each out again, now with back-pointers.
"""

import numpy as np
from numba import njit

BEGIN = np.int32(-1)
"""The back-pointer of a state in which a path begins."""

WORD = 32


@njit(nogil=True, cache=True)
def fields(entering):
    """Where in the words of a frame the back-pointer of each state lies, in bits; how many bits it has, and
    how many words there are. ``entering``: how many arcs enter each state, [S].
    """
    states = len(entering)
    place, bits = np.empty(states, np.int64), np.zeros(states, np.uint8)
    free = np.int64(0)
    for v in range(states):
        options = entering[v]
        while (1 << bits[v]) < options:
            bits[v] += 1
        if free % WORD + bits[v] > WORD:
            free += WORD - free % WORD
        place[v] = free
        free += bits[v]
    return place, bits, (free + WORD - 1) // WORD


@njit(inline="always")
def _begin(initial, epsilon, energy, choice):
    """Least energies before the first frame."""
    epsilon_source, epsilon_destination, epsilon_energy, epsilon_choice = epsilon
    energy[:] = initial
    choice[:] = BEGIN
    for k in range(len(epsilon_source)):
        found = energy[epsilon_source[k]] + epsilon_energy[k]
        if found < energy[epsilon_destination[k]]:
            energy[epsilon_destination[k]] = found
            choice[epsilon_destination[k]] = epsilon_choice[k]


@njit(inline="always")
def _frame(emissions, old, new, choice, offsets, source, label, arc_energy, epsilon):
    """Least energies after a frame, and which arc into each state they come by."""
    epsilon_source, epsilon_destination, epsilon_energy, epsilon_choice = epsilon
    for v in range(len(new)):
        least, chosen = np.inf, np.int32(0)
        begin = offsets[v]
        for k in range(begin, offsets[v + 1]):
            found = old[source[k]] + arc_energy[k] + emissions[label[k]]
            if found < least:
                least, chosen = found, np.int32(k - begin)
        new[v], choice[v] = least, chosen
    for k in range(len(epsilon_source)):
        found = new[epsilon_source[k]] + epsilon_energy[k]
        if found < new[epsilon_destination[k]]:
            new[epsilon_destination[k]] = found
            choice[epsilon_destination[k]] = epsilon_choice[k]


@njit(nogil=True, cache=True)
def best(
    emissions, block, offsets, source, label, arc_energy,
    epsilon_source, epsilon_destination, epsilon_energy, epsilon_choice, epsilon_offsets, epsilon_order,
    place, bits, words, initial, final,
):  # fmt: skip
    """The best path: its first state (−1 where there is none), its arcs and its last state.

    An arc is named by its number among those that consume a frame, or by −1 − k as the k-th epsilon arc.

    Args:
        block: how many frames to keep back-pointers of at a time.
        epsilon_choice: the back-pointer that stands for each epsilon arc.
        epsilon_offsets, epsilon_order: the epsilon arcs grouped by the state they enter.
        place, bits, words: as ``fields`` gives them.
    """
    frames, states = len(emissions), len(initial)
    epsilon = epsilon_source, epsilon_destination, epsilon_energy, epsilon_choice
    entered_silently = epsilon_source, epsilon_offsets, epsilon_order
    arcs = [np.int64(0) for _ in range(0)]
    old, new, choice = np.empty(states), np.empty(states), np.empty(states, np.int32)
    begins = np.empty(states, np.int32)
    _begin(initial, epsilon, old, begins)
    blocks = (frames + block - 1) // block
    kept = np.empty((blocks, states))
    packed = np.empty((min(block, frames), words), np.uint32)
    for k in range(blocks):
        kept[k] = old
        for t in range(k * block, min((k + 1) * block, frames)):
            _frame(emissions[t], old, new, choice, offsets, source, label, arc_energy, epsilon)
            if blocks == 1:
                _pack(choice, place, bits, packed[t])
            old, new = new, old
    total = old + final
    last = np.int64(np.argmin(total)) if states else np.int64(0)
    if states == 0 or not total[last] < np.inf:
        return np.int64(-1), np.array(arcs, dtype=np.int64), np.int64(-1)
    v = last
    for turn in range(blocks):
        begin = (blocks - 1 - turn) * block
        end = min(begin + block, frames)
        if blocks > 1:
            old[:] = kept[blocks - 1 - turn]
            for t in range(begin, end):
                _frame(emissions[t], old, new, choice, offsets, source, label, arc_energy, epsilon)
                _pack(choice, place, bits, packed[t - begin])
                old, new = new, old
        v = _back(packed[: end - begin], v, arcs, offsets, source, place, bits, entered_silently)
    while begins[v] != BEGIN:
        v = _silently(v, np.int64(begins[v]), arcs, offsets, entered_silently)
    return v, np.array(arcs, dtype=np.int64)[::-1].copy(), last


@njit(inline="always")
def _pack(choice, place, bits, packed):
    packed[:] = 0
    for v in range(len(place)):
        if bits[v]:
            packed[place[v] // WORD] |= np.uint32(choice[v]) << np.uint32(place[v] % WORD)


@njit(nogil=True, cache=True)
def _back(packed, v, arcs, offsets, source, place, bits, entered_silently):
    """Follows the back-pointers of some frames from the state after them; returns the state before them."""
    for position in range(len(packed)):
        row = packed[len(packed) - 1 - position]
        while True:
            chosen = np.int64(0)
            if bits[v]:
                field = row[place[v] // WORD] >> np.uint32(place[v] % WORD)
                chosen = np.int64(field) & ((np.int64(1) << np.int64(bits[v])) - 1)
            if chosen < np.int64(offsets[v + 1]) - np.int64(offsets[v]):
                break
            v = _silently(v, chosen, arcs, offsets, entered_silently)
        arcs.append(np.int64(offsets[v]) + chosen)
        v = np.int64(source[arcs[-1]])
    return v


@njit(inline="always")
def _silently(v, chosen, arcs, offsets, entered_silently):
    """Follows a back-pointer that stands for an epsilon arc."""
    epsilon_source, epsilon_offsets, epsilon_order = entered_silently
    entering = np.int64(offsets[v + 1]) - np.int64(offsets[v])
    k = np.int64(epsilon_order[np.int64(epsilon_offsets[v]) + chosen - entering])
    arcs.append(-1 - k)
    return np.int64(epsilon_source[k])
