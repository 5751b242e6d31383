"""The whole system behind one door: a line goes in, its text comes out, and where each letter stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gtn_ebm import DataError, GraphError, Symbols
from recipes import models
from recipes.handwriting_lines.criteria import CRITERIA, Criterion, Piece
from recipes.handwriting_lines.ink import HEIGHT, MARGIN, ink_of
from recipes.handwriting_lines.network import STRIDE, LineNetwork
from recipes.images import read_grey

Image = str | Path | NDArray[np.uint8]
"""A file, or grey levels [h, w], 0 being black."""

FORMAT = "gtn_ebm handwriting lines 1"
"""What ``model.json`` says that it is."""

MOST_CHANNELS = 2048
"""Of a model to be read."""


class Emissions(NamedTuple):
    """What the network says of some lines.

    Attributes:
        energies: of the criterion's classes at each frame, [B, T, C] float32; lower is better.
        lengths: frames of each line, [B] int64.
    """

    energies: Tensor
    lengths: Tensor


class Letter(NamedTuple):
    """One or more characters and the columns of the image, fractions of pixels, that they were read in."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Reading:
    """What was read from one line.

    Attributes:
        text: the best answer.
        confidence: its posterior, 0 to 1.
        letters: its characters, and where they were read.
    """

    text: str
    confidence: float
    letters: tuple[Letter, ...]


class LineReader:
    """Reads lines with a trained network.

    Args:
        network: it is put into evaluation mode.
        criterion: what the network's scores mean.

    >>> reader = LineReader.load("model")              # doctest: +SKIP
    >>> reader.read("line.png").text                   # doctest: +SKIP
    'versatio per omnem'
    """

    def __init__(self, network: LineNetwork, criterion: Criterion):
        self.network, self.criterion = network.eval(), criterion.eval()

    @property
    def alphabet(self) -> Symbols:
        """The classes of a frame, "no character" among them."""
        return self.criterion.classes

    def read(self, image: Image) -> Reading:
        """Reads one line by its best path.

        Raises:
            DataError: no image, one without ink, or one too long for a line; the message names the file.
        """
        pixels, energies = self._seen(image)
        pieces = self.criterion.greedy(energies)
        text = "".join(piece.text for piece in pieces)
        confidence = math.exp(-max(0.0, self.criterion.text_energy(energies, text)))
        return Reading(text, confidence, self._letters(pieces, pixels))

    def align(self, image: Image, text: str) -> tuple[Letter, ...]:
        """Where the characters of a known text are, those between words included.

        Raises:
            DataError: as ``read``; the line is too short for the text.
        """
        pixels, energies = self._seen(image)
        try:
            pieces = self.criterion.align(energies, text)
        except GraphError as error:
            where = "" if isinstance(image, np.ndarray) else f"{image}: "
            raise DataError(
                f"{where}the line does not hold {text!r:.80} ({error}); is it that of this image?"
            ) from error
        return self._letters(pieces, pixels)

    @torch.inference_mode()
    def emissions(self, images: Sequence[Image]) -> Emissions:
        """The energies of some lines, beyond their lengths those of blank paper.

        A line's do not depend on the others. Raises DataError as ``read``.
        """
        each = [self._seen(image)[1] for image in images]
        lengths = torch.tensor([len(energies) for energies in each], dtype=torch.int64)
        return Emissions(nn.utils.rnn.pad_sequence(each, batch_first=True), lengths)

    @staticmethod
    def x_of(frame: float, rows: int) -> float:
        """The column, in pixels of an image of so many rows, where a frame begins."""
        return (frame * STRIDE - MARGIN) * rows / HEIGHT

    @torch.inference_mode()
    def _seen(self, image: Image) -> tuple[NDArray[np.uint8], Tensor]:
        """The pixels of one image, and its energies [T, C]."""
        pixels = loaded(image)
        ink, _ = batch([_ink(pixels, image)])
        device = next(self.network.parameters()).device
        return pixels, self.criterion.energies(self.network(ink.to(device)).scores[0]).cpu()

    def _letters(self, pieces: Sequence[Piece], pixels: NDArray[np.uint8]) -> tuple[Letter, ...]:
        """Pieces in their columns. The network is sure of a letter in a frame or two in its midst, so that
        letters are parted halfway between these."""
        rows, columns = pixels.shape
        between = [(before.end + after.start) / 2 for before, after in pairwise(pieces)]
        parted = [min(max(self.x_of(frame, rows), 0.0), float(columns)) for frame in between]
        spans = pairwise([0.0, *parted, float(columns)])
        return tuple(Letter(piece.text, *span) for piece, span in zip(pieces, spans, strict=False))

    def save(self, directory: str | Path) -> None:
        """Writes ``model.safetensors`` and ``model.json``, each whole or not at all.

        Raises:
            OSError: the folder cannot be written.
        """
        description = {
            "format": FORMAT,
            "criterion": next(name for name, kind in CRITERIA.items() if kind is type(self.criterion)),
            "vocabulary": list(self.criterion.vocabulary),
            "channels": list(self.network.channels),
            "hidden": self.network.hidden,
        }
        models.write(Path(directory), description, self._both())

    @classmethod
    def load(cls, directory: str | Path) -> LineReader:
        """Reads what ``save`` wrote. Nothing in the folder is executed.

        Raises:
            DataError: a file is missing, damaged, or of another kind of model.
        """
        directory = Path(directory)
        description = _description(directory)
        try:
            criterion = CRITERIA[description["criterion"]](description["vocabulary"])
        except GraphError as error:
            raise DataError(f"{directory / models.DESCRIPTION}: the vocabulary is amiss ({error})") from error
        with torch.device("meta"):  # shapes without memory, until the file is seen to have them, too
            network = LineNetwork(len(criterion.classes), description["channels"], description["hidden"])
        reader = cls(network, criterion)
        state = models.read_weights(directory, reader._both())
        network.to_empty(device="cpu")
        reader._both().load_state_dict(state)
        return reader

    def _both(self) -> nn.ModuleDict:
        return nn.ModuleDict({"network": self.network, "criterion": self.criterion})


def loaded(image: Image) -> NDArray[np.uint8]:
    """The pixels of an image that may be a file. Raises DataError."""
    return image if isinstance(image, np.ndarray) else read_grey(image)


def batch(inks: Sequence[NDArray[np.uint8]]) -> tuple[Tensor, list[int]]:
    """Lines of ink, uint8 [HEIGHT, W], in paper, float32 [B, HEIGHT, W], 0 to 1, and the frames of each."""
    lengths = [math.ceil((ink.shape[1] + 2 * MARGIN) / STRIDE) for ink in inks]
    together = np.zeros((len(inks), HEIGHT, max(lengths) * STRIDE), np.float32)
    for row, ink in zip(together, inks, strict=True):
        row[:, MARGIN : MARGIN + ink.shape[1]] = ink
    return torch.from_numpy(together / 255), lengths


def _ink(pixels: NDArray[np.uint8], image: Image) -> NDArray[np.uint8]:
    """The ink of an image that errors name."""
    try:
        return ink_of(pixels)
    except DataError as error:
        raise error if isinstance(image, np.ndarray) else DataError(f"{image}: {error}") from error


def _description(folder: Path) -> dict[str, Any]:
    """What describes a model, checked."""
    found, path = models.read_description(folder, FORMAT), folder / models.DESCRIPTION
    if found.get("criterion") not in CRITERIA:
        raise DataError(
            f"{path}: no criterion {found.get('criterion')!r:.80}; there are {', '.join(CRITERIA)}"
        )
    vocabulary, channels, hidden = (found.get(name) for name in ("vocabulary", "channels", "hidden"))
    if not isinstance(vocabulary, list) or not all(isinstance(name, str) for name in vocabulary):
        raise DataError(f"{path}: the vocabulary is no list of strings")
    if not isinstance(channels, list) or len(channels) != 4:
        raise DataError(f"{path}: channels are {channels!r:.80}, not four numbers")
    if not all(type(number) is int and 1 <= number <= MOST_CHANNELS for number in (*channels, hidden)):
        raise DataError(f"{path}: channels and hidden must be whole numbers from 1 to {MOST_CHANNELS}")
    return found
