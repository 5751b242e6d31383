"""Trainings of seconds. Run as a program, one of them, so that a test can kill it or start two processes.

python -m tests.recipes.check_reader.small OUT [--exact] [--pause SECONDS]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recipes import checkpoint
from recipes.check_reader import __main__ as commands
from recipes.check_reader import demo, material, training
from recipes.check_reader.data import read_digits
from recipes.check_reader.grammar import Grammar
from recipes.check_reader.reader import CheckReader
from recipes.check_reader.recognition import RecognitionNetwork
from recipes.check_reader.segmentation import Segmentation
from recipes.check_reader.synthetic import Amounts
from recipes.check_reader.training import Labelled, Material, Settings, Training

CHANNELS = (4, 6, 8)

SETTINGS = Settings(pretraining=2, epochs=2, synthetic=4, batch=4)


REGIONS = np.array([(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)], np.int32)
SEGMENTATION = Segmentation(
    ink=np.ones((48, 30), np.float32),
    left=np.tile(np.arange(0, 30, 10, dtype=np.float32)[:, None], (1, 48)),
    right=np.tile(np.arange(10, 40, 10, dtype=np.float32)[:, None], (1, 48)),
    arcs=REGIONS,
    boxes=np.array([(10 * i, 0, 10 * j, 9) for i, j in REGIONS], np.float32),
    scale=1.0,
)
"""Three pieces of ink, ten columns each, some of them merged."""


def small_trainings(replace: Callable[[Any, str, Any], None]) -> None:
    """Replaces what makes a training large and is no setting."""
    replace(training, "AMOUNTS_PER_EPOCH", 16)
    replace(training, "RecognitionNetwork", functools.partial(RecognitionNetwork, channels=CHANNELS))
    replace(material, "HELD_OUT_AMOUNTS", 6)
    replace(commands, "Settings", functools.partial(Settings, synthetic=4))
    replace(demo, "AMOUNTS", 6)
    replace(demo, "SHOWN", 2)


def small_reader() -> CheckReader:
    """A reader that was never trained, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return CheckReader(RecognitionNetwork(CHANNELS), Grammar.read(), threshold=0.0)


@functools.cache
def small_material() -> Material:
    """Eight images to learn from, four to validate on."""
    amounts = Amounts(read_digits(), seed=1)
    labelled = [
        Labelled(f"{number}.png", amount.image, amount.digits)
        for number in range(12)
        for amount in [amounts.render(number)]
    ]
    return Material(labelled[:8], Amounts(read_digits(), seed=0), labelled[8:])


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--exact", action="store_true", help="train in float32 only")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds before each checkpoint is written")
    options = parser.parse_args()
    torch.set_num_threads(1)
    small_trainings(setattr)
    if options.exact:
        torch.autocast = lambda *_, **__: contextlib.nullcontext()  # type: ignore[assignment, misc]
    keep = checkpoint.keep

    def late(*arguments: Any) -> None:
        time.sleep(options.pause)
        keep(*arguments)

    checkpoint.keep = late  # type: ignore[assignment]
    Training(SETTINGS, small_material(), Grammar.read(), options.out).run(progress=False)


if __name__ == "__main__":
    _main()
