"""Sums and least energies over the paths to each state of a graph that may have cycles.

Arcs come grouped by the state they leave: those of state u are ``offsets[u]`` to ``offsets[u + 1]``. States
come component by component, ``order[starts[k]:starts[k + 1]]``, as ``kernels.components`` gives them; what
lies between components is acyclic and takes one pass.

Within a component the sums solve x = b + x W. First a few rounds along the arcs, with sums carried as
value · 2^(256 · digit) as in ``kernels.lattice``, find x to within a few orders of magnitude; with every
state scaled by that, the system is one of moderate plain numbers, and is solved as such.
"""

import numpy as np
from numba import njit

DIGIT = 256
UP, DOWN = 2.0**DIGIT, 2.0**-DIGIT
LOW, HIGH = 2.0 ** (-DIGIT // 2), 2.0 ** (DIGIT // 2)
NONE = np.int64(-1)
MOST_ROUNDS, MOST_SCALINGS = 100, 1000
LARGEST_STEP = 2.0**512
SMALL_GROWTH = 1 / 32
LARGEST_DENSE = 400
LEAST_SHARES = (2.0**-6, 2.0**-12, 2.0**-24)
MOST_SHARES, MOST_BASIS = 1 << 25, 40_000_000
ACCURACY, LEAST_ACCURACY = 1e-9, 1e-5  # wanted; and enough where rounding allows no more
NOT_FOUND = -1.0


@njit(inline="always")
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


@njit(inline="always")
def _normalised(value, digit):
    """The same number with its value within 2^±128, or 0."""
    while value >= HIGH:
        value *= DOWN
        digit += 1.0
    while 0.0 < value < LOW:
        value *= UP
        digit -= 1.0
    return value, digit


@njit(inline="always")
def _plain(value, digit):
    """value · 2^(256 digit) as one float64: 0 or +inf where it is out of range."""
    while digit < 0.0 and value > 0.0:
        value *= DOWN
        digit += 1.0
    while digit > 0.0 and 0.0 < value < np.inf:
        value *= UP
        digit -= 1.0
    return value


@njit(nogil=True, cache=True)
def positions(order):
    """Where each state stands in the order."""
    place = np.empty(len(order), np.uint32)
    for k in range(len(order)):
        place[order[k]] = k
    return place


@njit(nogil=True, cache=True)
def _inner_arcs(first, last, order, place, offsets, destination):
    """The arcs within the component order[first:last], and where those of each of its states begin."""
    begin = np.zeros(last - first + 1, np.uint32)
    for k in range(first, last):
        u = order[k]
        count = 0
        for arc in range(offsets[u], offsets[u + 1]):
            count += first <= place[destination[arc]] < last
        begin[k - first + 1] = begin[k - first] + count
    arcs = np.empty(begin[last - first], np.uint32)
    target = np.empty(begin[last - first], np.uint32)
    filled = 0
    for k in range(first, last):
        u = order[k]
        for arc in range(offsets[u], offsets[u + 1]):
            if first <= place[destination[arc]] < last:
                arcs[filled] = arc
                target[filled] = place[destination[arc]] - first
                filled += 1
    return arcs, target, begin


@njit(nogil=True, cache=True)
def _is_alone(u, offsets, destination):
    """Whether no arc leads from the state back to it."""
    loops = 0
    for arc in range(offsets[u], offsets[u + 1]):
        loops += destination[arc] == u
    return loops == 0


@njit(nogil=True, cache=True)
def sums(order, starts, place, offsets, destination, weight, weight_digit, alpha):
    """x = b + x W, with b in ``alpha`` [S, 2], which is overwritten with x.

    Returns (state, s): a state to which the cycles sum to s ≥ 1, so that x is infinite; or one in whose
    component x cannot be found, with s NOT_FOUND; −1 where there is none.
    """
    scaled = len(weight_digit) > 0
    for component in range(len(starts) - 1):
        first, last = starts[component], starts[component + 1]
        if last - first > 1 or not _is_alone(order[first], offsets, destination):
            at, cycles = _sums_within(
                first, last, order, place, offsets, destination, weight, weight_digit, alpha
            )
            if at >= 0:
                return at, cycles
        for k in range(first, last):
            u = order[k]
            value, digit = _normalised(alpha[u, 0], alpha[u, 1])
            alpha[u, 0], alpha[u, 1] = value, digit
            if value == 0.0:
                continue
            for arc in range(offsets[u], offsets[u + 1]):
                v = destination[arc]
                if not first <= place[v] < last:
                    term_digit = digit + weight_digit[arc] if scaled else digit
                    alpha[v, 0], alpha[v, 1] = _add(alpha[v, 0], alpha[v, 1], value * weight[arc], term_digit)
    return NONE, 0.0


@njit(nogil=True, cache=True)
def _sums_within(first, last, order, place, offsets, destination, weight, weight_digit, alpha):
    """The sums of one component, in place; returns as ``sums`` does."""
    states = last - first
    arcs, target, begin = _inner_arcs(first, last, order, place, offsets, destination)
    inner = weight[arcs]
    inner_digit = weight_digit[arcs] if len(weight_digit) else np.zeros(len(arcs), np.float64)
    given = np.empty((states, 2), np.float64)
    for k in range(states):
        given[k] = alpha[order[first + k]]
    share = np.zeros(len(arcs), np.float64)
    near = _estimate(begin, target, inner, inner_digit, given)
    for _ in range(MOST_SCALINGS):
        right = _scaled(begin, target, inner, inner_digit, given, near, share)
        at, cycles = _solve_within(begin, target, share, right)
        if at >= 0:
            return np.int64(order[first + at]), cycles
        if _rescale(near, right):
            for u in range(states):
                alpha[order[first + u]] = near[u]
            return NONE, 0.0
        if np.isnan(right).any():
            break
    return np.int64(order[first]), NOT_FOUND


@njit(nogil=True, cache=True)
def _rescale(near, x):
    """Takes x in the measure of the estimate as the new estimate; whether that measure was moderate.

    The true sums are not below the estimate, but may be more above it than a float64 can say.
    """
    is_moderate = True
    for u in range(len(x)):
        if near[u, 0] > 0.0:
            is_moderate &= 0.5 < x[u] < HIGH
            factor = min(max(x[u], 1.0 / LARGEST_STEP), LARGEST_STEP)
            near[u, 0], near[u, 1] = _normalised(near[u, 0] * factor, near[u, 1])
    return is_moderate


@njit(nogil=True, cache=True)
def _scaled(begin, target, weight, weight_digit, given, near, share):
    """The system in the measure of the estimate: P into ``share``, b returned."""
    right = np.zeros(len(given), np.float64)
    for u in range(len(given)):
        if near[u, 0] == 0.0:
            continue
        right[u] = _plain(given[u, 0] / near[u, 0], given[u, 1] - near[u, 1])
        for arc in range(begin[u], begin[u + 1]):
            v = target[arc]
            if near[v, 0] > 0.0:
                ratio = near[u, 0] * weight[arc] / near[v, 0]
                share[arc] = _plain(ratio, near[u, 1] + weight_digit[arc] - near[v, 1])
    return right


@njit(nogil=True, cache=True)
def _estimate(begin, target, weight, weight_digit, given):
    """x = b + x W from below, in rounds along the arcs, until no round adds much to any."""
    states = len(given)
    near = np.zeros((states, 2), np.float64)
    coming = given.copy()
    for _ in range(MOST_ROUNDS):
        for u in range(states):
            value, digit = _normalised(coming[u, 0], coming[u, 1])
            if value == 0.0:
                continue
            coming[u, 0] = 0.0
            total, total_digit = _add(near[u, 0], near[u, 1], value, digit)
            near[u, 0], near[u, 1] = _normalised(total, total_digit)
            for arc in range(begin[u], begin[u + 1]):
                v = target[arc]
                term, term_digit = value * weight[arc], digit + weight_digit[arc]
                coming[v, 0], coming[v, 1] = _add(coming[v, 0], coming[v, 1], term, term_digit)
        least, largest = np.inf, 0.0
        for u in range(states):
            coming[u, 0], coming[u, 1] = _normalised(coming[u, 0], coming[u, 1])
            if coming[u, 0] == 0.0:
                growth = 0.0
            elif near[u, 0] == 0.0:
                growth = np.inf
            else:
                growth = _plain(coming[u, 0] / near[u, 0], coming[u, 1] - near[u, 1])
            least, largest = min(least, growth), max(largest, growth)
        # Where all have doubled, they do so for ever.
        if largest <= SMALL_GROWTH or 1.0 <= least < np.inf:
            break
    return near


@njit(nogil=True, cache=True)
def solve(order, starts, place, offsets, destination, share, x):
    """x = b + x P in plain numbers of either sign, with b in ``x`` [S], which is overwritten; returns as
    ``sums`` does."""
    for component in range(len(starts) - 1):
        first, last = starts[component], starts[component + 1]
        if last - first > 1 or not _is_alone(order[first], offsets, destination):
            arcs, target, begin = _inner_arcs(first, last, order, place, offsets, destination)
            right = x[order[first:last]]
            at, cycles = _solve_within(begin, target, share[arcs], right)
            if at >= 0:
                return np.int64(order[first + at]), cycles
            if np.isnan(right).any() and np.isfinite(x[order[first:last]]).all():
                return np.int64(order[first]), NOT_FOUND
            for k in range(first, last):
                x[order[k]] = right[k - first]
        for k in range(first, last):
            u = order[k]
            for arc in range(offsets[u], offsets[u + 1]):
                if not first <= place[destination[arc]] < last:
                    x[destination[arc]] += x[u] * share[arc]
    return NONE, 0.0


@njit(nogil=True, cache=True)
def _solve_within(begin, target, share, x):
    """x = b + x P for one component, in place; returns as ``sums`` does.

    Small ones are eliminated; large ones iterated, with an incomplete elimination that leaves out less and
    less until the iteration converges. Only if all sums are finite does a b ≥ 0 give an x ≥ 0.
    """
    if len(x) <= LARGEST_DENSE:
        return _eliminate(begin, target, share, x)
    given = x.copy()
    for least_share in LEAST_SHARES:
        factors, at = _factors(begin, target, share, least_share)
        if at >= 0:
            return at, factors[-1][at]
        x[:] = given
        error = _iterate(begin, target, share, factors, x)
        if not error >= ACCURACY:
            break
    if error >= LEAST_ACCURACY:
        return np.int64(0), NOT_FOUND
    if not error < LEAST_ACCURACY or given.min() < 0.0 or x.min() >= 0.0:
        return NONE, 0.0
    at = np.int64(np.argmin(x))
    return at, max(_returns(begin, target, share, at), 1.0)


@njit(nogil=True, cache=True)
def _returns(begin, target, share, state):
    """The sum of cycles from the state, each taken once round, shortest first until they add up to 1."""
    total = 0.0
    now = np.zeros(len(begin) - 1, np.float64)
    now[state] = 1.0
    for _ in range(10_000):
        after = np.zeros(len(now), np.float64)
        for u in range(len(now)):
            if now[u] > 0.0:
                for arc in range(begin[u], begin[u + 1]):
                    after[target[arc]] += now[u] * share[arc]
        total += after[state]
        after[state] = 0.0
        if total >= 1.0:
            break
        now = after
    return total


@njit(nogil=True, cache=True)
def _eliminate(begin, target, share, x):
    """Eliminates one state after another, last first.

    Once the states after k are eliminated, P[k, k] is the sum of all cycles from k through them: the sums
    are finite exactly where each of these stays below 1. No pivot is searched for, since none is needed: with
    P ≥ 0 only positive numbers are added up (Grassmann, Taksar and Heyman 1985). Returns as ``sums`` does.
    """
    states = len(x)
    matrix = np.zeros((states, states), np.float64)
    for u in range(states):
        for arc in range(begin[u], begin[u + 1]):
            matrix[u, target[arc]] += share[arc]
    for step in range(states):
        k = states - 1 - step
        row = matrix[k]
        if not row[k] < 1.0:
            return np.int64(k), row[k]
        around = 1.0 / (1.0 - row[k])
        for u in range(k):
            factor = matrix[u, k] * around
            if factor != 0.0:
                changed = matrix[u]
                for v in range(k):
                    changed[v] += factor * row[v]
        factor = x[k] * around
        if factor != 0.0:
            for v in range(k):
                x[v] += factor * row[v]
    for k in range(states):
        x[k] /= 1.0 - matrix[k, k]
        row = matrix[k]
        if x[k] != 0.0:
            for v in range(k + 1, states):
                x[v] += x[k] * row[v]
    return NONE, 0.0


@njit(nogil=True, cache=True)
def _factors(begin, target, share, least_share):
    """The elimination of ``_eliminate`` row by row, on sparse rows, leaving out shares below ``least_share``.

    I − P ≈ L U with L[u, v] = −lower for v > u, U[u, v] = −upper for v < u and 1 − pivot on the diagonal.
    The shares of a state's sum that come from others are at most 1 together, before the elimination and
    after: no column keeps more than 1 / least_share. Also returns a state whose pivot is not below 1, or −1.
    """
    states = len(begin) - 1
    room = np.int64(min(states * min(1.0 / least_share, states), MOST_SHARES))
    lower_begin = np.zeros((states, 2), np.int64)
    upper_begin = np.zeros((states, 2), np.int64)
    lower_target, upper_target = np.empty(room, np.uint32), np.empty(room, np.uint32)
    lower, upper = np.empty(room, np.float64), np.empty(room, np.float64)
    pivot = np.zeros(states, np.float64)
    row = np.zeros(states, np.float64)
    touched = np.empty(states, np.uint32)  # columns of the row that are not zero
    is_touched = np.zeros(states, np.bool_)
    key, later = np.empty(states, np.float64), np.empty(states, np.uint32)  # a heap of those after the row
    lowers = uppers = 0
    for step in range(states):
        u = states - 1 - step
        count = waiting = 0
        for arc in range(begin[u], begin[u + 1]):
            v = target[arc]
            row[v] += share[arc]
            if not is_touched[v]:
                is_touched[v] = True
                touched[count] = v
                count += 1
                if v > u:
                    waiting = _put(key, later, waiting, -np.float64(v), v)
        lower_begin[u, 0] = lowers
        while waiting > 0:
            k = later[0]
            waiting = _take(key, later, waiting)
            factor = row[k] / (1.0 - pivot[k])
            if row[k] < least_share or lowers == room:
                continue
            lower[lowers], lower_target[lowers] = factor, k
            lowers += 1
            for place in range(upper_begin[k, 0], upper_begin[k, 1]):
                v = upper_target[place]
                row[v] += factor * upper[place]
                if not is_touched[v]:
                    is_touched[v] = True
                    touched[count] = v
                    count += 1
                    if v > u:
                        waiting = _put(key, later, waiting, -np.float64(v), v)
        lower_begin[u, 1] = lowers
        pivot[u] = row[u]
        upper_begin[u, 0] = uppers
        for place in range(count):
            v = touched[place]
            if v < u and row[v] >= least_share and uppers < room:
                upper[uppers], upper_target[uppers] = row[v], v
                uppers += 1
            row[v] = 0.0
            is_touched[v] = False
        upper_begin[u, 1] = uppers
        if not pivot[u] < 1.0:
            break
    at = np.int64(u) if states > 0 and not pivot[u] < 1.0 else NONE
    return (lower_begin, lower_target, lower, upper_begin, upper_target, upper, pivot), at


@njit(nogil=True, cache=True)
def _precondition(factors, x):
    """x (L U)⁻¹, in place."""
    lower_begin, lower_target, lower, upper_begin, upper_target, upper, pivot = factors
    for step in range(len(x)):
        u = len(x) - 1 - step
        x[u] /= 1.0 - pivot[u]
        for place in range(upper_begin[u, 0], upper_begin[u, 1]):
            x[upper_target[place]] += x[u] * upper[place]
    for u in range(len(x)):
        for place in range(lower_begin[u, 0], lower_begin[u, 1]):
            x[lower_target[place]] += x[u] * lower[place]


@njit(nogil=True, cache=True)
def _residual(begin, target, share, factors, given, x, result):
    """(b + x P − x) (L U)⁻¹."""
    for u in range(len(x)):
        result[u] = given[u] - x[u]
    for u in range(len(x)):
        for arc in range(begin[u], begin[u + 1]):
            result[target[arc]] += x[u] * share[arc]
    _precondition(factors, result)


@njit(nogil=True, cache=True, fastmath={"reassoc"})
def _dot(x, y):
    """The inner product; numpy's own would need scipy here."""
    total = 0.0
    for k in range(len(x)):
        total += x[k] * y[k]
    return total


@njit(nogil=True, cache=True)
def _iterate(begin, target, share, factors, x):
    """x = b + x P by GMRES (Saad and Schultz 1986) with an incomplete elimination before it, in place.

    Returns by how much the error has become smaller, about; NaN, and what overflows as such, where x does.
    """
    states = len(x)
    given = x.copy()
    nothing = np.zeros(states, np.float64)
    steps = max(4, min(50, MOST_BASIS // states))
    basis = np.empty((steps + 1, states), np.float64)
    hessenberg = np.zeros((steps + 1, steps), np.float64)
    rotation = np.zeros((steps, 2), np.float64)
    left = np.zeros(steps + 1, np.float64)
    x[:] = 0.0
    first = wanted = before = np.float64(0.0)
    for restart in range(100):
        _residual(begin, target, share, factors, given, x, basis[0])
        size = np.sqrt(_dot(basis[0], basis[0]))
        if not size < np.inf:
            x[:] = basis[0]
            return np.nan
        if restart == 0:
            first, wanted = size, 1e-15 * size
        elif not size < 0.5 * before:
            break
        before = size
        if not size > wanted:
            break
        basis[0] /= size
        left[:] = 0.0
        left[0] = size
        used = 0
        while used < steps and abs(left[used]) > wanted:
            j = used
            _residual(begin, target, share, factors, nothing, basis[j], basis[j + 1])
            new = basis[j + 1]
            new *= -1.0
            for i in range(j + 1):
                hessenberg[i, j] = _dot(basis[i], new)
                new -= hessenberg[i, j] * basis[i]
            length = np.sqrt(_dot(new, new))
            if length > 0.0:
                new /= length
            for i in range(j):
                a, b = hessenberg[i, j], hessenberg[i + 1, j]
                hessenberg[i, j] = rotation[i, 0] * a + rotation[i, 1] * b
                hessenberg[i + 1, j] = rotation[i, 0] * b - rotation[i, 1] * a
            a = hessenberg[j, j]
            radius = np.sqrt(a * a + length * length)
            if radius == 0.0:
                break
            rotation[j, 0], rotation[j, 1] = a / radius, length / radius
            hessenberg[j, j] = radius
            left[j + 1] = -rotation[j, 1] * left[j]
            left[j] *= rotation[j, 0]
            used += 1
        for back in range(used):
            i = used - 1 - back
            for j in range(i + 1, used):
                left[i] -= hessenberg[i, j] * left[j]
            left[i] /= hessenberg[i, i]
        for i in range(used):
            x += left[i] * basis[i]
    return before / first if first > 0.0 else 0.0


@njit(nogil=True, cache=True)
def least(order, starts, place, offsets, destination, energy, slack, distance):
    """The least energy of a path to each state, with that of beginning there in ``distance`` [S],
    overwritten.

    Dijkstra's algorithm in components of energies ≥ 0 and Bellman and Ford's in others. An energy lower by
    less than ``slack`` of its size is not lower, so that a cycle of energy 0 may be rounded to less.

    Returns (arc, state): the last arc of a least path to each state, −1 where it begins there; and a state
    on a cycle of negative energy, from which those arcs lead back to it, or −1.
    """
    last_arc = np.full(len(order), -1, np.int64)
    for component in range(len(starts) - 1):
        first, last = starts[component], starts[component + 1]
        members = order[first:last]
        if last - first > 1:
            arcs, target, begin = _inner_arcs(first, last, order, place, offsets, destination)
            near = distance[members]
            best = np.full(last - first, -1, np.int64)
            inner = energy[arcs].astype(np.float64)
            at = NONE
            if len(inner) and inner.min() < 0.0:
                at = _bellman_ford(begin, target, inner, slack, near, best)
            else:
                _dijkstra(begin, target, inner, near, best)
            for k in range(last - first):
                distance[members[k]] = near[k]
                if best[k] >= 0:
                    last_arc[members[k]] = arcs[best[k]]
            if at >= 0:
                return last_arc, np.int64(members[at])
        for u in members:
            for arc in range(offsets[u], offsets[u + 1]):
                v = destination[arc]
                if v == u:
                    if energy[arc] < 0.0 and distance[u] < np.inf:
                        last_arc[u] = arc
                        return last_arc, np.int64(u)
                elif not first <= place[v] < last and distance[u] + energy[arc] < distance[v]:
                    distance[v] = distance[u] + energy[arc]
                    last_arc[v] = arc
    return last_arc, NONE


@njit(nogil=True, cache=True)
def _dijkstra(begin, target, energy, near, best):
    """Least energies within one component, in place, from a binary heap of (energy, state)."""
    key = np.empty(len(near) + len(energy), np.float64)
    item = np.empty(len(near) + len(energy), np.uint32)
    size = 0
    for u in range(len(near)):
        if near[u] < np.inf:
            size = _put(key, item, size, near[u], u)
    while size > 0:
        reached, u = key[0], item[0]
        size = _take(key, item, size)
        if reached > near[u]:
            continue
        for arc in range(begin[u], begin[u + 1]):
            v = target[arc]
            if reached + energy[arc] < near[v]:
                near[v] = reached + energy[arc]
                best[v] = np.int64(arc)
                size = _put(key, item, size, near[v], v)


@njit(nogil=True, cache=True)
def _put(key, item, size, new_key, new_item):
    """Adds to a heap; returns its size."""
    hole = size
    while hole > 0 and key[(hole - 1) // 2] > new_key:
        above = (hole - 1) // 2
        key[hole], item[hole] = key[above], item[above]
        hole = above
    key[hole], item[hole] = new_key, new_item
    return size + 1


@njit(nogil=True, cache=True)
def _take(key, item, size):
    """Removes the least of a heap; returns its size."""
    size -= 1
    moved_key, moved = key[size], item[size]
    hole = 0
    while 2 * hole + 1 < size:
        below = 2 * hole + 1
        below += below + 1 < size and key[below + 1] < key[below]
        if key[below] >= moved_key:
            break
        key[hole], item[hole] = key[below], item[below]
        hole = below
    key[hole], item[hole] = moved_key, moved
    return size


@njit(nogil=True, cache=True)
def _bellman_ford(begin, target, energy, slack, near, best):
    """Least energies within one component, in place, in rounds; a state on a negative cycle, or −1."""
    states = len(near)
    source = np.empty(len(energy), np.uint32)
    for u in range(states):
        source[begin[u] : begin[u + 1]] = u
    changed = near < np.inf
    last, looked_at = NONE, np.int64(0)
    for _ in range(states + 1):
        last = NONE
        for u in range(states):
            if not changed[u]:
                continue
            changed[u] = False
            looked_at += begin[u + 1] - begin[u]
            for arc in range(begin[u], begin[u + 1]):
                v = target[arc]
                found = near[u] + energy[arc]
                least_change = slack * (abs(near[u]) + abs(energy[arc])) if near[v] < np.inf else 0.0
                if found < near[v] - least_change:
                    near[v] = found
                    best[v] = np.int64(arc)
                    changed[v] = True
                    last = np.int64(v)
        if last < 0:
            return NONE
        if looked_at > states:  # rarely enough to cost little
            looked_at = 0
            at = _negative_cycle(source, energy, slack, best)
            if at >= 0:
                return at
    for _ in range(states):
        last = np.int64(source[best[last]])
    return last


@njit(nogil=True, cache=True)
def _negative_cycle(source, energy, slack, best):
    """A state from which the last arcs so far lead back to it round a cycle that is negative beyond all
    rounding, or −1."""
    states = len(best)
    seen = np.zeros(states, np.int64)
    for first in range(states):
        state = np.int64(first)
        while seen[state] == 0 and best[state] >= 0:
            seen[state] = first + 1
            state = np.int64(source[best[state]])
        if seen[state] != first + 1:
            continue  # the way back ends, or was walked before
        total, size = energy[best[state]], abs(energy[best[state]])
        at = np.int64(source[best[state]])
        while at != state:
            total += energy[best[at]]
            size += abs(energy[best[at]])
            at = np.int64(source[best[at]])
        if total < -slack * size:
            return state
    return NONE


@njit(nogil=True, cache=True)
def along_tree(last_arc, source, values):
    """Each state's value and those of all states whose least path goes through it, [S]; the arcs form a
    tree."""
    states = len(last_arc)
    result = values.copy()
    children = np.zeros(states, np.uint32)
    for arc in last_arc:
        if arc >= 0:
            children[source[arc]] += np.uint32(1)
    for leaf in range(states):
        state = leaf
        while children[state] == 0:
            children[state] = np.uint32(0xFFFFFFFF)  # done
            if last_arc[state] < 0:
                break
            above = source[last_arc[state]]
            result[above] += result[state]
            children[above] -= np.uint32(1)
            state = above
    return result


@njit(nogil=True, cache=True)
def all_pairs(source, destination, weight, weight_digit, states):
    """(I − W)⁻¹ by Lehmann's algorithm, as values and digits [S, S]; then (state, s) as ``sums`` returns
    them."""
    value = np.zeros((states, states), np.float64)
    digit = np.zeros((states, states), np.float64)
    for arc in range(len(source)):
        u, v = source[arc], destination[arc]
        arc_digit = weight_digit[arc] if len(weight_digit) else 0.0
        total, total_digit = _add(value[u, v], digit[u, v], weight[arc], arc_digit)
        value[u, v], digit[u, v] = _normalised(total, total_digit)
    for k in range(states):
        cycles = _plain(value[k, k], digit[k, k])
        if not cycles < 1.0:
            return value, digit, np.int64(k), cycles
        around = 1.0 / (1.0 - cycles)
        row, row_digit = value[k], digit[k]
        for u in range(states):
            if u == k or value[u, k] == 0.0:
                continue
            factor, factor_digit = value[u, k] * around, digit[u, k]
            changed, changed_digit = value[u], digit[u]
            for v in range(states):
                if v != k and row[v] > 0.0:
                    total, total_digit = _add(
                        changed[v], changed_digit[v], factor * row[v], factor_digit + row_digit[v]
                    )
                    changed[v], changed_digit[v] = _normalised(total, total_digit)
        for u in range(states):
            value[u, k], digit[u, k] = _normalised(value[u, k] * around, digit[u, k])
            if u != k:
                value[k, u], digit[k, u] = _normalised(value[k, u] * around, digit[k, u])
    for k in range(states):
        total, total_digit = _add(value[k, k], digit[k, k], 1.0, 0.0)
        value[k, k], digit[k, k] = _normalised(total, total_digit)
    return value, digit, NONE, 0.0
