import math

import pytest
import torch

from gtn_ebm import Graph, GraphError, Structure, closure, free_energy
from gtn_ebm.inference import expected_cost
from gtn_ebm.ops import edit_distance
from tests.answers import edits, path_energies, rivals, same_with_gradient, selector


def test_it_is_the_mean_over_all_paths() -> None:
    for number, (graph, parts) in enumerate(rivals(200)):
        answer, beta = [(0, 1), (1,), ()][number % 3], [0.5, 1.0, 3.0][number // 3 % 3]
        found = path_energies(graph)
        costs = torch.tensor([edits(walk.outputs, answer) for walk, _ in found], dtype=torch.float64)
        theirs = torch.softmax(-beta * torch.stack([energy for _, energy in found]), 0) @ costs
        ours = expected_cost(graph, edit_distance(selector(answer), [0, 1]), beta)
        same_with_gradient(ours, theirs, parts)


def test_on_a_cycle_it_is_the_derivative_of_the_free_energy() -> None:
    loop = closure(Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([1.5, 2.0], dtype=torch.float64)))
    # Each 1 costs 1: an arc that is twice on a path is paid for twice.
    ones = Graph(Structure([0, 0], [0, 0], [0, 1]), torch.tensor([0.0, 1.0], dtype=torch.float64), [0], [0])
    h = 1e-5
    higher, lower = (
        free_energy(loop.with_energies(loop.energies + sign * h * torch.from_numpy(loop.input_labels == 1)))
        for sign in (1, -1)
    )
    assert abs(expected_cost(loop, ones) - (higher - lower) / (2 * h)) < 1e-8
    answers = expected_cost(loop, edit_distance(selector((0,)), [0, 1], at_most=2))
    assert 0.0 < answers < 2.0


def test_settings_of_autograd_are_kept() -> None:
    cost = edit_distance(selector((0,)), [0, 1])
    energies = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    graph = Graph(Structure([0, 0], [1, 1], [0, 1]), energies)
    assert expected_cost(graph, cost).requires_grad
    assert not expected_cost(graph.detach(), cost).requires_grad
    with torch.no_grad():
        assert not expected_cost(graph, cost).requires_grad
    with torch.inference_mode():
        own = Graph(graph.structure, torch.zeros(2, dtype=torch.float64))
        assert expected_cost([own, graph], [cost, cost]).tolist() == [0.5, 0.5]


def test_bad_input_is_refused() -> None:
    graph = selector((0,))
    for beta, message in ((0.0, "β must be positive"), (math.inf, "needs a finite β")):
        with pytest.raises(GraphError, match=message):
            expected_cost(graph, graph, beta)
    for graphs_and_costs in (([graph], graph), ([graph], [graph, graph])):
        with pytest.raises(GraphError, match="one graph and its costs, or a list of each"):
            expected_cost(*graphs_and_costs)
    assert expected_cost([], []).shape == (0,)
    missing = Graph(graph.structure, torch.zeros(1, dtype=torch.float64, requires_grad=True), final=[])
    risk = expected_cost(missing, graph)
    assert risk == math.inf
    assert torch.autograd.grad(risk, missing.energies)[0] == 0.0
