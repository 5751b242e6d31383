"""Shortest distances in any semiring, compiled for its operations (Mohri 2002).

States come component by component as in ``kernels.distance``. Between components one pass does. Within one,
where the semiring has a star, states are eliminated as Kleene does; else sums go round until they no longer
change.
"""

from types import FunctionType

import numpy as np
from numba import njit
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.np.unsafe.ndarray import to_fixed_tuple

NONE = np.int64(-1)
MOST_ROUNDS = 10_000
SAME = 1e-15


def _jitted(function):
    """Compiled, unless it is already or is a built-in function."""
    return njit(nogil=True)(function) if isinstance(function, FunctionType) else function


def _access(width):
    """Functions to load a value from and store it in a row of floats; a value of width 0 is a bare float."""
    if width == 0:

        @njit(nogil=True)
        def load(rows, place):
            return rows[place, 0]

        @njit(nogil=True)
        def store(rows, place, value):
            rows[place, 0] = value
    else:

        @njit(nogil=True)
        def load(rows, place):
            return to_fixed_tuple(rows[place], width)

        @njit(nogil=True)
        def store(rows, place, value):
            for k in range(width):
                rows[place, k] = value[k]

    return load, store


def lifting(lift, width, takes_attribute):
    """(energies, attribute, zero row) → the values of arcs or ends as rows; +inf gives zero."""
    store, given = _access(width)[1], _jitted(lift)

    @njit(nogil=True)
    def lifted(energies, attribute, zero):
        rows = np.empty((len(energies), len(zero)), np.float64)
        for k in range(len(energies)):
            rows[k] = zero
            if energies[k] < np.inf:
                if takes_attribute:
                    store(rows, k, given(energies[k], attribute[k]))
                else:
                    store(rows, k, given(energies[k]))
        return rows

    return lifted


def summing(plus, times, width):
    """(rows, rows, zero row) → ⊕ₖ aₖ ⊗ bₖ as a row."""
    load, store = _access(width)
    plus, times = _jitted(plus), _jitted(times)

    @njit(nogil=True)
    def summed(left, right, zero):
        result = zero.copy().reshape(1, -1)
        for k in range(len(left)):
            term = times(load(left, k), load(right, k))
            store(result, 0, plus(load(result, 0), term))
        return result[0]

    return summed


def distances(plus, times, star, width, forwards):
    """The kernel (order, starts, place, offsets, onwards, weight, zero row, x) → state: x = b + x W in
    place, b in ``x``; a state with a cycle whose powers have no sum, or −1."""
    load, store = _access(width)
    plus, given_times = _jitted(plus), _jitted(times)

    @njit(nogil=True)
    def on(before, arc):
        return given_times(before, arc) if forwards else given_times(arc, before)

    within = (
        _rounds(plus, on, load, store) if star is None else _elimination(plus, on, _jitted(star), load, store)
    )

    @njit(nogil=True)
    def distance(order, starts, place, offsets, onwards, weight, zero, x):
        for component in range(len(starts) - 1):
            first, last = starts[component], starts[component + 1]
            has_cycle = last - first > 1
            for arc in range(offsets[order[first]], offsets[order[first] + 1]):
                has_cycle |= onwards[arc] == order[first]
            if has_cycle:
                at = within(first, last, order, place, offsets, onwards, weight, zero, x)
                if at >= 0:
                    return at
            for k in range(first, last):
                u = order[k]
                value = load(x, u)
                for arc in range(offsets[u], offsets[u + 1]):
                    v = onwards[arc]
                    if not first <= place[v] < last:
                        store(x, v, plus(load(x, v), on(value, load(weight, arc))))
        return NONE

    return distance


@njit(nogil=True)
def _is_same(rows, place, others, other):
    """Whether two values are equal up to rounding."""
    for k in range(rows.shape[1]):
        a, b = rows[place, k], others[other, k]
        if a != b and not (abs(a - b) <= SAME * max(abs(a), abs(b)) < np.inf):
            return False
    return True


def _rounds(plus, on, load, store):
    """Mohri's generic algorithm: what came in since a state's last turn is sent on, until nothing changes."""

    @njit(nogil=True)
    def rounds(first, last, order, place, offsets, onwards, weight, zero, x):
        coming = np.empty((last - first, x.shape[1]), np.float64)
        for k in range(first, last):
            coming[k - first] = x[order[k]]
        is_waiting = np.ones(last - first, np.bool_)
        new = np.empty((1, x.shape[1]), np.float64)
        for _ in range(MOST_ROUNDS + last - first):
            at = NONE
            for k in range(first, last):
                if not is_waiting[k - first]:
                    continue
                u = order[k]
                is_waiting[k - first] = False
                value = load(coming, k - first)
                coming[k - first] = zero
                for arc in range(offsets[u], offsets[u + 1]):
                    v = onwards[arc]
                    if not first <= place[v] < last:
                        continue
                    term = on(value, load(weight, arc))
                    store(new, 0, plus(load(x, v), term))
                    if not _is_same(new, 0, x, v):
                        x[v] = new[0]
                        target = place[v] - first
                        store(coming, target, plus(load(coming, target), term))
                        is_waiting[target] = True
                        at = np.int64(v)
            if at < 0:
                break
        return at

    return rounds


def _elimination(plus, on, star, load, store):
    """Kleene's algorithm on one source: state after state eliminated, last first, then x from the first
    on."""

    @njit(nogil=True)
    def eliminate(first, last, order, place, offsets, onwards, weight, zero, x):
        states = np.int64(last - first)
        matrix = np.empty((states * states, x.shape[1]), np.float64)
        is_arc = np.zeros(states * states, np.bool_)
        matrix[:] = zero
        for k in range(states):
            for arc in range(offsets[order[first + k]], offsets[order[first + k] + 1]):
                v = onwards[arc]
                if first <= place[v] < last:
                    cell = k * states + np.int64(place[v]) - np.int64(first)
                    store(matrix, cell, plus(load(matrix, cell), load(weight, arc)))
                    is_arc[cell] = True
        for step in range(states):
            k = states - 1 - step
            row = k * states
            around = star(load(matrix, row + k))
            store(matrix, row + k, around)
            for column in range(x.shape[1]):
                if np.isnan(matrix[row + k, column]):
                    return np.int64(order[first + k])
            for u in range(k):
                if is_arc[u * states + k]:
                    factor = on(load(matrix, u * states + k), around)
                    for v in range(k):
                        if is_arc[row + v]:
                            cell = u * states + v
                            term = on(factor, load(matrix, row + v))
                            store(matrix, cell, plus(load(matrix, cell), term))
                            is_arc[cell] = True
            factor = on(load(x, order[first + k]), around)
            for v in range(k):
                if is_arc[row + v]:
                    u = order[first + v]
                    store(x, u, plus(load(x, u), on(factor, load(matrix, row + v))))
        for k in range(states):
            u = order[first + k]
            store(x, u, on(load(x, u), load(matrix, k * states + k)))
            for v in range(k + 1, states):
                if is_arc[k * states + v]:
                    w = order[first + v]
                    store(x, w, plus(load(x, w), on(load(x, u), load(matrix, k * states + v))))
        return NONE

    return eliminate


def least_sums(k):
    """(plus, times, lift) of the k least energies, as tuples in ascending order."""

    @njit(nogil=True)
    def plus(a, b):
        result = a
        i = j = 0
        for place in range(k):
            if a[i] <= b[j]:
                result = tuple_setitem(result, place, a[i])
                i += 1
            else:
                result = tuple_setitem(result, place, b[j])
                j += 1
        return result

    @njit(nogil=True)
    def times(a, b):
        result = plus(shifted(a, b[0]), none)
        for place in range(1, k):
            if b[place] < np.inf:
                result = plus(result, shifted(a, b[place]))
        return result

    @njit(nogil=True)
    def shifted(a, energy):
        result = a
        for place in range(k):
            result = tuple_setitem(result, place, a[place] + energy)
        return result

    @njit(nogil=True)
    def lift(energy):
        return tuple_setitem(none, 0, energy)

    none = (np.inf,) * k
    return plus, times, lift
