"""From a network's emissions to text: beam search through a topology and what is likely to be written."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gtn_ebm import EPSILON, Graph, Symbols, compose, dense, free_energy, scale
from gtn_ebm.dense import Decoding
from gtn_ebm.inference import answer_energies

LATTICE_BEAM = 6.0
"""How much worse than the best reading others in a lattice may be."""


class Weights(NamedTuple):
    """How the energies of network and language model are put together.

    Attributes:
        model: factor on those of the language model.
        character: energy of each character; below 0, more of them are read.
    """

    model: float = 0.6
    character: float = -0.6


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
        alphabet: names of the network's classes.
        model: an acceptor of lines, such as ``language_model`` makes; any string where None.
        topology: from classes to characters; that of connectionist temporal classification where None.
        blank: the class of no character.
        weights: of the model.
        beam, max_active: as of ``dense.decode``.

    Raises:
        GraphError: a beam or blank that does not fit.

    >>> decoder = LineDecoder(Symbols(["·", "a", "b"]))
    >>> decoder.answers(-torch.tensor([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1]]).log(), count=2)[0].text
    'a'
    """

    def __init__(
        self,
        alphabet: Symbols,
        model: Graph | None = None,
        topology: Graph | None = None,
        blank: int = 0,
        weights: Weights = Weights(),  # noqa: B008 - immutable
        beam: float = 10.0,
        max_active: int = 2_000,
    ):
        self.alphabet, self.blank = alphabet, blank
        self._beam, self._max_active = beam, max_active
        classes = dense.topologies.correct_ctc(len(alphabet), blank) if topology is None else topology
        classes = classes.detach().with_symbols(None, None)
        if model is None:
            self.graph = classes
        else:
            scaled = _weighted(model.detach().with_symbols(None, None), weights).to(classes.energies)
            self.graph = compose(classes, scaled)
        self.graph = self.graph.with_symbols(None, alphabet).with_arc_maps()

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
            Answer("".join(map(self.alphabet.name, labels)), energy, confidence)
            for labels, energy, confidence in zip(
                strings, energies.tolist(), confidences.tolist(), strict=True
            )
        ]
        return sorted(answers, key=lambda answer: answer.energy)


def _weighted(model: Graph, weights: Weights) -> Graph:
    scaled = scale(model, weights.model)
    reads = torch.from_numpy(scaled.input_labels != EPSILON).to(scaled.energies)
    return scaled.with_energies(scaled.energies + weights.character * reads)
