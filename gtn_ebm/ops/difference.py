"""Difference and complement: what an acceptor does not accept."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure, _integers, as_array
from gtn_ebm.kernels import difference as kernels
from gtn_ebm.ops.arc_maps import Map, carry_attributes, select
from gtn_ebm.ops.connection import connect, connect_result
from gtn_ebm.ops.determinization import determinize
from gtn_ebm.ops.epsilons import remove_epsilons
from gtn_ebm.ops.properties import properties
from gtn_ebm.ops.tables import grown, hash_table
from gtn_ebm.symbols import EPSILON


@takes_graphs
def difference(first: Graph, second: Graph, *, max_states: int | None = None) -> Graph:
    """The paths of ``first`` whose output ``second`` does not accept.

    Args:
        first: any graph. Its energies stay with its paths.
        second: any acceptor. It counts what it accepts, not with which energy; it is determinized here, which
            is exponential in its states at worst.
        max_states: the most states of ``second`` as it is determinized, as of ``determinize``, and the most
            pairs of states to search; of these as many as there are where omitted.

    Returns:
        A graph with ``arc_maps`` (arcs of first, and −1 for those of second) and the attributes of ``first``.

    Raises:
        GraphError: ``second`` is a transducer, the symbol tables between the two differ, or there are more
            than ``max_states`` states.

    Cost: time and memory of determinizing ``second``, and then of the pairs of states and arcs reached, as
    ``compose``.

    >>> words = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([1.0, 2.0]))
    >>> difference(words, Graph.linear([0])).energies
    tensor([2.])
    """
    between = first.output_symbols, second.input_symbols
    if None not in between and between[0] != between[1]:
        raise GraphError("the first graph's output symbols are not the second graph's input symbols")
    reader = deterministic_reader(second, max_states)
    starts = np.flatnonzero(as_array(first.initial) != np.inf)
    keys, source, destination, arcs = _expand(first, reader, starts, max_states)
    q1, q2 = (part.astype(np.int32) for part in np.divmod(keys, reader.states + 1))
    # Beyond the reader's states is where a string is that it cannot read.
    accepted = np.append(as_array(reader.final) != np.inf, False)[q2]
    later = np.arange(len(keys)) >= len(starts)
    inputs = first.input_labels[arcs]
    outputs = inputs if first.is_acceptor else first.output_labels[arcs]
    found = Graph(
        Structure.of_valid(source, destination, inputs, outputs, len(keys)),
        select(first.energies, arcs),
        _none_where(later, select(first.initial, q1)),
        _none_where(accepted, select(first.final, q1)),
        attributes=carry_attributes((first,), (arcs,)),
        input_symbols=first.input_symbols,
        output_symbols=first.output_symbols,
        arc_maps=(arcs, np.full(len(arcs), -1, np.int32)),
    )
    return connect_result(found)


def _none_where(absent: NDArray[np.bool_], energies: Tensor) -> Tensor:
    return energies.masked_fill(torch.from_numpy(absent).to(energies.device), torch.inf)


@takes_graphs
def complement(graph: Graph, labels: Iterable[int] | None = None, *, max_states: int | None = None) -> Graph:
    """The deterministic acceptor of all strings over ``labels`` that the graph does not accept, with energies
    of 0.

    Args:
        graph: any acceptor; as the second operand of ``difference``.
        labels: those that strings are made of; where omitted, the graph's own.
        max_states: the most states of the graph as it is determinized, as of ``determinize``.

    Returns:
        A graph with up to (states + 1) · labels arcs, which stem from none (−1 in ``arc_maps``).

    Raises:
        GraphError: a transducer, a label that is not an integer from 0 to 2³¹ − 1, or more than
            ``max_states`` states.

    Cost: time and memory of determinizing the graph, and O((S + 1) · labels) of what comes of it.

    >>> no_zero = complement(Graph.linear([0]), labels=[0, 1])
    >>> no_zero
    Graph(3 states, 6 arcs, acceptor)
    """
    reader = deterministic_reader(graph, max_states)
    own = graph.input_labels[graph.input_labels != EPSILON]
    letters = alphabet(own if labels is None else labels)
    lost = reader.states
    following = np.full((lost + 1, len(letters)), lost, np.int32)
    usable = np.isin(reader.input_labels, letters)
    columns = np.searchsorted(letters, reader.input_labels[usable])
    following[reader.source[usable], columns] = reader.destination[usable]
    source = np.repeat(np.arange(lost + 1, dtype=np.int32), len(letters))
    read = np.tile(letters, lost + 1)
    rejects = np.append(as_array(reader.final) == np.inf, True)
    found = Graph(
        Structure.of_valid(source, following.ravel(), read, read, lost + 1),
        graph.energies.new_zeros(len(source), requires_grad=False),
        [0],  # the lost state itself where the graph accepts nothing
        np.flatnonzero(rejects).tolist(),
        input_symbols=graph.input_symbols,
        arc_maps=(np.full(len(source), -1, np.int32),),
    )
    return connect_result(found)


def alphabet(labels: Iterable[int]) -> NDArray[np.int32]:
    """The labels that strings are made of, each once, ascending.

    Raises:
        GraphError: a label that is not an integer from 0 to 2³¹ − 1.
    """
    letters = np.unique(_integers(list(labels), "labels"))
    if len(letters) and letters[0] < 0:
        raise GraphError(f"a string is made of labels ≥ 0, not {letters[0]}")
    return letters


def written_labels(graph: Graph) -> NDArray[np.int32]:
    """The labels that the graph's arcs write, each once, ascending, without epsilon."""
    labels = np.unique(graph.output_labels)
    return labels[labels != EPSILON]


def deterministic_reader(graph: Graph, max_states: int | None = None) -> Graph:
    """The deterministic acceptor of the same strings, without epsilons or energies; it starts in state 0, if
    it has any.

    Raises:
        GraphError: the graph is a transducer, or more than ``max_states`` states are needed.
    """
    if not graph.is_acceptor:
        raise GraphError("only an acceptor can be taken away; project the transducer first")
    whole = connect(graph.detach())
    starts, ends = (
        np.flatnonzero(as_array(part) != np.inf).tolist() for part in (whole.initial, whole.final)
    )
    unweighted = Graph(whole.structure, torch.zeros(whole.arcs), starts, ends)
    is_so = properties(unweighted)
    within = max_states is None or unweighted.states <= max_states
    if within and starts == [0] and is_so.i_deterministic and not is_so.i_epsilons:
        return unweighted
    return determinize(remove_epsilons(unweighted, math.inf), math.inf, max_states=max_states)


def _expand(
    first: Graph, reader: Graph, starts: NDArray[np.int64], max_states: int | None
) -> tuple[NDArray[np.int64], Map, Map, Map]:
    """The keys of all pairs reached, and source, destination and arc of ``first`` of each arc."""
    operands = (
        *first.structure.out_index,
        first.output_labels,
        first.destination.view(np.uint32),
        *reader.structure.by_input[:3],
    )
    most = np.iinfo(np.int64).max if max_states is None else max_states
    keys = grown(starts * (reader.states + 1), max(64, first.states, 2 * len(starts)))
    table = hash_table(kernels.fill_table, keys, len(starts))
    arcs = [np.empty(max(64, first.arcs), np.int32) for _ in range(3)]
    progress = np.array([len(starts), 0, 0])
    while True:
        status = kernels.expand(*operands, keys, table, *arcs, progress)
        if progress[0] > most:
            raise GraphError(
                f"the difference has more than the {most} states that max_states allows; raise it"
            )
        if status == kernels.DONE:
            break
        if status == kernels.STATES_FULL:
            keys = grown(keys, 2 * len(keys))
            table = hash_table(kernels.fill_table, keys, progress[0])
        else:
            arcs = [grown(array, 2 * len(array)) for array in arcs]
    source, destination, arc = (array[: progress[1]] for array in arcs)
    return keys[: progress[0]], source, destination, arc
