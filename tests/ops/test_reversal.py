import pynini
import torch
from hypothesis import given, settings

from benchmarks.openfst import sum_over_paths, to_openfst
from gtn_ebm import Graph
from gtn_ebm.ops.reversal import reverse
from tests.enumeration import FINITE_ENERGIES, graphs, language, same_language, walks


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


@settings(max_examples=200, deadline=None)
@given(graphs(energies=FINITE_ENERGIES), graphs(energies=FINITE_ENERGIES))
def test_what_a_reversed_graph_accepts_is_what_openfsts_does(graph, other):
    # The sum over all that two graphs have in common tells one language from another.
    ours = pynini.compose(to_openfst(other).arcsort("olabel"), to_openfst(reverse(graph)))
    theirs = pynini.compose(to_openfst(other).arcsort("olabel"), pynini.reverse(to_openfst(graph)))
    assert abs(sum_over_paths(ours) - sum_over_paths(theirs)) < 1e-4 or sum_over_paths(ours) == float("inf")
    assert (sum_over_paths(ours) == float("inf")) == (sum_over_paths(theirs) == float("inf"))


def test_attributes_and_energies_go_along():
    energies = torch.tensor([1.0, 2.0], requires_grad=True)
    graph = reverse(Graph.linear([0, 1], energies=energies, attributes={"frame": [4, 5]}))
    assert graph.energies is energies
    assert graph.attributes == {"frame": [4, 5]}
    assert graph.arc_maps[0].tolist() == [0, 1]
