import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import Graph, GraphError, Structure, Symbols, free_energy
from gtn_ebm.transformers import ForwardScorer, PathSelector, ViterbiTransformer
from tests.enumeration import FINITE_ENERGIES, graphs, language, walks

ANSWERS = st.lists(st.integers(0, 1), max_size=3)


@settings(max_examples=200, deadline=None)
@given(graphs(), ANSWERS)
def test_path_selector_keeps_the_paths_that_write_the_answer(graph, answer):
    (kept,) = PathSelector()([graph], [answer])
    wanted = [walk for walk in walks(graph) if walk.outputs == tuple(answer)]
    found = language(walks(kept))
    assert {read: of_one for (read, _), of_one in found.items()} == {
        read: pytest.approx(of_one, abs=1e-12) for (read, _), of_one in language(wanted).items()
    }


def test_answers_may_be_strings_acceptors_or_anything_with_an_acceptor():
    graph = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([1.0, 2.0]), input_symbols=Symbols("ab"))
    either = Graph(Structure([0, 0], [1, 1], [0, 1]))
    selected = PathSelector()([graph] * 3, ["b", [0], either])
    assert [kept.arcs for kept in selected] == [1, 1, 2]
    names = {"first": [0], "second": [1]}
    (kept,) = PathSelector(lambda name: Graph.linear(names[name]))([graph], ["second"])
    assert kept.energies.tolist() == [2.0]
    with pytest.raises(GraphError, match="1 graphs, but 2 desired answers"):
        PathSelector()([graph], ["a", "b"])
    with pytest.raises(GraphError, match="labels ≥ 0, not -1"):
        PathSelector()([graph], [[0, -1]])
    with pytest.raises(GraphError, match="an answer is labels"):
        PathSelector()([graph], [None])
    with pytest.raises(GraphError, match="no output symbols"):
        PathSelector()([either], ["a"])
    with pytest.raises(GraphError, match="no symbol 'c'"):
        PathSelector()([graph], ["c"])


@settings(max_examples=200, deadline=None)
@given(graphs(acyclic=True))
def test_viterbi_transformer_keeps_the_best_path(graph):
    (best,) = ViterbiTransformer()([graph])
    every, found = walks(graph), walks(best)
    if not every:
        assert found == []
        return
    (walk,) = found
    assert walk.energy == pytest.approx(min(walk.energy for walk in every), abs=1e-12)
    assert (walk.inputs, walk.outputs) in language(every)
    assert graph.energies[torch.from_numpy(best.arc_maps[0].astype(int))].sum().item() == pytest.approx(
        best.energies.sum().item()
    )


@settings(max_examples=20, deadline=None)
@given(graphs(energies=FINITE_ENERGIES), st.sampled_from([0.5, 1.0, math.inf]))
def test_gradients_flow_through_selection_and_scores(graph, beta):
    energies = graph.energies.clone().requires_grad_()
    whole = graph.with_energies(energies)
    scores = ForwardScorer(beta)([whole, *ViterbiTransformer()([whole])])
    torch.testing.assert_close(scores, free_energy([whole, *ViterbiTransformer()([whole])], beta))
    if beta < math.inf and scores.isfinite().all():

        def score(energies):
            moved = graph.with_energies(energies)
            return ForwardScorer(beta)([moved, *PathSelector()([moved], [[0]])]).nan_to_num(posinf=0.0)

        assert torch.autograd.gradcheck(score, [energies])


def test_attributes_follow_the_best_path():
    graph = Graph(
        Structure([0, 0, 1], [1, 1, 2], [0, 1, 0]), torch.tensor([2.0, 1.0, 0.0]),
        attributes={"piece": ["a", "b", "c"]},
    )  # fmt: skip
    (best,) = ViterbiTransformer()([graph])
    assert best.attributes == {"piece": ["b", "c"]}


def test_beta_must_be_positive():
    with pytest.raises(GraphError, match="β must be positive"):
        ForwardScorer(0.0)
