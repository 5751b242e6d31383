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
from gtn_ebm.ops.pruning import prune
from tests.enumeration import graphs, language, requiring_grad, same_language, walks

NOT_NEGATIVE = st.one_of(st.floats(0.0, 3.0, allow_subnormal=False), st.sampled_from([0.0, 0.5, math.inf]))
QUARTERS = st.one_of(st.integers(0, 12).map(lambda k: k / 4), st.just(math.inf))
"""Energies whose sums are exact: of others, those within rounding of the limit are kept, more in a graph of
greater energies."""


@settings(max_examples=200, deadline=None)
@given(graphs(), st.floats(0.0, 5.0))
def test_keeps_what_is_on_paths_within_the_threshold(graph, threshold):
    every = walks(graph)
    pruned = prune(graph, threshold)
    least = min((walk.energy for walk in every), default=0.0)
    within = [walk for walk in every if walk.energy <= least + threshold + 1e-9]
    on_limit = [walk for walk in within if walk.energy > least + threshold - 1e-9]
    if on_limit and threshold > 0:
        return
    assert set(pruned.arc_maps[0].tolist()) == {arc for walk in within for arc in walk.arcs}
    assert int((pruned.initial < math.inf).sum()) == len({walk.first for walk in within})
    assert int((pruned.final < math.inf).sum()) == len({walk.last for walk in within})
    kept = [walk for walk in walks(pruned) if walk.energy <= least + threshold + 1e-9]
    assert same_language(language(kept), language(within))


@settings(max_examples=100, deadline=None)
@given(graphs(acyclic=False, energies=NOT_NEGATIVE), st.integers(0, 5), st.none() | st.floats(0.0, 2.0))
def test_keeps_so_many_states_and_the_best_path_first(graph, most, threshold):
    best, pruned = best_path(graph), prune(graph, threshold, keep_states=most)
    assert pruned.states <= most
    assert connect(pruned).states == pruned.states
    if best is None:
        assert pruned.states == 0
    elif pruned.states:
        assert float(best_path(pruned).energy) == float(best.energy)
    else:
        # Any of the paths that are as good as the best may be the one that was too long.
        equals = [path for path in best_paths(graph, 100) if path.energy <= best.energy + 1e-9]
        assert any(len(path.arcs) >= most for path in equals)


@settings(max_examples=100, deadline=None)
@given(graphs(acyclic=False, energies=QUARTERS), st.integers(0, 8).map(lambda k: k / 4))
def test_nothing_is_left_to_prune(graph, threshold):
    once = prune(graph, threshold)
    twice = prune(once, threshold)
    assert (twice.states, twice.arcs) == (once.states, once.arcs)
    everything = prune(graph)
    assert everything.arc_maps[0].tolist() == connect(graph).arc_maps[0].tolist()


@pytest.mark.parametrize("cyclic", [False, True])
def test_keeps_what_openfst_keeps(cyclic):
    rng = np.random.default_rng(0)
    for _ in range(200):
        graph, threshold = connect(random_graph(rng, cyclic)), float(rng.integers(0, 9)) / 4
        theirs = pynini.prune(to_openfst(graph, "standard"), weight=threshold)
        assert parts_of(to_openfst(prune(graph, threshold), "standard").connect()) == parts_of(theirs)


def random_graph(rng, cyclic):
    """Dead ends, epsilons, energies of +inf, cycles of energy ≥ 0 if wanted."""
    states, arcs = int(rng.integers(1, 8)), int(rng.integers(0, 20))
    ends = rng.integers(0, states, (2, arcs))
    if not cyclic:
        ends = np.sort(ends, axis=0)[:, ends[0] != ends[1]]
    energies = torch.from_numpy(rng.integers(0, 16, (2, 32)) / 4.0)  # their sums are exact
    energies[torch.from_numpy(rng.random((2, 32)) < 0.2)] = math.inf
    structure = Structure(*ends, rng.integers(-1, 3, ends.shape[1]), states=states)
    return Graph(structure, energies[0, : ends.shape[1]], [0], energies[1, :states])


def parts_of(fst):
    """How many states there are; what arcs and ends there are, whatever the numbers of the states."""
    arcs = [(a.ilabel, a.olabel, float(a.weight)) for state in fst.states() for a in fst.arcs(state)]
    ends = [float(fst.final(state)) for state in fst.states() if float(fst.final(state)) < math.inf]
    return fst.num_states(), sorted(arcs), sorted(ends)


def test_states_are_kept_by_whole_paths():
    # Two ways of three states each around the best one, of the same energy.
    structure = Structure([0, 0, 0, 1, 2, 3, 4, 5, 6], [7, 1, 4, 2, 3, 7, 5, 6, 7], list(range(9)))
    energies = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    graph = Graph(structure, energies)
    assert [prune(graph, keep_states=most).states for most in range(9)] == [0, 0, 2, 2, 2, 5, 5, 5, 8]


def test_attributes_symbols_and_gradients_go_along():
    graph = Graph(Structure([0, 0, 1], [1, 1, 2], [0, 1, 2]), torch.tensor([0.0, 5.0, 1.0]))
    parts = requiring_grad(graph)
    pruned = prune(graph.with_attributes(names=["a", "b", "c"]).with_energies(*parts), 1.0)
    assert pruned.attributes["names"] == ["a", "c"]
    (pruned.energies * torch.tensor([2.0, 3.0])).sum().backward()
    assert parts[0].grad.tolist() == [2.0, 0.0, 3.0]


def test_the_best_path_stays_however_sums_are_rounded():
    rng = np.random.default_rng(0)
    source = np.repeat(np.arange(20_000), 3)
    structure = Structure(
        source, np.minimum(source + rng.integers(1, 4, 60_000), 20_000), rng.integers(0, 9, 60_000)
    )
    graph = Graph(structure, torch.from_numpy(rng.standard_normal(60_000).astype(np.float32)))
    path = best_path(graph)
    assert np.isin(path.arcs, prune(graph, 0.0).arc_maps[0]).all()


def test_bad_input_is_refused():
    graph = Graph.linear([0])
    with pytest.raises(GraphError, match="threshold must not be negative"):
        prune(graph, -1.0)
    with pytest.raises(GraphError, match="threshold must not be negative"):
        prune(graph, math.nan)
    with pytest.raises(GraphError, match="-1 states"):
        prune(graph, keep_states=-1)
    with pytest.raises(GraphError, match="energy 0 of 1 is nan"):
        prune(graph.with_energies(torch.tensor([torch.nan])), 1.0)
    with pytest.raises(CycleError, match="state 0 has a negative energy of -1"):
        prune(Graph(Structure([0, 0], [0, 1], [0, 1]), torch.tensor([-1.0, 0.0])), 1.0)
    assert prune(Graph(Structure([], [], [], states=0)), 1.0, 3).states == 0
