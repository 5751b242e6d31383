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
from tests.answers import (
    edits,
    nearest,
    path_energies,
    rivals,
    same_with_gradient,
    selector,
    substitutions,
)
from tests.enumeration import walks

String = tuple[int, ...]
LABELS = (0, 1, 2)
STRINGS = [string for length in range(5) for string in itertools.product(LABELS, repeat=length)]
SELECTORS = [selector(string) for string in STRINGS]
KINDS = [(edit_distance, edits), (hamming_distance, substitutions)]
ANSWERS = st.lists(st.lists(st.integers(0, 3), max_size=4).map(tuple), min_size=1, max_size=3)


@pytest.mark.parametrize(("acceptor", "distance"), KINDS)
@settings(max_examples=25, deadline=None)
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
def test_competition_is_with_energies_less_the_margin(
    acceptor: Callable[..., Graph], distance: Callable[[String, String], int]
) -> None:
    for number, (graph, parts) in enumerate(rivals(200)):
        found, margin = path_energies(graph), [0.3, 1.0][number % 2]
        # The best answer is desired, and every third time another that is not there.
        answers = [min(found, key=lambda pair: pair[1].item())[0].outputs, *[(1, 0, 1, 1)][: number % 3 // 2]]
        competing = cost_augmented(graph, acceptor(union(*map(selector, answers)), [0, 1]), margin=margin)
        energies = torch.stack(
            [energy - margin * nearest(walk.outputs, answers, distance) for walk, energy in found]
        )
        same_with_gradient(free_energy(competing, math.inf), energies.min(), parts)
        for beta in (0.5, 1.0):
            theirs = -torch.logsumexp(-beta * energies, 0) / beta
            same_with_gradient(free_energy(competing, beta), theirs, parts)


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
        ((Graph.linear([0]), [0]), {"at_most": 0}, "at_most must be an integer of 1 or more, not 0"),
        ((Graph.linear([0]), [0]), {"at_most": 1.5}, "not 1.5"),
        ((Graph.linear([0]), [0]), {"at_most": math.nan}, "at_most must be a whole number, not nan"),
        ((Graph.linear([0, 1, 2, 0, 1, 2]), [0, 1, 2]), {"max_states": 5}, "more than 5 states"),
    ],
)
def test_what_has_no_distance_is_refused(
    acceptor: Callable[..., Graph], arguments: tuple, options: dict, message: str
) -> None:
    with pytest.raises(GraphError, match=message):
        acceptor(*arguments, **options)
