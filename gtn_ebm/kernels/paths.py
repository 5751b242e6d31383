"""Single paths of any graph: the best, the best few, and paths drawn at random.

Arcs come grouped by the state they leave: those of state u are ``offsets[u]`` to ``offsets[u + 1]``. Several
paths come back as all their arcs in a row and where in it each path's begin.
"""

import heapq

import numpy as np
from numba import njit

NONE, REFUSED = -1, -2
"""For the first state of a path: there is no path; an energy is NaN or −inf."""

UNKNOWN = -2
"""Of a state: its heap has not been made, its detours not been listed."""


@njit(nogil=True, cache=True)
def least(order, offsets, destination, energy, initial, final):
    """Least energies to go of an acyclic graph, the best arc on from each state (−1 to end), the best start.

    The start is NONE where there is no path, and REFUSED where an energy is NaN or −inf.
    """
    states = len(order)
    to_go = np.empty(states, np.float64)
    best_arc = np.empty(states, np.int64)
    first = np.int64(NONE)
    least_total = np.inf
    refused = 0
    for place in range(len(energy)):
        refused += not energy[place] > -np.inf
    for position in range(states):
        u = order[states - 1 - position]
        best = np.float64(final[u])
        choice = np.int64(-1)
        for arc in range(offsets[u], offsets[u + 1]):
            candidate = energy[arc] + to_go[destination[arc]]
            choice = np.int64(arc) if candidate < best else choice
            best = min(candidate, best)
        to_go[u] = best
        best_arc[u] = choice
        refused += not (final[u] > -np.inf and initial[u] > -np.inf)
        if initial[u] + best < least_total:
            least_total = initial[u] + best
            first = np.int64(u)
    return np.int64(REFUSED) if refused else first, to_go, best_arc


@njit(nogil=True, cache=True)
def follow(destination, energy, initial, final, first, best_arc):
    """The path along the best arcs from the state ``first``, if it is one: (first, arcs, last, energy)."""
    if first < 0:
        return first, best_arc[:0], first, np.inf
    length = 0
    state = first
    while best_arc[state] >= 0:
        length += 1
        state = np.int64(destination[best_arc[state]])
    arcs = np.empty(length, np.int64)
    total = np.float64(initial[first])
    state = first
    for place in range(length):
        arcs[place] = best_arc[state]
        total += energy[arcs[place]]
        state = np.int64(destination[arcs[place]])
    return first, arcs, state, total + final[state]


@njit(nogil=True, cache=True)
def best(order, offsets, destination, energy, initial, final):
    """The best path of an acyclic graph, as ``follow`` gives it."""
    first, _, best_arc = least(order, offsets, destination, energy, initial, final)
    return follow(destination, energy, initial, final, first, best_arc)


@njit(nogil=True, cache=True)
def several(offsets, destination, energy, initial, final, to_go, best_arc, count):
    """The ``count`` best paths, in order, as ``walk`` gives paths; fewer where there are no more.

    A path is the best one from its first state but for its detours: options that are not the best where they
    are taken. All detours from the best path on from a state lie in a heap that shares its nodes, but for a
    few, with that of the next state on this path (Eppstein 1998), and is made when first asked for (Jiménez
    and Marzal 2003). What follows a path, with one more detour or with the next in the place of its last one,
    is no better than it is; so a queue of what follows the paths found holds the next.
    """
    graph = offsets, destination, energy, final, to_go, best_arc
    detours = [(0.0, np.int64(0), np.int64(0), True) for _ in range(0)]
    nodes = [(0.0, np.int64(0), np.int64(0), np.int64(0), np.int64(0)) for _ in range(0)]
    heap_of, listed = np.full(len(final), UNKNOWN, np.int64), np.full(len(final), UNKNOWN, np.int64)
    starts = initial + to_go
    least_start = starts.min() if len(starts) else 0.0
    queue = [
        (starts[u] - least_start, np.int64(u), np.int64(-1), np.int64(-1), np.int64(u))
        for u in range(len(starts))
        if starts[u] < np.inf
    ]
    heapq.heapify(queue)
    number = np.int64(len(starts))  # of what is queued: of equals the first comes first
    paths = [(0.0, np.int64(0), np.int64(0)) for _ in range(0)]  # (cost, the path it follows, last detour)
    while len(paths) < count and len(queue) > 0:
        cost, _, parent, node, place = heapq.heappop(queue)
        onwards = place  # the state that the last detour, or else the start, leads to
        if parent >= 0:
            if node >= 0:
                place = _listed(place, graph, detours, listed)
            _, arc, _, another = detours[place]
            onwards = np.int64(destination[arc]) if arc >= 0 else np.int64(-1)
            if another:
                further = detours[place + 1][0]
                number = _queue(queue, number, paths[parent][0], further, parent, -1, place + 1)
            if node >= 0:
                for below in nodes[node][1:3]:
                    if below >= 0:
                        further, _, _, there, _ = nodes[below]
                        number = _queue(queue, number, paths[parent][0], further, parent, below, there)
        paths.append((cost, parent, place))
        if onwards >= 0 and len(paths) < count:
            root = _heap(onwards, graph, nodes, heap_of)
            if root >= 0:
                number = _queue(queue, number, cost, nodes[root][0], len(paths) - 1, root, nodes[root][3])
    return _written_out(destination, best_arc, paths, detours)


@njit(inline="always")
def _queue(queue, number, cost, further, parent, node, place):
    """Adds a path's follower; returns the next number."""
    heapq.heappush(queue, (cost + further, number, np.int64(parent), np.int64(node), np.int64(place)))
    return number + 1


@njit(nogil=True, cache=True)
def _heap(state, graph, nodes, heap_of):
    """The heap of all detours from the best path on from a state: its top node, or −1.

    A node is (what the cheapest detour from a state costs, two nodes below, the state, rank).
    """
    offsets, destination, energy, final, to_go, best_arc = graph
    way = [state for _ in range(0)]
    while heap_of[state] == UNKNOWN:
        way.append(state)
        if best_arc[state] < 0:
            break
        state = np.int64(destination[best_arc[state]])
    top = heap_of[state] if heap_of[state] != UNKNOWN else np.int64(-1)
    for step in range(len(way)):
        state = way[len(way) - 1 - step]
        cheapest = final[state] if best_arc[state] >= 0 else np.inf
        for arc in range(offsets[state], offsets[state + 1]):
            if arc != best_arc[state]:
                cheapest = min(cheapest, energy[arc] + to_go[destination[arc]])
        if cheapest < np.inf:
            top = _added(nodes, top, max(cheapest - to_go[state], 0.0), state)
        heap_of[state] = top
    return top


@njit(nogil=True, cache=True)
def _listed(u, graph, detours, listed):
    """Where the detours from a state are listed, cheapest first: (cost, arc or −1 to end, state, whether
    another follows).
    """
    offsets, destination, energy, final, to_go, best_arc = graph
    if listed[u] != UNKNOWN:
        return listed[u]
    listed[u] = len(detours)
    begin, end = offsets[u], offsets[u + 1]
    arcs = np.empty(end - begin + 1, np.int64)
    costs = np.empty(len(arcs), np.float64)
    size = 0
    for option in range(len(arcs)):
        arc = np.int64(begin) + option if option < len(arcs) - 1 else np.int64(-1)
        if arc == best_arc[u]:
            continue
        whole = final[u] if arc < 0 else energy[arc] + to_go[destination[arc]]
        if whole < np.inf:
            arcs[size], costs[size] = arc, max(whole - to_go[u], 0.0)
            size += 1
    for k, option in enumerate(np.argsort(costs[:size])):
        detours.append((costs[option], arcs[option], np.int64(u), k + 1 < size))
    return listed[u]


@njit(nogil=True, cache=True)
def _added(nodes, top, cost, state):
    """Adds to a leftist heap, whose nodes others share and so stay as they are; returns the new top."""
    spine = [top for _ in range(0)]
    while top >= 0 and nodes[top][0] <= cost:
        spine.append(top)
        top = nodes[top][2]
    nodes.append((cost, top, np.int64(-1), state, np.int64(1)))
    top = np.int64(len(nodes) - 1)
    for step in range(len(spine)):
        above_cost, left, _, above_state, _ = nodes[spine[len(spine) - 1 - step]]
        left_rank = nodes[left][4] if left >= 0 else np.int64(0)
        right = top
        rank = nodes[right][4]
        if left_rank < rank:
            left, right, rank = right, left, left_rank
        nodes.append((above_cost, left, right, above_state, rank + 1))
        top = np.int64(len(nodes) - 1)
    return top


@njit(nogil=True, cache=True)
def _written_out(destination, best_arc, paths, detours):
    """Paths of detours, arc by arc."""
    arcs = [np.int64(0) for _ in range(0)]
    first, last = np.empty(len(paths), np.int64), np.empty(len(paths), np.int64)
    begins = np.zeros(len(paths) + 1, np.int64)
    for path in range(len(paths)):
        taken = [np.int64(0) for _ in range(0)]
        _, parent, state = paths[path]
        while parent >= 0:
            taken.append(state)
            _, parent, state = paths[parent]
        first[path] = state
        arc = np.int64(0)
        for step in range(len(taken)):
            _, arc, turning, _ = detours[taken[len(taken) - 1 - step]]
            while state != turning:
                arcs.append(best_arc[state])
                state = np.int64(destination[best_arc[state]])
            if arc >= 0:
                arcs.append(arc)
                state = np.int64(destination[arc])
        while arc >= 0 and best_arc[state] >= 0:
            arcs.append(best_arc[state])
            state = np.int64(destination[best_arc[state]])
        begins[path + 1], last[path] = len(arcs), state
    return first, np.array(arcs, dtype=np.int64), begins, last


@njit(nogil=True, cache=True)
def steps(offsets, destination, energy, final, to_go):
    """Of each state, the probabilities of its arcs summed up one by one [A], and that of ending there [S].

    ``to_go`` is the free energy (at β = 1) from each state to the end. Where it is +inf they are left at 0.
    """
    cumulative = np.zeros(len(destination), np.float64)
    ending = np.zeros(len(final), np.float64)
    for u in range(len(final)):
        if to_go[u] == np.inf:
            continue
        total = 0.0
        for arc in range(offsets[u], offsets[u + 1]):
            total += np.exp(to_go[u] - energy[arc] - to_go[destination[arc]])
            cumulative[arc] = total
        ending[u] = np.exp(to_go[u] - final[u])
    return cumulative, ending


@njit(nogil=True, cache=True)
def walk(offsets, destination, cumulative, ending, first, generator, most):
    """A path at random from each state of ``first``: (arcs of all, where each path's begin, last states).

    Ends at the first path that has more than ``most`` arcs.
    """
    arcs = [np.int64(0) for _ in range(0)]
    begins = np.zeros(len(first) + 1, np.int64)
    last = np.empty(len(first), np.int64)
    for place, start in enumerate(first):
        u = np.int64(start)
        while len(arcs) - begins[place] <= most:
            low, high = np.int64(offsets[u]), np.int64(offsets[u + 1])
            onwards = cumulative[high - 1] if high > low else 0.0
            chosen = generator.random() * (onwards + ending[u])
            if chosen >= onwards:
                break
            while low < high:  # the first arc whose sum is above what was drawn
                middle = (low + high) // 2
                if cumulative[middle] > chosen:
                    high = middle
                else:
                    low = middle + 1
            arcs.append(low)
            u = np.int64(destination[low])
        begins[place + 1] = len(arcs)
        last[place] = u
        if begins[place + 1] - begins[place] > most:
            break
    return np.array(arcs, dtype=np.int64), begins, last


@njit(nogil=True, cache=True)
def on_best_paths(states, source, destination, arc_before, arc_after, most):
    """Marks the states, at most so many, of the best paths through each of ``states``, best first.

    ``arc_before`` and ``arc_after`` lead along these paths to each state and on from it.
    """
    kept = np.zeros(len(arc_before), np.bool_)
    way = np.empty(len(arc_before), np.int64)
    free = most
    for state in states:
        size = 0
        at = np.int64(state)
        while not kept[at]:
            kept[at] = True
            way[size] = at
            size += 1
            if arc_before[at] < 0:
                break
            at = np.int64(source[arc_before[at]])
        at = np.int64(state)
        while size > 0 and arc_after[at] >= 0:
            at = np.int64(destination[arc_after[at]])
            if not kept[at]:
                kept[at] = True
                way[size] = at
                size += 1
        if size > free:
            kept[way[:size]] = False
            break
        free -= size
    return kept
