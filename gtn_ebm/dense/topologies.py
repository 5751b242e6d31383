"""Graphs of the label sequences that a network's frames may spell."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.symbols import EPSILON


def ctc(target: ArrayLike, blank: int = 0, *, keep_repeats_apart: bool = True) -> Graph:
    """The alignments of a target by the rules of connectionist temporal classification.

    Every label is read for one frame or more, with any number of blanks before, between and after. A path
    reads a class for each frame, and writes each label of the target where it begins to read it.

    Args:
        target: labels, [L] integers ≥ 0.
        blank: the class of no label.
        keep_repeats_apart: whether there must be a blank between two equal labels. Without it the same frames
            can stand for one label or for two, and a sum counts each way to divide them.

    Returns:
        A graph of 2 L + 1 states, blank, label, blank, …, blank, all energies 0; it begins in the first state
        and ends in one of the last two. It is a ``dense.batch.Chain``.

    Raises:
        GraphError: the target is not a row of labels ≥ 0, or the blank is below 0.

    Source: Graves, Fernández, Gomez and Schmidhuber, "Connectionist temporal classification" (2006),
    section 4.1.

    >>> ctc([3, 3])
    Graph(5 states, 9 arcs, transducer)
    >>> ctc([3, 3], keep_repeats_apart=False)
    Graph(5 states, 10 arcs, transducer)
    """
    labels = np.asarray(target)
    if labels.ndim != 1 or (labels.size and (labels.dtype.kind not in "iu" or labels.min() < 0)):
        raise GraphError(f"a target must be a row of labels ≥ 0, not {labels!r:.80}")
    if blank < 0:
        raise GraphError(f"the blank must be a class ≥ 0, not {blank}")
    states = 2 * len(labels) + 1
    read, written = np.full(states, blank), np.full(states, EPSILON)
    read[1::2] = written[1::2] = labels
    state = np.arange(states)
    # Into a label directly from the label before, unless it is the same.
    skips = state[3::2]
    if keep_repeats_apart:
        skips = skips[labels[1:] != labels[:-1]]
    destination = np.concatenate([state, state[1:], skips])
    source = np.concatenate([state, state[:-1], skips - 2])
    order = np.lexsort((destination, source))
    source, destination = source[order], destination[order]
    stays = source == destination
    structure = Structure(
        source, destination, read[destination], np.where(stays, EPSILON, written[destination]), states
    )
    return Graph(structure, initial=[0], final=range(max(states - 2, 0), states))
