"""Partition functions of CRFs with their gradients beside torch-struct and a plain torch loop, in one process
and on one thread.

``graphs`` are the same sums over lattices of ours, in which every transition is an arc. All get the same
emissions and transitions, float32, and find the gradient in both. The loops are written as one would who
knows where the time goes: the semi-Markov one sums over durations and then over transitions, not over pairs
of them. torch-struct wants every pair expanded; for the semi-Markov case it takes a gigabyte and seconds a
sequence, so that it is measured on fewer sequences.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import torch_struct
import typer
from torch import Tensor

from benchmarks.timing import Row, compare, show
from gtn_ebm import free_energy
from gtn_ebm.crf import SemiMarkovCRF, linear_chain_crf

NEVER = -1e5
"""torch-struct's log of zero."""

Partition = Callable[[Tensor, Tensor], Tensor]
"""Emissions [B, T, C], or segments [B, T, K, C], and transitions [C, C] → F of each sequence, [B]."""


def chain_loop(emissions: Tensor, transitions: Tensor) -> Tensor:
    sums = -emissions[:, 0]
    for t in range(1, emissions.shape[1]):
        sums = torch.logsumexp(sums[:, :, None] - transitions, 1) - emissions[:, t]
    return -torch.logsumexp(sums, 1)


def chain_struct(emissions: Tensor, transitions: Tensor) -> Tensor:
    edges = -(transitions.T + emissions[:, 1:, :, None])
    first = torch.cat([emissions[:, :1], torch.zeros_like(emissions[:, 2:])], 1)
    return -torch_struct.LinearChainCRF(edges - first[:, :, None]).partition


def segment_loop(segments: Tensor, transitions: Tensor) -> Tensor:
    batch, frames, longest, labels = segments.shape
    begun = [segments.new_zeros(batch, labels)]
    for t in range(1, frames + 1):
        first = max(0, t - longest)
        ended = torch.logsumexp(
            torch.stack([begun[u] - segments[:, u, t - u - 1] for u in range(first, t)]), 0
        )
        begun.append(torch.logsumexp(ended[:, :, None] - transitions, 1))
    return -torch.logsumexp(ended, 1)


def segment_struct(segments: Tensor, transitions: Tensor) -> Tensor:
    # Its index of durations begins at 0, which it ignores; its first label is the one before the first
    # segment, of which there is one here.
    along = -torch.nn.functional.pad(segments, (0, 0, 1, 0))[..., None]
    before = torch.full_like(transitions, NEVER)
    before[:, 0] = 0.0
    edges = torch.cat([along[:, :1] + before, along[:, 1:] - transitions.T], 1)
    return -torch_struct.SemiMarkovCRF(edges).partition


def chain(emissions: Tensor, transitions: Tensor) -> Tensor:
    return linear_chain_crf(emissions, transitions).free_energy()


def semi_markov(segments: Tensor, transitions: Tensor) -> Tensor:
    return SemiMarkovCRF(segments, transitions).free_energy()


def chain_graphs(emissions: Tensor, transitions: Tensor) -> Tensor:
    return free_energy(linear_chain_crf(emissions, transitions).graphs())


def segment_graphs(segments: Tensor, transitions: Tensor) -> Tensor:
    return free_energy(SemiMarkovCRF(segments, transitions).graphs())


def with_gradient(partition: Partition, energies: Tensor, transitions: Tensor) -> tuple[Tensor, ...]:
    parts = [part.detach().requires_grad_() for part in (energies, transitions)]
    free = partition(*parts)
    return free.detach(), *torch.autograd.grad(free.sum(), parts)


def contest(workload: str, shape: tuple[int, ...], runs: int, **contestants: Partition) -> list[Row]:
    """Times them once all are seen to agree."""
    generator = torch.Generator().manual_seed(0)
    energies = torch.randn(shape, generator=generator)
    transitions = torch.randn(shape[-1], shape[-1], generator=generator)
    calls = {
        name: partial(with_gradient, partition, energies, transitions)
        for name, partition in contestants.items()
    }
    ours, *others = (call() for call in calls.values())
    for other in others:
        for found, expected in zip(other, ours, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-2)
    batch, frames, *longest, labels = shape
    arcs = batch * frames * labels * (labels + sum(longest))  # that no recursion can avoid
    return compare(workload, arcs, calls, runs)


def main(
    batch: Annotated[int, typer.Option(help="Sequences.")] = 16,
    frames: Annotated[int, typer.Option(help="Of each sequence.")] = 100,
    labels: Annotated[int, typer.Option(help="Of each frame or segment.")] = 20,
    longest: Annotated[int, typer.Option(help="Frames of a segment.")] = 5,
    few: Annotated[int, typer.Option(help="Sequences where torch-struct cuts segments.")] = 2,
    runs: Annotated[int, typer.Option(help="Runs of each contestant.")] = 5,
    json: Annotated[Path | None, typer.Option(help="A file to keep the figures in.")] = None,
) -> None:
    """CRFs beside torch-struct and a plain torch loop; an arc is a transition or a segment at a frame."""
    torch.set_num_threads(1)
    torch.distributions.Distribution.set_default_validate_args(False)  # torch-struct has nothing to validate
    segments = frames, longest, labels
    rows = [
        *contest(
            f"linear chain, {batch} sequences",
            (batch, frames, labels),
            runs,
            gtn_ebm=chain,
            graphs=chain_graphs,
            loop=chain_loop,
            torch_struct=chain_struct,
        ),
        *contest(
            f"semi-Markov, {batch} sequences",
            (batch, *segments),
            runs,
            gtn_ebm=semi_markov,
            graphs=segment_graphs,
            loop=segment_loop,
        ),
        *contest(
            f"semi-Markov, {few} sequences",
            (few, *segments),
            runs,
            gtn_ebm=semi_markov,
            loop=segment_loop,
            torch_struct=segment_struct,
        ),
    ]
    show("CRF partition with its gradient", rows, json)


if __name__ == "__main__":
    typer.run(main)
