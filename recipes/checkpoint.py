"""What a training keeps after each epoch: a checkpoint to go on from, and metrics that one can plot."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn, optim

from gtn_ebm import DataError
from gtn_ebm.io.files import write_beside, write_whole

Parts = Mapping[str, nn.Module | optim.Optimizer]
"""All that a training changes, by name."""


class Progress(NamedTuple):
    """How far a training is.

    Attributes:
        step: of the optimiser, from 0.
        metrics: of each whole epoch; all have the keys of the first.
    """

    step: int
    metrics: list[dict[str, Any]]


def keep(folder: Path, identity: str, parts: Parts, step: int, metrics: Sequence[Mapping[str, Any]]) -> None:
    """Writes ``checkpoint.pt`` and ``metrics.csv``, each whole or not at all.

    Args:
        folder: of the model.
        identity: tells this training, its data and settings, from others.
        parts: whose states are kept.
        step, metrics: as of ``Progress``; metrics of one epoch at least.
    """
    state = {"identity": identity, "step": step, "metrics": list(metrics)}
    state |= {name: part.state_dict() for name, part in parts.items()}
    content = io.BytesIO()
    torch.save(state, content)
    write_beside(folder / "checkpoint.pt", lambda beside: beside.write_bytes(content.getbuffer()))
    rows = [",".join(metrics[0]), *(",".join(map(str, row.values())) for row in metrics)]
    write_whole(folder / "metrics.csv", "\n".join(rows) + "\n")


def resume(folder: Path, identity: str, parts: Parts, device: torch.device | None = None) -> Progress:
    """Brings the parts into the states of the checkpoint, if there is one. Nothing in it is executed.

    Raises:
        DataError: it is of another training, or cannot be read.
    """
    path = folder / "checkpoint.pt"
    if not path.exists():
        return Progress(0, [])
    remedy = "remove it or choose another folder"
    try:
        state = torch.load(path, weights_only=True, map_location=device)
        if state["identity"] != identity:
            raise DataError(f"{path}: of a training with other data or settings; {remedy}")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return Progress(state["step"], state["metrics"])
    except DataError:
        raise
    except Exception as error:  # a damaged file makes torch raise nearly every kind of error
        raise DataError(f"{path}: not a checkpoint that can be read; {remedy}") from error
