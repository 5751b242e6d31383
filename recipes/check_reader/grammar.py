"""The grammar of amounts: a transducer from what is drawn to what it means, in a text file that anyone may replace."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from gtn_ebm import DataError, Graph, GraphBuilder, Symbols, compose
from gtn_ebm.io import read_text

CLASSES = Symbols("0123456789.,-=≠/*$#o~")
"""What the recognition transformer tells apart: digits, punctuation, a small raised zero (o), and no character at all (~)."""

DIGITS = Symbols("0123456789")
"""What an answer is written in."""

NO_CHARACTER = "~"

DEFAULT = Path(__file__).with_name("grammar.txt")


@dataclass(frozen=True)
class Grammar:
    """A transducer from CLASSES to DIGITS.

    Attributes:
        graph: the transducer.
        text: the file it was read from, so that a model can keep it.
    """

    graph: Graph
    text: str

    @classmethod
    def read(cls, path: Path = DEFAULT) -> Grammar:
        """Reads a grammar in AT&T text form with symbols.

        Raises:
            GraphFormatError: the file cannot be read; the message names the line.
            DataError: it has no path at all.
        """
        graph = read_text(path, input_symbols=CLASSES, output_symbols=DIGITS)
        if not compose(graph, graph_of_all(DIGITS)).arcs:
            raise DataError(f"{path}: the grammar leads from its initial state to no final state")
        return cls(graph, path.read_text(encoding="utf-8"))

    def of_answer(self, digits: str) -> Graph:
        """The part of the grammar that means ``digits``: its composition with the path selector of the desired answer."""
        return compose(self.graph, Graph.linear(DIGITS.labels(digits), input_symbols=DIGITS))

    def of_drawing(self, drawn: str) -> Graph:
        """The part of the grammar that reads the symbols ``drawn``, with anything that is no character between them."""
        build = GraphBuilder(input_symbols=CLASSES)
        for place in range(len(drawn) + 1):
            state = build.state(initial=math.inf if place else 0.0, final=math.inf if place < len(drawn) else 0.0)
            build.arc(state, state, NO_CHARACTER)
        for place, symbol in enumerate(drawn):
            build.arc(place, place + 1, symbol)
        return compose(build.graph(), self.graph)


def graph_of_all(symbols: Symbols) -> Graph:
    """The acceptor of every string of these symbols."""
    build = GraphBuilder(input_symbols=symbols)
    state = build.state(initial=0.0, final=0.0)
    for name in symbols:
        build.arc(state, state, name)
    return build.graph()
