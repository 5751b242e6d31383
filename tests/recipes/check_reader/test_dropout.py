from dataclasses import replace

import numpy as np
import torch

from recipes.check_reader.dropout import ImageDropout
from tests.recipes.check_reader.small import SEGMENTATION

ONE, OTHER = SEGMENTATION, replace(SEGMENTATION, ink=np.full((48, 30), 0.5, np.float32))


def test_leaves_out_a_share_of_the_channels_and_scales_up_the_others() -> None:
    factors = ImageDropout(0.25, place=0)([ONE], 100_000)
    assert set(factors.unique().tolist()) == {0.0, torch.tensor(4 / 3).item()}
    assert abs((factors == 0).float().mean() - 0.25) < 0.01


def test_depends_on_the_image_and_the_place_alone() -> None:
    dropout = ImageDropout(0.5, place=0)
    both = dropout([ONE, OTHER], 64)
    assert torch.equal(both, dropout([OTHER, ONE], 64).flip(0))
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(both, ImageDropout(0.5, place=1)([ONE, OTHER], 64))


def test_changes_nothing_outside_training() -> None:
    assert torch.equal(ImageDropout(0.5, place=0).eval()([ONE], 8), torch.ones(1, 8))
