"""How well lines are read, and how exactly their words are found."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gtn_ebm import DataError
from gtn_ebm.kernels import edit_distance
from recipes.handwriting_lines.line import Line
from recipes.handwriting_lines.reader import LineReader
from recipes.handwriting_lines.words import word_spans

Read = Callable[[NDArray[np.uint8]], str]
"""From the image of a line to what it says."""


def edits(desired: Sequence[Hashable], found: Sequence[Hashable]) -> int:
    """The least number of insertions, deletions and substitutions that lead from one to the other.

    >>> edits("manuscript", "manscribt"), edits("in se".split(), "inse".split())
    (2, 2)
    """
    names = {name: label for label, name in enumerate({*desired, *found})}
    labels = np.array([names[name] for name in (*desired, *found)], np.int64)
    begins = np.array([0, len(desired), len(labels)], np.int64)
    return int(edit_distance.between(labels, begins)[1, 0])


def error_rate(texts: Sequence[Sequence[Hashable]], readings: Sequence[Sequence[Hashable]]) -> float:
    """Edits divided by the characters, or words, that there are in the texts."""
    wrong = sum(map(edits, texts, readings))
    return wrong / max(1, sum(map(len, texts)))


def evaluate(reader: LineReader, lines: Sequence[Line], read: Read | None = None) -> dict[str, Any]:
    """Reads lines whose texts are known.

    Args:
        reader: finds the words of a known text, and reads where ``read`` is omitted.
        lines: with their texts; those that have ``words``, too, also tell how exactly words are found.
        read: another way to read, such as with a language model.

    Returns:
        ``lines``, ``characters``, ``words``: counted in the texts; a character is any of the text, blanks
        between words included.
        ``character_error``, ``word_error``: edits divided by these. ``lines_right``: share of lines without
        any. ``unknown_characters``: how many of the characters the reader has no class for.
        ``never_transcribed``: characters that were read but are in none of the texts, perhaps by the rules of
        the transcription, such as marks of punctuation. ``without_them``: the two errors when the readings
        lack these.
        ``word_span_error``: mean absolute difference of the begins and ends of words, in pixels, when
        the text is known; None where no line has ``words``. ``milliseconds``: mean processor time to read
        a line, its file included. ``errors``: name, text and reading of each line that was read wrong.

    Raises:
        DataError: there are no lines; a line has no text, or its image cannot be read.
    """
    if not lines:
        raise DataError("there are no lines to evaluate on")
    greedy = _greedy(reader)
    texts = [text_of(line) for line in lines]
    readings, seconds = [], 0.0
    greedy(lines[0].load())  # the first compiles kernels
    for line in tqdm(lines, "reading", unit="line", leave=False):
        started = time.process_time()
        readings.append((read or greedy)(line.load()))
        seconds += time.process_time() - started
    never = set().union(*readings) - set().union(*texts)
    kept = ["".join(c for c in found if c not in never) for found in readings]
    differences = [difference for line in lines for difference in _differences(reader, line)]
    return {
        "lines": len(lines),
        "characters": sum(map(len, texts)),
        "words": sum(len(text.split()) for text in texts),
        **_errors(texts, readings),
        "lines_right": sum(map(str.__eq__, texts, readings)) / len(lines),
        "never_transcribed": "".join(sorted(never)),
        "without_them": _errors(texts, [" ".join(found.split()) for found in kept]),
        "unknown_characters": sum(c not in reader.criterion.vocabulary for text in texts for c in text),
        "word_span_error": float(np.mean(differences)) if differences else None,
        "milliseconds": 1000 * seconds / len(lines),
        "errors": [
            {"line": line.name, "text": text, "read": found}
            for line, text, found in zip(lines, texts, readings, strict=True)
            if found != text
        ],
    }


def text_of(line: Line) -> str:
    """What a line says. Raises DataError where that is not known."""
    if line.text is None:
        raise DataError(f"{line.name}: nothing is known of what it says; leave it out or transcribe it")
    return line.text


def _errors(texts: Sequence[str], readings: Sequence[str]) -> dict[str, float]:
    return {
        "character_error": error_rate(texts, readings),
        "word_error": error_rate([text.split() for text in texts], [found.split() for found in readings]),
    }


def _greedy(reader: LineReader) -> Read:
    return lambda image: reader.read(image).text


def _differences(reader: LineReader, line: Line) -> list[int]:
    """How far the begin and the end of each word are from where they should be, in pixels."""
    if not line.words or line.text is None:
        return []
    image = line.load()
    found = word_spans(image, reader.align(image, line.text))
    return np.abs(np.subtract(found, line.words)).ravel().tolist()
