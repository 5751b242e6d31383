"""Time-synchronous beam search of emissions through a graph, and the lattice of what it kept.

A token is a state reached after a number of frames, with the least energy of all ways there. Arcs come
grouped by the state they leave, those that consume a frame and epsilon arcs apart: ``consuming`` and
``silent`` are each (offsets, destination, label, energy), the label of an epsilon arc being of no account.

A lattice is kept as arcs between tokens that are numbered in the order of their making. A search is
interrupted where the arrays for it are full, so that the caller may compact or enlarge them.
"""

import numpy as np
from numba import njit

UNSEEN = np.int32(-1)
DROPPED, PASSED, ACTIVE = np.uint8(0), np.uint8(1), np.uint8(2)
"""Of a token after a frame: pruned; pruned, but others came by its epsilons; goes on."""


@njit(inline="always")
def _enter(state, energy, states, energies, place, size):
    """Notes a way into a state; returns how many tokens there are, and whether the way is the best so far."""
    found = place[state]
    if found == UNSEEN:
        place[state] = size
        states[size] = state
        energies[size] = energy
        return size + 1, True
    if energy < energies[found]:
        energies[found] = energy
        return size, True
    return size, False


@njit(nogil=True, cache=True)
def _consume(row, token_state, token_energy, consuming, to_go, beam, states, energies, place, pruned):
    """Takes all tokens over a frame; returns how many tokens there are then, and their least energy.

    ``pruned``: how many ways were given up, the least energy of one, and the least of one and the graph
    energies after it, in place.
    """
    offsets, destination, label, arc_energy = consuming
    size, best = 0, np.inf
    for token in range(len(token_state)):
        state, before = token_state[token], token_energy[token]
        for k in range(offsets[state], offsets[state + 1]):
            energy = before + arc_energy[k] + row[label[k]]
            if energy <= best + beam and energy < np.inf:
                size, _ = _enter(np.int64(destination[k]), energy, states, energies, place, size)
                best = min(best, energy)
            elif place[destination[k]] == UNSEEN:  # else the state is reached, and better
                _give_up(energy, to_go[destination[k]], pruned)
    return size, best


@njit(inline="always")
def _give_up(energy, to_go, pruned):
    """Notes what is pruned, unless it leads nowhere."""
    if energy + to_go < np.inf:
        pruned[0] += 1
        pruned[1] = min(pruned[1], energy)
        pruned[2] = min(pruned[2], energy + to_go)


@njit(nogil=True, cache=True)
def _pass_silently(size, best, silent, to_go, beam, states, energies, place, pruned):
    """Follows epsilon arcs from all tokens, and from those reached by them."""
    offsets, destination, _, arc_energy = silent
    waiting = list(range(size))
    at = 0
    while at < len(waiting):
        token = waiting[at]
        at += 1
        state = states[token]
        for k in range(offsets[state], offsets[state + 1]):
            energy = energies[token] + arc_energy[k]
            if energy <= best + beam and energy < np.inf:
                size, better = _enter(np.int64(destination[k]), energy, states, energies, place, size)
                best = min(best, energy)
                if better:
                    waiting.append(np.int64(place[destination[k]]))
            elif place[destination[k]] == UNSEEN:
                _give_up(energy, to_go[destination[k]], pruned)
    return size, best


@njit(nogil=True, cache=True)
def _prune(size, best, beam, most, silent, to_go, states, energies, place, fate, pruned):
    """Decides which tokens go on, at most ``most``; returns how many."""
    limit = best + beam
    free = most
    if size > most:
        last = np.partition(energies[:size], most - 1)[most - 1]
        if last <= limit:
            limit = last
            free = most - np.sum(energies[:size] < last)
    active = 0
    for token in range(size):
        tied = size > most and energies[token] == limit
        if energies[token] > limit or (tied and free == 0):
            fate[token] = DROPPED
            _give_up(energies[token], to_go[states[token]], pruned)
        else:
            fate[token] = ACTIVE
            active += 1
            free -= tied
    offsets, destination, _, arc_energy = silent
    changed = len(destination) > 0
    while changed:
        changed = False
        for token in range(size):
            if fate[token] == DROPPED:
                for k in range(offsets[states[token]], offsets[states[token] + 1]):
                    onwards = place[destination[k]]
                    energy = energies[token] + arc_energy[k]
                    if onwards != UNSEEN and fate[onwards] != DROPPED and energy == energies[onwards]:
                        fate[token] = PASSED
                        changed = True
    return active


@njit(nogil=True, cache=True)
def _link(row, frame, tokens, consuming, slack, numbers, energies, place, fate, lattice, arcs):
    """Writes the arcs into the tokens kept that are at most ``slack`` worse than the best one into them."""
    source, target, arc, at, paid = lattice
    offsets, destination, label, arc_energy = consuming
    for token in range(len(tokens[0])):
        state, before, number = tokens[0][token], tokens[1][token], tokens[2][token]
        for k in range(offsets[state], offsets[state + 1]):
            onwards = place[destination[k]]
            if onwards == UNSEEN or fate[onwards] == DROPPED:
                continue
            if before + arc_energy[k] + row[label[k]] <= energies[onwards] + slack:
                source[arcs], target[arcs], arc[arcs], at[arcs] = number, numbers[onwards], k, frame
                paid[arcs] = arc_energy[k] + row[label[k]]
                arcs += 1
    return arcs


@njit(nogil=True, cache=True)
def _link_silently(frame, size, states, silent, slack, numbers, energies, place, fate, lattice, arcs):
    """The same for epsilon arcs, of which the k-th is called −1 − k."""
    source, target, arc, at, paid = lattice
    offsets, destination, _, arc_energy = silent
    for token in range(size):
        if fate[token] == DROPPED:
            continue
        for k in range(offsets[states[token]], offsets[states[token] + 1]):
            onwards = place[destination[k]]
            if onwards == UNSEEN or fate[onwards] == DROPPED:
                continue
            if energies[token] + arc_energy[k] <= energies[onwards] + slack:
                source[arcs], target[arcs], at[arcs] = numbers[token], numbers[onwards], frame
                arc[arcs] = -1 - k
                paid[arcs] = arc_energy[k]
                arcs += 1
    return arcs


@njit(inline="always")
def _leaving(states, grouped):
    """How many arcs leave the states."""
    offsets = grouped[0]
    total = 0
    for state in states:
        total += np.int64(offsets[state + 1]) - np.int64(offsets[state])
    return total


@njit(inline="always")
def _settle(size, number, states, energies, numbers, fate):
    """Numbers the tokens kept; returns the next number."""
    for token in range(size):
        if fate[token] != DROPPED:
            numbers[token] = number
            number += 1
    return number


@njit(inline="always")
def _go_on(size, tokens, states, energies, numbers, place, fate):
    """Makes the tokens that go on those of the next frame, and clears the rest; returns how many."""
    count = 0
    for token in range(size):
        place[states[token]] = UNSEEN
        if fate[token] == ACTIVE:
            tokens[0][count] = states[token]
            tokens[1][count] = energies[token]
            tokens[2][count] = numbers[token]
            count += 1
    return count


@njit(nogil=True, cache=True)
def begin(start_states, start_energies, silent, to_go, beam, most, slack, tokens, scratch, lattice, report):
    """The tokens before the first frame: how many go on, the states of those in the lattice, and its arcs.

    Args:
        start_states, start_energies: states in which a path may begin, and their energies.
        to_go: the least energy from each state to the end in the graph alone, or −inf, [S].
        beam, most: a token goes on where it is at most ``beam`` worse than the best and among the best
            ``most``.
        slack: how much worse than the best way into a token another may be to be in the lattice.
        tokens: (state, energy, number) of those that go on, each [``most``] or [S] if that is less, filled
            in.
        scratch: (states, energies, place, fate, numbers), each [S], ``place`` all UNSEEN, and so again
            afterwards.
        lattice: (source, target, arc, frame, energy) of its arcs, filled in from the first.
        report: (active [1], best [1], pruned [1, 3]), filled in as for ``search``.
    """
    states, energies, place, fate, numbers = scratch
    # Literals would have the functions called here compiled once more, for them.
    start, size, best = np.int64(0), np.int64(0), np.inf
    for k in range(len(start_states)):
        size, _ = _enter(start_states[k], start_energies[k], states, energies, place, size)
        best = min(best, start_energies[k])
    pruned = report[2][0]
    pruned[0], pruned[1:] = 0.0, np.inf
    size, best = _pass_silently(size, best, silent, to_go, beam, states, energies, place, pruned)
    report[0][0] = _prune(size, best, beam, most, silent, to_go, states, energies, place, fate, pruned)
    report[1][0] = best
    _settle(size, 0, states, energies, numbers, fate)
    arcs = _link_silently(start, size, states, silent, slack, numbers, energies, place, fate, lattice, start)
    kept = states[:size][fate[:size] != DROPPED]
    return _go_on(size, tokens, states, energies, numbers, place, fate), kept, arcs


@njit(nogil=True, cache=True)
def search(
    emissions, first_frame, count, number, arcs, consuming, silent, to_go, beam, most, slack, tokens, scratch,
    lattice, report,
):  # fmt: skip
    """Takes ``count`` tokens over frames, as many as the lattice has room for.

    Returns:
        (frames taken, tokens that go on, tokens made so far, arcs made so far). ``report`` then says for each
        frame how many tokens went on, the least energy, and of what was pruned how many ways, the least
        energy, and the least of energy and graph to go; [T], [T], [T, 3]. Other args as for ``begin``.
    """
    states, energies, place, fate, numbers = scratch
    row = np.empty(emissions.shape[1], np.float64)
    for t in range(len(emissions)):
        for c in range(len(row)):
            row[c] = emissions[t, c]
        now = tokens[0][:count], tokens[1][:count], tokens[2][:count]
        pruned = report[2][t]
        pruned[0], pruned[1:] = 0.0, np.inf
        size, best = _consume(row, now[0], now[1], consuming, to_go, beam, states, energies, place, pruned)
        size, best = _pass_silently(size, best, silent, to_go, beam, states, energies, place, pruned)
        if arcs + _leaving(now[0], consuming) + _leaving(states[:size], silent) > len(lattice[0]):
            for token in range(size):
                place[states[token]] = UNSEEN
            return t, count, number, arcs
        report[0][t] = _prune(size, best, beam, most, silent, to_go, states, energies, place, fate, pruned)
        report[1][t] = best
        number = _settle(size, number, states, energies, numbers, fate)
        frame = first_frame + t
        arcs = _link(row, frame, now, consuming, slack, numbers, energies, place, fate, lattice, arcs)
        arcs = _link_silently(
            frame + 1, size, states, silent, slack, numbers, energies, place, fate, lattice, arcs
        )
        count = _go_on(size, tokens, states, energies, numbers, place, fate)
    return len(emissions), count, number, arcs


@njit(nogil=True, cache=True)
def compact(lattice, arcs, number, goes_on):
    """Leaves out of the lattice what leads to none of the tokens ``goes_on``.

    Returns the new number of each token (−1 for what is left out), [``number``], and how many arcs are left.
    """
    source, target, arc, at, paid = lattice
    alive = np.zeros(number, np.bool_)
    for token in goes_on:
        alive[token] = True
    changed = True
    while changed:  # once, and again where epsilon arcs of a frame stand in another order than their tokens
        changed = False
        for position in range(arcs):
            k = arcs - 1 - position
            if alive[target[k]] and not alive[source[k]]:
                alive[source[k]] = True
                changed = True
    renumbered = np.full(number, -1, np.int64)
    left = 0
    for token in range(number):
        if alive[token]:
            renumbered[token] = left
            left += 1
    kept = 0
    for k in range(arcs):
        if alive[target[k]]:
            source[kept], target[kept] = renumbered[source[k]], renumbered[target[k]]
            arc[kept], at[kept], paid[kept] = arc[k], at[k], paid[k]
            kept += 1
    return renumbered, kept
