"""The energies of sounds: how well each frame of a recording fits each state of each phone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gtn_ebm import DataError, Graph, Structure
from gtn_ebm.dense import topologies
from recipes import models
from recipes.speech_alignment import audio, features
from recipes.speech_alignment.audio import Samples
from recipes.speech_alignment.features import FEATURES, VIEWS
from recipes.speech_alignment.gaussians import Gaussians, log_sum
from recipes.speech_alignment.transcript import SILENCE, STAR

FORMAT = "gtn_ebm speech alignment 5"
"""What ``model.json`` says that it is."""

MOST_COMPONENTS = 256
"""Of a model to be read."""

STATES = 3
"""Of each unit, passed from left to right."""

SCALE = 0.1 / len(VIEWS)
"""Of log likelihoods: neighbouring frames and views tell nearly the same, and would count many times."""

STAY = 0.87
"""The probability of another frame in a state, to begin with."""

STAY_IN_STAR = 0.95

LOOKED_AT = 50
"""Frames of a recording that say whether it is noisy."""


class AcousticModel(nn.Module):
    """Energies of frames: SCALE · −log p(frame | state), from mixtures of Gaussians.

    Class STATES · u + k is state k of unit u; the last unit is STAR, any sound at all. There are two sets of
    mixtures, for recordings such as those of the corpus and for such with more noise.

    Args:
        phones: that words are made of.
        rate: samples a second of the sounds that it hears.
        components: Gaussians in a mixture.
    """

    stay: Tensor
    log_prior: Tensor

    def __init__(self, phones: Sequence[str], rate: int, components: int = 1):
        super().__init__()
        self.phones, self.rate = list(phones), rate
        self.gaussians = Gaussians(self.classes, FEATURES, components)
        self.noisy = Gaussians(self.classes, FEATURES, components)
        self.register_buffer("stay", torch.full((self.classes,), STAY))
        self.register_buffer("log_prior", torch.full((self.classes,), -math.log(self.classes)))

    @property
    def units(self) -> list[str]:
        """The phones, SILENCE and STAR."""
        return [*self.phones, SILENCE, STAR]

    @property
    def classes(self) -> int:
        """States of phones and silence, without those of STAR."""
        return STATES * (len(self.phones) + 1)

    def features(self, samples: Samples, rate: int) -> Tensor:
        """What the Gaussians see, [T, D]: see ``features.seen``."""
        return features.seen(torch.from_numpy(audio.resampled(samples, rate, self.rate)), self.rate)

    def emissions(self, samples: Samples, rate: int) -> Tensor:
        """Energies of samples [N] at this rate, [T, C], a frame every ``features.HOP`` seconds."""
        with torch.no_grad():
            frames = self.features(samples, rate)
            return self.energies(frames, self.likelier(frames))

    def likelier(self, frames: Tensor) -> Gaussians:
        """The set of mixtures under which a recording's features [T, D] are likelier, by some of them."""
        some = frames[:: max(1, len(frames) // LOOKED_AT)]
        return max(
            self.gaussians,
            self.noisy,
            key=lambda each: float(log_sum(self.log_prior - each(some), 1).sum()),
        )

    def energies(self, frames: Tensor, gaussians: Gaussians | None = None) -> Tensor:
        """Energies of features [T, D] by one of the sets of mixtures, that of the corpus if None, [T, C]."""
        negative = (gaussians or self.gaussians)(frames)
        phones = slice(0, STATES * len(self.phones))
        mixed = log_sum(self.log_prior[phones] - negative[:, phones], 1)[:, None]
        return SCALE * torch.cat([negative, (-mixed).expand(-1, STATES)], 1)

    def topology(self) -> Graph:
        """The hidden Markov models of all units: reads classes, writes units."""
        graph = topologies.hmm(len(self.units), STATES)
        return graph.with_energies(self.transitions(self.stay))

    def row(self, units: Sequence[int]) -> tuple[Tensor, Graph]:
        """The hidden Markov models of N units alone, one after the other: the class of each of their states,
        [STATES · N], and a graph that reads the places of these."""
        classes = (STATES * torch.tensor(units)[:, None] + torch.arange(STATES)).flatten()
        places = np.arange(len(classes))
        structure = Structure(
            np.concatenate([places, places + 1]), np.concatenate([places + 1, places + 1]), np.tile(places, 2)
        )
        stay = _with_star(self.stay)[classes]
        leave = -(1 - stay).log()
        enter = torch.cat([leave.new_zeros(1), leave[:-1]])
        final = torch.full((len(classes) + 1,), math.inf)
        final[-1] = leave[-1]
        return classes, Graph(structure, torch.cat([enter, -stay.log()]), final=final)

    def transitions(self, stay: Tensor) -> Tensor:
        """The energies of the arcs of ``topologies.hmm``, from probabilities of staying, [C]."""
        stay = _with_star(stay)
        leave = -(1 - stay).log().unflatten(0, (-1, STATES))
        return torch.cat(
            [stay.new_zeros(len(self.units)), -stay.log(), leave[:, :-1].flatten(), leave[:, -1]]
        )

    def save(self, folder: Path) -> None:
        """Writes model.json and model.safetensors."""
        components = self.gaussians.log_weights.shape[1]
        description = {"format": FORMAT, "phones": self.phones, "rate": self.rate, "components": components}
        models.write(folder, description, self)

    @classmethod
    def load(cls, folder: Path) -> AcousticModel:
        """Reads what ``save`` wrote.

        Raises:
            DataError: it is not there, or something else.
        """
        description = models.read_description(folder, FORMAT)
        phones, rate, components = (description.get(name) for name in ("phones", "rate", "components"))
        if not isinstance(phones, list) or not all(isinstance(phone, str) for phone in phones):
            raise DataError(f"{folder / models.DESCRIPTION}: the phones are no list of strings")
        if len({*phones, SILENCE, STAR}) < len(phones) + 2:
            raise DataError(f"{folder / models.DESCRIPTION}: two units have one name, among {phones!r:.80}")
        if type(rate) is not int or rate < 1 or rate % round(1 / features.HOP):
            raise DataError(
                f"{folder / models.DESCRIPTION}: the rate is {rate!r:.80}, not a number above 0 of which "
                f"{1000 * features.HOP:g} ms are whole samples"
            )
        if type(components) is not int or not 1 <= components <= MOST_COMPONENTS:
            raise DataError(
                f"{folder / models.DESCRIPTION}: components are {components!r:.80}, not a number from 1 to "
                f"{MOST_COMPONENTS}"
            )
        model = cls(phones, rate, components)
        model.load_state_dict(models.read_weights(folder, model))
        return model


def _with_star(stay: Tensor) -> Tensor:
    return torch.cat([stay, stay.new_full((STATES,), STAY_IN_STAR)])
