"""The best alignment of frames with a row of labels by the rules of CTC: least energies, then back-pointers.

Place k of a target of L labels, 0 ≤ k ≤ L, holds two states: that of its k-th label and that of the blank
after it, numbered 2k − 1 and 2k. Place 0 has no label, and energies of +inf for it. A blank is entered from
itself and from its place's label, a label from itself, from the blank before it and, where they differ, from
the label before it. So the two are rows of their own, only one of which looks its emissions up. Energies are
summed in float64.

A path moves on by one place a frame at most. So the frames are cut into blocks: one pass keeps the least
energies at the beginning of each block; then, from the last block to the first, the K places before the one
in which the path leaves a block of K frames are worked out again, now with back-pointers of two bits a state.
For T frames that is 2 T L / K energies and K²/2 bytes.

What cannot be on a path of at most a given energy is left out: where the least energy of a tile of places and
the least emissions to come add up to more. A path found so of at most that energy is the best of all.
"""

import numpy as np
from numba import njit

TILE = 512
"""Places that are taken over many frames while they stay in the cache."""

STRIDE = 128
"""Frames after which is asked again whether a tile can be left out."""

BLANK, LABEL = 0, 1
"""Rows of an array of energies, [2, L + 1]."""


@njit(nogil=True, cache=True)
def fewest_frames(labels):
    """How many frames it takes at least to come to each place, [L + 1]: equal labels are kept apart by a
    blank.
    """
    fewest = np.zeros(len(labels) + 1, np.int64)
    for k in range(len(labels)):
        fewest[k + 1] = fewest[k] + 1 + (k > 0 and labels[k] == labels[k - 1])
    return fewest


@njit(nogil=True, cache=True)
def least_to_come(emissions, labels, blank):
    """The sum of the least emissions from each frame on, [T + 1], and of how much larger their means are.

    Only classes that the target has count, and of these those that are finite.
    """
    wanted = np.zeros(emissions.shape[1], np.bool_)
    wanted[blank] = True
    for label in labels:
        wanted[label] = True
    classes = np.flatnonzero(wanted)
    to_come, spread = np.zeros(len(emissions) + 1), 0.0
    for t in range(len(emissions) - 1, -1, -1):
        least, total, count = np.inf, 0.0, 0
        for c in classes:
            energy = np.float64(emissions[t, c])
            if energy < np.inf:
                least, total, count = min(least, energy), total + energy, count + 1
        to_come[t] = to_come[t + 1] + least
        spread += total / count - least if count else 0.0
    return to_come, spread


@njit(inline="always")
def _frame(old_blank, old_label, new_blank, new_label, row, blank, labels, skip):
    """One frame: rows of energies begin with the place before those of ``labels`` and ``skip``."""
    blank_before, label_before = old_blank[:-1], old_label[:-1]
    blank_at, label_at = old_blank[1:], old_label[1:]
    entered, waited = new_label[1:], new_blank[1:]
    for k in range(len(labels)):  # a loop of its own, so that the other is done several places at a time
        entered[k] = row[labels[k]]
    for k in range(len(skip)):
        waited[k] = min(blank_at[k], label_at[k]) + blank
        entered[k] += min(min(label_at[k], blank_before[k]), label_before[k] + skip[k])


@njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "reassoc"})
def _least(values):
    least = np.inf
    for k in range(len(values)):
        least = min(least, values[k])
    return least


@njit(nogil=True, cache=True)
def _advance_tile(emissions, begin, end, target, to_come, most, blanks, of_labels, left, right):
    """Takes a tile of W places over the frames ``begin`` to ``end`` in place.

    Args:
        blanks, of_labels: energies, [1 + W]; what stands first is of no account.
        left, right: of the place before the tile, and of its last one, what they are before each frame, [T',
            2].
    """
    labels, skip, blank = target
    row = np.empty(emissions.shape[1], np.float64)
    # Rows of their own, and not of one array: or else the compiler does not know that they do not overlap.
    old_blank, old_label = blanks.copy(), of_labels.copy()
    new_blank, new_label = np.empty_like(blanks), np.empty_like(of_labels)
    for start in range(begin, end, STRIDE):
        stop = min(start + STRIDE, end)
        least = min(_least(old_blank[1:]), _least(old_label[1:]))
        alive = least < np.inf and least + to_come[start] <= most
        for t in range(start, stop):
            entering = min(left[t - begin, BLANK], left[t - begin, LABEL])
            alive |= entering < np.inf and entering + to_come[t] <= most
        if not alive:
            old_blank[:] = old_label[:] = np.inf
            right[start - begin : stop - begin] = np.inf
            continue
        for t in range(start, stop):
            old_blank[0], old_label[0] = left[t - begin]
            right[t - begin, BLANK], right[t - begin, LABEL] = old_blank[-1], old_label[-1]
            for c in range(len(row)):
                row[c] = emissions[t, c]
            _frame(old_blank, old_label, new_blank, new_label, row, row[blank], labels, skip)
            old_blank, new_blank = new_blank, old_blank
            old_label, new_label = new_label, old_label
    blanks[:], of_labels[:] = old_blank, old_label


@njit(nogil=True, cache=True)
def _advance(emissions, begin, end, target, fewest, to_come, most, energies):
    """Takes the least energies of all places over the frames ``begin`` to ``end`` in place."""
    labels, skip, blank = target
    places = len(labels)
    left, right = np.full((end - begin, 2), np.inf), np.full((end - begin, 2), np.inf)
    tile = np.empty((2, TILE + 1), np.float64)
    entered = False
    for first in range(0, places, TILE):
        last = min(first + TILE, places)
        # With too few frames for the labels that follow, no state of the tile matters.
        stop = min(end, len(emissions) - (fewest[-1] - fewest[last - 1]) + 1)
        if stop > begin and (entered or energies[:, first:last].min() < np.inf):
            within = tile[:, : last - first + 1]
            within[:, 1:] = energies[:, first:last]
            part = labels[first:last], skip[first:last], blank
            _advance_tile(emissions, begin, stop, part, to_come, most, within[0], within[1], left, right)
            energies[:, first:last] = within[:, 1:]
            right[stop - begin :] = np.inf
        else:
            right[:] = np.inf
        if stop < end:
            energies[:, first:last] = np.inf
        left, right = right, left
        entered = left.min() < np.inf


@njit(nogil=True, cache=True)
def forward(emissions, begin, end, block, target, fewest, to_come, most, energies, kept, bands):
    """Takes the least energies of all places over the frames ``begin`` to ``end``; returns their least.

    Args:
        block: how many frames are kept back-pointers of at a time.
        target: (labels, what it costs to come from the label before, the blank): 0 or +inf, [L + 1] each;
            those of place 0 are of no account.
        fewest, to_come: of ``fewest_frames`` and ``least_to_come``.
        most: what a path may cost; +inf for anything.
        energies: [2, L + 1], changed in place. Before the first frame they are 0 for the blank of place 0 and
            else +inf.
        kept: filled with them at the beginning of each block where they are finite, [blocks, 2, L + 1].
        bands: filled with the first place where they are, and the one behind the last, [blocks, 2].
    """
    t = begin
    while t < end:
        number = t // block
        if t == number * block:
            low, high = _finite(energies)
            bands[number, 0], bands[number, 1] = low, high
            kept[number, :, low:high] = energies[:, low:high]
        after = min((number + 1) * block, end)
        _advance(emissions, t, after, target, fewest, to_come, most, energies)
        t = after
    return energies.min()


@njit(inline="always")
def _finite(energies):
    low, high = np.int64(0), np.int64(energies.shape[1])
    while low < high and not min(energies[0, low], energies[1, low]) < np.inf:
        low += 1
    while low < high and not min(energies[0, high - 1], energies[1, high - 1]) < np.inf:
        high -= 1
    return low, high


@njit(inline="always")
def _frame_with_choices(old_blank, old_label, new_blank, new_label, choice, row, blank, labels, skip):
    """The same, and in ``choice`` where states are entered from: bits 0 and 1 of a label, where 2 and 3 both
    mean the label before, bit 2 of a blank."""
    blank_before, label_before = old_blank[:-1], old_label[:-1]
    blank_at, label_at = old_blank[1:], old_label[1:]
    entered, waited = new_label[1:], new_blank[1:]
    for k in range(len(labels)):
        entered[k] = row[labels[k]]
    for k in range(len(skip)):
        stayed, stepped, skipped = label_at[k], blank_before[k], label_before[k] + skip[k]
        waited[k] = min(blank_at[k], stayed) + blank
        entered[k] += min(min(stayed, stepped), skipped)
        choice[k] = 4 * (stayed < blank_at[k]) + 2 * (skipped < min(stayed, stepped)) + (stepped < stayed)


@njit(nogil=True, cache=True)
def _trace(emissions, begin, target, old_blank, old_label, low, path):
    """Fills ``path[:-1]``, states from before the frame ``begin`` on, so that it leads to ``path[-1]`` best.

    ``old_blank``, ``old_label``: least energies before that frame of the places from ``low`` to that of the
    path's end, with +inf before them, [1 + W].
    """
    labels, skip, blank = target
    frames, width = len(path) - 1, len(old_blank) - 1
    half = (width + 1) // 2
    packed, choice = np.empty((frames, half), np.uint8), np.zeros(2 * half, np.uint8)
    row = np.empty(emissions.shape[1], np.float64)
    new_blank, new_label = np.full_like(old_blank, np.inf), np.full_like(old_label, np.inf)
    for t in range(frames):
        for c in range(len(row)):
            row[c] = emissions[begin + t, c]
        far = max(width - (frames - t), 0)  # what is further back does not matter after this frame
        here = slice(low + far, low + width)
        _frame_with_choices(
            old_blank[far:], old_label[far:], new_blank[far:], new_label[far:], choice[far:], row, row[blank],
            labels[here], skip[here],
        )  # fmt: skip
        _pack(choice, packed[t])
        old_blank, new_blank = new_blank, old_blank
        old_label, new_label = new_label, old_label
    state = np.int64(path[frames])
    for position in range(frames):
        t = frames - 1 - position
        place = (state + 1) // 2 - low
        bits = np.int64(packed[t, place % half] >> (4 * (place // half)))
        if state % 2 == 0:
            state -= (bits >> 2) & 1
        else:
            state -= min(bits & 3, 2)
        path[t] = state


@njit(inline="always")
def _pack(choice, packed):
    """Four bits of each; those of one byte lie half a row apart, so that the loop is over neighbours."""
    first, second = choice[: len(packed)], choice[len(packed) :]
    for k in range(len(packed)):
        packed[k] = first[k] | (second[k] << 4)


@njit(nogil=True, cache=True)
def backward(emissions, first, last, block, target, kept, bands, path):
    """Fills the states before each frame of the blocks ``first`` to ``last``, from behind: ``path``, [T + 1],
    holds the state after the last of them."""
    for number in range(last - 1, first - 1, -1):
        begin, end = number * block, min((number + 1) * block, len(emissions))
        high = (np.int64(path[end]) + 1) // 2 + 1
        low = max(high - 1 - (end - begin), 0)
        energies = np.full((2, high - low + 1), np.inf)
        first_kept, last_kept = max(bands[number, 0], low), min(bands[number, 1], high)
        if first_kept < last_kept:
            within = slice(first_kept - low + 1, last_kept - low + 1)
            energies[:, within] = kept[number, :, first_kept:last_kept]
        _trace(emissions, begin, target, energies[BLANK], energies[LABEL], low, path[begin : end + 1])
