import math

import pytest
import torch
from hypothesis import given, settings

from gtn_ebm import Graph, GraphError, Structure, compose, free_energy
from gtn_ebm.transformers import CompositionTransformer, Transducer, bigram, word_pieces
from tests.enumeration import FINITE_ENERGIES, graphs, language, walks


@settings(max_examples=100, deadline=None)
@given(graphs(), graphs(dtype=torch.float32))
def test_composition_is_that_with_the_transducer_in_the_dtype_of_what_comes_in(graph, transducer):
    expected = walks(compose(graph, transducer.to(graph.dtype)))
    for given_or_learned in (transducer, Transducer(transducer)):
        (found,) = CompositionTransformer(given_or_learned)([graph])
        assert language(walks(found)) == language(expected)


def test_learned_energies_are_parameters_and_infinity_is_not():
    graph = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([0.5, math.inf]))
    transducer = Transducer(graph)
    optimiser = torch.optim.AdamW(transducer.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        optimiser.zero_grad()
        free_energy(transducer()).backward()
        optimiser.step()
    moved = transducer()
    assert moved.energies[1] == math.inf
    assert moved.energies[0] < 0.5
    assert moved.initial[1] == moved.final[0] == math.inf
    assert all(parameter.isfinite().all() for parameter in transducer.parameters())
    again = Transducer(graph)
    again.load_state_dict(transducer.state_dict())
    assert torch.equal(again().energies, moved.energies)


@settings(max_examples=20, deadline=None)
@given(graphs(energies=FINITE_ENERGIES, most_arcs=5), graphs(energies=FINITE_ENERGIES, most_arcs=5))
def test_derivatives_of_learned_energies(graph, transducer):
    learned = Transducer(transducer)
    if not walks(compose(graph, transducer)):
        return

    def free(energies):
        held = torch.func.functional_call(learned, {"energies": energies})
        return free_energy(CompositionTransformer(held)([graph]))

    energies = learned.energies.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(free, [energies])
    assert torch.autograd.gradgradcheck(free, [energies])


def test_bigram_has_an_arc_for_each_pair():
    graph = bigram(3)
    energies = torch.arange(12.0)
    for string in ([], [2], [2, 0], [1, 1, 2]):
        (walk,) = walks(compose(Graph.linear(string), graph.with_energies(energies)))
        pairs = zip([-1, *string], string, strict=False)
        assert walk.energy == sum(3 * (1 + before) + label for before, label in pairs)
    assert bigram(3).arcs == 12


def test_word_pieces_are_marginalised_over():
    pieces = [[0], [1], [0, 1], [0, 1, 0]]
    energies = {0: 1.0, 1: 2.0, 2: 0.5, 3: 4.0}
    graph = word_pieces(pieces)
    weighted = graph.with_energies(torch.tensor([energies.get(k, 0.0) for k in graph.input_labels.tolist()]))
    found = language(walks(compose(weighted, Graph.linear([0, 1, 0]))))
    expected = {(0, 1, 0): 4.0, (2, 0): 1.5, (3,): 4.0}
    assert {read: of_one for (read, _), (of_one,) in found.items()} == expected
    total = -math.log(sum(math.exp(-energy) for energy in expected.values()))
    learned = Transducer(weighted)
    free = free_energy(compose(learned(), Graph.linear([0, 1, 0])))
    assert free.item() == pytest.approx(total, rel=1e-6)
    free.backward()
    read = graph.input_labels == 2
    assert learned.energies.grad[torch.from_numpy(read)].item() == pytest.approx(
        math.exp(total - 1.5), rel=1e-5
    )


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([], "a piece at least"),
        ([[0], []], "a piece at least"),
        ([[0], [1, -1]], "≥ 0, not -1"),
        ([None], "a list of labels"),
        (["ab"], "≥ 0, not 'a'"),
        ([[1.5]], "≥ 0, not 1.5"),
    ],
)
def test_word_pieces_that_are_none_are_refused(pieces, message):
    with pytest.raises(GraphError, match=message):
        word_pieces(pieces)


@pytest.mark.parametrize("energy", [math.nan, -math.inf])
def test_energies_that_are_none_are_refused(energy):
    with pytest.raises(GraphError, match="must not be NaN or −inf"):
        Transducer(Graph.linear([0], energies=torch.tensor([energy])))


@pytest.mark.parametrize("labels", [0, -1, 1.5, None, "a"])
def test_bigram_without_a_label_is_refused(labels):
    with pytest.raises(GraphError, match="a number of labels, 1 or more, not"):
        bigram(labels)


def test_no_graphs_are_no_graphs():
    assert CompositionTransformer(bigram(2))([]) == []
