"""CTC loss with its gradient beside torch's, in one process, and how far the gradients are from float64's."""

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks.timing import Row, compare, show
from gtn_ebm import Graph, Structure
from gtn_ebm.dense import ctc_loss, free_energy

SIZES = [
    (100, 28, 20),
    (100, 1000, 20),
    (300, 100, 50),
    (300, 1000, 50),
    (1000, 28, 20),
    (1000, 28, 150),
    (1000, 1000, 20),
    (1000, 1000, 150),
]
"""Frames, classes, labels of each target."""
BATCH = 16
GROWTH = [(16, 500, 60), (16, 1000, 60), (32, 1000, 60), (32, 1000, 120)]
"""Batch, frames, labels: of each the one before with one of them doubled."""
GROWTH_ON_ANY_GRAPH = [(2, 200, 500), (2, 400, 500), (4, 400, 500), (4, 400, 1000)]
"""Batch, frames, states."""
LEAST_TURNS = 9
"""Of those, which are near to what is asked."""
Problem = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
Loss = Callable[..., torch.Tensor]
torch_loss: Loss = torch.nn.functional.ctc_loss


def problem(batch: int, frames: int, classes: int, labels: int, scale: float = 1.0) -> Problem:
    """Random log probabilities of logits of this standard deviation, targets, and full lengths."""
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.standard_normal((frames, batch, classes), np.float32) * np.float32(scale))
    targets = torch.from_numpy(rng.integers(1, classes, (batch, labels)))
    lengths = torch.full((batch,), frames), torch.full((batch,), labels)
    return logits.log_softmax(-1), targets, *lengths


def gradient(loss: Loss, log_probs: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
    """Of the sum of the losses in the log probabilities."""
    log_probs = log_probs.detach().requires_grad_()
    loss(log_probs, *rest, reduction="sum").backward()
    assert log_probs.grad is not None
    return log_probs.grad


def errors(frames: int, classes: int, labels: int, scale: float) -> tuple[float, float]:
    """The largest error of our float32 gradient and of torch's, beside torch's in float64. Torch's holds the
    derivative through a log softmax, exp(log p), which is taken off it again."""
    log_probs, *rest = problem(4, frames, classes, labels, scale)
    exact = gradient(torch_loss, log_probs.double(), *rest)
    ours = gradient(ctc_loss, log_probs, *rest) + log_probs.double().exp()
    theirs = gradient(torch_loss, log_probs, *rest)
    return float((ours - exact).abs().max()), float((theirs - exact).abs().max())


def beside_torch(threads: int, frames: int, classes: int, labels: int, runs: int) -> list[Row]:
    torch.set_num_threads(threads)
    given = problem(BATCH, frames, classes, labels)
    return compare(
        f"T {frames}, C {classes}, L {labels}; threads {threads}",
        BATCH * frames * (2 * labels + 1),
        {"gtn_ebm": partial(gradient, ctc_loss, *given), "torch": partial(gradient, torch_loss, *given)},
        runs,
    )


def growth(runs: int) -> list[Row]:
    """Each size in a contest with the one before, by processor time."""
    torch.set_num_threads(1)
    rows = []
    for before, after in pairwise(GROWTH):
        calls = {
            f"batch {batch}, T {frames}, L {labels}": partial(
                gradient, ctc_loss, *problem(batch, frames, 28, labels)
            )
            for batch, frames, labels in (before, after)
        }
        batch, frames, labels = after
        rows += compare("one doubled", batch * frames * (2 * labels + 1), calls, runs, time.process_time)
    return rows


def random_graph(states: int, classes: int) -> Graph:
    """Eight arcs from each state to any others: nothing of a chain."""
    rng = np.random.default_rng(0)
    source = np.arange(states).repeat(8)
    destination = rng.integers(0, states, len(source))
    structure = Structure(source, destination, rng.integers(0, classes, len(source)), states=states)
    return Graph(structure, torch.from_numpy(rng.standard_normal(len(source)).astype(np.float32)))


def growth_on_any_graph(runs: int) -> list[Row]:
    """Free energy with its gradient, in emissions and arcs, as ``growth``."""
    torch.set_num_threads(1)
    rows = []
    for before, after in pairwise(GROWTH_ON_ANY_GRAPH):
        calls = {}
        for batch, frames, states in (before, after):
            emissions = torch.randn(batch, frames, 28, generator=torch.Generator().manual_seed(0))
            calls[f"batch {batch}, T {frames}, {states} states"] = partial(
                gradient_on_graph, emissions.requires_grad_(), random_graph(states, 28)
            )
        batch, frames, states = after
        arcs = batch * frames * 8 * states
        rows += compare("one doubled, any graph", arcs, calls, runs, time.process_time)
    return rows


def gradient_on_graph(emissions: torch.Tensor, graph: Graph) -> list[torch.Tensor]:
    arcs = graph.energies.detach().requires_grad_()
    free = free_energy(emissions, None, graph.with_energies(arcs))
    return list(torch.autograd.grad(free.sum(), (emissions, arcs)))


def main(
    runs: Annotated[int, typer.Option(help="Runs of each contestant.")] = 5,
    json: Annotated[Path | None, typer.Option(help="A file to keep the figures in.")] = None,
) -> None:
    """CTC loss with its gradient beside torch's, on one and two threads."""
    rows = [row for threads in (1, 2) for size in SIZES for row in beside_torch(threads, *size, runs)]
    show("CTC loss with its gradient, batch of 16", rows, json)
    ratios = [row.ratio for row in rows if row.contestant == "torch"]
    print(f"times as fast as torch: at least {min(ratios):.1f}, median {median(ratios):.1f}")
    print("largest error of the gradient, of logits times 1 and 15 (gtn_ebm, torch):")
    for size in SIZES:
        found = [f"{error:.1e}" for scale in (1.0, 15.0) for error in errors(*size, scale)]
        print("  T {}, C {}, L {}: ".format(*size), *found)
    turns = max(runs, LEAST_TURNS)
    show("As the work grows", growth(turns) + growth_on_any_graph(turns), None)


if __name__ == "__main__":
    typer.run(main)
