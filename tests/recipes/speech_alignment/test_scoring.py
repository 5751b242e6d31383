from functools import cache
from itertools import pairwise
from random import Random
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.speech_alignment import FileAlignment, Interval
from recipes.speech_alignment.scoring import edits, matched, phones, score


def test_a_closure_and_its_release_are_one_phone() -> None:
    given = [("h#", 0.0, 0.1), ("dcl", 0.1, 0.2), ("d", 0.2, 0.25), ("ix", 0.25, 0.3), ("tcl", 0.3, 0.35),
             ("ch", 0.35, 0.4), ("kcl", 0.4, 0.45), ("pcl", 0.45, 0.5), ("p", 0.5, 0.6)]  # fmt: skip
    found = phones(Interval(start, end, label) for label, start, end in given)
    assert [(phone.label, phone.start, phone.end) for phone in found] == [
        ("d", 0.1, 0.25), ("ih", 0.25, 0.3), ("ch", 0.3, 0.4), ("k", 0.4, 0.45), ("p", 0.45, 0.6),
    ]  # fmt: skip


def test_rows_are_matched_with_the_fewest_edits() -> None:
    assert matched("abcd", "abd") == [(0, 0), (1, 1), (3, 2)]
    assert matched("", "abc") == []


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_what_matches_is_part_of_an_alignment_of_the_fewest_edits(one: list[str], other: list[str]) -> None:
    pairs = [(-1, -1), *matched(one, other), (len(one), len(other))]
    assert all(one[i] == other[j] for i, j in pairs[1:-1])
    between = [(k - i - 1, m - j - 1) for (i, j), (k, m) in pairwise(pairs)]
    assert min(min(gap) for gap in between) >= 0
    assert sum(max(gap) for gap in between) == edits(one, other) == fewest(tuple(one), tuple(other))


@cache
def fewest(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    if not one or not other:
        return len(one) + len(other)
    change = fewest(one[1:], other[1:]) + (one[0] != other[0])
    return min(change, fewest(one[1:], other) + 1, fewest(one, other[1:]) + 1)


def test_two_hours_of_words_are_matched_at_once() -> None:
    random = Random(0)
    words = [str(random.randrange(3000)) for _ in range(20_000)]
    heard = [word if random.random() < 0.95 else "*" for word in words]
    start = process_time()
    pairs = matched(words, heard)
    assert process_time() - start < 5
    assert pairs == [(k, k) for k, word in enumerate(heard) if word != "*"]


def test_errors_are_counted_by_file_and_overall() -> None:
    reference = FileAlignment("a", 2.0, (Interval(0.1, 0.5, "One"), Interval(0.5, 1.0, "two")))
    found = FileAlignment("a", 2.0, (Interval(0.115, 0.5, "one"), Interval(0.5, 1.03, "two")))
    report = score({"a": reference, "b": reference}, {"a": found})
    assert report["words"]["mean_ms"] == pytest.approx(45 / 4)
    assert report["words"]["within_20_ms"] == 0.75
    assert report["words"]["matched"] == 0.5
    assert report["missing"] == ["b"]
    assert report["files"]["b"]["words"]["mean_ms"] is None
    assert report["phones"]["boundaries"] == 0
