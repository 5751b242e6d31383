"""Training and alignment of made-up speech, and the commands on it."""

import json
import stat
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from gtn_ebm import DataError, Symbols
from recipes.speech_alignment import Corpus, Lexicon, SpeechAligner, noise
from recipes.speech_alignment.__main__ import app, main
from recipes.speech_alignment.acoustic_model import AcousticModel
from recipes.speech_alignment.alignment import align_samples
from recipes.speech_alignment.features import FEATURES
from recipes.speech_alignment.recognition import loop, recognise
from recipes.speech_alignment.scoring import score
from recipes.speech_alignment.training import FRAMES_OF_A_COMPONENT, Lesson, Sweep, Training
from recipes.speech_alignment.transcript import words_of
from tests.recipes.speech_alignment.tones import LEXICON, RATE, utterance, write_corpus


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus in corpus/, lexicon.txt, what is true in truth.json, and the model trained of it in model/."""
    folder = tmp_path_factory.mktemp("speech")
    truth = list(write_corpus(folder / "corpus", 12))
    LEXICON.write(folder / "lexicon.txt")
    (folder / "truth.json").write_text(json.dumps([[w.start, w.end] for one in truth for w in one.words]))
    arguments = [
        "--corpus",
        folder / "corpus",
        "--lexicon",
        folder / "lexicon.txt",
        "--out",
        folder / "model",
    ]
    result = CliRunner().invoke(app, ["train", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def aligner(folder: Path) -> SpeechAligner:
    return SpeechAligner.load(folder / "model")


def test_words_and_phones_are_found_where_they_are(folder: Path, aligner: SpeechAligner) -> None:
    truth = {one.name: one for one in write_corpus(folder / "again", 12)}
    found = {name: aligner.align(Corpus(folder / "corpus")[name]) for name in truth}
    report = score(truth, found)
    assert report["words"]["matched"] == report["phones"]["matched"] == 1.0
    assert report["words"]["mean_ms"] < 10
    assert report["phones"]["within_20_ms"] > 0.95
    assert not [flag for one in found.values() for word in one.words for flag in word.flags]


def test_the_same_lessons_give_the_same_model_after_a_stop(folder: Path, aligner: SpeechAligner) -> None:
    before = (folder / "model" / "model.safetensors").read_bytes()
    again = SpeechAligner.train(Corpus(folder / "corpus"), LEXICON, folder / "model")  # all sweeps are done
    assert (folder / "model" / "model.safetensors").read_bytes() == before
    assert again.model.phones == aligner.model.phones


def test_a_model_that_is_damaged_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give the folder of a trained model"):
        AcousticModel.load(tmp_path)
    (tmp_path / "model.json").write_bytes((folder / "model" / "model.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"12345678")
    with pytest.raises(DataError, match="cannot be read"):
        AcousticModel.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "other"}, "its format is not"),
        ({"rate": 0}, "the rate is 0"),
        ({"rate": "fast"}, "the rate is 'fast'"),
        ({"rate": 11025}, "whole samples"),
        ({"phones": ["a", "a"]}, "two units have one name"),
        ({"phones": ["sil"]}, "two units have one name"),
        ({"phones": "a"}, "no list of strings"),
        ({"phones": ["a"]}, "not the weights"),
        ({"components": 0}, "components are 0"),
        ({"components": 10**9}, "components are 1000000000"),
    ],
)
def test_a_description_that_is_amiss_is_refused(
    folder: Path, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    content = json.loads((folder / "model" / "model.json").read_text())
    (tmp_path / "model.safetensors").write_bytes((folder / "model" / "model.safetensors").read_bytes())
    (tmp_path / "model.json").write_text(json.dumps(content))
    AcousticModel.load(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps(content | change))
    with pytest.raises(DataError, match=said):
        AcousticModel.load(tmp_path)


def test_a_model_of_other_recordings_is_not_written_over(folder: Path, tmp_path: Path) -> None:
    list(write_corpus(tmp_path / "corpus", 2, seed=1))
    SpeechAligner.train(Corpus(tmp_path / "corpus"), LEXICON, tmp_path / "model")
    before = {path: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    with pytest.raises(DataError, match="holds a model of other recordings"):
        SpeechAligner.train(Corpus(folder / "corpus"), LEXICON, tmp_path / "model")
    (tmp_path / "model" / "checkpoint.safetensors").unlink()
    with pytest.raises(DataError, match="give another folder"):
        SpeechAligner.train(Corpus(tmp_path / "corpus"), LEXICON, tmp_path / "model")
    assert all(path.read_bytes() == content for path, content in before.items() if path.exists())


def test_the_checkpoint_may_be_read_by_those_who_may_read_the_model(folder: Path) -> None:
    files = [folder / "model" / f"{name}.safetensors" for name in ("checkpoint", "model")]
    checkpoint, model = (stat.S_IMODE(path.stat().st_mode) for path in files)
    assert checkpoint == model


def test_a_checkpoint_that_is_damaged_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes(b"12345678")
    with pytest.raises(DataError, match="not a checkpoint that can be read"):
        SpeechAligner.train(Corpus(folder / "corpus"), LEXICON, tmp_path)


def test_no_bar_is_drawn_before_a_lexicon_that_cannot_be_read(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"--corpus={folder / 'corpus'}", f"--lexicon={tmp_path / 'none'}", f"--out={tmp_path}"]
    with pytest.raises(SystemExit):
        main(["train", *options])
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"error: {tmp_path / 'none'}")


def test_score_leaves_out_what_cannot_be_read_and_says_so(tmp_path: Path) -> None:
    for name in ("good", "bad"):
        for kind in ("ref", "hyp"):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / f"{name}.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nword\n")
    (tmp_path / "hyp" / "bad.srt").write_text("1\n00:00:01,000 --> never\nword\n")
    folders = ["score", "--ref", str(tmp_path / "ref"), "--hyp", str(tmp_path / "hyp")]
    result = CliRunner().invoke(app, folders)
    assert result.exit_code == 1
    assert f"error: {tmp_path}/hyp/bad.srt, line 2" in result.output
    assert json.loads(result.stdout)["words"]["mean_ms"] == 0
    assert json.loads(result.stdout)["missing"] == ["bad"]
    (tmp_path / "hyp" / "good.srt").unlink()
    with pytest.raises(DataError, match="holds no alignment of a recording"):
        CliRunner().invoke(app, folders, catch_exceptions=False)


@pytest.mark.parametrize(
    ("spoken", "written", "flag", "label"),
    [
        ("mama sim us missa", "mama sim musi us missa", "skipped", "musi"),
        ("mama sim us missa ami", "mama sim us ami", "inserted", "*"),
        ("mama sim us us missa", "mama sim us missa", "repeated", "us"),
    ],
)
def test_what_the_text_does_not_say_is_flagged(
    aligner: SpeechAligner, spoken: str, written: str, flag: str, label: str
) -> None:
    samples, truth = utterance(spoken.split(), np.random.default_rng(3))
    found = align_samples(aligner.model, samples, words_of(written, LEXICON), LEXICON)
    assert [(word.label, word.flags) for word in found.words if word.flags] == [(label, (flag,))]
    true = {word.label: word for word in truth.words}
    for word in found.words:
        if not word.flags:
            assert abs(word.start - true[word.label].start) < 0.02


def test_a_long_recording_is_aligned_in_windows(aligner: SpeechAligner) -> None:
    random = np.random.default_rng(5)
    words = [str(word) for word in random.choice(list(LEXICON.entries), 160)]
    samples, truth = utterance(words, random)
    assert len(samples) > 60 * RATE
    found = align_samples(aligner.model, samples, words_of(" ".join(words), LEXICON), LEXICON)
    assert [word.label for word in found.words] == words
    for tier in (found.words, found.phones):
        assert all(one.end <= other.start for one, other in pairwise(tier))
    errors = [abs(a.start - b.start) for a, b in zip(found.words, truth.words, strict=True)]
    assert np.mean(errors) < 0.01


@pytest.mark.parametrize("pause", [8.0, 14.0, 45.0])
def test_a_long_pause_moves_nothing(aligner: SpeechAligner, pause: float) -> None:
    chance, words = np.random.default_rng(9), ["sim", "mama", "us", "ami"]
    (one, first), (other, second) = utterance(words, chance), utterance(words[::-1], chance)
    quiet = chance.normal(0, 2e-4, round(pause * RATE)).astype(np.float32)
    samples, text = np.concatenate([one, quiet, other]), " ".join(words + words[::-1])
    found = align_samples(aligner.model, samples, words_of(text, LEXICON), LEXICON)
    assert [(word.label, word.flags) for word in found.words] == [(word, ()) for word in text.split()]
    here = (len(one) + len(quiet)) / RATE
    starts = [word.start for word in first.words] + [here + word.start for word in second.words]
    assert max(abs(word.start - start) for word, start in zip(found.words, starts, strict=True)) < 0.03


@pytest.mark.parametrize("damaged", [False, True])
def test_a_recording_that_is_read_bit_by_bit(
    aligner: SpeechAligner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    words = ["sim", "mama", "us", "ami"]
    samples, truth = utterance(words, np.random.default_rng(8))
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    monkeypatch.setattr("recipes.speech_alignment.audio.LONG", 1.0)
    monkeypatch.setattr("recipes.speech_alignment.audio.was_copied_as_text", lambda path: damaged)
    found = aligner.align(tmp_path / "a.wav", " ".join(words))
    assert [word.label for word in found.words] == words
    assert max(abs(a.start - b.start) for a, b in zip(found.words, truth.words, strict=True)) < 0.02
    assert [flag.partition(":")[0] for flag in found.flags] == ["damaged"] * damaged


@pytest.mark.parametrize("seed", [6, 7])
def test_noisy_recordings_are_heard_by_what_was_learnt_in_noise(aligner: SpeechAligner, seed: int) -> None:
    words, chance = ["sim", "mama", "us", "ami"], np.random.default_rng(seed)
    samples, truth = utterance(words, chance)
    loud = noise.noisy(samples, noise.white(len(samples), chance), 10.0)
    model = aligner.model
    assert model.likelier(model.features(samples, model.rate)) is model.gaussians
    assert model.likelier(model.features(loud, model.rate)) is model.noisy
    found = align_samples(model, loud, words_of(" ".join(words), LEXICON), LEXICON)
    assert [word.label for word in found.words] == words
    assert max(abs(a.start - b.start) for a, b in zip(found.words, truth.words, strict=True)) < 0.03


def test_the_command_says_how_much_is_flagged(folder: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    names = [one.name for one in write_corpus(corpus, 3)]
    text = (corpus / f"{names[1]}.txt").read_text().strip(".").split()
    (corpus / f"{names[1]}.txt").write_text(" ".join([*text[:2], "musi", *text[2:]]))
    arguments = ["align", "--corpus", corpus, "--model", folder / "model", "--out", tmp_path / "out"]
    for _ in range(2):  # the second time there is nothing left to do
        result = CliRunner().invoke(app, list(map(str, arguments)))
        assert "1 words are flagged, in 1 recordings: look at these" in result.output


def test_words_are_recognised_without_a_text(aligner: SpeechAligner) -> None:
    samples, truth = utterance(["sim", "mama", "us", "us", "ami"], np.random.default_rng(4))
    words = Symbols(LEXICON.entries)
    grammar = loop(aligner.model, LEXICON, words)
    assert recognise(aligner.model, samples, grammar, words) == [word.label for word in truth.words]


def test_one_bad_recording_does_not_stop_the_others(folder: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    list(write_corpus(corpus, 2))
    good, text = (corpus / "a" / "00.wav").read_bytes(), "mama sim"
    sounds = {
        "empty_file": b"", "truncated": good[:30], "no_text": good, "empty_text": good, "other_script": good,
        "too_long": good, "unknown_signs": good, "cut": good[: len(good) // 2],
    }  # fmt: skip
    texts = {
        "no_text": None,
        "empty_text": " ",
        "other_script": "привет",
        "too_long": 40 * text,
        "unknown_signs": "♥ ♦",
        "cut": (corpus / "a" / "00.txt").read_text(),
    }
    for name, content in sounds.items():
        (corpus / f"{name}.wav").write_bytes(content)
        if texts.get(name, text) is not None:
            (corpus / f"{name}.txt").write_text(str(texts.get(name, text)))
    soundfile.write(corpus / "silence.wav", np.zeros(RATE), RATE)
    (corpus / "silence.txt").write_text(text)
    wide = np.repeat(soundfile.read(corpus / "a" / "00.wav")[0], 12)[:, None].repeat(2, 1)
    soundfile.write(corpus / "wide.wav", wide, 96_000, "PCM_24")
    (corpus / "wide.txt").write_text((corpus / "a" / "00.txt").read_text())
    arguments = [
        "--model",
        folder / "model",
        "--corpus",
        corpus,
        "--out",
        tmp_path / "out",
        "--format",
        "json,srt",
    ]
    result = CliRunner().invoke(app, ["align", *map(str, arguments)])
    assert result.exit_code == 1
    done = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.json")}
    assert done == {"a/00.json", "b/01.json", "wide.json"}
    for name in (*sounds, "silence"):
        assert f"error: {name}: " in result.output


def test_complete_alignments_are_left_as_they_are(folder: Path, tmp_path: Path) -> None:
    arguments = ["align", "--model", folder / "model", "--corpus", folder / "corpus", "--out", tmp_path]
    assert CliRunner().invoke(app, [*map(str, arguments)]).exit_code == 0
    done = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.TextGrid")}
    assert len(done) == 12
    missing = next(iter(done))
    missing.unlink()
    assert CliRunner().invoke(app, [*map(str, arguments)]).exit_code == 0
    assert missing.exists()
    assert all(path.stat().st_mtime_ns == time for path, time in done.items() if path != missing)


def test_training_needs_recordings() -> None:
    with pytest.raises(DataError, match="no recording to learn from"):
        Training(["a"], RATE, [])


def test_recognise_says_the_words_of_each_recording(folder: Path, tmp_path: Path) -> None:
    corpus, words = tmp_path / "corpus", tmp_path / "words.txt"
    truth = list(write_corpus(corpus, 3, seed=5))
    arguments = [f"--model={folder / 'model'}", f"--corpus={corpus}", f"--words={words}"]
    words.write_text("\n".join(LEXICON.entries))
    result = CliRunner().invoke(app, ["recognise", *arguments])
    assert result.exit_code == 0
    lines = [f"{one.name}\t{' '.join(word.label for word in one.words)}" for one in truth]
    assert sorted(result.stdout.splitlines()) == sorted(lines)
    assert "0 edits for 12 words: 0.00%" in result.stderr
    words.write_text("mama MAMA us")  # all else is taken for one of these
    (corpus / "empty.wav").write_bytes(b"")
    result = CliRunner().invoke(app, ["recognise", *arguments])
    assert result.exit_code == 1
    assert "error: empty: " in result.stderr
    assert {word for line in result.stdout.splitlines() for word in line.split()[1:]} <= {"mama", "us"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (b"", "holds no word"),
        ("mama привет".encode(), "'привет' cannot be recognised"),
        ("mama".encode("utf-16"), "is not in UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_recognise_needs_words_that_can_be_said(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: bytes | None, reason: str
) -> None:
    if words is not None:
        (tmp_path / "words.txt").write_bytes(words)
    arguments = [f"--model={folder / 'model'}", f"--corpus={folder / 'corpus'}"]
    with pytest.raises(SystemExit) as stop:
        main(["recognise", *arguments, f"--words={tmp_path / 'words.txt'}"])
    assert stop.value.code == 2
    assert reason in capsys.readouterr().err


def test_what_there_is_little_of_is_learnt_with_few_components() -> None:
    frames = torch.randn(6 * 2 * FRAMES_OF_A_COMPONENT, FEATURES)
    lesson = Lesson("all", frames, torch.zeros(len(frames)), words_of("a", Lexicon({"a": [("a",)]})))
    schedule = [Sweep(1, 2), Sweep(2, 1), Sweep(4, 1)]
    assert Training(["a"], RATE, [lesson], None, schedule).schedule == (Sweep(1, 2), Sweep(2, 1))
    short = replace(lesson, frames=frames[:50])
    assert Training(["a"], RATE, [short], None, schedule).schedule == (Sweep(1, 2),)
    for none in (schedule[1:], []):
        with pytest.raises(DataError, match="no sweep of the schedule has 1 components or fewer"):
            Training(["a"], RATE, [short], None, none)
