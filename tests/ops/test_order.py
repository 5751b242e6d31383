import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import CycleError, Graph, GraphError, Structure, arc_sort, topological_sort
from tests.enumeration import graphs, walks


def paths_of(graph: Graph) -> list:
    return sorted(
        (w.inputs, w.outputs, w.energy, tuple(graph.arc_maps[0][list(w.arcs)])) for w in walks(graph)
    )


def paths_before(graph: Graph) -> list:
    return sorted((w.inputs, w.outputs, w.energy, w.arcs) for w in walks(graph))


@settings(max_examples=150, deadline=None)
@given(graphs(), st.sampled_from(["input", "output"]))
def test_arc_sort_orders_by_state_and_label(graph, side):
    ordered = arc_sort(graph, side)
    labels = ordered.input_labels if side == "input" else ordered.output_labels
    # Arcs of one state and label stay in the order they had.
    keys = list(zip(ordered.source, labels, ordered.arc_maps[0], strict=True))
    assert keys == sorted(keys)
    assert paths_of(ordered) == paths_before(graph)


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_topological_sort_makes_every_arc_lead_up(graph):
    ordered = topological_sort(graph)
    assert (ordered.source < ordered.destination).all()
    assert (np.diff(ordered.source) >= 0).all()
    assert paths_of(ordered) == paths_before(graph)


def test_attributes_and_gradients_follow():
    energies = torch.tensor([1.0, 2.0], requires_grad=True)
    graph = Graph(Structure([1, 0], [2, 1], [5, 6]), energies, attributes={"frame": [7, 8]})
    ordered = topological_sort(graph)
    assert ordered.attributes["frame"] == [8, 7]
    (ordered.energies * torch.tensor([10.0, 20.0])).sum().backward()
    assert energies.grad.tolist() == [20.0, 10.0]


def test_a_cycle_has_no_order():
    with pytest.raises(CycleError, match=r"state [12] lies on a cycle"):
        topological_sort(Graph(Structure([0, 1, 2], [1, 2, 1], [0, 0, 0])))


def test_there_are_two_sides():
    with pytest.raises(GraphError, match="'input' or 'output'"):
        arc_sort(Graph.linear([0]), "label")
