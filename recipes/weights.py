"""The weights of a model in a file."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gtn_ebm import DataError
from gtn_ebm.io.files import write_beside


def write(path: Path, module: nn.Module) -> None:
    """Writes the state of the module, whole or not at all. Raises OSError where that cannot be done."""
    content = save({name: weight.contiguous() for name, weight in module.state_dict().items()})
    write_beside(path, lambda beside: beside.write_bytes(content))


def read(path: Path, module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file, read once their names and shapes are seen to be those of the module.

    Raises:
        DataError: the file cannot be read, is of another module, or holds what is no finite number.
    """
    expected = {name: (weight.dtype, list(weight.shape)) for name, weight in module.state_dict().items()}
    other = DataError(f"{path}: not the weights of the network of model.json; train it again")
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
