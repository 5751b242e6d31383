"""A model and its lexicon: from a folder of recordings and texts to the times of words and phones."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gtn_ebm import DataError
from recipes.speech_alignment import audio, features, noise
from recipes.speech_alignment.acoustic_model import AcousticModel
from recipes.speech_alignment.alignment import align
from recipes.speech_alignment.corpus import Corpus, Recording
from recipes.speech_alignment.intervals import FileAlignment
from recipes.speech_alignment.letter_to_sound import LetterToSound
from recipes.speech_alignment.lexicon import Lexicon, Pronunciation
from recipes.speech_alignment.training import LONGEST, Lesson, Training
from recipes.speech_alignment.transcript import words_of

HIGHEST_RATE = 16_000
"""Samples a second; there is nothing in speech beyond that helps to align it."""

NOISE = (8.0, 22.0)
"""Decibels of recordings above the noise that models of noisy ones are learnt with."""

GUESSES = 2
"""Pronunciations of a word that is not in the lexicon."""


class SpeechAligner:
    """Aligns recordings with their texts.

    Args:
        model: of sounds.
        lexicon: of words; those it lacks are pronounced by a letter-to-sound model trained from it.
    """

    def __init__(self, model: AcousticModel, lexicon: Lexicon):
        self.model, self.lexicon = model, with_guesses(lexicon)

    @classmethod
    def train(
        cls,
        corpus: Corpus,
        lexicon: Lexicon,
        folder: Path | str | None = None,
        complain: Callable[[str], object] = lambda message: None,
        progress: Callable[[int, int], object] = lambda done, total: None,
    ) -> SpeechAligner:
        """Learns the sounds of a corpus from its recordings and texts alone.

        Args:
            corpus: to learn from.
            lexicon: of its words.
            folder: where it is written, and kept while training, to go on from; nowhere if None.
            complain: told of each recording that cannot be used.
            progress: told how much is done, and of how much.

        Raises:
            DataError: nothing of the corpus can be used.
        """
        lexicon, folder = with_guesses(lexicon), None if folder is None else Path(folder)
        rate = common_rate(corpus)
        lessons = []
        for name in corpus.names:
            try:
                lessons.append(lesson(corpus[name], lexicon, rate))
            except DataError as error:
                complain(f"{name}: {error}")
        spoken = {phone for one in lessons for word in one.words for p in word.pronunciations for phone in p}
        model = Training(sorted(spoken), rate, lessons, folder).run(progress)
        aligner = cls(model, lexicon)
        if folder is not None:
            aligner.save(folder)
        return aligner

    def save(self, folder: Path | str) -> None:
        """Writes the model and the lexicon."""
        self.model.save(Path(folder))
        self.lexicon.write(Path(folder) / "lexicon.txt")

    @classmethod
    def load(cls, folder: Path | str, lexicon: Lexicon | None = None) -> SpeechAligner:
        """Reads what ``save`` wrote, with another lexicon if given; DataError where it is not there."""
        model = AcousticModel.load(Path(folder))
        return cls(model, lexicon or Lexicon.read(Path(folder) / "lexicon.txt"))

    def align(self, recording: Recording | Path | str, text: str | None = None) -> FileAlignment:
        """The times of words and phones of a recording of a corpus, or of a sound file and its text.

        Raises:
            DataError: the sound or the text cannot be used; the message says why.
        """
        if not isinstance(recording, Recording):
            path = Path(recording)
            recording = Recording(path.stem, path, text)
        return align(self.model, recording, self.lexicon)


def with_guesses(lexicon: Lexicon) -> Lexicon:
    """The lexicon, with a letter-to-sound model of its own where it has none; trained once it is needed."""

    @cache
    def model() -> LetterToSound:
        return LetterToSound.train(lexicon.entries)

    def guess(word: str) -> list[Pronunciation]:
        try:
            return [phones for phones, _ in model()(word, GUESSES)]
        except DataError:
            return []

    if lexicon.letter_to_sound is not None:
        return lexicon
    return Lexicon(lexicon.entries, cache(guess))


def common_rate(corpus: Corpus) -> int:
    """The rate that most recordings have, HIGHEST_RATE at most; lowered to one at which frames are a whole
    number of samples apart, as their times would drift from the sound's: 11,025 becomes 11,000."""
    rates: Counter[int] = Counter()
    for path in corpus.paths.values():
        try:
            rates[audio.rate_and_duration(path)[0]] += 1
        except DataError:
            continue
    if not rates:
        raise DataError(f"{corpus.directory}: none of {len(corpus)} recordings can be read")
    frames = round(1 / features.HOP)  # a second
    return min(HIGHEST_RATE, max(1, rates.most_common(1)[0][0] // frames) * frames)


def lesson(recording: Recording, lexicon: Lexicon, rate: int) -> Lesson:
    """What there is to learn from a recording; DataError where there is nothing."""
    words = words_of(recording.text, lexicon)
    _, duration = audio.rate_and_duration(recording.audio)
    if duration > LONGEST:
        raise DataError(f"{duration:.0f} s are too long to learn from; {LONGEST:.0f} s are the most")
    unknown = [word.label for word in words if not word.pronunciations]
    if unknown:
        raise DataError(f"nobody knows how to say {unknown[0]!r}; add it to the lexicon")
    samples = torch.from_numpy(recording.sound(rate).samples)
    bands = features.log_mel(samples, rate)
    frames = features.seen(samples, rate)
    fewest = sum(min(map(len, word.pronunciations)) for word in words)
    if fewest * 8 > len(frames):
        raise DataError(f"{len(words)} words are too many for {len(frames) * features.HOP:.2f} s of sound")
    if features.is_silent(bands):
        raise DataError("there is nothing but silence")
    return Lesson(recording.name, frames, bands.mean(1), words, partial(in_noise, recording, rate))


def in_noise(recording: Recording, rate: int) -> list[Tensor]:
    """The features of a recording in white noise, and in a murmur, [T, D] each; the same at each call."""
    chance = np.random.default_rng(zlib.crc32(recording.name.encode()))
    samples = recording.sound(rate).samples
    noises = (noise.white(len(samples), chance), noise.murmur(samples, chance))
    loud = (noise.noisy(samples, each, chance.uniform(*NOISE)) for each in noises)
    return [features.seen(torch.from_numpy(each), rate) for each in loud]
