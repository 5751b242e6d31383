from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from gtn_ebm import best_path, compose, free_energy
from gtn_ebm.transformers import interpretation_graph
from recipes.check_reader.displacement import spellings
from recipes.check_reader.grammar import CLASSES
from recipes.check_reader.recognition import (
    BINS,
    ROWS,
    STRIDE,
    RecognitionNetwork,
    _bin_edges,
    _pool,
    recognise_places,
    recognise_regions,
)
from recipes.check_reader.segmentation import HEIGHT, Segmentation, segment
from recipes.check_reader.synthetic import SyntheticAmount


@pytest.fixture(scope="module")
def segmentations(twelve: list[SyntheticAmount]) -> list[Segmentation]:
    """The narrowest first."""
    return sorted((segment(amount.image) for amount in twelve), key=lambda found: found.ink.shape[1])


def network() -> RecognitionNetwork:
    torch.manual_seed(2)
    return RecognitionNetwork((4, 6, 8))


def region_energies(net: RecognitionNetwork, segmentations: list[Segmentation]) -> torch.Tensor:
    """[ΣR, CLASSES]"""
    return net(segmentations).regions


def place_energies(net: RecognitionNetwork, segmentations: list[Segmentation]) -> torch.Tensor:
    """[ΣW, PLACES]"""
    return torch.cat(net(segmentations).places)


class TestEnergies:
    @pytest.mark.parametrize("energies_of", [region_energies, place_energies])
    def test_do_not_depend_on_the_batch_nor_on_the_padding(
        self, segmentations: list[Segmentation], energies_of: Callable
    ) -> None:
        widths = {found.ink.shape[1] for found in segmentations}
        assert max(widths) > 2 * min(widths)
        assert any(width % STRIDE for width in widths)
        net = network().eval()
        with torch.inference_mode():
            alone = torch.cat([energies_of(net, [found]) for found in segmentations])
            together = energies_of(net, segmentations)
        assert alone.abs().max() > 0.1
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)

    def test_depend_on_the_region_and_on_the_rest_of_the_image(
        self, segmentations: list[Segmentation]
    ) -> None:
        net = network().eval()
        found = segmentations[3]
        half = found.ink.copy()
        half[:, half.shape[1] // 2 :] = 0
        with torch.inference_mode():
            energies = region_energies(net, [found])
            without_right_half = region_energies(net, [replace(found, ink=half)])
        assert energies.shape == (len(found.arcs), len(CLASSES))
        assert energies.dtype == torch.float32
        assert energies.std(dim=0).min() > 1e-3
        assert (without_right_half[0] - energies[0]).abs().max() > 1e-3  # by the writer's style alone

    def test_push_gradients_into_every_weight(self, segmentations: list[Segmentation]) -> None:
        net = network().train()
        evidence = net(segmentations[:4])
        of_regions, of_places = recognise_regions(evidence), recognise_places(evidence)
        selectors = [spellings("12")] * 4
        (free_energy(of_regions) + free_energy(compose(of_places, selectors))).sum().backward()
        for name, weight in net.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all(), name
            assert weight.grad.abs().max() > 0, name

    def test_of_the_narrowest_images(self) -> None:
        image = np.full((60, 24), 230, np.uint8)
        image[10:50, 11:14] = 20
        found = segment(image)
        narrow = Segmentation(
            found.ink[:, 8:11], found.left * 0, found.right * 0 + 3, found.arcs, found.boxes, found.scale
        )
        with torch.inference_mode():
            energies = region_energies(network().eval(), [found, narrow])
        assert energies.isfinite().all()


class TestPooling:
    def test_is_the_mean_over_each_row_and_bin(self, segmentations: list[Segmentation]) -> None:
        chosen = segmentations[1:3]
        channels, wide = 3, -(-max(found.ink.shape[1] for found in chosen) // STRIDE)
        features = torch.randn(2, ROWS, wide, channels, generator=torch.Generator().manual_seed(0))
        pooled = _pool(features, chosen).view(-1, ROWS, BINS, channels)
        assert len(pooled) == sum(len(found.arcs) for found in chosen)
        start = 0
        for image, found in zip(features.double().numpy(), chosen, strict=True):
            expected = pooled_by_hand(image, found)
            np.testing.assert_allclose(pooled[start : start + len(expected)], expected, atol=2e-4)
            start += len(expected)

    def test_bins_follow_the_seams(self, segmentations: list[Segmentation]) -> None:
        found = segmentations[0]
        edges = _bin_edges(found)
        assert edges.shape == (len(found.arcs), ROWS, BINS + 1)
        rows = HEIGHT // ROWS
        for region, (first, last) in enumerate(found.arcs):
            for row in range(ROWS):
                span = slice(row * rows, (row + 1) * rows)
                left, right = found.left[first, span].mean(), found.right[last - 1, span].mean()
                assert edges[region, row, 0] * STRIDE == pytest.approx(left, abs=1e-4)
                assert edges[region, row, -1] * STRIDE == pytest.approx(max(right, left + 1), abs=1e-4)
                steps = np.diff(edges[region, row])
                np.testing.assert_allclose(steps, steps.mean(), atol=1e-4)


def pooled_by_hand(features: np.ndarray, found: Segmentation) -> np.ndarray:
    """[ROWS, W, C] → [R, ROWS, BINS, C], each bin a sum over columns by the share of them inside it."""
    edges = _bin_edges(found).astype(float)
    columns = np.arange(features.shape[1])
    low, high = edges[..., :-1, None], edges[..., 1:, None]
    shares = np.clip(np.minimum(high, columns + 1) - np.maximum(low, columns), 0, None)
    return np.einsum("rybw,ywc->rybc", shares, features) / (high - low)


class TestInterpretationGraph:
    def test_has_an_arc_for_each_region_and_class(self, segmentations: list[Segmentation]) -> None:
        found = segmentations[2]
        energies = torch.arange(len(found.arcs) * len(CLASSES), dtype=torch.float32).view(-1, len(CLASSES))
        graph = interpretation_graph(found.graph, energies, classes=CLASSES)
        assert graph.input_symbols == graph.output_symbols == CLASSES
        arcs = zip(
            graph.source, graph.destination, graph.input_labels, graph.attributes["region"], graph.energies,
            strict=True,
        )  # fmt: skip
        expected = [
            (source, destination, label, region, energies[region, label])
            for region, (source, destination) in enumerate(found.arcs)
            for label in range(len(CLASSES))
        ]
        assert list(arcs) == expected
        assert graph.is_acceptor
        assert graph.initial.tolist() == [0.0] + [torch.inf] * (graph.states - 1)
        assert graph.final.tolist() == [torch.inf] * (graph.states - 1) + [0.0]

    def test_is_one_for_each_image_of_a_batch(self, segmentations: list[Segmentation]) -> None:
        net = network().eval()
        with torch.inference_mode():
            evidence = net(segmentations)
        graphs, energies = recognise_regions(evidence), evidence.regions
        assert torch.equal(torch.cat([graph.energies for graph in graphs]).view_as(energies), energies)
        for graph, found in zip(graphs, segmentations, strict=True):
            path = best_path(graph)
            assert path is not None
            source, destination = found.arcs[graph.attributes["region"][torch.from_numpy(path.arcs)]].T
            assert source.tolist() == [0, *destination[:-1]]
            assert destination[-1] == found.arcs.max()
