"""How uncertain a distribution of paths or strings is, how far two are apart, and what β does to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph
from gtn_ebm.inference.expectation import (
    check_paths,
    distributions,
    energy_variance,
    in_float64,
    mean_energies,
)
from gtn_ebm.inference.free_energy import free_energy, posteriors
from gtn_ebm.ops.composition import compose
from gtn_ebm.ops.difference import difference
from gtn_ebm.ops.epsilons import remove_epsilons
from gtn_ebm.ops.properties import properties
from gtn_ebm.ops.scaling import scale


@takes_graphs
def entropy(graphs: Graph | Sequence[Graph], beta: float = 1.0) -> Tensor:
    """−Σ p log p over the paths, p(path) ∝ exp(−β E(path)), in nats: β (⟨E⟩ − F_β).

    Cycles are summed in closed form.

    Args:
        graphs: one graph, or a list of them.
        beta: inverse temperature, finite and > 0.

    Returns:
        A scalar, or [B] for a list of B graphs, in the dtype of the energies; worked out in float64.
        Differentiable as often as wanted.

    Raises:
        CycleError: as ``free_energy``.
        GraphError: a graph without a path of finite energy, or β out of range.

    Source: Li and Eisner, "First- and second-order expectation semirings" (2009), by derivatives of the free
    energy instead.

    Cost: that of ``expectation``.

    >>> from gtn_ebm import Structure
    >>> entropy(Graph(Structure([0, 0], [1, 1], [0, 1]), torch.zeros(2)))  # log 2
    tensor(0.6931)
    """
    if isinstance(graphs, Graph):
        return entropy([graphs], beta)[0]
    if not graphs:
        return torch.zeros(0)
    exact, free, found = distributions(graphs, beta)
    return (beta * (mean_energies(found, exact) - free)).to(graphs[0].dtype)


@takes_graphs
def cross_entropy(
    graphs: Graph | Sequence[Graph], others: Graph | Sequence[Graph], beta: float = 1.0
) -> Tensor:
    """−Σ p log q over paths, in nats: p ∝ exp(−β E) by the energies of ``graphs``, q by those of ``others``.

    β (⟨E_q⟩_p − F_β(q)). +inf, with a gradient of 0, where q leaves out a path of p.

    Args:
        graphs, others: of one structure each, with two sets of energies; two graphs, or two lists of them.
        beta: inverse temperature of both, finite and > 0.

    Returns:
        A scalar, or [B], as of ``entropy``; differentiable in the energies of both.

    Raises:
        GraphError: structures or numbers of graphs differ; else as ``entropy``.

    Cost: that of ``expectation``, of each graph.

    >>> from gtn_ebm import Structure
    >>> p = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.zeros(2))
    >>> cross_entropy(p, p.with_energies(torch.tensor([0.0, 1.0])))
    tensor(0.8133)
    """
    return _apart(graphs, others, beta, own=False)


@takes_graphs
def kl_divergence(
    graphs: Graph | Sequence[Graph], others: Graph | Sequence[Graph], beta: float = 1.0
) -> Tensor:
    """Σ p log(p / q) over paths, in nats: ``cross_entropy`` less ``entropy``, ≥ 0. Args and errors as there.

    Cost: that of ``expectation``, of each graph.

    >>> from gtn_ebm import Structure
    >>> p = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.zeros(2))
    >>> kl_divergence(p, p.with_energies(torch.tensor([0.0, 1.0])))
    tensor(0.1201)
    """
    return _apart(graphs, others, beta, own=True)


def _apart(
    graphs: Graph | Sequence[Graph], others: Graph | Sequence[Graph], beta: float, own: bool
) -> Tensor:
    """The cross-entropy, less the entropy where ``own``."""
    if isinstance(graphs, Graph) and isinstance(others, Graph):
        return _apart([graphs], [others], beta, own)[0]
    if isinstance(graphs, Graph) or isinstance(others, Graph) or len(graphs) != len(others):
        raise GraphError("two graphs can be compared, or two lists of as many graphs")
    for k, (graph, other) in enumerate(zip(graphs, others, strict=True)):
        if not _same_structure(graph, other):
            raise GraphError(
                f"the graphs {k} differ in structure, so that their paths cannot be matched; "
                "compare what they write with string_kl_divergence"
            )
    if not graphs:
        return torch.zeros(0)
    exact, free, found = distributions(graphs, beta)
    theirs = [in_float64(other) for other in others]
    other_free = free_energy(theirs, beta)
    check_paths(other_free)
    surprise = mean_energies(found, theirs) - other_free
    if own:
        surprise = surprise - (mean_energies(found, exact) - free)
    return (beta * surprise).to(graphs[0].dtype)


def _same_structure(graph: Graph, other: Graph) -> bool:
    if graph.structure is other.structure:
        return True
    return graph.states == other.states and all(
        np.array_equal(getattr(graph, part), getattr(other, part))
        for part in ("source", "destination", "input_labels", "output_labels")
    )


@takes_graphs
def string_cross_entropy(first: Graph, second: Graph, beta: float = 1.0) -> Tensor:
    """−Σ p(y) log q(y) over strings y, in nats, of two acceptors of any structure.

    Where no string has two paths, a string's probability is its path's. The two are composed, so that a path
    of the result is a string of both: ⟨E_q⟩ under p is then an expectation over one graph, which cycles do
    not keep from being exact. +inf, with a gradient of 0, where the second does not accept a string of the
    first.

    Args:
        first, second: acceptors that read no string along two paths, epsilons left out; make one of another
            by ``disambiguate`` or ``determinize`` at the same β.
        beta: inverse temperature of both, finite and > 0.

    Returns:
        A scalar in the dtype of the energies, differentiable in those of both.

    Raises:
        GraphError: a transducer, an ambiguous graph, one without a path; β out of range.
        CycleError: as ``free_energy``.

    Source: Cortes, Mohri, Rastogi and Riley, "On the computation of the relative entropy of probabilistic
    automata" (2008).

    Cost: that of ``compose``, of two passes over the result, and of ``difference``, to see what the second
    does not accept.
    """
    mean, free, _ = _composed(first, second, beta)
    return (beta * (mean - free)).to(first.dtype)


@takes_graphs
def string_kl_divergence(first: Graph, second: Graph, beta: float = 1.0) -> Tensor:
    """Σ p(y) log(p(y) / q(y)) over strings y, in nats, ≥ 0. As ``string_cross_entropy`` otherwise.

    Cost: that of ``string_cross_entropy``.

    >>> from gtn_ebm import Structure
    >>> one = Graph(Structure([0, 0], [1, 2], [0, 1]), torch.zeros(2), final=[1, 2])
    >>> string_kl_divergence(one, Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([0.0, 1.0])))
    tensor(0.1201)
    """
    mean, free, own = _composed(first, second, beta)
    return (beta * (mean - free) - own).to(first.dtype)


def _composed(first: Graph, second: Graph, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    """The second's mean energy under the first's distribution of strings, its free energy, and the first's
    entropy."""
    one, other = (_unambiguous(in_float64(graph), beta) for graph in (first, second))
    own = entropy(one, beta)
    free = free_energy(other, beta)
    check_paths(free[None])
    if difference(one.detach(), other.detach()).states:
        return torch.full_like(own, torch.inf), free, own
    # Which states and arcs are made does not depend on energies: the two have one structure.
    by_one, by_other = compose(one, scale(other, 0.0)), compose(scale(one, 0.0), other)
    return mean_energies([posteriors(by_one, beta)], [by_other])[0], free, own


def _unambiguous(graph: Graph, beta: float) -> Graph:
    if not graph.is_acceptor:
        raise GraphError("distributions of strings are compared of acceptors; project the transducer first")
    plain = Graph(graph.structure, graph.energies, graph.initial, graph.final)
    silent = remove_epsilons(plain, beta)
    if not properties(silent).unambiguous:
        raise GraphError(
            "a string has several paths, so that no path has its probability; determinize the graph, or "
            "disambiguate it, at the same β first"
        )
    return silent


@takes_graphs
def free_energy_slope(graphs: Graph | Sequence[Graph], beta: float = 1.0) -> Tensor:
    """dF_β/dβ = (⟨E⟩ − F_β) / β: the entropy over β², ≥ 0. Args and errors as of ``entropy``.

    Cost: that of ``expectation``.

    >>> from gtn_ebm import Structure
    >>> free_energy_slope(Graph(Structure([0, 0], [1, 1], [0, 1]), torch.zeros(2)), beta=2.0)  # log 2 / 4
    tensor(0.1733)
    """
    return entropy(graphs, beta) / beta / beta


@takes_graphs
def heat_capacity(graphs: Graph | Sequence[Graph], beta: float = 1.0) -> Tensor:
    """β² Var(E) = −β² d⟨E⟩/dβ = −β dH/dβ, in nats: what changes most at the β where answers are decided.

    A scalar, or [B] for a list of B graphs. Args and errors as of ``entropy``.

    Cost: that of ``energy_variance``.

    >>> from gtn_ebm import Structure
    >>> heat_capacity(Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([0.0, 2.0])), beta=0.5)
    tensor(0.1966)
    """
    return energy_variance(graphs, beta) * beta * beta
