"""A letter lexicon: determinization, minimization and epsilon removal beside OpenFst (pynini), in one process.

The lexicon reads the letters of a word and writes the word, each word on a path of its own; the words are made
up of syllables, so that they share beginnings and ends as real ones do.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm import EPSILON, Graph, Structure, Symbols

CONSONANTS, VOWELS = "bcdfghjklmnprstvwz", "aeiou"
SYLLABLES = [consonant + vowel for consonant in CONSONANTS for vowel in VOWELS]
LETTERS = Symbols(sorted(CONSONANTS + VOWELS))


def letter_lexicon(words: int, epsilons: bool) -> Graph:
    """The transducer from letters to words; a word's energy grows with the logarithm of its rank.

    A word is written with its first letter. With ``epsilons`` an arc that reads and writes nothing stands
    before each word, between its syllables and after it, and the words share no state but the first and last.
    """
    syllables = _made_up(words)
    source: list[int] = []
    destination: list[int] = []
    read: list[int] = []
    first_arcs: list[int] = []
    state = 2  # 0 is where all words begin, 1 where they end
    for word in syllables:
        labels = _labels(word, epsilons)
        inside = range(state, state + len(labels) - 1)
        state = inside.stop
        source += [0, *inside]
        destination += [*inside, 1]
        # Written by the first arc that reads a letter.
        first_arcs.append(len(read) + int(epsilons))
        read += labels
    written = np.full(len(read), EPSILON)
    written[first_arcs] = np.arange(words)
    energies = torch.zeros(len(read))
    energies[first_arcs] = torch.arange(2.0, words + 2).log()
    return Graph(
        Structure(source, destination, read, written),
        energies,
        initial=[0],
        final=[1],
        input_symbols=LETTERS,
        output_symbols=Symbols("".join(word) for word in syllables),
    )


def _labels(syllables: tuple[str, ...], epsilons: bool) -> list[int]:
    """The letters of a word, with epsilons around its syllables where wanted."""
    if not epsilons:
        return LETTERS.labels("".join(syllables))
    return [EPSILON, *(label for part in syllables for label in (*LETTERS.labels(part), EPSILON))]


def _made_up(words: int) -> list[tuple[str, ...]]:
    """Different words of two to four syllables."""
    rng = np.random.default_rng(0)
    found: dict[tuple[str, ...], None] = {}
    while len(found) < words:
        chosen: NDArray[np.int64] = rng.integers(0, len(SYLLABLES), rng.choice([2, 3, 4], p=[0.3, 0.5, 0.2]))
        found[tuple(SYLLABLES[k] for k in chosen)] = None
    return list(found)
