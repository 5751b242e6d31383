"""Loss functions as graphs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import gtn_ebm.graph as core
from gtn_ebm.compat.gtn.autograd import apply
from gtn_ebm.compat.gtn.functions import scalar
from gtn_ebm.compat.gtn.graph import Arrays, Graph
from gtn_ebm.errors import GraphError
from gtn_ebm.inference import free_energy
from gtn_ebm.ops import intersect


def ctc_loss(log_probs: Graph, target: Sequence[int], blank_idx: int) -> Graph:
    """Connectionist temporal classification: −log of the probability of ``target``, as a scalar graph.

    Args:
        log_probs: a ``linear_graph`` with log probabilities as weights.
        target: labels, without blanks.
        blank_idx: the label of the blank.
    """
    return apply(_minus_log_probability, _alignments(target, blank_idx), log_probs)


def _minus_log_probability(alignments: core.Graph, log_probs: core.Graph) -> core.Graph:
    return scalar(0.0 - free_energy(intersect(alignments, log_probs)))


def _alignments(target: Sequence[int], blank: int) -> Graph:
    """All ways to write the target: each label for some frames, blanks between, needed between equals."""
    nodes = np.arange(2 * len(target) + 1, dtype=np.int32)
    labels = np.full(len(nodes), blank, np.int32)
    labels[1::2] = target
    if len(labels) and labels.min() < 0:
        raise GraphError(f"the target or the blank has a label below 0: {labels.min()}")
    # One step on, or two: over a blank, to another label.
    over = np.flatnonzero((nodes[2:] % 2 == 1) & (labels[2:] != labels[:-2])).astype(np.int32)
    source = np.concatenate([nodes, nodes[:-1], over])
    destination = np.concatenate([nodes, nodes[1:], over + 2]).astype(np.int32)
    read = labels[destination]
    structure = core.Structure.of_valid(source, destination, read, read, len(nodes))
    final = np.where(nodes >= len(nodes) - 2, 0.0, -np.inf).astype(np.float32)
    arrays = Arrays(structure, nodes == 0, final, np.zeros(structure.arcs, np.float32))
    return Graph.of(arrays, calc_grad=False)
