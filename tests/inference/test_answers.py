import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch

from gtn_ebm import (
    CycleError,
    Graph,
    GraphError,
    Structure,
    Symbols,
    best_paths,
    closure,
    free_energy,
    project,
)
from gtn_ebm.inference import answer_energies, best_answers, random_answers
from tests import written_out
from tests.answers import with_random_energies
from tests.enumeration import requiring_grad, walks
from tests.inference.test_sampling import are_likely
from tests.written_out import random_graphs

LOOP = Graph(Structure([0, 0], [0, 1], [0, 1]), torch.tensor([1.0, 0.0], dtype=torch.float64))


def by_answer(graph, found, beta):
    """The free energy of the paths of each string, in the order of the strings."""
    energies = written_out.energies(graph, found)
    answers = sorted({walk.outputs for walk in found})
    places = [[k for k, walk in enumerate(found) if walk.outputs == answer] for answer in answers]
    if math.isinf(beta):
        return answers, torch.stack([energies[of].min() for of in places])
    return answers, torch.stack([written_out.free(energies[of], beta) for of in places])


def test_energies_of_answers_are_sums_over_their_paths():
    def query(graph, beta):
        return answer_energies(graph, sorted({walk.outputs for walk in walks(graph)}), beta)

    written_out.check(random_graphs(200), query, lambda *given: by_answer(*given)[1])


def test_derivatives_of_first_and_second_order():
    for graph, beta in random_graphs(3, 1, most_states=4, large=False):
        answers = by_answer(graph, walks(graph), beta)[0]
        written_out.check_derivatives(
            [(graph, beta)], lambda moved, beta, answers=answers: answer_energies(moved, answers, beta)
        )


@pytest.mark.parametrize("summed", [True, False])
def test_the_best_answers_are_those_of_least_energy(summed):
    for graph, beta in random_graphs(200, 2):
        beta = beta if summed else math.inf
        answers, energies = by_answer(graph, walks(graph), beta)
        wanted = dict(zip(answers, energies.tolist(), strict=True))
        for count in (1, 3, len(answers) + 2):
            found = best_answers(graph, count, beta)
            assert len(found) == min(count, len(answers)) == len({tuple(a.labels) for a in found})
            of_found = [answer.energy.item() for answer in found]
            assert of_found == pytest.approx(sorted(wanted.values())[:count], rel=1e-9, abs=1e-9)
            assert of_found == sorted(of_found)
            assert of_found == pytest.approx(
                [wanted[tuple(answer.labels)] for answer in found], rel=1e-9, abs=1e-9
            )


@pytest.mark.parametrize("beta", [0.5, math.inf])
def test_their_energies_are_differentiable(beta):
    for seed, (tied, _) in enumerate(random_graphs(200, 3, large=False)):
        graph, _ = with_random_energies(tied, seed)
        answers, _ = by_answer(graph, walks(graph), beta)
        ours, theirs = requiring_grad(graph), requiring_grad(graph)
        found = best_answers(graph.with_energies(*ours), 2, beta)
        energies = by_answer(graph.with_energies(*theirs), walks(graph), beta)[1]
        for answer in found:
            gradients = (
                torch.autograd.grad(
                    energy, parts, retain_graph=True, allow_unused=True, materialize_grads=True
                )
                for energy, parts in (
                    (answer.energy, ours),
                    (energies[answers.index(tuple(answer.labels))], theirs),
                )
            )
            for one, other in zip(*gradients, strict=True):
                np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-9)


def test_summing_changes_which_is_best():
    # One path of 0.5 that writes 6, and four of 1 that write 5.
    energies = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.5])
    graph = Graph(Structure([0] * 5, [1] * 5, range(5), [5, 5, 5, 5, 6]), energies)
    assert [answer.labels for answer in best_answers(graph, 2)] == [[5], [6]]
    assert [answer.labels for answer in best_answers(graph, 2, math.inf)] == [[6], [5]]
    assert best_paths(project(graph, "output"), 2, unique=True)[0].output_labels == [6]


def test_of_answers_with_countless_paths():
    # 2⁴⁰ paths write each of three strings.
    source = np.concatenate([np.repeat(np.arange(40), 2), [40, 40, 40]])
    energies = torch.rand(83, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    graph = Graph(Structure(source, source + 1, range(83), [-1] * 80 + [7, 8, 9]), energies)
    answers = best_answers(graph, 5)
    shares = sum(math.exp(float(free_energy(graph) - answer.energy)) for answer in answers)
    assert shares == pytest.approx(1.0, abs=1e-9)
    order = (-energies[80:]).exp().argsort(descending=True) + 7
    assert [answer.labels for answer in answers] == order[:, None].tolist()


def test_of_a_graph_with_cycles():
    assert [answer.labels for answer in best_answers(LOOP, 3)] == [[1], [0, 1], [0, 0, 1]]
    assert [answer.energy.item() for answer in best_answers(LOOP, 3)] == pytest.approx([0.0, 1.0, 2.0])


def test_round_ambiguous_cycles():
    compared = 0
    strings = [labels for length in range(6) for labels in itertools.product([0, 1], repeat=length)]
    for graph, beta in random_graphs(40, 5, most_states=4, large=False):
        dear = graph.with_energies(
            graph.energies.abs() + 1 / beta, graph.initial.abs() + 3 / beta, graph.final.abs()
        )
        cycles = closure(dear)
        energies = answer_energies(cycles, strings, beta)
        found = [answer for answer in best_answers(cycles, 4, beta) if len(answer.labels) < 6]
        wanted = energies.sort().values[: len(found)].tolist()
        compared += len(found) > 1
        assert [answer.energy.item() for answer in found] == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    assert compared > 10


def test_of_strings_that_cannot_be_determinized_in_time():
    # What was written 40 steps before the end decides: all strings of 40 labels must be kept apart.
    length = 40
    source = [0, 0, *np.repeat(np.arange(length), 2)]
    destination = [0, 0, *np.repeat(np.arange(length) + 1, 2)]
    energies = torch.tensor([2.0, 3.0] + [0.0, 5.0] * length, dtype=torch.float64)
    graph = Graph(Structure(source, destination, [0, 1] * (length + 1)), energies)
    answers = best_answers(graph, 4)
    assert answers[0].labels == [0] * length
    shares = [math.exp(float(free_energy(graph) - answer.energy)) for answer in answers]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.4


def test_of_a_path_a_string_the_search_goes_straight_to_the_best():
    # 2³⁰ strings, none of them likely.
    source = np.repeat(np.arange(30), 2)
    graph = Graph(Structure(source, source + 1, np.tile([0, 1], 30)), torch.tensor([0.0, 0.01]).repeat(30))
    answers = best_answers(graph, 2, max_prefixes=200)
    assert [sum(answer.labels) for answer in answers] == [0, 1]


def test_a_search_for_what_is_unlikely_ends_at_its_bound():
    source = np.repeat(np.arange(30), 2)
    graph = Graph(Structure(source, source + 1, np.tile([0, 1], 30)))
    with pytest.raises(GraphError, match="max_prefixes says, with 0 of 2 answers"):
        best_answers(graph, 2, max_prefixes=20)
    assert len(best_answers(graph, 2, math.inf)) == 2


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_random_answers_come_as_often_as_they_are_probable(beta):
    for seed, (graph, _) in enumerate(random_graphs(20, 4)):
        answers, energies = by_answer(graph, walks(graph), beta)
        shares = torch.softmax(-beta * energies, 0).tolist()
        found = random_answers(graph, 500, beta, torch.Generator().manual_seed(seed))
        times = Counter(tuple(answer.labels) for answer in found)
        assert are_likely(times, dict(zip(answers, shares, strict=True)), 500)
        wanted = dict(zip(answers, energies.tolist(), strict=True))
        assert all(
            answer.energy.item() == pytest.approx(wanted[tuple(answer.labels)], rel=1e-9, abs=1e-9)
            for answer in found
        )


def test_random_answers_have_the_energies_of_enumeration():
    for seed, (graph, beta) in enumerate(random_graphs(200, 6)):
        parts = requiring_grad(graph)
        answers, energies = by_answer(graph.with_energies(*parts), walks(graph), beta)
        found = random_answers(graph.with_energies(*parts), 3, beta, torch.Generator().manual_seed(seed))
        ours = torch.stack([answer.energy for answer in found])
        theirs = energies[[answers.index(tuple(answer.labels)) for answer in found]]
        np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=0, atol=1e-9)
        for one, other in zip(*(torch.autograd.grad(x.sum(), parts) for x in (ours, theirs)), strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_energies_come_in_the_dtype_of_the_graph(dtype):
    graph = Graph(
        Structure([0, 0], [1, 1], [0, 1], [3, 4]),
        torch.tensor([0.5, 1.5], dtype=dtype),
        attributes={"frames": [1, 2]},
        output_symbols=Symbols("abcde"),
    )
    for beta in (1.0, math.inf):
        assert [answer.energy.dtype for answer in best_answers(graph, 2, beta)] == [dtype] * 2
    assert random_answers(graph, 1)[0].energy.dtype == dtype


def test_what_is_not_written():
    energies = torch.zeros(1, requires_grad=True)
    found = answer_energies(Graph.linear([0], energies=energies), [[0], [1], []])
    assert found.tolist() == [0.0, math.inf, math.inf]
    found[1].backward()
    assert energies.grad.tolist() == [0.0]
    nothing = Graph(Structure([0], [1], [0], states=3))
    assert best_answers(LOOP, 0) == []
    assert best_answers(nothing, 2) == best_answers(nothing, 2, math.inf) == random_answers(nothing, 2) == []
    assert answer_energies(LOOP, []).shape == (0,)


def test_bad_input_is_refused():
    graph = Graph.linear([0])
    for beta in (0.0, -1.0, math.nan):
        for query in (best_answers, random_answers):
            with pytest.raises(GraphError, match="β must be positive"):
                query(graph, 1, beta)
        with pytest.raises(GraphError, match="β must be positive"):
            answer_energies(graph, [[0]], beta)
    with pytest.raises(GraphError, match="β must be finite"):
        random_answers(graph, 1, math.inf)
    with pytest.raises(GraphError, match="-1 answers"):
        best_answers(graph, -1)
    with pytest.raises(GraphError, match="labels ≥ 0, not -1"):
        answer_energies(graph, [[0], [-1]])
    for query in (best_answers, random_answers):
        with pytest.raises(GraphError, match="nan"):
            query(graph.with_energies(torch.tensor([math.nan])), 1)
    with pytest.raises(CycleError, match="state 0"):
        random_answers(LOOP.with_energies(-LOOP.energies), 1)
