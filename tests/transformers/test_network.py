import math

import numpy as np
import pytest
import torch
from torch import nn

from gtn_ebm import Graph, GraphError, Structure, Symbols, compose
from gtn_ebm.losses import LOSSES, GraphLoss
from gtn_ebm.ops import edit_distance
from gtn_ebm.transformers import (
    CompositionTransformer,
    GraphTransformerNetwork,
    RecognitionTransformer,
    Transducer,
    bigram,
    word_pieces,
)
from tests.enumeration import log_sum, walks

ANSWERS = [[0, 1], [1]]


def segmentations():
    """Two inputs: two pieces that may also be one, and a piece alone; in float64."""
    rng = np.random.default_rng(0)
    zeros = torch.zeros(3, dtype=torch.float64)
    pieces = [torch.from_numpy(rng.standard_normal((arcs, 3))) for arcs in (3, 1)]
    cut = Structure([0, 1, 0], [1, 2, 2], [0, 0, 0])
    return [
        Graph(cut, zeros, attributes={"input": pieces[0]}),
        Graph.linear([0], energies=zeros[:1], attributes={"input": pieces[1]}),
    ]


def system(loss):
    torch.manual_seed(1)
    names = Symbols("ab")
    return GraphTransformerNetwork(
        RecognitionTransformer(nn.Sequential(nn.Linear(3, 3), nn.Softplus())),
        CompositionTransformer(Transducer(word_pieces([[0], [1], [0, 1]]).with_symbols(None, names))),
        CompositionTransformer(Transducer(bigram(2).with_symbols(names))),
        loss=loss,
    ).double()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_any_loss_plugs_in_by_name_and_reaches_every_parameter(name):
    costly = {"costs", "expected_cost"} & set(LOSSES[name].needs)
    network = system(GraphLoss(name, cost=edit_distance) if costly else name)
    loss = network.loss(segmentations(), ANSWERS)
    assert loss.shape == (2,)
    assert loss.isfinite().all()
    if name in ("lvq2", "perceptron", "hinge"):
        loss = loss + network.loss(segmentations(), [[1, 0], [0]])  # or else there is nothing to learn
    loss.sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    assert sum(parameter.grad.abs().sum() for parameter in network.parameters()) > 0


def test_negative_log_likelihood_is_that_of_all_paths_written_out():
    network = system("nll")
    found = network.loss(segmentations(), ANSWERS)
    for graph, answer, loss in zip(network(segmentations()), ANSWERS, found, strict=True):
        every = walks(graph)
        desired = [walk for walk in every if walk.outputs == tuple(answer)]
        assert loss.item() == pytest.approx(log_sum(desired, 1.0) - log_sum(every, 1.0), abs=1e-9)


def test_derivatives_through_the_whole_network():
    network = system("nll")
    names, values = zip(*network.named_parameters(), strict=True)

    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self):
            return self.network.loss(segmentations(), ANSWERS)

    def loss(*values):
        named = {f"network.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(Loss(), named, ())

    assert torch.autograd.gradcheck(loss, [value.detach().requires_grad_() for value in values])


def test_reading_is_the_best_paths_answer_with_its_posterior():
    network = system("nll")
    for graph, reading in zip(network(segmentations()), network.read(segmentations()), strict=True):
        every = walks(graph)
        best = min(every, key=lambda walk: walk.energy)
        same = [walk for walk in every if walk.outputs == best.outputs]
        assert reading.labels == list(best.outputs)
        assert reading.energy == pytest.approx(log_sum(same, 1.0), abs=1e-9)
        assert reading.confidence == pytest.approx(math.exp(log_sum(every, 1.0) - log_sum(same, 1.0)))


def test_training_reads_what_it_was_taught():
    network = system("nll")
    optimiser = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(100):
        optimiser.zero_grad()
        network.loss(segmentations(), ["ab", "b"]).sum().backward()
        optimiser.step()
    readings = network.read(segmentations())
    assert [reading.labels for reading in readings] == ANSWERS
    assert min(reading.confidence for reading in readings) > 0.9


def test_answers_out_of_reach_are_inf_without_a_gradient():
    network = system("nll")
    loss = network.loss(segmentations()[1:], [[0, 0, 0]])
    assert loss.item() == math.inf
    loss.sum().backward()
    assert not any(parameter.grad.any() for parameter in network.parameters())


def test_nothing_to_read_is_none():
    reads_two = GraphTransformerNetwork(CompositionTransformer(Graph.linear([0, 0])))
    graphs = [Graph.linear([0]), Graph.linear([0, 0])]
    nothing, something = reads_two.read(graphs)
    assert nothing is None
    assert something.labels == [0, 0]
    assert something.confidence == 1.0
    assert compose(graphs[0], Graph.linear([0, 0])).arcs == 0
    with pytest.raises(GraphError, match="finite β"):
        reads_two.read(graphs, beta=math.inf)


def test_right_paths_may_be_given():
    network = GraphTransformerNetwork(loss="perceptron")
    graph = Graph(Structure([0, 0], [1, 1], [5, 6], [0, 0]), torch.tensor([1.0, 0.5]))
    right = graph.with_energies(torch.tensor([1.0, math.inf]))
    assert network.loss([graph], [[0]]).item() == 0.0
    assert network.loss([graph], [[0]], right=[right]).item() == 0.5


def test_what_is_no_part_of_a_network_is_refused():
    for arguments, options, message in (
        ((3,), {}, "transformers are torch modules, not 3"),
        ((), {"loss": None}, "no loss None"),
        ((), {"selector": 3}, "must be a PathSelector, not 3"),
    ):
        with pytest.raises(GraphError, match=message):
            GraphTransformerNetwork(*arguments, **options)


def test_unknown_losses_are_refused():
    with pytest.raises(GraphError, match="no loss 'nil'"):
        GraphTransformerNetwork(loss="nil")
