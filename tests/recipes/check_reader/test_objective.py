import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from gtn_ebm import Graph, compose
from gtn_ebm.losses import LOSSES
from recipes.check_reader.data import Box
from recipes.check_reader.displacement import BLANK, PLACES
from recipes.check_reader.grammar import CLASSES, DIGITS, Grammar
from recipes.check_reader.objective import Drawing, Lesson, ReaderLoss, losses
from recipes.check_reader.perturbation import perturbed
from recipes.check_reader.recognition import Evidence, recognise_places, recognise_regions
from recipes.check_reader.segmentation import Segmentation
from tests.enumeration import walks
from tests.recipes.check_reader.small import REGIONS, SEGMENTATION, small_reader

GRAMMAR = Grammar.read()


class TestLosses:
    """On interpretation graphs so small that every path and its meanings can be written out."""

    @pytest.mark.parametrize("loss", ["nll", "perceptron"])
    @pytest.mark.parametrize(
        ("digits", "drawing"),
        [
            ("12", None),
            ("1", None),
            ("12", Drawing("1.2", [(0, 0, 10, 9), (10, 0, 10, 9), (20, 0, 10, 9)])),
            ("1", Drawing("1-", [(0, 0, 10, 9), (10, 0, 20, 9)])),
            ("12", Drawing("12", [(0, 0, 17, 9), (18, 0, 13, 9)])),
        ],
    )
    def test_and_their_gradients_are_those_of_enumeration(
        self, loss: str, digits: str, drawing: Drawing | None
    ) -> None:
        evidence = given(seed=1)
        lesson = Lesson(SEGMENTATION, digits, drawing)
        ours, unreachable = losses(Given([evidence]), GRAMMAR, [lesson], without_noise(loss))
        assert unreachable == 0
        assert ours.shape == (1,)
        leaves = evidence.regions, evidence.places[0]
        gradients = torch.autograd.grad(ours.sum(), leaves)

        beta = {"nll": 1.0, "perceptron": 1e6}[loss]
        readings, spelt = written_out(evidence), spelt_out(evidence)
        desired = [
            reading.energy
            for reading in readings
            if (reading.answer == digits if drawing is None else fits(reading, drawing))
        ]
        desired_places = [energy for energy, answer in spelt if answer == digits]
        expected = (
            soft_minimum(desired, beta)
            - soft_minimum([reading.energy for reading in readings], beta)
            + soft_minimum(desired_places, beta)
            - soft_minimum([energy for energy, _ in spelt], beta)
        )
        torch.testing.assert_close(ours[0].double(), expected, rtol=1e-5, atol=2e-5)
        for gradient, of_expected in zip(gradients, torch.autograd.grad(expected, leaves), strict=True):
            torch.testing.assert_close(gradient, of_expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("loss", ["nll", "perceptron"])
    def test_are_never_negative(self, loss: str) -> None:
        evidence = [given(seed) for seed in range(12)]
        lessons = [Lesson(SEGMENTATION, digits, None) for digits in ("12", "1", "2", "21")] * 3
        of_all, unreachable = losses(Given(evidence), GRAMMAR, lessons, ReaderLoss(loss))
        assert unreachable == 0
        assert of_all.min() >= -1e-5
        assert of_all.max() > 0.5

    @pytest.mark.parametrize("loss", ["nll", "perceptron"])
    def test_of_an_answer_out_of_reach_is_zero_and_moves_nothing(self, loss: str) -> None:
        evidence = [given(seed) for seed in range(3)]
        elsewhere = Drawing("12", [(0, 0, 1, 9), (20, 0, 10, 9)])
        answers = [("12", None), ("98765", None), ("12", elsewhere)]
        lessons = [Lesson(SEGMENTATION, *answer) for answer in answers]
        of_all, unreachable = losses(Given(evidence), GRAMMAR, lessons, ReaderLoss(loss))
        assert unreachable == 2
        assert of_all[1:].tolist() == [0.0, 0.0]
        assert of_all[0] > 0
        for energies in of_images(evidence):
            of_first, *of_others = torch.autograd.grad(of_all.sum(), energies, retain_graph=True)
            assert of_first.isfinite().all()
            assert of_first.abs().max() > 0
            assert not any(gradient.any() for gradient in of_others)

    def test_of_the_perceptron_are_those_of_perturbed_energies(self) -> None:
        evidence = [given(seed) for seed in range(3)]
        lessons = [
            Lesson(with_other_ink(seed), digits, None) for seed, digits in enumerate(("12", "1", "21"))
        ]
        segmentations = [lesson.segmentation for lesson in lessons]
        regions, places = (
            [recognise(one)[0] for one in evidence] for recognise in (recognise_regions, recognise_places)
        )
        noisy = [
            Evidence([], of_regions.energies.view(-1, len(CLASSES)), [of_places.energies.view(3, -1)])
            for of_regions, of_places in zip(
                perturbed(regions, segmentations, place=3),
                perturbed(places, segmentations, place=4),
                strict=True,
            )
        ]
        perceptron = ReaderLoss("perceptron")
        ours, _ = losses(Given(evidence), GRAMMAR, lessons, perceptron)
        plain = without_noise("perceptron")
        expected, _ = losses(Given(noisy), GRAMMAR, lessons, plain)
        assert torch.equal(ours, expected)
        without, _ = losses(Given(evidence), GRAMMAR, lessons, plain)
        assert (ours - without).abs().min() > 1e-3

    def test_of_the_perceptron_are_not_least_where_all_energies_are_alike(self) -> None:
        """Nine images whose energies say what is right, and one whose energies say what is not."""
        lessons = [Lesson(with_other_ink(seed), "12" if seed > 0 else "1", None) for seed in range(10)]
        perceptron = ReaderLoss("perceptron")

        def mean_loss(scale: float, loss: ReaderLoss) -> float:
            of_all, _ = losses(Given([saying("12", scale) for _ in lessons]), GRAMMAR, lessons, loss)
            return of_all.mean().item()

        of_plain = [mean_loss(scale, without_noise("perceptron")) for scale in (0.0, 0.5, 4.0)]
        assert of_plain[0] == 0 < of_plain[1] < of_plain[2]
        with_noise = [mean_loss(scale, perceptron) for scale in (0.0, 0.5, 4.0)]
        assert with_noise[0] > with_noise[1] > with_noise[2] > 0


class TestEveryLoss:
    @pytest.mark.parametrize("name", LOSSES)
    def test_is_a_number_with_gradients_and_leaves_out_what_is_out_of_reach(self, name: str) -> None:
        evidence = [given(seed) for seed in range(13)]
        drawing = Drawing("1.2", [(0, 0, 10, 9), (10, 0, 10, 9), (20, 0, 10, 9)])
        answers = [*[("12", None), ("1", None), ("21", None), ("12", drawing)] * 3, ("98765", None)]
        lessons = [Lesson(with_other_ink(seed), *answer) for seed, answer in enumerate(answers)]
        of_all, unreachable = losses(Given(evidence), GRAMMAR, lessons, ReaderLoss(name))
        of_desired = "desired" in LOSSES[name].needs  # a risk is a number without it
        assert unreachable == int(of_desired)
        assert of_all.isfinite().all()
        assert not of_desired or of_all[-1] == 0
        moved = False
        for energies in of_images(evidence):
            gradients = torch.autograd.grad(of_all.sum(), energies, retain_graph=True)
            assert all(gradient.isfinite().all() for gradient in gradients)
            assert not (of_desired and gradients[-1].any())
            moved |= any(gradient.any() for gradient in gradients)
        assert moved

    @pytest.mark.parametrize("name", LOSSES)
    def test_makes_a_step_of_a_network(self, name: str) -> None:
        network = small_reader().network.train()
        before = [weight.clone() for weight in network.parameters()]
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.0)
        lessons = [
            Lesson(with_other_ink(seed), digits, None) for seed, digits in enumerate(("12", "1", "21"))
        ]
        of_all, unreachable = losses(network, GRAMMAR, lessons, ReaderLoss(name))
        of_all.sum().backward()
        optimiser.step()
        assert unreachable == 0
        assert of_all.isfinite().all()
        assert all(weight.isfinite().all() for weight in network.parameters())
        changed = zip(network.parameters(), before, strict=True)
        moved = any((weight != old).any() for weight, old in changed)
        assert moved != (name == "lvq2")  # it gives up on what is as far off as here

    @pytest.mark.parametrize("name", LOSSES)
    def test_is_fitted_by_what_it_gives_for_equal_and_for_raised_energies(self, name: str) -> None:
        loss = ReaderLoss(name)
        assert loss.normalised == (
            name in {"energy", "square_square", "square_exponential", "simple", "square_square_pair"}
        )
        assert loss.perturbed == (name in {"perceptron", "lvq2"})
        assert loss.bounded == (name == "exponential")

    @pytest.mark.parametrize("name", ["square_square", "simple", "energy"])
    def test_of_absolute_energies_does_not_depend_on_where_they_begin(self, name: str) -> None:
        evidence = given(seed=2)
        raised = evidence._replace(places=[evidence.places[0] + 3.0])
        lesson = Lesson(SEGMENTATION, "12", None)
        ours, _ = losses(Given([evidence]), GRAMMAR, [lesson], ReaderLoss(name))
        of_raised, _ = losses(Given([raised]), GRAMMAR, [lesson], ReaderLoss(name))
        torch.testing.assert_close(of_raised, ours)

    def test_counts_what_is_too_far_off_for_an_exponential(self) -> None:
        lessons = [Lesson(SEGMENTATION, digits, None) for digits in ("12", "21")]
        network = Given([saying("12", 60.0), saying("12", 60.0)])
        of_all, unreachable = losses(network, GRAMMAR, lessons, ReaderLoss("exponential"))
        assert unreachable == 1
        assert 0 <= of_all[0] < 1
        assert of_all[1] == 0

    def test_tells_wrong_answers_apart_by_the_digits_that_places_mean(self) -> None:
        """Two sequences of places that mean the same are one answer, which costs nothing if it is right."""
        energies = torch.full((3, len(PLACES)), 30.0)
        for place, symbols in enumerate(("1", "1_", "2")):
            energies[place, PLACES.labels(symbols)] = 0
        evidence = saying("12", 30.0)._replace(places=[energies])
        lesson = Lesson(SEGMENTATION, "12", None)
        risk, _ = losses(Given([evidence]), GRAMMAR, [lesson], ReaderLoss("bayes_risk"))
        assert risk.item() == pytest.approx(0, abs=1e-5)


def without_noise(name: str) -> ReaderLoss:
    loss = ReaderLoss(name)
    loss.perturbed = False
    return loss


def with_other_ink(seed: int) -> Segmentation:
    """And so with other noise."""
    return replace(SEGMENTATION, ink=np.full_like(SEGMENTATION.ink, 1 / (1 + seed)))


def saying(digits: str, scale: float) -> Evidence:
    """Energies of 0 along the first regions for these digits, and for `~` after them; `scale` elsewhere."""
    energies = torch.full((len(REGIONS), len(CLASSES)), scale)
    chain = [0, 2, 4]  # one piece each
    for region, symbol in zip(chain, digits.ljust(3, "~"), strict=True):
        energies[region, CLASSES.label(symbol)] = 0
    of_places = torch.full((3, len(PLACES)), scale)
    for place, symbol in enumerate(digits.ljust(3, "_")):
        of_places[place, PLACES.label(symbol)] = 0
    return Evidence([SEGMENTATION], energies, [of_places])


class Given(torch.nn.Module):
    """A network that answers with evidence made before, of an image each."""

    def __init__(self, evidence: list[Evidence]):
        super().__init__()
        self.evidence = evidence

    def forward(self, segmentations: Sequence[Segmentation]) -> Evidence:
        assert len(segmentations) == len(self.evidence)
        regions, places = of_images(self.evidence)
        return Evidence(segmentations, torch.cat(regions), places)


def of_images(evidence: list[Evidence]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The energies of all regions, and of all places, of each image."""
    return [one.regions for one in evidence], [one.places[0] for one in evidence]


def given(seed: int) -> Evidence:
    """Five classes a region, and three places."""
    random = torch.Generator().manual_seed(seed)
    energies = torch.full((len(REGIONS), len(CLASSES)), torch.inf)
    classes = CLASSES.labels("12.~-")
    energies[:, classes] = 2 * torch.randn(len(REGIONS), len(classes), generator=random)
    of_places = torch.randn(3, len(PLACES), generator=random)
    return Evidence([SEGMENTATION], energies.requires_grad_(), [of_places.requires_grad_()])


class Written(NamedTuple):
    """A path of the interpretation graph with a path of the grammar: its energy, what it means, the symbols
    drawn and the region of each."""

    energy: torch.Tensor
    answer: str
    symbols: str
    regions: list[int]


def written_out(evidence: Evidence) -> list[Written]:
    (graph,), readings = recognise_regions(evidence), []
    for walk in walks(graph):
        symbols = "".join(map(CLASSES.name, walk.inputs))
        regions = graph.attributes["region"][list(walk.arcs)].tolist()
        for meaning in walks(compose(Graph.linear(walk.inputs, input_symbols=CLASSES), GRAMMAR.graph)):
            energy = graph.energies[list(walk.arcs)].double().sum() + meaning.energy
            readings.append(Written(energy, "".join(map(DIGITS.name, meaning.outputs)), symbols, regions))
    return readings


def spelt_out(evidence: Evidence) -> list[tuple[torch.Tensor, str]]:
    """The energy of each path, and the digits it means."""
    (places,) = recognise_places(evidence)
    return [
        (
            places.energies[list(walk.arcs)].double().sum(),
            "".join(PLACES.name(label) for label, _ in itertools.groupby(walk.inputs) if label != BLANK),
        )
        for walk in walks(places)
    ]


def fits(reading: Written, drawing: Drawing) -> bool:
    """Whether it has the symbols drawn, and each digit where a digit of its name was drawn."""
    placed = all(
        any(symbol == drawn and overlap(region, box) >= 0.6 for drawn, box in zip(*drawing, strict=True))
        for symbol, region in zip(reading.symbols, reading.regions, strict=True)
        if symbol in "12"
    )
    return placed and reading.symbols.replace("~", "") == drawing.symbols


def overlap(region: int, box: Box) -> float:
    start, end = 10 * REGIONS[region]
    x, _, width, _ = box
    return max(0, min(end, x + width) - max(start, x)) / (max(end, x + width) - min(start, x))


def soft_minimum(energies: list[torch.Tensor], beta: float) -> torch.Tensor:
    return -torch.logsumexp(-beta * torch.stack(energies), 0) / beta
