"""Pronunciation lexicons, and the transducers from phones to words made of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Graph, GraphBuilder
from gtn_ebm.io.files import File
from gtn_ebm.io.lines import LONGEST_LINE, Lines, real_number
from gtn_ebm.symbols import EPSILON, Symbols


class Pronunciation(NamedTuple):
    """One way to say a word, and its energy, −ln of its probability."""

    word: str
    phones: tuple[str, ...]
    energy: float = 0.0


def read_lexicon(path: File) -> list[Pronunciation]:
    """Reads lines ``word phone phone …`` in their order; a word may have several.

    Raises:
        GraphFormatError: with file and line: a word without phones; a pronunciation given twice.
    """
    return _read(path, lambda fields: Pronunciation(fields[0], tuple(fields[1:])))


def read_lexicon_with_probabilities(path: File) -> list[Pronunciation]:
    """Reads lines ``word probability phone phone …``, each probability above 0 and at most 1.

    Raises:
        GraphFormatError: as ``read_lexicon``; a second column that is no probability.
    """
    return _read(path, _probable)


def _read(path: File, parse: Callable[[list[str]], Pronunciation]) -> list[Pronunciation]:
    lines = Lines(path)
    found: dict[tuple[str, tuple[str, ...]], Pronunciation] = {}
    for number, fields in lines.columns(LONGEST_LINE):
        with lines.at(number):
            pronunciation = parse(fields)
            if not pronunciation.phones:
                raise GraphFormatError(f"the word {fields[0]!r} has no phones")
            if pronunciation[:2] in found:
                raise GraphFormatError(f"the word {fields[0]!r} has these phones already")
            found[pronunciation[:2]] = pronunciation
    return list(found.values())


def _probable(fields: list[str]) -> Pronunciation:
    probability = real_number(fields[1], "a probability") if len(fields) > 1 else 0.0
    if not 0 < probability <= 1:
        raise GraphFormatError(f"{' '.join(fields[:2])!r} should be a word and its probability, up to 1")
    return Pronunciation(fields[0], tuple(fields[2:]), -math.log(probability) + 0.0)


def lexicon_graph(
    lexicon: Sequence[Pronunciation],
    silence: str | None = None,
    silence_probability: float = 0.5,
    loop: str | None = None,
    disambiguate: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Graph:
    """The transducer from the phones of any number of words to the words.

    One state stands between words. From it and back to it leads a path for each pronunciation, which reads
    its phones, one arc each, and writes the word on the first of them, with its energy.

    Determinization needs more than that where words sound alike or one begins as another: as long as the
    words are open, so is what to write. So a pronunciation that several words share, or that is the
    beginning of another, is followed by a disambiguation symbol: ``#1`` for the first word, ``#2`` for the
    next of the same phones, and so on. No pronunciation is then the beginning of another.

    Args:
        lexicon: as ``read_lexicon`` gives it.
        silence: a phone that may stand before the first word and after each; none where omitted. It is
            followed by a disambiguation symbol of its own, one more than all others.
        silence_probability: of silence at each of these places, between 0 and 1.
        loop: a symbol such as "#0", read and written between words: the back-off symbol of a language model.
        disambiguate: whether the disambiguation symbols are put in.
        dtype: of the energies.

    Returns:
        The graph. Its input symbols are the phones in the order of their first use, ``silence``, ``loop``,
        ``#1``, ``#2`` …; its output symbols are the words in the order of their first use, and ``loop``.

    Raises:
        GraphError: a lexicon without words; a word without phones, or given twice with the same; a silence
            probability out of range; a phone or word named like ``loop`` or a disambiguation symbol.

    Source: Mohri, Pereira and Riley, Speech recognition with weighted finite-state transducers, 2008, §3.

    >>> lexicon = [Pronunciation("red", ("r", "eh", "d")), Pronunciation("read", ("r", "eh", "d"))]
    >>> graph = lexicon_graph(lexicon)
    >>> list(graph.input_symbols), list(graph.output_symbols)
    (['r', 'eh', 'd', '#1', '#2'], ['red', 'read'])
    """
    numbers = _disambiguation(lexicon) if disambiguate else [0] * len(lexicon)
    silence_number = max(numbers, default=0) + 1 if disambiguate and silence is not None else 0
    symbols = _tables(lexicon, silence, loop, max([silence_number, *numbers], default=0))
    build = GraphBuilder(dtype, *symbols)
    # Where silence may follow, a word ends in a state that chooses; elsewhere in the one it began in.
    between = build.state(math.inf if silence is not None else 0.0, 0.0)
    after = between
    if silence is not None:
        after = build.state(initial=0.0)
        _add_silence(build, after, between, silence, silence_probability, silence_number)
    for pronunciation, number in zip(lexicon, numbers, strict=True):
        _add_word(build, between, after, pronunciation, number)
    if loop is not None:
        build.arc(between, between, loop, loop)
    return build.graph()


def _add_silence(
    build: GraphBuilder, after: int, between: int, silence: str, probability: float, number: int
) -> None:
    if not 0 < probability < 1:
        raise GraphError(f"the probability of silence is {probability}; it must lie between 0 and 1")
    build.arc(after, between, EPSILON, energy=-math.log1p(-probability))
    target = build.state() if number else between
    build.arc(after, target, silence, EPSILON, energy=-math.log(probability))
    if number:
        build.arc(target, between, f"#{number}", EPSILON)


def _add_word(
    build: GraphBuilder, between: int, after: int, pronunciation: Pronunciation, number: int
) -> None:
    read = [*pronunciation.phones, *([f"#{number}"] if number else [])]
    state = between
    for place, phone in enumerate(read):
        target = after if place == len(read) - 1 else build.state()
        first = place == 0
        build.arc(
            state,
            target,
            phone,
            pronunciation.word if first else EPSILON,
            energy=pronunciation.energy if first else 0.0,
        )
        state = target


def _disambiguation(lexicon: Sequence[Pronunciation]) -> list[int]:
    """The number k of the symbol #k at the end of each pronunciation, 0 for none."""
    alike = Counter(pronunciation.phones for pronunciation in lexicon)
    beginnings = {phones[:length] for phones in alike for length in range(1, len(phones))}
    used: Counter[tuple[str, ...]] = Counter()
    numbers = []
    for _, phones, _ in lexicon:
        used[phones] += 1
        numbers.append(used[phones] if alike[phones] > 1 or phones in beginnings else 0)
    return numbers


def _tables(
    lexicon: Sequence[Pronunciation], silence: str | None, loop: str | None, numbers: int
) -> tuple[Symbols, Symbols]:
    given = Counter(pronunciation[:2] for pronunciation in lexicon)
    wrong = next((word for (word, phones), times in given.items() if not phones or times > 1), None)
    if wrong is not None:
        raise GraphError(f"the word {wrong!r} has no phones, or the same twice")
    if not lexicon:
        raise GraphError("the lexicon has no words")
    phones = dict.fromkeys(phone for pronunciation in lexicon for phone in pronunciation.phones)
    words = dict.fromkeys(pronunciation.word for pronunciation in lexicon)
    if silence is not None:
        phones[silence] = None
    special = [] if loop is None else [loop]
    return (
        Symbols([*phones, *special, *(f"#{number}" for number in range(1, numbers + 1))]),
        Symbols([*words, *special]),
    )
