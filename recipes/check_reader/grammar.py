"""The grammar of amounts: a transducer from what is drawn to what it means, in a file one may replace."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from gtn_ebm import EPSILON, DataError, Graph, GraphBuilder, Structure, Symbols, compose, connect
from gtn_ebm.io import read_text

CLASSES = Symbols("0123456789.,-=≠/*$#o~")
"""What the recognition transformer tells apart: digits, punctuation, a small raised zero (o), and what is no
character at all (~)."""

DIGITS = Symbols("0123456789")
"""What an answer is written in."""

NO_CHARACTER = "~"
"""Of a piece of ink: a blot, a printed line, a part of a character."""

DEFAULT = Path(__file__).with_name("grammar.txt")
"""The grammar used unless another is given."""


@dataclass(frozen=True)
class Grammar:
    """A transducer from CLASSES to DIGITS.

    Attributes:
        graph: the transducer.
        text: the file it was read from, so that a model can keep it.

    >>> from gtn_ebm import best_path
    >>> meaning = best_path(compose(Graph.linear(CLASSES.labels("$1.200,-")), Grammar.read().graph))
    >>> "".join(DIGITS.name(label) for label in meaning.output_labels)
    '1200'
    """

    graph: Graph
    text: str

    @classmethod
    def read(cls, path: Path = DEFAULT) -> Grammar:
        """Reads a grammar in AT&T text form with symbols.

        Raises:
            GraphFormatError: the file cannot be read; the message names the line.
            DataError: it accepts nothing that could be drawn, or has a cycle that reads nothing.
        """
        graph = read_text(path, input_symbols=CLASSES, output_symbols=DIGITS)
        if not connect(graph).arcs:
            raise DataError(f"{path}: no path leads from the initial state over an arc to a final state")
        if not _arcs_that_read_nothing(graph).is_acyclic:
            raise DataError(f"{path}: arcs that read <eps> make a cycle; take one of them away")
        return cls(graph, path.read_text(encoding="utf-8"))

    def of_answer(self, digits: str) -> Graph:
        """The part of the grammar that means ``digits``: composed with the path selector of that answer.

        Raises GraphError for anything but digits.
        """
        return compose(self.graph, Graph.linear(DIGITS.labels(digits), input_symbols=DIGITS))

    def of_drawing(self, drawn: str) -> Graph:
        """The part of the grammar that reads ``drawn``, with any number of NO_CHARACTER anywhere.

        Raises GraphError for a symbol that is not of CLASSES.
        """
        build = GraphBuilder(input_symbols=CLASSES)
        last = len(drawn)
        for place in range(last + 1):
            build.state(initial=math.inf if place > 0 else 0.0, final=math.inf if place < last else 0.0)
            build.arc(place, place, NO_CHARACTER)
        for place, symbol in enumerate(drawn):
            build.arc(place, place + 1, symbol)
        return compose(build.graph(), self.graph)


def _arcs_that_read_nothing(graph: Graph) -> Structure:
    chosen = graph.input_labels == EPSILON
    return Structure(
        graph.source[chosen], graph.destination[chosen], graph.input_labels[chosen], states=graph.states
    )
