"""The whole system behind one door: an image goes in; an amount, a confidence and three graphs come out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gtn_ebm import DataError, Graph, best_paths, project
from gtn_ebm.io.files import write_whole
from gtn_ebm.transformers import CompositionTransformer, ForwardScorer, PathSelector
from recipes import models
from recipes.check_reader.data import load_image
from recipes.check_reader.displacement import spellings
from recipes.check_reader.grammar import CLASSES, DIGITS, Grammar
from recipes.check_reader.recognition import RecognitionNetwork, recognise_places, recognise_regions
from recipes.check_reader.segmentation import Segmentation, segment

Image = str | Path | NDArray[np.uint8]
"""A file, or grey levels [h, w], 0 being black."""

FORMAT = "gtn_ebm check reader 3"
"""What ``model.json`` says that it is."""

BEST_PATHS = 50
"""Paths of least energy whose answers are compared."""

MOST_CHANNELS = 1024
"""Of a model to be read."""


@dataclass(frozen=True)
class Reading:
    """What was read from one image.

    Attributes:
        digits: the best answer; "" where the grammar has no path through what was drawn.
        energy: of the answer, the sum of its free energies in both graphs, in nats; lower is better.
        confidence: posterior of the answer among those compared, 0 to 1.
        accepted: whether the confidence reaches the model's threshold.
        segmentation: the candidate regions.
        interpretation: the interpretation graph, an arc for each region and class.
        places: the graph of the space displacement network, an arc for each place and class.
        amount: the interpretation graph composed with the grammar.
    """

    digits: str
    energy: float
    confidence: float
    accepted: bool
    segmentation: Segmentation
    interpretation: Graph
    places: Graph
    amount: Graph

    def __str__(self) -> str:
        return self.digits if self.accepted else "REJECT"

    @property
    def segmentation_graph(self) -> Graph:
        """The candidate regions as a graph of R arcs; the energy of each is the free energy of its classes,
        −log Σ_class exp(−E). Label and attribute ``region`` are the number of the segmentation's arc.
        """
        graph = self.segmentation.graph
        of_classes = self.interpretation.energies.reshape(graph.arcs, -1)
        return graph.with_energies(-torch.logsumexp(-of_classes, dim=1))


class CheckReader:
    """Reads amounts with a trained network and a grammar.

    Args:
        network: energies of classes; it is put into evaluation mode.
        grammar: what amounts look like, and mean.
        threshold: the least confidence of an answer that is not rejected.
        beta: inverse temperature of an answer's free energies, that of the loss the network was trained with:
            1 sums over all segmentations and spellings of an answer, ∞ takes the best.

    >>> reader = CheckReader.load("out/model")              # doctest: +SKIP
    >>> str(reader.read("amount.png"))                      # doctest: +SKIP
    '12345'
    """

    def __init__(self, network: RecognitionNetwork, grammar: Grammar, threshold: float, beta: float = 1.0):
        self.network = network.eval()
        self.grammar = grammar
        self.threshold = threshold
        self.beta = beta

    def read(self, image: Image) -> Reading:
        """Reads one image.

        Raises:
            DataError: no image, one without ink, or one on its side; the message names the file.
        """
        return self.read_segmentations([self.segment(image)])[0]

    def read_all(self, images: Iterable[Image], batch: int = 16) -> list[Reading]:
        """Reads many images, ``batch`` at a time. Raises DataError as ``read``."""
        remaining, readings = iter(images), list[Reading]()
        while some := [self.segment(image) for image in itertools.islice(remaining, batch)]:
            readings += self.read_segmentations(some)
        return readings

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
        evidence = self.network(segmentations)
        interpretations, places = recognise_regions(evidence), recognise_places(evidence)
        amounts = CompositionTransformer(self.grammar.graph)(interpretations)
        return list(map(self._reading, segmentations, interpretations, places, amounts))

    def _reading(
        self, segmentation: Segmentation, interpretation: Graph, places: Graph, amount: Graph
    ) -> Reading:
        seen = segmentation, interpretation, places, amount
        answers = candidates(amount)
        # In float64, for float32 cannot tell the confidences of sure answers from 1.
        energies = answer_energies(amount.to(torch.float64), places.to(torch.float64), answers, self.beta)
        if not energies.isfinite().any():
            return Reading("", math.inf, 0.0, False, *seen)
        best = int(energies.argmin())
        confidence = functional.softmin(energies, 0)[best].item()
        return Reading(answers[best], energies[best].item(), confidence, confidence >= self.threshold, *seen)

    def save(self, directory: str | Path) -> None:
        """Writes ``model.safetensors``, ``model.json`` and ``grammar.txt``, each whole or not at all.

        Raises:
            OSError: the folder cannot be written.
        """
        directory = Path(directory)
        description = {
            "format": FORMAT,
            "classes": list(CLASSES),
            "channels": list(self.network.channels),
            "threshold": self.threshold,
            "beta": self.beta if math.isfinite(self.beta) else None,  # JSON has no infinity
        }
        directory.mkdir(parents=True, exist_ok=True)
        write_whole(directory / "grammar.txt", self.grammar.text)
        models.write(directory, description, self.network)  # last, so that what was cut short is no model

    @classmethod
    def load(cls, directory: str | Path) -> CheckReader:
        """Reads what ``save`` wrote. Nothing in the folder is executed.

        Raises:
            DataError: a file is missing, damaged, or of another kind of model.
            GraphFormatError: the grammar cannot be read.
        """
        directory = Path(directory)
        channels, threshold, beta = _description(directory)
        with torch.device("meta"):  # shapes without memory, until the file is seen to have them, too
            network = RecognitionNetwork(channels)
        state = models.read_weights(directory, network)
        network.to_empty(device="cpu").load_state_dict(state)
        return cls(network, Grammar.read(directory / "grammar.txt"), threshold, beta)


def candidates(amount: Graph) -> list[str]:
    """The different answers of the BEST_PATHS paths of least energy, in their order."""
    found = dict.fromkeys(tuple(path.output_labels) for path in best_paths(amount, BEST_PATHS))
    return ["".join(map(DIGITS.name, labels)) for labels in found]


def answer_energies(amount: Graph, places: Graph, answers: Sequence[str], beta: float) -> Tensor:
    """The free energy F_β of each answer over its segmentations and spellings in ``amount``, plus that over
    its spellings in ``places``, [N] in their dtype."""
    score, count = ForwardScorer(beta), len(answers)
    meant = PathSelector()([project(amount, "output")] * count, answers)
    return score(meant) + score(PathSelector(spellings)([places] * count, answers))


def _description(folder: Path) -> tuple[tuple[int, int, int], float, float]:
    """The channels, the threshold and β of a model."""
    description, path = models.read_description(folder, FORMAT), folder / models.DESCRIPTION
    if description.get("classes") != list(CLASSES):
        raise DataError(f"{path}: its classes are not {list(CLASSES)}; train the model again")
    channels, threshold = description.get("channels"), description.get("threshold")
    if (
        not isinstance(channels, list)
        or len(channels) != 3
        or not all(type(number) is int and 1 <= number <= MOST_CHANNELS for number in channels)
    ):
        raise DataError(f"{path}: channels are {channels!r:.80}, not three numbers from 1 to {MOST_CHANNELS}")
    if not _is_number(threshold) or not 0 <= threshold <= math.nextafter(1, 2):
        raise DataError(f"{path}: the threshold is {threshold!r:.80}, not a number from 0 to 1")
    beta = description.get("beta", 0)
    if beta is not None and not (_is_number(beta) and 0 < beta < math.inf):
        raise DataError(f"{path}: beta is {beta!r:.80}, neither a positive number nor null, for infinity")
    return (
        (channels[0], channels[1], channels[2]),
        float(threshold),
        math.inf if beta is None else float(beta),
    )


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
