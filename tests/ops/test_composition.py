import math
from collections import Counter

import numpy as np
import pynini
import pytest
import torch
from hypothesis import given, settings

from benchmarks.openfst import sum_over_paths, to_openfst
from gtn_ebm import EPSILON, Graph, GraphError, Structure, Symbols, compose, free_energy, intersect
from tests.enumeration import FINITE_ENERGIES, graphs, language, same_language, walks


def composed_by_hand(first: Graph, second: Graph) -> Counter:
    """(arcs of first, arcs of second, inputs, outputs, energy) of every pair of paths that match."""
    return Counter(
        (one.arcs, two.arcs, one.inputs, two.outputs, round(one.energy + two.energy, 6))
        for one in walks(first)
        for two in walks(second)
        if one.outputs == two.inputs
    )


def traced_back(graph: Graph) -> Counter:
    """The same of the paths of a composed graph, by its arc maps."""
    return Counter(
        (
            *(_stems(arcs, walk.arcs) for arcs in graph.arc_maps),
            walk.inputs,
            walk.outputs,
            round(walk.energy, 6),
        )
        for walk in walks(graph)
    )


def _stems(arc_map: np.ndarray, arcs: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(arc_map[arc]) for arc in arcs if arc_map[arc] >= 0)


@settings(max_examples=400, deadline=None)
@given(graphs(), graphs())
def test_each_pair_of_matching_paths_makes_exactly_one(first, second):
    assert traced_back(compose(first, second)) == composed_by_hand(first, second)


@settings(max_examples=200, deadline=None)
@given(graphs(energies=FINITE_ENERGIES), graphs(energies=FINITE_ENERGIES))
def test_every_state_and_arc_lies_on_a_path(first, second):
    composed = compose(first, second)
    found = walks(composed)
    assert {arc for walk in found for arc in walk.arcs} == set(range(composed.arcs))
    on_paths = {int(composed.destination[arc]) for walk in found for arc in walk.arcs}
    assert on_paths | {walk.first for walk in found} == set(range(composed.states))


@settings(max_examples=100, deadline=None)
@given(graphs(acceptor=True), graphs(acceptor=True))
def test_intersection(first, second):
    both = intersect(first, second)
    assert both.is_acceptor
    assert traced_back(both) == composed_by_hand(first, second)


def test_intersect_refuses_transducers():
    acceptor, transducer = Graph.linear([0]), Graph.linear([0], [1])
    with pytest.raises(GraphError, match="second graph is a transducer"):
        intersect(acceptor, transducer)
    with pytest.raises(GraphError, match="first graph is a transducer"):
        intersect(transducer, acceptor)


def test_epsilons_on_both_sides_make_one_path():
    # a:ε ∘ ε:b: k2 has two paths here.
    deleting, inserting = Graph.linear([0], [EPSILON]), Graph.linear([EPSILON], [1])
    assert language(walks(compose(deleting, inserting))) == {((0,), (1,)): [0.0]}
    assert float(free_energy(compose(deleting, inserting))) == 0.0


def test_many_arcs_of_one_state_with_and_without_partners():
    # Labels far apart on one side, so that the search in the other side leaps.
    wide = Structure([0] * 1000, [1] * 1000, np.arange(1000))
    few = Structure([0] * 4, [1] * 4, [0, 7, 500, 999])
    assert sorted(compose(Graph(wide), Graph(few)).input_labels.tolist()) == [0, 7, 500, 999]
    assert sorted(compose(Graph(few), Graph(wide)).input_labels.tolist()) == [0, 7, 500, 999]


def test_labels_too_sparse_to_count():
    sparse = Structure([0, 0, 0], [1, 1, 1], [2**31 - 1, 5, 10**9])
    composed = compose(Graph(sparse), Graph.linear([10**9]))
    assert composed.arc_maps[0].tolist() == [2]


def test_complete_graphs_grow_past_every_first_guess():
    rng = np.random.default_rng(0)
    layers, width, fan_out = 5, 12, 24
    source = np.repeat(np.arange(layers * width), fan_out)
    both = []
    for _ in range(2):
        destination = (source // width + 1) * width + rng.integers(0, width, len(source))
        structure = Structure(
            source, destination, rng.integers(-1, 3, len(source)), states=(layers + 1) * width
        )
        both.append(Graph(structure, torch.from_numpy(rng.standard_normal(len(source)))))
    theirs = pynini.compose(to_openfst(both[0]).arcsort("olabel"), to_openfst(both[1]))
    composed = compose(*both)
    assert composed.arcs > 8 * (both[0].arcs + both[1].arcs)
    assert float(free_energy(composed)) == pytest.approx(sum_over_paths(theirs), abs=1e-5)


def test_lists_are_composed_one_by_one_and_a_single_graph_with_each():
    rng = np.random.default_rng(1)
    some = [Graph.linear(rng.integers(0, 2, 4)) for _ in range(5)]
    grammar = Graph(Structure([0, 0], [0, 0], [0, 1], [1, 0]), torch.tensor([1.0, 2.0]), final=[0])
    for both in (compose(some, grammar), compose(some, [grammar] * 5)):
        assert [language(walks(g)) for g in both] == [language(walks(compose(g, grammar))) for g in some]
    assert [language(walks(g)) for g in compose(grammar, some)] == [
        language(walks(compose(grammar, g))) for g in some
    ]
    assert compose([], grammar) == []
    with pytest.raises(GraphError, match="lists of 5 and 2"):
        compose(some, some[:2])


def test_lists_are_intersected_one_by_one_and_a_single_graph_with_each():
    graph, others = (
        Graph.linear([0, 1]),
        [Graph.linear([0, 1], energies=torch.tensor([1.0, 2.0])), Graph.linear([1])],
    )
    for found in (intersect(graph, others), intersect(others, graph), intersect(others, [graph] * 2)):
        assert [one.arcs for one in found] == [2, 0]
        assert found[0].energies.tolist() == [1.0, 2.0]
    transducer = Graph.linear([0], [1])
    with pytest.raises(GraphError, match="graph 1 of the second list is a transducer"):
        intersect(graph, [graph, transducer])


def test_energies_of_inf_stay_so():
    first = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([math.inf, 1.0]))
    composed = compose(first, Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([2.0, 3.0])))
    assert sorted(composed.energies.tolist()) == [4.0, math.inf]


def test_bad_pairs_are_refused():
    graph = Graph.linear([0])
    with pytest.raises(GraphError, match=r"float32 with energies in torch\.float64"):
        compose(graph, graph.to(torch.float64))
    with pytest.raises(GraphError, match="output symbols are not"):
        compose(graph.with_symbols(Symbols("a")), graph.with_symbols(Symbols("b")))
    with pytest.raises(GraphError, match="attribute 'span'"):
        compose(graph.with_attributes(span=[1]), graph.with_attributes(span=[2]))


def test_symbols_and_attributes_of_both_are_kept():
    first = Graph.linear(
        [0], [1], input_symbols=Symbols("a"), output_symbols=Symbols("xy"), attributes={"frame": [3]}
    )
    second = Graph.linear(
        [1, EPSILON], input_symbols=Symbols("xy"), attributes={"score": torch.tensor([1, 2])}
    )
    composed = compose(first, second)
    assert (composed.input_symbols, composed.output_symbols) == (Symbols("a"), Symbols("xy"))
    by_second = dict(zip(composed.arc_maps[1].tolist(), range(composed.arcs), strict=True))
    assert [composed.attributes["frame"][by_second[k]] for k in (0, 1)] == [3, None]
    assert [int(composed.attributes["score"][by_second[k]]) for k in (0, 1)] == [1, 2]


@settings(max_examples=30, deadline=None)
@given(graphs(energies=FINITE_ENERGIES), graphs(energies=FINITE_ENERGIES))
def test_gradients_flow_to_both(first, second):
    parts = [
        p.detach().clone().requires_grad_() for g in (first, second) for p in (g.energies, g.initial, g.final)
    ]
    ends = [torch.isfinite(p) for p in parts]

    def total(*given):
        # Ends at +inf have no numerical derivative; they are held.
        moved = [torch.where(finite, p, torch.inf) for p, finite in zip(given, ends, strict=True)]
        return free_energy(compose(first.with_energies(*moved[:3]), second.with_energies(*moved[3:])))

    if not math.isinf(float(total(*parts).detach())):
        given_parts = [
            torch.where(f, p.detach(), 0.0).requires_grad_() for p, f in zip(parts, ends, strict=True)
        ]
        assert torch.autograd.gradcheck(total, given_parts)
        assert torch.autograd.gradgradcheck(total, given_parts)


def test_same_language_tells_twice_from_once():
    once = Graph(Structure([0], [1], [0]))
    twice = Graph(Structure([0, 0], [1, 1], [0, 0]))
    assert not same_language(language(walks(once)), language(walks(twice)))


def test_more_states_than_allowed_are_refused():
    # Every pair of two loops over the same label is reached: 30 · 31 states.
    loops = [
        Graph(Structure(np.arange(n), (np.arange(n) + 1) % n, np.zeros(n, np.int32)), final=[0])
        for n in (30, 31)
    ]
    assert compose(*loops, max_states=930).states == 930
    with pytest.raises(GraphError, match="states or more, more than the 929 that max_states allows"):
        compose(*loops, max_states=929)
    with pytest.raises(GraphError, match="max_states"):
        intersect(*loops, max_states=0)
    with pytest.raises(GraphError, match="max_states"):
        compose(loops[:1], loops[1:], max_states=100)


def test_states_are_counted_before_the_memory_is_taken():
    everywhere = Graph(Structure([], [], [], states=100_000), initial=range(100_000))
    with pytest.raises(GraphError, match="10000000000 states or more"):
        compose(everywhere, everywhere, max_states=1_000_000)


@settings(max_examples=60, deadline=None)
@given(graphs(most_arcs=6), graphs(most_arcs=6), graphs(most_arcs=6))
def test_composition_is_associative(first, second, third):
    left, right = compose(compose(first, second), third), compose(first, compose(second, third))
    assert same_language(language(walks(left)), language(walks(right)))
