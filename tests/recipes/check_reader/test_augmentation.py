import numpy as np
import pytest

from recipes.check_reader.augmentation import augment
from recipes.check_reader.segmentation import segment
from recipes.check_reader.synthetic import SyntheticAmount


def varied(image: np.ndarray, seed: int) -> np.ndarray:
    return augment(image, np.random.default_rng(seed))


class TestAugmentation:
    def test_depends_on_the_random_numbers_alone(self, twelve: list[SyntheticAmount]) -> None:
        image = twelve[0].image
        before = image.copy()
        np.testing.assert_array_equal(varied(image, 1), varied(image, 1))
        assert len({varied(image, seed).tobytes() for seed in range(8)}) == 8
        np.testing.assert_array_equal(image, before)

    def test_keeps_amounts_legible(self, twelve: list[SyntheticAmount]) -> None:
        """The ink stays, about as much of it, and in about as many pieces."""
        ratios = []
        for seed, amount in enumerate(twelve * 3):
            image = varied(amount.image, seed)
            assert image.dtype == np.uint8
            assert image.ndim == 2
            ratios.append(len(segment(image).left) / len(segment(amount.image).left))
        assert 0.8 < np.median(ratios) < 1.25
        assert min(ratios) > 0.3
        assert max(ratios) < 3

    @pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (16, 16), (512, 4096)])
    def test_of_any_size(self, shape: tuple[int, int]) -> None:
        image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
        found = varied(image, 0)
        assert min(found.shape) >= 16
        assert found.dtype == np.uint8
