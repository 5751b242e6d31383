"""ARPA files, in which n-gram language models are kept, as acceptors of sentences.

After a line ``\\data\\``, a line ``ngram 1=COUNT`` for each length; then for each length a line
``\\1-grams:`` and a line ``log10(p) word … word [log10(back-off weight)]`` for each n-gram; last
``\\end\\``. Logarithms of −99 or less stand for a probability of 0.

Source: the manual page ngram-format(5) of SRILM.
"""

from __future__ import annotations

import math
import re

import torch

from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Graph, GraphBuilder
from gtn_ebm.io.back_off import BackOffModel, Gram
from gtn_ebm.io.files import File
from gtn_ebm.io.lines import Lines, columns, real_number
from gtn_ebm.symbols import EPSILON, Symbols

_START, _END, _UNKNOWN = "<s>", "</s>", "<unk>"
_LOG_ZERO = -99.0
_LONGEST = 100  # words of an n-gram


def read_arpa(
    path: File,
    symbols: Symbols | None = None,
    back_off: str | None = None,
    threshold: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> Graph:
    """Reads an n-gram model as an acceptor of sentences, without ``<s>`` and ``</s>``.

    The states are the histories h. An arc leads from h to hw, or the longest end of it that is a history,
    with energy −ln p(w | h), for each n-gram of the file; a back-off arc leads from h to h without its first
    word with energy −ln of the back-off weight. The initial state is ``<s>``; final energies are −ln
    p(``</s>`` | h).

    The back-off arcs can be taken wherever they are, not only where an n-gram is missing. So a sentence has
    the path that the model means, with the model's energy, and others that back off too early. Its least
    energy is the model's, exact, wherever no word is likelier through a detour over a shorter history than
    by its n-gram (rare in smoothed models); a sum over its paths is always somewhat below.

    Args:
        path: a text file, or an open binary file.
        symbols: the table of the words; those of the file in its order where omitted. With a table, n-grams
            with other words are left out, and a word that the file does not have is read as ``<unk>``, where
            the file has that, else not at all.
        back_off: the symbol on back-off arcs, such as "#0", added to the table where it is missing; epsilon
            where omitted.
        threshold: n-grams without which the model's perplexity rises by less than this, relatively, are
            left out, and the back-off weights set anew (Stolcke 1998; 1e-8 is a common choice).
        dtype: of the energies.

    Raises:
        GraphFormatError: with file and line: a line of another form; a probability above 1, or a back-off
            weight above 10⁹⁹; a word of a
            longer n-gram without a unigram; an n-gram given twice; another number of n-grams than announced;
            no ``</s>``.
        GraphError: a threshold below 0.
    """
    if not threshold >= 0:
        raise GraphError(f"the threshold is {threshold}; it must be 0 or more")
    lines = Lines(path)
    reader = _Reader()
    for number, line in lines:
        with lines.at(number):
            reader.read(columns(line, reader.order + 2))
    if reader.section is not None or reader.is_before_data:
        raise lines.error_at_end("the file ends before its line '\\end\\'")
    model = reader.model()
    if model.end is None:
        raise lines.error_at_end(f"the file has no {_END!r} among its words, so no sentence can end")
    if threshold:
        model.prune(threshold)
    return _acceptor(model, symbols, back_off, dtype)


class _Reader:
    """What the lines read so far say."""

    def __init__(self) -> None:
        self.is_before_data = True
        self.section: int | None = 0  # the length of the n-grams read now; None after the end
        self._counts: list[int] = []
        self._words: dict[str, int] = {}
        self._energies: dict[Gram, float] = {}
        self._back_off: dict[Gram, float] = {}
        self._read = 0  # in this section

    @property
    def order(self) -> int:
        return len(self._counts)

    def read(self, fields: list[str]) -> None:
        """Takes in the columns of the next line."""
        if self.is_before_data:
            self.is_before_data = fields != ["\\data\\"]
        elif fields and self.section is not None:
            if len(fields) == 1 and fields[0].startswith("\\"):
                self._head(fields[0])
            elif self.section:
                self._gram(fields, self.section)
            else:
                self._count(" ".join(fields))

    def _count(self, line: str) -> None:
        found = re.fullmatch(r"ngram ([0-9]{1,3}) ?= ?([0-9]{1,18})", line)
        if not found or int(found[1]) != self.order + 1 or self.order == _LONGEST:
            raise GraphFormatError(f"{line[:60]!r} is not 'ngram {self.order + 1}=COUNT' nor '\\1-grams:'")
        self._counts.append(int(found[2]))

    def _head(self, line: str) -> None:
        section = self.section or 0
        if section and self._read != self._counts[section - 1]:
            raise GraphFormatError(
                f"{self._counts[section - 1]} n-grams of length {section} are announced, "
                f"but {self._read} are here"
            )
        wanted = f"\\{section + 1}-grams:" if section < self.order else "\\end\\"
        if line != wanted or not self.order:
            raise GraphFormatError(f"found {line[:60]!r} where {wanted!r} should be")
        self.section = section + 1 if section < self.order else None
        self._read = 0

    def _gram(self, fields: list[str], length: int) -> None:
        if not length + 1 <= len(fields) <= length + 2:
            raise GraphFormatError(
                f"found {len(fields)} columns where an n-gram has {length + 1} or {length + 2}"
            )
        names = fields[1 : length + 1]
        if length == 1:
            self._words.setdefault(names[0], len(self._words))
        for name in names:
            if name not in self._words:
                raise GraphFormatError(f"{name!r} has no unigram")
        gram = tuple(self._words[name] for name in names)
        if gram in self._energies:
            raise GraphFormatError(f"{' '.join(names)!r} is given a second time")
        self._read += 1
        self._energies[gram] = _energy(fields[0])
        if self._energies[gram] < 0:
            raise GraphFormatError(f"the probability is above 1: its logarithm is {fields[0]}")
        if len(fields) == length + 2:
            weight = _energy(fields[-1])
            if weight and length < self.order:
                self._back_off[gram] = weight

    def model(self) -> BackOffModel:
        words = list(self._words)
        return BackOffModel(
            words,
            self.order,
            self._energies,
            self._back_off,
            self._words.get(_START),
            self._words.get(_END),
        )


def _energy(logarithm: str) -> float:
    value = real_number(logarithm, "a logarithm")
    if value > -_LOG_ZERO:
        raise GraphFormatError(f"the logarithm {logarithm} is above {-_LOG_ZERO:g}")
    return math.inf if value <= _LOG_ZERO else -value * math.log(10) + 0.0


def _acceptor(
    model: BackOffModel, symbols: Symbols | None, back_off: str | None, dtype: torch.dtype
) -> Graph:
    if symbols is None:
        symbols = Symbols(word for word in model.words if word not in (_START, _END))
    if back_off is not None and back_off not in symbols:
        symbols = Symbols([*symbols, back_off])
    labels = _labels(model, symbols, back_off)
    grams = [gram for gram in model.energies if _is_readable(gram, model, labels)]
    histories = _histories(model, grams, labels)
    build = GraphBuilder(dtype, symbols)
    start = (model.start,) if (model.start,) in histories else ()
    final = {gram[:-1]: model.energies[gram] for gram in grams if gram[-1] == model.end}
    number = {
        history: build.state(0.0 if history == start else math.inf, final.get(history, math.inf))
        for history in histories
    }
    for gram in grams:
        if gram[-1] not in (model.start, model.end) and model.energies[gram] < math.inf:
            target = _longest_end(gram[max(0, len(gram) - model.order + 1) :], number)
            for label in labels[gram[-1]]:
                build.arc(number[gram[:-1]], target, label, energy=model.energies[gram])
    label = EPSILON if back_off is None else symbols.label(back_off)
    for history in histories:
        if history and model.back_off.get(history, 0.0) < math.inf:
            target = _longest_end(history[1:], number)
            build.arc(number[history], target, label, energy=model.back_off.get(history, 0.0))
    return build.graph()


def _labels(model: BackOffModel, symbols: Symbols, back_off: str | None) -> list[list[int]]:
    """The labels that are read as each word of the model: none for what the table lacks."""
    labels = [[symbols.label(word)] if word in symbols else [] for word in model.words]
    if _UNKNOWN in model.words:
        known = {*model.words, back_off}
        labels[model.words.index(_UNKNOWN)] += [
            label for label, name in enumerate(symbols) if name not in known
        ]
    return labels


def _is_readable(gram: Gram, model: BackOffModel, labels: list[list[int]]) -> bool:
    """Whether a sentence can have the n-gram: its words have labels, ``<s>`` is first and ``</s>`` last."""
    return all(
        (word == model.start and place == 0)
        or (word == model.end and place == len(gram) - 1)
        or (bool(labels[word]) and word not in (model.start, model.end))
        for place, word in enumerate(gram)
    )


def _histories(model: BackOffModel, grams: list[Gram], labels: list[list[int]]) -> list[Gram]:
    """What comes before the last word of an n-gram, and what has a back-off weight; shorter ones first."""
    found = {gram[:length] for gram in grams for length in range(len(gram))}
    found.update(
        gram for gram in model.back_off if _is_readable(gram, model, labels) and gram[-1] != model.end
    )
    return sorted(found | {()}, key=lambda history: (len(history), history))


def _longest_end(words: Gram, number: dict[Gram, int]) -> int:
    while words not in number:
        words = words[1:]
    return number[words]
