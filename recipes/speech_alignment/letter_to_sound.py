"""From letters to phones: a joint n-gram model of both, trained from a lexicon, for the words that it lacks.

A word and its pronunciation are cut into *graphones*: a letter with the none, one or two phones that it
stands for. How they are cut is latent. An EM algorithm finds it, on one graph in which the alignments of all
entries stand in a row, so that its posteriors are those of each entry. An n-gram of graphones is then a
transducer from letters to phones, and the pronunciations of a word are the best answers of its composition
with the word, summed over all the ways to cut them.

Source: Bisani and Ney, "Joint-sequence models for grapheme-to-phoneme conversion" (2008), where graphones may
have several letters. With lexicons of some hundred or thousand words single letters were better here: fewer
graphones are left unseen.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm import (
    EPSILON,
    DataError,
    Graph,
    GraphBuilder,
    GraphError,
    Structure,
    Symbols,
    answer_energies,
    best_answers,
    best_path,
    compose,
    free_energy,
    posteriors,
)
from gtn_ebm.dense import ngram
from gtn_ebm.io.files import write_whole

Pronunciation = tuple[str, ...]

ORDER = 5
DISCOUNT = 0.6
"""Of the n-gram."""

MOST_PHONES = 2
"""That a letter may stand for."""

SWEEPS = 10
"""Of the EM algorithm."""

MOST_PREFIXES = 20_000
"""Beginnings of pronunciations that are tried with latent paths summed; beyond that the best paths decide."""


class Graphone(NamedTuple):
    """A letter, and the phones that it stands for in one place of one word."""

    letter: str
    phones: Pronunciation


class LetterToSound:
    """Pronunciations of words by their letters.

    Args:
        cuts: words with their pronunciations, each as a row of graphones.

    Raises:
        DataError: there are none.

    >>> lexicon = {"tap": [("t", "æ", "p")], "pat": [("p", "æ", "t")], "cat": [("k", "æ", "t")]}
    >>> model = LetterToSound.train(lexicon)
    >>> [phones for phones, probability in model("cap", count=1)]
    [('k', 'æ', 'p')]
    """

    def __init__(self, cuts: Sequence[Sequence[Graphone]]):
        if not any(cuts):
            raise DataError("letter-to-sound needs words to learn from")
        self.cuts = [list(cut) for cut in cuts]
        graphones = sorted({graphone for cut in cuts for graphone in cut})
        self.letters = Symbols(sorted({graphone.letter for graphone in graphones}))
        self.phones = Symbols(sorted({phone for graphone in graphones for phone in graphone.phones}))
        number = {graphone: k for k, graphone in enumerate(graphones)}
        grammar = ngram([[number[g] for g in cut] for cut in cuts], ORDER, DISCOUNT, torch.float64)
        written = compose(_of_letters(graphones, self.letters), grammar)
        self.transducer = compose(written, _to_phones(graphones, self.phones)).with_arc_maps()

    @classmethod
    def train(cls, lexicon: Mapping[str, Iterable[Pronunciation]]) -> LetterToSound:
        """Learns from words and their pronunciations.

        Entries of more than MOST_PHONES phones a letter, such as abbreviations, teach nothing.

        Raises:
            DataError: no entry is left.
        """
        entries = [(word.lower(), tuple(phones)) for word, each in lexicon.items() for phones in each]
        return cls(
            _cut([(word, phones) for word, phones in entries if 0 < len(phones) <= MOST_PHONES * len(word)])
        )

    def __call__(self, word: str, count: int = 3) -> list[tuple[Pronunciation, float]]:
        """The most probable pronunciations of a word and their probabilities, best first; ``count`` at most.

        Accents that the lexicon does not have are left out, and so are marks.

        Raises:
            DataError: the word has letters that no word of the lexicon has.
        """
        spelt = Graph.linear(self.letters.labels(self._known(word)), input_symbols=self.letters)
        graph = compose(spelt.to(torch.float64), self.transducer)
        try:
            answers = best_answers(graph, count, max_prefixes=MOST_PREFIXES)
        except GraphError:  # none is likely
            answers = best_answers(graph, count, math.inf)
        strings = [answer.labels for answer in answers if answer.labels]
        probabilities = (
            (free_energy(graph) - answer_energies(graph, strings)).exp().tolist() if strings else []
        )
        return [
            (tuple(map(self.phones.name, string)), min(1.0, probability))
            for string, probability in zip(strings, probabilities, strict=True)
        ]

    def _known(self, word: str) -> str:
        """The word in letters of the lexicon."""
        known = []
        for letter in word.lower():
            parts = letter if letter in self.letters else unicodedata.normalize("NFD", letter)
            known += [part for part in parts if part in self.letters]
            unknown = [part for part in parts if part.isalnum() and part not in self.letters]
            if unknown:
                raise DataError(
                    f"the word {word!r} has a letter {letter!r}, of which the lexicon teaches no sound; "
                    "add the word to the lexicon"
                )
        if not known:
            raise DataError(f"the word {word!r} has no letters; add it to the lexicon")
        return "".join(known)

    def save(self, path: Path) -> None:
        """Writes what the model was counted from, as JSON."""
        content = {"cuts": [[[graphone.letter, *graphone.phones] for graphone in cut] for cut in self.cuts]}
        write_whole(path, json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")

    @classmethod
    def load(cls, path: Path) -> LetterToSound:
        """Reads what ``save`` wrote.

        Raises:
            DataError: the file cannot be read or holds something else.
        """
        try:
            cuts = json.loads(path.read_text(encoding="utf-8"))["cuts"]
            return cls([[Graphone(str(each[0]), tuple(map(str, each[1:]))) for each in cut] for cut in cuts])
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            raise DataError(f"{path}: holds no letter-to-sound model ({error})") from error


def _of_letters(graphones: Sequence[Graphone], letters: Symbols) -> Graph:
    """Reads letters and writes graphones."""
    zeros = np.zeros(len(graphones), np.int32)
    read = letters.labels(graphone.letter for graphone in graphones)
    structure = Structure(zeros, zeros, read, np.arange(len(graphones)), states=1)
    return Graph(structure, torch.zeros(len(graphones), dtype=torch.float64), input_symbols=letters)


def _to_phones(graphones: Sequence[Graphone], phones: Symbols) -> Graph:
    """Reads graphones and writes their phones."""
    build = GraphBuilder(torch.float64, output_symbols=phones)
    between = build.state(initial=0.0, final=0.0)
    for number, graphone in enumerate(graphones):
        here, read = between, number
        for phone in graphone.phones[:-1]:
            then = build.state()
            build.arc(here, then, read, phone)
            here, read = then, EPSILON
        build.arc(here, between, read, graphone.phones[-1] if graphone.phones else EPSILON)
    return build.graph()


def _cut(entries: Sequence[tuple[str, Pronunciation]]) -> list[list[Graphone]]:
    """Each word and pronunciation cut into the likeliest graphones."""
    if not entries:
        raise DataError("letter-to-sound needs words to learn from")
    structure, graphones = _alignments(entries)
    labels = torch.from_numpy(structure.input_labels.astype(np.int64))
    energies = torch.zeros(len(graphones), dtype=torch.float64)
    for _ in range(SWEEPS):
        used = posteriors(Graph(structure, energies[labels])).arcs
        counts = torch.zeros_like(energies).index_add_(0, labels, used)
        energies = -(counts / counts.sum()).log()
    best = best_path(Graph(structure, energies[labels]))
    assert best is not None
    chosen = iter([graphones[label] for label in best.input_labels])
    return [[next(chosen) for _ in word] for word, _ in entries]


def _alignments(entries: Sequence[tuple[str, Pronunciation]]) -> tuple[Structure, list[Graphone]]:
    """The alignments of all entries, in a row, and the graphones that label their arcs.

    In an entry of L letters and P phones state (i, j) is before letter i and phone j, and arcs lead from
    there to (i + 1, j), (i + 1, j + 1), …; (L, P) is the first state of the next entry.
    """
    letters = {
        letter: k for k, letter in enumerate(sorted({letter for word, _ in entries for letter in word}))
    }
    phones = {phone: k + 1 for k, phone in enumerate(sorted({p for _, each in entries for p in each}))}
    arcs: list[NDArray[np.int64]] = []
    begin = 0
    for word, pronunciation in entries:
        spelt = np.array([letters[letter] for letter in word])[:, None]
        spoken = np.array([phones[phone] for phone in pronunciation])
        width = len(spoken) + 1
        for taken in range(min(MOST_PHONES, len(spoken)) + 1):
            place = np.arange(width - taken)
            source = begin + width * np.arange(len(word))[:, None] + place
            code = np.broadcast_to(spelt, source.shape)
            for k in range(MOST_PHONES):
                code = code * (len(phones) + 1) + (spoken[place + k] if k < taken else 0)
            arcs.append(np.stack([source.ravel(), source.ravel() + width + taken, code.ravel()]))
        begin += width * (len(word) + 1) - 1
    source, destination, code = np.concatenate(arcs, axis=1)
    codes, labels = np.unique(code, return_inverse=True)
    structure = Structure(source, destination, labels, states=begin + 1)
    return structure, [_graphone(int(code), list(letters), ["", *phones]) for code in codes]


def _graphone(code: int, letters: list[str], phones: list[str]) -> Graphone:
    found: list[str] = []
    for _ in range(MOST_PHONES):
        code, phone = divmod(code, len(phones))
        found.insert(0, phones[phone])
    return Graphone(letters[code], tuple(filter(None, found)))
