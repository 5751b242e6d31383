"""Which words of a few were said: the acoustic model with a grammar in place of a text."""

from __future__ import annotations

import torch

from gtn_ebm import EPSILON, Graph, GraphBuilder, Symbols, compose
from gtn_ebm.dense import best_path
from recipes.speech_alignment.acoustic_model import AcousticModel
from recipes.speech_alignment.audio import Samples
from recipes.speech_alignment.lexicon import Lexicon
from recipes.speech_alignment.transcript import SILENCE

WORD_PRICE = 3.0
"""Of each word: two short ones fit nearly anything better than a long one."""


def loop(model: AcousticModel, lexicon: Lexicon, words: Symbols) -> Graph:
    """Any number of the words in any order, with silence where there is one: reads units, writes words."""
    build = GraphBuilder()
    between, paused = build.state(initial=0.0, final=0.0), build.state(final=0.0)
    units = {unit: number for number, unit in enumerate(model.units)}
    build.arc(between, paused, units[SILENCE], EPSILON)
    for label, word in enumerate(words):
        for phones in lexicon.pronunciations(word):
            if any(phone not in units for phone in phones):
                continue
            states = [*(build.state() for _ in phones[1:]), between]
            for source in (between, paused):
                build.arc(source, states[0], units[phones[0]], label, WORD_PRICE)
            for source, destination, phone in zip(states, states[1:], phones[1:], strict=False):
                build.arc(source, destination, units[phone], EPSILON)
    return build.graph()


def recognise(model: AcousticModel, samples: Samples, grammar: Graph, words: Symbols) -> list[str]:
    """The words along the best path of samples [N] at the model's rate through a grammar, such as ``loop``."""
    emissions = model.emissions(samples, model.rate)
    with torch.no_grad():
        (path,) = best_path(emissions[None], None, compose(model.topology(), grammar))
    return [] if path is None else [words.name(label) for label in path.output_labels]
