"""An acoustic model from recordings and their words alone: expectation and maximisation over graphs.

Nothing is told of where words or phones are. To begin with, each recording's phones are spread evenly over
what is loud in it. Then, again and again, ``dense.posteriors`` over the graph of each transcript says how
probably each frame belongs to each state, and the Gaussians and the probabilities of staying are those under
which frames so divided are likeliest. Silence between words costs more until words are about in place, or it
takes what no phone explains yet.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional

from gtn_ebm import DataError, Graph, compose, dense
from gtn_ebm.io.files import write_whole
from recipes.speech_alignment.acoustic_model import STATES, STAY, AcousticModel
from recipes.speech_alignment.gaussians import Statistics
from recipes.speech_alignment.transcript import Prices, Transcript, Word, transcript

BATCH = 16
"""Recordings worked on at once."""

LOUD = 0.4
"""How far from its quietest to its loudest frames a recording is loud."""

PAUSE = 15
"""Frames that a pause between words lasts at least to be seen as one to begin with."""

PULL = 10.0
"""Frames at STAY that each probability of staying is averaged with."""

LEAST_STAY, MOST_STAY = 0.6, 0.98
"""What a probability of staying may be, whatever little it was learnt from."""

LONGEST = 60.0
"""Seconds; longer recordings are aligned, but not learnt from."""


class Sweep(NamedTuple):
    """One pass of expectation and maximisation.

    Attributes:
        components: Gaussians in a mixture; where there are fewer, they are split first.
        step: every so many frames are looked at.
        silence: its price between words.
    """

    components: int
    step: int
    silence: float = 2.0


SCHEDULE = (
    *[Sweep(1, 2, 8.0)] * 10,
    *[Sweep(1, 2)] * 3,
    *[Sweep(2, 2)] * 4,
    *[Sweep(2, 1)] * 2,
    *[Sweep(4, 1)] * 4,
    *[Sweep(8, 2)] * 3,
    *[Sweep(16, 2)] * 3,
)

FRAMES_OF_A_COMPONENT = 100
"""On average over all classes. Sweeps for which a corpus has fewer are left out."""


@dataclass(frozen=True)
class Lesson:
    """A recording to learn from: its features [T, D], the loudness of each frame [T], and its words; and what
    makes the features of the same sound in noise, [T, D] for each kind of it."""

    name: str
    frames: Tensor
    loudness: Tensor
    words: Sequence[Word]
    in_noise: Callable[[], Sequence[Tensor]] = tuple


def even(loudness: Tensor, words: Sequence[Word], model: AcousticModel) -> Tensor:
    """The first division of frames: classes in a row where it is loud, silence around it and in long pauses,
    [T, C] of 0 and 1."""
    units = {unit: number for number, unit in enumerate(model.units)}
    phones = [units[phone] for word in words for phone in word.pronunciations[0] if phone in units]
    smooth = functional.avg_pool1d(loudness[None], 9, 1, 4, count_include_pad=False)[0]
    low, high = torch.quantile(smooth, 0.05), torch.quantile(smooth, 0.95)
    quiet = functional.pad(smooth <= low + LOUD * (high - low), (PAUSE, PAUSE), value=True)
    pauses = quiet.unfold(0, PAUSE, 1).all(1).unfold(0, PAUSE, 1).any(1)[1:-1]
    loud = torch.nonzero(~pauses if not pauses.all() else pauses)[:, 0]
    row = STATES * torch.tensor(phones).repeat_interleave(STATES) + torch.arange(STATES).repeat(len(phones))
    labels = model.classes - STATES + torch.arange(len(loudness)) % STATES
    labels[loud] = row[torch.arange(len(loud)) * len(row) // len(loud)]
    return functional.one_hot(labels, model.classes).float()


class Training:
    """Learns a model from lessons; the same lessons give the same model.

    Args:
        phones: of the lexicon that occur in the lessons' words.
        rate: samples a second of the lessons' sounds.
        lessons: to learn from.
        folder: where the state after each sweep is kept, to go on from; nowhere if None.
        schedule: the sweeps, without those for which there is too little to learn from.

    Raises:
        DataError: there are no lessons, or there is too little to learn from for any of the sweeps; or, by
            ``run``, the folder holds what is of others.
    """

    def __init__(
        self,
        phones: Sequence[str],
        rate: int,
        lessons: Sequence[Lesson],
        folder: Path | None = None,
        schedule: Sequence[Sweep] = SCHEDULE,
    ):
        self.lessons = [lesson for lesson in lessons if all(word.pronunciations for word in lesson.words)]
        if not self.lessons:
            raise DataError("there is no recording to learn from, with every word's pronunciation known")
        self.model = AcousticModel(phones, rate)
        self.folder = folder
        self.frames = [lesson.frames for lesson in self.lessons]
        self.variance = torch.cat(self.frames).var(0)
        enough = sum(map(len, self.frames)) / self.model.classes / FRAMES_OF_A_COMPONENT
        self.schedule = tuple(sweep for sweep in schedule if sweep.components <= max(enough, 1))
        if not self.schedule:
            raise DataError(
                f"no sweep of the schedule has {max(int(enough), 1)} components or fewer, for which there is "
                "enough to learn from; begin with sweeps of 1 component"
            )
        self.counts = torch.zeros(0)

    def run(self, progress: Callable[[int, int], object] = lambda done, total: None) -> AcousticModel:
        """Goes through the schedule, or what is left; ``progress`` is told of recordings done and of all."""
        done = self._resume()
        if done == 0:
            self._start()
        total = len(self.schedule) * len(self.lessons)
        graphs: list[Transcript] = []
        for number, sweep in enumerate(self.schedule[done:], done):
            if not graphs or sweep.silence != self.schedule[number - 1].silence:
                graphs = self._transcripts(Prices(sweep.silence))
            base = number * len(self.lessons)
            last = number == len(self.schedule) - 1
            self._sweep(sweep, graphs, last, lambda count, base=base: progress(base + count, total))  # type: ignore[misc]
            self._keep(number + 1)
        return self.model

    def _transcripts(self, prices: Prices) -> list[Transcript]:
        return [transcript(lesson.words, self.model.units, prices) for lesson in self.lessons]

    def _start(self) -> None:
        model, gaussians = self.model, self.model.gaussians
        gaussians.means.copy_(torch.cat(self.frames).mean(0))
        gaussians.variances.copy_(self.variance)
        found = None
        for lesson, frames in zip(self.lessons, self.frames, strict=True):
            share = gaussians.statistics(frames, even(lesson.loudness, lesson.words, model))
            found = share if found is None else found + share
        assert found is not None
        gaussians.maximise(found, self.variance)

    def _sweep(
        self, sweep: Sweep, transcripts: Sequence[Transcript], noise: bool, told: Callable[[int], object]
    ) -> None:
        """Where noise is learnt, too, noisy frames are divided as the same frames without noise are."""
        model = self.model
        if sweep.components > model.gaussians.means.shape[1]:
            model.gaussians.split(self.counts)
        # A state takes fewer of sparser frames; the scale of likelihoods grows, as these tell more.
        stay = 1 - (1 - model.stay) * sweep.step
        topology = dense.topologies.hmm(len(model.units), STATES).with_energies(model.transitions(stay))
        found, of_noise, stays = None, None, torch.zeros(model.classes)
        order = sorted(range(len(self.frames)), key=lambda number: len(self.frames[number]))
        for begin in range(0, len(order), BATCH):
            chosen = order[begin : begin + BATCH]
            frames = [self.frames[number][sweep.step // 2 :: sweep.step] for number in chosen]
            graphs = [compose(topology, transcripts[number].graph) for number in chosen]
            classes, uses = expectation(model, frames, graphs, topology.arcs, sweep.step)
            stays += uses[len(model.units) :][: model.classes]
            for number, each, posteriors in zip(chosen, frames, classes, strict=True):
                share = model.gaussians.statistics(each, posteriors)
                found = share if found is None else found + share
                for noisy in self.lessons[number].in_noise() if noise else ():
                    part = noisy[sweep.step // 2 :: sweep.step]
                    share = model.gaussians.statistics(each, posteriors, part)
                    of_noise = share if of_noise is None else of_noise + share
            told(begin + len(chosen))
        assert found is not None
        self._maximise(found, of_noise or found, stays, sweep.step)

    def _maximise(self, found: Statistics, of_noise: Statistics, stays: Tensor, step: int) -> None:
        model = self.model
        model.noisy = copy.deepcopy(model.gaussians)
        model.noisy.maximise(of_noise, self.variance)
        model.gaussians.maximise(found, self.variance)
        self.counts = found.counts * step
        occupied = found.counts.sum(1)
        expected = 1 - (1 - STAY) * step
        stay = (stays + PULL * expected) / (occupied + PULL)
        model.stay.copy_((1 - (1 - stay) / step).clamp(LEAST_STAY, MOST_STAY))
        model.log_prior.copy_(((occupied + 1) / (occupied + 1).sum()).log())

    @property
    def digest(self) -> str:
        """Tells these lessons from others."""
        content = hashlib.sha256(json.dumps([self.model.units, self.schedule]).encode())
        for lesson, frames in zip(self.lessons, self.frames, strict=True):
            content.update(repr((lesson.name, lesson.words)).encode() + frames.numpy().tobytes())
        return content.hexdigest()

    def _keep(self, done: int) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: values.contiguous() for name, values in self.model.state_dict().items()}
        tensors |= {"counts": self.counts, "done": torch.tensor(done)}
        write_whole(self.folder / "checkpoint.safetensors", save(tensors, {"digest": self.digest}))

    def _resume(self) -> int:
        """How many sweeps are done, by the checkpoint of the same lessons; DataError if it is of others."""
        if self.folder is None:
            return 0
        path = self.folder / "checkpoint.safetensors"
        if not path.exists() and not (self.folder / "model.safetensors").exists():
            return 0
        if not path.exists() or _digest_in(path) != self.digest:
            raise DataError(
                f"{self.folder}: holds a model of other recordings, texts or words, or of another version; "
                "give another folder, or remove this one"
            )
        tensors = load_file(path)
        self.counts, done = tensors.pop("counts"), int(tensors.pop("done"))
        components = tensors["gaussians.log_weights"].shape[1]
        model = AcousticModel(self.model.phones, self.model.rate, components)
        model.load_state_dict(tensors)
        self.model = model
        return done


def _digest_in(path: Path) -> str | None:
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, str] | None = file.metadata()
    except SafetensorError as error:
        raise DataError(
            f"{path}: not a checkpoint that can be read; remove it or choose another folder"
        ) from error
    return (metadata or {}).get("digest")


def expectation(
    model: AcousticModel, frames: Sequence[Tensor], graphs: Sequence[Graph], arcs: int, step: int = 1
) -> tuple[Iterator[Tensor], Tensor]:
    """Posteriors of classes at frames, [T, C] of each recording, and expected uses of the topology's arcs.

    Args:
        frames: features, [T, D] each.
        graphs: topology ∘ transcript of each.
        arcs: of the topology.
        step: of how many frames each stands for so many.
    """
    energies = [model.energies(each) * step for each in frames]
    lengths = [len(each) for each in energies]
    padded = torch.nn.utils.rnn.pad_sequence(energies, batch_first=True)
    found = dense.posteriors(padded, lengths, list(graphs))
    uses = torch.zeros(arcs)
    for graph, each in zip(graphs, found.graphs, strict=True):
        stems = torch.from_numpy(graph.arc_maps[0].astype(np.int64))
        uses.index_add_(0, stems[stems >= 0], each.arcs[stems >= 0])
    each_class = (
        classes[:length, : model.classes] for classes, length in zip(found.classes, lengths, strict=True)
    )
    return each_class, uses
