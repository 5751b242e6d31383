"""Speech of a kind, made on the spot: each phone is a chord or a hiss, so that every boundary is known."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from recipes.speech_alignment import FileAlignment, Interval, Lexicon

RATE = 8000
CHORDS = {"a": (700, 1200), "i": (300, 2300), "u": (350, 800), "m": (250, 1000), "s": (3000, 3500)}
LEXICON = Lexicon(
    {"mama": [("m", "a", "m", "a")], "sim": [("s", "i", "m")], "us": [("u", "s")], "missa": [("m", "i", "s", "a")],
     "ami": [("a", "m", "i")], "musi": [("m", "u", "s", "i")]}
)  # fmt: skip


def chord(phone: str, seconds: float, random: np.random.Generator) -> NDArray[np.float32]:
    time = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * hertz * time + random.uniform(0, 6)) for hertz in CHORDS[phone])
    return np.asarray(0.1 * wave, np.float32)


def utterance(words: list[str], random: np.random.Generator) -> tuple[NDArray[np.float32], FileAlignment]:
    """Samples and the times of words and phones, with silence at both ends and now and then between words."""
    pieces, here = [np.zeros(round(0.2 * RATE), np.float32)], 0.2
    spoken, phones = [], []
    for word in words:
        start = here
        for phone in LEXICON.pronunciations(word)[0]:
            pieces.append(chord(phone, random.uniform(0.06, 0.16), random))
            phones.append(Interval(here, here + len(pieces[-1]) / RATE, phone))
            here = phones[-1].end
        spoken.append(Interval(start, here, word))
        pause = float(random.choice([0.0, 0.15]))
        pieces.append(np.zeros(round(pause * RATE), np.float32))
        here += pause
    pieces.append(np.zeros(round(0.2 * RATE), np.float32))
    samples = np.concatenate(pieces)
    samples += random.normal(0, 2e-4, len(samples)).astype(np.float32)
    return samples, FileAlignment("", len(samples) / RATE, tuple(spoken), tuple(phones))


def write_corpus(folder: Path, count: int, seed: int = 0) -> Iterator[FileAlignment]:
    """Writes recordings with texts; gives what is true of each."""
    random = np.random.default_rng(seed)
    for number in range(count):
        words = [str(word) for word in random.choice(list(LEXICON.entries), 4)]
        samples, truth = utterance(words, random)
        name = f"{'ab'[number % 2]}/{number:02d}"
        path = folder / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, RATE)
        path.with_suffix(".txt").write_text(" ".join(words).capitalize() + ".")
        yield FileAlignment(name, truth.duration, truth.words, truth.phones)
