import math

import pytest
import torch

from gtn_ebm import CycleError, Graph, GraphError, Structure, free_energy
from gtn_ebm.inference import energy_variance, expectation, expected_energy, expected_labels
from tests import written_out
from tests.written_out import probabilities, random_graphs

LOOP = Graph(Structure([0, 0], [0, 1], [0, 1]), torch.tensor([1.0, 0.0], dtype=torch.float64))


def values_of(graph, width=None):
    shape = (graph.arcs,) if width is None else (graph.arcs, width)
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(graph.arcs))


def test_an_expectation_is_the_mean_over_all_paths():
    written_out.check(
        random_graphs(200),
        lambda graph, beta: expectation(graph, values_of(graph, 2), beta),
        lambda graph, found, beta: (
            probabilities(graph, found, beta) @ written_out.uses(graph, found) @ values_of(graph, 2)
        ),
    )


def test_the_expected_energy_is_the_mean_over_all_paths():
    written_out.check(
        random_graphs(200, 1),
        expected_energy,
        lambda graph, found, beta: probabilities(graph, found, beta) @ written_out.energies(graph, found),
    )


def test_the_variance_of_the_energy_is_that_over_all_paths():
    def wanted(graph, found, beta):
        p, energies = probabilities(graph, found, beta), written_out.energies(graph, found)
        return p @ (energies - p @ energies) ** 2

    written_out.check(random_graphs(200, 2), energy_variance, wanted)


@pytest.mark.parametrize("side", ["input", "output"])
def test_expected_labels_are_the_counts_in_all_strings(side):
    def wanted(graph, found, beta):
        strings = [getattr(walk, side + "s") for walk in found]
        counts = torch.tensor([[s.count(label) for label in range(3)] for s in strings], dtype=torch.float64)
        return (probabilities(graph, found, beta) @ counts)[1:]

    written_out.check(
        random_graphs(200, 3),
        lambda graph, beta: expected_labels(graph, beta, side=side, count=3)[1:],
        wanted,
    )


def test_derivatives_of_first_and_second_order():
    written_out.check_derivatives(
        random_graphs(2, 4, most_states=4, large=False),
        lambda graph, beta: expectation(graph, values_of(graph), beta),
        energy_variance,
    )


def test_values_have_gradients_too():
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    expectation(Graph(Structure([0, 0], [1, 1], [0, 1])), values).backward()
    assert values.grad.tolist() == [0.5, 0.5]


def test_an_attribute_is_a_feature():
    structure = Structure([0, 0, 2], [1, 1, 1], [0, 1, 2])
    for frames in ([3, 5, None], torch.tensor([3, 5, 0]), torch.tensor([3.0, 5.0, torch.nan])):
        graph = Graph(structure, torch.zeros(3), attributes={"frames": frames}, initial=[0], final=[1])
        assert expectation(graph, "frames") == 4.0


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_round_a_cycle(beta):
    # n times round with probability (1 − r) rⁿ.
    r = math.exp(-beta)
    assert float(expectation(LOOP, torch.tensor([1.0, 0.0]), beta)) == pytest.approx(r / (1 - r))
    assert float(expected_energy(LOOP, beta)) == pytest.approx(r / (1 - r))
    assert float(energy_variance(LOOP, beta)) == pytest.approx(r / (1 - r) ** 2)
    assert expected_labels(LOOP, beta).tolist() == pytest.approx([r / (1 - r), 1.0])


def test_a_list_is_its_graphs_one_by_one():
    some = [LOOP, Graph.linear([0, 1, 1]).to(torch.float64), LOOP]
    values = [values_of(graph, 3) for graph in some]
    for query in (expected_energy, energy_variance):
        assert query(some, 0.5).tolist() == pytest.approx([float(query(graph, 0.5)) for graph in some])
        assert query([]).shape == (0,)
    together = expectation(some, values, 0.5)
    for found, graph, of_graph in zip(together, some, values, strict=True):
        torch.testing.assert_close(found, expectation(graph, of_graph, 0.5))


def test_float32_loses_nothing_to_large_energies():
    graph = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([1e6, 1e6 + 1.0]))
    exact = energy_variance(graph.to(torch.float64))
    assert energy_variance(graph) == exact.float()
    assert expected_energy(graph).dtype == torch.float32


def test_without_gradients():
    with torch.inference_mode():
        graph = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([0.0, 2.0]))
        assert not energy_variance(graph).requires_grad
        assert float(energy_variance(graph)) == pytest.approx(4 * math.exp(2) / (1 + math.exp(2)) ** 2)


def test_it_is_a_derivative_of_the_free_energy():
    graph = Graph(Structure([0, 0, 1], [1, 1, 2], [0, 1, 2]), torch.tensor([0.5, 1.0, 2.0])).to(torch.float64)
    step = 1e-6
    slope = (1.7 + step) * free_energy(graph, 1.7 + step) - (1.7 - step) * free_energy(graph, 1.7 - step)
    assert float(expected_energy(graph, 1.7)) == pytest.approx(float(slope) / (2 * step))


def test_bad_input_is_refused():
    graph = Graph(Structure([0, 0], [1, 1], [0, 1]), attributes={"word": ["a", "b"], "cost": [1.0, None]})
    nothing = Graph(Structure([0], [1], [0], states=3))
    for query in (expected_energy, energy_variance, expected_labels):
        for beta in (0.0, -1.0, math.nan):
            with pytest.raises(GraphError, match="β must be positive"):
                query(graph, beta)
        with pytest.raises(GraphError, match="finite β"):
            query(graph, math.inf)
        with pytest.raises(GraphError, match="graph 0 has no path"):
            query(nothing)
        with pytest.raises(GraphError, match="energy 0 of 2 is nan"):
            query(graph.with_energies(torch.tensor([math.nan, 0.0])))
        with pytest.raises(CycleError, match="state 0"):
            query(LOOP.with_energies(-LOOP.energies))
    with pytest.raises(GraphError, match="graph 1 has no path"):
        expected_energy([graph, nothing])
    for values, message in (
        (torch.zeros(3), "each of 2 arcs"),
        (torch.tensor([0.0, math.nan]), "values is NaN or −inf for arc 1"),
        (torch.tensor([-math.inf, 0.0]), "values is NaN or −inf for arc 0"),
        ([1.0, 2.0], "one tensor"),
        ("length", "no arc attribute 'length'"),
        ("word", "'word' must hold a number"),
        ("cost", "'cost' is NaN or −inf for arc 1"),
    ):
        with pytest.raises(GraphError, match=message):
            expectation(graph, values)
    with pytest.raises(GraphError, match="do not fit 1"):
        expectation([graph], [])
    with pytest.raises(GraphError, match="label 1"):
        expected_labels(graph, count=1)
    with pytest.raises(GraphError, match="side"):
        expected_labels(graph, side="both")


def test_a_value_of_infinity_on_no_path_does_not_count():
    graph = Graph(Structure([0, 0, 1], [1, 1, 2], [0, 1, 2]), torch.tensor([0.0, torch.inf, 0.0]), final=[2])
    assert expectation(graph, torch.tensor([1.0, torch.inf, 2.0])) == 3.0
    assert expectation(graph, torch.tensor([torch.inf, 0.0, 2.0])) == torch.inf
