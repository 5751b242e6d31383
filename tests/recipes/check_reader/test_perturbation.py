from dataclasses import replace

import numpy as np
import pytest
import torch

from gtn_ebm import Graph
from gtn_ebm.transformers import interpretation_graph
from recipes.check_reader.displacement import PLACES
from recipes.check_reader.perturbation import perturbed
from recipes.check_reader.segmentation import Segmentation
from tests.recipes.check_reader.small import SEGMENTATION

OTHER = replace(SEGMENTATION, ink=SEGMENTATION.ink / 2)


def graph(places: int, dtype: torch.dtype = torch.float32) -> Graph:
    energies = torch.randn(places, len(PLACES), generator=torch.Generator().manual_seed(places)).to(dtype)
    return interpretation_graph(Graph.linear(range(places)), energies.requires_grad_(), PLACES)


def noise(segmentation: Segmentation, place: int = 3, places: int = 5000) -> np.ndarray:
    given = graph(places)
    return (given.energies - perturbed([given], [segmentation], place)[0].energies).detach().numpy()


class TestPerturbed:
    def test_is_less_standard_gumbel_noise(self) -> None:
        drawn = np.sort(noise(SEGMENTATION))
        share = (np.arange(len(drawn)) + 0.5) / len(drawn)
        assert np.abs(np.exp(-np.exp(-drawn)) - share).max() < 1.63 / len(drawn) ** 0.5  # Kolmogorov, at 1 %
        assert abs(np.corrcoef(noise(SEGMENTATION)[:-1], noise(SEGMENTATION)[1:])[0, 1]) < 0.02

    def test_depends_on_the_image_and_on_the_place_alone(self) -> None:
        given = [graph(9), graph(5)]
        together = perturbed(given, [SEGMENTATION, OTHER], 3)
        for one, other in zip(together, perturbed(given[::-1], [OTHER, SEGMENTATION], 3)[::-1], strict=True):
            assert torch.equal(one.energies, other.energies)
        for unlike in (noise(OTHER), noise(SEGMENTATION, place=4)):
            assert abs(np.corrcoef(noise(SEGMENTATION), unlike)[0, 1]) < 0.02

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_leaves_the_rest_of_the_graph_and_gradients_as_they_are(self, dtype: torch.dtype) -> None:
        given = graph(4, dtype).with_attributes(place=torch.arange(4).repeat_interleave(len(PLACES)))
        (noisy,) = perturbed([given], [SEGMENTATION], 3)
        assert noisy.energies.dtype == dtype
        assert torch.equal(noisy.attributes["place"], given.attributes["place"])
        assert (noisy.input_labels == given.input_labels).all()
        weights = torch.arange(given.arcs, dtype=dtype)
        (gradient,) = torch.autograd.grad((weights * noisy.energies).sum(), given.energies)
        assert torch.equal(gradient, weights)
