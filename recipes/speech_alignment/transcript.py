"""What may have been said, as a graph over phones: the words of a text, and what speakers make of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from gtn_ebm import EPSILON, DataError, Graph, GraphBuilder
from recipes.speech_alignment.lexicon import Lexicon, Pronunciation
from recipes.speech_alignment.readings import readings

SILENCE = "sil"
STAR = "*"
"""Any sound."""

FILLERS = ("uh", "um", "er", "erm", "hm", "hmm", "mm")
"""Words that are allowed between others where the lexicon has them."""

MOST_PRONUNCIATIONS = 24


class Word(NamedTuple):
    """A word as the text writes it, and the ways to say it; none where nobody knows."""

    label: str
    pronunciations: tuple[Pronunciation, ...]


class Prices(NamedTuple):
    """Energies of what a text does not say; +inf where it is not allowed.

    Attributes:
        silence: between words; at the ends it costs nothing.
        inserted: any sound between words.
        wrong: any sound in a word's place.
        skipped: nothing in a word's place.
        repeated: going back by one or two words.
        filler: one of FILLERS between words.
    """

    silence: float
    inserted: float = math.inf
    wrong: float = math.inf
    skipped: float = math.inf
    repeated: float = math.inf
    filler: float = math.inf


class Token(NamedTuple):
    """What an arc of a transcript's graph stands for.

    Attributes:
        kind: "word", "repeated", where a word begins again, "silence", "inserted", "wrong" or "filler".
        word: its number in the text; of the others the number of the word after it.
        unit: the phone, SILENCE or STAR.
    """

    kind: str
    word: int
    unit: str


class Transcript(NamedTuple):
    """The graph reads units, by their numbers, and writes the numbers of tokens."""

    words: list[Word]
    graph: Graph
    tokens: list[Token]


def words_of(text: str, lexicon: Lexicon) -> list[Word]:
    """The words of a text, with every pronunciation of every reading; words joined by hyphens apart,
    unless the lexicon has them as one.

    Raises:
        DataError: there is nothing to say in the text, or nothing of it can be said.
    """
    tokens = [part for token in text.split() for part in _parts(token, lexicon)]
    words = [_word(token, lexicon) for token in tokens if readings(token)]
    if not words:
        raise DataError(f"there is no word in the text {text[:60]!r}")
    if not any(word.pronunciations for word in words):
        raise DataError(f"no word of the text {text[:60]!r} can be pronounced; is it in another script?")
    return words


def _parts(token: str, lexicon: Lexicon) -> list[str]:
    parts = token.replace("—", "-").replace("–", "-").split("-")
    known = any(word in lexicon for reading in readings(token) if len(reading) == 1 for word in reading)
    letters = all(part.strip("'.,;:!?\"").replace("'", "").isalpha() for part in parts)
    return parts if len(parts) > 1 and letters and not known else [token]


def _word(token: str, lexicon: Lexicon) -> Word:
    label = token.strip('.,;:!?"“”‘()[]{}…<>') or token
    found: dict[Pronunciation, None] = {}
    ways = readings(token)
    known = [way for way in ways if all(word in lexicon for word in way)]
    for way in known or ways:
        each = [lexicon.pronunciations(word) for word in way]
        for parts in itertools.islice(itertools.product(*each), MOST_PRONUNCIATIONS):
            found[tuple(itertools.chain(*parts))] = None
    return Word(label, tuple(itertools.islice(found, MOST_PRONUNCIATIONS)))


class _Builder:
    """Builds the graph of a transcript from left to right."""

    def __init__(self, units: dict[str, int], prices: Prices, fillers: Sequence[Pronunciation]):
        self.build, self.tokens = GraphBuilder(), list[Token]()
        self.units, self.prices, self.fillers = units, prices, fillers

    def arc(self, source: int, destination: int, token: Token | None, energy: float = 0.0) -> None:
        if energy == math.inf or (token is not None and token.unit not in self.units):
            return
        if token is None:
            self.build.arc(source, destination, EPSILON, EPSILON, energy)
        else:
            self.build.arc(source, destination, self.units[token.unit], len(self.tokens), energy)
            self.tokens.append(token)

    def phones(
        self, source: int, destination: int, kind: str, word: int, phones: Pronunciation, energy: float = 0.0
    ) -> int:
        """Returns the state behind the first phone."""
        states = [source, *(self.build.state() for _ in phones[1:]), destination]
        for place, phone in enumerate(phones):
            token = Token(kind, word, phone)
            self.arc(states[place], states[place + 1], token, 0.0 if place else energy)
        return states[1]

    def gap(self, word: int, start: int, at_end: bool, final: bool = False) -> tuple[int, int]:
        """Silence, and what else may stand before a word; the states where it may begin again, and begin."""
        silence = 0.0 if at_end else self.prices.silence
        spoken, begin = self.build.state(), self.build.state(final=0.0 if final else math.inf)
        self.arc(start, spoken, Token("silence", word, SILENCE), silence)
        self.arc(start, spoken, None)
        self.arc(spoken, begin, None)
        if min(self.prices.inserted, self.prices.filler) < math.inf:
            extra = self.build.state()
            self.arc(spoken, extra, Token("inserted", word, STAR), self.prices.inserted)
            for phones in self.fillers if self.prices.filler < math.inf else ():
                self.phones(spoken, extra, "filler", word, phones, self.prices.filler)
            self.arc(extra, begin, Token("silence", word, SILENCE), silence)
            self.arc(extra, begin, None)
        return spoken, begin


def transcript(
    words: Sequence[Word],
    units: Sequence[str],
    prices: Prices,
    fillers: Sequence[Pronunciation] = (),
    open_end: bool = False,
    open_start: bool = False,
) -> Transcript:
    """The graph of what may have been said.

    Args:
        words: of the text; a pronunciation with phones that are no units is left out.
        units: phones, SILENCE and STAR, in the order of their numbers.
        prices: of what the text does not say.
        fillers: pronunciations of what may be said between words.
        open_end: whether the sound may end behind any word.
        open_start: whether it may begin before any word, which costs as much as one that is skipped.
    """
    numbers = {unit: number for number, unit in enumerate(units)}
    builder = _Builder(numbers, prices, fillers)
    here = builder.build.state(initial=0.0)
    start = here
    afresh: list[list[tuple[int, str]]] = []  # of each word, the states behind first phones, and these
    for number, word in enumerate(words):
        spoken, begin = builder.gap(number, here, at_end=number == 0, final=open_end and number > 0)
        for back in afresh[-2:]:
            for state, phone in back:
                token = Token("repeated", number - afresh[::-1].index(back) - 1, phone)
                builder.arc(spoken, state, token, prices.repeated)
        if number == 0:
            start = begin
        elif open_start:
            builder.arc(start, begin, None, prices.skipped)
        here = builder.build.state()
        sayable = [phones for phones in word.pronunciations if all(phone in numbers for phone in phones)]
        afresh.append(
            [(builder.phones(begin, here, "word", number, phones), phones[0]) for phones in sayable]
        )
        builder.arc(begin, here, Token("wrong", number, STAR), prices.wrong if sayable else 0.0)
        builder.arc(begin, here, None, prices.skipped)
    builder.gap(len(words), here, at_end=True, final=True)
    return Transcript(list(words), builder.build.graph(), builder.tokens)
