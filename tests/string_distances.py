"""Distances between strings, and the energies of paths, written out: what costs and losses are tried on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from gtn_ebm import Graph
from tests.enumeration import Walk, requiring_grad, walks

String = tuple[int, ...]


def selector(string: Sequence[int]) -> Graph:
    """The acceptor of one string, in float64."""
    return Graph.linear(list(string), energies=torch.zeros(len(string), dtype=torch.float64))


def edits(one: String, other: String) -> int:
    """Levenshtein's distance."""
    row = list(range(len(other) + 1))
    for place, label in enumerate(one, 1):
        before, row = row, [place]
        for k, wanted in enumerate(other):
            row.append(min(before[k] + (label != wanted), before[k + 1] + 1, row[k] + 1))
    return row[-1]


def substitutions(one: String, other: String) -> int:
    """Hamming's distance, and the difference in length."""
    return sum(a != b for a, b in zip(one, other, strict=False)) + abs(len(one) - len(other))


def nearest(string: String, answers: Sequence[String], distance: Callable[[String, String], int]) -> int:
    """The distance to the nearest answer."""
    return min(distance(string, answer) for answer in answers)


def with_random_energies(graph: Graph, seed: int) -> tuple[Graph, list[Tensor]]:
    """The graph with other finite energies, so that no two paths are alike, and these to differentiate in."""
    random = np.random.default_rng(seed)
    parts = [
        torch.where(torch.isfinite(part), torch.from_numpy(random.normal(size=len(part))), part)
        .detach()
        .requires_grad_()
        for part in requiring_grad(graph)
    ]
    return graph.with_energies(*parts), parts


def path_energies(graph: Graph) -> list[tuple[Walk, Tensor]]:
    """All paths with their energies, differentiable in those of the graph."""
    return [
        (
            walk,
            graph.initial[walk.first] + graph.energies[list(walk.arcs)].sum() + graph.final[walk.last],
        )
        for walk in walks(graph)
    ]
