"""Time-synchronous beam search of emissions through a graph, and the lattice of what it kept.

A token is a state reached after a number of frames, with the least energy of all ways there. Arcs come
grouped by the state they leave, those that consume a frame and epsilon arcs apart: ``consuming`` and
``silent`` are each (offsets, destination, label, energy), the label of an epsilon arc being of no account.

A lattice is kept as arcs between tokens that are numbered in the order of their making: (source, target, arc,
frame, energy) of each arc, and of each token the arc by which it is reached best, NONE where a path begins in
it. A search is interrupted where the arrays for it are full, so that the caller may compact or enlarge them.

A report has a row before the first frame and one for each frame: how many tokens went on, the least energy;
of the ways given up that could have led to the end how many there were, the least energy, and the least of
one and the graph energies after it; and the least emission of the frame.
"""

import numpy as np
from numba import njit

UNSEEN, NONE = np.int32(-1), np.int32(-1)
DROPPED, PASSED, ACTIVE = np.uint8(0), np.uint8(1), np.uint8(2)
"""Of a token after a frame: pruned; pruned, but others came by its epsilons; goes on."""
WENT_ON, LEAST, PRUNED, PRUNED_LEAST, PRUNED_BOUND, EMISSION, COLUMNS = range(7)
"""Columns of a report."""


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


@njit(inline="always")
def _give_up(energy, to_go, told):
    """Reports what is pruned, unless it leads nowhere."""
    if energy + to_go < np.inf:
        told[PRUNED] += 1
        told[PRUNED_LEAST] = min(told[PRUNED_LEAST], energy)
        told[PRUNED_BOUND] = min(told[PRUNED_BOUND], energy + to_go)


@njit(inline="always")
def _clear(told):
    """A row of a report before anything is known."""
    told[PRUNED] = 0.0
    told[PRUNED_LEAST] = told[PRUNED_BOUND] = told[EMISSION] = np.inf


@njit(inline="always")
def _least_onwards(row, tokens, consuming):
    """The least energy of a way on from the best token. Known first, it spares most of what is far worse."""
    offsets, _, label, arc_energy = consuming
    least = np.inf
    if len(tokens[0]):
        token = np.argmin(tokens[1])
        state, before = tokens[0][token], tokens[1][token]
        for k in range(offsets[state], offsets[state + 1]):
            least = min(least, before + (arc_energy[k] + row[label[k]]))
    return least


@njit(nogil=True, cache=True)
def _consume(row, tokens, consuming, to_go, beam, slack, states, energies, place, lattice, arcs, told):
    """Takes all tokens over a frame; returns how many tokens there are then, their least energy, and the end
    of the ways that may become arcs of the lattice, written behind it with states as targets.
    """
    offsets, destination, label, arc_energy = consuming
    source, target, arc, _, paid, _ = lattice
    size, best = np.int64(0), _least_onwards(row, tokens, consuming)
    for token in range(len(tokens[0])):
        state, before = tokens[0][token], tokens[1][token]
        for k in range(offsets[state], offsets[state + 1]):
            cost = arc_energy[k] + row[label[k]]
            energy = before + cost
            if energy <= best + beam + slack and energy < np.inf:
                source[arcs], target[arcs], arc[arcs], paid[arcs] = token, destination[k], k, cost
                arcs += 1
            if energy <= best + beam and energy < np.inf:
                size, _ = _enter(np.int64(destination[k]), energy, states, energies, place, size)
                best = min(best, energy)
            elif place[destination[k]] == UNSEEN:  # else the state is reached, and better
                _give_up(energy, to_go[destination[k]], told)
    return size, best, arcs


@njit(nogil=True, cache=True)
def _pass_silently(size, best, silent, to_go, beam, states, energies, place, told):
    """Follows epsilon arcs from all tokens, and from those reached by them."""
    offsets, destination, _, arc_energy = silent
    waiting = [token for token in range(size) if offsets[states[token]] < offsets[states[token] + 1]]
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
                _give_up(energy, to_go[destination[k]], told)
    return size, best


@njit(nogil=True, cache=True)
def _prune(size, best, beam, most, silent, to_go, states, energies, place, fate, told):
    """Decides which tokens go on, at most ``most``."""
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
            _give_up(energies[token], to_go[states[token]], told)
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
    told[WENT_ON], told[LEAST] = active, best


@njit(nogil=True, cache=True)
def _link(frame, tokens, slack, numbers, energies, place, fate, lattice, arcs, end):
    """Makes arcs of the ways from ``arcs`` to ``end``: those into tokens kept that are at most ``slack``
    worse than the best one."""
    source, target, arc, at, paid, entered = lattice
    for way in range(arcs, end):
        token, onwards = source[way], place[target[way]]
        if onwards == UNSEEN or fate[onwards] == DROPPED:
            continue
        energy = tokens[1][token] + paid[way]
        if energy <= energies[onwards] + slack:
            if energy == energies[onwards]:
                entered[numbers[onwards]] = arcs
            source[arcs], target[arcs], at[arcs] = tokens[2][token], numbers[onwards], frame
            arc[arcs], paid[arcs] = arc[way], paid[way]
            arcs += 1
    return arcs


@njit(nogil=True, cache=True)
def _link_silently(frame, size, states, silent, slack, numbers, energies, place, fate, lattice, arcs):
    """The same for epsilon arcs, of which the k-th is called −1 − k."""
    source, target, arc, at, paid, entered = lattice
    offsets, destination, _, arc_energy = silent
    for token in range(size):
        if fate[token] == DROPPED:
            continue
        for k in range(offsets[states[token]], offsets[states[token] + 1]):
            onwards = place[destination[k]]
            if onwards == UNSEEN or fate[onwards] == DROPPED:
                continue
            energy = energies[token] + arc_energy[k]
            if energy <= energies[onwards] + slack:
                if energy == energies[onwards]:
                    entered[numbers[onwards]] = arcs
                source[arcs], target[arcs], at[arcs] = numbers[token], numbers[onwards], frame
                arc[arcs], paid[arcs] = -1 - k, arc_energy[k]
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
def _settle(size, number, numbers, fate, entered):
    """Numbers the tokens kept; returns the next number."""
    for token in range(size):
        if fate[token] != DROPPED:
            numbers[token] = number
            entered[number] = NONE
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
        lattice: filled in from the first arc and token.
        report: [1, COLUMNS], filled in.
    """
    states, energies, place, fate, numbers = scratch
    # Literals would have the functions called here compiled once more, for them.
    start, size, best = np.int64(0), np.int64(0), np.inf
    for k in range(len(start_states)):
        size, _ = _enter(start_states[k], start_energies[k], states, energies, place, size)
        best = min(best, start_energies[k])
    told = report[0]
    _clear(told)
    size, best = _pass_silently(size, best, silent, to_go, beam, states, energies, place, told)
    _prune(size, best, beam, most, silent, to_go, states, energies, place, fate, told)
    _settle(size, start, numbers, fate, lattice[5])
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
        (frames taken, tokens that go on, tokens made so far, arcs made so far). Args as for ``begin``, with
        a row of the report for each frame.
    """
    states, energies, place, fate, numbers = scratch
    room, room_for_tokens = len(lattice[0]), len(lattice[5])
    row = np.empty(emissions.shape[1], np.float64)
    for t in range(len(emissions)):
        now = tokens[0][:count], tokens[1][:count], tokens[2][:count]
        if arcs + _leaving(now[0], consuming) > room:
            return t, count, number, arcs
        told = report[t]
        _clear(told)
        least = np.inf
        for c in range(len(row)):
            row[c] = emissions[t, c]
            least = min(least, row[c])
        told[EMISSION] = least
        size, best, ways = _consume(
            row, now, consuming, to_go, beam, slack, states, energies, place, lattice, arcs, told
        )
        size, best = _pass_silently(size, best, silent, to_go, beam, states, energies, place, told)
        if ways + _leaving(states[:size], silent) > room or number + size > room_for_tokens:
            for token in range(size):
                place[states[token]] = UNSEEN
            return t, count, number, arcs
        _prune(size, best, beam, most, silent, to_go, states, energies, place, fate, told)
        number = _settle(size, number, numbers, fate, lattice[5])
        frame = first_frame + t
        arcs = _link(frame, now, slack, numbers, energies, place, fate, lattice, arcs, ways)
        arcs = _link_silently(
            frame + 1, size, states, silent, slack, numbers, energies, place, fate, lattice, arcs
        )
        count = _go_on(size, tokens, states, energies, numbers, place, fate)
    return len(emissions), count, number, arcs


@njit(nogil=True, cache=True)
def compact(lattice, arcs, number, goes_on):
    """Leaves out of the lattice what leads to none of the tokens ``goes_on``.

    Returns the new number of each token (−1 for what is left out), [``number``], how many of these are left
    and how many arcs.
    """
    source, target, arc, at, paid, entered = lattice
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
    moved = np.empty(arcs, np.int32)
    kept = np.int64(0)
    for k in range(arcs):
        if alive[target[k]]:
            moved[k] = kept
            source[kept], target[kept] = source[k], target[k]
            arc[kept], at[kept], paid[kept] = arc[k], at[k], paid[k]
            kept += 1
    renumbered = np.full(number, -1, np.int64)
    left = np.int64(0)
    for token in range(number):
        if alive[token]:
            renumbered[token] = left
            entered[left] = moved[entered[token]] if entered[token] != NONE else NONE
            left += 1
    for k in range(kept):
        source[k], target[k] = renumbered[source[k]], renumbered[target[k]]
    return renumbered, left, kept


@njit(nogil=True, cache=True)
def answer(lattice, arcs, number, arc_numbers, starts, tokens, final, slack):
    """The lattice of the paths that end at most ``slack`` worse than the best, and this.

    Args:
        arc_numbers: what the arcs of ``consuming``, and from behind those of ``silent``, are called in it.
        starts: the tokens in which paths begin, and the states that they are in.
        tokens: (state, energy, number) of those in which a path may end.
        final: the energy of ending in each state, [S].

    Returns:
        (source, target, arc, frame, energy) of the lattice's arcs, copies; how many tokens it has; those in
        which paths begin, and their states; the same of those in which they end; the best path's arcs in the
        lattice, its first and last token (−1 where there is no path) and its energy.
    """
    total = tokens[1] + final[tokens[0]]
    least, best = np.inf, np.int64(NONE)
    for k in range(len(total)):
        if total[k] < least:
            least, best = total[k], np.int64(k)
    good = (total <= least + slack) & (total < np.inf)
    source, target, arc, at, paid, entered = lattice
    copies = (
        source[:arcs].copy(), target[:arcs].copy(), arc[:arcs].copy(), at[:arcs].copy(), paid[:arcs].copy(),
        entered[:number].copy(),
    )  # fmt: skip
    renumbered, left, kept = compact(copies, arcs, number, tokens[2][good])
    first, path = _trace(copies[0], copies[5], renumbered[tokens[2][best]] if best >= 0 else best)
    whole = (
        copies[0][:kept],
        copies[1][:kept],
        arc_numbers[copies[2][:kept]],
        copies[3][:kept],
        copies[4][:kept],
    )
    begins = renumbered[starts[0]] >= 0
    return (
        whole,
        left,
        (renumbered[starts[0][begins]], starts[1][begins]),
        (renumbered[tokens[2][good]], tokens[0][good]),
        path,
        (first, renumbered[tokens[2][best]] if best >= 0 else best),
        least,
    )


@njit(inline="always")
def _trace(source, entered, last):
    """The first token and the arcs of the best path into a token."""
    length, token = 0, last
    while token >= 0 and entered[token] != NONE:
        token = np.int64(source[entered[token]])
        length += 1
    path = np.empty(length, np.int64)
    token = last
    for position in range(length):
        path[length - 1 - position] = entered[token]
        token = np.int64(source[entered[token]])
    return token, path


@njit(nogil=True, cache=True)
def bounds(report):
    """What a report says of the paths pruned, by row: how many tokens went on, how many ways were given up,
    how much worse than the best was the best of them, and below which energy no path is that was given up;
    and the least of these energies.
    """
    rows = len(report)
    active, pruned = np.empty(rows, np.int64), np.empty(rows, np.int64)
    gap, bound = np.full(rows, np.inf), np.full(rows, np.inf)
    to_come, least = 0.0, np.inf
    for position in range(rows):
        row = rows - 1 - position
        told = report[row]
        active[row], pruned[row] = np.int64(told[WENT_ON]), np.int64(told[PRUNED])
        if pruned[row]:
            gap[row] = told[PRUNED_LEAST] - told[LEAST]
            if to_come < np.inf:
                bound[row] = told[PRUNED_BOUND] + to_come
                least = min(least, bound[row])
        to_come += told[EMISSION]
    return active, pruned, gap, bound, least
