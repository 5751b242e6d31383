import math
from unittest import mock

import numpy as np
import pynini
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.openfst import to_openfst
from gtn_ebm import EPSILON, CycleError, Graph, GraphError, Structure, Symbols, connect, free_energy, invert
from gtn_ebm.distance import shortest_distance
from gtn_ebm.ops import epsilons
from gtn_ebm.ops.epsilons import epsilon_normalize, remove_epsilons
from tests.enumeration import FINITE_ENERGIES, finite_part, graphs, language, log_sum, requiring_grad, walks
from tests.series import from_openfst, series

# Energies high enough that the sums over cycles converge.
HIGH_ENERGIES = st.one_of(st.floats(3.0, 5.0), st.just(math.inf))
BETAS = st.sampled_from([0.7, 1.0, math.inf])


def sums(graph: Graph, beta: float) -> dict:
    """F_β over the paths of each pair of strings."""
    found = walks(graph)
    return {
        strings: min(energies) if math.isinf(beta) else log_sum([w for w in found if w[3:5] == strings], beta)
        for strings, energies in language(found).items()
    }


def is_silent(graph: Graph) -> np.ndarray:
    return (graph.input_labels == EPSILON) & (graph.output_labels == EPSILON)


@settings(max_examples=200, deadline=None)
@given(graphs(), BETAS)
def test_each_pair_of_strings_keeps_its_energy(graph, beta):
    removed = remove_epsilons(graph, beta)
    assert not is_silent(removed).any()
    assert sums(removed, beta) == pytest.approx(sums(graph, beta), abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(graphs(acyclic=False, energies=HIGH_ENERGIES), BETAS)
def test_on_cycles_too(graph, beta):
    removed = remove_epsilons(graph, beta)
    assert not is_silent(removed).any()
    assert (connect(removed).states, connect(removed).arcs) == (removed.states, removed.arcs)
    np.testing.assert_allclose(series(removed, beta), series(graph, beta), atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(graphs(acyclic=False, energies=HIGH_ENERGIES))
def test_each_arc_has_the_labels_of_the_one_it_stems_from(graph):
    removed = remove_epsilons(graph.with_attributes(number=torch.arange(graph.arcs)))
    (stems_from,) = removed.arc_maps
    assert removed.attributes["number"].tolist() == stems_from.tolist()
    assert removed.input_labels.tolist() == graph.input_labels[stems_from].tolist()
    assert removed.output_labels.tolist() == graph.output_labels[stems_from].tolist()
    assert removed.is_acceptor or not graph.is_acceptor


@settings(max_examples=50, deadline=None)
@given(graphs(acyclic=False, energies=HIGH_ENERGIES))
def test_twice_is_once(graph):
    once = remove_epsilons(graph)
    twice = remove_epsilons(once)
    assert twice.arc_maps[0].tolist() == list(range(once.arcs))
    assert (twice.states, twice.energies.tolist()) == (once.states, once.energies.tolist())


def finite_energies(graph: Graph, operation) -> tuple:
    """``operation`` as a function of the graph's finite energies, giving the result's; and their values."""
    finite = [finite_part(graph, part) for part in ("energies", "initial", "final")]

    def function(*parts):
        moved = [torch.where(f, p, torch.inf) for f, p in zip(finite, parts, strict=True)]
        result = operation(graph.with_energies(*moved))
        energies = torch.cat([result.energies, result.initial, result.final])
        return energies[torch.isfinite(energies.detach())]

    values = requiring_grad(graph)
    return function, [
        torch.where(f, v.detach(), 0.0).requires_grad_() for f, v in zip(finite, values, strict=True)
    ]


@settings(max_examples=40, deadline=None)
@given(graphs(acyclic=False, energies=st.floats(3.0, 5.0)))
def test_gradients(graph):
    function, parts = finite_energies(graph, remove_epsilons)
    assume(len(function(*parts)))
    assert torch.autograd.gradcheck(function, parts)


@settings(max_examples=50, deadline=None)
@given(graphs(energies=FINITE_ENERGIES), st.sampled_from([0.7, 1.0]))
def test_posteriors_stay_as_they_are(graph, beta):
    parts = requiring_grad(graph)
    for end in (graph.initial, graph.final):
        assume(torch.isfinite(end).any())
    given_graph = graph.with_energies(*parts)
    theirs = torch.autograd.grad(free_energy(given_graph, beta), parts)
    ours = torch.autograd.grad(
        free_energy(remove_epsilons(given_graph, beta), beta), parts, allow_unused=True
    )
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(torch.zeros_like(their) if our is None else our, their, atol=1e-9)


def test_a_loop_of_epsilons_is_summed_in_closed_form():
    loop = Graph(Structure([0, 0], [0, 1], [EPSILON, 0]), torch.tensor([1.0, 0.0], dtype=torch.float64))
    assert float(remove_epsilons(loop).energies) == pytest.approx(math.log(1 - math.exp(-1)))
    assert float(remove_epsilons(loop, math.inf).energies) == 0.0


@settings(max_examples=100, deadline=None)
@given(graphs(acyclic=False, energies=HIGH_ENERGIES), BETAS)
def test_cycles_summed_once_are_those_summed_for_each_state(graph, beta):
    with mock.patch.object(epsilons, "LARGE", 1):
        split = remove_epsilons(graph, beta)
    np.testing.assert_allclose(series(split, beta), series(graph, beta), atol=1e-9)
    whole = remove_epsilons(graph, beta)
    assert sorted(split.arc_maps[0].tolist()) == sorted(whole.arc_maps[0].tolist())


def test_a_hub_of_many_states():
    # Any number of words of one letter, each of which may be left out on the way round.
    words = epsilons.LARGE + 8
    hub, first, last = np.zeros(words, int), np.arange(words) + 1, np.arange(words) + 1 + words
    silent = np.full(words, EPSILON)
    structure = Structure(
        np.concatenate([hub, first, first, last]),
        np.concatenate([first, hub, last, hub]),
        np.concatenate([silent, silent, np.arange(words) % 2, silent]),
    )
    energies = torch.full((4 * words,), math.log(2.0 * words), dtype=torch.float64, requires_grad=True)
    graph = Graph(structure, energies, initial=[0], final=[0])
    removed = remove_epsilons(graph)
    np.testing.assert_allclose(series(removed), series(graph), atol=1e-9)
    assert set(removed.arc_maps[0].tolist()) == set(range(2 * words, 3 * words))
    (uses,) = torch.autograd.grad(shortest_distance(removed, direction="to")[0], energies)
    (expected,) = torch.autograd.grad(shortest_distance(graph, direction="to")[0], energies)
    np.testing.assert_allclose(uses, expected, atol=1e-9)


def test_two_ways_by_epsilons_become_one():
    ways = Structure([0, 0, 1], [1, 1, 2], [EPSILON, EPSILON, 0])
    removed = remove_epsilons(Graph(ways, torch.tensor([1.0, 1.0, 5.0])))
    assert removed.energies.tolist() == pytest.approx([6 - math.log(2)])


@pytest.mark.parametrize("operation", [remove_epsilons, lambda graph: epsilon_normalize(graph, "input")])
@pytest.mark.parametrize("energy", [0.0, -1.0])
def test_a_loop_that_diverges_is_named_by_its_state_in_the_graph_given(operation, energy):
    # State 0 is dead, so that the states the work is done on have other numbers.
    loop = Graph(
        Structure([1, 2, 2], [2, 2, 3], [0, EPSILON, 1]), torch.tensor([0.0, energy, 0.0]), initial=[1]
    )
    with pytest.raises(CycleError, match="state 2 "):
        operation(loop)


def test_a_loop_of_energy_0_has_a_least_path():
    loop = Graph(Structure([0, 0], [0, 1], [EPSILON, 0]), torch.tensor([0.0, 2.0]))
    assert remove_epsilons(loop, math.inf).energies.tolist() == [2.0]


def test_a_loop_on_no_path_does_not_matter():
    loop = Graph(Structure([0, 2], [1, 2], [0, EPSILON]), torch.tensor([1.0, -1.0]), final=[1])
    assert remove_epsilons(loop).states == 2


@pytest.mark.parametrize("states", [0, 1, 3])
def test_an_empty_language_stays_empty(states):
    empty = Graph(Structure([], [], [], states=states), initial=[], final=[])
    for graph in (remove_epsilons(empty), epsilon_normalize(empty, "input")):
        assert (graph.states, graph.arcs) == (0, 0)


def test_nothing_but_epsilons_is_one_state():
    removed = remove_epsilons(Graph.linear([EPSILON] * 3, energies=torch.tensor([1.0, 2.0, 3.0])))
    assert (removed.states, removed.arcs, removed.final.tolist()) == (1, 0, [6.0])


def test_bad_arguments_are_refused():
    graph = Graph.linear([0, EPSILON])
    with pytest.raises(GraphError, match="β must be positive"):
        remove_epsilons(graph, 0.0)
    with pytest.raises(GraphError, match="'both'"):
        epsilon_normalize(graph, "both")
    with pytest.raises(GraphError, match="nan"):
        remove_epsilons(graph.with_energies(torch.tensor([0.0, math.nan])))


def test_symbols_and_dtype_are_kept():
    graph = Graph.linear([0, EPSILON], [EPSILON, 1], input_symbols=Symbols("a"), output_symbols=Symbols("xy"))
    for result in (remove_epsilons(graph), *(epsilon_normalize(graph, side) for side in ("input", "output"))):
        assert (result.input_symbols, result.output_symbols) == (Symbols("a"), Symbols("xy"))
        assert result.dtype == torch.float32


def is_normal(graph: Graph, labels: np.ndarray) -> bool:
    """Whether no arc without a label comes before one with a label."""
    before = set(graph.source[labels != EPSILON].tolist())
    return not before & set(graph.destination[labels == EPSILON].tolist())


@settings(max_examples=150, deadline=None)
@given(graphs(), BETAS, st.sampled_from(["input", "output"]))
def test_normalization_keeps_each_pair_of_strings(graph, beta, side):
    normal = epsilon_normalize(graph, side, beta)
    assert is_normal(normal, normal.input_labels if side == "input" else normal.output_labels)
    assert not is_silent(normal).any()
    assert sums(normal, beta) == pytest.approx(sums(graph, beta), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_the_arc_map_tells_which_arc_is_read(graph):
    normal = epsilon_normalize(graph.with_attributes(number=list(range(graph.arcs))), "input")
    (stems_from,) = normal.arc_maps
    read = np.append(graph.input_labels, EPSILON)[stems_from]
    assert read.tolist() == normal.input_labels.tolist()
    assert [-1 if n is None else n for n in normal.attributes["number"]] == stems_from.tolist()


def piles_up(graph: Graph) -> bool:
    """Whether ever more output labels wait for input labels, by trying all paths."""
    connected = connect(graph)
    arcs = list(
        zip(*(a.tolist() for a in (connected.source, connected.destination)), *labels(connected), strict=True)
    )
    waiting = {(q, 0) for q in range(connected.states) if connected.initial[q] < math.inf}
    while True:
        longer = {
            (q, max(0, count + (written != EPSILON) - (read != EPSILON)))
            for p, count in waiting
            for source, q, read, written in arcs
            if source == p
        }
        if longer <= waiting:
            return False
        waiting |= longer
        if max(count for _, count in waiting) > 2 * connected.states:
            return True


def labels(graph: Graph) -> tuple[list[int], list[int]]:
    return graph.input_labels.tolist(), graph.output_labels.tolist()


@settings(max_examples=250, deadline=None)
@given(graphs(acyclic=False, energies=HIGH_ENERGIES), st.sampled_from(["input", "output"]))
def test_normalization_of_cyclic_graphs_is_openfsts_or_refused(graph, side):
    if piles_up(graph if side == "input" else invert(graph)):
        with pytest.raises(GraphError, match="pile up"):
            epsilon_normalize(graph, side)
        return
    ours = series(epsilon_normalize(graph, side))
    np.testing.assert_allclose(ours, series(graph), atol=1e-9)
    theirs = pynini.epsnormalize(to_openfst(connect(graph)), eps_norm_type=side)
    np.testing.assert_allclose(ours, series(from_openfst(theirs)), atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(graphs(energies=FINITE_ENERGIES))
def test_gradients_of_normalization(graph):
    function, parts = finite_energies(graph, lambda g: epsilon_normalize(g, "input"))
    assume(len(function(*parts)))
    assert torch.autograd.gradcheck(function, parts)


def test_labels_that_pile_up_are_named_by_their_state_in_the_graph_given():
    # State 0 is dead; at state 2 any number of labels is written before one is read.
    structure = Structure([1, 2, 2], [2, 2, 3], [0, EPSILON, 1], [0, 1, 0])
    with pytest.raises(GraphError, match="near state 2"):
        epsilon_normalize(Graph(structure, initial=[1]), "input")
    # The other way round, nothing waits: what is read needs no partner.
    normal = epsilon_normalize(Graph(structure, initial=[1]), "output")
    assert is_normal(normal, normal.output_labels)


def test_more_states_than_allowed_are_refused():
    graph = Graph.linear([EPSILON] * 20 + [0], [1] * 20 + [EPSILON])
    with pytest.raises(GraphError, match="more than 10 states"):
        epsilon_normalize(graph, "input", max_states=10)
    assert epsilon_normalize(graph, "input", max_states=100).output_labels.tolist() == [1] * 20
