"""Global training: through the graphs, the energy of the desired answer is pushed down, of all others up."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from gtn_ebm import DataError, GraphError
from gtn_ebm.losses import by_name
from recipes import checkpoint
from recipes.check_reader.augmentation import augment, vary_ink
from recipes.check_reader.evaluation import choose_threshold, shares, string_rate
from recipes.check_reader.grammar import Grammar
from recipes.check_reader.objective import Drawing, Lesson, ReaderLoss, losses
from recipes.check_reader.reader import CheckReader
from recipes.check_reader.recognition import RecognitionNetwork
from recipes.check_reader.segmentation import Segmentation, segment
from recipes.check_reader.synthetic import Amounts
from recipes.processes import Processes

AMOUNTS_PER_EPOCH = 1000
"""Synthetic amounts that make an epoch of pretraining."""

WARM_UP_STEPS = 100
"""Over which the learning rate rises."""

LARGEST_GRADIENT = 5.0
"""Norm of all weights' gradient to which a larger one is scaled down."""


@dataclass(frozen=True)
class Settings:
    """What a training does; the same settings and data give the same weights.

    Attributes:
        loss: any of ``gtn_ebm.losses``, to learn the labelled images by; pretraining is always by "nll".
        pretraining: epochs on synthetic amounts alone, whose drawn symbols are known.
        epochs: on labelled images after that, of which only the digits are known; on synthetic amounts where
            there are no images.
        synthetic: synthetic amounts mixed into each epoch of labelled images.
        batch: images a step.
        rate: the greatest learning rate; it rises over the first steps and falls as a cosine.
        weight_decay: of AdamW.
        averaging: share of the weights' running average that a step keeps; the average is what reads.
        seed: of weights, order and augmentation.

    Raises:
        DataError: no such loss, or a number below what makes sense.
    """

    loss: str = "nll"
    pretraining: int = 6
    epochs: int = 45
    synthetic: int = 150
    batch: int = 4
    rate: float = 1e-3
    weight_decay: float = 0.05
    averaging: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        try:
            by_name(self.loss)
        except GraphError as error:
            raise DataError(str(error)) from error
        least = {"pretraining": 0, "epochs": 0, "synthetic": 0, "batch": 1, "seed": 0}
        for name, number in least.items():
            if getattr(self, name) < number:
                raise DataError(f"{name} is {getattr(self, name)}; give {number} or more")


class Labelled(NamedTuple):
    """A file name, its grey image, uint8 [h, w], and the digits one should read in it."""

    file: str
    image: NDArray[np.uint8]
    digits: str


@dataclass(frozen=True)
class Material:
    """What there is to learn from.

    Attributes:
        images: to train on.
        amounts: synthetic ones without end, to train on as well.
        validation: images to choose the threshold by, and to measure progress; at least one.
    """

    images: Sequence[Labelled]
    amounts: Amounts
    validation: Sequence[Labelled]

    def digest(self) -> str:
        """Tells this material from another."""
        digits = hashlib.sha256()
        for file, image, label in (*self.images, *self.validation):
            digits.update(f"{file}{image.shape}{label}".encode() + image.tobytes())
        digits.update(self.amounts.render(0).image.tobytes())  # the first stands for all
        return digits.hexdigest()


class Lessons(Dataset[Lesson]):
    """The lessons of one epoch, in random order. Each depends on (seed, epoch, place) alone.

    Attributes:
        pretraining: whether they are synthetic amounts alone, of which the drawn symbols are known.
        loss: to learn them by.
    """

    def __init__(self, settings: Settings, material: Material, epoch: int):
        self._material, self._seed, self._epoch = material, settings.seed, epoch
        self.pretraining = epoch < settings.pretraining
        self.loss = ReaderLoss("nll" if self.pretraining else settings.loss)
        self._images = [] if self.pretraining else material.images
        synthetic = settings.synthetic if self._images else AMOUNTS_PER_EPOCH
        self._first_amount = epoch * AMOUNTS_PER_EPOCH
        self._order = np.random.default_rng([settings.seed, epoch]).permutation(len(self._images) + synthetic)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, place: int) -> Lesson:
        number = int(self._order[place])
        random = np.random.default_rng([self._seed, self._epoch, number])
        if number < len(self._images):
            _, image, digits = self._images[number]
            return Lesson(_segmented(augment(image, random), image), digits, None)
        amount = self._material.amounts.render(self._first_amount + number)
        # In their places, so that the boxes stay right; amounts differ enough as they are written.
        varied = vary_ink(amount.image, random)
        return Lesson(_segmented(varied, amount.image), amount.digits, Drawing.of(amount))


def _segmented(varied: NDArray[np.uint8], image: NDArray[np.uint8]) -> Segmentation:
    try:
        return segment(varied)
    except DataError:  # so pale that no ink is left
        return segment(image)


def _digest(network: torch.nn.Module) -> str:
    """Tells these weights from others."""
    digits = hashlib.sha256()
    for name, weight in network.state_dict().items():
        digits.update(name.encode() + weight.numpy().tobytes())
    return digits.hexdigest()


class Training:
    """A training that can be stopped at any moment and goes on from its last whole epoch.

    Under ``torchrun`` each process takes its share of every batch, and the result is that of one process, up
    to the rounding of gradients in bfloat16.

    Args:
        settings: what to do.
        material: what to learn from.
        grammar: what amounts look like.
        out: folder of the model; ``checkpoint.pt`` and ``metrics.csv`` are kept there, too.
        start: a reader whose weights to begin with; random ones where omitted.

    Raises:
        DataError: ``out`` holds a checkpoint of another training, or one that cannot be read; there are more
            processes than lessons in some batch.
        OSError: ``out`` cannot be written.
    """

    def __init__(
        self,
        settings: Settings,
        material: Material,
        grammar: Grammar,
        out: str | Path,
        start: CheckReader | None = None,
    ):
        self.settings, self.material, self.grammar, self.out = settings, material, grammar, Path(out)
        self.processes = Processes()
        torch.manual_seed(settings.seed)
        self.network = RecognitionNetwork()
        if start is not None:
            self.network.load_state_dict(start.network.state_dict())
        self.average = copy.deepcopy(self.network)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), settings.rate, betas=(0.9, 0.99), weight_decay=settings.weight_decay
        )
        # Also tells at once, not after hours, where a batch is too small to be shared.
        self.steps = sum(len(self._batches(self._lessons(epoch))) for epoch in range(self.epochs))
        described = [asdict(settings), material.digest(), grammar.text]
        if start is not None:
            described.append(_digest(self.network))
        self.identity = hashlib.sha256(json.dumps(described).encode()).hexdigest()
        self.out.mkdir(parents=True, exist_ok=True)
        self.step, self.metrics = checkpoint.resume(self.out, self.identity, self._parts())

    def run(self, progress: bool = True) -> CheckReader:
        """Trains what remains of the epochs and returns the reader, which is saved in ``out``."""
        parallel = self.processes.wrap(self.network)
        for epoch in range(len(self.metrics), self.epochs):
            self._epoch(epoch, parallel, progress)
        reader = self._reader()
        if self.processes.first:
            reader.threshold = choose_threshold(*self._validate())
            reader.save(self.out)
        self.processes.wait()
        return reader

    @property
    def finished(self) -> bool:
        """Whether nothing remains to be done."""
        return len(self.metrics) == self.epochs and (self.out / "model.json").exists()

    @property
    def epochs(self) -> int:
        """Of both stages."""
        return self.settings.pretraining + self.settings.epochs

    def _lessons(self, epoch: int) -> Lessons:
        return Lessons(self.settings, self.material, epoch)

    def _batches(self, lessons: Lessons) -> list[tuple[int, list[int]]]:
        """Of each batch, the size and the lessons in it that are this process's share."""
        size = self.settings.batch
        ranges = [range(first, min(first + size, len(lessons))) for first in range(0, len(lessons), size)]
        return [(len(batch), list(self.processes.share(batch))) for batch in ranges]

    def _epoch(self, epoch: int, parallel: torch.nn.Module, progress: bool) -> None:
        """Learns, validates, and writes metrics and checkpoint."""
        started = time.perf_counter()
        lessons = self._lessons(epoch)
        stage = "pretraining" if lessons.pretraining else "training"
        title = f"{stage} {epoch + 1}/{self.epochs}" if progress and self.processes.first else None
        total, unreachable = self.processes.sum(*self._learn(lessons, parallel, title))
        metrics: dict[str, Any] = {"epoch": epoch + 1, "stage": stage}
        if self.processes.first:
            digits, confidences, truths = self._validate()
            threshold = choose_threshold(digits, confidences, truths)
            metrics.update(
                loss=total / max(1, len(lessons) - unreachable),
                unreachable=int(unreachable),
                validation_string_rate=string_rate(digits, truths),
                validation_correct_at_1pct_error=shares(threshold, digits, confidences, truths)["correct"],
                seconds=time.perf_counter() - started,
            )
        self.metrics.append(metrics)
        if self.processes.first:
            checkpoint.keep(self.out, self.identity, self._parts(), self.step, self.metrics)
        if title is not None:
            shown = (f"{v:.4g}" if isinstance(v, float) else v for v in metrics.values())
            tqdm.write(" ".join(map("{}={}".format, metrics, shown)))
        self.processes.wait()

    def _learn(self, lessons: Lessons, parallel: torch.nn.Module, title: str | None) -> tuple[float, int]:
        """Takes a step for every batch; this process's sum of losses, and count of answers out of reach."""
        batches = self._batches(lessons)
        loader = DataLoader(
            lessons,
            batch_sampler=[share for _, share in batches],
            collate_fn=list,
            num_workers=1,
            prefetch_factor=4,
        )
        total, unreachable = 0.0, 0
        parallel.train()
        bar = tqdm(loader, title, disable=title is None, unit="batch", leave=False)
        for (size, _), share in zip(batches, bar, strict=True):
            of_share, without_path = losses(parallel, self.grammar, share, lessons.loss)
            # Processes average their gradients, so each scales its sum to be one term of the batch's mean.
            (of_share.sum() * self.processes.count / size).backward()
            self._update()
            total += of_share.sum().item()
            unreachable += without_path
            bar.set_postfix(loss=f"{of_share.mean().item():.3f}")
        return total, unreachable

    def _update(self) -> None:
        """One step of the optimiser and of the running average."""
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1
        kept = min(self.settings.averaging, self.step / (self.step + 10))
        with torch.no_grad():
            for average, weight in zip(self.average.parameters(), self.network.parameters(), strict=True):
                average.lerp_(weight, 1 - kept)

    def _rate(self) -> float:
        rising = min(1.0, (self.step + 1) / WARM_UP_STEPS)
        return self.settings.rate * rising * 0.5 * (1 + math.cos(math.pi * self.step / self.steps))

    def _reader(self) -> CheckReader:
        """Reads with the averaged weights and rejects nothing."""
        return CheckReader(self.average, self.grammar, 0.0, by_name(self.settings.loss).beta)

    def _validate(self) -> tuple[list[str], list[float], list[str]]:
        """Answers, confidences and truths of the validation images."""
        reader = self._reader()
        truths = [labelled.digits for labelled in self.material.validation]
        readings = reader.read_all(labelled.image for labelled in self.material.validation)
        return [r.digits for r in readings], [r.confidence for r in readings], truths

    def _parts(self) -> checkpoint.Parts:
        return {"network": self.network, "average": self.average, "optimiser": self.optimiser}
