import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import EPSILON, Graph, GraphError, Symbols, invert, project
from gtn_ebm.ops.labels import relabel
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


LABELS = st.dictionaries(st.integers(EPSILON, 2), st.integers(EPSILON, 3))


@settings(max_examples=100, deadline=None)
@given(graphs(), LABELS, LABELS)
def test_relabel_changes_each_arc_as_told(graph, inputs, outputs):
    changed = relabel(graph, inputs, outputs)
    assert changed.input_labels.tolist() == [inputs.get(k, k) for k in graph.input_labels.tolist()]
    assert changed.output_labels.tolist() == [outputs.get(k, k) for k in graph.output_labels.tolist()]
    assert changed.energies is graph.energies


def test_a_new_table_keeps_the_names():
    graph = Graph.linear(
        [0, EPSILON, 1], [1, 1, 0], input_symbols=Symbols("ab"), output_symbols=Symbols("xy")
    )
    changed = relabel(graph, output_labels=Symbols("zyx"))
    assert changed.input_labels.tolist() == [0, -1, 1]
    assert changed.output_labels.tolist() == [1, 1, 2]
    assert (changed.input_symbols, changed.output_symbols) == (Symbols("ab"), Symbols("zyx"))
    assert relabel(graph, Symbols("ba")).input_labels.tolist() == [1, -1, 0]
    assert relabel(Graph.linear([]), Symbols("ba")).input_symbols == Symbols("ba")


def test_labels_that_cannot_be_changed_are_refused():
    graph = Graph.linear([0], input_symbols=Symbols("a"))
    for label in (-2, 2**31):
        with pytest.raises(GraphError, match=f"output label {label} is outside"):
            relabel(graph, None, {0: label})
    with pytest.raises(GraphError, match="no symbol 'a'"):
        relabel(graph, Symbols("b"))
    with pytest.raises(GraphError, match="no input symbols"):
        relabel(Graph.linear([0]), Symbols("b"))


def test_a_label_is_a_whole_number() -> None:
    with pytest.raises(TypeError):
        relabel(Graph.linear([0]), {0: 1.5})  # type: ignore[dict-item]
