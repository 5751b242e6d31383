from pathlib import Path

import pytest

from gtn_ebm import DataError
from recipes.speech_alignment import Corpus


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.wav", "b.wav", "b.flac", "c.wav", "d.wav", "e.wav"):
        (tmp_path / name).touch()
    texts = {"a.txt": "one", "b.txt": "two", "c.txt": "three", "c.lab": "four", "d.txt": "five  six\n"}
    for name, text in {**texts, "d.lab": "five six"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "folder.wav").mkdir()
    return tmp_path


def test_what_has_one_name_is_said_with_both(folder: Path) -> None:
    corpus = Corpus(folder)
    assert corpus.names == ["a", "b", "c", "d", "e"]
    assert corpus["a"].text == "one"
    assert corpus["d"].text.split() == ["five", "six"]
    with pytest.raises(DataError, match=r"b\.flac and b\.wav have one name"):
        corpus["b"]
    with pytest.raises(DataError, match=r"c\.txt and c\.lab say different things"):
        corpus["c"]
    with pytest.raises(DataError, match=r"no text beside it; write e\.txt"):
        _ = corpus["e"].text
