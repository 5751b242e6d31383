"""A letter lexicon: determinize, minimize and remove epsilons beside OpenFst (pynini) and rustfst, in one
process.

The lexicon reads the letters of a word and writes the word, each word on a path of its own; the words are
made up of syllables, so that they share beginnings and ends as real ones do. All is done in the tropical
semiring, OpenFst's standard one. Times do not count what both can keep: our index of arcs by label is made,
OpenFst's properties are known. What OpenFst leaves out is counted: arc maps, and what derivatives need.
"""

from functools import partial
from math import inf
from pathlib import Path
from typing import Annotated

import numpy as np
import pynini
import torch
import typer
from numpy.typing import NDArray

from benchmarks.openfst import to_openfst
from benchmarks.rust import to_rustfst
from benchmarks.timing import Contestants, Row, compare, show
from gtn_ebm import EPSILON, Graph, Structure, Symbols, determinize, minimize, remove_epsilons

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


def in_turn(words: int, runs: int) -> list[Row]:
    """Each operation on the lexicon that it is for; times per arc are per arc of what it is given."""
    with_epsilons, without = letter_lexicon(words, True), letter_lexicon(words, False)
    tree = determinize(without, inf)
    # rustfst's removal of epsilons gives back nothing, so it has no place here.
    removing: Contestants = {
        "gtn_ebm": partial(remove_epsilons, with_epsilons, inf),
        "pynini": partial(pynini.rmepsilon, to_openfst(with_epsilons, "standard")),
    }
    determinizing: Contestants = {
        "gtn_ebm": partial(determinize, without, inf),
        "pynini": partial(pynini.determinize, to_openfst(without, "standard")),
        "rustfst": to_rustfst(without).determinize,
    }
    their_tree, tree_in_rust = to_openfst(tree, "standard"), to_rustfst(tree)
    minimizing: Contestants = {
        "gtn_ebm": partial(minimize, tree, inf),
        "pynini": lambda: their_tree.copy().minimize(),
        "rustfst": lambda: tree_in_rust.copy().minimize(),
    }
    return [
        row
        for name, graph, contestants in (
            ("remove epsilons", with_epsilons, removing),
            ("determinize", without, determinizing),
            ("minimize", tree, minimizing),
        )
        for row in compare(f"{name}: {graph.states:,} states", graph.arcs, contestants, runs)
    ]


def main(
    words: Annotated[int, typer.Option(help="Words of the lexicon.")] = 10_000,
    runs: Annotated[int, typer.Option(help="Runs of each contestant.")] = 5,
    json: Annotated[Path | None, typer.Option(help="A file to keep the figures in.")] = None,
) -> None:
    """Operations on a letter lexicon beside OpenFst and rustfst."""
    torch.set_num_threads(1)
    show(f"Letter lexicon of {words:,} words", in_turn(words, runs), json)


if __name__ == "__main__":
    typer.run(main)
