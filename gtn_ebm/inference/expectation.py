"""Means and variances over the paths of a graph: all of them products or derivatives of its posteriors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, overload

import numpy as np
import torch
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import check_beta
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph
from gtn_ebm.inference.free_energy import Posteriors, free_energy, posteriors
from gtn_ebm.ops.scaling import scale


def distributions(graphs: Sequence[Graph], beta: float) -> tuple[list[Graph], Tensor, list[Posteriors]]:
    """The graphs in float64, their free energies and their posteriors.

    Raises:
        GraphError: β is not positive and finite, or a graph has no path of finite energy.
    """
    check_finite(beta)
    exact = [in_float64(graph) for graph in graphs]
    free = free_energy(exact, beta).double()
    check_paths(free)
    return exact, free, posteriors(exact, beta)


def check_finite(beta: float) -> None:
    """Raises GraphError unless β is a positive, finite number."""
    check_beta(beta)
    if math.isinf(beta):
        raise GraphError("a distribution of paths needs a finite β; at β = ∞ ask for the best path")


def check_paths(free: Tensor) -> None:
    """Raises GraphError where one of the free energies is that of no path."""
    empty = torch.isposinf(free).nonzero()
    if len(empty):
        raise GraphError(
            f"graph {int(empty[0])} has no path of finite energy, and so no distribution of paths; "
            "leave it out, or see why its answer cannot be reached"
        )


def in_float64(graph: Graph) -> Graph:
    """The same graph, gradients included, so that differences of large sums lose nothing."""
    return graph.with_energies(graph.energies.double(), graph.initial.double(), graph.final.double())


def mean_of(uses: Tensor, values: Tensor) -> Tensor:
    """Σ uses · values over the first dimension; what is never used counts for nothing, whatever its value.

    +inf where something of value +inf is used, with a gradient of 0.
    """
    used = (uses > 0.0).view(-1, *[1] * (values.ndim - 1))
    infinite = torch.isinf(values)
    total = torch.tensordot(uses, torch.where(used & ~infinite, values, 0.0), 1)
    return torch.where((used & infinite).any(0), torch.inf, total)


@overload
def expectation(graphs: Graph, values: str | Tensor, beta: float = 1.0) -> Tensor: ...
@overload
def expectation(graphs: Sequence[Graph], values: str | Sequence[Tensor], beta: float = 1.0) -> Tensor: ...
@takes_graphs
def expectation(
    graphs: Graph | Sequence[Graph], values: str | Tensor | Sequence[Tensor], beta: float = 1.0
) -> Tensor:
    """E[Σ value of each arc used] under p(path) ∝ exp(−β E(path)): an expected count, feature or cost.

    Its derivative in an energy is −β times a covariance.

    Args:
        graphs: one graph, or a list of them; on cycles an arc counts each time it is used.
        values: of each arc, [A] or [A, …], in which the result is differentiable, too; for a list of graphs a
            list. Or the name of a numerical arc attribute. Values of arcs on no path do not matter.
        beta: inverse temperature, finite and > 0.

    Returns:
        A scalar, or […]; for a list of B graphs [B, …]. In the dtype of the energies.

    Raises:
        CycleError: as ``free_energy``.
        GraphError: a graph without a path; values of another length, or NaN or −inf on a path; no such
            attribute; β out of range.

    Cost: the two passes of ``posteriors``, whatever the number of features: O(S + A) time and memory for an
    acyclic graph; that of ``shortest_distance`` for one with cycles.

    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.zeros(2), attributes={"frames": [3, 5]})
    >>> expectation(graph, "frames")
    tensor(4.)
    """
    if isinstance(graphs, Graph):
        if not isinstance(values, str | Tensor):
            raise GraphError("values of one graph are one tensor, or the name of an arc attribute")
        return _expectations([graphs], [values], beta)[0]
    if isinstance(values, str):
        return _expectations(graphs, [values] * len(graphs), beta)
    if len(values) != len(graphs):
        raise GraphError(f"values for {len(values)} graphs do not fit {len(graphs)} graphs")
    return _expectations(graphs, list(values), beta)


def _expectations(graphs: Sequence[Graph], values: Sequence[str | Tensor], beta: float) -> Tensor:
    if not graphs:
        return torch.zeros(0)
    _, _, found = distributions(graphs, beta)
    each = [
        _values(graph, of_graph, posterior.arcs)
        for graph, of_graph, posterior in zip(graphs, values, found, strict=True)
    ]
    means = [mean_of(posterior.arcs, of_arcs) for posterior, of_arcs in zip(found, each, strict=True)]
    return torch.stack(means).to(graphs[0].dtype)


def _values(graph: Graph, values: str | Tensor, uses: Tensor) -> Tensor:
    """In float64, [A, …], no NaN where an arc is used."""
    if isinstance(values, str):
        if values not in graph.attributes:
            raise GraphError(f"the graph has no arc attribute {values!r}; it has {sorted(graph.attributes)}")
        named = f"attribute {values!r}"
        values = _numbers(graph.attributes[values], named)
    else:
        named = "values"
    if not isinstance(values, Tensor) or values.ndim == 0 or len(values) != graph.arcs:
        shape = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise GraphError(f"{named} must hold a number for each of {graph.arcs} arcs, not {shape}")
    values = values.to(uses)
    width = math.prod(values.shape[1:])
    unknown = ~(values.detach() > -torch.inf).view(graph.arcs, width).any(1) & (uses > 0.0)
    if unknown.any():
        raise GraphError(
            f"{named} is NaN or −inf for arc {int(unknown.nonzero()[0])}, which paths use; "
            "say what such an arc counts, 0 for nothing"
        )
    return values


def _numbers(attribute: Tensor | list[object], named: str) -> Tensor:
    if isinstance(attribute, Tensor):
        return attribute
    try:
        return torch.from_numpy(np.asarray(attribute, np.float64))
    except (TypeError, ValueError) as error:
        raise GraphError(f"{named} must hold a number for each arc: {error}") from error


@takes_graphs
def expected_labels(
    graph: Graph, beta: float = 1.0, *, side: Literal["input", "output"] = "output", count: int | None = None
) -> Tensor:
    """How often each label is expected to be read or written: [count], epsilons left out.

    Args:
        graph, beta: as of ``expectation``.
        side: whose labels.
        count: how many labels there are; one more than the largest in the graph where omitted.

    Raises:
        GraphError: as ``expectation``; a label of the graph is not below ``count``.

    Cost: that of ``expectation``.

    >>> from gtn_ebm import Structure
    >>> expected_labels(Graph(Structure([0, 0, 1], [1, 1, 2], [0, 1, 1]), torch.zeros(3)))
    tensor([0.5000, 1.5000])
    """
    if side not in ("input", "output"):
        raise GraphError(f"side must be 'input' or 'output', not {side!r}")
    labels = graph.input_labels if side == "input" else graph.output_labels
    largest = int(labels.max(initial=-1))
    count = largest + 1 if count is None else count
    if largest >= count:
        raise GraphError(f"the graph has the label {largest}, but only {count} labels are to be counted")
    _, _, (found,) = distributions([graph], beta)
    real = np.flatnonzero(labels >= 0)
    place = torch.from_numpy(labels[real].astype(np.int64)).to(found.arcs.device)
    arcs = torch.from_numpy(real).to(found.arcs.device)
    return found.arcs.new_zeros(count).index_add(0, place, found.arcs[arcs]).to(graph.dtype)


def mean_energies(found: Iterable[Posteriors], graphs: Iterable[Graph]) -> Tensor:
    """The expected energy of a path, [B], of each graph under the posteriors that may be another's."""
    return torch.stack(
        [
            mean_of(torch.cat(posterior), torch.cat([graph.energies, graph.initial, graph.final]))
            for posterior, graph in zip(found, graphs, strict=True)
        ]
    )


@takes_graphs
def expected_energy(graphs: Graph | Sequence[Graph], beta: float = 1.0) -> Tensor:
    """⟨E⟩, the mean of E(path) under p(path) ∝ exp(−β E(path)), initial and final energies included.

    A scalar, or [B] for a list of B graphs. It is the derivative of β F_β in β. Args and errors as of
    ``expectation``.

    Cost: that of ``expectation``.

    >>> from gtn_ebm import Structure
    >>> expected_energy(Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([1.0, 1.0])))
    tensor(1.)
    """
    if isinstance(graphs, Graph):
        return expected_energy([graphs], beta)[0]
    if not graphs:
        return torch.zeros(0)
    exact, _, found = distributions(graphs, beta)
    return mean_energies(found, exact).to(graphs[0].dtype)


@takes_graphs
def energy_variance(graphs: Graph | Sequence[Graph], beta: float = 1.0) -> Tensor:
    """⟨E²⟩ − ⟨E⟩² under p(path) ∝ exp(−β E(path)): −d⟨E⟩/dβ.

    A scalar, or [B] for a list of B graphs. With all energies times s, d²F/ds² = −β Var(E) at s = 1, which is
    how it is found: no more is needed than the second derivative of the free energy, and nothing cancels.
    Args and errors as of ``expectation``; differentiable as often as wanted.

    Cost: that of ``expectation``, twice.

    >>> from gtn_ebm import Structure
    >>> energy_variance(Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([1.0, 1.0])))
    tensor(0.)
    """
    if isinstance(graphs, Graph):
        return energy_variance([graphs], beta)[0]
    check_finite(beta)
    if not graphs:
        return torch.zeros(0)
    exact = [in_float64(graph) for graph in graphs]
    parts = [part for graph in exact for part in (graph.energies, graph.initial, graph.final)]
    differentiable = torch.is_grad_enabled() and any(part.requires_grad for part in parts)
    with torch.inference_mode(False), torch.enable_grad():
        if not differentiable:
            copies = [part.detach().clone() for part in parts]
            exact = [graph.with_energies(*copies[3 * k : 3 * k + 3]) for k, graph in enumerate(exact)]
        times = exact[0].energies.new_ones(len(graphs), requires_grad=True)
        free = free_energy([scale(*pair) for pair in zip(exact, times, strict=True)], beta)
        check_paths(free)
        (mean,) = torch.autograd.grad(free.sum(), times, create_graph=True)
        (slope,) = torch.autograd.grad(mean.sum(), times, create_graph=differentiable)
    return (slope / -beta).to(graphs[0].dtype) + 0.0
