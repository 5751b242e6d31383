"""Connectionist temporal classification: a loss that takes the place of torch's, many times as fast."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.dense import cuda
from gtn_ebm.dense.checks import LARGEST_LABEL, check_class, check_label, check_tensor
from gtn_ebm.dense.free_energy import free_energy, posteriors
from gtn_ebm.dense.reduction import check_reduction, reduced
from gtn_ebm.dense.sums import EmissionMemory, scattered, sum_over_target
from gtn_ebm.dense.topologies import ctc
from gtn_ebm.errors import GraphError
from gtn_ebm.parallel import parallel_map

Lengths = Tensor | Sequence[int] | int
WHOLE = torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64
Reduction = Literal["none", "mean", "sum"]


class _Losses(torch.autograd.Function):
    """Log probabilities [N, T, C] → −log p of each target, [N] float64."""

    @staticmethod
    def forward(
        ctx: Any,
        log_probs: Tensor,
        lengths: list[int],
        targets: list[NDArray[np.int32]],
        blank: int,
        differentiable: bool,
    ) -> Tensor:
        memory = EmissionMemory(log_probs)
        results = parallel_map(
            lambda item: sum_over_target(memory, item, lengths[item], targets[item], blank, differentiable),
            range(len(targets)),
        )
        losses, ctx.classes, ctx.occupancies = zip(*results, strict=True) if results else ((), (), ())
        ctx.lengths, ctx.targets, ctx.blank = lengths, targets, blank
        ctx.save_for_backward(log_probs)
        return torch.tensor(losses, dtype=torch.float64)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (log_probs,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            graphs = [ctc(target, ctx.blank) for target in ctx.targets]
            occupancies = posteriors(-log_probs, ctx.lengths, graphs).classes
            result = -occupancies * grad.to(log_probs)[:, None, None]
        else:
            result = scattered(log_probs, ctx.classes, ctx.occupancies, (-grad).tolist())
        return result, None, None, None, None


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: Reduction = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """−log p(target) by connectionist temporal classification; takes the place of
    ``torch.nn.functional.ctc_loss``.

    The free energy at β = 1 of the energies −``log_probs`` through ``topologies.ctc(target)``, which is not
    made: log p = log Σ exp(Σ_t log_probs) over the alignments of the target with the frames.

    Args:
        log_probs: [T, N, C] or, for one item, [T, C]; floating, of any strides. Usually of ``log_softmax``.
        targets: labels, padded [N, S], or all in a row [sum of target_lengths]. A blank in a target is taken
            literally, as torch takes it: a label that reads like a blank. Its second derivative is refused.
        input_lengths: frames of each item, [N] integers ≤ T.
        target_lengths: labels of each item, [N] integers.
        blank: the class of no label.
        reduction: "none" for the loss of each item, [N]; "sum"; "mean" for each divided by the length of its
            target (by 1 where that is 0) and then averaged over the items.
        zero_infinity: whether the loss of a target that the frames cannot hold counts as 0, not +inf.

    Returns:
        A scalar or [N], in the dtype of ``log_probs``.

    Raises:
        GraphError: shapes, lengths or labels that do not fit; a log probability that is NaN, +inf or too
            large in size to add up.

    The gradient in ``log_probs`` is −p(class at the frame | target), which is 0 for classes that are not in
    the target. Torch gives exp(log_probs) more, the derivative through a ``log_softmax`` before: after that
    both are the same. Where the loss is infinite the gradient is 0, not NaN. Differentiable twice; on a GPU
    as ``free_energy`` is.

    Source: Graves, Fernández, Gomez and Schmidhuber, "Connectionist temporal classification" (2006).

    >>> log_probs = torch.full((4, 1, 2), 0.5).log()
    >>> ctc_loss(log_probs, torch.tensor([[1]]), [4], [1])  # −log(10 / 16): one run of ones in four frames
    tensor(0.4700)
    """
    check_reduction(reduction)
    check_tensor(log_probs, "log_probs")
    batched = log_probs[:, None] if log_probs.ndim == 2 else log_probs
    if batched.ndim != 3 or not batched.dtype.is_floating_point:
        raise GraphError(
            f"log_probs must be floating, [frames, items, classes] or [frames, classes], "
            f"not {log_probs.dtype} of shape {list(log_probs.shape)}"
        )
    frames, items, classes = batched.shape
    check_class(blank, classes, "the blank")
    lengths = _lengths(input_lengths, items, "input_lengths", frames)
    each = _targets(targets, target_lengths, items)
    differentiable = torch.is_grad_enabled() and log_probs.requires_grad
    by_item = batched.transpose(0, 1)
    if cuda.takes(by_item):
        losses = free_energy(-by_item, lengths, [ctc(target, blank) for target in each])
    else:
        losses = _Losses.apply(by_item, lengths, each, blank, differentiable)
    sizes = [max(len(target), 1) for target in each]
    losses = reduced(losses, reduction, zero_infinity, sizes)
    if log_probs.ndim == 2 and reduction == "none":
        losses = losses[0]
    return losses.to(log_probs)


class CTCLoss(torch.nn.Module):
    """``ctc_loss`` as a module; takes the place of ``torch.nn.CTCLoss``."""

    def __init__(self, blank: int = 0, reduction: Reduction = "mean", zero_infinity: bool = False):
        super().__init__()
        check_label(blank, "the blank")
        check_reduction(reduction)
        self.blank, self.reduction, self.zero_infinity = blank, reduction, zero_infinity

    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths
    ) -> Tensor:
        return ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
        )


def _lengths(lengths: Lengths, items: int, name: str, most: int) -> list[int]:
    each = lengths.numpy(force=True) if isinstance(lengths, Tensor) else np.asarray(lengths)
    if each.size != items or each.ndim > 1 or (items and each.dtype.kind not in "iu"):
        raise GraphError(f"{name} must be {items} integers, not {each.dtype} of shape {list(each.shape)}")
    found: list[int] = each.ravel().tolist()
    for item, length in enumerate(found):
        if not 0 <= length <= most:
            raise GraphError(f"item {item}: {name} has {length}, outside 0 … {most}")
    return found


def _targets(targets: Tensor, target_lengths: Lengths, items: int) -> list[NDArray[np.int32]]:
    """The labels of each item."""
    check_tensor(targets, "targets", "a tensor of integers")
    if targets.dtype not in WHOLE or targets.ndim not in (1, 2):
        raise GraphError(
            f"targets must be integers, [items, labels] or all in a row, "
            f"not {targets.dtype} of shape {list(targets.shape)}"
        )
    if targets.ndim == 2 and len(targets) != items:
        raise GraphError(f"there are targets for {len(targets)} items, but log_probs has {items}")
    # What no int32 holds is no class: it stays none.
    labels = targets.numpy(force=True).clip(-1, LARGEST_LABEL).astype(np.int32, order="C")
    lengths = _lengths(target_lengths, items, "target_lengths", labels.shape[-1])
    if targets.ndim == 2:
        return [row[:length] for row, length in zip(labels, lengths, strict=True)]
    if sum(lengths) > len(labels):
        raise GraphError(f"target_lengths add up to {sum(lengths)}, but there are {len(labels)} labels")
    return [labels[begin:end] for begin, end in pairwise(accumulate(lengths, initial=0))]
