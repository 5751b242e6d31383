"""The transducer loss: a lattice over frames and places in the target, with class probabilities of its own in
each cell."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gtn_ebm.dense.checks import (
    as_integers,
    as_labels,
    check_class,
    check_floating,
    check_number,
    lengths_of,
)
from gtn_ebm.dense.reduction import check_reduction, reduced
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.inference.free_energy import free_energy
from gtn_ebm.kernels import transducer as kernels
from gtn_ebm.parallel import parallel_map
from gtn_ebm.symbols import EPSILON


def transducer_loss(
    logits: Tensor,
    targets: Tensor | ArrayLike,
    logit_lengths: Tensor | ArrayLike,
    target_lengths: Tensor | ArrayLike,
    blank: int = -1,
    clamp: float = -1.0,
    reduction: str = "mean",
    fused_log_softmax: bool = True,
    zero_infinity: bool = False,
) -> Tensor:
    """−log p(target | logits) of a sequence transducer (RNN-T), summed over all alignments.

    In cell (t, u), of the frames and of the places in the target, the softmax of its logits gives the
    probability of each class. The blank leads to the next frame, the target's next label to the next place;
    the blank of the last cell ends the alignment. The loss is the free energy of ``transducer_graph``.

    Arguments and meaning are those of ``torchaudio.functional.rnnt_loss``, and ``zero_infinity``. Sums are
    carried in float64. Memory beyond the gradient is that of a few numbers for a cell; half precision is
    worked on in float32, an item at a time. The second derivative goes through ``transducer_graph``, and is
    as slow as that.

    Args:
        logits: [B, T, U + 1, C], floating.
        targets: [B, U], integers 0 … C − 1; what lies beyond a target's length is not looked at.
        logit_lengths: [B], integers: the frames of each item.
        target_lengths: [B], integers: the labels of each item.
        blank: its class; −1 is the last.
        clamp: the greatest absolute value that an entry of an item's gradient may have, if above 0.
        reduction: "none" for [B], "sum", or "mean" over the items.
        fused_log_softmax: whether the softmax is taken; else the logits are log probabilities already.
        zero_infinity: whether a loss of +inf, of an item without frames or with a class that is impossible
            (a logit of −inf), is put to 0. Its gradient is 0 in any case.

    Raises:
        GraphError: shapes that do not fit; a length or label out of range; a clamp that is no number; a logit
            that is NaN or +inf.

    Source: Graves, Sequence transduction with recurrent neural networks, 2012; the gradient through the
    softmax as in Li, Zhao, Hu and Gong, Improving RNN transducer modeling for end-to-end speech recognition,
    2019.

    >>> logits = torch.zeros(1, 2, 2, 3)  # two alignments of three steps, each of probability 1/27
    >>> transducer_loss(logits, torch.tensor([[0]]), torch.tensor([2]), torch.tensor([1]))
    tensor(2.6027)
    """
    batch = _check(logits, targets, logit_lengths, target_lengths, blank)
    check_number(clamp, "clamp")
    check_reduction(reduction)
    bound = float(clamp) if clamp > 0 else math.inf
    differentiable = torch.is_grad_enabled() and logits.requires_grad
    losses: Tensor = _Losses.apply(batch, fused_log_softmax, bound, differentiable, logits)
    return reduced(losses, reduction, zero_infinity)


class TransducerLoss(torch.nn.Module):
    """``transducer_loss`` as a module; a drop-in for ``torchaudio.transforms.RNNTLoss``.

    Args are those of ``transducer_loss``, and so are those of the call: logits, targets, logit_lengths,
    target_lengths.
    """

    def __init__(
        self,
        blank: int = -1,
        clamp: float = -1.0,
        reduction: str = "mean",
        fused_log_softmax: bool = True,
        zero_infinity: bool = False,
    ):
        super().__init__()
        check_number(clamp, "clamp")
        self.blank, self.clamp, self.reduction = blank, clamp, reduction
        self.fused_log_softmax, self.zero_infinity = fused_log_softmax, zero_infinity

    def forward(
        self,
        logits: Tensor,
        targets: Tensor | ArrayLike,
        logit_lengths: Tensor | ArrayLike,
        target_lengths: Tensor | ArrayLike,
    ) -> Tensor:
        return transducer_loss(
            logits,
            targets,
            logit_lengths,
            target_lengths,
            self.blank,
            self.clamp,
            self.reduction,
            self.fused_log_softmax,
            self.zero_infinity,
        )


def transducer_graph(log_probabilities: Tensor, target: Tensor | ArrayLike, blank: int = -1) -> Graph:
    """The lattice of one target as a graph, whose free energy is its transducer loss.

    State t · (U + 1) + u is the cell of frame t and place u, and the last state is the end. An arc reads its
    class, and writes the label of the target or, with the blank, nothing; its energy is the class's negative
    log probability. The attribute ``frame`` says which frame an arc belongs to: the labels' frames on the
    best path are an alignment.

    Args:
        log_probabilities: [T, U + 1, C].
        target: [U], integers 0 … C − 1.
        blank: its class; −1 is the last.

    Raises:
        GraphError: a shape that does not fit; a label or a blank that is no class.

    >>> graph = transducer_graph(torch.full((2, 2, 3), 1 / 3).log(), torch.tensor([0]))
    >>> graph, free_energy(graph)
    (Graph(5 states, 5 arcs, transducer), tensor(2.6027))
    """
    check_floating(log_probabilities, "log_probabilities", "frames", "target + 1", "classes")
    frames, places, classes = log_probabilities.shape
    blank, labels = _class_of(blank, classes), as_labels(target)
    if len(labels) != places - 1:
        raise GraphError(f"{places} places need a target of {places - 1} labels, not {len(labels)}")
    for label in labels.tolist():
        check_class(label, classes, "a label of the target")
    cells = np.arange(frames * places, dtype=np.int32).reshape(frames, places)
    end = np.full(len(cells[-1:]), cells.size, np.int32)
    blanks = np.concatenate([cells[:-1].ravel(), cells[-1:, -1]])
    source = np.concatenate([blanks, cells[:, :-1].ravel()])
    destination = np.concatenate([cells[1:].ravel(), end, cells[:, 1:].ravel()])
    read = np.concatenate([np.full(len(blanks), blank, np.int32), np.tile(labels, frames)])
    written = np.concatenate([np.full(len(blanks), EPSILON, np.int32), np.tile(labels, frames)])
    chosen = torch.from_numpy(source.astype(np.int64) * classes + read).to(log_probabilities.device)
    return Graph(
        Structure(source, destination, read, written, states=cells.size + 1),
        -log_probabilities.reshape(-1)[chosen],
        initial=range(min(frames, 1)),
        attributes={"frame": torch.from_numpy(source // places)},
    )


class _Item(NamedTuple):
    """One item of a batch, of which the logits [frames, len(target) + 1, C] are looked at."""

    number: int
    frames: int
    target: NDArray[np.uint32]
    blank: int

    def lattice(self) -> tuple[int, int]:
        return self.frames, len(self.target) + 1


def _check(
    logits: Tensor,
    targets: Tensor | ArrayLike,
    logit_lengths: Tensor | ArrayLike,
    target_lengths: Tensor | ArrayLike,
    blank: int,
) -> list[_Item]:
    check_floating(logits, "logits", "batch", "frames", "longest target + 1", "classes")
    items, frames, places, classes = logits.shape
    if places < 1:
        raise GraphError("logits need one place more than the longest target has labels, but have none")
    blank = _class_of(blank, classes)
    labels = as_integers(targets, "targets", items, places - 1)
    frames_of = lengths_of(logit_lengths, items, frames, "logit_lengths")
    labels_of = lengths_of(target_lengths, items, places - 1, "target_lengths")
    batch = []
    for number in range(items):
        target = labels[number, : labels_of[number]]
        if ((target < 0) | (target >= classes)).any():
            raise GraphError(
                f"item {number} has a label outside the classes 0 to {classes - 1} in its target"
            )
        batch.append(_Item(number, frames_of[number], target.astype(np.uint32), blank))
    return batch


def _class_of(blank: Any, classes: int) -> int:
    """The blank, which may be counted from behind."""
    if not isinstance(blank, Integral):
        raise GraphError(f"the blank must be a class or −1 for the last, not {blank}")
    if not -classes <= int(blank) < classes:
        raise GraphError(f"the blank is class {blank}, but there are {classes} classes")
    return int(blank) % classes


class _Arcs(NamedTuple):
    """Of each cell, [T, U + 1] float64: the log sum that normalises its classes, and its arcs' posteriors."""

    log_sums: NDArray[np.float64]
    blanks: NDArray[np.float64]
    labels: NDArray[np.float64]


def _sweep(logits: Tensor, item: _Item, normalise: bool, differentiable: bool) -> tuple[float, _Arcs | None]:
    """The loss of an item, and what its gradient needs, None where that is 0."""
    arcs = _Arcs(*np.empty((3, *item.lattice())))
    if kernels.weights(as_array(logits), item.target, item.blank, normalise, *arcs):
        raise GraphError(f"item {item.number} has a logit that is NaN or +inf")
    if item.frames == 0:
        return math.inf, None
    alpha = np.empty_like(arcs.blanks)
    total = kernels.forward(arcs.blanks, arcs.labels, alpha)
    if total == -math.inf or not differentiable:
        return -total, None
    kernels.backward(arcs.blanks, arcs.labels, alpha, total)
    return -total, arcs


class _Losses(torch.autograd.Function):
    """logits [B, T, U + 1, C] → the loss of each item, [B]."""

    @staticmethod
    def forward(
        ctx: Any, batch: list[_Item], normalise: bool, clamp: float, differentiable: bool, logits: Tensor
    ) -> Tensor:
        ctx.batch, ctx.normalise, ctx.clamp = batch, normalise, clamp
        ctx.save_for_backward(logits)
        results = parallel_map(
            lambda item: _sweep(logits[item.number], item, normalise, differentiable), batch
        )
        ctx.arcs = [arcs for _, arcs in results]
        return torch.tensor([loss for loss, _ in results], dtype=logits.dtype, device=logits.device)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (logits,) = ctx.saved_tensors
        # Only a second derivative needs the gradient as a function.
        gradient = _gradient_by_graphs if torch.is_grad_enabled() else _gradient
        return None, None, None, None, gradient(ctx, logits, grad)


def _gradient(ctx: Any, logits: Tensor, grad: Tensor) -> Tensor:
    result = torch.zeros(logits.shape, dtype=logits.dtype)
    scales = grad.tolist()

    def write(item: _Item) -> None:
        arcs = ctx.arcs[item.number]
        if arcs is None:
            return
        into = result[item.number]
        array = as_array(into)
        kernels.gradient(
            as_array(logits[item.number]), item.target, item.blank, ctx.normalise,
            *arcs, ctx.clamp, scales[item.number], array,
        )  # fmt: skip
        if into.dtype not in (torch.float32, torch.float64):  # then the array is a copy
            into.copy_(torch.from_numpy(array))

    parallel_map(write, ctx.batch)
    return result.to(logits.device)


def _gradient_by_graphs(ctx: Any, logits: Tensor, grad: Tensor) -> Tensor:
    log_probabilities = logits.log_softmax(-1) if ctx.normalise else logits
    graphs = []
    for item in ctx.batch:
        frames, places = item.lattice()
        target = torch.from_numpy(item.target.astype(np.int64))
        graphs.append(transducer_graph(log_probabilities[item.number, :frames, :places], target, item.blank))
    if not graphs:
        return 0.0 * logits
    (of_sum,) = torch.autograd.grad(free_energy(graphs).sum(), logits, create_graph=True)
    return of_sum.clamp(-ctx.clamp, ctx.clamp) * grad[:, None, None, None]
