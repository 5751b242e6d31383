import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from gtn_ebm import CycleError, Graph, GraphError, Structure
from gtn_ebm.inference.sampling import random_paths
from tests.enumeration import graphs, log_sum, walks


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def are_likely(found, probabilities, count):
    """Whether so many of each kind of path may come of so many draws, by a chi-square test.

    The bound (Laurent and Massart 2000) is passed with a probability of e⁻²⁵ at most. What is expected less
    than five times is one kind.
    """
    expected = {kind: p * count for kind, p in probabilities.items()}
    rare = {kind for kind, times in expected.items() if times < 5}
    pairs = [(found[kind], times) for kind, times in expected.items() if kind not in rare]
    pairs.append((sum(found[kind] for kind in rare), max(sum(expected[kind] for kind in rare), 1.0)))
    statistic = sum((seen - times) ** 2 / times for seen, times in pairs)
    return statistic < len(pairs) + 2 * math.sqrt(25 * len(pairs)) + 50 and found.keys() <= expected.keys()


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@settings(max_examples=70, deadline=None)
@given(graphs())
def test_paths_come_as_often_as_they_are_probable(beta, graph):
    every, count = walks(graph), 400
    paths = random_paths(graph, count, beta, seeded())
    if not every:
        assert paths == []
        return
    total = log_sum(every, beta) if beta else math.log(len(every))
    probabilities, energies = Counter(), {}
    for walk in every:
        probabilities[walk.arcs] += math.exp((beta * total if beta else -total) - beta * walk.energy)
        energies.setdefault(walk.arcs, []).append(walk.energy)
    found = Counter(tuple(path.arcs.tolist()) for path in paths)
    assert len(paths) == count
    assert are_likely(found, probabilities, count)
    for path in paths[:20]:
        assert any(math.isclose(path.energy, e, abs_tol=1e-9) for e in energies[tuple(path.arcs.tolist())])


def test_a_cycle_is_gone_round_as_often_as_it_is_probable():
    # Paths of n times round have probability (1 − r) rⁿ with r = e⁻¹.
    graph = Graph(Structure([0, 0], [0, 1], [0, 1]), torch.tensor([1.0, 0.0]))
    lengths = Counter(len(path.arcs) - 1 for path in random_paths(graph, 10_000, generator=seeded()))
    r = math.exp(-1.0)
    assert are_likely(lengths, {n: (1 - r) * r**n for n in range(40)}, 10_000)


def test_at_beta_0_all_of_many_paths_are_equally_likely():
    # 2⁴⁰⁰ paths, the energies of one side so high that no other β would take it.
    source = np.repeat(np.arange(400), 2)
    graph = Graph(Structure(source, source + 1, np.tile([0, 1], 400)), torch.tensor([0.0, 900.0]).repeat(400))
    ones = [sum(path.input_labels) for path in random_paths(graph, 500, 0.0, seeded())]
    assert np.mean(ones) == pytest.approx(200.0, abs=2.0)
    assert np.std(ones) == pytest.approx(10.0, abs=1.0)


def test_the_energy_is_differentiable_in_what_the_path_uses():
    energies = torch.tensor([1.0, 0.0], requires_grad=True)
    graph = Graph(Structure([0, 0], [0, 1], [0, 1]), energies)
    path = random_paths(graph, 50, generator=seeded())[-1]
    path.energy.backward()
    assert energies.grad.tolist() == [len(path.arcs) - 1, 1.0]


def test_a_cycle_on_no_path_does_no_harm():
    # State 2 leads into the path, state 3 is led to from it; both go round at an energy below 0.
    structure = Structure([2, 2, 0, 0, 3], [2, 0, 1, 3, 3], [0, 1, 2, 3, 4])
    graph = Graph(structure, torch.tensor([-1.0, 0.0, 0.0, 0.0, -1.0]), initial=[0], final=[1])
    assert [path.input_labels for path in random_paths(graph, 3)] == [[2]] * 3
    assert [path.input_labels for path in random_paths(graph, 3, beta=0.0)] == [[2]] * 3


def test_the_generator_decides():
    source = np.repeat(np.arange(30), 2)
    graph = Graph(Structure(source, source + 1, np.tile([0, 1], 30)))
    once, again, other = (random_paths(graph, 3, generator=seeded(seed)) for seed in (1, 1, 2))
    labels = [[path.input_labels for path in paths] for paths in (once, again, other)]
    assert labels[0] == labels[1] != labels[2]


@pytest.mark.parametrize("beta", [-1.0, math.inf, math.nan])
def test_a_beta_out_of_range_is_refused(beta):
    with pytest.raises(GraphError, match="β must be finite"):
        random_paths(Graph.linear([0]), 1, beta)


def test_bad_input_is_refused():
    with pytest.raises(GraphError, match="-1 paths"):
        random_paths(Graph.linear([0]), -1)
    with pytest.raises(GraphError, match="energy 0 of 1 is nan"):
        random_paths(Graph.linear([0]).with_energies(torch.tensor([torch.nan])), 1)
    cycle = Graph(Structure([0, 0], [0, 1], [0, 1]))
    for beta in (0.0, 1.0):
        with pytest.raises(CycleError, match="state 0"):
            random_paths(cycle, 1, beta)


def test_a_path_longer_than_allowed_is_refused():
    # It goes on with probability 1 − 10⁻⁶, and so has about a million arcs.
    loop = Graph(Structure([0], [0], [0]), torch.tensor([-math.log1p(-1e-6)], dtype=torch.float64))
    with pytest.raises(GraphError, match="more than 1000 arcs was drawn; allow more with max_arcs"):
        random_paths(loop, 5, generator=seeded(), max_arcs=1000)
    assert len(random_paths(Graph.linear([0] * 7), 3, max_arcs=7)) == 3
    with pytest.raises(GraphError, match="max_arcs"):
        random_paths(Graph.linear([0] * 7), 3, max_arcs=6)
