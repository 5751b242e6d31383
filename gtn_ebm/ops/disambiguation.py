"""Disambiguation: no two paths read the same."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.ops.composition import compose
from gtn_ebm.ops.connection import connect, connect_result
from gtn_ebm.ops.determinization import subset_construction


@takes_graphs
def disambiguate(
    graph: Graph, beta: float = 1.0, *, delta: float = 1e-6, max_states: int | None = None
) -> Graph:
    """An equivalent graph in which no two paths read the same input.

    The path that reads a string has the energy F_β over all that did. Of a graph without ambiguity nothing
    changes but where energies stand; a graph with some may have an unambiguous equivalent, often a small one,
    where it has no deterministic one. Epsilon counts as a label like any other, as in ``determinize``.

    Each state of the result is a state of the graph together with those others that the same strings lead to
    and that share a future with it, with their residuals. Where several of them lead to one state on one
    label, or are final, the first of them does so alone, with the sum of all.

    Args:
        graph: an acceptor, or a transducer that writes one output for an input; for another, determinize with
            outputs="all" or "best".
        beta, delta: as of ``determinize``.
        max_states: as of ``determinize``; also bounds the pairs of states that one string leads to, where ten
            for each state of the graph are always allowed.

    Returns:
        A graph with ``arc_maps``, attributes and derivatives as ``determinize`` gives them.

    Raises:
        GraphError: as ``determinize``, with outputs="single"; too many pairs of states for ``max_states``.

    The states that share a future are found by composing the graph with itself.

    Source: Mohri and Riley, "On the disambiguation of weighted automata" (2015): the construction that they
    call pre-disambiguation, on which the transitions to remove are seen in passing.

    Cost: time and memory of the pairs of states, and of arcs, that one string leads to, at most S² and A²;
    and those of ``determinize``, exponential in S at worst.

    >>> two = Graph(Structure([0, 0, 1, 2], [1, 2, 3, 3], [0, 0, 1, 1]), torch.tensor([1.0, 2.0, 0.0, 0.0]))
    >>> disambiguate(two, beta=torch.inf).energies
    tensor([1., 0.])
    """
    whole = connect(graph)
    found = subset_construction(
        whole, beta, "single", delta, max_states, _sharing_a_future(whole, max_states)
    )
    return connect_result(found)


def _sharing_a_future(graph: Graph, max_states: int | None) -> NDArray[np.int64]:
    """p · states + q, in order, of all states p and q that one string leads to and one leads on from to the
    end."""
    # Ranks are labels, too, and none of them is epsilon's.
    labels = np.unique(graph.input_labels, return_inverse=True)[1].astype(np.int32)
    initial, final = (np.flatnonzero(as_array(part) != np.inf) for part in (graph.initial, graph.final))
    reading = Graph(
        Structure.of_valid(graph.source, graph.destination, labels, labels, graph.states),
        torch.zeros(graph.arcs),
        initial.tolist(),
        final.tolist(),
    )
    # A graph without ambiguity needs a pair for each state, and one with little a few.
    most = max(1_000_000 if max_states is None else max_states, 10 * graph.states)
    try:
        both = compose(reading, reading, max_states=most)
    except GraphError as error:
        raise GraphError(
            f"there are more than {most} pairs of states that one string leads to; raise max_states, or "
            "minimize the graph first"
        ) from error
    at_once = np.intersect1d(initial, final)
    pairs = [at_once[:, None] * np.int64(graph.states) + at_once]
    for ends in (graph.source, graph.destination):
        one, other = (ends[arcs].astype(np.int64) for arcs in both.arc_maps)
        pairs.append(one * graph.states + other)
    return np.unique(np.concatenate([part.ravel() for part in pairs]))
