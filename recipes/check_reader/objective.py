"""What training minimises: any loss of ``gtn_ebm.losses``, of both graphs of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gtn_ebm import Graph, GraphError, Structure, edit_distance, free_energy
from gtn_ebm.losses import GraphLoss, by_name
from gtn_ebm.transformers import CompositionTransformer, GraphTransformerNetwork, PathSelector
from recipes.check_reader.data import Box
from recipes.check_reader.displacement import meanings, spellings
from recipes.check_reader.grammar import CLASSES, DIGITS, Grammar
from recipes.check_reader.perturbation import perturbed
from recipes.check_reader.recognition import Evidence, recognise_places, recognise_regions
from recipes.check_reader.segmentation import Segmentation, overlaps
from recipes.check_reader.synthetic import SyntheticAmount

GUIDANCE = 0.6
"""Least overlap along x, intersection over union, of a digit's region with where it was drawn."""

MOST_EDITS = 3
"""What an answer with more wrong digits costs, too, in losses of costs: edit distance, bounded."""

FARTHEST = 30.0
"""Nats by which a wrong answer may be better, in losses that would overflow, and gradients with them."""


class Drawing(NamedTuple):
    """The symbols drawn, left to right, and the box of each in pixels of the image."""

    symbols: str
    boxes: list[Box]

    @classmethod
    def of(cls, amount: SyntheticAmount) -> Drawing:
        """What was drawn of a synthetic amount, wide gaps left out."""
        drawn = zip(amount.drawn, amount.drawn_boxes, strict=True)
        symbols, boxes = zip(*((symbol, box) for symbol, box in drawn if symbol != " "), strict=True)
        return cls("".join(symbols), list(boxes))


class Lesson(NamedTuple):
    """One thing to learn from: the digits, and what was drawn where that is known."""

    segmentation: Segmentation
    digits: str
    drawing: Drawing | None


class ReaderLoss(GraphLoss):
    """A loss with its options as they are where omitted, fitted to graphs of any energies.

    How it is fitted depends on what it gives for a graph of two answers, not on its name.

    Args:
        name: of a loss in ``gtn_ebm.losses``; where it needs costs they are edit distances up to MOST_EDITS.

    Attributes:
        normalised: whether its energies are E − F_1(all), that is −log p ≥ 0 in nats: for losses of absolute
            energies, which change where all energies rise by one number. Those of an image have no zero of
            their own, and as many parts as the image has characters.
        perturbed: whether they have noise (see ``perturbation``): for losses that are 0 where all energies
            are alike, and would make them so.
        bounded: whether a desired answer worse by more than FARTHEST counts as out of reach: for losses
            that overflow.

    Raises:
        GraphError: there is no such loss; the message lists all.
    """

    def __init__(self, name: str):
        needs = set(by_name(name).needs)
        needs_costs = needs & {"costs", "expected_cost"}
        super().__init__(name, cost=partial(edit_distance, at_most=MOST_EDITS) if needs_costs else None)
        self.normalised = self.perturbed = self.bounded = False
        alike = self._of_two(0.0, 0.0)
        normalised = not math.isclose(alike, self._of_two(10.0, 10.0), rel_tol=1e-3, abs_tol=1e-3)
        bounded = needs >= {"desired", "wrong"} and self._overflows()
        self.normalised, self.perturbed, self.bounded = normalised, not normalised and alike == 0, bounded

    @property
    def tells_answers_apart(self) -> bool:
        """Whether it needs more of an answer than whether it is the desired one."""
        return not set(self.of_energies.needs) <= {"desired", "everything", "wrong"}

    def energies(
        self, everything: Sequence[Graph], desired: Sequence[Graph], right: Sequence[Graph] | None = None
    ) -> dict[str, Tensor]:
        energies = super().energies(everything, desired, right)
        if self.normalised:
            energies = _normalised(energies, free_energy(everything, 1.0))
        if self.bounded:
            too_far = energies["desired"] - energies["wrong"] > FARTHEST
            energies["desired"] = energies["desired"].masked_fill(too_far, torch.inf)
        return energies

    def _of_two(self, desired: float, other: float) -> float:
        """What it gives where there are two answers of these energies."""
        graph = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([desired, other]))
        return float(self([graph], [Graph.linear([0])]))

    def _overflows(self) -> bool:
        try:
            self._of_two(1000.0, 0.0)
        except GraphError:
            return True
        return False


def _normalised(energies: dict[str, Tensor], total: Tensor) -> dict[str, Tensor]:
    """E − F_1(all) of every energy; costs are none."""
    total = torch.where(total.isfinite(), total, 0.0)
    return {
        name: values
        if name in ("costs", "expected_cost")
        else values - total.view(-1, *[1] * (values.ndim - 1))
        for name, values in energies.items()
    }


def losses(
    network: torch.nn.Module, grammar: Grammar, lessons: Sequence[Lesson], loss: ReaderLoss
) -> tuple[Tensor, int]:
    """The loss of each lesson, float32 [B], and how many answers are out of reach: the sum of both graphs'.

    All answers are those of the interpretation graph composed with the grammar, and of the places. The
    desired paths are those that mean the right digits, or that were drawn, where that is known; segmentation
    and punctuation are latent. Where no path gives the desired answer, the loss is 0.

    Args:
        network: from segmentations to the evidence in them.
        loss: of each graph.
    """
    segmentations = [lesson.segmentation for lesson in lessons]
    digits = [lesson.digits for lesson in lessons]
    evidence: Evidence = network(segmentations)
    interpretations, places = recognise_regions(evidence), recognise_places(evidence)
    if loss.perturbed:
        interpretations = perturbed(interpretations, segmentations, place=3)
        places = perturbed(places, segmentations, place=4)
    drawn = PathSelector(partial(_part_meant, grammar))(list(map(guided, interpretations, lessons)), lessons)
    amounts = GraphTransformerNetwork(CompositionTransformer(grammar.graph), loss=loss)
    of_amounts, in_amounts = _reached(loss, amounts.energies(interpretations, digits, right=drawn))
    of_places, in_places = _reached(loss, _network_of_places(loss).energies(places, digits))
    reachable = in_amounts & in_places
    return torch.where(reachable, of_amounts + of_places, 0.0), int((~reachable).sum())


def _network_of_places(loss: ReaderLoss) -> GraphTransformerNetwork:
    """From graphs of places to those of what they mean, if the loss must know that of wrong answers, too."""
    if loss.tells_answers_apart:
        return GraphTransformerNetwork(CompositionTransformer(meanings()), loss=loss)
    return GraphTransformerNetwork(loss=loss, selector=PathSelector(spellings))


def _reached(loss: GraphLoss, energies: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The loss of each graph, [B], and whether its answer is in reach; where not, it is no loss to use."""
    of_each: Tensor = loss.of_energies(**energies)
    return of_each, torch.isfinite(energies.get("desired", of_each))


def guided(interpretation: Graph, lesson: Lesson) -> Graph:
    """The interpretation graph without the digits that are not where they were drawn, if that is known.

    A digit's arc stays where its region and a box of that digit overlap along x by GUIDANCE or more.
    """
    segmentation, _, drawing = lesson
    if drawing is None:
        return interpretation
    misplaced = torch.ones(len(segmentation.arcs), len(CLASSES), dtype=torch.bool)
    misplaced[:, len(DIGITS) :] = False
    for symbol, (x, y, width, height) in zip(*drawing, strict=True):
        if symbol in DIGITS:
            box = np.array([x, y, x + width, y + height]) * segmentation.scale
            along, _ = overlaps(segmentation.boxes, box)
            misplaced[torch.from_numpy(along >= GUIDANCE), CLASSES.label(symbol)] = False
    return interpretation.with_energies(interpretation.energies.masked_fill(misplaced.flatten(), torch.inf))


def _part_meant(grammar: Grammar, lesson: Lesson) -> Graph:
    if lesson.drawing is None:
        return grammar.of_answer(lesson.digits)
    return grammar.of_drawing(lesson.drawing.symbols)
