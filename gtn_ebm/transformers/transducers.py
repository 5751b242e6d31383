"""Composition as a layer, with transducers that are given or have energies to learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import usable
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.ops import compose
from gtn_ebm.symbols import EPSILON


class Transducer(nn.Module):
    """A graph whose energies are learned: a trainable grammar.

    Args:
        graph: the structure, and the energies to begin with. What is +inf stays so.

    Raises:
        GraphError: an energy that is NaN or −inf.

    Called with nothing it gives the graph with its parameters ``energies`` [A], ``initial`` [S] and ``final``
    [S] on it.

    >>> grammar = Transducer(bigram(2))
    >>> sum(parameter.numel() for parameter in grammar.parameters())  # of 6 arcs, 3 + 3 ends
    12
    >>> grammar()
    Graph(3 states, 6 arcs, acceptor)
    """

    @takes_graphs
    def __init__(self, graph: Graph):
        super().__init__()
        self._graph = graph.detach()
        for name in ("energies", "initial", "final"):
            values = getattr(self._graph, name)
            usable(values)
            self.register_parameter(name, nn.Parameter(values.where(values.isfinite(), 0.0)))
            self.register_buffer(f"_{name}_held", values.isinf(), persistent=False)

    def forward(self) -> Graph:
        return self._graph.with_energies(*(self._held(name) for name in ("energies", "initial", "final")))

    def _held(self, name: str) -> Tensor:
        """The parameter, +inf where it is no energy to learn."""
        return getattr(self, name).masked_fill(getattr(self, f"_{name}_held"), torch.inf)

    def extra_repr(self) -> str:
        return repr(self._graph)


class CompositionTransformer(nn.Module):
    """Composes each graph with a transducer: a grammar, a lexicon, bigram transitions, a decomposition.

    Args:
        transducer: given, or learned where it is a ``Transducer``; it takes the dtype of what comes in.
        max_states: as of ``compose``.

    Called with B graphs it gives B graphs, which write what the transducer does of what they wrote.

    Raises:
        GraphError: as ``compose``.
    """

    def __init__(self, transducer: Graph | Transducer, *, max_states: int | None = None):
        super().__init__()
        if not isinstance(transducer, Graph | Transducer):
            raise GraphError(f"graphs are composed with a Graph or a Transducer, not {transducer!r:.60}")
        self.transducer = transducer
        self.max_states = max_states

    @takes_graphs
    def forward(self, graphs: Sequence[Graph]) -> list[Graph]:
        if not graphs:
            return []
        transducer = self.transducer if isinstance(self.transducer, Graph) else self.transducer()
        return compose(graphs, transducer.to(graphs[0].energies), max_states=self.max_states)

    def extra_repr(self) -> str:
        return repr(self.transducer) if isinstance(self.transducer, Graph) else ""


def bigram(labels: int) -> Graph:
    """The acceptor of all strings in which each pair of neighbours has an arc, and each first label has one.

    State 0 is the beginning, state 1 + k follows label k; all are final. Arc k reads label k at the
    beginning, arc (1 + j) · labels + k reads k after j. Energies of 0.

    Raises:
        GraphError: no label.
    """
    if not isinstance(labels, int | np.integer) or labels < 1:
        raise GraphError(f"a bigram needs a number of labels, 1 or more, not {labels!r:.60}")
    before, label = np.indices((labels + 1, labels)).reshape(2, -1)
    return Graph(Structure(before, 1 + label, label, states=labels + 1), final=range(labels + 1))


def word_pieces(pieces: Sequence[Sequence[int]]) -> Graph:
    """The transducer that reads any sequence of pieces, label k being piece k, and writes what they are made
    of.

    Before a path selector it gives all ways to put an answer together, over which a free energy sums (as in
    Hannun et al. 2020, "Differentiable weighted finite-state transducers").

    Args:
        pieces: the labels that each is made of.

    Raises:
        GraphError: no piece, an empty one, or a label below 0.

    >>> compose(word_pieces([[0], [1], [0, 1]]), Graph.linear([0, 1]))  # 0 and 1, or 01 in one
    Graph(4 states, 4 arcs, transducer)
    """
    if not pieces or not all(isinstance(piece, Sequence) and len(piece) for piece in pieces):
        raise GraphError("word pieces need a piece at least, each a list of labels and none empty")
    wrong = [
        label for piece in pieces for label in piece if not isinstance(label, int | np.integer) or label < 0
    ]
    if wrong:
        raise GraphError(f"pieces are made of labels ≥ 0, not {wrong[0]!r:.60}")
    source, destination, read, written = [], [], [], []
    states = 1
    for label, piece in enumerate(pieces):
        inside = list(range(states, states + len(piece) - 1))
        states += len(inside)
        source += [0, *inside]
        destination += [*inside, 0]
        read += [label] + [EPSILON] * len(inside)
        written += list(piece)
    return Graph(Structure(source, destination, read, written, states), initial=[0], final=[0])
