"""The peer of the check reader: a plain CNN-BiLSTM-CTC, trained on the train part of a folder of amounts.

`python benchmarks/check_reader_peer.py --data DIR` trains it for 60 epochs (about 15 minutes on one core),
keeps the last weights, and prints how it reads the other two parts.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import torch
import typer
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from tqdm import tqdm

from gtn_ebm.errors import DataError
from gtn_ebm.io.files import write_whole
from recipes.check_reader.data import Example, load_image, read_folder, split
from recipes.check_reader.evaluation import choose_threshold, scores

ROWS = 48
BLANK = 10
BATCH = 16
PEAK_LEARNING_RATE = 2e-3

DATA = Path(os.environ.get("GTN_EBM_DATA", Path(__file__).parents[2] / "shared" / "data")) / "check_amounts"

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Reading:
    """An answer beside the truth; `confidence` is the answer's posterior probability."""

    file: str
    digits: str
    answer: str
    confidence: float


class Network(nn.Module):
    """Images [B, 1, ROWS, W] of widths [B] → log probabilities [W // 4, B, 11] of digits and blank."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *_convolution(1, 24, (2, 2)),
            *_convolution(24, 48, (2, 2)),
            *_convolution(48, 96, (2, 1)),
            *_convolution(96, 96, (2, 1)),
        )
        self.recurrent = nn.LSTM(96 * ROWS // 16, 128, num_layers=2, bidirectional=True, dropout=0.3)
        self.classes = nn.Sequential(nn.Dropout(0.3), nn.Linear(256, BLANK + 1))

    def forward(self, images: Tensor, widths: Tensor) -> Tensor:
        frames = self.convolutions(images).flatten(1, 2).permute(2, 0, 1)
        # Packed, so that the backward direction begins at an image's end and not in the padding.
        packed, _ = self.recurrent(pack_padded_sequence(frames, widths // 4, enforce_sorted=False))
        return self.classes(pad_packed_sequence(packed)[0]).log_softmax(2)


def _convolution(channels_in: int, channels: int, pool: tuple[int, int]) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(pool)


def normalise(grey: NDArray[np.uint8]) -> Image:
    """An image of ROWS rows, float32, of mean 0 and deviation 1, in which ink is positive."""
    width = round(grey.shape[1] * ROWS / grey.shape[0])
    image = cv2.resize(grey, (width, ROWS), interpolation=cv2.INTER_AREA).astype(np.float32)
    return (image.mean() - image) / max(image.std(), 1.0)


def augment(image: Image, random: Generator) -> Image:
    """Another slant, size, place and contrast; the frame grows with the amount."""
    height, width = image.shape
    slant = random.uniform(-0.25, 0.25)
    stretch_x, stretch_y = random.uniform(0.85, 1.15, 2)
    new_width = round(width * stretch_x + abs(slant) * height)
    matrix = np.array([[stretch_x, slant, 0], [0, stretch_y, 0]])
    centre, new_centre = np.array([width / 2, height / 2]), np.array([new_width / 2, height / 2])
    matrix[:, 2] = new_centre - matrix[:, :2] @ centre + random.uniform(-3, 3, 2)
    warped = cv2.warpAffine(image, matrix, (new_width, height), borderMode=cv2.BORDER_REPLICATE)
    return (warped * random.uniform(0.7, 1.3) + random.uniform(-0.2, 0.2)).astype(np.float32)


def train(network: Network, examples: Sequence[Example], epochs: int, random: Generator) -> None:
    """Adam on the CTC loss with one cycle of the learning rate."""
    images = [normalise(load_image(example.path)) for example in examples]
    targets = [torch.tensor([int(digit) for digit in example.digits]) for example in examples]
    optimiser = torch.optim.Adam(network.parameters())
    steps = epochs * -(-len(examples) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_LEARNING_RATE, total_steps=steps)
    network.train()
    progress = tqdm(range(epochs), unit="epoch")
    for _ in progress:
        total = 0.0
        for chosen in np.split(random.permutation(len(images)), range(BATCH, len(images), BATCH)):
            batch, widths = _pad([augment(images[k], random) for k in chosen])
            loss = _ctc_loss(network(batch, widths), widths, [targets[k] for k in chosen])
            optimiser.zero_grad()
            loss.mean().backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            total += loss.sum().item()
        progress.set_postfix(loss=f"{total / len(images):.3f}")


def _pad(images: Sequence[Image]) -> tuple[Tensor, Tensor]:
    """The images side by side, [B, 1, ROWS, W], zero right of each; and their widths [B]."""
    widths = torch.tensor([image.shape[1] for image in images])
    batch = torch.zeros(len(images), 1, ROWS, int(widths.max()))
    for place, image in zip(batch, images, strict=True):
        place[0, :, : image.shape[1]] = torch.from_numpy(image)
    return batch, widths


def _ctc_loss(log_probabilities: Tensor, widths: Tensor, targets: Sequence[Tensor]) -> Tensor:
    """−log P(target | image) of each image, [B]; 0 where an image has fewer frames than its target needs."""
    lengths = torch.tensor([len(target) for target in targets])
    return functional.ctc_loss(
        log_probabilities,
        torch.cat(list(targets)),
        widths // 4,
        lengths,
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    )


@torch.inference_mode()
def read(network: Network, example: Example) -> Reading:
    """The greedy answer: the best class of each frame, repetitions merged, blanks dropped."""
    network.eval()
    batch, widths = _pad([normalise(load_image(example.path))])
    # In double precision, so that the surest answers do not all have the confidence 1.
    log_probabilities = network(batch, widths).double().log_softmax(2)
    best = log_probabilities[:, 0].argmax(1).tolist()
    digits = [label for label, _ in groupby(best) if label != BLANK]
    loss = _ctc_loss(log_probabilities, widths, [torch.tensor(digits, dtype=torch.long)])
    return Reading(example.file, example.digits, "".join(map(str, digits)), loss.neg().exp().item())


def evaluate(validation: Sequence[Reading], test: Sequence[Reading]) -> dict[str, dict[str, Any]]:
    """The scores of both parts, as the check reader's, at the threshold that validation chooses."""
    threshold = choose_threshold(*_columns(validation))
    return {
        "validation": scores(threshold, *_columns(validation)),
        "test": scores(threshold, *_columns(test)),
    }


def _columns(readings: Sequence[Reading]) -> tuple[list[str], list[float], list[str]]:
    return [r.answer for r in readings], [r.confidence for r in readings], [r.digits for r in readings]


def main(
    data: Annotated[
        Path, typer.Option(help="folder of images/ and labels.csv; else GTN_EBM_DATA's", show_default=False)
    ] = DATA,
    epochs: Annotated[int, typer.Option(min=1)] = 60,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int, typer.Option(min=1, help="threads of torch")] = 1,
    report: Annotated[
        Path | None, typer.Option("--json", help="file for the figures and all readings")
    ] = None,
) -> None:
    """Train a CNN-BiLSTM-CTC on the train part of a folder of amounts; print how it reads the other parts."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    network = Network()
    try:
        parts = split(read_folder(data))
        started = time.perf_counter()
        train(network, parts["train"], epochs, np.random.default_rng(seed))
        seconds = time.perf_counter() - started
        validation = [read(network, example) for example in parts["validation"]]
        test = [read(network, example) for example in parts["test"]]
    except DataError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    figures = {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "epochs": epochs,
        "seed": seed,
        "threads": threads,
        "training_seconds": round(seconds, 1),
        **evaluate(validation, test),
    }
    typer.echo(json.dumps(figures, indent=2))
    if report is not None:
        readings = {"validation": [asdict(r) for r in validation], "test": [asdict(r) for r in test]}
        write_whole(report, json.dumps(figures | {"readings": readings}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
