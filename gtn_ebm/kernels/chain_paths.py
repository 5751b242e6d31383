"""The best path of emissions through a chain of states: least energies, and back-pointers of two bits.

State s of a chain is entered from s itself, s − 1 and s − 2, by arcs of energy ``stay[s]``, ``step[s]`` and
``skip[s]`` (+inf where there is none), all of which read ``label[s]``. Energies are summed in float64.

A path moves on by at most two states a frame. So the frames are cut into blocks: one pass keeps the least
energies at the beginning of each block; then, from the last block to the first, the 2K states before the one
in which the path leaves a block of K frames are worked out again, now with back-pointers. For T frames and S
states that is T/K · S energies and K²/2 bytes. States are taken in tiles that fit the cache.
"""

import numpy as np
from numba import njit

TILE = 1024
NONE = np.int64(-1)


@njit(nogil=True, cache=True)
def margins(stay, step, skip, initial, final):
    """The least number of frames from an initial state to each state, and from each on to a final one."""
    states = len(stay)
    far = np.int64(1 << 60)
    before, after = np.full(states, far), np.full(states, far)
    for s in range(states):
        if initial[s] < np.inf:
            before[s] = 0
        if s > 0 and step[s] < np.inf:
            before[s] = min(before[s], before[s - 1] + 1)
        if s > 1 and skip[s] < np.inf:
            before[s] = min(before[s], before[s - 2] + 1)
    for place in range(states):
        s = states - 1 - place
        if final[s] < np.inf:
            after[s] = 0
        if s + 1 < states and step[s + 1] < np.inf:
            after[s] = min(after[s], after[s + 1] + 1)
        if s + 2 < states and skip[s + 2] < np.inf:
            after[s] = min(after[s], after[s + 2] + 1)
    return before, after


@njit(inline="always")
def _frame(old, new, row, label, stay, step, skip):
    """One frame: ``old`` and ``new`` begin with the two states before those of the other arrays."""
    at, one_before, two_before = old[2:], old[1:-1], old[:-2]
    entered = new[2:]
    for s in range(len(label)):  # a loop of its own, so that the other is done several states at a time
        entered[s] = row[label[s]]
    for s in range(len(stay)):
        entered[s] += min(min(at[s] + stay[s], one_before[s] + step[s]), two_before[s] + skip[s])


@njit(nogil=True, cache=True)
def advance(emissions, begin, end, label, stay, step, skip, before, after, energy):
    """Takes the least energies of all states, [S], over the frames ``begin`` to ``end`` in place.

    What lies on no path through all frames is left out, a tile of states at a time.
    """
    frames, states = len(emissions), len(label)
    row = np.empty(emissions.shape[1], np.float64)
    old, new = np.empty(TILE + 2), np.empty(TILE + 2)
    # Of the two states before a tile, what they are before each frame.
    left, right = np.full((end - begin, 2), np.inf), np.full((end - begin, 2), np.inf)
    for first in range(0, states, TILE):
        last = min(first + TILE, states)
        width = last - first
        old, new = old[: width + 2], new[: width + 2]
        start = max(begin, before[first:last].min())
        stop = min(end, frames - after[first:last].min())
        old[2:] = energy[first:last]
        right[:] = np.inf
        for t in range(start, stop):
            old[0], old[1] = left[t - begin]
            right[t - begin] = old[width:]
            for c in range(len(row)):
                row[c] = emissions[t, c]
            _frame(old, new, row, label[first:last], stay[first:last], step[first:last], skip[first:last])
            old, new = new, old
        if start < stop:
            energy[first:last] = old[2:]
        if stop < end:
            energy[first:last] = np.inf
        left, right = right, left


@njit(inline="always")
def _frame_with_choices(old, new, choice, row, label, stay, step, skip):
    at, one_before, two_before = old[2:], old[1:-1], old[:-2]
    entered = new[2:]
    for s in range(len(label)):
        entered[s] = row[label[s]]
    for s in range(len(stay)):
        stayed, stepped, skipped = at[s] + stay[s], one_before[s] + step[s], two_before[s] + skip[s]
        entered[s] += min(min(stayed, stepped), skipped)
        choice[s] = 2 * (skipped < min(stayed, stepped)) + (stepped < stayed)  # 2 and 3 both mean a skip


@njit(nogil=True, cache=True)
def trace(emissions, begin, label, stay, step, skip, energy, path):
    """Fills ``path[:-1]``, states from before the frame ``begin`` on, so that it leads to ``path[-1]`` best.

    ``energy``: least energies of all states before the frame ``begin``.
    """
    frames = len(path) - 1
    high = np.int64(path[frames]) + 1
    low = max(high - 1 - 2 * frames, 0)
    width = high - low
    quarter = (width + 3) // 4
    packed = np.empty((frames, quarter), np.uint8)
    choice = np.zeros(4 * quarter, np.uint8)
    row = np.empty(emissions.shape[1], np.float64)
    old, new = np.full(width + 2, np.inf), np.full(width + 2, np.inf)
    old[2:] = energy[low:high]
    for t in range(frames):
        for c in range(len(row)):
            row[c] = emissions[begin + t, c]
        skipped = max(high - 1 - 2 * (frames - 1 - t), 0) - low  # too far back to matter after this frame
        here = slice(low + skipped, high)
        _frame_with_choices(
            old[skipped:],
            new[skipped:],
            choice[skipped:],
            row,
            label[here],
            stay[here],
            step[here],
            skip[here],
        )
        _pack(choice, packed[t])
        old, new = new, old
    state = high - 1
    for position in range(frames):
        t = frames - 1 - position
        place = state - low
        state -= min(np.int64((packed[t, place % quarter] >> (2 * (place // quarter))) & 3), 2)
        path[t] = state


@njit(inline="always")
def _pack(choice, packed):
    """Two bits of each; those of one byte lie a quarter apart, so that the loop is over neighbours."""
    quarter = len(packed)
    first, second = choice[:quarter], choice[quarter : 2 * quarter]
    third, fourth = choice[2 * quarter : 3 * quarter], choice[3 * quarter :]
    for k in range(quarter):
        packed[k] = first[k] | (second[k] << 2) | (third[k] << 4) | (fourth[k] << 6)


@njit(nogil=True, cache=True)
def best(emissions, block, label, stay, step, skip, initial, final):
    """The states of the best path before each frame and at the end, [T + 1]; all −1 where there is none.

    ``block``: how many frames to keep back-pointers of at a time.
    """
    frames, states = len(emissions), len(label)
    path = np.full(frames + 1, NONE)
    before, after = margins(stay, step, skip, initial, final)
    blocks = max(1, (frames + block - 1) // block)
    kept = np.empty((blocks, states))  # what lies on no path is never written, and so takes no memory
    energy = initial.copy()
    for k in range(blocks):
        begin, end = k * block, min((k + 1) * block, frames)
        low, high = _band(before, after, begin, frames)
        kept[k, low:high] = energy[low:high]
        advance(emissions, begin, end, label, stay, step, skip, before, after, energy)
    total = energy + final
    last = np.int64(np.argmin(total))
    if not total[last] < np.inf:
        return path
    path[frames] = last
    for place in range(blocks):
        k = blocks - 1 - place
        begin, end = k * block, min((k + 1) * block, frames)
        low, high = _band(before, after, begin, frames)
        energy[:] = np.inf
        energy[low:high] = kept[k, low:high]
        trace(emissions, begin, label, stay, step, skip, energy, path[begin : end + 1])
    return path


@njit(inline="always")
def _band(before, after, t, frames):
    """From the first to behind the last state that a path through all frames may be in before frame t."""
    low, high = np.int64(0), np.int64(len(before))
    while low < high and (before[low] > t or after[low] > frames - t):
        low += 1
    while low < high and (before[high - 1] > t or after[high - 1] > frames - t):
        high -= 1
    return low, high
