import math

import numpy as np
import pynini
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.openfst import to_openfst
from gtn_ebm import Graph, GraphError, Structure, compose, connect, free_energy
from gtn_ebm.distance import shortest_distance
from gtn_ebm.ops.determinization import determinize
from gtn_ebm.ops.disambiguation import disambiguate
from tests.enumeration import FINITE_ENERGIES, graphs, language, summed, visible, walks

BETAS = st.sampled_from([0.5, 1.0, math.inf])


def ambiguous(graph: Graph) -> bool:
    """Whether two paths read the same, seen in the graph's composition with itself."""
    reading = Graph(
        Structure(graph.source, graph.destination, graph.input_labels, states=graph.states),
        graph.energies,
        graph.initial,
        graph.final,
    )
    both = compose(reading, reading)
    return bool((both.arc_maps[0] != both.arc_maps[1]).any())


@settings(max_examples=300, deadline=None)
@given(graphs().map(visible), BETAS)
def test_one_path_for_each_input_with_the_free_energy_of_all(graph, beta):
    wanted = summed(graph, beta)
    if len({read for read, _ in wanted}) < len(wanted):
        with pytest.raises(GraphError, match="several outputs"):
            disambiguate(graph, beta)
        return
    result = disambiguate(graph, beta)
    assert all(len(energies) == 1 for energies in language(walks(result)).values())
    found = summed(result, beta)
    assert found.keys() == wanted.keys()
    assert found == pytest.approx(wanted, abs=1e-5)
    assert connect(result).arcs == result.arcs


@settings(max_examples=200, deadline=None)
@given(graphs(acyclic=False, acceptor=True, energies=st.just(0.0)).map(visible))
def test_cyclic_graphs_are_unambiguous_and_accept_the_same(graph):
    result = disambiguate(graph, math.inf)
    assert not ambiguous(result)
    both = [pynini.determinize(pynini.rmepsilon(to_openfst(g, "standard"))) for g in (graph, result)]
    assert pynini.equivalent(*both)


@settings(max_examples=100, deadline=None)
@given(graphs(energies=FINITE_ENERGIES).map(visible))
def test_an_unambiguous_graph_keeps_its_size(graph):
    assume(not ambiguous(graph))
    whole = connect(graph)
    starts = int(torch.isfinite(whole.initial).sum())
    ends = int(torch.isfinite(whole.final).sum())
    assume(starts == ends == 1)
    result = disambiguate(graph)
    assert (result.states, result.arcs) == (whole.states, whole.arcs)


def test_where_no_deterministic_equivalent_exists():
    # Two loops of different energies on one label, told apart by the last label only.
    structure = Structure([0, 0, 1, 2, 1, 2, 2], [1, 2, 1, 2, 3, 3, 3], [0, 0, 0, 0, 1, 2, 2])
    graph = Graph(structure, torch.tensor([0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.5], dtype=torch.float64))
    with pytest.raises(GraphError, match="max_states"):
        determinize(graph, max_states=1000)
    result = disambiguate(graph)
    assert not ambiguous(result)
    assert (result.states, result.arcs) == (4, 6)
    assert float(result.energies.max()) == 2.0
    merged = -math.log(1.0 + math.exp(-0.5))
    assert result.energies.min().item() == pytest.approx(merged)


@settings(max_examples=100, deadline=None)
@given(graphs(acceptor=True).map(visible), BETAS)
def test_disambiguating_twice_changes_nothing(graph, beta):
    once = disambiguate(graph, beta)
    twice = disambiguate(once, beta)
    assert (twice.states, twice.arcs) == (once.states, once.arcs)
    assert summed(twice, beta) == pytest.approx(summed(once, beta), abs=1e-5)


@settings(max_examples=100, deadline=None)
@given(graphs(acceptor=True, most_states=6, most_arcs=10).map(visible), st.sampled_from([0.5, 1.0]))
def test_gradient_of_the_free_energy_is_the_graphs_own(graph, beta):
    assume(walks(graph))
    rng = np.random.default_rng(0)
    # Energies at which no residuals coincide by accident.
    given_parts = [
        torch.where(
            torch.isfinite(p), torch.from_numpy(rng.standard_normal(len(p))), torch.inf
        ).requires_grad_()
        for p in (graph.energies, graph.initial, graph.final)
    ]
    same = graph.with_energies(*given_parts)
    wanted = torch.autograd.grad(free_energy(same, beta), given_parts)
    found = torch.autograd.grad(free_energy(disambiguate(same, beta), beta), given_parts)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(
    graphs(acceptor=True, energies=st.sampled_from([0.0, 1.0]), most_states=7, most_arcs=14).map(visible),
    st.sampled_from([0.5, 1.0]),
)
def test_gradient_is_right_where_residuals_coincide(graph, beta):
    assume(walks(graph))
    given_parts = [p.detach().clone().requires_grad_() for p in (graph.energies, graph.initial, graph.final)]
    same = graph.with_energies(*given_parts)
    wanted = torch.autograd.grad(free_energy(same, beta), given_parts[0])
    found = torch.autograd.grad(free_energy(disambiguate(same, beta), beta), given_parts[0])
    assert torch.allclose(found[0], wanted[0], atol=1e-6)


def test_gradient_on_a_cycle():
    # Both ways round read the same and cost the same, so that they go on from one state.
    structure = Structure([0, 1, 2, 1, 2, 0], [1, 0, 0, 3, 3, 2], [0, 1, 1, 2, 2, 0])
    energies = torch.tensor([1.0, 0.5, 0.5, 0.25, 0.25, 1.0], dtype=torch.float64, requires_grad=True)
    graph = Graph(structure, energies)
    wanted = torch.autograd.grad(shortest_distance(graph)[-1], energies)
    result = disambiguate(graph)
    assert not ambiguous(result)
    total = (shortest_distance(result) + result.final)[torch.isfinite(result.final)].sum()
    assert torch.allclose(torch.autograd.grad(total, energies)[0], wanted[0], atol=1e-9)


def test_arcs_keep_attributes():
    graph = Graph(Structure([0, 0], [1, 1], [0, 1]), attributes={"name": ["p", "q"]})
    result = disambiguate(graph)
    assert [result.attributes["name"][k] for k in np.argsort(result.arc_maps[0])] == ["p", "q"]


def test_a_graph_without_a_path():
    assert disambiguate(Graph(Structure([0], [1], [0]), final=[])).states == 0


def test_the_pairs_that_share_a_future_are_bounded():
    # All pairs of the 20 states of a layer are reached by one string.
    first, second = (part.ravel() for part in np.mgrid[:20, 20:40])
    graph = Graph(Structure(first, second, [0] * 400), initial=range(20), final=range(20, 40))
    with pytest.raises(GraphError, match="more than 400 pairs of states"):
        disambiguate(graph, max_states=100)
    assert disambiguate(graph).states < graph.states
