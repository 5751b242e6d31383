"""What a wrong answer costs, as an acceptor: the distance of every string to the desired answers.

A row holds, for each state of the desired answers' acceptor, the least number of edits that lead there with
what has been read so far. Rows are the states of the result, so that a string has one path, whose energy is
its distance, the least over all alignments: composed with a graph, minima and maxima over answers are of the
distance itself. In a row only the differences matter; its least entry goes to the arcs that lead to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.ops.composition import compose
from gtn_ebm.ops.difference import alphabet, deterministic_reader
from gtn_ebm.ops.scaling import scale

Costs = NDArray[np.float64]

MOST_STATES = 100_000


def hamming_distance(
    desired: Graph, labels: Iterable[int], *, at_most: int | None = None, max_states: int = MOST_STATES
) -> Graph:
    """The acceptor of all strings, whose energies are their Hamming distances to the nearest desired answer.

    A position where the labels differ counts 1, and so does each that only the longer of the two strings has.
    Args, result and errors as of ``edit_distance``.

    >>> from gtn_ebm.ops import compose
    >>> compose(Graph.linear([2, 1, 0]), hamming_distance(Graph.linear([0, 1]), [0, 1, 2])).energies.sum()
    tensor(2.)
    """
    reader = _reader(desired)
    states, beyond = reader.states + 1, reader.states
    is_answer = as_array(reader.final) != np.inf
    steps = {label: np.full((states, states), np.inf) for label in _classes(reader, labels)}
    for label, step in steps.items():
        step[reader.source, reader.destination] = 1.0
        matches = reader.input_labels == label
        step[reader.source[matches], reader.destination[matches]] = 0.0
        step[:beyond, beyond] = np.where(is_answer, 1.0, np.inf)
        step[beyond, beyond] = 1.0
    start, missing = np.full(states, np.inf), np.zeros(states)
    start[_start(reader)] = 0.0
    missing[:beyond] = _numbers_of_arcs(reader)[:, is_answer].min(1)
    return _distances(desired, labels, _Edits(start, steps, missing), at_most, max_states)


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
            2³¹ − 1, ``at_most`` is less than 1, or there are more than ``max_states`` states.

    Source: Schulz, Mihov, "Fast string correction with Levenshtein automata" (2002), with distances for
    acceptance.

    >>> from gtn_ebm.ops import compose
    >>> compose(Graph.linear([2, 0, 1]), edit_distance(Graph.linear([0, 1]), [0, 1, 2])).energies.sum()
    tensor(1.)
    """
    reader = _reader(desired)
    skips = _numbers_of_arcs(reader)
    steps = {}
    for label in _classes(reader, labels):
        step = np.full((reader.states, reader.states), np.inf)
        step[reader.source, reader.destination] = 1.0
        np.fill_diagonal(step, 1.0)
        matches = reader.input_labels == label
        step[reader.source[matches], reader.destination[matches]] = 0.0
        steps[label] = _after(step, skips)
    missing = np.where(as_array(reader.final) != np.inf, 0.0, np.inf)
    edits = _Edits(skips[_start(reader)], steps, missing)
    return _distances(desired, labels, edits, at_most, max_states)


def cost_augmented(graph: Graph, cost: Graph, margin: float = 1.0) -> Graph:
    """The graph whose paths have the energy E − margin · cost of what they write: the margin as a transducer.

    Its best path is the answer that violates the margin most, min over ŷ of E(ŷ) − m(y, ŷ) (Taskar, Guestrin,
    Koller 2003, "Max-margin Markov networks"; Tsochantaridis et al. 2004, "Support vector machine learning
    for interdependent and structured output spaces": margin rescaling).

    Args:
        graph: any graph; it keeps the paths whose output ``cost`` accepts.
        cost: an acceptor with one path for each string, such as ``edit_distance`` gives.
        margin: what the cost is multiplied by.

    Raises as ``compose``.
    """
    return compose(graph, scale(cost, -margin))


class _Edits(NamedTuple):
    """Rows as products of matrices, in which sums are minima and products are sums.

    Attributes:
        start: the row of the empty string, [S].
        steps: by label, what reading it costs between each two states, [S, S]; −1 for all other labels.
        missing: what ending in each state costs, [S].
    """

    start: Costs
    steps: dict[int, Costs]
    missing: Costs

    def bounded(self, at_most: float) -> _Edits:
        """With one more state, at that cost from the start, where all that follows is free."""

        def wider(step: Costs) -> Costs:
            step = np.pad(step, (0, 1), constant_values=np.inf)
            step[-1, -1] = 0.0
            return step

        return _Edits(
            np.append(self.start, at_most),
            {label: wider(step) for label, step in self.steps.items()},
            np.append(self.missing, 0.0),
        )


OTHER = -1


def _reader(desired: Graph) -> Graph:
    reader = deterministic_reader(desired)
    if not reader.states:
        raise GraphError("there is no distance to desired answers that accept nothing")
    return reader


def _start(reader: Graph) -> int:
    return int(as_array(reader.initial).argmin())


def _classes(reader: Graph, labels: Iterable[int]) -> list[int]:
    """The labels of the reader that strings may have, and OTHER, for all others are alike."""
    return [*np.intersect1d(reader.input_labels, alphabet(labels)).tolist(), OTHER]


def _numbers_of_arcs(reader: Graph) -> Costs:
    """The least number of arcs between each two states, [S, S]."""
    arcs = np.full((reader.states, reader.states), np.inf)
    arcs[reader.source, reader.destination] = 1.0
    np.fill_diagonal(arcs, 0.0)
    for middle in range(reader.states):
        np.minimum(arcs, arcs[:, middle, None] + arcs[middle], out=arcs)
    return arcs


def _after(rows: Costs, step: Costs) -> Costs:
    """The product of rows [N, S] and a step [S, S] in the tropical semiring."""
    return np.minimum.reduce([rows[:, state, None] + step[state] for state in range(len(step))])


def _distances(
    desired: Graph, labels: Iterable[int], edits: _Edits, at_most: int | None, max_states: int
) -> Graph:
    if at_most is not None and not at_most >= 1:
        raise GraphError(f"at_most is {at_most}; distances up to 1 or more must count")
    edits = edits.bounded(np.inf if at_most is None else float(at_most))
    rows, source, destination, classes, energies = _moves(edits, max_states)
    # The arcs of OTHER stand for one of each label that the reader does not know.
    members = {label: [label] for label in edits.steps}
    members[OTHER] = [label for label in alphabet(labels).tolist() if label not in edits.steps]
    counts = np.array([len(members[label]) for label in classes.tolist()], np.int64)
    read = [label for of_arc in classes.tolist() for label in members[of_arc]]
    structure = Structure(np.repeat(source, counts), np.repeat(destination, counts), read, states=len(rows))
    final = torch.from_numpy((rows + edits.missing).min(1))
    found = Graph(
        structure,
        torch.from_numpy(np.repeat(energies, counts)),
        [0],
        final,
        input_symbols=desired.input_symbols,
    )
    return found.to(desired.energies.detach())


class _Moves(NamedTuple):
    """What strings lead to.

    Attributes:
        rows: each once and with a least entry of 0, [N, S].
        source, destination: the rows of each move, [M].
        labels: read by it, [M]; OTHER for any label that the reader does not know.
        energies: the least entry of the row that it leads to, before that is taken off, [M].
    """

    rows: Costs
    source: NDArray[np.int64]
    destination: NDArray[np.int64]
    labels: NDArray[np.int64]
    energies: Costs


def _moves(edits: _Edits, max_states: int) -> _Moves:
    """Breadth first; all rows that are reached by strings of one length are taken at once."""
    rows = list(_clipped(edits.start[None]))
    number = {rows[0].tobytes(): 0}
    found: list[tuple[NDArray, NDArray, NDArray, Costs]] = []
    expanded = 0
    while expanded < len(rows):
        if len(rows) > max_states:
            raise GraphError(
                f"the distances take more than {max_states} states; bound them by at_most, or raise "
                "max_states"
            )
        source, before = np.arange(expanded, len(rows)), np.stack(rows[expanded:])
        expanded = len(rows)
        for label, step in edits.steps.items():
            after = _clipped(_after(before, step))
            least = after.min(1)
            after -= least[:, None]
            destination = []
            for row in after:
                destination.append(number.setdefault(row.tobytes(), len(rows)))
                if destination[-1] == len(rows):
                    rows.append(row)
            found.append((source, np.array(destination), np.full(len(source), label), least))
    return _Moves(np.stack(rows), *map(np.concatenate, zip(*found, strict=True)))


def _clipped(rows: Costs) -> Costs:
    """No entry above the last, from which all that follows is free."""
    return np.minimum(rows, rows[:, -1:])
