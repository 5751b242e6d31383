"""Forced alignment beside torchaudio's, in one process and on one thread, by processor time, and as it grows.

Both give the frames of each token: ours as spans, torchaudio's ``forced_align`` with ``merge_tokens``. Where
torchaudio does not import, ours stands alone.
"""

import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from benchmarks.timing import Contestants, Row, compare, show
from gtn_ebm.dense import Alignment, forced_align

SIZES = [(10, 1), (1_000, 100), (3_000, 300), (10_000, 1_000), (30_000, 3_000)]
"""Frames, labels of the target."""
GROWTH = [(1, 2_000, 250), (1, 4_000, 250), (1, 4_000, 500), (2, 4_000, 500)]
"""Items, frames, labels: of each the one before with one of them doubled."""
CLASSES = 30


def problem(items: int, frames: int, labels: int) -> tuple[Tensor, Tensor]:
    """Random log probabilities, [B, T, C], and targets, [B, L]."""
    generator = torch.Generator().manual_seed(0)
    log_probs = torch.randn(items, frames, CLASSES, generator=generator).log_softmax(-1)
    return log_probs, torch.randint(1, CLASSES, (items, labels), generator=generator)


def ours(emissions: Tensor, targets: Tensor) -> list[Alignment]:
    return forced_align(emissions, None, list(targets.numpy()))


def theirs(functional: Any, log_probs: Tensor, targets: Tensor) -> Any:
    labels, scores = functional.forced_align(log_probs, targets, blank=0)
    return labels, functional.merge_tokens(labels[0], scores[0])


def beside_torchaudio(functional: Any, frames: int, labels: int, runs: int) -> list[Row]:
    log_probs, targets = problem(1, frames, labels)
    emissions = -log_probs
    calls: Contestants = {"gtn_ebm": partial(ours, emissions, targets)}
    if functional is not None:
        calls["torchaudio"] = partial(theirs, functional, log_probs, targets)
        (alignment,) = ours(emissions, targets)
        found, _ = theirs(functional, log_probs, targets)
        same = torch.from_numpy(alignment.labels).eq(found[0]).double().mean()
        print(f"T {frames}, L {labels}: {same:.2%} of the frames have the same label")
    return compare(f"T {frames:,}, L {labels:,}", frames * (2 * labels + 1), calls, runs, time.process_time)


def growth(runs: int) -> list[Row]:
    """Each size in a contest with the one before."""
    rows = []
    for before, after in pairwise(GROWTH):
        calls: Contestants = {}
        for items, frames, labels in (before, after):
            log_probs, targets = problem(items, frames, labels)
            calls[f"B {items}, T {frames:,}, L {labels}"] = partial(ours, -log_probs, targets)
        items, frames, labels = after
        rows += compare("growth", items * frames * (2 * labels + 1), calls, runs, time.process_time)
    return rows


FRAMES_OF_AN_HOUR, LABELS_OF_AN_HOUR = 180_000, 50_000
WRONG = 0.05


def recording(hours: float) -> tuple[Tensor, Tensor]:
    """Energies of a network that hears the target's labels, evenly spread, but for one frame in twenty that
    it takes for some other class; and the target."""
    frames, labels = round(hours * FRAMES_OF_AN_HOUR), round(hours * LABELS_OF_AN_HOUR)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(frames, CLASSES, generator=generator)
    target = torch.randint(1, CLASSES, (labels,), generator=generator)
    heard = torch.zeros(frames, dtype=torch.long)
    heard[torch.linspace(1, frames - 2, labels).long()] = target
    wrong = torch.rand(frames, generator=generator) < WRONG
    heard[wrong] = torch.randint(0, CLASSES, (int(wrong.sum()),), generator=generator)
    logits[torch.arange(frames), heard] += 8.0
    return -logits.log_softmax(-1)[None], target


def long_recording(hours: float) -> None:
    """Once, to the end: processor time, and memory of the whole process, emissions included."""
    emissions, target = recording(hours)
    before = getrusage(RUSAGE_SELF).ru_utime
    (found,) = forced_align(emissions, None, [target])
    after = getrusage(RUSAGE_SELF)
    print(f"{hours} hours, T {emissions.shape[1]:,}, L {len(target):,}: energy {found.energy.item():.1f},")
    print(f"{after.ru_utime - before:.0f} s of processor time, {after.ru_maxrss / 2**20:.2f} GiB at most")


def _torchaudio() -> Any:
    try:
        from torchaudio import functional
    except (ImportError, OSError) as error:
        print(f"torchaudio is left out: {error}")
        return None
    return functional


def main(
    runs: Annotated[int, typer.Option(help="Runs of each contestant.")] = 5,
    hours: Annotated[float, typer.Option(help="Align a recording of so many hours instead, once.")] = 0.0,
    json: Annotated[Path | None, typer.Option(help="A file to keep the figures in.")] = None,
) -> None:
    """Forced alignment beside torchaudio's, and as frames, targets and batch are doubled."""
    torch.set_num_threads(1)
    if hours:
        long_recording(hours)
        return
    functional = _torchaudio()
    rows = [row for size in SIZES for row in beside_torchaudio(functional, *size, runs)]
    show("Forced alignment (arcs: frames × states)", rows + growth(runs), json)


if __name__ == "__main__":
    typer.run(main)
