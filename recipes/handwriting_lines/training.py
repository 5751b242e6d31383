"""Training a reader on lines whose texts are known, with nothing said of where in them a letter stands."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from gtn_ebm import DataError, GraphError, losses
from gtn_ebm.io.files import write_whole
from recipes import checkpoint
from recipes.handwriting_lines.augmentation import augment
from recipes.handwriting_lines.criteria import CTC, Criterion, by_name
from recipes.handwriting_lines.evaluation import error_rate, text_of
from recipes.handwriting_lines.ink import HEIGHT, ink_of
from recipes.handwriting_lines.line import Line
from recipes.handwriting_lines.network import LineNetwork
from recipes.handwriting_lines.objective import LineLoss
from recipes.handwriting_lines.reader import LineReader, batch
from recipes.processes import Processes

KEPT_HEIGHT = 64
"""Rows of the ink that variations are made of: some more than the network sees, so that they stay sharp."""

WARM_UP_STEPS = 60
"""Over which the learning rate rises."""

LARGEST_GRADIENT = 20.0
"""Norm of all weights' gradient to which a larger one is scaled down."""

SHORTCUT = 0.2
"""Weight of the loss of the convolutions alone."""

BATCHES_SORTED = 8
"""Batches that are drawn together and sorted by width, so that there is little padding."""


@dataclass(frozen=True)
class Settings:
    """What a training does; the same settings and data give the same weights.

    Attributes:
        criterion: one of ``criteria.CRITERIA``.
        loss: any of ``gtn_ebm.losses``; one other than "nll" needs the criterion "ctc".
        pretraining: epochs, of all, in which such another loss leaves the teaching to "nll": where nothing is
            known yet, most of them have nothing to say.
        epochs: times that each line is seen, each time in another variation.
        batch: lines a step.
        rate: the greatest learning rate; it rises over the first steps and falls as a cosine.
        weight_decay: of AdamW, on matrices alone.
        averaging: share of the weights' running average that a step keeps; the average is what reads.
        seed: of weights, order and augmentation.

    Raises:
        DataError: no such criterion, or a number below what makes sense.
    """

    criterion: str = "ctc"
    loss: str = "nll"
    pretraining: int = 10
    epochs: int = 60
    batch: int = 16
    rate: float = 2.5e-3
    weight_decay: float = 1e-4
    averaging: float = 0.995
    seed: int = 0

    def __post_init__(self) -> None:
        by_name(self.criterion)
        try:
            object.__setattr__(self, "loss", losses.by_name(self.loss).name)
        except GraphError as error:
            raise DataError(str(error)) from error
        if self.loss != "nll" and self.criterion != "ctc":
            raise DataError(f"the loss {self.loss!r} needs the criterion 'ctc', not {self.criterion!r}")
        least = {"pretraining": 0, "epochs": 1, "batch": 1, "seed": 0}
        for name, number in least.items():
            if getattr(self, name) < number:
                raise DataError(f"{name} is {getattr(self, name)}; give {number} or more")


class Lesson(NamedTuple):
    """The ink of a line, uint8 [KEPT_HEIGHT, W], and what it says."""

    ink: NDArray[np.uint8]
    text: str


@dataclass(frozen=True)
class Material:
    """What there is to learn from.

    Attributes:
        lines: to train on.
        held_out: to measure progress by, never trained on; may be empty.
    """

    lines: Sequence[Line]
    held_out: Sequence[Line] = ()

    @classmethod
    def of(cls, lines: Sequence[Line], hold_out: int = 0) -> Material:
        """Lines of which every so many-th is held out, none for 0."""
        if hold_out == 0:
            return cls(lines)
        rest = [line for place, line in enumerate(lines) if place % hold_out]
        return cls(rest, lines[::hold_out])


class Training:
    """A training that can be stopped at any moment and goes on from its last whole epoch.

    Under ``torchrun`` each process takes its share of every batch.

    Args:
        settings: what to do.
        material: what to learn from.
        out: folder of the model; ``checkpoint.pt``, ``metrics.csv`` and the texts learnt from, ``texts.txt``,
            are kept there, too.

    Raises:
        DataError: a line without text or of an image that cannot be read; ``out`` holds a checkpoint of
            another training, or one that cannot be read; more processes than lines in some batch.
        OSError: ``out`` cannot be written.
    """

    def __init__(self, settings: Settings, material: Material, out: str | Path):
        self.settings, self.out, self.held_out = settings, Path(out), material.held_out
        self.processes = Processes()
        self.lessons = _lessons(material.lines)
        torch.manual_seed(settings.seed)
        kind = by_name(settings.criterion)
        self.criterion = kind(kind.vocabulary_of([lesson.text for lesson in self.lessons]))
        self.device = _device()
        learner = _Learner(LineNetwork(len(self.criterion.classes)), self.criterion, settings.loss)
        self.learner = learner.to(self.device)
        self.average = copy.deepcopy(self.learner).eval()
        self.optimiser = _optimiser(self.learner, settings)
        batches = self._batches(0)
        for batch_of_lessons in batches:  # tells at once, not at the end of an epoch, where one is too small
            self.processes.share(range(len(batch_of_lessons)))
        self.steps = len(batches) * settings.epochs
        described = [asdict(settings), _digest(self.lessons), [line.name for line in self.held_out]]
        self.identity = hashlib.sha256(json.dumps(described).encode()).hexdigest()
        self.out.mkdir(parents=True, exist_ok=True)
        self.step, self.metrics = checkpoint.resume(self.out, self.identity, self._parts(), self.device)

    def run(self, progress: bool = True) -> LineReader:
        """Trains what remains of the epochs and returns the reader, which is saved in ``out``."""
        parallel = self.processes.wrap(self.learner)
        for epoch in range(len(self.metrics), self.settings.epochs):
            self._epoch(epoch, parallel, progress and self.processes.first)
        reader = self.reader()
        if self.processes.first:
            reader.save(self.out)
            texts = "".join(f"{lesson.text}\n" for lesson in self.lessons)
            write_whole(self.out / "texts.txt", texts)
        self.processes.wait()
        return reader

    def reader(self) -> LineReader:
        """Reads with the averaged weights."""
        average = copy.deepcopy(self.average).cpu()
        return LineReader(average.network, average.criterion)

    def _held_out_error(self) -> float:
        reader = self.reader()
        readings = [reader.read(line.load()).text for line in self.held_out]
        return error_rate([text_of(line) for line in self.held_out], readings)

    def _batches(self, epoch: int) -> list[list[int]]:
        """The lessons of each batch: at random, those of a batch of about one width."""
        random = np.random.default_rng([self.settings.seed, epoch])
        order, size = random.permutation(len(self.lessons)), self.settings.batch
        batches = []
        for first in range(0, len(order), size * BATCHES_SORTED):
            some = order[first : first + size * BATCHES_SORTED].tolist()
            some.sort(key=lambda lesson: self.lessons[lesson].ink.shape[1])
            batches += [some[begin : begin + size] for begin in range(0, len(some), size)]
        random.shuffle(batches)
        return batches

    def _epoch(self, epoch: int, parallel: nn.Module, shown: bool) -> None:
        """Learns, measures, and writes metrics and checkpoint."""
        started = time.perf_counter(), time.process_time()
        total, unreachable = self.processes.sum(*self._learn(epoch, parallel, shown))
        metrics: dict[str, Any] = {
            "epoch": epoch + 1,
            "loss": total / max(1, len(self.lessons) - unreachable),
            "unreachable": int(unreachable),
        }
        if self.processes.first:
            if self.held_out:
                metrics["held_out_character_error"] = self._held_out_error()
            metrics["seconds"] = time.perf_counter() - started[0]
            metrics["processor_seconds"] = time.process_time() - started[1]
        self.metrics.append(metrics)
        if self.processes.first:
            checkpoint.keep(self.out, self.identity, self._parts(), self.step, self.metrics)
        if shown:
            values = (f"{value:.4g}" if isinstance(value, float) else value for value in metrics.values())
            tqdm.write(" ".join(map("{}={}".format, metrics, values)))
        self.processes.wait()

    def _learn(self, epoch: int, parallel: nn.Module, shown: bool) -> tuple[float, int]:
        """Takes a step for every batch; this process's sum of losses, and lines with too few frames."""
        total, unreachable = 0.0, 0
        parallel.train()
        title = f"epoch {epoch + 1}/{self.settings.epochs}"
        bar = tqdm(self._batches(epoch), title, disable=not shown, unit="batch", leave=False)
        for lessons in bar:
            torch.manual_seed(self._dropout_seed())
            share = [lessons[place] for place in self.processes.share(range(len(lessons)))]
            ink, lengths = batch([self._varied(epoch, lesson) for lesson in share])
            texts = [self.lessons[lesson].text for lesson in share]
            first = epoch < self.settings.pretraining
            each, of_shortcut = parallel(ink.to(self.device), lengths, texts, first)
            reached = torch.isfinite(each)
            # Processes average their gradients, so each scales its sum to be one term of the batch's mean.
            scale = self.processes.count / len(lessons)
            ((each[reached].sum() + SHORTCUT * of_shortcut[reached].sum()) * scale).backward()
            self._update()
            total += each.detach()[reached].sum().item()
            unreachable += int((~reached).sum())
            bar.set_postfix(loss=f"{each.detach()[reached].mean().item():.3f}", refresh=False)
        return total, unreachable

    def _dropout_seed(self) -> int:
        """Of this step and process alone, so that a training that was stopped goes on as it would have."""
        entropy = [self.settings.seed, self.step, self.processes.rank]
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])

    def _varied(self, epoch: int, lesson: int) -> NDArray[np.uint8]:
        random = np.random.default_rng([self.settings.seed, epoch, lesson])
        return augment(self.lessons[lesson].ink, HEIGHT, random)

    def _update(self) -> None:
        """One step of the optimiser and of the running average."""
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        nn.utils.clip_grad_norm_(self.learner.parameters(), LARGEST_GRADIENT)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1
        kept = min(self.settings.averaging, self.step / (self.step + 10))
        average, current = self.average.state_dict(), self.learner.state_dict()
        for name, weight in average.items():
            if weight.is_floating_point():
                weight.lerp_(current[name], 1 - kept)
            else:
                weight.copy_(current[name])

    def _rate(self) -> float:
        rising = min(1.0, (self.step + 1) / WARM_UP_STEPS)
        return self.settings.rate * rising * 0.5 * (1 + math.cos(math.pi * self.step / self.steps))

    def _parts(self) -> checkpoint.Parts:
        return {"learner": self.learner, "average": self.average, "optimiser": self.optimiser}


class _Learner(nn.Module):
    """Network and criterion as one module, so that processes average the gradients of both."""

    def __init__(self, network: LineNetwork, criterion: Criterion, loss: str):
        super().__init__()
        self.network, self.criterion = network, criterion
        self.loss = LineLoss(criterion, loss) if loss != "nll" and isinstance(criterion, CTC) else criterion

    def forward(
        self, ink: Tensor, lengths: list[int], texts: list[str], pretraining: bool
    ) -> tuple[Tensor, Tensor]:
        """The losses of the network and of its shortcut, [B] each."""
        scores, shortcut = self.network(ink)
        loss = self.criterion if pretraining else self.loss
        return loss(scores, lengths, texts), self.criterion(shortcut, lengths, texts)


def _device() -> torch.device:
    """A graphics card where there is one, each process of a machine its own."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def _optimiser(learner: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    matrices = [weight for weight in learner.parameters() if weight.ndim > 1]
    others = [weight for weight in learner.parameters() if weight.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, settings.rate, betas=(0.9, 0.99))


def _lessons(lines: Sequence[Line]) -> list[Lesson]:
    """The ink of all lines, in memory. Raises DataError, naming the line."""
    lessons = []
    for line in lines:
        if not line.text:
            raise DataError(f"{line.name}: nothing is known of what it says; leave it out or transcribe it")
        try:
            lessons.append(Lesson(ink_of(line.load(), KEPT_HEIGHT), line.text))
        except DataError as error:
            raise DataError(f"{line.name}: {error}") from error
    if not lessons:
        raise DataError("there are no lines to train on")
    return lessons


def _digest(lessons: Sequence[Lesson]) -> str:
    """Tells this material from another."""
    digits = hashlib.sha256()
    for ink, text in lessons:
        digits.update(f"{ink.shape}{text}".encode() + ink.tobytes())
    return digits.hexdigest()
