"""Programs written for gtn, on ``compat.gtn``, beside torch's ``ctc_loss``, in one process and on one thread.

gtn itself cannot be installed from the package index; what it takes is known relative to torch. Both ways to
work out CTC are measured: the criterion, and the target's graph composed with the emissions.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from benchmarks.ctc import BATCH, gradient, problem, torch_loss
from benchmarks.timing import Row, compare, show
from gtn_ebm.compat import gtn

SIZES = [(100, 28, 20), (300, 100, 50), (1000, 28, 150)]
"""Frames, classes, labels of each target."""
Loss = Callable[[gtn.Graph, Sequence[int]], gtn.Graph]


def alignments(target: Sequence[int], blank: int = 0) -> gtn.Graph:
    """All ways to write the target, node by node as in gtn's examples."""
    g = gtn.Graph(False)
    nodes = 2 * len(target) + 1
    for node in range(nodes):
        label = target[node // 2] if node % 2 else blank
        g.add_node(node == 0, node >= nodes - 2)
        g.add_arc(node, node, label)
        if node > 0:
            g.add_arc(node - 1, node, label)
        if node % 2 and node > 1 and label != target[node // 2 - 1]:
            g.add_arc(node - 2, node, label)
    return g


def criterion(emissions: gtn.Graph, target: Sequence[int]) -> gtn.Graph:
    return gtn.criterion.ctc_loss(emissions, target, 0)


def composed(emissions: gtn.Graph, target: Sequence[int]) -> gtn.Graph:
    return gtn.negate(gtn.forward_score(gtn.intersect(alignments(target), emissions)))


def step(loss: Loss, log_probs: Tensor, targets: list[list[int]]) -> Tensor:
    """The gradient of the sum of the losses in the log probabilities [N, T, C], as gtn's examples take it."""
    items, frames, classes = log_probs.shape
    graphs: list[gtn.Graph] = [gtn.Graph()] * items

    def one(item: int) -> None:
        emissions = gtn.linear_graph(frames, classes, True)
        emissions.set_weights(log_probs[item].data_ptr())
        gtn.backward(loss(emissions, targets[item]))
        graphs[item] = emissions

    gtn.parallel_for(one, range(items))
    return torch.stack([torch.from_numpy(g.grad().weights_to_numpy()).view(frames, classes) for g in graphs])


def beside_torch(frames: int, classes: int, labels: int, runs: int) -> list[Row]:
    log_probs, targets, *lengths = problem(BATCH, frames, classes, labels)
    by_item, rows = log_probs.transpose(0, 1).contiguous(), targets.tolist()
    return compare(
        f"T {frames}, C {classes}, L {labels}",
        BATCH * frames * (2 * labels + 1),
        {
            "criterion": partial(step, criterion, by_item, rows),
            "composed": partial(step, composed, by_item, rows),
            "torch": partial(gradient, torch_loss, log_probs, targets, *lengths),
        },
        runs,
    )


def main(
    runs: Annotated[int, typer.Option(help="Runs of each contestant.")] = 5,
    json: Annotated[Path | None, typer.Option(help="A file to keep the figures in.")] = None,
) -> None:
    """CTC in programs written for gtn beside torch's, batch of 16."""
    torch.set_num_threads(1)
    rows = [row for size in SIZES for row in beside_torch(*size, runs)]
    show("CTC through gtn's interface, batch of 16", rows, json)


if __name__ == "__main__":
    typer.run(main)
