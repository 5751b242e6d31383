"""What a wrong answer costs, as an acceptor: the distance of every string to the desired answers.

A row holds, for each state of the desired answers' acceptor, the least number of edits that lead there with
what has been read so far. Rows are the states of the result, so that a string has one path, whose energy is
its distance, the least over all alignments: composed with a graph, minima and maxima over answers are of the
distance itself. In a row only the differences matter; its least entry goes to the arcs that lead to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import Direction, shortest_distance
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.kernels import edit_distance as kernels
from gtn_ebm.ops.composition import compose
from gtn_ebm.ops.difference import alphabet, deterministic_reader
from gtn_ebm.ops.scaling import scale
from gtn_ebm.ops.tables import grown, hash_table

Costs = NDArray[np.float64]

MOST_STATES = 100_000


@takes_graphs
def hamming_distance(
    desired: Graph, labels: Iterable[int], *, at_most: int | None = None, max_states: int = MOST_STATES
) -> Graph:
    """The acceptor of all strings, whose energies are their Hamming distances to the nearest desired answer.

    A position where the labels differ counts 1, and so does each that only the longer of the two strings has.
    Args, result and errors as of ``edit_distance``.

    Cost: O((S + A) · labels) time and memory.

    >>> from gtn_ebm.ops import compose
    >>> compose(Graph.linear([2, 1, 0]), hamming_distance(Graph.linear([0, 1]), [0, 1, 2])).energies.sum()
    tensor(2.)
    """
    reader = _reader(desired)
    answers, beyond = np.flatnonzero(as_array(reader.final) != np.inf), reader.states
    more = np.append(answers, beyond)  # where a string may be as long as an answer, or longer
    edits = _Edits(
        np.append(as_array(reader.initial), np.inf),
        np.concatenate([reader.source, more]),
        np.concatenate([reader.destination, np.full(len(more), beyond)]),
        np.concatenate([reader.input_labels, np.full(len(more), NO_LABEL)]),
        np.append(_number_of_arcs(reader, "to"), 0.0),
    )
    return _distances(desired, labels, edits, False, at_most, max_states)


@takes_graphs
def edit_distance(
    desired: Graph, labels: Iterable[int], *, at_most: int | None = None, max_states: int = MOST_STATES
) -> Graph:
    """The acceptor of all strings, whose energies are their edit distances to the nearest desired answer.

    Insertions, deletions and substitutions of a label cost 1 each (Levenshtein 1966).

    Args:
        desired: an acceptor of at least one answer, such as ``Graph.linear``; its energies count for nothing.
        labels: those that strings are made of.
        at_most: what any larger distance counts as; where omitted there is no bound.
        max_states: the most states that the result may have.

    Returns:
        A deterministic acceptor over the labels: one path for each string, of energy
        min over y of d(y, string). A bound keeps it small: for an answer of n labels there are some 3ⁿ states
        at worst without one, and O(n) for any fixed bound. Infinitely many desired answers need one.

    Raises:
        GraphError: ``desired`` is a transducer or accepts nothing, a label is not an integer from 0 to
            2³¹ − 1, ``at_most`` is no integer of 1 or more, or there are more than ``max_states``
            states.

    Source: Schulz, Mihov, "Fast string correction with Levenshtein automata" (2002), with distances for
    acceptance.

    Cost: time and memory are O(states · labels), with up to 3ⁿ states for n desired labels, and O(n) for a
    fixed ``at_most``.

    >>> from gtn_ebm.ops import compose
    >>> compose(Graph.linear([2, 0, 1]), edit_distance(Graph.linear([0, 1]), [0, 1, 2])).energies.sum()
    tensor(1.)
    """
    reader = _reader(desired)
    every = np.arange(reader.states)
    edits = _Edits(
        _number_of_arcs(reader, "from"),
        np.concatenate([reader.source, every]),
        np.concatenate([reader.destination, every]),
        np.concatenate([reader.input_labels, np.full(len(every), NO_LABEL)]),
        as_array(reader.final),
    )
    return _distances(desired, labels, edits, True, at_most, max_states)


@takes_graphs
def cost_augmented(graph: Graph, cost: Graph, *, margin: float = 1.0) -> Graph:
    """The graph whose paths have the energy E − margin · cost of what they write: the margin as a transducer.

    Its best path is the answer that violates the margin most, min over ŷ of E(ŷ) − m(y, ŷ) (Taskar, Guestrin,
    Koller 2003, "Max-margin Markov networks"; Tsochantaridis et al. 2004, "Support vector machine learning
    for interdependent and structured output spaces": margin rescaling).

    Args:
        graph: any graph; it keeps the paths whose output ``cost`` accepts.
        cost: an acceptor with one path for each string, such as ``edit_distance`` gives.
        margin: ≥ 0; what the cost is multiplied by.

    Raises:
        GraphError: a margin that is negative or not finite; as ``compose``.

    Cost: that of ``compose``.
    """
    given: object = margin
    if not isinstance(given, Real) or not float(given) >= 0.0:
        raise GraphError(f"a margin must be 0 or more, not {margin!r:.60}")
    return compose(graph, scale(cost, -margin))


class _Edits(NamedTuple):
    """How desired answers are edited.

    Attributes:
        start: what it costs to be in each state before anything is read, [S].
        source, destination, labels: arcs that read their label for nothing and any other for 1, [A].
        missing: what it costs to end in each state, [S].
    """

    start: Costs
    source: NDArray[np.int64]
    destination: NDArray[np.int64]
    labels: NDArray[np.int64]
    missing: Costs


NO_LABEL, OTHER = -2, -1
"""Of an arc that no label is free on; and of any label that the desired answers do not have."""


def _reader(desired: Graph) -> Graph:
    reader = deterministic_reader(desired)
    if not reader.states:
        raise GraphError("there is no distance to desired answers that accept nothing")
    return reader


def _number_of_arcs(reader: Graph, direction: Direction) -> Costs:
    """The least number between each state and an end, [S]."""
    counting = reader.with_energies(torch.ones_like(reader.energies))
    return as_array(shortest_distance(counting, math.inf, direction))


def _distances(
    desired: Graph, labels: Iterable[int], edits: _Edits, skips: bool, at_most: int | None, max_states: int
) -> Graph:
    """The acceptor whose states are rows; in those, one more state is at the bound from the start on."""
    if at_most is not None and not (isinstance(at_most, int | np.integer) and at_most >= 1):
        raise GraphError(f"at_most must be an integer of 1 or more, not {at_most!r:.60}")
    letters = alphabet(labels)
    known = np.intersect1d(edits.labels, letters)
    columns = np.append(known, OTHER)
    start = np.append(edits.start, np.inf if at_most is None else at_most)
    rows, following, least = _rows(edits, start, skips, columns, max_states)
    # Of each letter the column that reads it.
    column = np.where(np.isin(letters, known), np.searchsorted(known, letters), len(known))
    states = len(rows)
    structure = Structure(
        np.repeat(np.arange(states), len(letters)),
        following[:, column].ravel(),
        np.tile(letters, states),
        states=states,
    )
    final = (rows + np.append(edits.missing, 0.0)).min(1)
    found = Graph(
        structure,
        torch.from_numpy(least[:, column].ravel().astype(np.float64)),
        [0],
        torch.from_numpy(final),
        input_symbols=desired.input_symbols,
    )
    return found.to(desired.energies.detach())


def _rows(
    edits: _Edits, start: Costs, skips: bool, columns: NDArray[np.int64], max_states: int
) -> tuple[Costs, NDArray[np.int32], NDArray[np.int32]]:
    """All rows [N, S], +inf where there is no way, and of each the row that each label leads to and what was
    taken off that, [N, L]."""
    arcs = (array.astype(np.int32).view(np.uint32) for array in (edits.source, edits.destination))
    operands = *arcs, edits.labels.astype(np.int32), skips, columns.astype(np.int32)
    found = tuple(np.empty((256, width), np.int32) for width in (len(start), len(columns), len(columns)))
    found[0][0] = np.minimum(np.minimum(start, start[-1]), kernels.NONE)
    progress = np.array([1, 0])
    while True:
        rows, *moves = found
        table = hash_table(kernels.fill_table, rows, progress[0])
        status = kernels.expand(*operands, rows, table, *moves, progress)
        if progress[0] > max_states:
            raise GraphError(
                f"the distances take more than {max_states} states; bound them by at_most, or raise "
                "max_states"
            )
        if status == kernels.DONE:
            break
        found = tuple(grown(array, 2 * len(array)) for array in found)
    rows, following, least = (array[: progress[0]] for array in found)
    return np.where(rows < kernels.NONE, rows, np.inf), following, least
