"""What is likely to be written: n-grams of characters, and of the words of a lexicon, as acceptors.

Both read the characters of a line, blanks between words among them, and fit behind a topology of the
network's classes by composition. Both have a path for every string of known characters: a character model by
its uniform bottom, a word model by spelling a word that is not in the lexicon letter by letter.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from gtn_ebm import EPSILON, Graph, GraphBuilder, Symbols, compose, concat, connect, project, relabel, replace
from gtn_ebm.errors import DataError
from gtn_ebm.io import Pronunciation, lexicon_graph

LEVELS = ("character", "word")

SPACE = " "

_NEW = "a new word"  # stands for one that is not in the lexicon; no word has blanks
_START, _END = -2, -3

Gram = tuple[int, ...]


def read_text(path: str | Path) -> list[str]:
    """The lines of a text file that are not empty, their words with one blank between them.

    Raises:
        DataError: it cannot be read as UTF-8, or has no words.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a UTF-8 text ({error}); give one line a line") from error
    texts = [text for line in lines if (text := SPACE.join(line.split()))]
    if not texts:
        raise DataError(f"{path}: has no words to make a language model of")
    return texts


def back_off_ngram(sequences: Iterable[Sequence[int]], order: int, unseen: Sequence[int]) -> Graph:
    """An n-gram with back-off, smoothed by Kneser's and Ney's method, an acceptor with energies −log p.

    p(w | h) = (c(h w) − d) / c(h) + l(h) p(w | h′), where h′ is h without its first label and l(h) what the
    discounts d leave. The counts c of all but the longest n-grams are of the different labels before them.
    Below the unigrams the labels in ``unseen`` are all alike. Arcs are the n-grams seen; an epsilon leads
    from h to h′ with l(h). As that is always less likely than an arc that was seen, the least energy of a
    string is the model's; a sum over its paths is below.

    Args:
        sequences: labels ≥ 0, for training.
        order: n ≥ 1.
        unseen: labels that may come though they never did.

    Source: Chen and Goodman, "An empirical study of smoothing techniques for language modeling" (1999),
    section 3: modified Kneser-Ney, interpolated.

    >>> graph = back_off_ngram([[0, 0, 1]], 1, unseen=[2])
    >>> [round(p, 2) for p in torch.exp(-graph.energies).tolist()]  # 2 − 1 and 1 − 0.5 of 4; 0.5 is the end's
    [0.25, 0.12, 0.5]
    """
    counts = _counts(sequences, order)
    build = GraphBuilder(torch.float32)
    start: Gram = (_START,) if order > 1 else ()
    probabilities, left = _smoothed(counts, unseen)
    state = {}
    for history, of_labels in probabilities.items():
        end = of_labels.get(_END)
        state[history] = build.state(
            0.0 if history == start else math.inf, math.inf if end is None else -math.log(end)
        )
    for history, of_labels in probabilities.items():
        for label, probability in of_labels.items():
            if label != _END:
                target = _longest((*history, label), state, order)
                build.arc(state[history], target, label, energy=-math.log(probability))
        if history:
            build.arc(state[history], state[history[1:]], EPSILON, energy=-math.log(left[history]))
    return connect(build.graph()).with_arc_maps()


def _counts(sequences: Iterable[Sequence[int]], order: int) -> dict[Gram, Counter[int]]:
    """By history: how often what followed the longest, and those that begin a sequence; of others, by how
    many different labels before."""
    counts: dict[Gram, Counter[int]] = defaultdict(Counter)
    for sequence in sequences:
        padded = (_START, *sequence, _END)
        for place in range(1, len(padded)):
            history, label, is_new = padded[max(0, place - order + 1) : place], padded[place], True
            while is_new:
                is_new = label not in counts[history] and bool(history)
                counts[history][label] += 1
                history = history[1:]
    return counts


def _smoothed(
    counts: dict[Gram, Counter[int]], unseen: Sequence[int]
) -> tuple[dict[Gram, dict[int, float]], dict[Gram, float]]:
    """p(w | h) of what was seen, and l(h)."""
    of_length: dict[int, list[int]] = defaultdict(list)
    for history, followers in counts.items():
        of_length[len(history)] += followers.values()
    discounts = {length: _discounts(Counter(values)) for length, values in of_length.items()}
    probabilities: dict[Gram, dict[int, float]] = {}
    left: dict[Gram, float] = {}
    for history in sorted(counts, key=len):
        followers, discount = counts[history], discounts[len(history)]
        total = followers.total()
        held_back = {label: discount[min(count, 3) - 1] for label, count in followers.items()}
        left[history] = sum(held_back.values()) / total
        if history:
            shorter = probabilities[history[1:]]
        else:
            shorter = dict.fromkeys(followers, 0.0) | dict.fromkeys(unseen, 1 / max(1, len(unseen)))
        probabilities[history] = {
            label: (followers[label] - held_back.get(label, 0.0)) / total + left[history] * shorter[label]
            for label in (followers if history else shorter)
        }
    return probabilities, left


def _discounts(times: Counter[int]) -> tuple[float, float, float]:
    """Of counts of 1, 2 and more, from how many counts are 1, 2, 3 and 4; ½, 1 and 3/2 where one is none."""
    if not all(times[count] for count in (1, 2, 3, 4)):
        return 0.5, 1.0, 1.5
    share = times[1] / (times[1] + 2 * times[2])
    once, twice, more = (
        min(max(count - (count + 1) * share * times[count + 1] / times[count], 0.1 * count), 0.9 * count)
        for count in (1, 2, 3)
    )
    return once, twice, more


def _longest(gram: Gram, states: dict[Gram, int], order: int) -> int:
    """The state of the longest end that is a history."""
    gram = gram[max(0, len(gram) - order + 1) :]
    while gram not in states:
        gram = gram[1:]
    return states[gram]


def character_model(texts: Iterable[str], characters: Symbols, order: int = 5) -> Graph:
    """An n-gram of the characters of lines.

    Args:
        texts: lines; characters that are not among the known ones are left out.
        characters: the known ones, whose labels the graph has.
        order: of how many characters, ≥ 1.
    """
    sequences = [_labels(text, characters) for text in texts]
    graph = back_off_ngram(sequences, order, range(len(characters)))
    return graph.with_symbols(characters, characters)


def _labels(text: str, characters: Symbols) -> list[int]:
    return [characters.label(character) for character in text if character in characters]


def word_model(
    texts: Sequence[str],
    characters: Symbols,
    order: int = 2,
    spelling_order: int = 5,
    new: float = 0.0,
) -> Graph:
    """The letters of a lexicon ∘ an n-gram of its words; other words are spelled by an n-gram of characters.

    The lexicon has the words of the texts. A word that is not in it comes as often as the discounts of
    ``back_off_ngram`` leave, and is spelled as the different words of the lexicon are.

    Args:
        texts, characters: as of ``character_model``. Words with unknown characters count as new ones.
        order: of the n-gram of words, ≥ 1.
        spelling_order: of that of characters.
        new: energy of entering a word that is not in the lexicon, besides the model's own.

    Returns:
        An acceptor of lines without a blank at their end.
    """
    lines = [text.split() for text in texts]
    words = dict.fromkeys(word for line in lines for word in line if all(c in characters for c in word))
    letters = Symbols([*dict.fromkeys([*characters, SPACE]), _NEW])
    lexicon = [Pronunciation(word, (*word, SPACE)) for word in words] + [Pronunciation(_NEW, (_NEW,), new)]
    spelled = relabel(lexicon_graph(lexicon, disambiguate=False), letters)
    assert spelled.output_symbols is not None
    table = spelled.output_symbols
    sequences = [[table.label(word if word in words else _NEW) for word in line] for line in lines]
    ngram = back_off_ngram(sequences, order, [table.label(_NEW)]).with_symbols(table, table)
    whole = project(compose(spelled, ngram), "input").with_symbols(None, None)
    whole = replace(whole, {letters.label(_NEW): _new_words(words, characters, spelling_order)})
    return _without_last_blank(connect(whole), letters.label(SPACE)).with_symbols(characters, characters)


def _new_words(words: Iterable[str], characters: Symbols, order: int) -> Graph:
    """Of the characters of one word, whatever it is, and the blank after it."""
    known = [label for label, name in enumerate(characters) if name != SPACE]
    space = characters.label(SPACE) if SPACE in characters else len(characters)
    # Where no word could be learnt from, all are alike.
    sequences = [_labels(word, characters) for word in words] or [[label] for label in known]
    spelling = compose(_one_or_more(known), back_off_ngram(sequences, order, known))
    return concat(spelling, Graph.linear([space]))


def _one_or_more(labels: Sequence[int]) -> Graph:
    build = GraphBuilder(torch.float32)
    first, more = build.state(initial=0.0), build.state(final=0.0)
    for label in labels:
        build.arc(first, more, label)
        build.arc(more, more, label)
    return build.graph()


def _without_last_blank(graph: Graph, space: int) -> Graph:
    """Of lines of words with a blank after each, those without the last one; the empty line as it is."""
    labels = sorted(set(graph.input_labels.tolist()) - {EPSILON})
    build = GraphBuilder(graph.dtype)
    first, within, end = build.state(initial=0.0, final=0.0), build.state(), build.state(final=0.0)
    for label in labels:
        build.arc(first, within, label)
        build.arc(within, within, label)
    build.arc(within, end, EPSILON, space)
    return project(compose(build.graph(), graph), "input").with_arc_maps()
