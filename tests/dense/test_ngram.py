import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import EPSILON, Graph, GraphError, compose, free_energy
from gtn_ebm.dense import ngram

SEQUENCES = st.lists(st.lists(st.integers(0, 2), max_size=5), min_size=1, max_size=6)


def energy(graph, sequence):
    return float(free_energy(compose(graph, Graph.linear(sequence).to(torch.float64))))


@settings(max_examples=60, deadline=None)
@given(SEQUENCES, st.integers(1, 4), st.sampled_from([0.0, 0.3, 0.9]))
def test_probabilities_add_up_to_one(sequences, order, discount):
    graph = ngram(sequences, order, discount, torch.float64)
    assert float(free_energy(graph)) == pytest.approx(0.0, abs=1e-9)
    assert all(energy(graph, sequence) < math.inf for sequence in sequences)
    if discount == 0:
        assert EPSILON not in graph.input_labels


@settings(max_examples=60, deadline=None)
@given(SEQUENCES, st.integers(1, 4))
def test_without_a_discount_probabilities_are_relative_frequencies(sequences, order):
    graph = ngram(sequences, order, 0.0, torch.float64)
    longer, shorter = Counter(), Counter()
    for sequence in sequences:
        padded = ["start", *sequence, "end"]
        for place in range(1, len(padded)):
            history = tuple(padded[max(0, place - order + 1) : place]) if order > 1 else ()
            longer[history, padded[place]] += 1
            shorter[history] += 1
    for sequence in sequences:
        padded = ["start", *sequence, "end"]
        expected = 0.0
        for place in range(1, len(padded)):
            history = tuple(padded[max(0, place - order + 1) : place]) if order > 1 else ()
            expected -= math.log(longer[history, padded[place]] / shorter[history])
        assert energy(graph, sequence) == pytest.approx(expected, abs=1e-12)


def test_what_is_discounted_goes_to_shorter_histories():
    graph = ngram([[0, 1], [0, 2]], 2, 0.5, torch.float64)
    # Unigrams of 0, 1, 2 and the end: 2, 1, 1 and 2 of 6. After 0 came 1 and 2, once each; after 2 the end.
    after_start, after_0, after_2 = (2 - 0.5) / 2 + 0.25 * 2 / 6, 0.5 * 2 / 6, (1 - 0.5) + 0.5 * 2 / 6
    assert energy(graph, [0]) == pytest.approx(-math.log(after_start * after_0))
    # Once backed off to the unigrams, the state is that of the label read.
    assert energy(graph, [2]) == pytest.approx(-math.log(0.25 * 1 / 6 * after_2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 2), "needs sequences"),
        (([[0]], 0), "an order of at least 1"),
        (([[0]], 2, 1.0), "a discount of at least 0 and below 1"),
        (([[0], [1, -1]], 2), "sequence 1 must be a row of labels ≥ 0"),
        (([[0.5]], 2), "sequence 0 must be a row of labels ≥ 0"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(GraphError, match=message):
        ngram(*arguments)
