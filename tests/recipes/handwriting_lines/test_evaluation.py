from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import DataError
from recipes.handwriting_lines.evaluation import edits, evaluate
from tests.recipes.handwriting_lines.small import small_lines, small_reader, spans

SHORT = st.text("ab ", max_size=6)


def by_definition(one: str, other: str) -> int:
    if not one or not other:
        return len(one) + len(other)
    replaced = by_definition(one[1:], other[1:]) + (one[0] != other[0])
    return min(replaced, by_definition(one[1:], other) + 1, by_definition(one, other[1:]) + 1)


@settings(deadline=None)
@given(SHORT, SHORT)
def test_edits_are_the_fewest(one: str, other: str) -> None:
    assert edits(one, other) == by_definition(one, other)


def test_report_counts_characters_and_words() -> None:
    lines = small_lines(("ab", "a b", "ba"))
    answers = iter(["ab", "ab", "bx"])
    report = evaluate(small_reader(), lines, lambda image: next(answers))
    assert (report["lines"], report["characters"], report["words"]) == (3, 7, 4)
    assert report["character_error"] == pytest.approx(2 / 7)
    assert report["word_error"] == pytest.approx(3 / 4)  # "a b" is two words, "ab" one
    assert report["lines_right"] == pytest.approx(1 / 3)
    assert report["unknown_characters"] == 0
    assert [error["read"] for error in report["errors"]] == ["ab", "bx"]
    assert report["word_span_error"] is None
    assert 0 < report["milliseconds"] < 10_000


def test_characters_that_training_never_saw_are_counted_and_cost_an_edit() -> None:
    report = evaluate(small_reader(" a"), small_lines(("ab",)), lambda image: "a")
    assert (report["unknown_characters"], report["character_error"]) == (1, 0.5)


def test_characters_in_no_text_are_left_out_beside() -> None:
    answers = iter(["a. b.", "b ."])
    report = evaluate(small_reader(), small_lines(("a b", "ab")), lambda image: next(answers))
    assert report["character_error"] == pytest.approx((2 + 3) / 5)
    assert report["never_transcribed"] == "."
    assert report["without_them"] == {"character_error": 1 / 5, "word_error": 1 / 3}


def test_places_of_words_are_measured_in_pixels() -> None:
    (line,) = small_lines(("ab ba",))
    true = np.array(spans("ab ba"))
    reader = small_reader()
    found = evaluate(reader, [replace(line, words=tuple(map(tuple, true.tolist())))], lambda image: "")
    shifted = evaluate(
        reader, [replace(line, words=tuple(map(tuple, (true - 1000).tolist())))], lambda image: ""
    )
    assert shifted["word_span_error"] == pytest.approx(
        found["word_span_error"] + 1000, abs=2 * int(true.max())
    )


def test_a_line_without_text_and_no_lines_are_refused() -> None:
    with pytest.raises(DataError, match="line-0: nothing is known"):
        evaluate(small_reader(), [replace(small_lines()[0], text=None)])
    with pytest.raises(DataError, match="no lines"):
        evaluate(small_reader(), [])
