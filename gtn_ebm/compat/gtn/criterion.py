"""Loss functions as graphs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import gtn_ebm.graph as core
from gtn_ebm import dense
from gtn_ebm.compat.gtn.autograd import apply
from gtn_ebm.compat.gtn.functions import scalar
from gtn_ebm.compat.gtn.graph import Graph
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
    return apply(partial(_minus_log_probability, labels, blank_idx), log_probs)


def _minus_log_probability(target: NDArray[np.int32], blank: int, log_probs: core.Graph) -> core.Graph:
    frames = _frames(log_probs)
    if frames is None or blank in target or target.max(initial=blank) >= frames.shape[1]:
        return scalar(0.0 - free_energy(intersect(_alignments(target, blank), log_probs)))
    loss = dense.ctc_loss(-frames, torch.from_numpy(target), len(frames), len(target), blank, "sum")
    return scalar(0.0 - loss)


def _frames(graph: core.Graph) -> Tensor | None:
    """The energies of a ``linear_graph``, [frames, classes]; None of any other graph."""
    count = graph.states - 1
    if count < 1 or graph.arcs == 0 or graph.arcs % count:
        return None
    classes = graph.arcs // count
    every = np.arange(graph.arcs, dtype=np.int32)
    frame, label = np.divmod(every, np.int32(classes))
    ends = torch.full((graph.states, 2), torch.inf)
    ends[0, 0] = ends[-1, 1] = 0.0
    is_linear = (
        graph.is_acceptor
        and np.array_equal(graph.source, frame)
        and np.array_equal(graph.destination, frame + 1)
        and np.array_equal(graph.input_labels, label)
        and torch.equal(torch.stack([graph.initial, graph.final.detach()], 1), ends)
    )
    return graph.energies.view(count, classes) if is_linear else None


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
