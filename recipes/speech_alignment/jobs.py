"""One recording after the other, in this process or in others: aligned, written, shown."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch

from gtn_ebm import DataError, GtnEbmError
from gtn_ebm.io.files import write_whole
from recipes.speech_alignment import audio, player, pretrained
from recipes.speech_alignment.aligner import SpeechAligner
from recipes.speech_alignment.corpus import Corpus, Recording
from recipes.speech_alignment.formats import format_by_name, write_alignment
from recipes.speech_alignment.intervals import FileAlignment
from recipes.speech_alignment.lexicon import Lexicon

SHOWN_RATE = 22_050
"""Samples a second that pictures and players are made of."""

MATRICES = (".npy", ".pt")


@dataclass(frozen=True)
class Source:
    """What alignments come from: a trained model, a pretrained network, or matrices of scores. Its parts are
    strings, as they are sent to other processes.

    Attributes:
        model: folder that training made; None for the others.
        lexicon: file of another lexicon than the model's.
        network: name of a pretrained network, see ``pretrained.Network``.
        weights: file of its weights.
        scores: folder of matrices, ``NAME.npy`` or ``NAME.pt`` for each recording.
        tokens: file of the names of their columns.
    """

    model: str | None = None
    lexicon: str | None = None
    network: str | None = None
    weights: str | None = None
    scores: str | None = None
    tokens: str | None = None

    def check(self) -> None:
        """DataError where it is not there, before any work."""
        if (self.model is not None) + (self.network is not None) + (self.scores is not None) != 1:
            raise DataError("give one of --model, --pretrained and --emissions")
        if self.scores is not None and self.tokens is None:
            raise DataError("--emissions needs --tokens, a file with the name of each column")
        if self.scores is not None and not Path(self.scores).is_dir():
            raise DataError(f"{self.scores}: no such folder of matrices")
        if self.tokens is not None and not Path(self.tokens).is_file():
            raise DataError(f"{self.tokens}: no such file of tokens")
        if self.model is not None:
            _aligner(self.model, self.lexicon)
        elif self.network is not None:
            _network(self.network, self.weights)

    def align(self, recording: Recording) -> FileAlignment:
        """DataError where the recording, its text or its matrix cannot be used."""
        if self.model is not None:
            return _aligner(self.model, self.lexicon).align(recording)
        if self.network is not None:
            network = _network(self.network, self.weights)
            samples = recording.sound(network.rate).samples
            emissions, duration = network.emissions(samples), len(samples) / network.rate
        else:
            duration = audio.rate_and_duration(recording.audio)[1]
            emissions = pretrained.read_emissions(
                self.matrix(recording.name), Path(str(self.tokens)), duration
            )
        return pretrained.align(emissions, recording.text, recording.name, duration)

    def matrix(self, name: str) -> Path:
        """Of a recording."""
        paths = [Path(str(self.scores)) / f"{name}{suffix}" for suffix in MATRICES]
        found = next(filter(Path.is_file, paths), None)
        if found is None:
            raise DataError(f"there is neither {paths[0]} nor {paths[1].name}")
        return found

    def files(self, name: str) -> list[Path]:
        """What the alignment of a recording depends on, besides the recording."""
        given = [self.lexicon, self.weights, self.tokens]
        names = ["model.safetensors", "model.json", *["lexicon.txt"] * (self.lexicon is None)]
        model = [] if self.model is None else [Path(self.model) / name for name in names]
        matrix = [] if self.scores is None else [self.matrix(name)]
        return [*model, *matrix, *(Path(each) for each in given if each is not None)]


@cache
def _aligner(model: str, lexicon: str | None) -> SpeechAligner:
    return SpeechAligner.load(Path(model), None if lexicon is None else Lexicon.read(Path(lexicon)))


@cache
def _network(name: str, weights: str | None) -> pretrained.Network:
    return pretrained.Network(name, None if weights is None else Path(weights))


@cache
def _corpus(folder: str) -> Corpus:
    return Corpus(Path(folder))


def _shown(recording: Recording) -> audio.Samples:
    """Of a long recording no more than pictures show, and than tells players that it is long."""
    if audio.rate_and_duration(recording.audio)[1] <= audio.LONG:
        return recording.sound(SHOWN_RATE).samples
    sound = audio.Passing(audio.blocks(recording.audio, SHOWN_RATE))
    return sound.window(0, round((player.LONGEST_INSIDE + 1) * SHOWN_RATE))[0]


@dataclass(frozen=True)
class Job:
    """Aligns a recording of a corpus and writes what is wanted of it; one that is done is left as it is.

    Attributes:
        source: of alignments.
        corpus: folder of recordings.
        out: folder for alignments, pictures and players.
        formats: names of formats.
        pictures: "png" or "svg"; None for none.
        player: whether a page to listen to is written.
    """

    source: Source
    corpus: str
    out: str
    formats: tuple[str, ...]
    pictures: str | None = None
    player: bool = False

    def check(self) -> None:
        """DataError where something is wrong with all recordings."""
        for name in self.formats:
            format_by_name(name)
        if self.pictures not in (None, "png", "svg"):
            raise DataError(f"pictures are png or svg, not {self.pictures!r}")
        self.source.check()
        try:
            Path(self.out).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.out}: cannot be made a folder ({error.strerror})") from error

    def __call__(self, name: str) -> str | None:
        """What is wrong with the recording of this name; None for nothing, and it is done. Of one with which
        something is wrong no former result stays."""
        torch.set_num_threads(1)
        wrong = self._do(name)
        if wrong is not None:
            for path in (self._mark(name), *self._results(name)):
                with suppress(OSError):  # which may be what is wrong
                    path.unlink(missing_ok=True)
        return wrong

    def _do(self, name: str) -> str | None:
        try:
            recording = _corpus(self.corpus)[name]
            digest = self._digest(recording)
            mark = self._mark(name)
            done = mark.exists() and mark.read_text().startswith(f"{digest}\n")
            if done and all(map(Path.exists, self._results(name))):
                return None
            alignment = self.source.align(recording)
            for format_name in self.formats:
                write_alignment(alignment, Path(self.out), format_name)
            self._show(recording, alignment)
            mark.parent.mkdir(parents=True, exist_ok=True)
            flagged = sum(bool(word.flags) for word in alignment.words)
            write_whole(mark, f"{digest}\n{flagged} of {len(alignment.words)} words flagged\n")
        except GtnEbmError as error:
            return str(error)
        except OSError as error:
            return f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return None

    def flagged(self, name: str) -> int:
        """How many words of a recording that is done are flagged."""
        return int(self._mark(name).read_text().split()[1])

    def _mark(self, name: str) -> Path:
        """The file that says that a recording is done."""
        return self._place(f".done/{name}", ".sha256")

    def _show(self, recording: Recording, alignment: FileAlignment) -> None:
        if self.pictures is None and not self.player:
            return
        from recipes.speech_alignment import pictures  # matplotlib takes a second

        samples = _shown(recording)
        if self.pictures is not None:
            path = self._place(recording.name, f".{self.pictures}")
            pictures.write_picture(path, alignment, samples, SHOWN_RATE)
        if self.player:
            path = self._place(recording.name, ".html")
            player.write_player(path, alignment, samples, SHOWN_RATE, recording.audio)

    def _place(self, name: str, suffix: str) -> Path:
        return Path(self.out) / f"{name}{suffix}"

    def _results(self, name: str) -> list[Path]:
        """The files that are written for a recording."""
        suffixes = [suffix for each in self.formats for suffix in format_by_name(each).suffixes]
        suffixes += [f".{self.pictures}"] * (self.pictures is not None) + [".html"] * self.player
        return [self._place(name, suffix) for suffix in suffixes]

    def _digest(self, recording: Recording) -> str:
        """Tells one input of an alignment from another."""
        files = [recording.audio, *self.source.files(recording.name)]
        stamps = [(path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        content = [stamps, asdict(self), recording.text]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()
