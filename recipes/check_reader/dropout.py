"""Dropout whose chance comes from the image: the same, however images are spread over batches and processes,
and whenever a training was stopped and started again."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from recipes.check_reader.segmentation import Segmentation


class ImageDropout(nn.Module):
    """Leaves out whole channels of an image's features while training, and scales up the others.

    Tompson et al., "Efficient object localization using convolutional networks" (2015): neighbours in a
    picture say the same, so a channel must go everywhere or not at all.

    Args:
        rate: the share of channels left out.
        place: tells one layer of a network from another, lest they leave out the same.
    """

    def __init__(self, rate: float, place: int):
        super().__init__()
        self.rate, self.place = rate, place

    def forward(self, segmentations: Sequence[Segmentation], channels: int) -> Tensor:
        """The factor of each channel of each image, float32 [B, channels]: 0 or 1 / (1 − rate), or 1 outside
        training."""
        if not self.training:
            return torch.ones(len(segmentations), channels)
        drawn = [
            np.random.default_rng([zlib.crc32(found.ink.tobytes()), self.place]).random(channels)
            for found in segmentations
        ]
        return torch.from_numpy((np.stack(drawn) >= self.rate) / np.float32(1 - self.rate))
