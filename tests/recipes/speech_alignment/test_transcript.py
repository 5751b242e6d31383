import math

import pytest
import torch

from gtn_ebm import DataError, free_energy
from recipes.speech_alignment import Lexicon
from recipes.speech_alignment.transcript import SILENCE, STAR, Prices, Word, transcript, words_of

LEXICON = Lexicon(
    {"a": [("x",), ("y", "x")], "semi": [("z",)], "heights": [("x", "z")], "nineteen": [("y",)]}
)
UNITS = ["x", "y", "z", SILENCE, STAR]


def paths(words: list[Word], prices: Prices) -> float:
    """How many paths of finite energy a graph has, each counted by exp(−energy)."""
    graph = transcript(words, UNITS, prices).graph
    return math.exp(-float(free_energy(graph.to(torch.float64))))


def test_words_have_their_pronunciations() -> None:
    assert words_of("A, 19!", LEXICON) == [Word("A", (("x",), ("y", "x"))), Word("19", (("y",),))]


def test_hyphens_divide_words_that_the_lexicon_has_apart() -> None:
    assert [word.label for word in words_of("semi-heights.", LEXICON)] == ["semi", "heights"]


def test_text_in_another_script_or_without_words_is_refused() -> None:
    with pytest.raises(DataError, match="can be pronounced"):
        words_of("слово", LEXICON)
    with pytest.raises(DataError, match="no word"):
        words_of("… —", LEXICON)


def test_a_strict_graph_has_each_pronunciation_with_and_without_silence_once() -> None:
    words = words_of("a a", LEXICON)
    assert paths(words, Prices(math.inf)) == pytest.approx(2 * 2 * 2 * 2)  # silence at the ends
    assert paths(words, Prices(0.0)) == pytest.approx(2 * 2 * 2 * 2 * 2)


def test_prices_are_paid_for_what_the_text_does_not_say() -> None:
    words = words_of("semi", LEXICON)
    assert paths(words, Prices(math.inf, skipped=1.0)) == pytest.approx(4 * (1 + math.exp(-1)))
    assert paths(words, Prices(math.inf, wrong=2.0)) == pytest.approx(4 * (1 + math.exp(-2)))


def test_a_word_may_begin_again() -> None:
    words = words_of("semi", LEXICON)
    strict, free = (paths(words, Prices(math.inf, repeated=price)) for price in (math.inf, 3.0))
    assert strict == pytest.approx(4)
    assert free == strict  # the last word may not: nothing is said behind it
    two = words_of("semi heights", LEXICON)
    assert paths(two, Prices(math.inf, repeated=3.0)) == pytest.approx(4 / (1 - math.exp(-3)))
