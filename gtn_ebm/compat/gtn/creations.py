"""Graphs made at once."""

from __future__ import annotations

import numpy as np

import gtn_ebm.graph as core
from gtn_ebm.compat.gtn.cuda import unavailable
from gtn_ebm.compat.gtn.device import CPU, Device, DeviceType
from gtn_ebm.compat.gtn.graph import Arrays, Graph, epsilon


def scalar_graph(weight: float, device: Device | DeviceType | bool = CPU, calc_grad: bool = True) -> Graph:
    """A graph of one arc, labelled epsilon, with this weight: ``scalar_graph(weight, calc_grad=True)``, or
    with a device between, as later versions of gtn have it.

    Raises:
        ValueError: another device than the CPU.
    """
    structure = core.Structure([0], [1], [epsilon])
    return _made(structure, np.array([weight], np.float32), device, calc_grad)


class Linear(core.Structure):
    """That of a ``linear_graph``: its weights are a matrix, its first node starts, its last accepts."""


def linear_graph(M: int, N: int, device: Device | DeviceType | bool = CPU, calc_grad: bool = True) -> Graph:
    """A chain of ``M + 1`` nodes with ``N`` arcs, labelled 0 to ``N − 1``, from each to the next.

    Their weights are 0; ``set_weights`` takes an emission matrix [M, N] row by row. Arguments as of
    ``scalar_graph``.

    >>> linear_graph(2, 2)
    0
    2
    0 1 0 0 0
    0 1 1 1 0
    1 2 0 0 0
    1 2 1 1 0
    """
    source = np.repeat(np.arange(M, dtype=np.int32), N)
    labels = np.tile(np.arange(N, dtype=np.int32), M)
    structure = Linear.of_valid(source, source + np.int32(1), labels, labels, M + 1)
    return _made(structure, np.zeros(M * N, np.float32), device, calc_grad)


def _made(
    structure: core.Structure, weights: np.ndarray, device: Device | DeviceType | bool, calc_grad: bool
) -> Graph:
    if isinstance(device, bool | int):  # gtn 0.0.1 has no device, and calc_grad in its place
        device, calc_grad = CPU, bool(device)
    if device not in (CPU, Device(CPU)):
        unavailable(f"a graph on {device}")
    nodes = np.arange(structure.states)
    final = np.where(nodes == nodes[-1], 0.0, -np.inf).astype(np.float32)
    return Graph.of(Arrays(structure, nodes == 0, final, weights), calc_grad)
