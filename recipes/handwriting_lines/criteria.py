"""What training minimises, by name, and how what it has taught is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gtn_ebm import DataError, Symbols
from gtn_ebm.dense import ctc_loss, forced_align, star_emissions

BLANK = "<blank>"
"""Name of the class that is no character."""


class Piece(NamedTuple):
    """Characters read in one place.

    Attributes:
        text: one or several.
        start, end: its first frame and one past its last.
    """

    text: str
    start: int
    end: int


class Criterion(nn.Module):
    """What the scores of a network mean, and how far they are from a text.

    Args:
        vocabulary: what it writes, such as characters.

    Attributes:
        vocabulary: the same.
        classes: of the scores of a frame.
    """

    classes: Symbols

    def __init__(self, vocabulary: Sequence[str]):
        super().__init__()
        self.vocabulary = tuple(vocabulary)

    @classmethod
    def vocabulary_of(cls, texts: Sequence[str]) -> list[str]:
        """What it would write to learn from these texts: their characters, in order of code points."""
        return sorted(set().union(*texts))

    def energies(self, scores: Tensor) -> Tensor:
        """Scores [..., C] as energies of frames; lower is better."""
        raise NotImplementedError

    def forward(self, scores: Tensor, lengths: Sequence[int], texts: Sequence[str]) -> Tensor:
        """The loss of each line, [B], from scores [B, T, C]; +inf, and no gradient, where its frames are too
        few for the text."""
        raise NotImplementedError

    def greedy(self, energies: Tensor) -> list[Piece]:
        """What is read in energies [T, C] without any model of language."""
        raise NotImplementedError

    def align(self, energies: Tensor, text: str) -> list[Piece]:
        """Where in energies [T, C] each piece of a text is read. Any character that is none of the
        vocabulary's is read as whatever fits best.

        Raises:
            GraphError: there are too few frames for the text.
        """
        raise NotImplementedError

    def text_energy(self, energies: Tensor, text: str) -> float:
        """−log of the posterior of a text that it can write, given energies [T, C]."""
        raise NotImplementedError


class CTC(Criterion):
    """Connectionist temporal classification: a class for each character and one, 0, for none."""

    def __init__(self, vocabulary: Sequence[str]):
        super().__init__(vocabulary)
        self.classes = Symbols([BLANK, *vocabulary])

    def energies(self, scores: Tensor) -> Tensor:
        """−log p of the classes at a frame."""
        return -scores.float().log_softmax(-1)

    def forward(self, scores: Tensor, lengths: Sequence[int], texts: Sequence[str]) -> Tensor:
        """−log p(text) of each line."""
        targets = [self.classes.labels(text) for text in texts]
        flat = torch.tensor([label for target in targets for label in target], dtype=torch.long)
        log_probs = -self.energies(scores).transpose(0, 1)
        return ctc_loss(log_probs, flat, list(lengths), [len(target) for target in targets], reduction="none")

    def greedy(self, energies: Tensor) -> list[Piece]:
        """The best path's characters."""
        classes, runs = torch.unique_consecutive(energies.argmin(-1), return_counts=True)
        ends = runs.cumsum(0).tolist()
        spans = zip(classes.tolist(), runs.tolist(), ends, strict=True)
        return [Piece(self.classes.name(label), end - run, end) for label, run, end in spans if label != 0]

    def align(self, energies: Tensor, text: str) -> list[Piece]:
        """The characters on the best path that writes the text."""
        any_character = len(self.classes)  # the star beside the blank
        labels = [self.classes.label(c) if c in self.classes else any_character for c in text]
        (alignment,) = forced_align(star_emissions(energies)[None], None, [labels])
        spans = zip(text, alignment.spans, strict=True)
        return [Piece(character, span.start, span.end) for character, span in spans]

    def text_energy(self, energies: Tensor, text: str) -> float:
        """−log p(text)."""
        return float(self(-energies[None], [len(energies)], [text]))


CRITERIA: dict[str, type[Criterion]] = {"ctc": CTC}
"""Every criterion by its name."""


def by_name(name: str) -> type[Criterion]:
    """The criterion of that name; DataError where there is none, listing all."""
    if name not in CRITERIA:
        raise DataError(f"no criterion {name!r}; there are {', '.join(CRITERIA)}")
    return CRITERIA[name]
