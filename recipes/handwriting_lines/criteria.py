"""What training minimises, by name, and how what it has taught is read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gtn_ebm import EPSILON, DataError, Graph, GraphBuilder, Symbols, compose, relabel
from gtn_ebm.dense import (
    ASGLoss,
    best_path,
    ctc_loss,
    forced_align,
    free_energy,
    star_emissions,
    topologies,
)

BLANK = "<blank>"
"""Name of the class that is no character."""

AGAIN = "<again>"
"""Name of the class that is the character before once more, where there is no blank to part the two."""

LONGEST_PIECE = 4
"""Characters of a word piece."""

MOST_PIECES = 100
"""Of more than one character."""

LEAST_OCCURRENCES = 5
"""Of a piece of more than one character in the texts to learn from."""


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
        characters: those of the vocabulary.
        blank: the class of no character; None where each frame has one.
    """

    classes: Symbols
    blank: int | None = 0

    def __init__(self, vocabulary: Sequence[str]):
        super().__init__()
        self.vocabulary = tuple(vocabulary)
        self.characters = Symbols(sorted(set().union(*vocabulary)))

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

    def topology(self) -> Graph:
        """The sequences of classes, and the ``characters`` that they write."""
        raise NotImplementedError

    @torch.no_grad()
    def text_energy(self, energies: Tensor, text: str) -> float:
        """−log of the posterior of a text that it can write, given energies [T, C]."""
        return float(self(-energies[None], [len(energies)], [text]))


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
        log_probs = -self.energies(scores).cpu().transpose(0, 1)  # a walk from frame to frame
        return ctc_loss(log_probs, flat, list(lengths), [len(target) for target in targets], reduction="none")

    def greedy(self, energies: Tensor) -> list[Piece]:
        """The best path's characters."""
        return _collapsed(energies, self.classes)

    def align(self, energies: Tensor, text: str) -> list[Piece]:
        """The characters on the best path that writes the text."""
        any_character = len(self.classes)  # the star beside the blank
        labels = [self.classes.label(c) if c in self.classes else any_character for c in text]
        (alignment,) = forced_align(star_emissions(energies)[None], None, [labels])
        spans = zip(text, alignment.spans, strict=True)
        return [Piece(character, span.start, span.end) for character, span in spans]

    def topology(self) -> Graph:
        """``topologies.correct_ctc``."""
        names = {label: self.characters.label(name) for label, name in enumerate(self.classes) if label}
        graph = topologies.correct_ctc(len(self.classes))
        return relabel(graph, output_labels=names).with_symbols(self.classes, self.characters)


def _collapsed(energies: Tensor, classes: Symbols) -> list[Piece]:
    """Runs of the best class of each frame, but for those of the blank, 0."""
    labels, runs = torch.unique_consecutive(energies.argmin(-1), return_counts=True)
    spans = zip(labels.tolist(), runs.tolist(), runs.cumsum(0).tolist(), strict=True)
    return [Piece(classes.name(label), end - run, end) for label, run, end in spans if label != 0]


class ASG(Criterion):
    """Auto segmentation: each frame is some character's, and pairs of classes in a row have learnt energies.

    A class for each character and one for the character before once more, as equal ones in a row could not be
    told apart.

    Source: Collobert, Puhrsch and Synnaeve, "Wav2Letter: an end-to-end ConvNet-based speech recognition
    system" (2016).
    """

    blank = None

    def __init__(self, vocabulary: Sequence[str]):
        super().__init__(vocabulary)
        self.classes = Symbols([*vocabulary, AGAIN])
        self.loss = ASGLoss(len(self.classes), reduction="none")

    def energies(self, scores: Tensor) -> Tensor:
        """The scores with another sign; they are normalised over whole lines only."""
        return -scores.float()

    def forward(self, scores: Tensor, lengths: Sequence[int], texts: Sequence[str]) -> Tensor:
        """−log p(text) of each line."""
        targets = [self.classes.labels(_spelt(text)) for text in texts]
        losses: Tensor = self.loss(self.energies(scores), torch.tensor(lengths), targets)
        return losses

    def greedy(self, energies: Tensor) -> list[Piece]:
        """The best path's characters."""
        (path,) = best_path(energies[None], None, topologies.asg(self.loss.transitions.detach()))
        pieces: list[Piece] = []
        frame = 0
        for label, run in groupby(path.input_labels if path is not None else ()):
            start, frame = frame, frame + sum(1 for _ in run)
            name = self.classes.name(label)
            if name == AGAIN:  # at the very beginning it repeats nothing
                name = pieces[-1].text if pieces else ""
            pieces.append(Piece(name, start, frame))
        return pieces

    def align(self, energies: Tensor, text: str) -> list[Piece]:
        """The characters on the best path that writes the text."""
        any_class = len(self.classes)
        labels = [self.classes.label(name) if name in self.classes else any_class for name in _spelt(text)]
        transitions = nn.functional.pad(self.loss.transitions.detach(), (0, 1, 0, 1))
        target = compose(topologies.asg(transitions), Graph.linear(labels))
        wide = torch.cat([energies, energies.amin(-1, keepdim=True)], -1)
        (alignment,) = forced_align(wide[None], None, [target], blank=None)
        spans = zip(text, alignment.spans, strict=True)
        return [Piece(character, span.start, span.end) for character, span in spans]

    def topology(self) -> Graph:
        """``topologies.asg`` ∘ what "again" stands for."""
        again, build = self.classes.label(AGAIN), GraphBuilder(torch.float32)
        start = build.state(initial=0.0, final=0.0)
        after = [build.state(final=0.0) for _ in self.vocabulary]
        for label, name in enumerate(self.vocabulary):
            character = self.characters.label(name)
            for state in (start, *after):
                build.arc(state, after[label], label, character)
            build.arc(after[label], after[label], again, character)
        classes = topologies.asg(self.loss.transitions.detach())
        return compose(classes, build.graph()).with_symbols(self.classes, self.characters)


def _spelt(text: str) -> list[str]:
    """With every second of equal characters in a row as "again".

    >>> _spelt("annnus")
    ['a', 'n', '<again>', 'n', 'u', 's']
    """
    spelt: list[str] = []
    for character in text:
        spelt.append(AGAIN if spelt and spelt[-1] == character else character)
    return spelt


class WordPieces(Criterion):
    """Connectionist temporal classification of word pieces, marginalised over all ways to make the text of
    them.

    A class for each piece and one, 0, for none. Which pieces a text is made of is a path of a graph as any
    other: the text ∘ a transducer from characters to pieces, behind the topology.

    Source: Hannun, Pratap, Kahn and Hsu, "Differentiable weighted finite-state transducers" (2020), section
    4.1.
    """

    def __init__(self, vocabulary: Sequence[str]):
        super().__init__(vocabulary)
        self.classes = Symbols([BLANK, *vocabulary])

    @classmethod
    def vocabulary_of(cls, texts: Sequence[str]) -> list[str]:
        """All characters, and of the longer pieces within words those that spare most characters."""
        words = Counter(word for text in texts for word in text.split())
        counts: Counter[str] = Counter()
        for word, times in words.items():
            for start in range(len(word)):
                for end in range(start + 2, min(len(word), start + LONGEST_PIECE) + 1):
                    counts[word[start:end]] += times
        frequent = [piece for piece, times in counts.items() if times >= LEAST_OCCURRENCES]
        frequent.sort(key=lambda piece: (-counts[piece] * (len(piece) - 1), piece))
        return [*super().vocabulary_of(texts), *frequent[:MOST_PIECES]]

    def energies(self, scores: Tensor) -> Tensor:
        """−log p of the classes at a frame."""
        return -scores.float().log_softmax(-1)

    def forward(self, scores: Tensor, lengths: Sequence[int], texts: Sequence[str]) -> Tensor:
        """−log p(text) of each line."""
        targets = compose(self._classes, [self._pieces_of(text) for text in texts]) if texts else []
        return free_energy(self.energies(scores), torch.tensor(lengths), targets)

    def greedy(self, energies: Tensor) -> list[Piece]:
        """The best path's pieces."""
        return _collapsed(energies, self.classes)

    def align(self, energies: Tensor, text: str) -> list[Piece]:
        """The pieces on the best path that writes the text."""
        with_any = len(self.classes) + 1
        target = compose(topologies.correct_ctc(with_any), self._pieces_of(text))
        (alignment,) = forced_align(star_emissions(energies)[None, :, :with_any], None, [target])
        found, place = [], 0
        for span in alignment.spans:
            length = len(self.vocabulary[span.label - 1]) if span.label < len(self.classes) else 1
            found.append(Piece(text[place : place + length], span.start, span.end))
            place += length
        return found

    def topology(self) -> Graph:
        """``topologies.correct_ctc`` ∘ the transducer from pieces to characters."""
        build = GraphBuilder(torch.float32)
        between = build.state(initial=0.0, final=0.0)
        for label, piece in enumerate(self.vocabulary, 1):
            state, read = between, label
            for place, character in enumerate(piece, 1):
                target = between if place == len(piece) else build.state()
                build.arc(state, target, read, self.characters.label(character))
                state, read = target, EPSILON
        return compose(self._classes, build.graph()).with_symbols(self.classes, self.characters)

    @cached_property
    def _classes(self) -> Graph:
        return topologies.correct_ctc(len(self.classes))

    def _pieces_of(self, text: str) -> Graph:
        """The sequences of pieces that make a text; a character that is none has a class of its own."""
        build = GraphBuilder(torch.float32)
        last = len(text)
        for place in range(last + 1):
            build.state(0.0 if place == 0 else math.inf, 0.0 if place == last else math.inf)
        for start, character in enumerate(text):
            if character not in self.classes:
                build.arc(start, start + 1, len(self.classes))
            for end in range(start + 1, min(last, start + LONGEST_PIECE) + 1):
                if text[start:end] in self.classes:
                    build.arc(start, end, self.classes.label(text[start:end]))
        return build.graph()


CRITERIA: dict[str, type[Criterion]] = {"ctc": CTC, "asg": ASG, "pieces": WordPieces}
"""Every criterion by its name."""


def by_name(name: str) -> type[Criterion]:
    """The criterion of that name; DataError where there is none, listing all."""
    if name not in CRITERIA:
        raise DataError(f"no criterion {name!r}; there are {', '.join(CRITERIA)}")
    return CRITERIA[name]
