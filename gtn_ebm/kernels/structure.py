"""Order and reachability: grouping arcs by state, topological order, states that others lead to."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def offsets(keys, groups):
    """Where each key's items begin once grouped: those of key k are from place k to place k + 1 of these."""
    result = np.zeros(groups + 1, np.uint32)
    for key in keys:
        result[key + 1] += np.uint32(1)
    for k in range(groups):
        result[k + 1] += result[k]
    return result


@njit(nogil=True, cache=True)
def group(keys, groups):
    """Counting sort: the items of key k are ``order[starts[k]:starts[k + 1]]``, in the order they had."""
    starts = offsets(keys, groups)
    place = starts[:-1].copy()
    order = np.empty(len(keys), np.uint32)
    for item in range(len(keys)):
        key = keys[item]
        order[place[key]] = item
        place[key] += np.uint32(1)
    return starts, order


@njit(nogil=True, cache=True)
def group_by_both(keys, groups, labels, largest_label):
    """``group``, the items of one key ordered by label, −1 to ``largest_label``, and then as they were."""
    next_label = np.zeros(largest_label + 3, np.uint32)
    for label in labels:
        next_label[label + 2] += np.uint32(1)
    for k in range(largest_label + 2):
        next_label[k + 1] += next_label[k]
    by_label = np.empty(len(keys), np.uint32)
    for item in range(len(keys)):
        place = next_label[labels[item] + 1]
        by_label[place] = item
        next_label[labels[item] + 1] = place + np.uint32(1)
    starts = offsets(keys, groups)
    place_of = starts[:-1].copy()
    order = np.empty(len(keys), np.uint32)
    for chosen in by_label:
        order[place_of[keys[chosen]]] = chosen
        place_of[keys[chosen]] += np.uint32(1)
    return starts, order


@njit(nogil=True, cache=True)
def is_sorted_within(keys, labels):
    """Whether no label is smaller than the one before of the same key; items of one key stand together."""
    falls = 0
    for place in range(1, len(keys)):
        falls += (keys[place] == keys[place - 1]) & (labels[place] < labels[place - 1])
    return falls == 0


@njit(nogil=True, cache=True)
def is_sorted(keys):
    """Whether no key is smaller than the one before."""
    falls = np.int64(0)
    for place in range(1, len(keys)):
        falls += keys[place] < keys[place - 1]
    return falls == 0


@njit(nogil=True, cache=True)
def topological_order(offsets, destination):
    """Kahn's algorithm on arcs grouped by source; shorter than the states where there is a cycle."""
    states = len(offsets) - 1
    downwards = 0
    for state in range(states):
        for arc in range(offsets[state], offsets[state + 1]):
            downwards += destination[arc] <= state
    order = np.arange(states).astype(np.uint32)
    if downwards == 0:
        return order
    in_degree = np.zeros(states, np.uint32)
    for target in destination:
        in_degree[target] += np.uint32(1)
    filled = 0
    for state in range(states):
        if in_degree[state] == 0:
            order[filled] = state
            filled += 1
    done = 0
    while done < filled:
        state = order[done]
        done += 1
        for arc in range(offsets[state], offsets[state + 1]):
            target = destination[arc]
            in_degree[target] -= np.uint32(1)
            if in_degree[target] == 0:
                order[filled] = target
                filled += 1
    return order[:filled]


@njit(nogil=True, cache=True)
def state_on_cycle(source, in_offsets, in_arcs, ordered):
    """A state on a cycle, given the states (boolean) that a topological order could take in.

    A state left out of the order has an arc from another left out; walking such arcs backwards must come
    round.
    """
    states = len(in_offsets) - 1
    seen = np.zeros(states, np.bool_)
    state = 0
    while ordered[state]:
        state += 1
    while not seen[state]:
        seen[state] = True
        for arc in in_arcs[in_offsets[state] : in_offsets[state + 1]]:
            if not ordered[source[arc]]:
                state = source[arc]
                break
    return state


@njit(nogil=True, cache=True)
def reachable(next_state, offsets, arcs, start):
    """The states (boolean) reached from those of ``start`` (boolean), which is left as it is."""
    reached = start.copy()
    stack = np.empty(len(start), np.uint32)
    height = 0
    for state in range(len(start)):
        if start[state]:
            stack[height] = state
            height += 1
    while height > 0:
        height -= 1
        state = stack[height]
        for arc in arcs[offsets[state] : offsets[state + 1]]:
            target = next_state[arc]
            if not reached[target]:
                reached[target] = True
                stack[height] = target
                height += 1
    return reached
