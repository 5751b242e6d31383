"""The whole system behind one door: an image goes in; the amount, its energy, a confidence and the three graphs come out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gtn_ebm import DataError, Graph, Structure, Symbols, best_path, compose, free_energy, project
from gtn_ebm.io.files import write_beside, write_whole
from recipes.check_reader.data import load_image
from recipes.check_reader.grammar import DIGITS, Grammar
from recipes.check_reader.recognition import RecognitionTransformer
from recipes.check_reader.segmentation import Segmentation, segment

Image = str | Path | NDArray[np.uint8]


@dataclass(frozen=True)
class Reading:
    """What was read from one image.

    Attributes:
        digits: the best answer; "" where the grammar has no path through what was drawn.
        energy: of the best path, in nats; lower is better.
        confidence: posterior of the answer, summed over all its segmentations and spellings, 0 to 1.
        accepted: whether the confidence reaches the model's threshold.
        segmentation: candidate pieces of ink.
        interpretation: the interpretation graph, an arc for each region and class.
        amount: the interpretation graph composed with the grammar.
    """

    digits: str
    energy: float
    confidence: float
    accepted: bool
    segmentation: Segmentation
    interpretation: Graph
    amount: Graph

    def __str__(self) -> str:
        return self.digits if self.accepted else "REJECT"

    @property
    def segmentation_graph(self) -> Graph:
        """The candidate regions as a graph; each energy is the free energy of the region's classes.

        The label and the attribute ``region`` are the number of the segmentation's arc.
        """
        source, destination = self.segmentation.arcs.T
        regions = np.arange(len(source))
        of_classes = self.interpretation.energies.reshape(len(source), -1)
        return Graph(
            Structure(source, destination, regions),
            -torch.logsumexp(-of_classes, dim=1),
            attributes={"region": torch.from_numpy(regions)},
        )


class CheckReader:
    """Reads amounts with a trained network and a grammar.

    >>> reader = CheckReader.load("out/model")              # doctest: +SKIP
    >>> str(reader.read("amount.png"))                      # doctest: +SKIP
    '12345'
    """

    def __init__(self, network: RecognitionTransformer, grammar: Grammar, threshold: float):
        self.network = network.eval()
        self.grammar = grammar
        self.threshold = threshold

    def read(self, image: Image) -> Reading:
        """Reads one image: a file, or grey levels uint8 [h, w].

        Raises:
            DataError: no image, or an image without ink; the message names the file.
        """
        return self.read_segmentations([self.segment(image)])[0]

    def read_all(self, images: Iterable[Image], batch: int = 16) -> list[Reading]:
        """Reads many images. Raises DataError as ``read``."""
        segmentations = [self.segment(image) for image in images]
        return [
            reading
            for first in range(0, len(segmentations), batch)
            for reading in self.read_segmentations(segmentations[first : first + batch])
        ]

    def segment(self, image: Image) -> Segmentation:
        """The segmentation graph of an image. Raises DataError as ``read``."""
        if isinstance(image, np.ndarray):
            return segment(image)
        try:
            return segment(load_image(image))
        except DataError as error:
            named = str(error).startswith(str(image))
            raise error if named else DataError(f"{image}: {error}") from error

    @torch.inference_mode()
    def read_segmentations(self, segmentations: Sequence[Segmentation]) -> list[Reading]:
        """Reads a batch of images already segmented."""
        interpretations = self.network(segmentations)
        amounts = compose(interpretations, self.grammar.graph)
        everything = free_energy(amounts)
        return [
            self._reading(*parts)
            for parts in zip(segmentations, interpretations, amounts, everything.tolist(), strict=True)
        ]

    def _reading(self, segmentation: Segmentation, interpretation: Graph, amount: Graph, everything: float) -> Reading:
        path = best_path(amount)
        if path is None:
            return Reading("", math.inf, 0.0, False, segmentation, interpretation, amount)
        answer = Graph.linear(path.output_labels, input_symbols=DIGITS)
        of_answer = free_energy(compose(project(amount, "output"), answer)).item()
        confidence = min(1.0, math.exp(everything - of_answer))
        digits = "".join(DIGITS.name(label) for label in path.output_labels)
        accepted = confidence >= self.threshold
        return Reading(digits, path.energy.item(), confidence, accepted, segmentation, interpretation, amount)

    def save(self, directory: str | Path) -> None:
        """Writes ``model.safetensors``, ``model.json`` and ``grammar.txt`` into a folder, each beside and then renamed."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        description = {
            "format": FORMAT,
            "classes": list(self.network.classes),
            "channels": list(self.network.channels),
            "threshold": self.threshold,
        }
        write_whole(directory / "grammar.txt", self.grammar.text)
        weights = {name: weight.contiguous() for name, weight in self.network.state_dict().items()}
        write_beside(directory / "model.safetensors", lambda path: save_file(weights, path))
        write_whole(directory / "model.json", json.dumps(description, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, directory: str | Path) -> CheckReader:
        """Reads what ``save`` wrote. Nothing in the folder is executed.

        Raises:
            DataError: a file is missing, damaged, or of another kind of model.
            GraphFormatError: the grammar cannot be read.
        """
        directory = Path(directory)
        description = _description(directory / "model.json")
        network = RecognitionTransformer(Symbols(description["classes"]), tuple(description["channels"]))
        weights = directory / "model.safetensors"
        try:
            network.load_state_dict(load_file(weights))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise DataError(f"{weights}: not the weights of this model ({_first_line(error)}); train it again") from error
        return cls(network, Grammar.read(directory / "grammar.txt"), description["threshold"])


FORMAT = "gtn_ebm check reader 1"


def _description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({_first_line(error)}); is {path.parent} a trained model?") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise DataError(f"{path}: not a model of this recipe (its format is not {FORMAT!r})")
    return description


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
