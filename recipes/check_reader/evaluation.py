"""How well amounts are read: strings, digits, and what is right when errors must be rare."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gtn_ebm import DataError
from recipes.check_reader.data import Box
from recipes.check_reader.reader import CheckReader
from recipes.check_reader.segmentation import right_path

MOST_ERRORS = 0.01
"""Share of all images that may be read wrongly without being rejected."""


class Case(NamedTuple):
    """An image to evaluate on.

    Attributes:
        file: its name in the report.
        image: where it is, or its grey levels, uint8 [h, w].
        digits: the right answer.
        boxes: of the digits, left to right, in pixels of the image; None where they are not known.
    """

    file: str
    image: Path | NDArray[np.uint8]
    digits: str
    boxes: list[Box] | None


def string_rate(digits: Sequence[str], truths: Sequence[str]) -> float:
    """The share of answers that are right as a whole."""
    return sum(answer == truth for answer, truth in zip(digits, truths, strict=True)) / max(1, len(truths))


def edit_distance(one: str, other: str) -> int:
    """The fewest characters to insert, delete or replace that make one the other (Levenshtein 1966).

    >>> edit_distance("1200", "1020")
    2
    """
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def choose_threshold(
    digits: Sequence[str],
    confidences: Sequence[float],
    truths: Sequence[str],
    most_errors: float = MOST_ERRORS,
) -> float:
    """The least confidence to accept so that at most ``most_errors`` of all images are accepted and wrong.

    Half-way between the surest answer to reject and the next surer one, so that rounding moves no answer
    across. An empty answer is never accepted. Where even the surest must be rejected, a little above 1.
    """
    readings = zip(digits, confidences, truths, strict=True)
    wrong = sorted((sure for answer, sure, truth in readings if answer not in ("", truth)), reverse=True)
    allowed = int(most_errors * len(truths))
    if len(wrong) <= allowed:
        return 0.0
    least = math.nextafter(wrong[allowed], math.inf)
    surer = [sure for sure in confidences if sure > wrong[allowed]]
    # Between neighbouring numbers there is no half-way: it rounds to either.
    return max(least, (wrong[allowed] + min(surer)) / 2) if surer else least


def shares(
    threshold: float, digits: Sequence[str], confidences: Sequence[float], truths: Sequence[str]
) -> dict[str, float]:
    """Of all images, the shares that are accepted and right, rejected, and accepted and wrong at a threshold.

    Returns:
        ``correct``, ``reject`` and ``error``, which add up to 1, and the ``threshold``. An empty answer is
        rejected.
    """
    accepted = (np.array(confidences) >= threshold) & (np.array(digits) != "")
    right = np.array(digits) == np.array(truths)
    return {
        "correct": float((accepted & right).mean()),
        "reject": float((~accepted).mean()),
        "error": float((accepted & ~right).mean()),
        "threshold": threshold,
    }


def scores(
    threshold: float, digits: Sequence[str], confidences: Sequence[float], truths: Sequence[str]
) -> dict[str, Any]:
    """How well answers fit the truths: the first five figures of ``evaluate``, at the threshold given."""
    hindsight = choose_threshold(digits, confidences, truths)
    return {
        "n": len(truths),
        "string_rate": string_rate(digits, truths),
        "digit_error_rate": sum(map(edit_distance, digits, truths)) / sum(map(len, truths)),
        "at_1pct_error": shares(threshold, digits, confidences, truths),
        "at_1pct_error_hindsight": shares(hindsight, digits, confidences, truths),
    }


def evaluate(reader: CheckReader, cases: Iterable[Case]) -> dict[str, Any]:
    """Reads every case, one at a time, and reports.

    Returns:
        A dict for JSON: ``n``; ``string_rate``; ``digit_error_rate`` (edit distance to the truth by true
        digits); ``at_1pct_error`` (correct, reject and error as shares of n at the model's own threshold,
        chosen on validation data); ``at_1pct_error_hindsight`` (the same at the threshold that is best for
        these very images: an upper bound, for comparison with published figures, which are given so);
        ``segmentation_recall`` (the share of images with boxes whose right segmentation is in the graph;
        absent without boxes); ``ms_per_image`` (median, from file to answer; None where none was readable);
        ``unreadable`` (images with an error, which count as rejected and as wrong); ``images``, a row each:
        file, truth, answer, confidence, and the error of an unreadable one.

    Raises:
        DataError: there are no images.
    """
    rows, milliseconds, found = [], [], []
    for case in cases:
        started = time.perf_counter()
        row: dict[str, Any] = {"file": case.file, "truth": case.digits, "answer": "", "confidence": 0.0}
        try:
            reading = reader.read(case.image)
        except DataError as error:
            row["error"] = str(error)
        else:
            milliseconds.append(1000 * (time.perf_counter() - started))
            row.update(answer=reading.digits, confidence=reading.confidence)
            if case.boxes:
                found.append(right_path(reading.segmentation, case.boxes) is not None)
        rows.append(row)
    if not rows:
        raise DataError("there are no images to evaluate on")
    digits, confidences, truths = ([row[key] for row in rows] for key in ("answer", "confidence", "truth"))
    report = {
        **scores(reader.threshold, digits, confidences, truths),
        "ms_per_image": float(np.median(milliseconds)) if milliseconds else None,
        "unreadable": sum("error" in row for row in rows),
    }
    if found:
        report["segmentation_recall"] = sum(found) / len(found)
    return {**report, "images": rows}
