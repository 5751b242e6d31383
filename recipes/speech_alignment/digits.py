"""Strings of spoken digits, joined from recordings of single ones with pauses between them.

Speech of people of which the time of every word is known: it is where a recording was put. The recordings
are those of the Free Spoken Digit Dataset, ``DIGIT_SPEAKER_TAKE.wav``
(github.com/Jakobovski/free-spoken-digit-dataset). They are trimmed, but not to the sound: what is quiet at
their edges belongs to the word.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from gtn_ebm import DataError
from gtn_ebm.io.files import write_beside, write_whole
from recipes.speech_alignment import audio
from recipes.speech_alignment.formats import write_alignment
from recipes.speech_alignment.intervals import FileAlignment, Interval
from recipes.speech_alignment.lexicon import Lexicon

LEXICON = Lexicon(
    {
        "zero": [("z", "ih", "r", "ow"), ("z", "iy", "r", "ow")],
        "one": [("w", "ah", "n")],
        "two": [("t", "uw")],
        "three": [("th", "r", "iy")],
        "four": [("f", "ao", "r")],
        "five": [("f", "ay", "v")],
        "six": [("s", "ih", "k", "s")],
        "seven": [("s", "eh", "v", "ah", "n")],
        "eight": [("ey", "t")],
        "nine": [("n", "ay", "n")],
    }
)
WORDS = tuple(LEXICON.entries)
"""The word of each digit."""

TEST, TRAINING = range(5), range(5, 50)
"""Takes, as those who made the recordings divide them."""

FEWEST, MOST = 4, 8
"""Digits of a string."""

PAUSES = (0.05, 0.3)
"""Seconds of the shortest and of the longest pause."""

NOISE = 0.001
"""The standard deviation of the samples of a pause, which are between −1 and 1: 60 dB below full scale."""

_NAME = re.compile(r"(\d)_(\w+)_(\d+)\.wav")


def write_strings(
    recordings: Path, folder: Path, takes: Collection[int], rounds: int = 1, seed: int = 0
) -> None:
    """Writes a corpus of strings, each of one speaker: ``SPEAKER/NUMBER.wav``, ``.txt`` and ``.TextGrid``.

    Every recording is used once a round, but for a few that are left over. The same arguments make the same
    files, over those of an earlier run. Nothing is removed; and where some of these would be left, nothing is
    written, as the corpus would hold both.

    Args:
        recordings: folder of single digits.
        folder: where the corpus is written.
        takes: of the recordings that are used.
        rounds: how often.
        seed: of the order, the lengths, the pauses and their noise.

    Raises:
        DataError: there are no such recordings, one cannot be read, their rates differ, or the folder holds
            strings that would not be written over.
    """
    strings = list(_strings(recordings, takes, rounds, seed))
    names = {string.alignment.name for string in strings}
    for path in sorted(folder.glob("*/*.wav")):
        if path.stem.isdecimal() and f"{path.parent.name}/{path.stem}" not in names:
            raise DataError(
                f"{path}: is of an earlier run; give another folder, or remove the strings of {folder}"
            )
    for string in strings:
        string.write(folder)


class _String(NamedTuple):
    alignment: FileAlignment
    samples: NDArray[np.float32]
    rate: int

    def write(self, folder: Path) -> None:
        sound = folder / f"{self.alignment.name}.wav"
        sound.parent.mkdir(parents=True, exist_ok=True)
        write = partial(soundfile.write, data=self.samples, samplerate=self.rate, format="WAV")
        write_beside(sound, write)
        text = " ".join(word.label for word in self.alignment.words)
        write_whole(sound.with_suffix(".txt"), f"{text}\n")
        write_alignment(self.alignment, folder, "textgrid")


def _strings(recordings: Path, takes: Collection[int], rounds: int, seed: int) -> Iterator[_String]:
    random = np.random.default_rng(seed)
    for speaker, paths in _by_speaker(recordings, takes).items():
        order = [paths[place] for _ in range(rounds) for place in random.permutation(len(paths))]
        for number, chosen in enumerate(_dealt(order, random), 1):
            yield _joined(f"{speaker}/{number:03d}", chosen, random)


def _by_speaker(recordings: Path, takes: Collection[int]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(recordings.glob("*.wav")):
        name = _NAME.fullmatch(path.name)
        if name and int(name[3]) in takes:
            found[name[2]].append(path)
    if not found:
        raise DataError(f"{recordings}: holds no DIGIT_SPEAKER_TAKE.wav of the takes that are asked for")
    return found


def _dealt(paths: Sequence[Path], random: np.random.Generator) -> Iterator[Sequence[Path]]:
    while len(paths) >= FEWEST:
        count = int(random.integers(FEWEST, MOST + 1))
        yield paths[:count]
        paths = paths[count:]


def _joined(name: str, recordings: Sequence[Path], random: np.random.Generator) -> _String:
    rate = audio.rate_and_duration(recordings[0])[0]
    pieces, words = [_pause(rate, random)], list[Interval]()
    here = len(pieces[0])
    for path in recordings:
        if audio.rate_and_duration(path)[0] != rate:
            raise DataError(f"{path}: has another rate than {recordings[0].name}, {rate} Hz; convert it")
        pieces += [audio.read(path, rate).samples, _pause(rate, random)]
        word, pause = map(len, pieces[-2:])
        words.append(Interval(here / rate, (here + word) / rate, WORDS[int(path.name[0])]))
        here += word + pause
    return _String(FileAlignment(name, here / rate, tuple(words)), np.concatenate(pieces), rate)


def _pause(rate: int, random: np.random.Generator) -> NDArray[np.float32]:
    count = round(random.uniform(*PAUSES) * rate)
    return (NOISE * random.standard_normal(count)).astype(np.float32)
