"""The best few strings of a graph: of all paths that read the same and write the same, the best.

Arcs come grouped by the state they leave: those of state u are ``offsets[u]`` to ``offsets[u + 1]``.
"""

import heapq

import numpy as np
from numba import njit

EPSILON = -1
READ, WRITTEN, END = -1, -2, -3


@njit(nogil=True, cache=True)
def best_strings(
    offsets, destination, energy, initial, final, to_go, best_arc, input_labels, output_labels, count
):
    """The best path of each of the ``count`` best strings: (first, arcs of all, where each begin, last).

    A search from place to place, where a place is a state together with what has been read and written on the
    way. Of all ways to a place only the best is gone on from, determinizing on the fly (Mohri and Riley 2002,
    "An efficient algorithm for the n-best-strings problem"). What is left to go is known, so only places on
    the way to one of the strings looked for are visited. Of equals the one with the fewest arcs to go comes
    first: this leads straight to an end, and never round a cycle for nothing.
    """
    arcs_left = arcs_to_go(destination, best_arc)
    # (READ or WRITTEN, string, label) → the string one label longer; (read, written, state or END) → 0
    known = {(np.int64(0), np.int64(0), np.int64(END)): np.int64(0) for _ in range(0)}
    visited = [(np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0)) for _ in range(0)]
    ended = [np.int64(0) for _ in range(0)]
    starts = initial + to_go
    least_start = starts.min() if len(starts) else 0.0
    queue = [  # (how much more than the best path, arcs to go, the place before, arc from there)
        (starts[u] - least_start, arcs_left[u], np.int64(-1), np.int64(u))
        for u in range(len(starts))
        if starts[u] < np.inf
    ]
    heapq.heapify(queue)
    while len(ended) < count and len(queue) > 0:
        cost, _, before, arc = heapq.heappop(queue)
        read = written = np.int64(0)
        state = arc
        if before >= 0:
            _, _, state, read, written = visited[before]
            if arc == END:
                state = np.int64(END)
            else:
                read = _longer(known, READ, read, input_labels[arc])
                written = _longer(known, WRITTEN, written, output_labels[arc])
                state = np.int64(destination[arc])
        if (read, written, state) in known:
            continue
        known[(read, written, state)] = np.int64(0)
        if state == END:
            ended.append(before)
            continue
        place = np.int64(len(visited))
        visited.append((before, arc, state, read, written))
        further = max(final[state] - to_go[state], 0.0)
        if further < np.inf:
            heapq.heappush(queue, (cost + further, np.int64(0), place, np.int64(END)))
        for onwards in range(offsets[state], offsets[state + 1]):
            target = destination[onwards]
            further = energy[onwards] + to_go[target] - to_go[state]
            if further < np.inf:
                # Nothing on the best path, not even a rounding error.
                further = 0.0 if onwards == best_arc[state] else max(further, 0.0)
                heapq.heappush(queue, (cost + further, arcs_left[target] + 1, place, np.int64(onwards)))
    return _written_out(visited, ended)


@njit(nogil=True, cache=True)
def arcs_to_go(destination, best_arc):
    """How many arcs the best path on from each state has."""
    count = np.full(len(best_arc), -1, np.int64)
    way = np.empty(len(best_arc), np.int64)
    for start in range(len(best_arc)):
        height = 0
        state = np.int64(start)
        while count[state] < 0 and best_arc[state] >= 0:
            way[height] = state
            height += 1
            state = np.int64(destination[best_arc[state]])
        arcs = max(count[state], 0)
        count[state] = arcs
        for step in range(height):
            arcs += 1
            count[way[height - 1 - step]] = arcs
    return count


@njit(nogil=True, cache=True)
def _longer(known, side, string, label):
    """The number of the string with the label added."""
    if label == EPSILON:
        return string
    key = np.int64(side), string, np.int64(label)
    if key not in known:
        known[key] = np.int64(len(known) + 1)
    return known[key]


@njit(nogil=True, cache=True)
def _written_out(visited, ended):
    """The paths that end at these places, arc by arc."""
    first, last = np.empty(len(ended), np.int64), np.empty(len(ended), np.int64)
    begins = np.zeros(len(ended) + 1, np.int64)
    for k, place in enumerate(ended):
        begins[k + 1] = begins[k]
        last[k] = visited[place][2]
        while visited[place][0] >= 0:
            begins[k + 1] += 1
            place = visited[place][0]
        first[k] = visited[place][2]
    arcs = np.empty(begins[-1], np.int64)
    for k, place in enumerate(ended):
        at = begins[k + 1]
        while visited[place][0] >= 0:
            at -= 1
            arcs[at] = visited[place][1]
            place = visited[place][0]
    return first, arcs, begins, last
