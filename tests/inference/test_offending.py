import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gtn_ebm import Graph, GraphError, Structure, closure, compose, union
from gtn_ebm.inference import best_paths, incorrect_free_energy, most_offending
from tests.answers import path_energies, rivals, same_with_gradient, selector, with_random_energies
from tests.enumeration import Walk, graphs

SEEDS = st.integers(0, 2**32 - 1)


def test_they_are_what_enumeration_gives() -> None:
    for number, (graph, parts) in enumerate(rivals(250)):
        found = path_energies(graph)
        # One desired answer or two, the best among them; every third time also one that is not there.
        answers = {walk.outputs for walk, _ in sorted(found, key=energy_of)[: 1 + number % 2]}
        answers |= {(1,) * 9} if number % 3 == 0 else set()
        desired = union(*map(selector, answers))
        wrong = [(walk, energy) for walk, energy in found if walk.outputs not in answers]
        offending = most_offending(graph, desired)
        if not wrong:
            assert offending is None
            assert incorrect_free_energy(graph, desired) == math.inf
            continue
        assert offending is not None
        best, least = min(wrong, key=energy_of)
        assert (tuple(offending.arcs), tuple(offending.output_labels)) == (best.arcs, best.outputs)
        same_with_gradient(offending.energy, least, parts)
        energies = torch.stack([energy for _, energy in wrong])
        for beta in (0.5, 1.0, 3.0):
            theirs = -torch.logsumexp(-beta * energies, 0) / beta
            same_with_gradient(incorrect_free_energy(graph, desired, beta), theirs, parts)
        same_with_gradient(incorrect_free_energy(graph, desired, math.inf), least, parts)


def energy_of(pair: tuple[Walk, Tensor]) -> float:
    return pair[1].item()


@settings(max_examples=100, deadline=None)
@given(graphs(), graphs(acyclic=False, acceptor=True), SEEDS)
def test_desired_answers_may_be_any_acceptor(graph: Graph, desired: Graph, seed: int) -> None:
    graph, _ = with_random_energies(graph, seed)
    found = path_energies(graph)
    strings = list({walk.outputs for walk, _ in found})
    reading = compose([selector(string) for string in strings], desired)
    accepted = {string for string, graph in zip(strings, reading, strict=True) if graph.states}
    wrong = [energy.item() for walk, energy in found if walk.outputs not in accepted]
    assert (
        abs(incorrect_free_energy(graph, desired, math.inf).item() - min(wrong, default=1e9)) < 1e-9
        or not wrong
    )


def test_it_is_found_behind_more_right_paths_than_anyone_would_list() -> None:
    # 2⁴⁰ paths write the desired answer, and all are better than the one that does not.
    steps = range(40)
    source = [q for q in steps for _ in range(2)]
    structure = Structure([*source, 0], [*(q + 1 for q in source), 40], [0] * 81, [0] * 80 + [1])
    energies = torch.cat([torch.linspace(0, 1, 80), torch.tensor([1e3])])
    graph, desired = Graph(structure, energies), Graph.linear([0] * 40)
    assert {tuple(path.output_labels) for path in best_paths(graph, 100)} == {(0,) * 40}
    found = most_offending(graph, desired)
    assert found is not None
    assert (found.output_labels, found.energy.item()) == ([1], 1e3)


def test_lists_run_side_by_side() -> None:
    graph = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([1.0, 2.0]))
    desired = [Graph.linear([label]) for label in (0, 1)]
    assert [path.output_labels for path in most_offending([graph] * 2, desired) if path] == [[1], [0]]
    assert incorrect_free_energy([graph] * 2, desired, math.inf).tolist() == [2.0, 1.0]
    assert most_offending([], []) == []
    assert incorrect_free_energy([], []).shape == (0,)


def test_where_no_answer_is_wrong_the_energy_is_infinite_and_its_gradient_zero() -> None:
    energies = torch.zeros(1, requires_grad=True)
    graph = Graph(Structure([0], [1], [0]), energies)
    for desired in (graph.detach(), closure(graph.detach())):
        assert most_offending(graph, desired) is None
        for beta in (1.0, math.inf):
            energy = incorrect_free_energy(graph, desired, beta)
            assert energy == math.inf
            assert torch.autograd.grad(energy, energies)[0].tolist() == [0.0]


@pytest.mark.parametrize("query", [most_offending, incorrect_free_energy])
def test_bad_input_is_refused(query) -> None:
    graph = Graph.linear([0])
    with pytest.raises(GraphError, match="only an acceptor"):
        query(graph, Graph.linear([0], [1]))
    with pytest.raises(GraphError, match="2 graphs, but 1"):
        query([graph] * 2, [graph])
    with pytest.raises(GraphError, match="one graph and its desired answers, or a list"):
        query([graph], graph)
    with pytest.raises(GraphError, match="nan"):
        query(Graph.linear([0], energies=torch.tensor([math.nan])), Graph.linear([1]))
    with pytest.raises(GraphError, match="β must be positive"):
        incorrect_free_energy(graph, graph, 0.0)
