import math

import numpy as np
import pytest
import torch

from gtn_ebm import Graph, GraphError, Structure
from gtn_ebm.inference import best_answers, expected_edit_distance, minimum_risk_answer, random_answers
from gtn_ebm.kernels import edit_distance
from tests import written_out
from tests.enumeration import walks
from tests.written_out import probabilities, random_graphs

LOOP = Graph(Structure([0, 0], [0, 1], [0, 1]), torch.tensor([1.0, 0.0], dtype=torch.float64))


def distance(one, other):
    """By the definition, without a table."""
    if not one or not other:
        return len(one) + len(other)
    return min(
        distance(one[1:], other[1:]) + (one[0] != other[0]),
        distance(one[1:], other) + 1,
        distance(one, other[1:]) + 1,
    )


def test_edit_distances_by_the_definition():
    rng = np.random.default_rng(0)
    strings = [tuple(rng.integers(0, 3, rng.integers(0, 6)).tolist()) for _ in range(30)]
    found = edit_distance.between(
        np.array([label for labels in strings for label in labels], np.int64),
        np.cumsum([0, *map(len, strings)]),
    )
    assert found.tolist() == [[distance(one, other) for other in strings] for one in strings]


@pytest.mark.parametrize("answer", [(), (0, 1), (1, 7, 1)])
def test_the_risk_of_an_answer_is_the_mean_over_all_paths(answer):
    def wanted(graph, found, beta):
        distances = torch.tensor([distance(walk.outputs, answer) for walk in found], dtype=torch.float64)
        return probabilities(graph, found, beta) @ distances

    written_out.check(
        random_graphs(200), lambda graph, beta: expected_edit_distance(graph, answer, beta), wanted
    )


def test_derivatives_of_first_and_second_order():
    written_out.check_derivatives(
        random_graphs(2, 1, most_states=4, large=False),
        lambda graph, beta: expected_edit_distance(graph, [0, 1], beta),
    )


def test_the_answer_of_least_risk_over_all_answers():
    for graph, beta in random_graphs(200, 2):
        found = walks(graph)
        answers = sorted({walk.outputs for walk in found})
        distances = torch.tensor(
            [[distance(answer, walk.outputs) for walk in found] for answer in answers], dtype=torch.float64
        )
        risks = distances @ probabilities(graph, found, beta)
        decision = minimum_risk_answer(graph, len(answers), beta)
        assert float(decision.covered) == pytest.approx(1.0, abs=1e-9)
        assert float(decision.risk) == pytest.approx(float(risks.min()), abs=1e-9)
        assert float(risks[answers.index(tuple(decision.labels))]) == pytest.approx(
            float(risks.min()), abs=1e-9
        )


def test_of_a_few_answers_it_is_the_best_among_them():
    for graph, beta in random_graphs(200, 3):
        few = best_answers(graph, 2, beta)
        shares = torch.softmax(-beta * torch.stack([answer.energy for answer in few]), 0)
        decision = minimum_risk_answer(graph, 2, beta)
        apart = distance(few[0].labels, few[-1].labels)
        assert float(decision.risk) == pytest.approx(float(1.0 - shares.max()) * apart, abs=1e-9)
        assert float(decision.covered) <= 1.0 + 1e-9


def test_it_need_not_be_the_most_probable_one():
    # The best string is alone; two others are alike.
    graph = Graph(
        Structure([0, 0, 0, 1, 2, 3], [1, 2, 3, 4, 4, 4], [0, 1, 1, 0, 1, 2]),
        torch.tensor([0.0, 0.1, 0.1, 0.0, 0.0, 0.0]),
    )
    assert best_answers(graph, 1)[0].labels == [0, 0]
    decision = minimum_risk_answer(graph, 3)
    assert decision.labels == [1, 1]
    assert float(decision.risk) == pytest.approx(float(expected_edit_distance(graph, [1, 1])), abs=1e-6)


def test_the_risk_is_differentiable():
    def risk(energies):
        graph = Graph(Structure([0, 0, 0, 1], [1, 1, 2, 2], [0, 1, 2, 0]), energies, final=[1, 2])
        return minimum_risk_answer(graph, 4, 0.7).risk

    energies = torch.tensor([0.1, 0.5, 0.9, 0.2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(risk, [energies])
    assert torch.autograd.gradgradcheck(risk, [energies])


def test_round_a_cycle():
    # n labels more than the answer with probability (1 − r) rⁿ.
    r = math.exp(-1.0)
    assert float(expected_edit_distance(LOOP, [1])) == pytest.approx(r / (1 - r))
    assert float(expected_edit_distance(LOOP, [1], at_most=1)) == pytest.approx(r)
    drawn = random_answers(LOOP, 4000, generator=torch.Generator().manual_seed(0))
    mean = np.mean([distance(answer.labels, [1]) for answer in drawn])
    assert mean == pytest.approx(r / (1 - r), abs=5 * math.sqrt(r) / (1 - r) / math.sqrt(4000))


def test_bad_input_is_refused():
    graph, nothing = Graph.linear([0]), Graph(Structure([0], [1], [0], states=3))
    for beta in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(GraphError, match="β"):
            expected_edit_distance(graph, [0], beta)
        with pytest.raises(GraphError, match="β"):
            minimum_risk_answer(graph, 1, beta)
    with pytest.raises(GraphError, match="no path"):
        expected_edit_distance(nothing, [0])
    with pytest.raises(GraphError, match="no path"):
        minimum_risk_answer(nothing, 1)
    with pytest.raises(GraphError, match="best of 0 answers"):
        minimum_risk_answer(graph, 0)
    with pytest.raises(GraphError, match="more than 10 states"):
        expected_edit_distance(graph, [0, 1, 0, 1, 1], max_states=10)
    with pytest.raises(GraphError, match="labels ≥ 0, not -1"):
        expected_edit_distance(graph, [-1])
