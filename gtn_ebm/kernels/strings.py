"""The best few strings of a graph: of all paths that read and write the same, label by label, the best.

Arcs come grouped by the state they leave: those of state u are ``offsets[u]`` to ``offsets[u + 1]``.
"""

import heapq

import numpy as np
from numba import njit

END = -1


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
def best_strings(offsets, destination, energy, initial, final, labels, to_go, best_arc, count):
    """The best path of each of the ``count`` best strings: (first, arcs of all, where each begin, last).

    ``labels`` names what an arc reads and writes by one number, 0 for nothing. A prefix of strings is kept
    with all states it leads to and what each costs more than the best path, determinized on the fly (Mohri
    and Riley 2002, "An efficient algorithm for the n-best-strings problem"). What prefixes have left to go is
    known, so each one that is looked at begins one of the best strings. Of equals the one with the fewest
    arcs to go comes first: this leads straight to an end, and never round a cycle for nothing.
    """
    graph = offsets, destination, energy, to_go, best_arc, labels
    arcs_left = arcs_to_go(destination, best_arc)
    reached_for = np.full(len(final), -1, np.int64)  # the last prefix that led to the state
    # A state that a prefix leads to: (state, cost, where in this list it comes from, by which arc).
    members = [(np.int64(0), 0.0, np.int64(0), np.int64(0)) for _ in range(0)]
    begins = [np.int64(0)]  # of each prefix's in ``members``
    ended = [np.int64(0) for _ in range(0)]
    starts = initial + to_go
    least_start = starts.min() if len(starts) else 0.0
    entering = [
        (starts[u] - least_start, np.int64(u), np.int64(-1), np.int64(-1))
        for u in range(len(starts))
        if starts[u] < np.inf
    ]
    queue = [(0.0, np.int64(0), np.int64(0), np.int64(0)) for _ in range(0)]
    if len(entering) > 0:
        _add_prefix(entering, members, begins, reached_for, graph)
        _queue_followers(queue, members, begins, arcs_left, final, graph)
    while len(ended) < count and len(queue) > 0:
        _, _, prefix, label = heapq.heappop(queue)
        if label == END:
            ended.append(_cheapest_end(prefix, members, begins, final, to_go))
            continue
        entering = _entering(prefix, label, members, begins, graph)
        _add_prefix(entering, members, begins, reached_for, graph)
        _queue_followers(queue, members, begins, arcs_left, final, graph)
    return _written_out(members, ended)


@njit(inline="always")
def _cost(arc, u, graph):
    """What an arc costs more than the best path on from its state: ≥ 0, and 0 on this path."""
    _, destination, energy, to_go, best_arc, _ = graph
    if arc == best_arc[u]:
        return 0.0
    return max(energy[arc] + to_go[destination[arc]] - to_go[u], 0.0)


@njit(nogil=True, cache=True)
def _entering(prefix, label, members, begins, graph):
    """Where the arcs with this label lead from a prefix: a heap of members."""
    offsets, destination, _, _, _, labels = graph
    entering = [(0.0, np.int64(0), np.int64(0), np.int64(0)) for _ in range(0)]
    for member in range(begins[prefix], begins[prefix + 1]):
        u, before, _, _ = members[member]
        for arc in range(offsets[u], offsets[u + 1]):
            if labels[arc] == label:
                cost = before + _cost(arc, u, graph)
                if cost < np.inf:
                    entering.append((cost, np.int64(destination[arc]), np.int64(member), np.int64(arc)))
    return entering


@njit(nogil=True, cache=True)
def _add_prefix(entering, members, begins, reached_for, graph):
    """Adds a prefix whose members come from ``entering``, and from there without a label: Dijkstra."""
    offsets, destination, _, _, _, labels = graph
    prefix = len(begins) - 1
    heapq.heapify(entering)
    while len(entering) > 0:
        cost, u, origin, by = heapq.heappop(entering)
        if reached_for[u] == prefix:
            continue
        reached_for[u] = prefix
        member = np.int64(len(members))
        members.append((u, cost, origin, by))
        for arc in range(offsets[u], offsets[u + 1]):
            further = cost + _cost(arc, u, graph)
            if labels[arc] == 0 and further < np.inf:
                heapq.heappush(entering, (further, np.int64(destination[arc]), member, np.int64(arc)))
    begins.append(np.int64(len(members)))


@njit(nogil=True, cache=True)
def _queue_followers(queue, members, begins, arcs_left, final, graph):
    """Queues what follows the newest prefix: its end, and each label on from it."""
    offsets, destination, _, to_go, _, labels = graph
    prefix = np.int64(len(begins) - 2)
    found = [(np.int64(0), 0.0, np.int64(0)) for _ in range(0)]
    for member in range(begins[prefix], begins[prefix + 1]):
        u, cost, _, _ = members[member]
        if final[u] < np.inf:
            found.append((np.int64(END), cost + max(final[u] - to_go[u], 0.0), np.int64(0)))
        for arc in range(offsets[u], offsets[u + 1]):
            further = cost + _cost(arc, u, graph)
            if labels[arc] != 0 and further < np.inf:
                found.append((labels[arc], further, arcs_left[destination[arc]] + 1))
    found.sort()
    for place in range(len(found)):
        label, cost, left = found[place]
        if place == 0 or found[place - 1][0] != label:
            heapq.heappush(queue, (cost, left, prefix, label))


@njit(nogil=True, cache=True)
def _cheapest_end(prefix, members, begins, final, to_go):
    """The member that a path had best end with."""
    best = np.inf
    chosen = np.int64(-1)
    for member in range(begins[prefix], begins[prefix + 1]):
        u, cost, _, _ = members[member]
        if cost + max(final[u] - to_go[u], 0.0) < best:
            best = cost + max(final[u] - to_go[u], 0.0)
            chosen = np.int64(member)
    return chosen


@njit(nogil=True, cache=True)
def _written_out(members, ended):
    """The paths that end with these members, arc by arc."""
    first, last = np.empty(len(ended), np.int64), np.empty(len(ended), np.int64)
    begins = np.zeros(len(ended) + 1, np.int64)
    for k, member in enumerate(ended):
        begins[k + 1] = begins[k]
        last[k] = members[member][0]
        while members[member][2] >= 0:
            begins[k + 1] += 1
            member = members[member][2]
        first[k] = members[member][0]
    arcs = np.empty(begins[-1], np.int64)
    for k, member in enumerate(ended):
        place = begins[k + 1]
        while members[member][2] >= 0:
            place -= 1
            arcs[place] = members[member][3]
            member = members[member][2]
    return first, arcs, begins, last
