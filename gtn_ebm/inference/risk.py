"""Minimum Bayes risk: the answer that is expected to need the fewest corrections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph
from gtn_ebm.inference.answers import MOST_PREFIXES, bare, best_answers, selector
from gtn_ebm.inference.expectation import check_finite, check_paths
from gtn_ebm.inference.expected_cost import expected_cost
from gtn_ebm.inference.free_energy import free_energy
from gtn_ebm.kernels import edit_distance as kernels
from gtn_ebm.ops.costs import MOST_STATES, edit_distance
from gtn_ebm.ops.labels import project
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


@takes_graphs
def expected_edit_distance(
    graph: Graph,
    answer: Sequence[int],
    beta: float = 1.0,
    *,
    at_most: int | None = None,
    max_states: int = MOST_STATES,
) -> Tensor:
    """Σ p(y) d(y, answer) over all that the graph writes, exactly: the risk of giving this answer.

    p(y) ∝ exp(−β F_β(y)), and d is the least number of labels to insert, delete and replace: the
    ``expected_cost`` of the acceptor of all edit distances to the answer.

    Args:
        graph: any graph, with cycles, too; its output labels count, epsilons left out.
        answer: labels ≥ 0.
        beta: inverse temperature, finite and > 0.
        at_most: what any larger distance counts as, which keeps the acceptor small.
        max_states: the most states of that acceptor. Each label of the answer makes it 2 to 3 times as
            large: 12 labels are about as many as there is room for, where ``at_most`` is omitted.

    Returns:
        A scalar in the dtype of the energies, differentiable as often as wanted: as a loss, it is the exact
        minimum Bayes risk criterion (expected word errors).

    Raises:
        GraphError: more than ``max_states`` states, a graph without a path, or β out of range.
        CycleError: as ``free_energy``.

    Cost: that of ``edit_distance``, then of ``expected_cost``.

    >>> from gtn_ebm import Structure
    >>> words = Graph(Structure([0, 0, 1], [1, 1, 2], [0, 1, 2]), torch.zeros(3))
    >>> expected_edit_distance(words, [0, 2])
    tensor(0.5000)
    """
    check_finite(beta)
    written = bare(project(graph, "output"))
    labels = written.output_labels[written.output_labels != EPSILON]
    costs = edit_distance(selector(answer, graph), np.unique(labels), at_most=at_most, max_states=max_states)
    risk = expected_cost(written, costs, beta)
    check_paths(risk[None])
    return risk


@takes_graphs
def minimum_risk_answer(
    graph: Graph, count: int, beta: float = 1.0, *, max_prefixes: int = MOST_PREFIXES
) -> Decision:
    """Of the ``count`` best answers the one of least expected edit distance: minimum Bayes risk decoding.

    The answers' probabilities are exact, latent paths summed. The risk of each is worked out over the same
    answers, as if there were no others: Σ_k p_k d(y, y_k) / Σ_k p_k. So it is exact where they are all that
    the graph writes (``covered`` is 1), and else an approximation, better the more is covered. The risk over
    all answers of the graph, exactly, is ``expected_edit_distance`` of the answer chosen.

    Args:
        graph, beta, max_prefixes: as of ``best_answers``; β finite.
        count: ≥ 1; of how many answers.

    Raises:
        GraphError: count < 1, or a graph without a path; else as ``best_answers``.

    Source: Goel and Byrne, "Minimum Bayes-risk automatic speech recognition" (2000); Stolcke, König and
    Weintraub (1997).

    Cost: that of ``best_answers``, and O(count² · length²) time.

    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0, 0, 1], [2, 2, 1, 2], [7, 8, 5, 6]), torch.tensor([0.3, 0.4, 0.0, 0.0]))
    >>> minimum_risk_answer(graph, 3).labels  # two wrong labels are worse than one
    [7]
    """
    check_finite(beta)
    if count < 1:
        raise GraphError(f"the best of {count} answers cannot be chosen")
    free = free_energy(graph, beta).double()
    check_paths(free[None])
    answers = best_answers(graph, count, beta, max_prefixes=max_prefixes)
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
