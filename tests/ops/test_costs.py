import itertools
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import EPSILON, Graph, GraphError, Structure, Symbols, closure, compose, free_energy, union
from gtn_ebm.ops.costs import cost_augmented, edit_distance, hamming_distance
from gtn_ebm.ops.properties import properties
from tests.enumeration import graphs, walks
from tests.string_distances import (
    edits,
    nearest,
    path_energies,
    selector,
    substitutions,
    with_random_energies,
)

String = tuple[int, ...]
LABELS = (0, 1, 2)
STRINGS = [string for length in range(5) for string in itertools.product(LABELS, repeat=length)]
SELECTORS = [selector(string) for string in STRINGS]
KINDS = [(edit_distance, edits), (hamming_distance, substitutions)]
ANSWERS = st.lists(st.lists(st.integers(0, 3), max_size=4).map(tuple), min_size=1, max_size=3)


@pytest.mark.parametrize(("acceptor", "distance"), KINDS)
@settings(max_examples=40, deadline=None)
@given(ANSWERS, st.sampled_from([None, 1, 2, 3]))
def test_each_string_has_one_path_whose_energy_is_its_distance(
    acceptor: Callable[..., Graph],
    distance: Callable[[String, String], int],
    answers: Sequence[String],
    at_most: int | None,
) -> None:
    found = acceptor(union(*map(selector, answers)), LABELS, at_most=at_most)
    assert properties(found).i_deterministic
    for string, reading in zip(STRINGS, compose(SELECTORS, found), strict=True):
        expected = min(nearest(string, answers, distance), math.inf if at_most is None else at_most)
        assert [walk.energy for walk in walks(reading)] == [expected]


def test_desired_answers_may_be_any_acceptor() -> None:
    # (0 1)*: with a cycle, epsilons, several paths for a string, and energies that count for nothing.
    loop = closure(selector((0, 1)))
    twice = union(loop, loop)
    answers = [(0, 1) * times for times in range(4)]
    for acceptor, distance in KINDS:
        found = acceptor(twice.with_energies(twice.energies + 5.0), LABELS, at_most=3)
        for string in STRINGS:
            reading = walks(compose(selector(string), found))
            assert [walk.energy for walk in reading] == [min(nearest(string, answers, distance), 3)]


def test_a_bound_keeps_the_states_in_proportion_to_the_answer() -> None:
    labels = range(10)
    sizes = [
        edit_distance(selector(tuple(i % 10 for i in range(length))), labels, at_most=2).states
        for length in (10, 20, 40)
    ]
    assert sizes[2] - sizes[1] == 2 * (sizes[1] - sizes[0])
    assert sizes[2] < 10 * 40


@pytest.mark.parametrize(("acceptor", "distance"), KINDS)
@settings(max_examples=200, deadline=None)
@given(
    graphs(),
    ANSWERS,
    st.sampled_from([0.3, 1.0]),
    st.sampled_from([0.5, 1.0, math.inf]),
    st.integers(0, 2**32 - 1),
)
def test_competition_is_with_energies_less_the_margin(
    acceptor: Callable[..., Graph],
    distance: Callable[[String, String], int],
    graph: Graph,
    answers: Sequence[String],
    margin: float,
    beta: float,
    seed: int,
) -> None:
    graph, parts = with_random_energies(graph, seed)
    cost = acceptor(union(*map(selector, answers)), [0, 1])
    ours = free_energy(cost_augmented(graph, cost, margin), beta)
    found = path_energies(graph)
    less = [energy - margin * nearest(walk.outputs, answers, distance) for walk, energy in found]
    if not less:
        assert ours == math.inf
        return
    theirs = (
        torch.stack(less).min() if math.isinf(beta) else -torch.logsumexp(-beta * torch.stack(less), 0) / beta
    )
    assert abs(ours - theirs) < 1e-9
    for one, two in zip(*(torch.autograd.grad(value, parts) for value in (ours, theirs)), strict=True):
        assert torch.allclose(one, two, atol=1e-9)


def test_symbols_and_dtype_are_those_of_the_desired_answer() -> None:
    letters = Symbols("ab")
    desired = Graph.linear([0, 1], input_symbols=letters, energies=torch.zeros(2, dtype=torch.float16))
    found = edit_distance(desired, [0, 1])
    assert (found.input_symbols, found.output_symbols, found.dtype) == (letters, letters, torch.float16)


def test_strings_of_no_labels_are_the_empty_one() -> None:
    found = edit_distance(selector((0, 1)), [])
    assert [(walk.inputs, walk.energy) for walk in walks(found)] == [((), 2.0)]


@pytest.mark.parametrize("acceptor", [edit_distance, hamming_distance])
@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((Graph.linear([0], [1]), [0]), {}, "only an acceptor"),
        ((Graph.linear([0]), [EPSILON]), {}, "labels ≥ 0"),
        ((Graph.linear([0]), [0.5]), {}, "integers"),
        ((Graph(Structure([0], [1], [0]), final=[]), [0]), {}, "accept nothing"),
        ((Graph.linear([0]), [0]), {"at_most": 0}, "at_most is 0"),
        ((Graph.linear([0]), [0]), {"at_most": math.nan}, "at_most is nan"),
        ((Graph.linear([0, 1, 2, 0, 1, 2]), [0, 1, 2]), {"max_states": 5}, "more than 5 states"),
    ],
)
def test_what_has_no_distance_is_refused(
    acceptor: Callable[..., Graph], arguments: tuple, options: dict, message: str
) -> None:
    with pytest.raises(GraphError, match=message):
        acceptor(*arguments, **options)
