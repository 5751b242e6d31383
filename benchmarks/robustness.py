"""How far noise in the sound, and errors in the text, move what a clean recording and its own text give, and
which of the errors are flagged.

The model is learnt from the clean corpus. Noise is white, or babble: six other speakers of the corpus at
once; its power is so many dB below the recording's on average. Of the words of the texts one in twenty,
chosen by chance, is another word of the corpus, is missing, or has another word behind it.
"""

import json as json_text
import random
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer

from gtn_ebm import DataError
from gtn_ebm.io.files import write_whole
from recipes.speech_alignment import Corpus, FileAlignment, Interval, Lexicon, SpeechAligner
from recipes.speech_alignment.alignment import align_samples
from recipes.speech_alignment.audio import Samples
from recipes.speech_alignment.noise import noisy, white
from recipes.speech_alignment.scoring import Errors, errors, plain
from recipes.speech_alignment.transcript import Word, words_of

TALKERS = 6
"""Of babble."""

RATE = 0.05
"""Of words that are wrong, missing or added."""

NEAR = 0.010
"""Seconds that a boundary may move."""

BESIDE = 0.050
"""Seconds around a missing word in which a flag counts for it."""

ERRORS = ("wrong", "missing", "added")
NOISES = ("white", "babble")


class Written(NamedTuple):
    """A place of a text with errors: the word that stands there, None where one is missing; its place in the
    right text, None where it is not from there; and which of ERRORS it is, "" for none."""

    word: Word | None
    place: int | None
    error: str


@dataclass
class Tally:
    """What is counted of some recordings.

    Attributes:
        moved: seconds that each boundary of an untouched word moved; infinite where it was not found.
        moved_beside: the same, of sentences that have an error alone.
        flagged: of each error, whether it is flagged.
        false: flags of untouched words.
        words: untouched ones.
        labelled: how far words' boundaries are from people's, where the corpus has these.
    """

    moved: list[float] = field(default_factory=list)
    moved_beside: list[float] = field(default_factory=list)
    flagged: list[bool] = field(default_factory=list)
    false: int = 0
    words: int = 0
    labelled: Errors = field(default_factory=Errors)

    def summary(self) -> dict[str, float | int | None]:
        """Shares, None where there is nothing to count."""

        def share(values: Sequence[bool]) -> float | None:
            return sum(values) / len(values) if values else None

        return {
            "boundaries": len(self.moved),
            "near": share([moved <= NEAR + 1e-7 for moved in self.moved]),
            "near_in_sentences_with_errors": share([moved <= NEAR + 1e-7 for moved in self.moved_beside]),
            "errors": len(self.flagged),
            "flagged": share(self.flagged),
            "false_flags": self.false / self.words if self.words else None,
            **{f"labels_{name}": self.labelled.summary()[name] for name in ("mean_ms", "within_20_ms")},
        }


class Speech:
    """A corpus in memory, and how it is aligned.

    Attributes:
        samples: of each recording.
        words: of each text.
        labels: people's, where there are any.
        clean: what comes of samples and words, for each recording that is not refused.
    """

    def __init__(self, corpus: Corpus, aligner: SpeechAligner):
        self.aligner = aligner
        self.samples = {name: corpus[name].sound(aligner.model.rate).samples for name in corpus.names}
        self.words = {name: words_of(corpus[name].text, aligner.lexicon) for name in corpus.names}
        self.labels = {name: labels for name in corpus.names if (labels := corpus[name].reference)}
        found = {name: self.align(name, self.samples[name], words) for name, words in self.words.items()}
        self.clean = {name: each for name, each in found.items() if each is not None}

    def align(self, name: str, samples: Samples, words: Sequence[Word]) -> FileAlignment | None:
        """None where it is refused."""
        try:
            return align_samples(self.aligner.model, samples, words, self.aligner.lexicon, name)
        except DataError as error:
            print(error)
            return None

    def noise(self, name: str, kind: str, seed: int) -> Samples:
        """As long as the recording, of any loudness."""
        chance = np.random.default_rng([seed, zlib.crc32(f"{name} {kind}".encode())])
        length = len(self.samples[name])
        if kind == "white":
            return white(length, chance)
        others = [other for other in self.samples if speaker(other) != speaker(name)]
        talkers = [self.samples[others[number]] for number in chance.choice(len(others), TALKERS, False)]
        starts = chance.integers(0, [len(one) for one in talkers])
        rolled = [np.resize(np.roll(one, -start), length) for one, start in zip(talkers, starts, strict=True)]
        return np.sum([one / np.sqrt(np.mean(one**2)) for one in rolled], 0, dtype=np.float32)

    def noisy(self, name: str, kind: str, decibels: float, seed: int) -> Samples:
        """The recording, with noise so far below it."""
        return noisy(self.samples[name], self.noise(name, kind, seed), decibels)

    def with_errors(self, name: str, kinds: Sequence[str], seed: int) -> list[Written]:
        """The text with RATE of its words in error, each of one of the kinds."""
        chance, rate = random.Random(f"{seed} {name} {kinds}"), RATE if kinds else 0.0
        vocabulary = sorted({word.label.lower() for words in self.words.values() for word in words})
        written = []
        for place, word in enumerate(self.words[name]):
            error = chance.choice(kinds) if chance.random() < rate else ""
            if error == "missing":
                written.append(Written(None, place, error))
            elif error != "wrong":
                written.append(Written(word, place, ""))
            if error in ("wrong", "added"):
                others = [other for other in vocabulary if other != word.label.lower()]
                (other,) = words_of(chance.choice(others), self.aligner.lexicon)
                written.append(Written(other, None, error))
        return written


def speaker(name: str) -> str:
    """By TIMIT's names: the folder of a recording."""
    return name.rpartition("/")[0] or name.partition("-")[0]


def count(tally: Tally, clean: FileAlignment, found: FileAlignment | None, text: Sequence[Written]) -> None:
    """Counts what came of a recording with this text."""
    wrong = any(each.error for each in text)
    own, moved = spoken(clean), list[float]()
    said = iter([] if found is None else spoken(found))
    for each in text:
        word = None if each.word is None or found is None else next(said)
        if each.error:
            tally.flagged.append(found is not None and is_flagged(each, word, own, found))
        else:
            assert each.place is not None
            before = own[each.place]
            tally.words += 1
            tally.false += word is not None and bool(word.flags)
            moved += (
                [np.inf, np.inf]
                if word is None
                else [abs(word.start - before.start), abs(word.end - before.end)]
            )
    tally.moved += moved
    tally.moved_beside += moved if wrong else []


def spoken(alignment: FileAlignment) -> list[Interval]:
    """An interval for each word of the text."""
    return [word for word in alignment.words if not {"inserted", "repeated"} & set(word.flags)]


def is_flagged(text: Written, word: Interval | None, own: Sequence[Interval], found: FileAlignment) -> bool:
    """Whether a word that should not be there is flagged, or something where a missing one is."""
    if word is not None:
        return bool(word.flags)
    assert text.place is not None
    missing = own[text.place]
    return any(
        other.flags and other.end > missing.start - BESIDE and other.start < missing.end + BESIDE
        for other in found.words
    )


Condition = Callable[[str, int], tuple[Samples, list[Written]]]
"""From the name of a recording and a seed to what is to be aligned."""


def conditions(speech: Speech, decibels: Sequence[float]) -> dict[str, Condition]:
    """What is done to recordings and texts, by its name."""

    def in_noise(name: str, seed: int, kind: str, level: float) -> tuple[Samples, list[Written]]:
        return speech.noisy(name, kind, level, seed), speech.with_errors(name, (), seed)

    def in_error(name: str, seed: int, kinds: Sequence[str]) -> tuple[Samples, list[Written]]:
        return speech.samples[name], speech.with_errors(name, kinds, seed)

    def in_both(name: str, seed: int, kind: str, level: float) -> tuple[Samples, list[Written]]:
        return speech.noisy(name, kind, level, seed), speech.with_errors(name, ERRORS, seed)

    found: dict[str, Condition] = {"clean": partial(in_error, kinds=())}
    for kind in NOISES:
        for level in decibels:
            found[f"{kind} noise, {level:g} dB"] = partial(in_noise, kind=kind, level=level)
    for error in ERRORS:
        found[f"words {error}"] = partial(in_error, kinds=(error,))
    found["all three"] = partial(in_error, kinds=ERRORS)
    for kind in NOISES:
        found[f"all three, {kind} {decibels[0]:g} dB"] = partial(in_both, kind=kind, level=decibels[0])
    return found


def measure(speech: Speech, names: Iterable[str], condition: Condition, seeds: int) -> Tally:
    """What comes of these recordings, each with as many seeds."""
    tally = Tally()
    for name in names:
        for seed in range(seeds):
            samples, text = condition(name, seed)
            if samples is speech.samples[name] and not any(each.error for each in text):
                found: FileAlignment | None = speech.clean[name]
            else:
                found = speech.align(name, samples, [each.word for each in text if each.word is not None])
            count(tally, speech.clean[name], found, text)
            if name in speech.labels and found is not None:
                tally.labelled.add(errors(speech.labels[name].words, found.words, plain))
    return tally


def main(
    corpus: Annotated[Path, typer.Option(help="Folder as of recipes.speech_alignment.")] = Path(
        "../shared/data/timit_sample"
    ),
    lexicon: Annotated[Path | None, typer.Option(help="timitdic.txt in the corpus where omitted.")] = None,
    model: Annotated[Path | None, typer.Option(help="Folder of a trained model, or for one.")] = None,
    apart: Annotated[str, typer.Option(help="Speakers that constants were chosen on.")] = "fvmh0,marc0,maeb0",
    seeds: Annotated[int, typer.Option(min=1, help="Of errors in texts; one of noise.")] = 5,
    decibels: Annotated[str, typer.Option(help="Of the recording above the noise.")] = "20,10",
    json: Annotated[Path | None, typer.Option(help="A file to keep the figures in.")] = None,
) -> None:
    """Trains on the corpus, or takes the model, and aligns the corpus again and again."""
    torch.set_num_threads(1)
    given, words = Corpus(corpus), Lexicon.read(lexicon or corpus / "timitdic.txt")
    speech = Speech(given, SpeechAligner.train(given, words, model, print))
    chosen = [name for name in speech.clean if any(speaker in name for speaker in apart.split(","))]
    groups = {"chosen on": chosen, "the others": [name for name in speech.clean if name not in chosen]}
    report: dict[str, dict[str, Any]] = {}
    for label, condition in conditions(speech, [float(level) for level in decibels.split(",")]).items():
        for group, names in groups.items():
            tally = measure(speech, names, condition, 1 if "noise" in label or label == "clean" else seeds)
            report.setdefault(label, {})[group] = tally.summary()
            shown = "  ".join(
                f"{field} {value:.3f}" if isinstance(value, float) else f"{field} {value}"
                for field, value in report[label][group].items()
            )
            print(f"{label:24} {group:10} {shown}", flush=True)
    if json:
        write_whole(json, json_text.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
