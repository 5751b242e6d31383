"""Loss functions as graphs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

import gtn_ebm.graph as core
from gtn_ebm.compat.gtn.autograd import apply, score
from gtn_ebm.compat.gtn.creations import Linear
from gtn_ebm.compat.gtn.functions import scalar
from gtn_ebm.compat.gtn.graph import Graph
from gtn_ebm.dense.sums import EmissionMemory, sum_over_target
from gtn_ebm.errors import GraphError
from gtn_ebm.inference import free_energy
from gtn_ebm.ops import intersect


def ctc_loss(log_probs: Graph, target: Sequence[int], blank_idx: int) -> Graph:
    """Connectionist temporal classification: −log of the probability of ``target``, as a scalar graph.

    Args:
        log_probs: a ``linear_graph`` with log probabilities as weights, which is never composed; or any other
            acceptor, which is.
        target: labels, without blanks.
        blank_idx: the label of the blank.
    """
    labels = np.array(target, np.int32).reshape(-1)
    least = min(labels.min(initial=blank_idx), blank_idx)
    if least < 0:
        raise GraphError(f"the target or the blank has a label below 0: {least}")
    frames = _frames(log_probs)
    if frames is None or blank_idx in labels or labels.max(initial=blank_idx) >= frames.shape[1]:
        return apply(partial(_minus_log_probability, labels, blank_idx), log_probs)
    loss, classes, occupancies = sum_over_target(
        EmissionMemory(torch.from_numpy(frames[None])), 0, len(frames), labels, blank_idx, log_probs.calc_grad
    )
    if not log_probs.calc_grad:
        return score(loss, log_probs, None)
    slopes = np.zeros_like(frames)
    slopes[:, classes] = -occupancies
    return score(loss, log_probs, slopes.ravel())


def _frames(graph: Graph) -> NDArray[np.float32] | None:
    """The weights of a ``linear_graph``, [frames, classes]; None of any other, or of one without arcs."""
    structure, _, _, weights = graph.arrays()
    is_matrix = isinstance(structure, Linear) and len(weights) > 0
    return weights.reshape(structure.states - 1, -1) if is_matrix else None


def _minus_log_probability(target: NDArray[np.int32], blank: int, log_probs: core.Graph) -> core.Graph:
    return scalar(0.0 - free_energy(intersect(_alignments(target, blank), log_probs)))


def _alignments(target: NDArray[np.int32], blank: int) -> core.Graph:
    """All ways to write the target: each label for some frames, blanks between, needed between equals."""
    nodes = np.arange(2 * len(target) + 1, dtype=np.int32)
    labels = np.full(len(nodes), blank, np.int32)
    labels[1::2] = target
    # One step on, or two: over a blank, to another label.
    over = np.flatnonzero((nodes[2:] % 2 == 1) & (labels[2:] != labels[:-2])).astype(np.int32)
    source = np.concatenate([nodes, nodes[:-1], over])
    destination = np.concatenate([nodes, nodes[1:], over + 2]).astype(np.int32)
    structure = core.Structure(source, destination, labels[destination], states=len(nodes))
    return core.Graph(structure, final=nodes[-2:].tolist())
