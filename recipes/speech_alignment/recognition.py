"""Which words of a few were said: the acoustic model with a grammar in place of a text."""

from __future__ import annotations

from pathlib import Path

import torch

from gtn_ebm import EPSILON, DataError, Graph, GraphBuilder, Symbols, compose
from gtn_ebm.dense import best_path
from recipes.speech_alignment.acoustic_model import AcousticModel
from recipes.speech_alignment.audio import LONG, Samples, rate_and_duration
from recipes.speech_alignment.corpus import Recording, read_text
from recipes.speech_alignment.lexicon import Lexicon
from recipes.speech_alignment.transcript import SILENCE

WORD_PRICE = 3.0
"""Of each word: two short ones fit nearly anything better than a long one."""


def loop(model: AcousticModel, lexicon: Lexicon, words: Symbols) -> Graph:
    """Any number of the words in any order, with silence where there is one: reads units, writes words.

    Raises:
        DataError: nobody knows how to say one of the words, or the model knows none of the ways to.
    """
    build = GraphBuilder()
    between, paused = build.state(initial=0.0, final=0.0), build.state(final=0.0)
    units = {unit: number for number, unit in enumerate(model.units)}
    build.arc(between, paused, units[SILENCE], EPSILON)
    for label, word in enumerate(words):
        ways = lexicon.pronunciations(word)
        sayable = [phones for phones in ways if all(phone in units for phone in phones)]
        if not sayable:
            lack = (
                "the lexicon does not have it" if not ways else "the model has not learnt all of its phones"
            )
            raise DataError(f"the word {word!r} cannot be recognised: {lack}")
        for phones in sayable:
            states = [*(build.state() for _ in phones[1:]), between]
            for source in (between, paused):
                build.arc(source, states[0], units[phones[0]], label, WORD_PRICE)
            for source, destination, phone in zip(states, states[1:], phones[1:], strict=False):
                build.arc(source, destination, units[phone], EPSILON)
    return build.graph()


def read_words(path: Path) -> Symbols:
    """The words of a file, with blanks or line ends between them, each once.

    Raises:
        DataError: it cannot be read, or there are none.
    """
    words = dict.fromkeys(read_text(path).lower().split())
    if not words:
        raise DataError(f"{path}: holds no word")
    return Symbols(words)


def recognise(model: AcousticModel, samples: Samples, grammar: Graph, words: Symbols) -> list[str]:
    """The words along the best path of samples [N] at the model's rate through a grammar like ``loop``."""
    emissions = model.emissions(samples, model.rate)
    with torch.no_grad():
        (path,) = best_path(emissions[None], None, compose(model.topology(), grammar))
    return [] if path is None else [words.name(label) for label in path.output_labels]


def recognise_recording(
    model: AcousticModel, recording: Recording, grammar: Graph, words: Symbols
) -> list[str]:
    """The same of a recording.

    Raises:
        DataError: it cannot be read, or is too long to be looked at as a whole.
    """
    _, duration = rate_and_duration(recording.audio)
    if duration > LONG:
        raise DataError(f"{duration:.0f} s are too long; cut it to recordings of {LONG:.0f} s at most")
    return recognise(model, recording.sound(model.rate).samples, grammar, words)
