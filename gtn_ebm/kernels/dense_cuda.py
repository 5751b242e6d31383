"""Sums over the paths of graphs through frames, and the best paths, on a GPU.

A block of threads works on one item, a thread on one state at a time, frame after frame: a state pulls from
those before it, so that no two threads write to one place and every run gives the same bits. Epsilon arcs
are pulled within the frame, level by level: those of a level enter states that no epsilon of the same level
leaves. Numbers are value · 2^(256 · digit), both float64, as in ``kernels/dense.py``.

The sums β over the ways on are the sums α over the ways so far in the reversed graph, its frames from last to
first. So there is one recursion, and both directions go on at once as two *runs*. Posteriors are products of
the two, worked out for all frames at once.

Graphs lie behind one another: graph g has the states ``graphs[g, 0]`` to ``graphs[g + 1, 0]``, the levels
``graphs[g, 1]`` to ``graphs[g + 1, 1]`` and the classes from ``graphs[g, 2]`` on. A *walk* is (offsets,
source, column, weight, level_offsets, target, target_offsets, epsilon_source, epsilon_weight, start, end,
destination, epsilon_destination). The arcs that consume a frame and enter state v are ``offsets[v]`` to
``offsets[v + 1]``; those of level l enter the states ``target[k]`` for k from ``level_offsets[l]`` to
``level_offsets[l + 1]`` by the epsilons ``target_offsets[k]`` to ``target_offsets[k + 1]``; paths start and
end with the weights of ``start`` and ``end``. States, but for those that offsets are of, and columns are
counted within their graph; a weight is a value and a digit, […, 2], in ``least`` an energy.
"""

import math

import numpy as np
from numba import cuda, njit

LOG2_E = 1.4426950408889634
LN_2 = 0.6931471805599453
DIGIT = 256
UP, DOWN = 2.0**DIGIT, 2.0**-DIGIT
LOW, HIGH = 2.0 ** (-DIGIT // 2), 2.0 ** (DIGIT // 2)
LARGEST_PLAIN_EXPONENT = 384.0
LARGEST_EXPONENT = 1e12
MOST_THREADS = 256
"""In a block: with as many, each may have all the 255 registers that a thread can have."""

BEGIN = -1
"""The back-pointer of a state in which a path begins, or that none reaches; arc a is a, epsilon e −2 − e."""


@njit(nogil=True, cache=True)
def epsilon_levels(source, destination, states):
    """Of each state the most epsilons that a way into it ends with; they come in topological order."""
    level = np.zeros(states, np.int64)
    for e in range(len(source)):
        level[destination[e]] = max(level[destination[e]], level[source[e]] + 1)
    return level


@cuda.jit(device=True)
def _normalised(value, digit):
    """The same number with its value within 2^±128, or 0."""
    while value >= HIGH:
        value *= DOWN
        digit += 1.0
    while value > 0.0 and value < LOW:
        value *= UP
        digit -= 1.0
    return value, digit


@cuda.jit(device=True)
def _add(value, digit, term, term_digit):
    """The sum of two numbers, which takes the larger digit."""
    if term == 0.0:
        return value, digit
    if value == 0.0:
        return term, term_digit
    while term > 0.0 and term_digit < digit:
        term *= DOWN
        term_digit += 1.0
    while value > 0.0 and digit < term_digit:
        value *= DOWN
        digit += 1.0
    return value + term, max(digit, term_digit)


@cuda.jit(device=True)
def _share(value, digit, term, term_digit, total, total_digit):
    """The product of two numbers as a part of the total, at most 1."""
    term, term_digit = _normalised(term, term_digit)
    share = value * term / total
    digit += term_digit - total_digit
    while digit < 0.0 and share > 0.0:
        share *= DOWN
        digit += 1.0
    while digit > 0.0 and share > 0.0 and share < 1.0:
        share *= UP
        digit -= 1.0
    return min(share, 1.0)


@cuda.jit(device=True)
def _place(item, frame, label, strides):
    """Where the emission of a class at a frame of an item is."""
    return item * strides[0] + frame * strides[1] + label * strides[2]


@cuda.jit(cache=True)
def weigh(energies, strides, items, graphs, classes, scale, weights, wrong):
    """2^(scale · E) of the classes of each item's graph at each of its frames, into ``weights`` [N, 2].

    Args:
        energies: [N], of items, frames and classes as far apart as ``strides`` says; grid: items × parts of
            what they have to weigh.
        items: of each the graph, frames, classes and the place of its weights, [B, 4].
        classes: of all graphs.
        scale: −β log₂ e.
        wrong: of each item the first frame with an energy that is NaN, −inf or too large to add up; to be
            filled with a larger number before, [B].
    """
    item = cuda.blockIdx.x
    graph, frames, columns, place = items[item, 0], items[item, 1], items[item, 2], items[item, 3]
    first = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    for k in range(first, frames * columns, cuda.gridDim.y * cuda.blockDim.x):
        t = k // columns
        energy = energies[_place(item, t, classes[graphs[graph, 2] + k - t * columns], strides)]
        x = np.float64(energy) * scale
        value, digit = 0.0, 0.0
        if abs(x) < LARGEST_EXPONENT:
            if abs(x) > LARGEST_PLAIN_EXPONENT:
                digit = np.float64(math.floor(x / DIGIT + 0.5))
            x -= digit * DIGIT
            whole = math.floor(x + 0.5)
            value = math.ldexp(math.exp((x - whole) * LN_2), int(whole))
        elif x != -math.inf:
            cuda.atomic.min(wrong, item, t)
        weights[place + k, 0], weights[place + k, 1] = value, digit


@cuda.jit(device=True)
def _entering(v, shift, walk, before, emission):
    """The sum of all ways into a state by arcs that consume the frame. ``shift``: the graph's first state."""
    offsets, source, column, weight = walk[0], walk[1], walk[2], walk[3]
    value, digit = 0.0, 0.0
    for a in range(offsets[shift + v], offsets[shift + v + 1]):
        u, c = source[a], column[a]
        value, digit = _add(
            value,
            digit,
            before[u, 0] * weight[a, 0] * emission[c, 0],
            before[u, 1] + weight[a, 1] + emission[c, 1],
        )
    return _normalised(value, digit)


@cuda.jit(device=True)
def _silently(k, walk, row):
    """The sum of a state's ways, by epsilons too."""
    target, target_offsets, epsilon_source, epsilon = walk[5], walk[6], walk[7], walk[8]
    value, digit = row[target[k], 0], row[target[k], 1]
    for e in range(target_offsets[k], target_offsets[k + 1]):
        u = epsilon_source[e]
        value, digit = _add(value, digit, row[u, 0] * epsilon[e, 0], row[u, 1] + epsilon[e, 1])
        value, digit = _normalised(value, digit)
    return value, digit


@cuda.jit(device=True)
def _ends(row, end, shift, partial):
    """The sum over the states of a row times their end weights, by all threads of the block; the first
    thread's result is right."""
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    value, digit = 0.0, 0.0
    for v in range(thread, len(row), threads):
        value, digit = _add(value, digit, row[v, 0] * end[shift + v, 0], row[v, 1] + end[shift + v, 1])
        value, digit = _normalised(value, digit)
    partial[thread, 0], partial[thread, 1] = value, digit
    cuda.syncthreads()
    if thread == 0:
        for other in range(1, threads):
            value, digit = _add(value, digit, partial[other, 0], partial[other, 1])
        value, digit = _normalised(value, digit)
    return value, digit


@cuda.jit(cache=True)
def sums(runs, graphs, walk, emissions, found, totals):
    """The sum over all ways into each state after each number of frames, into ``found`` [N, 2].

    Args:
        runs: a block each; of each the graph, frames, the place of the first frame's weights, how far on the
            next frame's are, the place of its sums and of how many frames to keep these, at least 2, [R, 6].
        emissions: as ``weigh`` gave them.
        totals: the sum over all paths of each run, to be filled, [R, 2].
    """
    run, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    graph, frames, place, stride = runs[run, 0], runs[run, 1], runs[run, 2], runs[run, 3]
    begin, rows = runs[run, 4], runs[run, 5]
    shift, states = graphs[graph, 0], graphs[graph + 1, 0] - graphs[graph, 0]
    level_offsets, target, start = walk[4], walk[5], walk[9]
    partial = cuda.shared.array((MOST_THREADS, 2), np.float64)
    for t in range(frames + 1):
        at, was = begin + (t % rows) * states, begin + ((t + rows - 1) % rows) * states
        row, before = found[at : at + states], found[was : was + states]
        emission = emissions[place + (t - 1) * stride if t > 0 else 0 :]
        for v in range(thread, states, threads):
            if t > 0:
                value, digit = _entering(v, shift, walk, before, emission)
            else:
                value, digit = _normalised(start[shift + v, 0], start[shift + v, 1])
            row[v, 0], row[v, 1] = value, digit
        cuda.syncthreads()
        for level in range(graphs[graph, 1], graphs[graph + 1, 1]):
            for k in range(level_offsets[level] + thread, level_offsets[level + 1], threads):
                value, digit = _silently(k, walk, row)
                row[target[k], 0], row[target[k], 1] = value, digit
            cuda.syncthreads()
    at = begin + (frames % rows) * states
    value, digit = _ends(found[at : at + states], walk[10], shift, partial)
    if thread == 0:
        totals[run, 0], totals[run, 1] = value, digit


@cuda.jit(cache=True)
def occupancies(runs, ways_on, graphs, walk, by_class, classes, emissions, found, totals, result, strides):
    """The probability of each class at each frame, into ``result``, which lies as the energies do and is 0
    elsewhere.

    Grid: items × parts of their frames and classes.

    Args:
        runs, ways_on: the runs of each item as of ``sums``, forwards and in the reversed graph.
        by_class: (offsets, arcs): those of each class of each graph.
        totals: those of ``runs``.
    """
    item = cuda.blockIdx.x
    graph, frames, place, columns = runs[item, 0], runs[item, 1], runs[item, 2], runs[item, 3]
    states, first_class = graphs[graph + 1, 0] - graphs[graph, 0], graphs[graph, 2]
    total, total_digit = totals[item, 0], totals[item, 1]
    first = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    count = frames * columns if total > 0.0 else 0
    for k in range(first, count, cuda.gridDim.y * cuda.blockDim.x):
        t = k // columns
        column = first_class + k - t * columns
        alpha, beta = runs[item, 4] + t * states, ways_on[item, 4] + (frames - t - 1) * states
        probability = 0.0
        for n in range(by_class[0][column], by_class[0][column + 1]):
            probability += _of_arc(
                by_class[1][n], walk, emissions, place + t * columns, found, alpha, beta, total, total_digit
            )
        result[_place(item, t, classes[column], strides)] = min(probability, 1.0)


@cuda.jit(device=True)
def _of_arc(a, walk, emissions, emission, found, alpha, beta, total, total_digit):
    """The probability of an arc that consumes the frame whose weights begin at ``emission``, from the row of
    sums that begins at ``alpha`` to that at ``beta``."""
    u, v, c = alpha + walk[1][a], beta + walk[11][a], emission + walk[2][a]
    term = walk[3][a, 0] * emissions[c, 0] * found[v, 0]
    term_digit = walk[3][a, 1] + emissions[c, 1] + found[v, 1]
    return _share(found[u, 0], found[u, 1], term, term_digit, total, total_digit)


@cuda.jit(cache=True)
def uses(runs, ways_on, graphs, walk, emissions, found, totals, place, result):
    """How often each consuming arc of each item is used, added up over the frames, into ``result`` [N, 2]
    from ``place[item]`` on, first of two; 0 where there is no path. Grid and args as of ``occupancies``."""
    item = cuda.blockIdx.x
    graph, frames, columns = runs[item, 0], runs[item, 1], runs[item, 3]
    states = graphs[graph + 1, 0] - graphs[graph, 0]
    begin, end = walk[0][graphs[graph, 0]], walk[0][graphs[graph + 1, 0]]
    total, total_digit = totals[item, 0], totals[item, 1]
    first = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    for a in range(begin + first, end, cuda.gridDim.y * cuda.blockDim.x):
        used = 0.0
        for t in range(frames if total > 0.0 else 0):
            used += _of_arc(
                a, walk, emissions, runs[item, 2] + t * columns, found, runs[item, 4] + t * states,
                ways_on[item, 4] + (frames - t - 1) * states, total, total_digit,
            )  # fmt: skip
        result[place[item] + a - begin, 0] = used


@cuda.jit(cache=True)
def silent_uses(runs, ways_on, graphs, walk, found, totals, place, result):
    """``uses`` of the epsilons."""
    item = cuda.blockIdx.x
    graph, frames = runs[item, 0], runs[item, 1]
    states, epsilon = graphs[graph + 1, 0] - graphs[graph, 0], walk[8]
    begin, end = walk[6][walk[4][graphs[graph, 1]]], walk[6][walk[4][graphs[graph + 1, 1]]]
    total, total_digit = totals[item, 0], totals[item, 1]
    first = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    for e in range(begin + first, end, cuda.gridDim.y * cuda.blockDim.x):
        used = 0.0
        for t in range(frames + 1 if total > 0.0 else 0):
            u = runs[item, 4] + t * states + walk[7][e]
            v = ways_on[item, 4] + (frames - t) * states + walk[12][e]
            term, term_digit = epsilon[e, 0] * found[v, 0], epsilon[e, 1] + found[v, 1]
            used += _share(found[u, 0], found[u, 1], term, term_digit, total, total_digit)
        result[place[item] + e - begin, 0] = used


@cuda.jit(cache=True)
def uses_of_ends(runs, ways_on, graphs, walk, found, totals, place, result):
    """The probabilities that a path starts and ends in each state, into ``result`` [N, 2] from
    ``place[item]`` on; 0 where there is no path. Grid and args as of ``occupancies``."""
    item, start, end = cuda.blockIdx.x, walk[9], walk[10]
    graph, frames = runs[item, 0], runs[item, 1]
    shift, states = graphs[graph, 0], graphs[graph + 1, 0] - graphs[graph, 0]
    total, total_digit = totals[item, 0], totals[item, 1]
    first = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    for v in range(first, states, cuda.gridDim.y * cuda.blockDim.x):
        starts, ends = 0.0, 0.0
        if total > 0.0:
            on, so_far = ways_on[item, 4] + frames * states + v, runs[item, 4] + frames * states + v
            starts = _share(
                found[on, 0], found[on, 1], start[shift + v, 0], start[shift + v, 1], total, total_digit
            )
            ends = _share(
                found[so_far, 0], found[so_far, 1], end[shift + v, 0], end[shift + v, 1], total, total_digit
            )
        result[place[item] + v, 0], result[place[item] + v, 1] = starts, ends


@cuda.jit(cache=True)
def least(items, graphs, classes, walk, energies, strides, found, pointers, paths, ends):
    """The best path of each item, a block each.

    Args:
        items: of each the graph, frames, and where its ``found``, ``pointers`` and ``paths`` begin, [B, 5].
        walk: with energies as weights.
        energies: as of ``weigh``.
        found: least energies of two frames by turns, [N].
        pointers: back-pointers of each number of frames and state, [N].
        paths: the arcs, the last first, as back-pointers; as many are needed as a longest path has, [N].
        ends: of each item, how many arcs its path has, −1 where there is none, its first state and its last,
            to be filled, [B, 3].
    """
    item, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    graph, frames = items[item, 0], items[item, 1]
    shift, states = graphs[graph, 0], graphs[graph + 1, 0] - graphs[graph, 0]
    level_offsets, start, end = walk[4], walk[9], walk[10]
    for t in range(frames + 1):
        at, was = items[item, 2] + (t % 2) * states, items[item, 2] + ((t + 1) % 2) * states
        row, before, chosen = found[at : at + states], found[was : was + states], items[item, 3] + t * states
        for v in range(thread, states, threads):
            energy, pointer = start[shift + v], BEGIN
            if t > 0:
                energy, pointer = _least_entering(
                    v, shift, walk, before, energies, item, t - 1, strides, classes, graphs[graph, 2]
                )
            row[v], pointers[chosen + v] = energy, pointer
        cuda.syncthreads()
        for level in range(graphs[graph, 1], graphs[graph + 1, 1]):
            for k in range(level_offsets[level] + thread, level_offsets[level + 1], threads):
                _least_silently(k, walk, row, pointers, chosen)
            cuda.syncthreads()
    if thread == 0:
        at = items[item, 2] + (frames % 2) * states
        last, energy = -1, math.inf
        for v in range(states):
            if found[at + v] + end[shift + v] < energy:
                last, energy = v, found[at + v] + end[shift + v]
        first, count = _trace(last, frames, states, walk, pointers, items[item, 3], paths, items[item, 4])
        ends[item, 0], ends[item, 1], ends[item, 2] = count, first, last


@cuda.jit(device=True)
def _least_entering(v, shift, walk, before, energies, item, t, strides, classes, first_class):
    """The least energy of the ways into a state by an arc that consumes frame t, and the arc."""
    offsets, source, column, weight = walk[0], walk[1], walk[2], walk[3]
    energy, pointer = math.inf, BEGIN
    for a in range(offsets[shift + v], offsets[shift + v + 1]):
        emission = np.float64(energies[_place(item, t, classes[first_class + column[a]], strides)])
        candidate = before[source[a]] + weight[a] + emission
        if candidate < energy:
            energy, pointer = candidate, a
    return energy, pointer


@cuda.jit(device=True)
def _least_silently(k, walk, row, pointers, chosen):
    """Lets a state be entered by an epsilon where that is better."""
    target, target_offsets, epsilon_source, epsilon = walk[5], walk[6], walk[7], walk[8]
    v = target[k]
    for e in range(target_offsets[k], target_offsets[k + 1]):
        candidate = row[epsilon_source[e]] + epsilon[e]
        if candidate < row[v]:
            row[v], pointers[chosen + v] = candidate, -2 - e


@cuda.jit(device=True)
def _trace(last, frames, states, walk, pointers, begin, paths, place):
    """Follows the back-pointers from the last state; returns the first and how many arcs there are."""
    source, epsilon_source = walk[1], walk[7]
    v, t, count = last, frames, 0
    if last < 0:
        return -1, -1
    pointer = pointers[begin + t * states + v]
    while pointer != BEGIN:
        paths[place + count] = pointer
        count += 1
        if pointer >= 0:
            v, t = source[pointer], t - 1
        else:
            v = epsilon_source[-2 - pointer]
        pointer = pointers[begin + t * states + v]
    return v, count
