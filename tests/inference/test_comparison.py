import itertools
import math

import numpy as np
import pynini
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from benchmarks.openfst import to_openfst
from gtn_ebm import CycleError, Graph, GraphError, Structure, Symbols, closure, concat, connect, union
from gtn_ebm.inference.comparison import equal, equivalent, isomorphic, random_equivalent
from gtn_ebm.ops.determinization import determinize
from gtn_ebm.ops.epsilons import remove_epsilons
from gtn_ebm.ops.minimization import minimize
from gtn_ebm.ops.reversal import reverse
from tests.enumeration import graphs, language, walks
from tests.ops.test_minimization import deterministic

# As many graphs as that, those without a path left out.
OPENFST = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])

FEW_ENERGIES = st.sampled_from([0.0, 1.0])
HIGH_ENERGIES = st.sampled_from([3.0, 4.0])


def renumbered(graph: Graph, seed: int) -> Graph:
    """The same graph, states and arcs in another order."""
    rng = np.random.default_rng(seed)
    states, arcs = rng.permutation(graph.states), rng.permutation(graph.arcs)
    number = np.argsort(states).astype(np.int64)
    old = graph.structure
    structure = Structure(
        number[old.source[arcs]],
        number[old.destination[arcs]],
        old.input_labels[arcs],
        old.output_labels[arcs],
        old.states,
    )
    return Graph(structure, graph.energies[arcs], graph.initial[states], graph.final[states])


def with_other_energy(graph: Graph, arc: int) -> Graph:
    return graph.with_energies(graph.energies + torch.nn.functional.one_hot(torch.tensor(arc), graph.arcs))


def accepted(graph: Graph, beta: float) -> dict:
    """F_β of each pair of strings of an acyclic graph."""
    sums = {}
    for strings, energies in language(walks(graph)).items():
        values = np.array(energies)
        sums[strings] = values.min() if beta == math.inf else -np.logaddexp.reduce(-beta * values) / beta
    return sums


def same(one: dict, two: dict) -> bool:
    return one.keys() == two.keys() and all(abs(one[strings] - two[strings]) < 1e-6 for strings in one)


# Equal


@settings(max_examples=200, deadline=None)
@given(graphs(acyclic=False, energies=FEW_ENERGIES), st.randoms(use_true_random=False))
def test_equal_is_openfsts(graph, random):
    graph = Graph(graph.structure, graph.energies)
    moved = graph.energies + torch.tensor([random.choice([0.0, 1e-4, 0.01]) for _ in range(graph.arcs)])
    other = graph.with_energies(moved.double())
    assert equal(graph, other) == pynini.equal(to_openfst(graph), to_openfst(other))
    assert equal(graph, graph)
    if random.random() < 0.5:
        other = renumbered(graph, 0)
        assert equal(graph, other) == pynini.equal(to_openfst(graph), to_openfst(other))


@settings(max_examples=100, deadline=None)
@given(graphs(acyclic=False), st.sampled_from(["energies", "initial", "final"]))
def test_one_other_energy_is_not_equal(graph, part):
    values = getattr(graph, part)
    assume(len(values))
    for changed in (0.01, math.inf):
        parts = {name: getattr(graph, name) for name in ("energies", "initial", "final")}
        parts[part] = torch.cat([values[:1] + changed, values[1:]])
        assert equal(graph, graph.with_energies(**parts)) == (float(values[0]) == math.inf)


def test_equal_takes_the_arcs_of_each_state_in_order():
    one = Structure([0, 1, 0], [1, 1, 1], [5, 6, 7])
    assert equal(Graph(one), Graph(Structure([1, 0, 0], [1, 1, 1], [6, 5, 7])))
    assert not equal(Graph(one), Graph(Structure([0, 1, 0], [1, 1, 1], [7, 6, 5])))
    assert not equal(Graph.linear([0]), Graph.linear([0], [1]))
    assert not equal(Graph.linear([0]), Graph.linear([0, 0]))


# Isomorphic


def isomorphic_by_hand(one: Graph, two: Graph) -> bool:
    """By trying every renumbering of the states."""

    def arcs(graph: Graph, number: tuple[int, ...]) -> list:
        columns = (graph.source, graph.destination, graph.input_labels, graph.output_labels, graph.energies)
        return sorted(
            (number[p], number[q], i, o, e)
            for p, q, i, o, e in zip(*(c.tolist() for c in columns), strict=True)
        )

    def ends(graph: Graph, number: tuple[int, ...]) -> list:
        return sorted(zip(number, graph.initial.tolist(), graph.final.tolist(), strict=True))

    first = tuple(range(one.states))
    return one.states == two.states and any(
        arcs(one, first) == arcs(two, number) and ends(one, first) == ends(two, number)
        for number in itertools.permutations(range(two.states))
    )


SMALL = {"most_states": 4, "most_arcs": 4, "energies": st.sampled_from([0.0, math.inf]), "acceptor": True}


@settings(max_examples=200, deadline=None)
@given(graphs(acyclic=False), st.integers(0, 99))
def test_a_renumbered_graph_is_isomorphic(graph, seed):
    assert isomorphic(graph, renumbered(graph, seed))


@settings(max_examples=300, deadline=None)
@given(graphs(acyclic=False, **SMALL), graphs(acyclic=False, **SMALL))
def test_isomorphic_is_what_some_renumbering_shows(one, two):
    assert isomorphic(one, two) == isomorphic_by_hand(one, two)


@OPENFST
@given(deterministic(acyclic=False, energies=FEW_ENERGIES, most_states=4).map(connect), st.data())
def test_isomorphic_is_openfsts(graph, data):
    assume(graph.arcs)
    graph = graph.with_energies(graph.energies, graph.initial.masked_fill(graph.initial < math.inf, 0.0))
    other = renumbered(graph, 1)
    if data.draw(st.booleans()):
        other = with_other_energy(other, data.draw(st.integers(0, graph.arcs - 1)))
    # OpenFst numbers states as they are reached; ours may begin anywhere.
    assert isomorphic(graph, other) == pynini.isomorphic(to_openfst(graph), to_openfst(other))


def test_graphs_that_look_alike_everywhere():
    # Six states in one ring or in two: every state has one arc in and one out.
    ring = Structure(range(6), [1, 2, 3, 4, 5, 0], [0] * 6)
    rings = Structure(range(6), [1, 2, 0, 4, 5, 3], [0] * 6)
    one, two = (Graph(s, initial=range(6), final=range(6)) for s in (ring, rings))
    assert not isomorphic(one, two)
    for graph in (one, two):
        assert isomorphic(graph, renumbered(graph, 3))


def test_many_parts_that_look_alike_are_paired_without_trying_all():
    part = Graph.linear([0, 1, 0])
    many = union(*[part] * 40)
    assert isomorphic(many, renumbered(many, 4))


def test_a_long_chain_is_compared_at_once():
    chain = Graph.linear(np.zeros(20_000, np.int32))
    assert isomorphic(chain, renumbered(chain, 5))
    longer = Graph.linear(np.eye(1, 20_000, 10_000, dtype=np.int32)[0])
    assert not isomorphic(chain, longer)


# Equivalent


TINY = {"acceptor": True, "energies": FEW_ENERGIES, "most_states": 4, "most_arcs": 5}


@settings(max_examples=300, deadline=None)
@given(graphs(**TINY), graphs(**TINY), st.sampled_from([0.5, 1.0, math.inf]))
def test_equivalent_graphs_accept_the_same(one, two, beta):
    assert equivalent(one, two, beta, delta=1e-6) == same(accepted(one, beta), accepted(two, beta))


@settings(max_examples=200, deadline=None)
@given(graphs(**TINY), st.sampled_from([1.0, math.inf]), st.data())
def test_graphs_rewritten_are_equivalent_until_an_energy_changes(graph, beta, data):
    rewrite = data.draw(
        st.sampled_from(
            [
                lambda g: renumbered(g, 1),
                lambda g: remove_epsilons(g, beta),
                lambda g: determinize(remove_epsilons(g, beta), beta),
                lambda g: minimize(determinize(remove_epsilons(g, beta), beta), beta, delta=1e-6),
                lambda g: reverse(determinize(remove_epsilons(reverse(g), beta), beta)),
            ]
        )
    )
    other = rewrite(graph)
    assert equivalent(graph, other, beta, delta=1e-4)
    if graph.arcs:
        changed = with_other_energy(graph, data.draw(st.integers(0, graph.arcs - 1)))
        expected = same(accepted(graph, beta), accepted(changed, beta))
        assert equivalent(changed, other, beta, delta=1e-4) == expected


@OPENFST
@given(deterministic(acyclic=False, energies=FEW_ENERGIES, most_states=4, least_label=0), st.data())
def test_equivalent_is_openfsts(graph, data):
    graph = connect(graph)
    assume(graph.arcs)
    graph = graph.with_energies(graph.energies, graph.initial.masked_fill(graph.initial < math.inf, 0.0))
    other = minimize(graph, math.inf)
    if data.draw(st.booleans()):
        other = with_other_energy(other, data.draw(st.integers(0, other.arcs - 1)))
    # In the tropical semiring, where OpenFst can push whatever the cycles; the start it needs for our initial
    # energy has an epsilon arc, which it counts as a label: the energy goes on the arcs and final energies.
    total = other.initial[other.initial < math.inf]
    theirs = to_openfst(other.with_energies(other.energies, other.initial - total), "standard")
    fits = abs(float(total)) < 1e-6
    for beta in (1.0, math.inf):
        found = equivalent(graph, other, beta)
        if fits:
            assert found == pynini.equivalent(to_openfst(graph, "standard"), theirs)


@settings(max_examples=150, deadline=None)
@given(
    graphs(acyclic=False, acceptor=True, energies=HIGH_ENERGIES, most_states=3, most_arcs=4),
    st.integers(0, 3),
)
def test_equivalence_with_cycles_is_decided_by_spaces(graph, arc):
    # Twice the same way at log 2 more is once the way, wherever the arc stands.
    assume(arc < graph.arcs)
    old = graph.structure
    columns = (old.source, old.destination, old.input_labels)
    doubled = Structure(*(np.append(column, column[arc]) for column in columns), states=old.states)
    more = torch.zeros(graph.arcs, dtype=torch.float64)
    more[arc] = math.log(2)
    energies = graph.energies + more
    split = Graph(doubled, torch.cat([energies, energies[arc : arc + 1]]), graph.initial, graph.final)
    assert equivalent(graph, split, delta=1e-6)
    on_a_path = connect(graph).arc_maps[0]
    assert equivalent(graph, with_other_energy(graph, arc), delta=1e-6) == (arc not in on_a_path)


def test_a_difference_deep_in_a_cyclic_graph_is_found():
    # (ab)* twice round and once round differ in what every second round costs.
    once = Structure([0, 1], [1, 0], [0, 1])
    twice = Structure([0, 1, 2, 3], [1, 2, 3, 0], [0, 1, 0, 1])
    one = Graph(once, torch.tensor([1.0, 1.0]), final=[0])
    for last, expected in ((1.0, True), (1.1, False)):
        two = Graph(twice, torch.tensor([1.0, 1.0, 1.0, last]), final=[0, 2])
        doubled = union(two, two)
        halves = doubled.with_energies(doubled.energies, doubled.initial + math.log(2))
        for beta, other in ((1.0, two), (math.inf, two), (1.0, halves), (math.inf, doubled)):
            assert equivalent(one, other, beta) == expected


def test_sums_over_cycles_need_not_converge():
    loop = Graph(Structure([0, 0], [0, 0], [0, 1]), final=[0])
    rolled_out = concat(closure(Graph(Structure([0, 0], [1, 1], [0, 1]))), Graph.linear([]))
    assert equivalent(loop, rolled_out)
    assert not equivalent(loop, closure(Graph.linear([0])))


def test_energies_far_apart():
    chains = [Graph.linear([0] * 50, energies=torch.full((50,), value)) for value in (40.0, -40.0)]
    both = union(*chains)
    assert equivalent(both, union(*reversed(chains)))
    # The chain of 2000 more cannot be heard beside the other, but is the only one at the longer string.
    long, longer = (concat(chains[0], Graph.linear([1], energies=torch.tensor([e]))) for e in (0.0, 1.0))
    assert not equivalent(union(chains[1], long), union(chains[1], longer))


def test_empty_graphs_are_equivalent_to_each_other_alone():
    empty, dead = Graph(Structure([], [], [])), Graph(Structure([0], [1], [0]), final=[])
    word = Graph.linear([])
    for beta in (1.0, math.inf):
        assert equivalent(empty, dead, beta)
        assert not equivalent(empty, word, beta)
        assert equivalent(word, word, beta)
        assert not equivalent(word, Graph.linear([], initial=torch.tensor([1.0])), beta)


# Equivalent as far as random paths tell


@settings(max_examples=60, deadline=None)
@given(
    graphs(energies=FEW_ENERGIES, most_arcs=6), graphs(energies=FEW_ENERGIES, most_arcs=6), st.integers(0, 9)
)
def test_random_paths_show_differences(one, two, seed):
    generator = torch.Generator().manual_seed(seed)
    for other in (renumbered(one, seed), two):
        expected = same(accepted(one, 1.0), accepted(other, 1.0))
        # So small graphs have few paths, none of them rare.
        assert random_equivalent(one, other, count=200, generator=generator) == expected


@OPENFST
@given(graphs(energies=FEW_ENERGIES, most_arcs=5), st.data())
def test_random_equivalence_is_openfsts(graph, data):
    assume(connect(graph).states)
    other = renumbered(graph, 1)
    if graph.arcs and data.draw(st.booleans()):
        other = with_other_energy(other, data.draw(st.integers(0, graph.arcs - 1)))
    theirs = pynini.randequivalent(to_openfst(graph), to_openfst(other), npath=100, seed=1)
    assert random_equivalent(graph, other, count=100, generator=torch.Generator().manual_seed(1)) == theirs


@settings(max_examples=60, deadline=None)
@given(graphs(acyclic=False, energies=HIGH_ENERGIES, most_states=3, most_arcs=5), st.integers(0, 9))
def test_random_paths_show_no_difference_where_there_is_none(graph, seed):
    generator = torch.Generator().manual_seed(seed)
    assert random_equivalent(graph, renumbered(graph, seed), count=10, generator=generator)
    assert random_equivalent(graph, renumbered(graph, seed), math.inf, count=10, generator=generator)


# Bad input


def test_bad_input_is_refused():
    acceptor, transducer = Graph.linear([0]), Graph.linear([0], [1])
    with pytest.raises(GraphError, match="the second graph is a transducer"):
        equivalent(acceptor, transducer)
    names = acceptor.with_symbols(Symbols("a")), acceptor.with_symbols(Symbols("b"))
    for compare in (equal, isomorphic, equivalent, random_equivalent):
        with pytest.raises(GraphError, match="different input_symbols"):
            compare(*names)
    with pytest.raises(GraphError, match="delta must be positive"):
        isomorphic(acceptor, acceptor, delta=0.0)
    for compare in (equal, isomorphic, equivalent):
        for value in (math.nan, -math.inf):
            unusable = acceptor.with_energies(torch.tensor([value]))
            with pytest.raises(GraphError, match="energy 0 of 1 is"):
                compare(acceptor, unusable)
    divergent = Graph(Structure([0, 0], [0, 1], [-1, 0]))
    with pytest.raises(CycleError):
        equivalent(divergent, acceptor)
