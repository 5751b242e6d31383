"""The transducer loss with its gradient beside a plain torch program and, where it imports, torchaudio.

Sizes are LibriSpeech's, cut to a CPU's: frames of 40 ms, with characters or word pieces as classes.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor
from torch.nn.functional import pad

from benchmarks.timing import Contestants, Row, compare, show
from gtn_ebm.dense import transducer_loss

SIZES = [(8, 100, 20, 128), (4, 150, 80, 29), (4, 150, 40, 500), (2, 250, 60, 1024)]
"""Of each: items, frames, labels, classes."""
THREADS = [1, 2]
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


def _gradient(loss: Loss, logits: Tensor, *rest: Tensor) -> Tensor:
    values = logits.detach().requires_grad_()
    return torch.autograd.grad(loss(values, *rest), values)[0]


def problem(items: int, frames: int, labels: int, classes: int) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    logits = torch.randn(items, frames, labels + 1, classes)
    targets = torch.randint(0, classes - 1, (items, labels), dtype=torch.int32)
    lengths = (torch.full((items,), length, dtype=torch.int32) for length in (frames, labels))
    return logits, targets, *lengths


def batch(threads: int, items: int, frames: int, labels: int, classes: int, runs: int) -> list[Row]:
    torch.set_num_threads(threads)
    logits, *rest = problem(items, frames, labels, classes)
    contestants: Contestants = {
        name: partial(_gradient, loss, logits, *rest)
        for name, loss in {"gtn_ebm": transducer_loss, **peers()}.items()
    }
    workload = f"batch {items}, T {frames}, U {labels}, C {classes}; threads {threads}"
    return compare(workload, logits.numel(), contestants, runs)


def errors(*size: int) -> dict[str, float]:
    """The largest errors of the float32 gradients, against ours in float64."""
    logits, *rest = problem(*size)
    exact = _gradient(transducer_loss, logits.double(), *rest)
    losses = {"gtn_ebm": transducer_loss, **peers()}
    return {
        name: float((_gradient(loss, logits, *rest) - exact).abs().max()) for name, loss in losses.items()
    }


def main(
    threads: Annotated[list[int], typer.Option(help="Threads of every contestant.")] = THREADS,
    runs: Annotated[int, typer.Option(help="Runs of each contestant.")] = 5,
    json: Annotated[Path | None, typer.Option(help="A file to keep the figures in.")] = None,
) -> None:
    """The transducer loss with its gradient beside torchaudio's; "arcs" counts logits."""
    rows = [row for number in threads for size in SIZES for row in batch(number, *size, runs)]
    show("Transducer loss with its gradient", rows, json)
    for size in SIZES:
        found = ", ".join(f"{name} {error:.1e}" for name, error in errors(*size).items())
        print(f"largest error of the gradient, {size}: {found}")


if __name__ == "__main__":
    typer.run(main)
