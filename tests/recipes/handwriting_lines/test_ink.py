import numpy as np
import pytest

from gtn_ebm import DataError
from recipes.handwriting_lines.ink import HEIGHT, ink_of
from tests.recipes.handwriting_lines.small import written


@pytest.mark.parametrize("rows", [48, 96, 192])
def test_ink_has_one_height_whatever_the_image_has(rows: int) -> None:
    ink = ink_of(written("ab", rows))
    assert ink.shape == (HEIGHT, 48)
    assert ink.dtype == np.uint8
    assert (ink.min(), ink.max()) == (0, 255)


def test_grey_paper_and_pale_ink_are_the_same_as_white_and_black() -> None:
    image = written("ab")
    pale = (image // 255 * 90 + 100).astype(np.uint8)
    np.testing.assert_allclose(ink_of(pale).astype(int), ink_of(image), atol=2)


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (np.full((48, 100), 255, np.uint8), "no ink"),
        (np.zeros((0, 5), np.uint8), "grey image"),
        (np.zeros((48, 100, 3), np.uint8), "grey image"),
        (np.zeros((48, 100)), "grey image"),
        (np.zeros((2, 10_000), np.uint8), "too long for one line"),
    ],
)
def test_what_is_no_line_is_refused(image: np.ndarray, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        ink_of(image)


def test_a_letter_alone_on_a_long_line_is_ink() -> None:
    image = np.full((48, 4000), 255, np.uint8)
    image[:, :24] = written("b")
    assert ink_of(image).max() == 255


def test_a_line_of_10000_columns_is_one() -> None:
    image = np.tile(written("ab"), (1, 210))[:, :10_000]
    assert ink_of(image).shape == (HEIGHT, 10_000)
