"""Where characters and words are, in all forms in which that is given."""

import csv
import io
import json

import numpy as np
import pytest

from gtn_ebm import DataError
from recipes.handwriting_lines.alignment import COLUMNS, AlignedLine, align, as_csv, as_json
from recipes.handwriting_lines.reader import Letter, LineReader
from tests.recipes.handwriting_lines.small import small_reader, spans, written


@pytest.fixture(scope="module")
def reader() -> LineReader:
    return small_reader()


def test_characters_share_the_ink_of_their_word(reader: LineReader, monkeypatch: pytest.MonkeyPatch) -> None:
    image, text = written("ab a"), "ab a"
    # As a network gives them: in cells of 24 columns, the two of "ab" read at once.
    read = (Letter("ab", 0.0, 48.0), Letter(" ", 48.0, 72.0), Letter("a", 72.0, 96.0))
    monkeypatch.setattr(reader, "align", lambda image, text: read)
    found = align(reader, "line", image, text)
    (first, second), last = found.characters[:2], found.characters[2]
    (ab, a) = spans(text)
    assert [(word.text, word.start, word.end) for word in found.words] == [("ab", *ab), ("a", *a)]
    assert (first.start, first.end, second.start, second.end) == (ab[0], 24, 24, ab[1])
    assert (last.text, last.start, last.end) == ("a", *a)


def test_any_text_of_enough_frames_has_its_characters_in_order(reader: LineReader) -> None:
    image = written("ab ba", 96)
    for text in ("ab ba", "a", "abab", "aéb b"):
        found = align(reader, "line", image, text)
        assert "".join(character.text for character in found.characters) == text.replace(" ", "")
        assert [word.text for word in found.words] == text.split()
        place = 0
        for word in found.words:
            characters = found.characters[place : place + len(word.text)]
            borders = [border for character in characters for border in (character.start, character.end)]
            assert borders == sorted(borders)
            assert (borders[0], borders[-1]) == (word.start, word.end)
            assert 0 <= word.start < word.end <= image.shape[1]
            place += len(word.text)
    assert align(reader, "line", image, "") == AlignedLine("line", "", (), ())


def test_what_cannot_be_aligned_is_refused(reader: LineReader) -> None:
    with pytest.raises(DataError, match="does not hold"):
        align(reader, "line", written("a"), "ab" * 40)
    with pytest.raises(DataError, match="no ink"):
        align(reader, "line", np.full((48, 90), 255, np.uint8), "a")


def test_tables_and_objects_have_all_of_it() -> None:
    line = AlignedLine(
        "one", 'a "b', (Letter("a", 0.04, 3.0), Letter('"', 5, 6), Letter("b", 6, 9)), (Letter("a", 0.04, 3),)
    )
    (read,) = json.loads(as_json([line]))
    assert read["line"] == "one"
    assert read["text"] == 'a "b'
    assert read["words"] == [{"text": "a", "start": 0.0, "end": 3.0}]
    assert [character["text"] for character in read["characters"]] == ["a", '"', "b"]
    rows = list(csv.DictReader(io.StringIO(as_csv([line, line]))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 8
    assert rows[2] == {"line": "one", "kind": "character", "text": '"', "start": "5", "end": "6"}
