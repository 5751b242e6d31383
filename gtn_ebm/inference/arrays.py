"""Tensors as the kernels take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph


def as_array(values: Tensor) -> NDArray[Any]:
    """The values in an array of float32 or, from float64, float64; not a copy where they lie so already."""
    values = values.detach().cpu()
    if values.dtype not in (torch.float32, torch.float64):
        values = values.float()
    return values.contiguous().numpy()


def check_one_dtype(graphs: Sequence[Graph]) -> None:
    """Raises GraphError where the graphs of a list have energies of different dtypes."""
    for k, graph in enumerate(graphs):
        if graph.dtype != graphs[0].dtype:
            raise GraphError(
                f"the graphs of a list need one dtype, but graph {k} has {graph.dtype}, graph 0 {graphs[0].dtype}"
            )
