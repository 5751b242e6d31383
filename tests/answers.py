"""Graphs of several answers, the energies of their paths and the distances between strings, written out: what
incorrect answers, costs and losses are tried on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from gtn_ebm import EPSILON, Graph, Structure
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


def rivals(count: int, most_paths: int = 60) -> Iterator[tuple[Graph, list[Tensor]]]:
    """So many random acyclic transducers that write two strings or more, over labels 0 and 1, some of them on
    several paths; with random energies, and these to differentiate in."""
    random = np.random.default_rng(count)
    while count:
        states, arcs = int(random.integers(3, 7)), int(random.integers(5, 14))
        source, destination = np.sort(random.integers(0, states, (2, arcs)), axis=0)
        read, written = random.integers(EPSILON, 2, (2, arcs))
        forwards = source < destination
        structure = Structure(
            *(part[forwards] for part in (source, destination, read, written)), states=states
        )
        ends = (np.where(random.random(states) < 0.4, 0.0, np.inf) for _ in range(2))
        graph = Graph(
            structure, torch.zeros(structure.arcs, dtype=torch.float64), *map(torch.from_numpy, ends)
        )
        found = walks(graph)
        if len(found) <= most_paths and len({walk.outputs for walk in found}) > 1:
            count -= 1
            yield with_random_energies(graph, int(random.integers(2**32)))


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


def same_with_gradient(ours: Tensor, theirs: Tensor, parts: list[Tensor]) -> None:
    """Asserts that two scalars, and their derivatives in the parts, are equal to 1e-9."""
    assert abs(ours.item() - theirs.item()) < 1e-9
    gradients = (torch.autograd.grad(value, parts, retain_graph=True) for value in (ours, theirs))
    for one, two in zip(*gradients, strict=True):
        assert torch.allclose(one, two, rtol=1e-9, atol=1e-9)
