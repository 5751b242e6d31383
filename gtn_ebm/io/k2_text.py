"""The text form of k2's graphs, as ``k2.Fsa.from_str`` reads and ``k2.to_str`` writes it.

A line ``source destination label score`` for each arc of an acceptor, ``source destination label aux_label
score`` for each of a transducer, and last a line with the final state alone, whose number is the largest.
Scores are our energies with the sign turned. Label 0 is epsilon, k2's label k + 1 our label k. State 0 is the
initial one. The arcs into the final state have label −1: they stand for our final energies.

Source: https://k2-fsa.github.io/k2/core_concepts/index.html.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.io.ends import check_energies, check_labels, check_states, finite_states, single_initial
from gtn_ebm.io.files import File, write_whole
from gtn_ebm.io.lines import Lines, score, whole_number
from gtn_ebm.io.text import number_texts
from gtn_ebm.symbols import EPSILON

_FINAL_LABEL = -1
_LARGEST = 2**31 - 1


class K2Arcs(NamedTuple):
    """A graph as k2 has it: rows of source, destination, label and aux label, [A, 4] int32; scores [A]; the
    number of states, the last being final."""

    rows: NDArray[np.int32]
    scores: Tensor
    states: int


def read_k2_text(path: File) -> Graph:
    """Reads a graph in k2's text form.

    Args:
        path: a text file, or an open binary file.

    Returns:
        The graph, its energies float32, without k2's final state: the score of an arc into that becomes the
        final energy of the state the arc leaves. Where a state has several such arcs, or one with
        an aux label, the others stay arcs and lead to the final state, their label epsilon.

    Raises:
        GraphFormatError: with file and line: a wrong number of columns; a number that is none, or too large;
            a score that is NaN or +inf; a label −1 on an arc that does not lead to the final state, or
            another on one that does; no line of the final state, or lines after it; a final state that is
            not the largest, or far beyond all that the file names.
    """
    lines = Lines(path)
    rows, scores, final, width = array("i"), array("d"), None, 0
    for number, fields in lines.columns(5):
        with lines.at(number):
            if final is not None:
                raise GraphFormatError("the line of the final state must be the last one")
            if len(fields) == 1:
                final = whole_number(fields[0], "a state", _LARGEST - 1)
                continue
            width = width or len(fields)
            if len(fields) != width or width not in (4, 5):
                found = f"{len(fields)} columns" + " or more" * (len(fields) > 5)
                raise GraphFormatError(f"found {found}; an arc has 4, or with an aux label 5, as all others")
            rows.extend(whole_number(text, "a state", _LARGEST - 1) for text in fields[:2])
            rows.extend(_label(text) for text in (fields[2], fields[-2]))
            scores.append(score(fields[-1], "score"))
    if final is None:
        raise lines.error_at_end("the file ends before the line of the final state")
    table = np.frombuffer(rows, np.int32).reshape(-1, 4)
    try:
        return from_arcs(K2Arcs(table, torch.tensor(scores, dtype=torch.float32), final + 1))
    except (GraphError, GraphFormatError) as error:
        raise lines.error_at_end(str(error)) from None


def _label(text: str) -> int:
    return _FINAL_LABEL if text == "-1" else whole_number(text, "a label", _LARGEST)


@takes_graphs
def write_k2_text(graph: Graph, path: File) -> None:
    """Writes a graph in k2's text form, an acceptor with four columns, any other with five.

    The initial state becomes state 0, a new final state the last one, and the arcs are sorted by the state
    they leave. Any graph but one with a single initial state at energy 0 gets a new one, as by
    ``write_text``. Attributes and symbol tables are not written.

    Raises:
        GraphError: an energy that is NaN, −inf or finite and too large for float32; a label of 2³¹ − 1.
        OSError: the folder cannot be written.
    """
    check_energies(graph, torch.float32)
    arcs = to_arcs(graph)
    rows = arcs.rows[:, :3] if graph.is_acceptor else arcs.rows
    texts = number_texts(arcs.scores)
    lines = [
        " ".join(map(str, row)) + f" {text or 0}" for row, text in zip(rows.tolist(), texts, strict=True)
    ]
    write_whole(path, "".join(f"{line}\n" for line in [*lines, arcs.states - 1]))


def from_arcs(arcs: K2Arcs) -> Graph:
    """The graph that k2's arcs stand for, differentiable in the scores.

    Raises:
        GraphError: they break k2's rules.
    """
    final, ends = arcs.states - 1, arcs.rows[:, :2]
    check_states(arcs.states, 2 * len(ends))
    if len(ends) and int(ends.max()) > final:
        raise GraphError(f"an arc touches state {ends.max()}, but the final state, {final}, must be the last")
    enters = ends[:, 1] == final
    wrong = enters != (arcs.rows[:, 2] == _FINAL_LABEL)
    if wrong.any():
        row = arcs.rows[np.argmax(wrong)].tolist()
        raise GraphError(
            f"the arc {row} breaks the rule that label −1 is for arcs into the final state {final}"
        )
    chosen = np.flatnonzero(enters & (arcs.rows[:, 3] <= 0))  # not where another label is written
    chosen = chosen[np.unique(ends[chosen, 0], return_index=True)[1]]
    kept = np.setdiff1d(np.arange(len(ends)), chosen)
    states = arcs.states if enters[kept].any() else final
    labels = np.where(arcs.rows[kept, 2:] == _FINAL_LABEL, EPSILON, arcs.rows[kept, 2:] - 1)
    energies = -arcs.scores
    finals = energies.new_full((arcs.states,), torch.inf)
    if states == arcs.states:
        finals[final] = 0.0
    finals = finals.index_put((torch.from_numpy(ends[chosen, 0]).long(),), energies[torch.from_numpy(chosen)])
    structure = Structure(ends[kept, 0], ends[kept, 1], *_sides(labels), states=states)
    return Graph(structure, energies[torch.from_numpy(kept)], [0] if states else [], finals[:states])


def _sides(labels: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32] | None]:
    read, written = labels.T.copy()
    return read, None if np.array_equal(read, written) else written


def to_arcs(graph: Graph) -> K2Arcs:
    """The graph as k2 has it, differentiable in the energies."""
    check_labels(graph, "k2's graphs")
    graph, start = single_initial(graph)
    number = np.arange(graph.states) + (np.arange(graph.states) < start)  # the initial state first
    number[start] = 0
    ends = finite_states(graph.final)
    last = np.full_like(ends, _FINAL_LABEL)
    rows = np.concatenate(
        [
            np.stack(
                [
                    number[graph.source],
                    number[graph.destination],
                    graph.input_labels + 1,
                    graph.output_labels + 1,
                ],
                axis=1,
            ),
            np.stack([number[ends], np.full_like(ends, graph.states), last, last], axis=1),
        ]
    ).astype(np.int32)
    energies = torch.cat([graph.energies, graph.final.index_select(0, torch.from_numpy(ends))])
    order = np.argsort(rows[:, 0], kind="stable")
    return K2Arcs(rows[order], -energies[torch.from_numpy(order)], graph.states + 1)
