"""How far the boundaries of one alignment are from those of another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein

from recipes.speech_alignment.intervals import FileAlignment, Interval

WITHIN = (10, 20, 25, 50)
"""Milliseconds of which the share of boundaries is counted."""

CLOSURES = {"bcl": "b", "dcl": "d", "gcl": "g", "pcl": "p", "tcl": "t", "kcl": "k"}

SILENT = frozenset({"h#", "pau", "epi", "sil", "q"})
"""Left out: silences, and the glottal stop, which no lexicon of words has."""

SAME = {
    "hv": "hh", "ux": "uw", "nx": "n", "dx": "t", "ax-h": "ax", "ix": "ih", "axr": "er", "ao": "aa",
    "el": "l", "em": "m", "en": "n", "eng": "ng", "zh": "sh", "ax": "ah",
}  # fmt: skip
"""Phones of TIMIT's transcribers and of lexicons that count as one, after Lee and Hon (1989)."""


@dataclass
class Errors:
    """Of boundaries, in ms: what was found less the reference; and how many there are in the reference."""

    found: list[float] = field(default_factory=list)
    expected: int = 0

    def add(self, other: Errors) -> None:
        """Counts another's in."""
        self.found += other.found
        self.expected += other.expected

    def summary(self) -> dict[str, float | int | None]:
        """Mean, median and shares of absolute errors; None where there are none."""
        errors = np.abs(self.found)
        measured = len(errors) > 0
        shares = {
            f"within_{limit}_ms": float((errors <= limit + 1e-6).mean()) if measured else None
            for limit in WITHIN
        }
        return {
            "boundaries": len(errors),
            "matched": len(errors) / self.expected if self.expected else None,
            "mean_ms": float(errors.mean()) if measured else None,
            "median_ms": float(np.median(errors)) if measured else None,
            **shares,
        }


def plain(word: str) -> str:
    """A word without case and marks."""
    return "".join(letter for letter in word.lower() if letter.isalnum() or letter == "'").strip("'")


def phones(intervals: Iterable[Interval]) -> list[Interval]:
    """Phones in the common set: without stress and silences, a closure and its release made one."""
    result: list[Interval] = []
    for interval in intervals:
        label = interval.label.lower().rstrip("012")
        stop = CLOSURES.get(label)
        name = SAME.get(label, stop or label)
        if name in SILENT or interval.end <= interval.start:
            continue
        before = result[-1] if result else None
        # "dcl jh" and "tcl ch" are affricates.
        releases = {name, {"jh": "d", "ch": "t"}.get(name, name)}
        if before and "closure" in before.flags and before.label in releases and before.end == interval.start:
            result[-1] = Interval(before.start, interval.end, name)
        else:
            result.append(Interval(interval.start, interval.end, name, flags=("closure",) if stop else ()))
    return result


def edits(reference: Sequence[str], found: Sequence[str]) -> int:
    """The fewest insertions, deletions and substitutions of labels between two rows."""
    return Levenshtein.distance(reference, found)


def matched(reference: Sequence[str], found: Sequence[str]) -> list[tuple[int, int]]:
    """Places of equal labels in an alignment of two rows with so few edits."""
    return [
        (code.src_start + place, code.dest_start + place)
        for code in Levenshtein.opcodes(reference, found)
        if code.tag == "equal"
        for place in range(code.src_end - code.src_start)
    ]


def errors(reference: Sequence[Interval], found: Sequence[Interval], names: Any) -> Errors:
    """Of the starts and ends of all intervals whose labels match, by these names of them."""
    pairs = matched([names(each.label) for each in reference], [names(each.label) for each in found])
    result = Errors(expected=2 * len(reference))
    for i, j in pairs:
        one, other = reference[i], found[j]
        if other.end > other.start:
            result.found += [1000 * (other.start - one.start), 1000 * (other.end - one.end)]
    return result


def score(reference: Mapping[str, FileAlignment], found: Mapping[str, FileAlignment]) -> dict[str, Any]:
    """The report of all recordings of the reference: overall and by file, for words and for phones.

    Words and phones that stand in both, by an alignment of their rows, are compared: each one's start and its
    end. ``matched`` says how many of the reference's boundaries these are; a recording that was not found at
    all counts there.
    """
    overall = {"words": Errors(), "phones": Errors()}
    files: dict[str, Any] = {}
    for name, one in reference.items():
        other = found.get(name, FileAlignment(name, one.duration, ()))
        each = {
            "words": errors(one.words, other.words, plain),
            "phones": errors(phones(one.phones), phones(other.phones), str),
        }
        for kind, of_file in each.items():
            overall[kind].add(of_file)
        files[name] = {kind: of_file.summary() for kind, of_file in each.items()}
    return {
        **{kind: each.summary() for kind, each in overall.items()},
        "missing": [name for name in reference if name not in found],
        "files": files,
    }
