import itertools

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gtn_ebm import EPSILON, Graph, GraphError, Structure, Symbols, free_energy
from gtn_ebm.ops.replacement import replace
from tests.enumeration import FINITE_ENERGIES, Walk, graphs, language, same_language, walks


def expanded(graph: Graph, called: dict[int, Graph]) -> list[Walk]:
    """All paths with all ways of putting paths of the called graphs in the place of calls."""
    result = []
    for walk in walks(graph):
        choices = []
        for arc in walk.arcs:
            read, written = int(graph.input_labels[arc]), int(graph.output_labels[arc])
            if written in called:
                choices.append([(w.inputs, w.outputs, w.energy) for w in expanded(called[written], called)])
            else:
                one = tuple((label,) if label != EPSILON else () for label in (read, written))
                choices.append([(*one, 0.0)])
        for chosen in itertools.product(*choices):
            inputs = sum((c[0] for c in chosen), ())
            outputs = sum((c[1] for c in chosen), ())
            result.append(Walk(0, (), 0, inputs, outputs, walk.energy + sum(c[2] for c in chosen)))
    return result


def networks(most_arcs: int = 4, **kind):
    """A root that calls 1 and 2, a graph for 1 that calls 2, and one for 2 that calls nobody."""
    graph = graphs(most_states=3, most_arcs=most_arcs, energies=FINITE_ENERGIES, **kind)

    def without_calls(graph: Graph) -> Graph:
        old = graph.structure
        labels = np.minimum(old.output_labels, 0)
        return Graph(
            Structure(old.source, old.destination, labels, labels, old.states),
            graph.energies,
            graph.initial,
            graph.final,
        )

    def moved(graph: Graph) -> Graph:
        # What called 1 calls 2.
        old = graph.structure
        labels = np.where(old.output_labels == 1, 2, old.output_labels)
        structure = Structure(old.source, old.destination, old.input_labels, labels, old.states)
        return Graph(structure, graph.energies, graph.initial, graph.final)

    return st.tuples(graph, graph.map(moved), graph.map(without_calls))


@settings(max_examples=150, deadline=None)
@given(networks())
def test_every_way_of_replacing_makes_exactly_one_path(network):
    root, one, two = network
    called = {1: one, 2: two}
    expected = expanded(root, called)
    assume(len(expected) < 500)
    assert same_language(language(walks(replace(root, called))), language(expected))


@settings(max_examples=50, deadline=None)
@given(networks())
def test_arc_maps_lead_to_the_operands(network):
    root, one, two = network
    result = replace(root, {1: one, 2: two})
    assert len(result.arc_maps) == 3
    for arc, stems in enumerate(zip(*result.arc_maps, strict=True)):
        stem = [(graph, old) for graph, old in zip(network, stems, strict=True) if old >= 0]
        assert len(stem) <= 1
        for graph, old in stem:
            if graph.output_labels[old] <= 0:
                assert result.energies[arc] == graph.energies[old]
                assert result.input_labels[arc] == graph.input_labels[old]
            else:
                assert result.input_labels[arc] == result.output_labels[arc] == EPSILON
        if not stem:
            assert result.input_labels[arc] == result.output_labels[arc] == EPSILON


@settings(max_examples=30, deadline=None)
@given(networks())
def test_gradients_flow_to_every_operand(network):
    root, one, two = network
    assume(walks(replace(root, {1: one, 2: two})))

    def total(*energies):
        first, second, third = (g.with_energies(e) for g, e in zip(network, energies, strict=True))
        return free_energy(replace(first, {1: second, 2: third}))

    assert torch.autograd.gradcheck(total, [g.energies.clone().requires_grad_() for g in network])


def test_attributes_go_along():
    root = Graph.linear([0, 5], attributes={"name": ["r0", "call"]})
    called = Graph.linear([1], attributes={"name": ["c0"]})
    result = replace(root, {5: called})
    assert sorted(map(str, result.attributes["name"])) == ["None", "c0", "call", "r0"]


def test_only_the_output_side_calls():
    root = Graph.linear([5, 0], [0, 5])
    result = replace(root, {5: Graph.linear([1], [2])})
    assert language(walks(result)) == {((5, 1), (0, 2)): [0.0]}


def test_calls_that_go_round_are_refused():
    one, two = Graph.linear([2]), Graph.linear([1])
    with pytest.raises(GraphError, match="label 1 → label 2 → label 1"):
        replace(Graph.linear([1]), {1: one, 2: two})
    with pytest.raises(GraphError, match="label 3 → label 3"):
        replace(Graph.linear([3]), {3: Graph.linear([3])})
    # What is not called may go round.
    assert replace(Graph.linear([0]), {1: one, 2: two}).states == 2


def test_more_states_than_allowed_are_counted_before_they_are_made():
    doubling = {k: Graph.linear([k + 1, k + 1]) for k in range(60)}
    with pytest.raises(GraphError, match=r"has \d{18,} states, more than the 1000"):
        replace(Graph.linear([0]), doubling, max_states=1000)


def test_bad_input_is_refused():
    graph = Graph.linear([0])
    with pytest.raises(GraphError, match=r"graph 1 has energies in torch\.float64"):
        replace(graph, {0: graph.to(torch.float64)})
    with pytest.raises(GraphError, match="label 4 has other symbol tables"):
        replace(graph, {4: graph.with_symbols(Symbols("a"))})
    with pytest.raises(GraphError, match="label -1 cannot stand for a graph"):
        replace(graph, {-1: graph})
