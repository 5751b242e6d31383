"""Compilation ahead of use."""

from __future__ import annotations

import torch

from gtn_ebm.graph import Graph, Structure
from gtn_ebm.inference import best_path, free_energy, posteriors
from gtn_ebm.ops import closure, compose, connect, topological_sort


def warmup(dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)) -> None:
    """Compiles every kernel for energies of these dtypes, or loads it from numba's cache on disk.

    Kernels are compiled when first called, which takes a second or two each, and kept in the folder that
    numba's NUMBA_CACHE_DIR names, else in ``__pycache__`` beside the code. Call this where the first answer
    must not wait: at the start of a service, or when building a container image.
    """
    for dtype in dtypes:
        # Arcs neither in the order of their states nor of their labels, then a cycle, then arcs in order.
        structure = Structure([1, 0, 0], [2, 2, 1], [0, 1, 0])
        graph = Graph(structure, torch.zeros(3, dtype=dtype, requires_grad=True))
        energy = free_energy(compose(connect(graph), graph))
        (gradient,) = torch.autograd.grad(energy, graph.energies, create_graph=True)
        gradient.sum().backward()
        posteriors(graph.detach())
        best_path(graph)
        compose(closure(graph), graph)
        compose(topological_sort(graph), graph)
