"""Emissions made of emissions, before a graph is put on them."""

from __future__ import annotations

import torch
from torch import Tensor

from gtn_ebm.dense.checks import check_class
from gtn_ebm.errors import GraphError


def star_emissions(emissions: Tensor, blank: int = 0) -> Tensor:
    """Emissions [..., C] with stars beside them, [..., 2C]: class C + k is any label but label k.

    The energy of a star is −log Σ exp(−E) over all classes but the blank and k; class C + ``blank`` is any
    label at all. Differentiable as often as wanted; free of cancellation.

    Raises:
        GraphError: the emissions are no floating tensor, or the blank is no class.

    >>> energies = -torch.tensor([0.5, 0.3, 0.2]).log()
    >>> torch.exp(-star_emissions(energies))
    tensor([0.5000, 0.3000, 0.2000, 0.5000, 0.2000, 0.3000])
    """
    if not isinstance(emissions, Tensor) or emissions.ndim < 1 or not emissions.dtype.is_floating_point:
        raise GraphError(f"emissions must be a floating tensor [..., classes], not {emissions!r:.80}")
    classes = emissions.shape[-1]
    check_class(blank, classes, "the blank")
    is_blank = torch.arange(classes, device=emissions.device) == blank
    scores = (-emissions).masked_fill(is_blank, -torch.inf)
    # All but the likeliest have probability 1/2 at most, and can be taken from the sum without loss.
    likeliest = scores.argmax(-1, keepdim=True)
    every = _log_sum(scores)
    probabilities = (scores - every.masked_fill(every.isneginf(), 0.0)).exp()
    others = torch.log1p(-probabilities.scatter(-1, likeliest, 0.0)) + every
    of_likeliest = _log_sum(scores.scatter(-1, likeliest, -torch.inf))
    return torch.cat([emissions, -others.scatter(-1, likeliest, of_likeliest)], -1)


def subtract_prior(emissions: Tensor, log_prior: Tensor, scale: float = 1.0) -> Tensor:
    """Emissions [..., C] of posteriors, −log p(class | frame), as those of likelihoods up to a constant.

    E + scale · log p(class): a class that is frequent anyway, such as the blank, has to be seen to be
    believed (Bayes' rule). Alignments get wider and more exact by it.

    Args:
        emissions: energies, [..., C].
        log_prior: of each class, [C], such as the mean of the network's own probabilities over the frames.
        scale: 1 for Bayes' rule; less for priors trusted less.

    Raises:
        GraphError: the prior has not a number for each class.

    Source: Bourlard and Morgan, "Connectionist speech recognition" (1994); Huang and others, "Less
    peaky and more accurate CTC forced alignment by label priors" (2024).
    """
    if log_prior.shape != emissions.shape[-1:]:
        raise GraphError(
            f"a prior must have an entry for each of {emissions.shape[-1]} classes, "
            f"not the shape {list(log_prior.shape)}"
        )
    return emissions + scale * log_prior


def _log_sum(scores: Tensor) -> Tensor:
    """log Σ exp over the last dimension, kept; −inf with a gradient of 0 where all are −inf."""
    impossible = scores.isneginf().all(-1, keepdim=True)
    total = scores.masked_fill(impossible, 0.0).logsumexp(-1, keepdim=True)
    return total.masked_fill(impossible, -torch.inf)
