"""Strings of spoken digits: of made-up recordings, and of the real ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.digits import aligned, main, recognised
from gtn_ebm import DataError
from recipes.speech_alignment import Corpus, SpeechAligner
from recipes.speech_alignment.digits import LEXICON, TEST, TRAINING, WORDS, write_strings

RATE = 8000
SPEAKERS = ("ann", "bob")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Two takes of each digit by two speakers; each has a level of its own, which tells it from others."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for number in range(40):
        digit, take, speaker = number % 10, number // 20, SPEAKERS[number // 10 % 2]
        samples = np.full(2000 + 10 * number, 0.1 + 0.01 * number)
        soundfile.write(folder / f"{digit}_{speaker}_{take}.wav", samples, RATE)
    return folder


def test_words_are_where_their_recordings_were_put(recordings: Path, tmp_path: Path) -> None:
    write_strings(recordings, tmp_path / "out", range(2))
    corpus, used = Corpus(tmp_path / "out"), list[int]()
    for recording in corpus:
        assert recording.reference is not None
        samples, words = recording.sound(RATE).samples, recording.reference.words
        assert recording.text.split() == [word.label for word in words]
        assert 4 <= len(words) <= 8
        heard = np.abs(samples) > 0.05
        for word in words:
            start, end = round(word.start * RATE), round(word.end * RATE)
            number = round((float(samples[start]) - 0.1) / 0.01)
            used.append(number)
            assert word.label == WORDS[number % 10]
            assert SPEAKERS[number // 10 % 2] == recording.name.partition("/")[0]
            assert end - start == 2000 + 10 * number
            assert heard[start:end].all()
            assert not heard[[start - 1, end]].any()
        assert heard.sum() == sum(round((word.end - word.start) * RATE) for word in words)
        between = np.concatenate(
            [samples[: round(words[0].start * RATE)], samples[round(words[-1].end * RATE) :]]
        )
        assert 5e-4 < between.std() < 2e-3
    assert len(set(used)) == len(used) >= 40 - 3 * len(SPEAKERS)


def test_strings_follow_from_the_seed(recordings: Path, tmp_path: Path) -> None:
    for name, rounds, seed in [("a", 2, 0), ("again", 2, 0), ("other", 2, 1), ("once", 1, 0)]:
        write_strings(recordings, tmp_path / name, [1], rounds, seed)

    def content(name: str) -> dict[str, bytes]:
        folder = tmp_path / name
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    assert content("a") == content("again") != content("other")
    words = {
        name: sum(len(recording.text.split()) for recording in Corpus(tmp_path / name))
        for name in ("a", "once")
    }
    assert 40 - 6 <= words["a"] <= 40
    assert 20 - 6 <= words["once"] <= 20


def test_strings_of_an_earlier_run_are_neither_kept_nor_removed(recordings: Path, tmp_path: Path) -> None:
    for _ in range(2):  # the second time over the same files
        write_strings(recordings, tmp_path / "out", range(2))
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    with pytest.raises(DataError, match=r"ann/\d+\.wav: is of an earlier run; give another folder"):
        write_strings(recordings, tmp_path / "out", [0])
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")} == before


def test_what_cannot_be_joined_is_refused(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no DIGIT_SPEAKER_TAKE"):
        write_strings(recordings, tmp_path / "out", [7])
    with pytest.raises(DataError, match="holds no DIGIT_SPEAKER_TAKE"):
        write_strings(tmp_path / "nowhere", tmp_path / "out", [0])
    soundfile.write(recordings / "3_ann_0.wav", np.zeros(4000), 2 * RATE)
    with pytest.raises(DataError, match="another rate"):
        write_strings(recordings, tmp_path / "out", [0])
    (recordings / "3_ann_0.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"3_ann_0\.wav: the file is empty"):
        write_strings(recordings, tmp_path / "out", [0])


@pytest.mark.data
def test_a_few_real_strings(data_directory: Path, tmp_path: Path) -> None:
    recordings = data_directory / "fsdd" / "recordings"
    if not recordings.is_dir():
        pytest.skip(f"no spoken digits at {recordings}")
    write_strings(recordings, tmp_path / "training", range(10, 14))
    write_strings(recordings, tmp_path / "test", [5])
    aligner = SpeechAligner.train(Corpus(tmp_path / "training"), LEXICON)
    corpus = Corpus(tmp_path / "test")
    assert aligned(aligner, corpus)["all"]["mean_ms"] < 25
    assert recognised(aligner, corpus)["all"]["word_errors"] < 0.15


@pytest.mark.data
@pytest.mark.slow
def test_boundaries_and_words_of_the_test_part(data_directory: Path, tmp_path: Path) -> None:
    recordings = data_directory / "fsdd" / "recordings"
    if not recordings.is_dir():
        pytest.skip(f"no spoken digits at {recordings}")
    assert not set(TEST) & set(TRAINING)
    main(recordings, rounds=2, json=tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["aligned"]["all"]["matched"] == 1.0
    assert report["aligned"]["all"]["mean_ms"] <= 15
    assert report["recognised"]["all"]["word_errors"] <= 0.02
