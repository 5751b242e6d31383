"""Language models: probabilities that add up to one, and a path for every line."""

import itertools
import math
from pathlib import Path

import pytest
import torch

from gtn_ebm import EPSILON, DataError, Graph, Symbols, compose, minimum_energy
from recipes.handwriting_lines.language_model import (
    back_off_ngram,
    character_model,
    read_text,
    word_model,
)

CHARACTERS = Symbols(" abcde")
TEXTS = ["ab ba ab", "abc ab", "ba cab ba ab"]


def energy(model: Graph, text: str) -> float:
    """Least energy of a line."""
    line = Graph.linear(CHARACTERS.labels(text)).with_symbols(CHARACTERS, CHARACTERS)
    return float(minimum_energy(compose(line, model)))


def step(model: Graph, state: int, label: int) -> float:
    """Probability of the label, or of ending for EPSILON, by backing off where it was not seen."""
    p = 1.0
    while True:
        arcs = [arc for arc in range(model.arcs) if model.source[arc] == state]
        if label == EPSILON and model.final[state] < math.inf:
            return p * math.exp(-float(model.final[state]))
        for arc in arcs:
            if label != EPSILON and model.input_labels[arc] == label:
                return p * math.exp(-float(model.energies[arc]))
        (back,) = (arc for arc in arcs if model.input_labels[arc] == EPSILON)
        p *= math.exp(-float(model.energies[back]))
        state = int(model.destination[back])


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_what_may_follow_a_history_has_probability_1(order: int) -> None:
    generator = torch.Generator().manual_seed(order)
    sequences = [torch.randint(0, 4, (9,), generator=generator).tolist() for _ in range(30)]
    model = back_off_ngram(sequences, order, unseen=range(6))
    assert model.states > 4 ** (order - 1) / 2
    for state in range(0, model.states, 1 + model.states // 25):
        total = sum(step(model, state, label) for label in (*range(6), EPSILON))
        assert total == pytest.approx(1, abs=1e-5)


def test_probabilities_are_those_of_kneser_and_ney() -> None:
    model = back_off_ngram([[0, 1], [0, 2], [0, 1]], 2, unseen=[3])
    # Of different labels before, 1 and 2 had one, 0 one (the beginning) and the end two; discounts ½ and 1.
    one, end, left = 0.5 / 5, 1 / 5, 0.5
    after_0 = (2 - 1) / 3 + 0.5 * one, (1 - 0.5) / 3 + 0.5 * one
    (start,) = (model.initial < math.inf).nonzero()[:, 0].tolist()
    after = next(int(model.destination[k]) for k in range(model.arcs) if model.source[k] == start)
    assert step(model, start, 0) == pytest.approx((3 - 1.5) / 3 + 0.5 * one)
    assert [step(model, after, label) for label in (1, 2)] == pytest.approx(after_0)
    assert step(model, after, 3) == pytest.approx(0.5 * left)
    assert step(model, after, EPSILON) == pytest.approx(0.5 * end)


def test_backing_off_is_never_likelier_than_what_was_seen() -> None:
    model = character_model(TEXTS, CHARACTERS, order=3)
    for text in ("ab", "ba ab", "cab", "eee", "", "a  b"):
        state, p = int((model.initial < math.inf).nonzero()[0, 0]), 1.0
        for label in CHARACTERS.labels(text):
            p *= step(model, state, label)
            state = _after(model, state, label)
        assert energy(model, text) == pytest.approx(-math.log(p * step(model, state, EPSILON)), rel=1e-4)


def _after(model: Graph, state: int, label: int) -> int:
    while True:
        for arc in range(model.arcs):
            if model.source[arc] == state and model.input_labels[arc] == label:
                return int(model.destination[arc])
        state = next(
            int(model.destination[arc])
            for arc in range(model.arcs)
            if model.source[arc] == state and model.input_labels[arc] == EPSILON
        )


def test_characters_that_the_network_does_not_know_are_left_out() -> None:
    with_others = character_model(["aéb", "日ab"], CHARACTERS)
    assert energy(with_others, "ab") == pytest.approx(energy(character_model(["ab", "ab"], CHARACTERS), "ab"))
    assert energy(with_others, "de") < math.inf


def test_words_of_the_lexicon_cost_what_their_n_gram_says() -> None:
    words = {"ab": 0, "ba": 1, "abc": 2, "cab": 3}
    ngram = back_off_ngram([[words[word] for word in text.split()] for text in TEXTS], 2, unseen=[4])
    model = word_model(TEXTS, CHARACTERS, new=50.0)  # else so few words are cheaper to spell
    for some in itertools.product(words, repeat=2):
        line = Graph.linear([words[word] for word in some])
        expected = float(minimum_energy(compose(line, ngram)))
        assert energy(model, " ".join(some)) == pytest.approx(expected, rel=1e-4)
    assert energy(model, "ab ") == math.inf
    assert energy(model, "ab  ba") == math.inf


def test_other_words_are_spelled_and_cost_more() -> None:
    model = word_model(TEXTS, CHARACTERS)
    assert energy(model, "ab ba") < energy(model, "ab bac") < energy(model, "ab ede") < math.inf
    dearer = word_model(TEXTS, CHARACTERS, new=2.5)
    assert energy(dearer, "ab ede") == pytest.approx(energy(model, "ab ede") + 2.5, rel=1e-4)
    assert energy(dearer, "ab ba") == pytest.approx(energy(model, "ab ba"))


def test_a_lexicon_with_none_of_the_words_still_reads() -> None:
    for texts in (["de ed"], ["xyz"], ["日本 語"]):
        model = word_model(texts, CHARACTERS)
        assert energy(model, "ab ba") < math.inf
        assert energy(model, "") < math.inf


def test_a_text_file_is_read_by_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("\ufeffab  ba\n\n  cab \t ab \n", encoding="utf-8")
    assert read_text(file) == ["ab ba", "cab ab"]
    for content, message in ((b"", "no words"), (b"\xff", "UTF-8")):
        file.write_bytes(content)
        with pytest.raises(DataError, match=rf"text\.txt: .*{message}"):
            read_text(file)
    with pytest.raises(DataError, match="cannot be read"):
        read_text(tmp_path / "none")
