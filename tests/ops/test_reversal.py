import torch
from hypothesis import given, settings

from gtn_ebm import Graph
from gtn_ebm.ops.reversal import reverse
from tests.enumeration import graphs, language, same_language, walks


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_every_path_is_read_backwards(graph):
    expected = [walk._replace(inputs=walk.inputs[::-1], outputs=walk.outputs[::-1]) for walk in walks(graph)]
    assert same_language(language(walks(reverse(graph))), language(expected))


@settings(max_examples=100, deadline=None)
@given(graphs(acyclic=False))
def test_reverse_is_its_own_inverse(graph):
    twice = reverse(reverse(graph))
    for name in ("source", "destination", "input_labels", "output_labels"):
        assert getattr(twice, name).tolist() == getattr(graph, name).tolist()
    for name in ("energies", "initial", "final"):
        assert torch.equal(getattr(twice, name), getattr(graph, name))


def test_attributes_and_energies_go_along():
    energies = torch.tensor([1.0, 2.0], requires_grad=True)
    graph = reverse(Graph.linear([0, 1], energies=energies, attributes={"frame": [4, 5]}))
    assert graph.energies is energies
    assert graph.attributes == {"frame": [4, 5]}
    assert graph.arc_maps[0].tolist() == [0, 1]
