import math

import numpy as np
import pynini
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.openfst import to_openfst
from gtn_ebm import CycleError, Graph, GraphError, Structure, best_path, connect
from gtn_ebm.inference.best_paths import best_paths
from tests.enumeration import ENERGIES, graphs, language, requiring_grad, walks

NOT_NEGATIVE = st.one_of(
    st.floats(0.0, 3.0, allow_subnormal=False), st.sampled_from([0.0, 0.5, 1.0, math.inf])
)
FEW_ENERGIES = st.sampled_from([0.0, 0.1, 0.2, 0.3])


def energies_of(paths):
    return [float(path.energy) for path in paths]


def check_are_paths(graph, paths):
    """The parts of each path fit together, and its energy and labels are theirs."""
    for path in paths:
        arcs = path.arcs
        assert (graph.destination[arcs[:-1]] == graph.source[arcs[1:]]).all()
        for labels, along in (
            (graph.input_labels, path.input_labels),
            (graph.output_labels, path.output_labels),
        ):
            assert [label for label in labels[arcs].tolist() if label != -1] == along
        if len(arcs):
            ends = graph.initial[graph.source[arcs[0]]] + graph.final[graph.destination[arcs[-1]]]
            assert float(path.energy) == pytest.approx(float(ends + graph.energies[arcs].sum()), abs=1e-9)
    taken = [
        (tuple(path.arcs.tolist()), energy) for path, energy in zip(paths, energies_of(paths), strict=True)
    ]
    assert len({arcs for arcs, _ in taken if arcs}) == sum(1 for arcs, _ in taken if arcs)


class TestAllPaths:
    @settings(max_examples=200, deadline=None)
    @given(graphs(energies=st.one_of(ENERGIES, FEW_ENERGIES)), st.integers(0, 20))
    def test_are_the_least_of_all(self, graph, count):
        paths = best_paths(graph, count)
        every = sorted(walk.energy for walk in walks(graph))
        assert energies_of(paths) == pytest.approx(every[:count], abs=1e-9)
        check_are_paths(graph, paths)

    @settings(max_examples=200, deadline=None)
    @given(graphs(acyclic=False, energies=NOT_NEGATIVE, most_states=3, most_arcs=4), st.integers(1, 8))
    def test_are_the_least_of_all_round_cycles(self, graph, count):
        every = sorted(walk.energy for walk in walks(graph, most_arcs=5))
        paths = best_paths(graph, count)
        # What is longer than was enumerated may be as cheap, or cheaper where a cycle costs nothing.
        for path, energy in zip(paths, every, strict=False):
            assert float(path.energy) <= energy + 1e-9
        short = [float(path.energy) for path in paths if len(path.arcs) <= 5]
        assert short == pytest.approx(every[: len(short)], abs=1e-9) or len(short) < len(paths)
        assert len(paths) >= min(count, len(every))
        check_are_paths(graph, paths)

    @settings(max_examples=100, deadline=None)
    @given(graphs(energies=FEW_ENERGIES), st.integers(1, 10), st.integers(1, 10))
    def test_fewer_are_the_first_of_more(self, graph, few, more):
        more = max(few, more)
        energies = energies_of(best_paths(graph, more))
        assert energies == sorted(energies)
        assert energies_of(best_paths(graph, few)) == pytest.approx(energies[:few], abs=1e-9)
        assert [p.arcs.tolist() for p in best_paths(graph, more)] == [
            p.arcs.tolist() for p in best_paths(graph, more)
        ]

    @settings(max_examples=100, deadline=None)
    @given(graphs(acyclic=False, energies=NOT_NEGATIVE))
    def test_the_first_is_the_best_path(self, graph):
        best, paths = best_path(graph), best_paths(graph, 1)
        # Of paths that differ by rounding alone, either may be the best.
        assert energies_of(paths) == pytest.approx([] if best is None else [float(best.energy)], abs=1e-9)

    def test_of_a_graph_with_more_paths_than_can_be_counted(self):
        # 200 steps of 0 or 2⁻ᵏ: the energies are the multiples of the smallest step.
        source = np.repeat(np.arange(40), 2)
        energies = torch.zeros(80, dtype=torch.float64)
        energies[1::2] = 2.0 ** torch.arange(40)
        graph = Graph(Structure(source, source + 1, np.tile([0, 1], 40)), energies)
        paths = best_paths(graph, 3_000)
        assert energies_of(paths) == list(range(3_000))
        assert [sum(1 << k for k, bit in enumerate(path.input_labels) if bit) for path in paths[:50]] == list(
            range(50)
        )


class TestUnique:
    @settings(max_examples=200, deadline=None)
    @given(graphs(energies=st.one_of(ENERGIES, FEW_ENERGIES)), st.integers(0, 20))
    def test_are_the_best_of_each_string(self, graph, count):
        paths = best_paths(graph, count, unique=True)
        best_of = {strings: energies[0] for strings, energies in language(walks(graph)).items()}
        assert energies_of(paths) == pytest.approx(sorted(best_of.values())[:count], abs=1e-9)
        found = {(tuple(path.input_labels), tuple(path.output_labels)): float(path.energy) for path in paths}
        assert len(found) == len(paths)
        assert all(best_of[strings] == pytest.approx(energy, abs=1e-9) for strings, energy in found.items())
        check_are_paths(graph, paths)

    @settings(max_examples=200, deadline=None)
    @given(graphs(acyclic=False, energies=NOT_NEGATIVE, most_states=3, most_arcs=4), st.integers(1, 8))
    def test_round_cycles(self, graph, count):
        paths = best_paths(graph, count, unique=True)
        energies = energies_of(paths)
        assert energies == sorted(energies)
        assert len({(tuple(path.input_labels), tuple(path.output_labels)) for path in paths}) == len(paths)
        check_are_paths(graph, paths)
        best_of = {strings: found[0] for strings, found in language(walks(graph, most_arcs=5)).items()}
        for energy, least in zip(energies, sorted(best_of.values()), strict=False):
            assert energy <= least + 1e-9
        for path in paths:
            strings = tuple(path.input_labels), tuple(path.output_labels)
            assert float(path.energy) <= best_of.get(strings, math.inf) + 1e-9

    def test_of_two_strings_with_countless_paths_each(self):
        # 2⁶⁰ paths read each of the two strings: no listing of paths would come to the second one.
        source = np.concatenate([np.repeat(np.arange(60), 2), [60, 60]])
        energies = torch.rand(122, generator=torch.Generator().manual_seed(0))
        energies[-1] = 100.0
        graph = Graph(Structure(source, source + 1, [0] * 121 + [1]), energies)
        first, second = best_paths(graph, 3, unique=True)
        assert (first.input_labels[-1], second.input_labels[-1]) == (0, 1)
        assert float(first.energy) == pytest.approx(float(best_path(graph).energy))
        assert first.arcs[:60].tolist() == second.arcs[:60].tolist()

    def test_of_strings_that_are_read_and_written_in_countless_orders(self):
        # A grid of 20 by 20: to the right is to read, down to write; one more arc writes another end.
        right, down = np.arange(441)[np.arange(441) % 21 < 20], np.arange(420)
        source = np.concatenate([right, down, [440, 440]])
        destination = np.concatenate([right + 1, down + 21, [441, 441]])
        labels = np.zeros((2, len(source)), np.int64) - 1
        labels[0, : len(right)], labels[1, len(right) : -2], labels[1, -2:] = 0, 1, (2, 3)
        energies = torch.rand(len(source), generator=torch.Generator().manual_seed(0))
        first, second = best_paths(Graph(Structure(source, destination, *labels), energies), 3, unique=True)
        assert first.input_labels == second.input_labels == [0] * 20
        assert {first.output_labels[-1], second.output_labels[-1]} == {2, 3}
        assert first.output_labels[:-1] == second.output_labels[:-1] == [1] * 20

    def test_where_everything_costs_the_same(self):
        rng = np.random.default_rng(0)
        source = np.repeat(np.arange(200), 8)
        graph = Graph(
            Structure(source, np.minimum(source + rng.integers(1, 4, 1600), 200), rng.integers(0, 5, 1600)),
            torch.full((1600,), 0.1, dtype=torch.float64),
        )
        paths = best_paths(graph, 50, unique=True)
        assert len({tuple(path.input_labels) for path in paths}) == 50

    def test_a_cycle_for_nothing_is_not_gone_round_for_ever(self):
        graph = Graph(Structure([0, 0, 0], [0, 0, 1], [0, -1, 1]), torch.tensor([0.0, 0.0, 1.0]))
        assert [path.input_labels for path in best_paths(graph, 3, unique=True)] == [[1], [0, 1], [0, 0, 1]]


def random_graph(rng, cyclic):
    """Several states to begin in, dead ends, epsilons, energies of +inf, cycles of energy ≥ 0 if wanted."""
    states, arcs = int(rng.integers(1, 8)), int(rng.integers(0, 16))
    ends = (
        np.sort(rng.integers(0, states, (2, arcs)), axis=0)
        if not cyclic
        else rng.integers(0, states, (2, arcs))
    )
    keep = ends[0] != ends[1] if not cyclic else slice(None)
    source, destination = ends[0][keep], ends[1][keep]
    energies = rng.integers(0, 1000, (3, 32)) / 100.0
    energies[rng.random((3, 32)) < 0.2] = math.inf
    labels = rng.integers(-1, 3, len(source))
    parts = energies[0, : len(source)], energies[1, :states], energies[2, :states]
    return Graph(
        Structure(source, destination, labels, states=states), *(torch.tensor(part) for part in parts)
    )


@pytest.mark.parametrize("cyclic", [False, True])
def test_energies_of_strings_are_those_of_openfst(cyclic):
    rng = np.random.default_rng(0)
    for _ in range(200):
        graph = random_graph(rng, cyclic)
        theirs = to_openfst(connect(graph), "standard").rmepsilon()  # arcs of +inf are arcs there
        theirs = pynini.shortestpath(theirs, nshortest=7, unique=True)
        expected = sorted(float(weight) for *_, weight in theirs.paths().items())
        assert energies_of(best_paths(graph, 7, unique=True)) == pytest.approx(expected, abs=1e-4)


def test_energies_are_differentiable():
    graph = Graph(
        Structure([0, 0, 1, 1], [1, 1, 1, 2], [0, 1, 2, 3]),
        torch.tensor([0.0, 0.5, 1.0, 0.0], dtype=torch.float64),
        final=torch.tensor([math.inf, 5.0, 0.0], dtype=torch.float64),
    )
    parts = requiring_grad(graph)
    paths = best_paths(graph.with_energies(*parts), 4)
    (weights,) = torch.autograd.grad(sum(k * path.energy for k, path in enumerate(paths)), parts[0])
    along = np.zeros(4)
    for k, path in enumerate(paths):
        np.add.at(along, path.arcs, k)
    assert weights.tolist() == along.tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_energies_come_in_the_dtype_of_the_graph(dtype):
    graph = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([0.5, 1.5], dtype=dtype))
    for unique in (False, True):
        assert [path.energy.dtype for path in best_paths(graph, 5, unique=unique)] == [dtype] * 2


def test_bad_input_is_refused():
    with pytest.raises(GraphError, match="-1 paths"):
        best_paths(Graph.linear([0]), -1)
    with pytest.raises(GraphError, match="energy 1 of 2 is nan"):
        best_paths(Graph.linear([0, 1]).with_energies(torch.tensor([0.0, math.nan])), 1)
    with pytest.raises(CycleError, match="state 1"):
        best_paths(Graph(Structure([0, 1, 1], [1, 1, 2], [0, 1, 2]), torch.tensor([0.0, -1.0, 0.0])), 1)


@pytest.mark.parametrize("unique", [False, True])
def test_no_path(unique):
    for graph in (Graph(Structure([], [], [], states=0)), Graph(Structure([0], [1], [0], states=3))):
        assert best_paths(graph, 3, unique=unique) == []
    assert best_paths(Graph.linear([0]), 0, unique=unique) == []
