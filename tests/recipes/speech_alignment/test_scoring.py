import pytest

from recipes.speech_alignment import FileAlignment, Interval
from recipes.speech_alignment.scoring import matched, phones, score


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
