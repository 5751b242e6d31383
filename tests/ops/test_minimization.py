import math

import numpy as np
import pynini
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from benchmarks.openfst import sum_over_paths, to_openfst
from gtn_ebm import (
    EPSILON,
    CycleError,
    Graph,
    GraphError,
    Structure,
    Symbols,
    compose,
    connect,
    determinize,
    free_energy,
)
from gtn_ebm.distance import shortest_distance
from gtn_ebm.ops.minimization import minimize
from tests.enumeration import language, walks
from tests.written_out import derivatives, random_graphs

# As many graphs as that, those without a path left out.
OPENFST = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])

FEW_ENERGIES = st.sampled_from([0.0, 0.5, 1.0, math.inf])
MANY_ENERGIES = st.floats(-3.0, 3.0, allow_subnormal=False)


@st.composite
def deterministic(
    draw: st.DrawFn,
    acyclic: bool = True,
    acceptor: bool = True,
    energies: st.SearchStrategy[float] = FEW_ENERGIES,
    most_states: int = 7,
    least_label: int = EPSILON,
) -> Graph:
    """Random graphs of one initial state at most, and one arc of each input label at any state."""
    states = draw(st.integers(0, most_states))
    source, destination, read, written = [], [], [], []
    for state in range(states):
        for label in draw(st.sets(st.integers(least_label, 1))):
            target = draw(st.integers(0, states - 1))
            if not acyclic or target > state:
                source.append(state)
                destination.append(target)
                read.append(label)
                written.append(label if acceptor else draw(st.integers(EPSILON, 1)))
    structure = Structure(source, destination, read, None if acceptor else written, states=states)
    arcs = draw(st.lists(energies, min_size=structure.arcs, max_size=structure.arcs))
    final = draw(st.lists(st.one_of(st.just(math.inf), energies), min_size=states, max_size=states))
    initial = [draw(energies) if state == 0 else math.inf for state in range(states)]
    return Graph(structure, *(torch.tensor(part, dtype=torch.float64) for part in (arcs, initial, final)))


def unweighted(graph: Graph) -> Graph:
    return graph.with_energies(
        *(
            torch.where(part == math.inf, math.inf, 0.0)
            for part in (graph.energies, graph.initial, graph.final)
        )
    )


def equally_weighted(ours: Graph, theirs: Graph, most_arcs: int = 64, error: float = 1e-4) -> bool:
    one, two = (language(walks(graph, most_arcs)) for graph in (ours, theirs))
    return one.keys() == two.keys() and all(
        len(one[strings]) == len(two[strings]) and np.allclose(one[strings], two[strings], atol=error)
        for strings in one
    )


def minimized_by_openfst(graph: Graph) -> pynini.Fst:
    """Of a graph without dead states and with a state, the one initial energy left out."""
    initial = graph.initial.masked_fill(graph.initial < math.inf, 0.0)
    return to_openfst(graph.with_energies(graph.energies, initial)).minimize(delta=1e-6)


@settings(max_examples=200, deadline=None)
@given(deterministic(energies=st.one_of(FEW_ENERGIES, MANY_ENERGIES)), st.sampled_from([0.5, 1.0, math.inf]))
def test_strings_and_their_energies_stay(graph, beta):
    assert equally_weighted(minimize(graph, beta), graph)


@settings(max_examples=150, deadline=None)
@given(deterministic(acceptor=False, energies=st.one_of(FEW_ENERGIES, MANY_ENERGIES)))
def test_what_a_transducer_writes_stays(graph):
    assert equally_weighted(minimize(graph), graph)


@settings(max_examples=100, deadline=None)
@given(deterministic(acyclic=False, energies=FEW_ENERGIES, most_states=5), st.booleans())
def test_strings_of_cyclic_graphs_stay(graph, acceptor):
    assert equally_weighted(minimize(graph, math.inf), graph, most_arcs=7)


@OPENFST
@given(deterministic(acyclic=False).map(unweighted).map(connect))
def test_an_unweighted_acceptor_is_openfsts(graph):
    assume(graph.states)
    ours = minimize(graph)
    assert not ours.energies.any()
    assert pynini.isomorphic(to_openfst(ours), minimized_by_openfst(graph))


@OPENFST
@given(deterministic(energies=FEW_ENERGIES).map(connect))
def test_a_weighted_acceptor_has_as_many_states_as_openfsts(graph):
    assume(graph.states)
    ours, theirs = minimize(graph), minimized_by_openfst(graph)
    assert ours.states == theirs.num_states()
    assert sum_over_paths(to_openfst(ours)) == pytest.approx(
        sum_over_paths(theirs) + float(graph.initial[graph.initial < math.inf]), abs=1e-4
    )


@OPENFST
@given(deterministic(acceptor=False, least_label=0).map(unweighted).map(connect))
def test_a_transducer_has_no_more_states_that_read_than_openfsts(graph):
    assume(graph.states)
    ours = minimize(graph, math.inf)
    # Where OpenFst delays labels to the next arcs, we write them on arcs that read nothing.
    write_only = set(ours.source[ours.input_labels == EPSILON].tolist())
    assert ours.states - len(write_only) <= minimized_by_openfst(graph).num_states()


@settings(max_examples=150, deadline=None)
@given(deterministic(acceptor=False, energies=FEW_ENERGIES))
def test_minimize_is_idempotent(graph):
    once = minimize(graph, math.inf)
    twice = minimize(once, math.inf)
    assert (twice.states, twice.arcs) == (once.states, once.arcs)
    assert equally_weighted(twice, once)


TWO_ENERGIES = deterministic(energies=st.sampled_from([0.0, 1.0]))


@settings(OPENFST, max_examples=150)
@given(st.one_of(TWO_ENERGIES, TWO_ENERGIES.map(unweighted)), st.sampled_from([0.5, 1.0, math.inf]))
def test_the_derivative_of_the_free_energy_stays(graph, beta):
    # Few different energies, so that states do merge; if all are 0, they are merged without being pushed.
    assume(connect(graph).states > 0)
    parts = [part.clone().requires_grad_() for part in (graph.energies, graph.initial, graph.final)]
    same = graph.with_energies(*parts)
    ours = torch.autograd.grad(free_energy(minimize(same, beta), beta), parts, allow_unused=True)
    energies = sorted(walk.energy for walk in walks(graph))
    if beta < math.inf or len(energies) == 1 or energies[0] < energies[1] - 0.1:
        theirs = torch.autograd.grad(free_energy(same, beta), parts)
        for one, two in zip(ours, theirs, strict=True):
            assert torch.allclose(torch.zeros_like(two) if one is None else one, two, atol=1e-9)


@settings(OPENFST, max_examples=100)
@given(deterministic(acyclic=False, energies=st.sampled_from([2.0, 3.0]), most_states=5))
def test_the_derivative_of_the_sum_over_cycles_stays(graph):
    assume(connect(graph).states > 0)
    parts = [part.clone().requires_grad_() for part in (graph.energies, graph.initial, graph.final)]
    same = graph.with_energies(*parts)

    def total(graph: Graph) -> torch.Tensor:
        start = torch.isfinite(graph.initial)
        return (graph.initial + shortest_distance(graph, direction="to"))[start].sum()

    ours = torch.autograd.grad(total(minimize(same)), parts, allow_unused=True)
    theirs = torch.autograd.grad(total(same), parts)
    for one, two in zip(ours, theirs, strict=True):
        assert torch.allclose(torch.zeros_like(two) if one is None else one, two, atol=1e-9)


@settings(OPENFST, max_examples=60)
@given(deterministic(energies=MANY_ENERGIES, most_states=5))
def test_the_derivative_of_the_energy_of_every_string_where_nothing_merges(graph):
    reduced = minimize(graph)
    assume(reduced.states == connect(graph).states > 1)
    finite = torch.isfinite(graph.final)

    def total(energies, final):
        final = torch.where(finite, final, math.inf)
        return free_energy(minimize(graph.with_energies(energies, final=final)), 0.7)

    given = graph.energies.clone().requires_grad_(), torch.where(finite, graph.final, 0.0).requires_grad_()
    assert torch.autograd.gradcheck(total, given)


def test_second_derivatives_of_the_free_energy_stay():
    merged = 0
    for graph, beta in random_graphs(200, acceptor=True, large=False):
        single = determinize(graph, beta).detach()
        # Equal energies, so that states do merge; if all are 0, they are merged without being pushed.
        for energy in (0.5, 0.0):
            even = single.with_energies(
                torch.full_like(single.energies, energy),
                final=torch.where(single.final.isfinite(), energy, single.final),
            )
            wanted = derivatives(lambda moved, beta=beta: free_energy(moved, beta), even)
            found = derivatives(lambda moved, beta=beta: free_energy(minimize(moved, beta), beta), even)
            merged += minimize(even, beta).states < even.states
            for one, other in zip(found, wanted, strict=True):
                np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-9)
    assert merged > 20


def test_arcs_that_did_not_merge_keep_their_attributes():
    structure = Structure([0, 0, 1, 2, 3], [1, 2, 3, 3, 4], [0, 1, 5, 5, 6])
    graph = Graph(structure, attributes={"name": list("abcde")}, input_symbols=Symbols("0123456"))
    reduced = minimize(graph)
    assert reduced.arc_maps[0].tolist() == [0, 1, -1, 4]
    assert reduced.attributes["name"] == ["a", "b", None, "e"]
    assert reduced.input_symbols == graph.input_symbols
    assert reduced.dtype == torch.float32


def test_rows_of_labels_stay_as_long_as_they_are():
    # The labels 7 and 8 stand behind the first arc, however often they are pushed there.
    graph = Graph.linear([0, -1, 1], [6, 7, 8], energies=torch.tensor([1.0, 2.0, 4.0], requires_grad=True))
    energies = graph.energies
    for _ in range(3):
        graph = minimize(graph)
        assert (graph.states, graph.arcs) == (5, 4)
        assert language(walks(graph)) == {((0, 1), (6, 7, 8)): [7.0]}
    free_energy(graph).backward()
    assert energies.grad.tolist() == [1.0, 1.0, 1.0]


def test_arc_maps_lead_through_every_step():
    # State 4 is dead; the output 7 moves to the first arc, energies move as well.
    structure = Structure([0, 4, 1, 2], [1, 0, 2, 3], [0, 9, 1, 2], [-1, 9, 7, 8], states=5)
    graph = Graph(structure, torch.tensor([1.0, 1.0, 2.0, 3.0]), final=[3])
    reduced = minimize(graph)
    by_input = dict(zip(reduced.input_labels.tolist(), reduced.arc_maps[0].tolist(), strict=True))
    assert {label: by_input[label] for label in (0, 1, 2)} == {0: 0, 1: 2, 2: 3}


def test_a_million_strings_become_a_chain():
    # A tree of all strings of 12 letters out of 3, which takes a state a letter.
    depth, letters = 12, 3
    states = (letters ** (depth + 1) - 1) // (letters - 1)
    child = np.arange(1, states)
    tree = Structure((child - 1) // letters, child, (child - 1) % letters)
    leaves = range((letters**depth - 1) // (letters - 1), states)
    reduced = minimize(Graph(tree, final=leaves))
    assert (reduced.states, reduced.arcs) == (depth + 1, depth * letters)


def test_a_cycle_that_diverges():
    loop = Graph(Structure([0, 0], [0, 0], [0, 1]), torch.tensor([0.1, 0.1]), final=[0])
    with pytest.raises(CycleError):
        minimize(loop)
    assert minimize(loop, math.inf).states == 1
    assert minimize(loop.with_energies(torch.zeros(2))).states == 1


def test_energies_on_the_ends_alone_tell_states_apart():
    structure = Structure([0, 0], [1, 2], [0, 1])
    same, other = (Graph(structure, final=torch.tensor([math.inf, 1.0, last])) for last in (1.0, 3.0))
    assert minimize(same).states == 2
    # Pushing makes the rest of both the same, which is nothing.
    assert minimize(other).states == 2
    assert equally_weighted(minimize(other), other, error=1e-5)
    in_the_middle = Graph(structure, initial=[0], final=torch.tensor([0.0, 1.0, 3.0]))
    assert compose(minimize(in_the_middle), Graph.linear([1])).states == 2


def test_bad_input_is_refused():
    with pytest.raises(GraphError, match="determinize it first"):
        minimize(Graph(Structure([0, 0], [1, 2], [3, 3]), final=[1, 2]))
    with pytest.raises(GraphError, match="determinize it first"):
        minimize(Graph(Structure([0], [1], [3]), initial=[0, 1]))
    for delta in (0.0, -1.0, math.nan):
        with pytest.raises(GraphError, match="delta must be positive"):
            minimize(Graph.linear([0]), delta=delta)
    assert minimize(Graph(Structure([], [], []))).states == 0
