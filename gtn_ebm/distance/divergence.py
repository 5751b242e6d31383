"""Sums over paths that diverge, and cycles in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gtn_ebm.errors import CycleError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.symbols import Symbols

MOST_NAMED = 12
"""The most arcs of a cycle that an error names; of a longer one, as many."""


class Divergence(CycleError):
    """Of a sum over paths. The message is for a graph without names, until ``naming_cycles`` gives it them.

    Attributes:
        said: the message, but for the cycle.
        arcs: the cycle's, in order.
    """

    def __init__(self, said: str, structure: Structure, arcs: list[int]):
        super().__init__(said.format(cycle=_in_words(structure, arcs)))
        self.said, self.arcs = said, arcs


@contextmanager
def naming_cycles(graph: Graph) -> Iterator[None]:
    """Has a ``Divergence`` name its cycle by the symbols of the graph."""
    try:
        yield
    except Divergence as error:
        if graph.input_symbols is None:
            raise
        cycle = _in_words(graph.structure, error.arcs, graph.input_symbols, graph.output_symbols)
        raise CycleError(error.said.format(cycle=cycle)) from None


def _in_words(
    structure: Structure, arcs: list[int], read: Symbols | None = None, written: Symbols | None = None
) -> str:
    """The states along the cycle and, where they have names, the labels between them."""

    def name(symbols: Symbols | None, label: int) -> str:
        return symbols.name(label) if symbols is not None and label < len(symbols) else str(label)

    steps = []
    for arc in arcs:
        label = name(read, structure.input_labels[arc])
        if not structure.is_acceptor:
            label += f":{name(written, structure.output_labels[arc])}"
        steps.append(f"{'→' if read is None else f'–{label}→'} {structure.destination[arc]}")
    if len(steps) > MOST_NAMED:
        steps[MOST_NAMED // 2 : -MOST_NAMED // 2] = [f"… {len(steps) - MOST_NAMED} more …"]
    return " ".join([str(structure.source[arcs[0]]), *steps])
