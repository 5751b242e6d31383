import torch
from hypothesis import given, settings

from gtn_ebm import Graph, Structure, connect
from tests.enumeration import graphs, walks


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_only_what_lies_on_a_path_is_kept(graph):
    found, connected = walks(graph), connect(graph)
    used = sorted({arc for walk in found for arc in walk.arcs})
    assert connected.arc_maps[0].tolist() == used
    visited = {
        state for walk in found for state in (walk.first, *graph.destination[list(walk.arcs)].tolist())
    }
    assert connected.states == len(visited)
    assert sorted((w.inputs, w.outputs, w.energy) for w in walks(connected)) == sorted(
        (w.inputs, w.outputs, w.energy) for w in found
    )


@settings(max_examples=100, deadline=None)
@given(graphs(acyclic=False))
def test_in_cyclic_graphs_too(graph):
    connected = connect(graph)
    assert connect(connected).arcs == connected.arcs
    bound = 6
    assert sorted((w.inputs, w.outputs, w.energy) for w in walks(connected, bound)) == sorted(
        (w.inputs, w.outputs, w.energy) for w in walks(graph, bound)
    )


def test_attributes_and_gradients_follow():
    energies = torch.tensor([1.0, 2.0, torch.inf], requires_grad=True)
    graph = Graph(
        Structure([0, 0, 0], [1, 2, 1], [0, 1, 2]), energies, final=[1], attributes={"frame": [7, 8, 9]}
    )
    connected = connect(graph)
    assert connected.attributes["frame"] == [7]
    connected.energies.sum().backward()
    assert energies.grad.tolist() == [1.0, 0.0, 0.0]
