"""Sums over all paths of an acyclic graph: the free energy, its derivatives the posteriors, and theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.inference.least_energy import minimum_energy
from gtn_ebm.kernels import lattice
from gtn_ebm.parallel import parallel_map


class Posteriors(NamedTuple):
    """Probabilities, within [0, 1], under p(path) ∝ exp(−β E(path)); all 0 in a graph without a path.

    Attributes:
        arcs: that a path uses the arc, [A].
        initial: that it starts in the state, [S].
        final: that it ends in the state, [S].
    """

    arcs: Tensor
    initial: Tensor
    final: Tensor


class _Scaled(NamedTuple):
    """Positive numbers as mantissa · 2^exponent."""

    mantissa: NDArray[np.float64]
    exponent: NDArray[np.int64]

    def copy(self) -> _Scaled:
        return _Scaled(self.mantissa.copy(), self.exponent.copy())


class _Sums:
    """The forward and backward sums of one graph at one β."""

    def __init__(self, structure: Structure, beta: float, energies: Tensor, initial: Tensor, final: Tensor):
        self.structure = structure
        self.beta = beta
        self.weights, self.initial, self.final = (_weights(part, beta) for part in (energies, initial, final))
        self.alpha = self.initial.copy()
        self.order = structure.topological_order
        self.source, self.destination = structure.source.view(np.uint32), structure.destination.view(np.uint32)
        lattice.forward(self.order, self.source, *structure.in_index, *self.weights, *self.alpha)
        self.total = lattice.total(*self.alpha, *self.final)

    @property
    def has_path(self) -> bool:
        return self.total[0] > 0.0

    def free_energy(self) -> float:
        mantissa, exponent = self.total
        if not self.has_path:
            return math.inf
        return -(math.log(mantissa) + exponent * math.log(2.0)) / self.beta

    def posteriors(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Of arcs, initial and final states; leaves the backward sums in ``behind``."""
        structure = self.structure
        arcs = np.zeros(structure.arcs)
        if not self.has_path:
            return arcs, np.zeros(structure.states), np.zeros(structure.states)
        self.behind = self.final.copy()
        lattice.backward(
            self.order, self.destination, *structure.out_index, *self.weights, *self.alpha, *self.behind, *self.total, arcs
        )  # fmt: skip
        return (
            arcs,
            lattice.shares(*self.initial, *self.behind, *self.total),
            lattice.shares(*self.alpha, *self.final, *self.total),
        )

    def posteriors_along(
        self, arcs: NDArray[np.float64], initial: NDArray[np.float64], final: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """The derivative of the posteriors when the energies move in the given direction.

        With V(path) the direction summed along a path, that of arc a is −β (E[1_a V] − p_a E[V]).
        """
        p_arcs, p_initial, p_final = self.posteriors()
        if not self.has_path:
            return p_arcs, p_initial, p_final
        structure = self.structure
        before = lattice.mean_before(
            self.order, self.source, *structure.in_index, *self.weights, *self.initial, *self.alpha, arcs, initial
        )  # fmt: skip
        after = lattice.mean_before(
            self.order[::-1], self.destination, *structure.out_index, *self.weights, *self.final, *self.behind, arcs, final
        )  # fmt: skip
        mean = float(p_final @ (before + final))
        return (
            -self.beta * p_arcs * (before[structure.source] + arcs + after[structure.destination] - mean),
            -self.beta * p_initial * (initial + after - mean),
            -self.beta * p_final * (before + final - mean),
        )


def _weights(energies: Tensor, beta: float) -> _Scaled:
    energies = energies.detach().cpu()
    if energies.dtype not in (torch.float32, torch.float64):
        energies = energies.double()
    mantissa, exponent, unusable = lattice.weights(energies.contiguous().numpy(), beta)
    if unusable:
        raise GraphError(_unusable(energies, beta))
    return _Scaled(mantissa, exponent)


def _unusable(energies: Tensor, beta: float) -> str:
    limit = lattice.LARGEST_EXPONENT / (lattice.LOG2_E * beta)
    wrong = torch.isnan(energies) | (energies == -torch.inf) | (energies.isfinite() & (energies.abs() >= limit))
    place = int(wrong.nonzero()[0])
    return (
        f"energy {place} of {len(energies)} is {float(energies[place])}: "
        f"energies must be +inf or smaller in size than {limit:.3g} at β = {beta:g}, and not NaN"
    )


class _FreeEnergies(torch.autograd.Function):
    """(energies, initial, final) of each graph in turn → F of each, [B] float64."""

    @staticmethod
    def forward(ctx: Any, structures: list[Structure], beta: float, *parts: Tensor) -> Tensor:
        ctx.structures, ctx.beta = structures, beta
        wanted = any(ctx.needs_input_grad[2:])

        def one(item: tuple[Structure, tuple[Tensor, ...]]) -> tuple[float, tuple[NDArray[np.float64], ...]]:
            structure, of_graph = item
            sums = _Sums(structure, beta, *of_graph)
            return sums.free_energy(), sums.posteriors() if wanted else ()

        results = parallel_map(one, zip(structures, _by_graph(parts), strict=True))
        ctx.save_for_backward(*parts)
        ctx.posteriors = [_like(*pair) for pair in zip((p for r in results for p in r[1]), parts, strict=False)]
        return torch.tensor([r[0] for r in results], dtype=torch.float64)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        # The posteriors found on the way forward are the gradient; only a second derivative needs them as a function.
        if torch.is_grad_enabled():
            posteriors = _PosteriorsOfGraphs.apply(ctx.structures, ctx.beta, *ctx.saved_tensors)
        else:
            posteriors = ctx.posteriors
        return None, None, *(p * grad[k // 3].to(p) for k, p in enumerate(posteriors))


class _PosteriorsOfGraphs(torch.autograd.Function):
    """(energies, initial, final) of each graph in turn → their posteriors, in the same shapes."""

    @staticmethod
    def forward(ctx: Any, structures: list[Structure], beta: float, *parts: Tensor) -> tuple[Tensor, ...]:
        ctx.structures, ctx.beta = structures, beta
        ctx.save_for_backward(*parts)
        of_graphs = parallel_map(
            lambda item: _Sums(item[0], beta, *item[1]).posteriors(), zip(structures, _by_graph(parts), strict=True)
        )
        return tuple(_like(*pair) for pair in zip((p for of_graph in of_graphs for p in of_graph), parts, strict=True))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        parts = ctx.saved_tensors
        # The matrix of second derivatives of F is symmetric, so that its product with a vector is a derivative along it.
        along = parallel_map(
            lambda item: _Sums(item[0], ctx.beta, *item[1]).posteriors_along(
                *(grad.detach().cpu().double().contiguous().numpy() for grad in item[2])
            ),
            zip(ctx.structures, _by_graph(parts), _by_graph(grads), strict=True),
        )
        return None, None, *(_like(*pair) for pair in zip((d for a in along for d in a), parts, strict=True))


def _by_graph(parts: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    return [tuple(parts[k : k + 3]) for k in range(0, len(parts), 3)]


def _like(values: NDArray[np.float64], tensor: Tensor) -> Tensor:
    return torch.from_numpy(values).to(tensor)


def _parts(graphs: Sequence[Graph]) -> list[Tensor]:
    return [part for graph in graphs for part in (graph.energies, graph.initial, graph.final)]


def _check_beta(beta: float) -> None:
    if not beta > 0.0:
        raise GraphError(f"β must be positive, not {beta}")


def free_energy(graphs: Graph | Sequence[Graph], beta: float = 1.0) -> Tensor:
    """F_β = −(1/β) log Σ_paths exp(−β E(path)): the forward scorer of LeCun et al. 1998.

    β = ∞ gives the minimum energy. +inf where there is no path (with a gradient of 0). The derivative in an arc's energy
    is the arc's posterior; first and second derivatives flow through torch. The sums are carried in float64 mantissas with
    exponents of their own, whatever the dtype of the energies.

    Args:
        graphs: one acyclic graph, or a list of them.
        beta: inverse temperature, > 0.

    Returns:
        A scalar, or for a list of B graphs a tensor [B], in the dtype of the energies.

    Raises:
        CycleError: a graph with a cycle; the message names a state on it.
        GraphError: β ≤ 0, or an energy that is NaN, −inf or too large to add up.

    >>> from gtn_ebm import Structure
    >>> free_energy(Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([1.0, 1.0])))  # 1 − log 2
    tensor(0.3069)
    """
    _check_beta(beta)
    if math.isinf(beta):
        return minimum_energy(graphs)
    if isinstance(graphs, Graph):
        return free_energy([graphs], beta)[0]
    if not graphs:
        return torch.zeros(0)
    parts = _parts(graphs)
    result: Tensor = _FreeEnergies.apply([graph.structure for graph in graphs], beta, *parts)  # type: ignore[no-untyped-call]
    return result.to(parts[0])


@overload
def posteriors(graphs: Graph, beta: float = 1.0) -> Posteriors: ...
@overload
def posteriors(graphs: Sequence[Graph], beta: float = 1.0) -> list[Posteriors]: ...
def posteriors(graphs: Graph | Sequence[Graph], beta: float = 1.0) -> Posteriors | list[Posteriors]:
    """The probability of every arc, initial and final state under p(path) ∝ exp(−β E(path)).

    Differentiable once. Args and errors as of ``free_energy``; β must be finite.
    """
    _check_beta(beta)
    if math.isinf(beta):
        raise GraphError("posteriors need a finite β; for β = ∞ use best_path")
    if isinstance(graphs, Graph):
        return posteriors([graphs], beta)[0]
    structures = [graph.structure for graph in graphs]
    result = _PosteriorsOfGraphs.apply(structures, beta, *_parts(graphs))  # type: ignore[no-untyped-call]
    return [Posteriors(*of_graph) for of_graph in _by_graph(result)]
