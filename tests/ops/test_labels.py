import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import Graph, GraphError, Symbols, invert, project
from tests.enumeration import graphs, walks


@settings(max_examples=100, deadline=None)
@given(graphs(), st.sampled_from(["input", "output"]))
def test_project_keeps_one_side(graph, side):
    projected = project(graph, side)
    assert projected.is_acceptor
    expected = [(w.arcs, w.inputs if side == "input" else w.outputs, w.energy) for w in walks(graph)]
    assert [(w.arcs, w.outputs, w.energy) for w in walks(projected)] == expected


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_invert_exchanges_the_sides(graph):
    assert [(w.arcs, w.outputs, w.inputs, w.energy) for w in walks(invert(graph))] == [
        (w.arcs, w.inputs, w.outputs, w.energy) for w in walks(graph)
    ]


def test_symbols_attributes_and_energies_go_along():
    energies = torch.tensor([1.0], requires_grad=True)
    names = {"input_symbols": Symbols("a"), "output_symbols": Symbols("xy"), "attributes": {"frame": [3]}}
    graph = Graph.linear([0], [1], energies, **names)
    assert (invert(graph).input_symbols, invert(graph).output_symbols) == (Symbols("xy"), Symbols("a"))
    assert project(graph, "output").input_symbols == project(graph, "output").output_symbols == Symbols("xy")
    for result in (invert(graph), project(graph, "input")):
        assert result.attributes == {"frame": [3]}
        assert result.energies is energies
        assert [arcs.tolist() for arcs in result.arc_maps] == [[0]]


def test_there_are_two_sides():
    with pytest.raises(GraphError, match="'input' or 'output', not 'both'"):
        project(Graph.linear([0]), "both")
