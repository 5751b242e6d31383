import math
from collections import Counter

import numpy as np
import pytest
import torch

from gtn_ebm import CycleError, Graph, GraphError, Structure, best_path, random_paths
from gtn_ebm.inference import PathChains
from tests import written_out
from tests.enumeration import walks
from tests.inference.test_sampling import are_likely
from tests.written_out import random_graphs


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def shares(graph, beta, extra=None):
    """The probability of each path by its arcs; those without arcs are one."""
    found = walks(graph)
    energies = written_out.energies(graph, found)
    if extra is not None:
        energies = energies + torch.tensor([extra(walk.outputs) for walk in found], dtype=torch.float64)
    of_path = Counter()
    for walk, p in zip(found, torch.softmax(-beta * energies, 0).tolist(), strict=True):
        of_path[walk.arcs] += p
    return of_path


def arcs_of(paths):
    return Counter(tuple(path.arcs.tolist()) for path in paths)


@pytest.mark.parametrize("window", [1, 2, 100])
def test_chains_stay_in_the_distribution(window):
    for seed, (graph, beta) in enumerate(random_graphs(30, window)):
        count = 300
        begin = random_paths(graph, count, beta, seeded(seed))
        chains = PathChains(graph, begin, beta, seeded(seed), window=window)
        assert are_likely(arcs_of(chains.move(graph, 1)), shares(graph, beta), count)


def test_chains_give_paths_with_the_energies_of_enumeration():
    for seed, (graph, beta) in enumerate(random_graphs(200, 20)):
        energies = {}
        for walk in walks(graph):
            energies.setdefault(walk.arcs, []).append(walk.energy)
        chains = PathChains(graph, [best_path(graph)] * 3, beta, seeded(seed), window=2)
        for path in chains.move(graph, 5):
            wanted = energies[tuple(path.arcs.tolist())]
            assert min(abs(energy - path.energy.item()) for energy in wanted) < 1e-9


@pytest.mark.parametrize("window", [1, 100])
def test_chains_reach_the_distribution_from_anywhere(window):
    for seed, (graph, beta) in enumerate(random_graphs(30, 10 + window)):
        count = 300
        chains = PathChains(graph, [best_path(graph)] * count, beta, seeded(seed), window=window)
        moves = 60 if window == 1 else 12
        assert are_likely(arcs_of(chains.move(graph, moves)), shares(graph, beta), count)


def test_what_lies_outside_a_window_stays():
    source = np.repeat(np.arange(200), 2)
    graph = Graph(Structure(source, source + 1, np.tile([0, 1], 200)))
    chains = PathChains(graph, [best_path(graph)], window=1, generator=seeded())
    before = chains.move(graph, 1)[0].arcs
    changed = []
    for _ in range(200):
        after = chains.move(graph, 1)[0].arcs
        changed.append(int((after != before).sum()))
        before = after
    assert np.median(changed) <= 1
    assert max(changed) > 4


def test_an_extra_energy_is_met_by_accepting():
    graph = Graph(
        Structure([0, 0, 1, 1, 2, 2], [1, 1, 2, 2, 3, 3], [0, 1] * 3),
        torch.tensor([0.0, 0.5, 0.2, 0.0, 0.9, 0.0], dtype=torch.float64),
    )

    def extra(outputs):
        return 3.0 * (len(set(outputs)) == 1)

    begin = random_paths(graph, 300, 1.3, seeded())
    chains = PathChains(graph, begin, 1.3, seeded(), window=2, extra=lambda path: extra(path.output_labels))
    found = arcs_of(chains.move(graph, 15))
    assert are_likely(found, shares(graph, 1.3, extra), 300)
    assert not are_likely(found, shares(graph, 1.3), 300)


def test_the_energies_may_change_under_way():
    graph = Graph(Structure([0, 0], [1, 1], [7, 8]), torch.tensor([0.0, 50.0]))
    chains = PathChains(graph, [best_path(graph)], generator=seeded())
    energies = torch.tensor([50.0, 0.0], requires_grad=True)
    path = chains.move(graph.with_energies(energies), 5)[0]
    assert path.input_labels == [8]
    path.energy.backward()
    assert energies.grad.tolist() == [0.0, 1.0]


def test_the_generator_decides():
    source = np.repeat(np.arange(30), 2)
    graph = Graph(Structure(source, source + 1, np.tile([0, 1], 30)))
    once, again, other = (
        PathChains(graph, [best_path(graph)], window=30, generator=seeded(seed))
        .move(graph, 3)[0]
        .input_labels
        for seed in (1, 1, 2)
    )
    assert once == again != other


def test_bad_input_is_refused():
    graph = Graph.linear([0, 1])
    path = best_path(graph)
    for beta in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(GraphError, match="β"):
            PathChains(graph, [path], beta=beta)
    with pytest.raises(GraphError, match="not 0"):
        PathChains(graph, [path], window=0)
    with pytest.raises(GraphError, match="no path for a chain"):
        PathChains(graph, [])
    for arcs, message in (
        ([1], "no path"),
        ([1, 0], "no path"),
        ([0, 1, 2], "has 2 arcs"),
        ([], "without arcs"),
    ):
        with pytest.raises(GraphError, match=message):
            PathChains(graph, [path._replace(arcs=np.array(arcs, np.int64))])
    nothing = Graph(Structure([], [], []))
    with pytest.raises(GraphError, match=r"paths\[0\] must be a Path, not None"):
        PathChains(nothing, [best_path(nothing)])
    with pytest.raises(GraphError, match="-1 moves"):
        PathChains(graph, [path]).move(graph, -1)
    with pytest.raises(GraphError, match=r"extra energies .* must not be NaN"):
        PathChains(graph, [path], extra=lambda path: math.nan).move(graph, 1)
    with pytest.raises(GraphError, match="another structure"):
        PathChains(graph, [path]).move(Graph.linear([0]), 1)
    with pytest.raises(GraphError, match="nan"):
        PathChains(graph, [path]).move(graph.with_energies(torch.tensor([0.0, math.nan])), 1)
    loop = Graph(Structure([0, 0], [0, 1], [0, 1]), torch.tensor([1.0, 0.0]))
    with pytest.raises(CycleError, match="state 0"):
        PathChains(loop, [best_path(loop)])
