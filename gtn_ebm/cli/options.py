"""The arguments that commands take, and the numbers that may stand there."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any


class Option:
    """An argument of a command, as ``argparse`` takes it."""

    def __init__(self, *names: str, **how: Any):
        self._names, self._how = names, how

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Gives the parser this argument."""
        parser.add_argument(*self._names, **self._how)


A = (Option("a", nargs="?", default="-", metavar="A", help="a graph (standard input)"),)
AB = (Option("a", metavar="A", help="a graph, or -"), Option("b", metavar="B", help="another"))
SEVERAL = (Option("graphs", nargs="+", metavar="A", help="graphs; one may be -"),)

SEMIRING = Option(
    "--semiring",
    choices=("tropical", "log"),
    help="how alternatives are summed: by minimum or as probabilities (as the arcs read say)",
)


def _number(
    kind: type[int] | type[float], is_right: Callable[[Any], bool], what: str
) -> Callable[[str], Any]:
    """The type of an option's value: a number that is right, else an error that says what it should be."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not is_right(value):
            raise argparse.ArgumentTypeError(f"{text} is not {what}")
        return value

    return read


a_count = _number(int, lambda value: 0 <= value < 2**31, "a count from 0 to 2³¹ − 1")
a_positive_number = _number(float, lambda value: 0.0 < value < math.inf, "a positive number")
a_distance = _number(float, lambda value: value >= 0.0, "a number from 0 up")
a_beta = _number(float, lambda value: 0.0 <= value < math.inf, "a finite number from 0 up")
a_seed = _number(int, lambda value: 0 <= value < 2**63, "a whole number from 0 to 2⁶³ − 1")

MAX_STATES = Option("--max_states", type=a_count, metavar="N", help="give up beyond N states")


def delta_option(default: float) -> Option:
    """How near energies are that count as the same."""
    said = f"energies this close are the same ({default:g})"
    return Option("--delta", type=a_positive_number, default=default, metavar="X", help=said)


SEED = Option("--seed", type=a_seed, metavar="N", help="makes the same draw again")
ISYMBOLS = Option("--isymbols", metavar="FILE", help="names of the input labels: lines 'name number'")
OSYMBOLS = Option(
    "--osymbols", metavar="FILE", help="names of the output labels (an acceptor's: the input's)"
)
