"""Whether two deterministic graphs accept the same strings at the same energies."""

import numpy as np
from numba import njit


@njit(inline="always")
def _root(parent, state):
    while parent[state] != state:
        parent[state] = parent[parent[state]]
        state = parent[state]
    return state


@njit(inline="always")
def _close(one, two, delta):
    return one == two or abs(one - two) <= delta


@njit(nogil=True, cache=True)
def same_strings(
    start1, offsets1, labels1, next1, energies1, final1,
    start2, offsets2, labels2, next2, energies2, final2, delta,
):  # fmt: skip
    """Hopcroft and Karp's algorithm (1971) on connected graphs whose energies are pushed to the start.

    The arcs of each state are sorted by label, each label at most once; energies (float64) are the same where
    they differ by ``delta`` at most. Pairs of states that must be alike are joined, and each joining is
    followed by a comparison of what leaves the two: fewer than there are states.
    """
    states1, states2 = len(offsets1) - 1, len(offsets2) - 1
    parent = np.arange(states1 + states2)
    pairs = np.empty((states1 + states2, 2), np.int64)
    pairs[0, 0], pairs[0, 1] = start1, start2
    parent[start1] = states1 + start2
    waiting = 1
    while waiting > 0:
        waiting -= 1
        one, two = pairs[waiting, 0], pairs[waiting, 1]
        arc1, arc2 = np.int64(offsets1[one]), np.int64(offsets2[two])
        arcs = np.int64(offsets1[one + 1]) - arc1
        if np.int64(offsets2[two + 1]) - arc2 != arcs or not _close(final1[one], final2[two], delta):
            return False
        for k in range(arcs):
            if labels1[arc1 + k] != labels2[arc2 + k]:
                return False
            if not _close(energies1[arc1 + k], energies2[arc2 + k], delta):
                return False
            target1, target2 = np.int64(next1[arc1 + k]), np.int64(next2[arc2 + k])
            root1, root2 = _root(parent, target1), _root(parent, states1 + target2)
            if root1 != root2:
                parent[root1] = root2
                pairs[waiting, 0], pairs[waiting, 1] = target1, target2
                waiting += 1
    return True
