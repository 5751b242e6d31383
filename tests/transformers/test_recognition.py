import numpy as np
import pytest
import torch
from torch import nn

from gtn_ebm import Graph, GraphError, Structure, Symbols
from gtn_ebm.transformers import RecognitionTransformer, interpretation_graph
from tests.enumeration import walks


def cut_or_not():
    """Two pieces, or both in one; the energy of cutting is 0.25."""
    structure = Structure([0, 1, 0], [1, 2, 2], [0, 0, 0])
    return Graph(structure, torch.tensor([0.25, 0.0, 0.0]), attributes={"number": torch.tensor([7, 8, 9])})


def test_every_piece_gets_every_class():
    energies = torch.tensor([[1.0, 2.0], [4.0, 8.0], [16.0, 32.0]])
    graph = interpretation_graph(cut_or_not(), energies, classes=Symbols("ab"))
    found = {walk.inputs: walk.energy for walk in walks(graph)}
    assert found == {
        (0, 0): 5.25, (0, 1): 9.25, (1, 0): 6.25, (1, 1): 10.25, (0,): 16.0, (1,): 32.0
    }  # fmt: skip
    assert graph.attributes["number"].tolist() == [7, 7, 8, 8, 9, 9]
    assert graph.arc_maps[0].tolist() == [0, 0, 1, 1, 2, 2]
    assert graph.input_symbols == Symbols("ab")


def test_frames_are_a_linear_segmentation():
    graph = interpretation_graph(Graph.linear(np.arange(3)), torch.arange(6.0).reshape(3, 2))
    assert (graph.states, graph.arcs, len(walks(graph))) == (4, 6, 8)
    empty = interpretation_graph(Graph.linear([]), torch.zeros(0, 2))
    assert (empty.states, empty.arcs) == (1, 0)


def test_a_batch_is_seen_at_once_and_gradients_reach_network_and_pieces():
    network = nn.Linear(3, 4).double()
    segmentations = []
    for arcs in (3, 2):
        pieces = torch.randn(arcs, 3, dtype=torch.float64, requires_grad=True)
        segmentations.append(Graph.linear(np.arange(arcs), attributes={"pixels": pieces}))
    graphs = RecognitionTransformer(network, attribute="pixels")(segmentations)
    for segmentation, graph in zip(segmentations, graphs, strict=True):
        torch.testing.assert_close(
            graph.energies.reshape(-1, 4), network(segmentation.attributes["pixels"]), rtol=0, atol=1e-12
        )
        assert graph.attributes == {}
        graph.energies.sum().backward(retain_graph=True)
        assert segmentation.attributes["pixels"].grad.abs().sum() > 0
    assert network.bias.grad.tolist() == [5.0] * 4
    assert RecognitionTransformer(network)([]) == []


def test_a_network_may_see_more_than_pieces_and_serve_several_graphs():
    """Energies of two kinds from one look at two images, of three columns and of two."""
    seen = {"whole": torch.arange(6.0).reshape(3, 2), "columns": torch.arange(15.0).reshape(5, 3)}
    pieces = cut_or_not()
    whole = RecognitionTransformer(lambda batch: batch["whole"], Symbols("ab"), segment=lambda _: [pieces])
    columns = RecognitionTransformer(
        lambda batch: batch["columns"], segment=lambda _: [Graph.linear([0] * 3), Graph.linear([0] * 2)]
    )
    (graph,) = whole(seen)
    assert graph.energies.tolist() == [0.25, 1.25, 2.0, 3.0, 4.0, 5.0]
    assert graph.attributes["number"].tolist() == [7, 7, 8, 8, 9, 9]
    assert torch.cat([graph.energies for graph in columns(seen)]).tolist() == list(range(15))
    assert RecognitionTransformer(lambda _: None, segment=lambda _: [])(seen) == []


def test_what_does_not_fit_is_refused():
    segmentation = cut_or_not()
    with pytest.raises(GraphError, match=r"needs energies \[3, classes\], not \[2, 2\]"):
        interpretation_graph(segmentation, torch.zeros(2, 2))
    with pytest.raises(GraphError, match="energies of 2 classes, but 3 names"):
        interpretation_graph(segmentation, torch.zeros(3, 2), classes=Symbols("abc"))
    with pytest.raises(GraphError, match=r"attribute 'input'.* it has \['number'\]"):
        RecognitionTransformer(nn.Identity())([segmentation])
    pieces = segmentation.with_attributes(input=torch.zeros(3))
    with pytest.raises(GraphError, match=r"network gave energies \[3\] of 3 pieces"):
        RecognitionTransformer(nn.Identity())([pieces])
    with pytest.raises(GraphError, match="network gave energies None of 3 pieces"):
        RecognitionTransformer(lambda _: None, segment=lambda _: [segmentation])(0)
    with pytest.raises(GraphError, match="segmentations must be a list of Graphs, not None"):
        RecognitionTransformer(nn.Identity(), segment=lambda _: None)(0)
    with pytest.raises(GraphError, match="must be a torch module, or a function, not 3"):
        RecognitionTransformer(3)
