"""A model in a folder: what it is in ``model.json``, its weights in ``model.safetensors``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gtn_ebm import DataError
from gtn_ebm.io.files import write_beside, write_whole

DESCRIPTION = "model.json"
WEIGHTS = "model.safetensors"


def write(folder: Path, description: Mapping[str, Any], module: nn.Module) -> None:
    """Writes both files, each whole or not at all. Raises OSError where that cannot be done.

    Args:
        folder: made where it is not there.
        description: what JSON can hold, "format" among it.
        module: whose state is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = save({name: weight.contiguous() for name, weight in module.state_dict().items()})
    write_beside(folder / WEIGHTS, lambda beside: beside.write_bytes(content))
    write_whole(folder / DESCRIPTION, json.dumps(description, indent=1, ensure_ascii=False) + "\n")


def read_description(folder: Path, format: str) -> dict[str, Any]:
    """What ``model.json`` holds.

    Raises:
        DataError: it is not there, cannot be read, or has another format than the one wanted.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the folder of a trained model, or train one")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}); is {folder} a trained model?") from error
    if not isinstance(description, dict) or description.get("format") != format:
        raise DataError(f"{path}: not a model of this recipe (its format is not {format!r})")
    return description


def read_weights(folder: Path, module: nn.Module) -> dict[str, Tensor]:
    """The tensors of ``model.safetensors``, read once their names and shapes are seen to be the module's.

    Raises:
        DataError: the file cannot be read, is of another module, or holds what is no finite number.
    """
    path = folder / WEIGHTS
    expected = {name: (weight.dtype, list(weight.shape)) for name, weight in module.state_dict().items()}
    other = DataError(f"{path}: not the weights of the network of {DESCRIPTION}; train it again")
    try:
        with safe_open(path, "pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
            if shapes != {name: shape for name, (_, shape) in expected.items()}:
                raise other
            weights = {name: file.get_tensor(name) for name in expected}
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read ({error}); copy it again or train again") from error
    for name, weight in weights.items():
        if weight.dtype != expected[name][0]:
            raise other
        if not weight.isfinite().all():
            raise DataError(f"{path}: {name} holds what is no finite number; train again")
    return weights
