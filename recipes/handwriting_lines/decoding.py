"""From a network's emissions to text: beam search through a topology and what is likely to be written."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gtn_ebm import EPSILON, Graph, GraphError, compose, dense, free_energy, scale
from gtn_ebm.dense import Decoding
from gtn_ebm.inference import answer_energies

LATTICE_BEAM = 6.0
"""How much worse than the best reading others in a lattice may be."""


class Weights(NamedTuple):
    """How the energies of network and language model are put together.

    Attributes:
        model: factor on those of the language model.
        frame: energy of each frame in which no character begins. A language model makes every character dear;
            this makes up for it. (A reward for characters would do the same, with cycles of negative energy.)
    """

    model: float = 0.5
    frame: float = 0.5


class Answer(NamedTuple):
    """What a line may say.

    Attributes:
        text: it.
        energy: the free energy of its ways through the lattice.
        confidence: its posterior among all answers in the lattice, 0 to 1.
    """

    text: str
    energy: float
    confidence: float


class LineDecoder:
    """Beam search of lines through ``topology ∘ model``.

    Args:
        topology: from the network's classes to characters, whose names are its output symbols; such as a
            criterion gives.
        model: an acceptor of lines over these characters, such as ``language_model`` makes; any string where
            None.
        blank: the class of no character, None where there is none such.
        weights: of the model.
        beam, max_active: as of ``dense.decode``.

    Raises:
        GraphError: a topology without names of characters; another beam than ``dense.decode`` takes.

    >>> from recipes.handwriting_lines.criteria import CTC
    >>> decoder = LineDecoder(CTC("ab").topology())
    >>> emissions = -torch.tensor([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1]]).log()
    >>> [(answer.text, round(answer.confidence, 2)) for answer in decoder.answers(emissions, count=2)]
    [('a', 0.66), ('b', 0.15)]
    """

    def __init__(
        self,
        topology: Graph,
        model: Graph | None = None,
        blank: int | None = 0,
        weights: Weights = Weights(),  # noqa: B008 - immutable
        beam: float = 10.0,
        max_active: int = 2_000,
    ):
        if topology.output_symbols is None:
            raise GraphError("a decoder needs a topology whose output symbols are its characters")
        self.characters, self.blank = topology.output_symbols, blank
        self._beam, self._max_active = beam, max_active
        self.graph = topology.detach()
        if model is not None:
            scaled = scale(model.detach(), weights.model).to(self.graph.energies)
            self.graph = compose(_with_dear_frames(self.graph, weights.frame), scaled)

    @torch.no_grad()
    def decode(self, emissions: Tensor) -> Decoding:
        """The best path, when its characters are, and a lattice of others, of emissions [T, C]."""
        (found,) = dense.decode(
            emissions[None], None, self.graph, self._beam, self._max_active, LATTICE_BEAM, self.blank
        )
        return found

    def answers(self, emissions: Tensor, count: int = 1) -> list[Answer]:
        """The best ``count`` answers, best first; fewer where the lattice has no more.

        Which answers are best is told by the best way to write each; their order and confidence, by all ways.
        """
        return self.answers_of(self.decode(emissions), count)

    @torch.no_grad()
    def answers_of(self, found: Decoding, count: int = 1) -> list[Answer]:
        """Of what ``decode`` found."""
        strings = [path.output_labels for path in found.best(count)]
        if not strings:
            return []
        energies = answer_energies(found.lattice, strings)
        confidences = torch.exp(free_energy(found.lattice) - energies).clamp(max=1.0)
        answers = [
            Answer("".join(map(self.characters.name, labels)), energy, confidence)
            for labels, energy, confidence in zip(
                strings, energies.tolist(), confidences.tolist(), strict=True
            )
        ]
        return sorted(answers, key=lambda answer: answer.energy)


def _with_dear_frames(topology: Graph, energy: float) -> Graph:
    silent = (topology.input_labels != EPSILON) & (topology.output_labels == EPSILON)
    return topology.with_energies(topology.energies + energy * torch.from_numpy(silent))
