"""Queries of the path distribution as sums over paths that are written out, in plain torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from gtn_ebm import Graph, Structure
from tests.enumeration import Walk, requiring_grad, walks

BETAS = (0.25, 1.0, 3.0)


def random_graphs(
    count: int, seed: int = 0, acceptor: bool | None = None, most_states: int = 6, large: bool = True
) -> Iterator[tuple[Graph, float]]:
    """Acyclic graphs that have a path, each with a β: several initial and final states, epsilons, dead
    states, parallel arcs, equal energies, large ones where wanted, and some of +inf."""
    some = [0.0, 1.0, 40.0, -40.0] if large else [0.0, 1.0]
    rng = np.random.default_rng(seed)
    while count:
        states, arcs = int(rng.integers(1, most_states + 1)), int(rng.integers(0, 2 * most_states))
        number = rng.permutation(states)
        ends = np.sort(rng.integers(0, states, (2, arcs)), axis=0)
        source, destination = number[ends[:, ends[0] < ends[1]]]
        inputs, outputs = rng.integers(-1, 2, (2, len(source)))
        accepts = bool(rng.random() < 0.5) if acceptor is None else acceptor
        structure = Structure(source, destination, inputs, None if accepts else outputs, states=states)
        graph = Graph(structure, *(_energies(rng, size, some) for size in (len(source), states, states)))
        if walks(graph):
            count -= 1
            yield graph, BETAS[count % len(BETAS)]


def _energies(rng: np.random.Generator, count: int, some: list[float]) -> Tensor:
    energies = rng.uniform(-3.0, 3.0, count)
    kind = rng.random(count)
    energies[kind < 0.2] = rng.choice(some, int((kind < 0.2).sum()))
    energies[kind > 0.85] = math.inf
    return torch.from_numpy(energies)


def uses(graph: Graph, found: Sequence[Walk]) -> Tensor:
    """How often each path uses each arc, [N, A]."""
    counts = np.zeros((len(found), graph.arcs))
    for row, walk in zip(counts, found, strict=True):
        np.add.at(row, list(walk.arcs), 1.0)
    return torch.from_numpy(counts)


def energies(graph: Graph, found: Sequence[Walk]) -> Tensor:
    """Of each path, [N], differentiable in those of the graph."""
    first, last = (torch.tensor([getattr(walk, end) for walk in found]) for end in ("first", "last"))
    finite = torch.where(graph.energies < torch.inf, graph.energies, 0.0)
    return uses(graph, found) @ finite + graph.initial[first] + graph.final[last]


def probabilities(graph: Graph, found: Sequence[Walk], beta: float) -> Tensor:
    """exp(−β E) / Z of each path, [N]."""
    return torch.softmax(-beta * energies(graph, found), 0)


def free(energies: Tensor, beta: float) -> Tensor:
    return -torch.logsumexp(-beta * energies, 0) / beta


Query = Callable[[Graph, float], Tensor]
Reference = Callable[[Graph, list[Walk], float], Tensor]


def check(some: Iterable[tuple[Graph, float]], query: Query, wanted: Reference) -> None:
    """Values and gradients of a query are those of a sum over all paths, to 1e-9 of their size."""
    for graph, beta in some:
        found = walks(graph)
        ours, theirs = requiring_grad(graph), requiring_grad(graph)
        values = query(graph.with_energies(*ours), beta), wanted(graph.with_energies(*theirs), found, beta)
        for one, other in zip(
            *(
                [value.detach(), *_gradients(value, parts)]
                for value, parts in zip(values, (ours, theirs), strict=True)
            ),
            strict=True,
        ):
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-9, atol=1e-9)


def _gradients(value: Tensor, parts: list[Tensor]) -> Sequence[Tensor]:
    return torch.autograd.grad(value.sum(), parts, allow_unused=True, materialize_grads=True)


def check_derivatives(some: Iterable[tuple[Graph, float]], *queries: Query) -> None:
    """First and second derivatives are those that finite differences give; what is +inf is held."""
    for graph, beta in some:
        parts = [graph.energies, graph.initial, graph.final]
        finite = [part.isfinite() for part in parts]
        free = [torch.where(f, p, 0.0).requires_grad_() for f, p in zip(finite, parts, strict=True)]
        for query in queries:
            of_parts = partial(_query_of_parts, query, graph, beta, finite)
            assert torch.autograd.gradcheck(of_parts, free)
            assert torch.autograd.gradgradcheck(of_parts, free)


def _query_of_parts(query: Query, graph: Graph, beta: float, finite: list[Tensor], *given: Tensor) -> Tensor:
    parts = (torch.where(f, part, torch.inf) for f, part in zip(finite, given, strict=True))
    return query(graph.with_energies(*parts), beta)


def derivatives(query: Callable[[Graph], Tensor], graph: Graph) -> tuple[Tensor, Tensor]:
    """Of a query in the finite energies of the arcs: the first ones, and the second ones times a vector."""
    finite = graph.energies.isfinite()
    energies = torch.where(finite, graph.energies, 0.0).requires_grad_()
    vector = torch.randn(graph.arcs, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    value = query(graph.with_energies(torch.where(finite, energies, torch.inf)))
    (first,) = torch.autograd.grad(value, energies, create_graph=True)
    product = torch.zeros_like(vector)
    if first.requires_grad:
        (product,) = torch.autograd.grad(first @ vector, energies)
    return first.detach(), product
