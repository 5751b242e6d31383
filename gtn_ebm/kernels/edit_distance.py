"""Edit distances between strings.

Several strings come as all their labels in a row and where in it each one's begin.
"""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def between(labels, begins):
    """The edit distance of each string to each, [N, N]."""
    count = len(begins) - 1
    distances = np.zeros((count, count), np.int64)
    for one in range(count):
        first = labels[begins[one] : begins[one + 1]]
        for other in range(one):
            second = labels[begins[other] : begins[other + 1]]
            row = np.arange(len(second) + 1)
            for i in range(len(first)):
                diagonal = row[0]
                row[0] = i + 1
                for j in range(len(second)):
                    above = row[j + 1]
                    replaced = diagonal + (first[i] != second[j])
                    row[j + 1] = min(replaced, min(above, row[j]) + 1)
                    diagonal = above
            distances[one, other] = distances[other, one] = row[len(second)]
    return distances
