from pathlib import Path

import pytest
import soundfile

from gtn_ebm import DataError
from recipes.speech_alignment import Corpus
from recipes.speech_alignment.aligner import common_rate
from recipes.speech_alignment.corpus import Recording
from recipes.speech_alignment.features import HOP
from recipes.speech_alignment.formats import write_alignment
from recipes.speech_alignment.intervals import FileAlignment


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


def test_an_empty_text_is_said_with_the_file_it_is_in(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.wav").touch()
    (tmp_path / "a.txt").write_text(" ")
    (tmp_path / "b.lab").write_text("\n")
    write_alignment(FileAlignment("c", 1.0, ()), tmp_path, "textgrid")
    for recording, name in zip(Corpus(tmp_path), ("a.txt", "b.lab", "c.TextGrid"), strict=True):
        with pytest.raises(DataError, match=f"{name}: the text is empty"):
            _ = recording.text
    with pytest.raises(DataError, match=r"a\.wav: the given text is empty"):
        _ = Recording("a", tmp_path / "a.wav", " ").text


@pytest.mark.parametrize(("original", "rate"), [(8000, 8000), (11_025, 11_000), (44_100, 16_000), (150, 200)])
def test_frames_are_a_whole_number_of_samples_apart(tmp_path: Path, original: int, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", [0.0] * original, original)
    assert common_rate(Corpus(tmp_path)) == rate
    assert HOP * rate == pytest.approx(round(HOP * rate))
