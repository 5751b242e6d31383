"""A network for images of lines: convolutions see strokes, recurrent layers read along the line."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.handwriting_lines.ink import HEIGHT

STRIDE = 4
"""Columns of ink a frame."""


class Outputs(NamedTuple):
    """Scores of classes for each frame, ``[B, T, C]`` float32, before any softmax; higher is better.

    Attributes:
        scores: to read by.
        shortcut: of the convolutions alone, which learn faster when they are asked, too.
    """

    scores: Tensor
    shortcut: Tensor


class Block(nn.Module):
    """A residual block of two convolutions, after one that makes the image smaller.

    Args:
        channels_in, channels: of what goes in and what comes out.
        stride: rows and columns that go in for one that comes out.
    """

    def __init__(self, channels_in: int, channels: int, stride: tuple[int, int]):
        super().__init__()
        self.shrink = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.shrink_norm = nn.BatchNorm2d(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` → ``[B, channels, H / stride, W / stride]``."""
        x = functional.relu(self.shrink_norm(self.shrink(x)))
        return x + functional.relu(self.first_norm(self.first(x)))


class FeatureDropout(nn.Module):
    """Leaves out features of a whole line, so that no neighbouring frame gives them away.

    Args:
        share: of features that training leaves out.
    """

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C]`` → the same, without some of the C in each of the B."""
        if not self.training:
            return x
        return x * functional.dropout(x.new_ones(1, *x.shape[1:]), self.share)


class LineNetwork(nn.Module):
    """Gives every frame of a line a score for every class.

    While training, layers compute in bfloat16.

    Args:
        classes: how many it tells apart.
        channels: of the convolutions at each of four sizes.
        hidden: units of the recurrent layers in each direction.
        dropout: share of what enters the recurrent layers and the last one that training leaves out.
    """

    def __init__(
        self,
        classes: int,
        channels: tuple[int, int, int, int] = (24, 64, 96, 128),
        hidden: int = 128,
        dropout: float = 0.3,
    ):
        super().__init__()
        self.classes, self.channels, self.hidden = classes, channels, hidden
        first, second, third, fourth = channels
        self.stem = nn.Conv2d(1, first, 5, 2, padding=2, bias=False)
        self.stem_norm = nn.BatchNorm2d(first)
        self.blocks = nn.Sequential(
            Block(first, second, (2, 2)), Block(second, third, (2, 1)), Block(third, fourth, (2, 1))
        )
        features = fourth * (HEIGHT // 16)
        self.dropout = FeatureDropout(dropout)
        self.recurrent = nn.ModuleList(
            nn.LSTM(size, hidden, bidirectional=True) for size in (features, 2 * hidden)
        )
        self.last = nn.Linear(2 * hidden, classes)
        self.shortcut = nn.Conv1d(features, classes, 3, padding=1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, ink: Tensor) -> Outputs:
        """Ink, 0 to 1, ``[B, HEIGHT, W]`` float32, W a multiple of STRIDE → T = W / STRIDE frames."""
        with torch.autocast(ink.device.type, torch.bfloat16, enabled=self.training):
            x = ink[:, None].contiguous(memory_format=torch.channels_last)
            x = self.blocks(functional.relu(self.stem_norm(self.stem(x))))
            columns = self.dropout(x.permute(3, 0, 1, 2).flatten(2))  # [T, B, features]
            shortcut = self.shortcut(columns.permute(1, 2, 0))
            for layer in self.recurrent:
                columns = self.dropout(layer(columns)[0])
            scores = self.last(columns)
        return Outputs(scores.transpose(0, 1).float(), shortcut.transpose(1, 2).float())
