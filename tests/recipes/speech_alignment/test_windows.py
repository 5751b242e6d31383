"""Long recordings: what is held at a time, and how the place in the text is found again."""

import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recipes.speech_alignment import windows
from recipes.speech_alignment.audio import Passing, Samples
from recipes.speech_alignment.pieces import Piece, Sounding
from recipes.speech_alignment.transcript import STAR, Token, Word
from recipes.speech_alignment.windows import FASTEST, MARGIN, WINDOW, in_windows

RATE = 10
"""Samples a second of sounds in which each sample is the number of the word that is spoken, −1 for silence
and −2 for what is in no text."""

SECONDS = 0.5
"""Of each word."""


def spoken(*numbers: int) -> Samples:
    return np.repeat(np.array(numbers, np.float32), round(SECONDS * RATE))


def words(*numbers: int) -> list[Word]:
    return [Word(str(number), (("a",),)) for number in numbers]


class Listener:
    """Hears each word of the text where it is next, if it is there; and remembers the most it was given."""

    def __init__(self) -> None:
        self.most_samples = self.most_words = 0

    def __call__(
        self, samples: Samples, words: Sequence[Word], *, open_start: bool, open_end: bool
    ) -> list[Piece]:
        self.most_samples = max(self.most_samples, len(samples))
        self.most_words = max(self.most_words, len(words))
        changes = [0, *(np.flatnonzero(np.diff(samples)) + 1), len(samples)]
        rest = {int(word.label): place for place, word in enumerate(words)}
        pieces: list[Piece] = []
        place = 0 if not open_start else None
        for begin, end in pairwise(changes):
            number = int(samples[begin])
            kind = "silence" if number == -1 else "inserted"
            if rest.get(number, -1) == place or (place is None and number in rest):
                kind, place = "word", rest[number]
            token = Token(kind, place or 0, "a" if kind == "word" else STAR)
            sounding = Sounding(token, begin / RATE, end / RATE, end - begin, 1.0)
            pieces.append(Piece(kind, place or 0, [sounding]))
            if kind == "word":
                place = rest[number] + 1
        return pieces


def found(samples: Samples, text: Sequence[Word]) -> dict[str, float]:
    """Where each word that is heard begins, by its label."""
    pieces = in_windows(Passing([samples]), RATE, text, Listener())
    for one, other in pairwise(pieces):
        assert abs(one.end - other.start) < 1e-6
    assert pieces[0].start == 0
    assert pieces[-1].end == pytest.approx(len(samples) / RATE)
    return {text[piece.word].label: piece.start for piece in pieces if piece.kind == "word"}


@pytest.mark.parametrize("count", [10, 1000])
def test_all_words_are_where_they_are(count: int) -> None:
    starts = found(spoken(*range(count)), words(*range(count)))
    assert starts == pytest.approx({str(k): k * SECONDS for k in range(count)})


def test_no_window_takes_more_than_its_share() -> None:
    most = []
    for count in (2000, 8000):
        listener = Listener()
        sound = spoken(*range(count))
        passing = Passing(np.array_split(sound, count // 100))
        in_windows(passing, RATE, words(*range(count)), listener)
        most.append((listener.most_samples, listener.most_words))
        assert passing.passed == len(sound)
    assert most == [(WINDOW * RATE, WINDOW * FASTEST)] * 2


@pytest.mark.parametrize("seconds", [5, 12, 40, 90])
def test_a_stretch_that_the_text_lacks_is_passed_over(seconds: int) -> None:
    more = round(seconds / SECONDS)
    starts = found(spoken(*range(100), *[-2] * more, *range(100, 200)), words(*range(200)))
    assert starts == pytest.approx({str(k): (k + more * (k >= 100)) * SECONDS for k in range(200)})


@pytest.mark.parametrize("more", [5, 100, 400, 3000])
def test_a_stretch_that_the_sound_lacks_is_skipped(more: int) -> None:
    count = 400 + more  # the further away, the longer it is looked for
    text = words(*range(100), *range(10_000, 10_000 + more), *range(100, count))
    starts = found(spoken(*range(count)), text)
    right = {str(k): k * SECONDS for k in range(count)}
    assert {label: starts[label] for label in starts} == pytest.approx({k: right[k] for k in starts})
    lost = [k for k in range(count) if str(k) not in starts]
    assert len(lost) <= more / 10
    assert not lost or (min(lost) >= 100 and len(lost) == max(lost) - min(lost) + 1)


def test_a_few_words_of_further_on_are_no_reason_to_go_there() -> None:
    sound = spoken(*range(100), *[-2] * 30, *range(150, 160), *[-2] * 30, *range(100, 200))
    starts = found(sound, words(*range(200)))
    assert [label for label in starts if int(label) < 200] == [str(k) for k in range(200)]
    assert starts["150"] == pytest.approx((100 + 70 + 50) * SECONDS)


def test_sound_behind_the_text_and_text_behind_the_sound() -> None:
    pieces = in_windows(Passing([spoken(*range(50), *[-2] * 200)]), RATE, words(*range(50)), Listener())
    assert [piece.kind for piece in pieces[50:]] == ["inserted"]
    pieces = in_windows(Passing([spoken(*range(50), *[-1] * 200)]), RATE, words(*range(50)), Listener())
    assert {piece.kind for piece in pieces[50:]} == {"silence"}
    starts = found(spoken(*range(200)), words(*range(5000)))
    assert list(starts) == [str(k) for k in range(200)]


def test_all_of_the_last_window_stays_however_its_end_is_rounded() -> None:
    seconds = 0.02

    def one_word(samples: Samples, words: Sequence[Word], *, open_start: bool, open_end: bool) -> list[Piece]:
        end = len(samples) * seconds
        return [Piece("word", 0, [Sounding(Token("word", 0, "a"), 0.0, end, len(samples), 1.0)])]

    lengths = range(1, 200)
    assert any(length * seconds > length / (1 / seconds) for length in lengths)
    for length in lengths:
        sound = Passing([np.zeros(length, np.float32)])
        assert [piece.kind for piece in in_windows(sound, 1 / seconds, words(0), one_word)] == ["word"]


def test_margins_are_within_windows() -> None:
    assert 0 < windows.FOREIGN < WINDOW - MARGIN < WINDOW


_MEASURED = """
import re, sys
import torch
from pathlib import Path
from recipes.speech_alignment import SpeechAligner
torch.set_num_threads(1)
aligner = SpeechAligner.load(Path(sys.argv[1]))
found = aligner.align(Path(sys.argv[2]), Path(sys.argv[2]).with_suffix(".txt").read_text())
# not ru_maxrss, which begins with the memory of the process that started this one
print(len(found.words), re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow  # 50 minutes of sound
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the most memory from /proc")
def test_memory_does_not_grow_with_the_recording(tmp_path: Path, demonstrated: Path) -> None:
    texts, sounds = [], []
    for path in sorted((demonstrated / "corpus").rglob("*.wav")):
        samples, rate = soundfile.read(path, dtype="float32")
        sounds.append(samples)
        texts.append(path.with_suffix(".txt").read_text())
    once = sum(map(len, sounds)) / rate
    kilobytes = []
    for minutes in (10, 40):
        path, times = tmp_path / f"{minutes}.wav", round(60 * minutes / once)
        soundfile.write(path, np.concatenate(sounds * times), rate)
        path.with_suffix(".txt").write_text("\n".join(texts * times))
        command = [sys.executable, "-c", _MEASURED, str(demonstrated / "model"), str(path)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        count, largest = map(int, answer.stdout.split())
        assert count >= times * sum(len(text.split()) for text in texts)
        kilobytes.append(largest)
    # The sound of half an hour more would take 100 MB or more, and its features 800.
    assert kilobytes[1] - kilobytes[0] < 30_000
