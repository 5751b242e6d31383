import json
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import DataError
from recipes.check_reader.evaluation import (
    Case,
    choose_threshold,
    edit_distance,
    evaluate,
    shares,
    string_rate,
)
from recipes.check_reader.reader import CheckReader
from recipes.check_reader.synthetic import SyntheticAmount

WORDS = st.text("012", max_size=5)

READINGS = st.lists(
    st.tuples(
        st.sampled_from(["", "1", "2"]), st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), st.sampled_from("12")
    ),
    min_size=1,
    max_size=12,
)
"""Answers, confidences, many of them equal, and truths."""


@cache
def fewest_edits(one: str, other: str) -> int:
    """Every way to edit, tried."""
    if not one or not other:
        return len(one) + len(other)
    return min(
        fewest_edits(one[1:], other) + 1,
        fewest_edits(one, other[1:]) + 1,
        fewest_edits(one[1:], other[1:]) + (one[0] != other[0]),
    )


class TestEditDistance:
    @settings(deadline=None)
    @given(WORDS, WORDS)
    def test_is_that_of_trying_every_way(self, one: str, other: str) -> None:
        assert edit_distance(one, other) == fewest_edits(one, other)

    @settings(deadline=None)
    @given(WORDS, WORDS, WORDS)
    def test_is_a_metric(self, one: str, other: str, third: str) -> None:
        assert (edit_distance(one, other) == 0) == (one == other)
        assert edit_distance(one, other) == edit_distance(other, one)
        assert edit_distance(one, third) <= edit_distance(one, other) + edit_distance(other, third)


class TestStringRate:
    def test_counts_whole_answers(self) -> None:
        assert string_rate(["12", "12", "1", ""], ["12", "13", "12", "1"]) == 0.25
        assert string_rate([], []) == 0.0
        with pytest.raises(ValueError, match="zip"):
            string_rate(["1"], [])


class TestThreshold:
    @settings(deadline=None)
    @given(READINGS, st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 1.0]))
    def test_accepts_as_much_as_the_errors_allow(
        self, readings: list[tuple[str, float, str]], most_errors: float
    ) -> None:
        digits, confidences, truths = (list(column) for column in zip(*readings, strict=True))
        threshold = choose_threshold(digits, confidences, truths, most_errors)
        chosen = shares(threshold, digits, confidences, truths)
        assert chosen["error"] <= most_errors + 1e-12
        # Any threshold that accepts more, makes too many errors.
        for other in {*confidences, 0.0}:
            if other < threshold:
                assert shares(other, digits, confidences, truths)["error"] > most_errors

    def test_is_zero_where_nothing_need_be_rejected(self) -> None:
        assert choose_threshold(["1", "2"], [0.9, 0.1], ["1", "2"]) == 0.0

    def test_is_above_one_where_the_surest_answer_is_wrong(self) -> None:
        threshold = choose_threshold(["1", "2"], [1.0, 0.5], ["9", "2"])
        assert threshold == math.nextafter(1, 2)
        assert shares(threshold, ["1", "2"], [1.0, 0.5], ["9", "2"])["reject"] == 1.0

    def test_tells_neighbouring_numbers_apart(self) -> None:
        for bits in (1, 2, 3):
            surest = 1.0 - bits * 2.0**-53
            wrong = math.nextafter(surest, 0)
            assert choose_threshold(["1", "2"], [wrong, surest], ["9", "2"]) == surest

    def test_lets_one_in_a_hundred_pass(self) -> None:
        digits, truths = ["1"] * 200, ["1"] * 197 + ["2"] * 3
        confidences = np.linspace(0.1, 0.9, 200).tolist()
        threshold = choose_threshold(digits, confidences, truths)
        assert threshold == (confidences[197] + confidences[198]) / 2
        assert shares(threshold, digits, confidences, truths) == {
            "correct": 0.0,
            "reject": 0.99,
            "error": 0.01,
            "threshold": threshold,
        }


class TestShares:
    @settings(deadline=None)
    @given(READINGS, st.sampled_from([0.0, 0.2, 0.3, 0.9, 1.1]))
    def test_add_up_to_one(self, readings: list[tuple[str, float, str]], threshold: float) -> None:
        found = shares(threshold, *zip(*readings, strict=True))
        assert found["correct"] + found["reject"] + found["error"] == pytest.approx(1)
        accepted = [(answer, truth) for answer, sure, truth in readings if answer and sure >= threshold]
        assert found["correct"] == pytest.approx(sum(a == t for a, t in accepted) / len(readings))
        assert found["error"] == pytest.approx(sum(a != t for a, t in accepted) / len(readings))


class TestEvaluate:
    def test_reports_what_the_reader_says(self, reader: CheckReader, twelve: list[SyntheticAmount]) -> None:
        report = evaluate(
            reader, (Case(f"{k}.png", a.image, a.digits, a.boxes) for k, a in enumerate(twelve))
        )
        assert json.loads(json.dumps(report, allow_nan=False)) == report
        assert set(report) == {
            "n", "string_rate", "digit_error_rate", "at_1pct_error", "at_1pct_error_hindsight",
            "segmentation_recall", "ms_per_image", "unreadable", "images",
        }  # fmt: skip
        readings = [reader.read(amount.image) for amount in twelve]
        assert report["images"] == [
            {"file": f"{k}.png", "truth": a.digits, "answer": r.digits, "confidence": r.confidence}
            for k, (a, r) in enumerate(zip(twelve, readings, strict=True))
        ]
        answers, truths = [r.digits for r in readings], [a.digits for a in twelve]
        assert report["n"] == 12
        assert report["unreadable"] == 0
        assert report["string_rate"] == string_rate(answers, truths)
        edits = sum(fewest_edits(*pair) for pair in zip(answers, truths, strict=True))
        assert report["digit_error_rate"] == edits / sum(map(len, truths))
        assert report["at_1pct_error"]["threshold"] == reader.threshold
        assert report["at_1pct_error_hindsight"]["error"] <= 0.01
        assert report["segmentation_recall"] > 0.5
        assert report["ms_per_image"] > 0

    def test_counts_what_is_unreadable_as_rejected(
        self, reader: CheckReader, twelve: list[SyntheticAmount]
    ) -> None:
        blank = np.full((50, 200), 255, np.uint8)
        amount = twelve[0]
        report = evaluate(
            reader, [Case("blank", blank, "100", None), Case("amount", amount.image, amount.digits, None)]
        )
        assert report["unreadable"] == 1
        assert report["images"][0]["answer"] == ""
        assert "no ink" in report["images"][0]["error"]
        assert "segmentation_recall" not in report
        for found in (report["at_1pct_error"], report["at_1pct_error_hindsight"]):
            assert found["reject"] >= 0.5
        only = evaluate(reader, [Case("blank", blank, "100", None)])
        assert only["ms_per_image"] is None
        assert only["digit_error_rate"] == 1.0
        assert only["at_1pct_error"] == {"correct": 0.0, "reject": 1.0, "error": 0.0, "threshold": 0.0}

    def test_of_nothing_is_refused(self, reader: CheckReader) -> None:
        with pytest.raises(DataError, match="no images"):
            evaluate(reader, [])
