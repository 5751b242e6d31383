"""Minimum Bayes risk: the answer that is expected to need the fewest corrections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.inference.answers import best_answers
from gtn_ebm.inference.expectation import check_finite, check_paths, distributions, mean_of
from gtn_ebm.inference.free_energy import free_energy
from gtn_ebm.kernels import edit_distance as kernels
from gtn_ebm.ops.arc_maps import select
from gtn_ebm.symbols import EPSILON


class Decision(NamedTuple):
    """An answer and what giving it is expected to cost.

    Attributes:
        labels: the answer.
        risk: its expected edit distance to the truth; a scalar, differentiable.
        covered: the probability of the answers that the risk was worked out over; where 1, the risk is exact.
    """

    labels: list[int]
    risk: Tensor
    covered: Tensor


def expected_edit_distance(
    graph: Graph, answer: Sequence[int], beta: float = 1.0, *, max_states: int | None = None
) -> Tensor:
    """Σ p(y) d(y, answer) over all that the graph writes, exactly: the risk of giving this answer.

    p(y) ∝ exp(−β F_β(y)), and d is the least number of labels to insert, delete and replace. The row of the
    table by which edit distances are found is carried along the paths: where two paths meet in a state with
    equal rows, they go on as one. So each path has its distance, whichever way the labels are best matched,
    and the risk is an expectation over the paths of a graph of such pairs; with cycles, too.

    Args:
        graph: any graph; its output labels count, epsilons left out.
        answer: labels ≥ 0.
        beta: inverse temperature, finite and > 0.
        max_states: the most pairs of a state and a row to make; a million where omitted.

    Returns:
        A scalar in the dtype of the energies, differentiable as often as wanted: as a loss, it is the exact
        minimum Bayes risk criterion (expected word errors).

    Raises:
        GraphError: more pairs than ``max_states``: a state may have up to 3^L rows for an answer of L labels,
            and has few where paths to it differ little; a graph without a path; β out of range.
        CycleError: as ``free_energy``.

    >>> words = Graph(Structure([0, 0, 1], [1, 1, 2], [0, 1, 2]), torch.zeros(3))
    >>> expected_edit_distance(words, [0, 2])
    tensor(0.5000)
    """
    check_finite(beta)
    if min(answer, default=0) < 0:
        raise GraphError(f"an answer is made of labels ≥ 0, not {min(answer)}")
    pairs, remaining = _with_rows(graph, list(answer), 1_000_000 if max_states is None else max_states)
    _, _, (found,) = distributions([pairs], beta)
    written = torch.from_numpy(pairs.output_labels != EPSILON).to(found.arcs)
    return (mean_of(found.arcs, written) + mean_of(found.final, remaining.to(found.arcs))).to(graph.dtype)


def _with_rows(graph: Graph, answer: list[int], most: int) -> tuple[Graph, Tensor]:
    """The graph's states paired with rows, which reach the same paths, and what ending in each pair adds to
    the number of labels written, [S].

    A row is the distances from what was written to each beginning of the answer, less the number of labels
    written; so there are only finitely many.
    """
    rows = _Rows(answer)
    offsets, order = graph.structure.out_index
    leaving = [order[offsets[q] : offsets[q + 1]].tolist() for q in range(graph.states)]
    destination, labels = graph.destination.tolist(), graph.output_labels.tolist()
    usable = (graph.energies.detach() < torch.inf).tolist()
    starts = np.flatnonzero((graph.initial.detach() < torch.inf).numpy(force=True)).tolist()
    number = {(state, rows.first): k for k, state in enumerate(starts)}
    pairs = list(number)
    source, target, arcs = [], [], []
    for here, (state, row) in enumerate(pairs):  # which grows
        for arc in leaving[state]:
            if not usable[arc]:
                continue
            pair = destination[arc], row if labels[arc] == EPSILON else rows.after(row, labels[arc])
            if pair not in number:
                number[pair] = len(pairs)
                pairs.append(pair)
                if len(pairs) > most:
                    raise GraphError(
                        f"there are more than {most} pairs of a state and a row of edit distances, the most "
                        "that max_states allows; raise it, or prune the graph"
                    )
            source.append(here)
            target.append(number[pair])
            arcs.append(arc)
    states = np.array([state for state, _ in pairs], np.int32)
    chosen = np.array(arcs, np.int32)
    structure = Structure(source, target, graph.output_labels[chosen], states=len(pairs))
    initial = select(graph.initial, states)
    initial = initial.masked_fill(torch.arange(len(pairs), device=initial.device) >= len(starts), torch.inf)
    paired = Graph(structure, select(graph.energies, chosen), initial, select(graph.final, states))
    return paired, torch.tensor([rows.last(row) for _, row in pairs], dtype=torch.float64)


class _Rows:
    """Rows of edit distances to one answer, numbered as they come up."""

    def __init__(self, answer: list[int]):
        self._answer = answer
        self._rows: list[tuple[int, ...]] = []
        self._number: dict[tuple[int, ...], int] = {}
        self._after: dict[tuple[int, int], int] = {}
        self.first = self._numbered(tuple(range(len(answer) + 1)))

    def _numbered(self, row: tuple[int, ...]) -> int:
        if row not in self._number:
            self._number[row] = len(self._rows)
            self._rows.append(row)
        return self._number[row]

    def last(self, row: int) -> int:
        return self._rows[row][-1]

    def after(self, row: int, label: int) -> int:
        """The row once a label more is written."""
        # All labels that the answer lacks are alike.
        key = row, label if label in self._answer else EPSILON
        if key not in self._after:
            old, new = self._rows[row], [0]
            for j, wanted in enumerate(self._answer):
                # One less than the table's, as one label more was written.
                new.append(min(old[j] - (wanted == label), old[j + 1], new[j] + 1))
            self._after[key] = self._numbered(tuple(new))
        return self._after[key]


def minimum_risk_answer(
    graph: Graph, count: int, beta: float = 1.0, *, max_states: int | None = None
) -> Decision:
    """Of the ``count`` best answers the one of least expected edit distance: minimum Bayes risk decoding.

    The answers' probabilities are exact, latent paths summed. The risk of each is worked out over the same
    answers, as if there were no others: Σ_k p_k d(y, y_k) / Σ_k p_k. So it is exact where they are all that
    the graph writes (``covered`` is 1), and else an approximation, better the more is covered. The risk over
    all answers of the graph, exactly, is ``expected_edit_distance`` of the answer chosen.

    Args:
        graph, beta, max_states: as of ``best_answers``; β finite.
        count: ≥ 1; of how many answers.

    Raises:
        GraphError: count < 1, or a graph without a path; else as ``best_answers``.

    Source: Goel and Byrne, "Minimum Bayes-risk automatic speech recognition" (2000); Stolcke, König and
    Weintraub (1997).

    >>> graph = Graph(Structure([0, 0, 0, 1], [2, 2, 1, 2], [7, 8, 5, 6]), torch.tensor([0.3, 0.4, 0.0, 0.0]))
    >>> minimum_risk_answer(graph, 3).labels  # two wrong labels are worse than one
    [7]
    """
    check_finite(beta)
    if count < 1:
        raise GraphError(f"the best of {count} answers cannot be chosen")
    free = free_energy(graph, beta).double()
    check_paths(free[None])
    answers = best_answers(graph, count, beta, max_states=max_states)
    energies = torch.stack([answer.energy for answer in answers]).double()
    probability = torch.exp(-beta * (energies - free))
    covered = probability.sum()
    distances = torch.from_numpy(_edit_distances([answer.labels for answer in answers])).to(probability)
    risks = distances @ (probability / covered)
    best = int(risks.argmin())
    return Decision(answers[best].labels, risks[best].to(graph.dtype), covered.to(graph.dtype))


def _edit_distances(strings: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    begins = np.cumsum([0, *map(len, strings)])
    return kernels.between(np.array([label for labels in strings for label in labels], np.int64), begins)
