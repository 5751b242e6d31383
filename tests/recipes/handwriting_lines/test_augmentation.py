import numpy as np
import pytest

from recipes.handwriting_lines.augmentation import augment
from recipes.handwriting_lines.ink import HEIGHT, ink_of
from tests.recipes.handwriting_lines.small import written


def test_a_variation_depends_on_the_generator_alone() -> None:
    ink = ink_of(written("ab ab"), 64)
    kept = ink.copy()
    first, again, other = (augment(ink, HEIGHT, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()
    np.testing.assert_array_equal(ink, kept)


@pytest.mark.parametrize("seed", range(30))
def test_a_variation_has_the_height_asked_for_and_about_as_much_ink(seed: int) -> None:
    ink = ink_of(written("abab ab aabb"), 64)
    varied = augment(ink, HEIGHT, np.random.default_rng(seed))
    assert varied.dtype == np.uint8
    assert varied.shape[0] == HEIGHT
    assert 0.6 < varied.shape[1] / (ink.shape[1] * HEIGHT / 64) < 1.6
    assert 0.3 < varied.mean() / ink.mean() < 2
