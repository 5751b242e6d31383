"""When the tokens along a path are."""

import numpy as np
from numba import njit

EPSILON = np.int32(-1)


@njit(nogil=True, cache=True)
def sums(values, start, end):
    """Of the values of each frame, [T], over the frames of each token."""
    total = np.zeros(len(start))
    for token in range(len(start)):
        for frame in range(start[token], end[token]):
            total[token] += values[frame]
    return total


@njit(nogil=True, cache=True)
def along(source, destination, read, written, paid, blank):
    """The tokens along a path of arcs, [L] each, as ``dense.forced_align`` defines them.

    Args:
        paid: what each arc costs, emission included.
        blank: the label of frames that belong to no token; EPSILON for none such.

    Returns:
        The label of each token, its first frame and the one behind its last, and the energy of its frames,
        epsilon arcs counted to the frame that follows.
    """
    tokens, frame = np.int64(0), np.int64(0)
    label = np.empty(len(read), np.int32)
    start, end = np.empty(len(read), np.int64), np.empty(len(read), np.int64)
    of_frame = np.zeros(len(read) + 1)
    for k in range(len(read)):
        consumes = read[k] != EPSILON
        speaks = consumes and read[k] != blank
        if written[k] != EPSILON and (speaks or not consumes) and source[k] != destination[k]:
            label[tokens] = written[k]
            start[tokens] = end[tokens] = frame
            tokens += 1
        if speaks and tokens:
            if end[tokens - 1] == start[tokens - 1]:
                start[tokens - 1] = frame
            end[tokens - 1] = frame + 1
        of_frame[frame] += paid[k]
        frame += consumes
    start, end = start[:tokens], end[:tokens]
    return label[:tokens], start, end, sums(of_frame, start, end)
