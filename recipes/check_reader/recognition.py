"""The recognition transformers, and the network that they share: from segmented images to graphs of what is
seen.

A convolutional trunk sees the whole image once; the features of every candidate region are then read off
running sums along the rows, between the seams that bound the region, so that a region more costs next to
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from gtn_ebm import Graph
from gtn_ebm.transformers import RecognitionTransformer
from recipes.check_reader.displacement import PLACES, DisplacementNetwork
from recipes.check_reader.dropout import ImageDropout
from recipes.check_reader.grammar import CLASSES
from recipes.check_reader.segmentation import HEIGHT, Segmentation

STRIDE = 4
"""Columns of the working image for one column of features."""

ROWS = 6
"""Rows of features."""

BINS = 5
"""Parts into which a region's columns are divided."""


class Evidence(NamedTuple):
    """What the network sees in B images.

    Attributes:
        segmentations: of the images.
        regions: float32 [ΣR, CLASSES], the energies of all regions of all images.
        places: float32 [W, PLACES] for each image, the energies of its places.
    """

    segmentations: Sequence[Segmentation]
    regions: Tensor
    places: list[Tensor]


recognise_regions = RecognitionTransformer(
    lambda evidence: evidence.regions,
    CLASSES,
    segment=lambda evidence: [segmentation.graph for segmentation in evidence.segmentations],
)
"""Evidence → B interpretation graphs, an arc for each region of the segmentation and class."""

recognise_places = RecognitionTransformer(
    lambda evidence: torch.cat(evidence.places),
    PLACES,
    segment=lambda evidence: [Graph.linear(np.arange(len(energies))) for energies in evidence.places],
)
"""Evidence → B graphs of the space displacement network, an arc for each place and class."""


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel of [B, C, H, W].

    Unlike batch normalisation it makes an image's features independent of the batch, of the padding beside
    it, and of how a batch is spread over processes.
    """

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """x + conv(relu(conv(norm(x)))), with x brought to the right size first.

    Args:
        channels_in, channels: of what goes in and what comes out.
        stride: rows and columns that go in for one that comes out.
    """

    def __init__(self, channels_in: int, channels: int, stride: tuple[int, int] = (1, 1)):
        super().__init__()
        same_size = (channels_in, stride) == (channels, (1, 1))
        self.shrink = nn.Identity() if same_size else nn.Conv2d(channels_in, channels, stride, stride)
        self.norm = ChannelNorm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        """[B, C, H, W] → [B, channels, H / stride, W / stride]; ``inside`` as of ``_batch``."""
        x = self.shrink(x)
        inside = inside[..., :: inside.shape[-1] // x.shape[-1]]
        y = functional.relu(self.first(self.norm(x) * inside))
        return x + self.second(y * inside)


class RecognitionNetwork(nn.Module):
    """Gives every region and every place of an image an energy for every class, float32.

    It sees more than the pieces to be classified: the whole image. An image's energies do not depend on the
    images beside it in a batch. While training, layers compute in bfloat16.

    Args:
        channels: of the trunk at each of three sizes.
    """

    def __init__(self, channels: tuple[int, int, int] = (24, 48, 96)):
        super().__init__()
        self.channels = channels
        small, middle, large = channels
        self.stem = nn.Conv2d(1, small, 3, padding=1)
        self.blocks = nn.ModuleList(
            [
                Block(small, middle, (2, 2)),
                Block(middle, large, (2, 2)),
                Block(large, large),
                Block(large, large, (2, 1)),
                Block(large, large),
            ]
        )
        self.norm = ChannelNorm(large)
        self.narrow = nn.Conv2d(large, middle, 1)
        self.style = nn.Linear(middle, 192)
        self.hidden = nn.Linear(middle * ROWS * BINS + 5, 192)
        self.kept = ImageDropout(0.2, place=2)
        self.energies = nn.Linear(192, len(CLASSES))
        self.displacement_block = Block(large, large, (2, 1))
        self.displacement_norm = ChannelNorm(large)
        self.displacement_narrow = nn.Conv2d(large, middle, 1)
        self.apply(_initialise)
        self.displacement = DisplacementNetwork(middle * ROWS)
        with torch.no_grad():
            self.energies.weight.mul_(0.3)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, segmentations: Sequence[Segmentation]) -> Evidence:
        ink, inside = _batch(segmentations)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training):
            features, columns = self._features(ink, inside)
        regions = self._region_energies(features, inside, segmentations)
        places = self.displacement(columns.float(), _feature_columns(segmentations), segmentations)
        return Evidence(segmentations, regions, places)

    def _region_energies(
        self, features: Tensor, inside: Tensor, segmentations: Sequence[Segmentation]
    ) -> Tensor:
        """The energies of all regions of all images, [ΣR, classes]."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training):
            style = self.style(_image_mean(features, inside))
            regions = torch.cat([_pool(features.float(), segmentations), _geometry(segmentations)], 1)
            hidden = self.hidden(regions) + style.index_select(0, _image_of_region(segmentations))
        kept = self.kept(segmentations, hidden.shape[1])
        hidden = functional.relu(hidden.float()) * kept.index_select(0, _image_of_region(segmentations))
        return self.energies(hidden)

    def _features(self, ink: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 1, HEIGHT, W] → features of regions, [B, ROWS, W / STRIDE, C], and of columns,
        [B, W / STRIDE, C · ROWS]."""
        x = functional.relu(self.stem(ink))
        for block in self.blocks[:3]:
            x = block(x, inside)
        columns = self.displacement_block(x, inside)
        for block in self.blocks[3:]:
            x = block(x, inside)
        columns = self.displacement_narrow(functional.relu(self.displacement_norm(columns)))
        return (
            self.narrow(functional.relu(self.norm(x))).permute(0, 2, 3, 1),
            columns.flatten(1, 2).transpose(1, 2),
        )


def _initialise(module: nn.Module) -> None:
    """Weights that keep the scale of what flows through relu (He et al. 2015); torch's default shrinks it."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _batch(segmentations: Sequence[Segmentation]) -> tuple[Tensor, Tensor]:
    """The ink of all images, padded with paper, float32 [B, 1, HEIGHT, W], and whether each column is inside
    its image, 1 or 0, float32 [B, 1, 1, W]; W is a multiple of STRIDE."""
    widths = [STRIDE * columns for columns in _feature_columns(segmentations)]
    ink = np.zeros((len(widths), 1, HEIGHT, max(widths)), np.float32)
    inside = np.zeros((len(widths), 1, 1, max(widths)), np.float32)
    for k, segmentation in enumerate(segmentations):
        ink[k, 0, :, : segmentation.ink.shape[1]] = segmentation.ink
        inside[k, ..., : widths[k]] = 1
    return torch.from_numpy(ink).contiguous(memory_format=torch.channels_last), torch.from_numpy(inside)


def _feature_columns(segmentations: Sequence[Segmentation]) -> list[int]:
    """How many columns of features each image has; the last may lie partly beside it."""
    return [-(-segmentation.ink.shape[1] // STRIDE) for segmentation in segmentations]


def _pool(features: Tensor, segmentations: Sequence[Segmentation]) -> Tensor:
    """The mean features of every region in each row and bin, [ΣR, C · ROWS · BINS]."""
    _, rows, width, channels = features.shape
    sums = functional.pad(features.cumsum(2), (0, 0, 1, 0)).reshape(-1, channels)
    edges = torch.from_numpy(np.concatenate([_bin_edges(segmentation) for segmentation in segmentations]))
    line = (_image_of_region(segmentations)[:, None] * rows + torch.arange(rows)) * (width + 1)
    before = edges.floor().clamp(max=width - 1).long()
    place = line[..., None] + before
    share = (edges - before)[..., None]
    # A running sum of piecewise constant features is linear between the columns.
    at_edges = torch.lerp(
        sums.index_select(0, place.reshape(-1)).view(*place.shape, channels),
        sums.index_select(0, place.reshape(-1) + 1).view(*place.shape, channels),
        share,
    )
    lengths = (edges[..., 1:] - edges[..., :-1]).unsqueeze(-1)
    return (at_edges.diff(dim=2) / lengths).flatten(1)


def _image_mean(features: Tensor, inside: Tensor) -> Tensor:
    """The mean features of each image, [B, C]: how its writer writes."""
    within = inside[:, 0, :, ::STRIDE, None]
    return (features * within).sum((1, 2)) / (within.sum((1, 2)) * ROWS)


def _image_of_region(segmentations: Sequence[Segmentation]) -> Tensor:
    """The number of the image that each region is of, [ΣR]."""
    return torch.repeat_interleave(torch.tensor([len(segmentation.arcs) for segmentation in segmentations]))


def _bin_edges(segmentation: Segmentation) -> NDArray[np.float32]:
    """Where the bins of each region begin and end in each row of features, [R, ROWS, BINS + 1], in columns of
    features."""
    left, right = (
        seams.reshape(len(seams), ROWS, -1).mean(2) / STRIDE
        for seams in (segmentation.left, segmentation.right)
    )
    start, end = left[segmentation.arcs[:, 0]], right[segmentation.arcs[:, 1] - 1]
    end = np.maximum(end, start + 0.25)
    steps = np.linspace(0, 1, BINS + 1, dtype=np.float32)
    edges = start[..., None] + (end - start)[..., None] * steps
    return edges.astype(np.float32)


def _geometry(segmentations: Sequence[Segmentation]) -> Tensor:
    """What pooling hides, [ΣR, 5]: a region's size and height above the baseline, and the atoms in it."""
    boxes = np.concatenate([segmentation.boxes for segmentation in segmentations]) / HEIGHT
    atoms = np.concatenate([np.diff(segmentation.arcs, axis=1) for segmentation in segmentations]) / 8
    x0, y0, x1, y1 = boxes.T
    return torch.from_numpy(np.stack([x1 - x0, y1 - y0, y0, y1, atoms[:, 0]], 1).astype(np.float32))
