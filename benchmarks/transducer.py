"""The transducer loss with its gradient beside a plain torch program and, where it imports, torchaudio.

Sizes are LibriSpeech's, cut to a CPU's: frames of 40 ms, with characters or word pieces as classes.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torch.nn.functional import pad

from benchmarks.timing import Contestants, Row, compare, show
from gtn_ebm.dense import transducer_loss

SIZES = [(8, 100, 20, 128), (4, 150, 80, 29), (4, 150, 40, 500), (2, 250, 60, 1024)]
"""Of each: items, frames, labels, classes."""
Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def plain(logits: Tensor, targets: Tensor, frames: Tensor, labels: Tensor) -> Tensor:
    """The recursion in torch's own operations, a frame at a time; for items of full length."""
    log_p = logits.log_softmax(-1)
    _, steps, places, _ = logits.shape
    blanks = log_p[..., -1]
    of_label = targets.long()[:, None, :, None].expand(-1, steps, -1, 1)
    # What it takes to come to each place within a frame.
    along = pad(log_p[:, :, :-1].gather(-1, of_label)[..., 0].cumsum(-1), (1, 0))
    alpha = along[:, 0]
    for t in range(1, steps):
        alpha = along[:, t] + (alpha + blanks[:, t - 1] - along[:, t]).logcumsumexp(-1)
    return -(alpha[:, -1] + blanks[:, -1, places - 1]).mean()


def peers() -> dict[str, Loss]:
    """torchaudio imports only beside a torch built for its CUDA; elsewhere the plain program is the peer."""
    try:
        return {"torchaudio": import_module("torchaudio.functional").rnnt_loss, "plain torch": plain}
    except (ImportError, OSError):
        return {"plain torch": plain}


def _with_gradient(loss: Loss, logits: Tensor, *rest: Any) -> None:
    loss(logits.detach().requires_grad_(), *rest).backward()


def batch(items: int, frames: int, labels: int, classes: int, runs: int) -> list[Row]:
    torch.manual_seed(0)
    logits = torch.randn(items, frames, labels + 1, classes)
    targets = torch.randint(0, classes - 1, (items, labels), dtype=torch.int32)
    lengths = [torch.full((items,), length, dtype=torch.int32) for length in (frames, labels)]
    contestants: Contestants = {
        name: partial(_with_gradient, loss, logits, targets, *lengths)
        for name, loss in {"gtn_ebm": transducer_loss, **peers()}.items()
    }
    workload = f"batch {items}, T {frames}, U {labels}, C {classes}"
    return compare(workload, logits.numel(), contestants, runs)


def main(
    threads: Annotated[int, typer.Option(help="Threads of every contestant.")] = 1,
    runs: Annotated[int, typer.Option(help="Runs of each contestant.")] = 5,
    json: Annotated[Path | None, typer.Option(help="A file to keep the figures in.")] = None,
) -> None:
    """The transducer loss with its gradient beside torchaudio's; "arcs" counts logits."""
    torch.set_num_threads(threads)
    rows = [row for size in SIZES for row in batch(*size, runs)]
    show("Transducer loss with its gradient", rows, json)


if __name__ == "__main__":
    typer.run(main)
