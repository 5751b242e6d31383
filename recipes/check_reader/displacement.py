"""The space displacement network: reads an amount without cutting it, by what it sees at every place.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition" (1998), section
VII: a recogniser swept along the image gives a graph with an arc for each place and class, and a grammar
makes an amount of it. Here it stands beside the segmentation graph: the two look at the same features, but
err differently, so that their sum is more often right, and surer where it is.

The grammar is that of connectionist temporal classification (Graves et al. 2006): of equal classes at
neighbouring places only the first counts, and BLANK not at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gtn_ebm import EPSILON, Graph, Structure, Symbols, compose, project
from recipes.check_reader.dropout import ImageDropout
from recipes.check_reader.grammar import DIGITS
from recipes.check_reader.segmentation import Segmentation

PLACES = Symbols("0123456789_")
"""What is seen at a place: a digit, or none that begins here."""

BLANK = PLACES.label("_")


class DisplacementNetwork(nn.Module):
    """Energies of PLACES at each column of features; those of a column are of probabilities,
    Σ_c exp(−E_c) = 1.

    Args:
        features: that come in, of each column.
        width: of what a column is narrowed to, and of each direction of the recurrent layer.
    """

    def __init__(self, features: int, width: int = 128):
        super().__init__()
        self.narrow = nn.Linear(features, width)
        self.before = ImageDropout(0.2, place=0)
        self.recurrent = nn.LSTM(width, width, bidirectional=True, batch_first=True)
        self.after = ImageDropout(0.3, place=1)
        self.energies = nn.Linear(2 * width, len(PLACES))

    def forward(
        self, columns: Tensor, widths: Sequence[int], segmentations: Sequence[Segmentation]
    ) -> list[Tensor]:
        """Columns [B, W, features] → [width, PLACES] for each image, whose own are the first ``width``."""
        narrow = functional.relu(self.narrow(columns))
        narrow = narrow * self.before(segmentations, narrow.shape[2])[:, None]
        # Packed, so that the backward direction begins at an image's end and not in the padding.
        packed = nn.utils.rnn.pack_padded_sequence(
            narrow, torch.tensor(widths), batch_first=True, enforce_sorted=False
        )
        seen, _ = nn.utils.rnn.pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)
        seen = seen * self.after(segmentations, seen.shape[2])[:, None]
        energies = -functional.log_softmax(self.energies(seen), 2)
        return [of_image[:width] for of_image, width in zip(energies, widths, strict=True)]


def meanings() -> Graph:
    """The transducer from sequences of PLACES to the digits that they mean.

    State 0 follows BLANK, state 1 + d digit d, which is written on the way there.
    """
    before, seen = np.indices((len(DIGITS) + 1, len(PLACES))).reshape(2, -1)
    after = np.where(seen == BLANK, 0, 1 + seen)
    written = np.where((after == 0) | (after == before), EPSILON, seen)
    structure = Structure(before, after, seen, written, states=len(DIGITS) + 1)
    return Graph(structure, final=range(len(DIGITS) + 1), input_symbols=PLACES, output_symbols=DIGITS)


def spellings(digits: str) -> Graph:
    """The acceptor of all sequences of PLACES that mean ``digits``.

    Raises GraphError for anything but digits.
    """
    return project(compose(meanings(), Graph.linear(DIGITS.labels(digits), input_symbols=DIGITS)), "input")
