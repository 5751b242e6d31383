"""Prefix search: the label strings of connectionist temporal classification that are most likely, summed over
their alignments.

Strings are nodes of a tree: (parent, label, first child, next sibling, state of the grammar), −1 for none,
and the energy that the grammar gives them. Those that a search goes on with each carry the logarithms of the
sums over alignments that end in the blank and in the string's last label.

A grammar is (offsets, labels, destinations, energies) of arcs grouped by the state they leave and ordered by
label, and for each state a back-off (state or −1) and its energy, taken only where no arc has the label.
"""

import numpy as np
from numba import njit

NONE = np.int32(-1)


@njit(inline="always")
def _log_sum(a, b):
    """log(exp a + exp b)."""
    high, low = max(a, b), min(a, b)
    return high if low == -np.inf else high + np.log1p(np.exp(low - high))


@njit(nogil=True, cache=True)
def _step(state, label, grammar):
    """Where the grammar goes by a label, and what that costs; +inf where it does not."""
    offsets, labels, destinations, energies, back_off, back_off_energy = grammar
    paid = 0.0
    while state >= 0:
        low, high = np.int64(offsets[state]), np.int64(offsets[state + 1])
        end = high
        while low < high:
            middle = (low + high) // 2
            if labels[middle] < label:
                low = middle + 1
            else:
                high = middle
        if low < end and labels[low] == label:
            return np.int64(destinations[low]), paid + energies[low]
        paid += back_off_energy[state]
        state = np.int64(back_off[state])
    return np.int64(-1), np.inf


@njit(nogil=True, cache=True)
def ends(states, final, grammar):
    """The energies of ending in each of the states, by backing off where need be."""
    back_off, back_off_energy = grammar[4], grammar[5]
    result = np.empty(len(states))
    for k in range(len(states)):
        state, paid = np.int64(states[k]), 0.0
        while state >= 0 and final[state] == np.inf:
            paid += back_off_energy[state]
            state = np.int64(back_off[state])
        result[k] = paid + final[state] if state >= 0 else np.inf
    return result


@njit(inline="always")
def _child(node, label, nodes):
    """The node of a string with one label more, −1 where there is none."""
    child = nodes[2][node]
    while child >= 0 and nodes[1][child] != label:
        child = nodes[3][child]
    return child


@njit(nogil=True, cache=True)
def _stay(row, blank, nodes, active, count, slot, new_blank, new_label):
    """What the strings have after a frame that does not make them longer."""
    node, ends_blank, ends_label = active
    for k in range(count):
        slot[node[k]] = k
        last = nodes[1][node[k]]
        new_blank[k] = _log_sum(ends_blank[k], ends_label[k]) - row[blank]
        new_label[k] = ends_label[k] - row[last] if last >= 0 else -np.inf


@njit(nogil=True, cache=True)
def _extend(
    row, blank, width, nodes, energies, active, count, slot, new_blank, new_label, grammar, least, options
):
    """Adds what strings become when a label is added; returns how many that are not active are options."""
    node, ends_blank, ends_label = active
    parent, option_label, option_state, option_energy, option_sum = options
    for k in range(count):
        whole = _log_sum(ends_blank[k], ends_label[k])
        child = nodes[2][node[k]]
        while child >= 0:
            if slot[child] >= 0:
                label = nodes[1][child]
                before = ends_blank[k] if label == nodes[1][node[k]] else whole
                new_label[slot[child]] = _log_sum(new_label[slot[child]], before - row[label])
            child = nodes[3][child]
    # With enough strings as they are, an option must be better than the worst of them.
    floor = np.inf
    for k in range(count):
        floor = min(floor, _log_sum(new_blank[k], new_label[k]) - energies[node[k]])
    floor = floor if count == width else -np.inf
    size = 0
    for k in range(count):
        whole = _log_sum(ends_blank[k], ends_label[k])
        for label in range(len(row)):
            before = ends_blank[k] if label == nodes[1][node[k]] else whole
            total = before - row[label]
            if label == blank or total == -np.inf or total - energies[node[k]] - least < floor:
                continue
            child = _child(node[k], label, nodes)
            if child >= 0 and slot[child] >= 0:
                continue
            state, paid = _step(np.int64(nodes[4][node[k]]), label, grammar)
            if paid < np.inf:
                parent[size], option_label[size], option_state[size] = k, label, state
                option_energy[size] = energies[node[k]] + paid
                option_sum[size] = total
                size += 1
    return size


@njit(nogil=True, cache=True)
def search(
    emissions, blank, width, nodes, energies, used, active, count, slot, options, grammar, least
):  # fmt: skip
    """Takes the ``count`` strings that are ``active`` over frames, as many as there is room for nodes.

    Args:
        nodes, energies: of the tree, ``used`` of them so far; the root is node 0.
        active: (node, log sum of alignments that end in a blank, in the last label), each [width].
        slot: for each node its place among the active, −1 else; all −1 at the beginning and the end.
        options: five arrays of width · classes, for use within.
        least: the least energy of a step of the grammar.

    Returns:
        (frames taken, nodes used, active strings).
    """
    node, ends_blank, ends_label = active
    row = np.empty(emissions.shape[1], np.float64)
    new_blank, new_label = np.empty(width), np.empty(width)
    score = np.empty(width + width * len(row))
    before = np.empty(width, np.int64)
    for t in range(len(emissions)):
        if used + width > len(energies):
            return t, used, count
        for c in range(len(row)):
            row[c] = emissions[t, c]
        _stay(row, blank, nodes, active, count, slot, new_blank, new_label)
        size = _extend(
            row, blank, width, nodes, energies, active, count, slot, new_blank, new_label, grammar, least,
            options,
        )  # fmt: skip
        for k in range(count):
            before[k] = node[k]
            slot[node[k]] = -1
            score[k] = _log_sum(new_blank[k], new_label[k]) - energies[node[k]]
        for k in range(size):
            score[count + k] = options[4][k] - options[3][k]
        chosen = np.argsort(-score[: count + size], kind="mergesort")[:width]
        kept = 0
        for k in chosen:
            if score[k] == -np.inf:
                break
            if k < count:
                node[kept], ends_blank[kept], ends_label[kept] = before[k], new_blank[k], new_label[k]
            else:
                parent, label = before[options[0][k - count]], options[1][k - count]
                child = np.int64(_child(parent, label, nodes))
                if child < 0:
                    child = used
                    nodes[0][child], nodes[1][child], nodes[2][child] = parent, label, NONE
                    nodes[3][child], nodes[4][child] = nodes[2][parent], options[2][k - count]
                    nodes[2][parent] = child
                    energies[child] = options[3][k - count]
                    used += 1
                node[kept], ends_blank[kept], ends_label[kept] = child, -np.inf, options[4][k - count]
            kept += 1
        count = kept
    return len(emissions), used, count
