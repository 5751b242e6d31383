"""Weighted subset construction: determinization (Mohri 1997) and disambiguation (Mohri, Riley 2015).

A subset is a list of entries (state, string, residual) in the order of states: where the paths that read one
input are, what each has yet to write, and by how much its energy exceeds what is accounted for. Moves lead
from subset to subset. A move consists of one group of terms for each entry of the subset it leads to; a term
is an entry of the subset it leaves with the weight (of an arc, an initial or a final state) that takes it on:

    value of a group    v_g = F_β over its terms of (residual + weight)
    energy of a move    F_β over its groups of v_g
    residual            v_g − energy, in the subset that the move makes

The moves, groups and terms are the tape on which ``backward`` runs the derivatives back. Weights are
numbered: arcs, then initial, then final states. Subset 0 stands before the start: one entry, whose moves take
the initial states in. A move to ``END`` ends a path. In disambiguation each subset has a head, the state of
the one path that it stands for, and holds only states that share a future with it.

Strings are numbers in a trie, of (parent, last label); 0 is the empty one. Nothing is allocated while the
arrays that grow last: ``expand`` returns when one could get full, the caller grows it and calls again.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

DONE, FULL, TOO_MANY, AMBIGUOUS = 0, 1, 2, 3
SINGLE, ALL, BEST = 0, 1, 2
END = EPSILON = EMPTY = NO_HEAD = -1
# What is counted: places in ``counts``.
SUBSETS, ENTRIES, STRINGS, MOVES, GROUPS, TERMS, EXPANDED = 0, 1, 2, 3, 4, 5, 6
# Rows of ``room``: ways by label; those of one move; what sorting them and taking strings apart needs.
BY_LABEL, CHOSEN, SPARE, LETTERS = 0, 1, 2, 3
MOST_SWEEPS = 10_000

Array = Any

# Called from kernels only: what would make them callable from Python takes long to compile.
_helper = njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)


ARC = np.dtype([("input", "i4"), ("output", "i4"), ("destination", "i4")])


class Automaton(NamedTuple):
    """``arcs`` (of ARC) are ordered by state and then input label; ``weights`` are those of arcs, initial and
    final states in a row; ``initial`` are the initial states, ``is_final`` whether a state is final;
    ``shared`` has, sorted, p · states + q for the states that share a future."""

    offsets: Array
    arcs: Array
    weights: Array
    initial: Array
    is_final: Array
    shared: Array


# Subset k has the entries from first_entry of k to that of k + 1; made_by is the move that led to it first.
SUBSET = np.dtype([("first_entry", "i8"), ("head", "i4"), ("made_by", "i4"), ("hash", "i8")])
ENTRY = np.dtype([("state", "i4"), ("string", "i4"), ("residual", "f8")])
STRING = np.dtype([("parent", "i4"), ("label", "i4"), ("length", "i4"), ("hash", "i8")], align=True)
# Move m has the groups from first_group of m to that of m + 1, and group g its terms likewise.
MOVE = np.dtype(
    [
        ("source", "i4"),
        ("label", "i4"),
        ("written", "i4"),
        ("target", "i4"),
        ("energy", "f8"),
        ("first_group", "i8"),
    ]
)
GROUP = np.dtype([("first_term", "i8"), ("value", "f8")])
TERM = np.dtype([("entry", "i4"), ("weight", "i4")])
# A way on from the subset being expanded: an entry takes a weight to a state, with a string to write.
WAY = np.dtype(
    [("entry", "i8"), ("weight", "i8"), ("state", "i8"), ("string", "i8"), ("label", "i8"), ("key", "i8")]
)


@_helper
def _mixed(hashed, value):
    hashed = (hashed ^ np.int64(value)) * np.int64(-7046029254386353131)
    return hashed ^ ((hashed >> np.int64(29)) & np.int64(0x7FFFFFFFF))


@njit(nogil=True, cache=True)
def fill_table(hashes, count, table):
    """Enters the numbers 0 … count − 1 into an empty table, whose length is a power of two."""
    mask = np.int64(len(table) - 1)
    for number in range(count):
        slot = hashes[number] & mask
        while table[slot] != EMPTY:
            slot = (slot + 1) & mask
        table[slot] = number


@_helper
def _child(strings, table, counts, parent, label):
    """The string of ``parent`` and one label more."""
    mask = np.int64(len(table) - 1)
    hashed = _mixed(_mixed(np.int64(17), parent), label)
    slot = hashed & mask
    while table[slot] != EMPTY:
        string = np.int64(table[slot])
        if strings[string].parent == parent and strings[string].label == label:
            return string
        slot = (slot + 1) & mask
    string = counts[STRINGS]
    counts[STRINGS] += 1
    table[slot] = string
    strings[string].parent, strings[string].label, strings[string].hash = parent, label, hashed
    strings[string].length = strings[parent].length + 1
    return string


@_helper
def _common_prefix(strings, one, other):
    while strings[one].length > strings[other].length:
        one = np.int64(strings[one].parent)
    while strings[other].length > strings[one].length:
        other = np.int64(strings[other].parent)
    while one != other:
        one, other = np.int64(strings[one].parent), np.int64(strings[other].parent)
    return one


@_helper
def _without_prefix(strings, table, counts, string, prefix, letters):
    """What is left of ``string`` after a prefix of it."""
    left = strings[string].length - strings[prefix].length
    if left == strings[string].length:
        return string
    for place in range(left):
        letters[place] = strings[string].label
        string = np.int64(strings[string].parent)
    rest = np.int64(0)
    for place in range(left):
        rest = _child(strings, table, counts, rest, letters[left - 1 - place])
    return rest


@_helper
def _added(least, total, value, beta):
    """Takes a value into F_β = least − log(total) / β; ∞ and 0 to begin with."""
    if beta == np.inf:
        return min(least, value), 1.0
    if value >= least:
        return least, total + np.exp(-beta * (value - least))
    return value, 1.0 + (total * np.exp(-beta * (least - value)) if total > 0.0 else 0.0)


@_helper
def _free(least, total, beta):
    return least if beta == np.inf or total == 1.0 else least - np.log(total) / beta


@_helper
def _share(shared, states, one, other):
    """Whether the two states share a future."""
    wanted = np.int64(one) * states + other
    low, high = 0, len(shared)
    while low < high:
        middle = (low + high) // 2
        if shared[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low < len(shared) and shared[low] == wanted


@_helper
def _sort(ways, order, spare, count):
    """Sorts the first of ``order`` by the keys of the ways; stable. Runs sorted by insertion are merged."""
    run = 16
    for start in range(0, count, run):
        for stop in range(start + 1, min(start + run, count)):
            item, place = order[stop], stop
            key = ways[item].key
            while place > start and ways[order[place - 1]].key > key:
                order[place] = order[place - 1]
                place -= 1
            order[place] = item
    while run < count:
        for start in range(0, count, 2 * run):
            middle, stop = min(start + run, count), min(start + 2 * run, count)
            for place in range(start, middle):
                spare[place] = order[place]
            one, other, place = start, middle, start
            while one < middle:
                if other < stop and ways[order[other]].key < ways[spare[one]].key:
                    order[place] = order[other]
                    other += 1
                else:
                    order[place] = spare[one]
                    one += 1
                place += 1
        run *= 2


@_helper
def _value(ways, room, start, stop, weights, entries, beta):
    """F_β over the chosen ways from place ``start`` to ``stop``."""
    least, total = np.inf, 0.0
    for place in range(start, stop):
        way = room[CHOSEN, place]
        value = weights[ways[way].weight]
        value += entries[ways[way].entry].residual
        least, total = _added(least, total, value, beta)
    return _free(least, total, beta)


@_helper
def _keep_best(ways, room, count, weights, entries, beta):
    """Of the chosen ways to a state those with the string of least value; returns their number."""
    for place in range(count):
        way = room[CHOSEN, place]
        ways[way].key = (np.int64(ways[way].state) << 32) | np.int64(ways[way].string)
    _sort(ways, room[CHOSEN], room[SPARE], count)
    kept = kept_before = np.int64(0)
    state_before, least = np.int64(-2), np.inf
    start = np.int64(0)
    while start < count:
        key = ways[room[CHOSEN, start]].key
        stop = start + 1
        while stop < count and ways[room[CHOSEN, stop]].key == key:
            stop += 1
        value = _value(ways, room, start, stop, weights, entries, beta)
        if key >> 32 != state_before:
            kept_before, state_before, least = kept, key >> 32, np.inf
        if value < least:
            least, kept = value, kept_before
            for place in range(start, stop):
                room[CHOSEN, kept] = room[CHOSEN, place]
                kept += 1
        start = stop
    return kept


@_helper
def _add_groups(ways, room, count, weights, entries, groups, terms, counts, outputs, beta):
    """Groups of the chosen ways by key, and the entries they make; returns the sum of their values, and
    whether ``outputs`` forbids that two keys are of the same state."""
    least, total, forbidden = np.inf, 0.0, False
    state_before = np.int64(-2)
    start = np.int64(0)
    while start < count:
        key = ways[room[CHOSEN, start]].key
        stop = start + 1
        while stop < count and ways[room[CHOSEN, stop]].key == key:
            stop += 1
        value = _value(ways, room, start, stop, weights, entries, beta)
        least, total = _added(least, total, value, beta)
        forbidden |= outputs == SINGLE and key >> 32 == state_before
        state_before = key >> 32
        groups[counts[GROUPS]].first_term, groups[counts[GROUPS]].value = counts[TERMS], value
        counts[GROUPS] += 1
        for place in range(start, stop):
            way = room[CHOSEN, place]
            terms[counts[TERMS]].entry = ways[way].entry
            terms[counts[TERMS]].weight = ways[way].weight
            counts[TERMS] += 1
        entry = counts[ENTRIES]
        entries[entry].state, entries[entry].string = key >> 32, key & 0x7FFFFFFF
        entries[entry].residual = value
        counts[ENTRIES] += 1
        start = stop
    return _free(least, total, beta), forbidden


@_helper
def _steps(residual, delta):
    return np.int64(np.floor(residual / delta + 0.5))


@_helper
def _same(entries, one, other, count, delta):
    """Whether two runs of entries have the same states and strings, and residuals equal in steps of delta."""
    for k in range(count):
        if (
            entries[one + k].state != entries[other + k].state
            or entries[one + k].string != entries[other + k].string
            or _steps(entries[one + k].residual, delta) != _steps(entries[other + k].residual, delta)
        ):
            return False
    return True


@_helper
def _find_subset(subsets, entries, table, counts, first, head, delta):
    """The subset of the entries from ``first`` on; they are taken back where it is known already."""
    mask = np.int64(len(table) - 1)
    size = counts[ENTRIES] - first
    hashed = _mixed(np.int64(29), head)
    for entry in range(first, first + size):
        hashed = _mixed(_mixed(hashed, entries[entry].state), entries[entry].string)
        hashed = _mixed(hashed, _steps(entries[entry].residual, delta))
    slot = hashed & mask
    while table[slot] != EMPTY:
        subset = np.int64(table[slot])
        known = np.int64(subsets[subset].first_entry)
        if (
            subsets[subset].hash == hashed
            and subsets[subset].head == head
            and np.int64(subsets[subset + 1].first_entry) - known == size
            and _same(entries, known, first, size, delta)
        ):
            counts[ENTRIES] = first
            return subset
        slot = (slot + 1) & mask
    subset = counts[SUBSETS]
    counts[SUBSETS] += 1
    table[slot] = subset
    subsets[subset].hash, subsets[subset].head, subsets[subset].made_by = hashed, head, counts[MOVES]
    subsets[subset + 1].first_entry = counts[ENTRIES]
    return subset


@_helper
def _add_move(moves, counts, label, written, target, energy, first_group):
    move = counts[MOVES]
    moves[move].source, moves[move].label, moves[move].written = counts[EXPANDED], label, written
    moves[move].target, moves[move].energy, moves[move].first_group = target, energy, first_group
    counts[MOVES] += 1


@_helper
def _move(automaton, found, tables, counts, ways, room, start, stop, head, options):
    """Adds the move by the ways in a run of one label, from ``start`` to ``stop``; returns whether it is
    allowed."""
    subsets, entries, strings, moves, groups, terms = found
    outputs, beta, delta = options
    states = np.int64(len(automaton.offsets) - 1)
    count = np.int64(0)
    for place in range(start, stop):
        way = room[BY_LABEL, place]
        state = np.int64(ways[way].state)
        if head == NO_HEAD or state == head or _share(automaton.shared, states, head, state):
            room[CHOSEN, count] = way
            count += 1
    if outputs == BEST:
        count = _keep_best(ways, room, count, automaton.weights, entries, beta)
    prefix = np.int64(ways[room[CHOSEN, 0]].string)
    for place in range(1, count):
        prefix = _common_prefix(strings, prefix, np.int64(ways[room[CHOSEN, place]].string))
    for place in range(count):
        way = room[CHOSEN, place]
        rest = _without_prefix(strings, tables[1], counts, ways[way].string, prefix, room[LETTERS])
        ways[way].key = (np.int64(ways[way].state) << 32) | rest
    _sort(ways, room[CHOSEN], room[SPARE], count)
    first_group, first_entry = counts[GROUPS], counts[ENTRIES]
    energy, forbidden = _add_groups(
        ways, room, count, automaton.weights, entries, groups, terms, counts, outputs, beta
    )
    for entry in range(first_entry, counts[ENTRIES]):
        entries[entry].residual -= energy
    target = _find_subset(subsets, entries, tables[0], counts, first_entry, head, delta)
    label = ways[room[BY_LABEL, start]].label
    _add_move(moves, counts, label, prefix, target, energy, first_group)
    return not forbidden


@_helper
def _collect(automaton, subsets, entries, strings, string_table, counts, ways, room):
    """The ways on from the subset to be expanded, ordered by label; returns their number."""
    subset = counts[EXPANDED]
    count = np.int64(0)
    if subset == 0:
        for state in automaton.initial:
            ways[count].entry, ways[count].string, ways[count].state = 0, 0, state
            ways[count].weight = len(automaton.arcs) + state
            ways[count].label, room[BY_LABEL, count] = EPSILON, count
            count += 1
        return count
    first, last = np.int64(subsets[subset].first_entry), np.int64(subsets[subset + 1].first_entry)
    for entry in range(first, last):
        state = entries[entry].state
        for arc in range(automaton.offsets[state], automaton.offsets[state + 1]):
            string = np.int64(entries[entry].string)
            if automaton.arcs[arc].output != EPSILON:
                string = _child(strings, string_table, counts, string, automaton.arcs[arc].output)
            ways[count].entry, ways[count].weight, ways[count].string = entry, arc, string
            ways[count].state = automaton.arcs[arc].destination
            ways[count].label = ways[count].key = automaton.arcs[arc].input
            room[BY_LABEL, count] = count
            count += 1
    if last - first > 1:
        _sort(ways, room[BY_LABEL], room[SPARE], count)
    return count


@_helper
def _is_heads(ways, room, entries, start, place, head):
    """Whether the way at this place, in a run of one label from ``start``, is the head's and its first to the
    state it leads to."""
    way = room[BY_LABEL, place]
    if entries[ways[way].entry].state != head:
        return False
    # One earlier is of a smaller state, whose subset has the move, so that one path reads the input, not two.
    state = ways[way].state
    earlier = start
    while ways[room[BY_LABEL, earlier]].state != state:
        earlier += 1
    return earlier == place


@_helper
def _expand_ways(automaton, found, tables, counts, ways, room, with_heads, options):
    """Adds the moves of the subset to be expanded; returns whether all are allowed."""
    subsets, entries, strings = found[:3]
    count = _collect(automaton, subsets, entries, strings, tables[1], counts, ways, room)
    head = np.int64(subsets[counts[EXPANDED]].head)
    allowed = True
    start = stop = np.int64(0)
    for place in range(count):
        if place == stop:
            start = stop
            while stop < count and ways[room[BY_LABEL, stop]].label == ways[room[BY_LABEL, start]].label:
                stop += 1
        target_head = np.int64(NO_HEAD)
        if with_heads:
            target_head = np.int64(ways[room[BY_LABEL, place]].state)
        if _is_heads(ways, room, entries, start, place, head) if with_heads else place == start:
            allowed &= _move(automaton, found, tables, counts, ways, room, start, stop, target_head, options)
    return allowed


@_helper
def _expand_final(automaton, subsets, entries, moves, groups, terms, counts, ways, room, options):
    """Adds the moves that end paths, one for each string; returns whether there may be as many."""
    subset = counts[EXPANDED]
    outputs, beta, _ = options
    first_final = len(automaton.arcs) + len(automaton.is_final)
    count = np.int64(0)
    for entry in range(subsets[subset].first_entry, subsets[subset + 1].first_entry):
        state = entries[entry].state
        if state >= 0 and automaton.is_final[state]:
            # One state for all, so that of several strings only the best is kept where that is asked for.
            ways[count].state, ways[count].string = 0, entries[entry].string
            ways[count].entry, ways[count].weight = entry, first_final + state
            ways[count].key, room[CHOSEN, count] = entries[entry].string, count
            count += 1
    head = subsets[subset].head
    if count == 0 or (head != NO_HEAD and entries[ways[0].entry].state != head):
        return True
    if outputs == BEST:
        count = _keep_best(ways, room, count, automaton.weights, entries, beta)
    _sort(ways, room[CHOSEN], room[SPARE], count)
    first_entry, first_group = counts[ENTRIES], counts[GROUPS]
    _, forbidden = _add_groups(
        ways, room, count, automaton.weights, entries, groups, terms, counts, outputs, beta
    )
    for group in range(first_group, counts[GROUPS]):
        string = entries[first_entry + group - first_group].string
        _add_move(moves, counts, EPSILON, string, END, groups[group].value, group)
    counts[ENTRIES] = first_entry
    return not forbidden


@_helper
def _wanted(automaton, subsets, entries, strings, counts, wanted):
    """What the counts can at most be after the subset is expanded; returns how many ways lead on from it, and
    the length of the longest string then."""
    subset = counts[EXPANDED]
    ways, longest, copies = np.int64(0), np.int64(0), np.int64(1)
    for entry in range(subsets[subset].first_entry, subsets[subset + 1].first_entry):
        state = entries[entry].state
        if state < 0:
            continue
        leaving = np.int64(automaton.offsets[state + 1]) - np.int64(automaton.offsets[state])
        ways += leaving + 1
        longest = max(longest, np.int64(strings[entries[entry].string].length) + 1)
        if state == subsets[subset].head:
            copies = max(copies, leaving)
    added = ways * copies
    if subset == 0:
        # One subset of all initial states or, with heads, one of those that share a future with each.
        ways = np.int64(len(automaton.initial))
        added = max(ways, np.int64(len(automaton.shared)))
    for what in (SUBSETS, ENTRIES, MOVES, GROUPS, TERMS):
        wanted[what] = counts[what] + added + 1
    wanted[STRINGS] = counts[STRINGS] + added * (longest + 1) + 1
    return ways, longest


@njit(nogil=True, cache=True)
def expand(automaton, found, tables, counts, wanted, with_heads, most_subsets, options):
    """Expands subsets until all are done (DONE), an array could get full (FULL; ``wanted`` says how long each
    must be), there are too many (TOO_MANY), or an input has a second output (AMBIGUOUS).

    ``found`` holds the arrays that grow and ``tables`` the hash tables of subsets and of strings; ``options``
    are what to do with several outputs (SINGLE, ALL or BEST), β and the step in which residuals are compared.
    """
    subsets, entries, strings, moves, groups, terms = found
    ways, room = np.empty(64, WAY), np.empty((4, 64), np.int64)
    while counts[EXPANDED] < counts[SUBSETS]:
        needed, longest = _wanted(automaton, subsets, entries, strings, counts, wanted)
        if counts[SUBSETS] - 1 > most_subsets or max(wanted[ENTRIES], wanted[STRINGS]) > 16 * most_subsets:
            return TOO_MANY
        if (
            wanted[SUBSETS] >= len(subsets)
            or wanted[ENTRIES] > len(entries)
            or wanted[STRINGS] > len(strings)
            or wanted[MOVES] >= len(moves)
            or wanted[GROUPS] >= len(groups)
            or wanted[TERMS] > len(terms)
        ):
            return FULL
        if max(needed, longest) > len(ways):
            size = 2 * max(needed, longest)
            ways, room = np.empty(size, WAY), np.empty((4, size), np.int64)
        allowed = _expand_ways(automaton, found, tables, counts, ways, room, with_heads, options)
        if not allowed or not _expand_final(
            automaton, subsets, entries, moves, groups, terms, counts, ways, room, options
        ):
            return AMBIGUOUS
        counts[EXPANDED] += 1
    moves[counts[MOVES]].first_group = counts[GROUPS]
    groups[counts[GROUPS]].first_term = counts[TERMS]
    return DONE


@njit(nogil=True, cache=True)
def spelled(found, counts, is_acceptor):
    """The moves as arcs (source, destination, input, output, move) and the number of states, END among them
    where a string is left to be written at an end.

    State k is subset k + 1. A move that writes several labels is a row of arcs, of which the first reads; a
    move to END that writes nothing is no arc. Only the first arc of a row has its move, the others have −1.
    """
    strings, moves = found[2], found[3]
    count = rows = ends = 0
    for move in range(counts[MOVES]):
        length = strings[moves[move].written].length
        if moves[move].target == END:
            ends += length > 0
            count += length
        elif moves[move].source > 0:
            count += max(length, 1)
        rows += max(length - 1, 0)
    states = counts[SUBSETS] - 1
    end = states + rows
    arcs = np.empty((5, count), np.int32)
    arc = 0
    tail = count - rows
    following = states
    for move in range(counts[MOVES]):
        string, target = np.int64(moves[move].written), moves[move].target
        length = strings[string].length
        if moves[move].source == 0 or (target == END and length == 0):
            continue
        last = end if target == END else target - 1
        # From the last label back; the tail's states and arcs are numbered on, by row.
        for place in range(length - 1, 0, -1):
            row = tail + place - 1
            arcs[0, row] = following + place - 1
            arcs[1, row] = last if place == length - 1 else following + place
            arcs[2, row], arcs[3, row], arcs[4, row] = EPSILON, strings[string].label, -1
            string = np.int64(strings[string].parent)
        arcs[0, arc], arcs[1, arc] = moves[move].source - 1, last if length <= 1 else following
        arcs[2, arc], arcs[4, arc] = moves[move].label, move
        arcs[3, arc] = moves[move].label if is_acceptor else strings[string].label
        arc += 1
        tail += max(length - 1, 0)
        following += max(length - 1, 0)
    return arcs, end + (ends > 0)


@njit(nogil=True, cache=True)
def only_terms(found, counts):
    """The weight that each move stems from where it is one, else −1."""
    moves, groups, terms = found[3], found[4], found[5]
    result = np.full(counts[MOVES], -1, np.int32)
    for move in range(counts[MOVES]):
        first = groups[moves[move].first_group].first_term
        if groups[moves[move + 1].first_group].first_term - first == 1:
            result[move] = terms[first].weight
    return result


@_helper
def _shares(energies, first, last, beta, shares):
    """exp(−β E) / Σ exp(−β E) of the energies from first to last; at β = ∞ all of it is the first least's."""
    best = first
    for k in range(first, last):
        best = k if energies[k] < energies[best] else best
    least, total = energies[best], 0.0
    for k in range(first, last):
        if beta == np.inf:
            shares[k] = 1.0 if k == best else 0.0
        else:
            shares[k] = np.exp(-beta * (energies[k] - least))
        total += shares[k]
    for k in range(first, last):
        shares[k] /= total


@njit(nogil=True, cache=True)
def pulls(found, counts, to_end, beta):
    """How much of what follows on a subset goes on from each of its entries, given the states' distances to
    the end."""
    subsets, entries = found[:2]
    energies = np.zeros(counts[ENTRIES])
    for entry in range(1, len(energies)):
        energies[entry] = entries[entry].residual + to_end[entries[entry].state]
    for subset in range(1, counts[SUBSETS]):
        _shares(energies, subsets[subset].first_entry, subsets[subset + 1].first_entry, beta, energies)
    return energies


@_helper
def _term_shares(weights, found, counts, beta):
    """How much each term makes of its group."""
    entries, groups, terms = found[1], found[4], found[5]
    values = np.zeros(counts[TERMS])
    for term in range(counts[TERMS]):
        values[term] = entries[terms[term].entry].residual + weights[terms[term].weight]
    for group in range(counts[GROUPS]):
        _shares(values, groups[group].first_term, groups[group + 1].first_term, beta, values)
    return values


@_helper
def _add_pull_of(move, share, found, of_terms, before, pull):
    """Adds to the pull of the entries that a move leaves what it hands on of that of those it leads to, which
    is the one before where the move is a loop."""
    subsets, _, _, moves, groups, terms = found
    target, first = moves[move].target, moves[move].first_group
    for group in range(first, moves[move + 1].first_group):
        through = share
        if target != END:
            entry = subsets[target].first_entry + group - first
            through *= before[entry] if target == moves[move].source else pull[entry]
        for term in range(groups[group].first_term, groups[group + 1].first_term):
            pull[terms[term].entry] += through * of_terms[term]


@njit(nogil=True, cache=True)
def pulls_of_heads(weights, found, counts, to_end, beta):
    """The same in disambiguation, where some of what follows on an entry is left to other subsets; given the
    subsets' distances to the end.

    The pull of an entry is the mean, over the moves from its subset, of that of the entries it takes part in.
    One sweep back is enough where all moves lead to later subsets; around cycles the sweeps converge.
    """
    subsets, _, _, moves, _, _ = found
    of_terms = _term_shares(weights, found, counts, beta)
    shares = np.zeros(counts[MOVES])
    for move in range(counts[MOVES]):
        target = moves[move].target
        shares[move] = moves[move].energy + (0.0 if target == END else to_end[target - 1])
    pull, before = np.zeros(counts[ENTRIES]), np.ones(counts[ENTRIES])
    change = np.inf
    for sweep in range(MOST_SWEEPS):
        if change < 1e-12:
            break
        change = 0.0
        stop = counts[MOVES]
        for place in range(1, counts[SUBSETS]):
            subset = counts[SUBSETS] - place
            start = stop
            while moves[start - 1].source == subset:
                start -= 1
            first, last = subsets[subset].first_entry, subsets[subset + 1].first_entry
            for entry in range(first, last):
                before[entry], pull[entry] = pull[entry], 0.0
            if to_end[subset - 1] < np.inf:
                if sweep == 0:
                    _shares(shares, start, stop, beta, shares)
                for move in range(start, stop):
                    _add_pull_of(move, shares[move], found, of_terms, before, pull)
            for entry in range(first, last):
                change = max(change, abs(pull[entry] - before[entry]))
            stop = start
    return pull


@_helper
def _along_groups(found, move, pull, along_move, along, beta, result):
    """The derivative in the values of the groups of a move, given those in the energy of the move and in the
    residuals of the subset that it leads to, if it is the move that made it."""
    subsets, _, _, moves, groups, _ = found
    first, last = moves[move].first_group, moves[move + 1].first_group
    target = moves[move].target
    if target == END:
        result[first] = along_move
        return
    entry = subsets[target].first_entry - first
    if subsets[target].made_by != move:
        for group in range(first, last):
            result[group] = along_move * pull[entry + group]
        return
    _shares(groups["value"], first, last, beta, result)
    rest = along_move
    for group in range(first, last):
        rest -= along[entry + group]
    for group in range(first, last):
        result[group] = along[entry + group] + result[group] * rest


@njit(nogil=True, cache=True)
def backward(weights, found, counts, beta, pull, along_moves):
    """The derivative in the weights, given that in the energies of the moves.

    A subset's residuals are those of the move that made it. Another move m that leads to it has, up to first
    order, the energy Σ_k pull_k (v_k(m) − residual_k), so that what it has otherwise is made good on average.
    """
    subsets, _, _, moves, groups, terms = found
    of_terms = _term_shares(weights, found, counts, beta)
    result, along = np.zeros(len(weights)), np.zeros(counts[ENTRIES])
    along_group = np.zeros(counts[GROUPS])
    for move in range(counts[MOVES]):
        target = moves[move].target
        if target != END and subsets[target].made_by != move:
            for entry in range(subsets[target].first_entry, subsets[target + 1].first_entry):
                along[entry] -= along_moves[move] * pull[entry]
    for place in range(counts[MOVES]):
        move = counts[MOVES] - 1 - place
        _along_groups(found, move, pull, along_moves[move], along, beta, along_group)
        for group in range(moves[move].first_group, moves[move + 1].first_group):
            for term in range(groups[group].first_term, groups[group + 1].first_term):
                along[terms[term].entry] += along_group[group] * of_terms[term]
                result[terms[term].weight] += along_group[group] * of_terms[term]
    return result
