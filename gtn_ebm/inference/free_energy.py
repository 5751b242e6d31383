"""Sums over all paths of a graph: the free energy, its derivatives the posteriors, and theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import check_beta, sum_over_paths, weights
from gtn_ebm.errors import CycleError, GraphError
from gtn_ebm.graph import Graph, Structure, as_array, as_tensor, check_one_dtype
from gtn_ebm.inference.least_energy import minimum_energy
from gtn_ebm.kernels import lattice
from gtn_ebm.parallel import parallel_map


class Posteriors(NamedTuple):
    """Probabilities under p(path) ∝ exp(−β E(path)); all 0 in a graph without a path.

    Within [0, 1], but for arcs on cycles.

    Attributes:
        arcs: that a path uses the arc, [A]; on a cycle how often it is expected to, which may exceed 1.
        initial: that it starts in the state, [S].
        final: that it ends in the state, [S].
    """

    arcs: Tensor
    initial: Tensor
    final: Tensor


class _Sums:
    """The forward and backward sums of one graph at one β; arcs in the order of the states they leave."""

    def __init__(self, structure: Structure, beta: float, energies: Tensor, initial: Tensor, final: Tensor):
        self.structure, self.beta = structure, beta
        self.shape = structure.topological_order, *structure.outgoing
        self.ends = *weights(initial, beta), *weights(final, beta)
        self.weights = weights(energies, beta, structure.out_order)
        self.alpha = np.empty((structure.states, 2))
        self.total, self.total_digit = lattice.forward(*self.shape, *self.weights, *self.ends, self.alpha)

    def free_energy(self) -> float:
        if self.total == 0.0:
            return math.inf
        return -(math.log(self.total) + self.total_digit * lattice.DIGIT * math.log(2.0)) / self.beta

    def posteriors(self, dtype: DTypeLike = np.float64) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Of arcs, initial and final states."""
        arcs, states = self.structure.arcs, self.structure.states
        if self.total == 0.0:
            return np.zeros(arcs, dtype), np.zeros(states, dtype), np.zeros(states, dtype)
        found = np.empty(arcs, dtype), np.empty(states, dtype), np.empty(states, dtype)
        lattice.backward(
            *self.shape, *self.weights, *self.ends, self.alpha, self.total, self.total_digit,
            np.empty_like(self.alpha), *found,
        )  # fmt: skip
        return self._as_given(found[0]), *found[1:]

    def posteriors_along(
        self, arcs: NDArray[np.float64], initial: NDArray[np.float64], final: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """The derivative of the posteriors when the energies move in the given direction.

        With V(path) the direction summed along a path, that of arc a is −β (E[1_a V] − p_a E[V]).
        """
        p_arcs, p_initial, p_final = self.posteriors()
        structure, in_order = self.structure, self.structure.out_order
        before, after = lattice.means(
            *self.shape,
            _chosen(p_arcs, in_order),
            p_initial,
            p_final,
            _chosen(arcs, in_order),
            initial,
            final,
        )
        mean = float(p_final @ (before + final))
        return (
            -self.beta * p_arcs * (before[structure.source] + arcs + after[structure.destination] - mean),
            -self.beta * p_initial * (initial + after - mean),
            -self.beta * p_final * (before + final - mean),
        )

    def _as_given(self, in_order: NDArray[Any]) -> NDArray[Any]:
        """Values of the arcs by state, put back in the order of the arcs."""
        if self.structure.out_order is None:
            return in_order
        values = np.empty_like(in_order)
        values[self.structure.out_order] = in_order
        return values


def _chosen(values: NDArray[Any], order: NDArray[np.uint32] | None) -> NDArray[Any]:
    return values if order is None else values[order]


class _FreeEnergies(torch.autograd.Function):
    """(energies, initial, final) of each graph in turn → F of each, in their dtype and the shape given."""

    @staticmethod
    def forward(
        ctx: Any, structures: list[Structure], beta: float, shape: tuple[int, ...], *parts: Tensor
    ) -> Tensor:
        ctx.structures, ctx.beta = structures, beta
        ctx.save_for_backward(*parts)
        free, ctx.posteriors = _summed(structures, beta, parts, with_posteriors=True)
        return as_tensor(free.reshape(shape), parts[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        parts = ctx.saved_tensors
        # The posteriors found on the way forward are the gradient; only a second derivative needs them as a
        # function.
        again = torch.is_grad_enabled()
        posteriors = _PosteriorsOfGraphs.apply(ctx.structures, ctx.beta, *parts) if again else ctx.posteriors
        factors = grad.reshape(-1).unbind() if grad.ndim else (grad,)
        needed = ctx.needs_input_grad[3:]
        return (
            None,
            None,
            None,
            *(
                (p if again else as_tensor(p, parts[k])) * factors[k // 3] if needed[k] else None
                for k, p in enumerate(posteriors)
            ),
        )


def _summed(
    structures: list[Structure], beta: float, parts: Sequence[Tensor], with_posteriors: bool
) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """F of each graph, [B], and the posteriors of (arcs, initial, final) of each in turn."""
    dtype = _array_dtype(parts[0])

    def one(item: tuple[Structure, tuple[Tensor, ...]]) -> tuple[float, tuple[NDArray[Any], ...]]:
        structure, of_graph = item
        sums = _Sums(structure, beta, *of_graph)
        return sums.free_energy(), sums.posteriors(dtype) if with_posteriors else ()

    results = parallel_map(one, zip(structures, _by_graph(parts), strict=True))
    free = np.array([free for free, _ in results], dtype)
    return free, [p for _, of_graph in results for p in of_graph]


class _PosteriorsOfGraphs(torch.autograd.Function):
    """(energies, initial, final) of each graph in turn → their posteriors, in the same shapes."""

    @staticmethod
    def forward(ctx: Any, structures: list[Structure], beta: float, *parts: Tensor) -> tuple[Tensor, ...]:
        ctx.structures, ctx.beta = structures, beta
        ctx.save_for_backward(*parts)
        dtype = _array_dtype(parts[0])
        of_graphs = parallel_map(
            lambda item: _Sums(item[0], beta, *item[1]).posteriors(dtype),
            zip(structures, _by_graph(parts), strict=True),
        )
        return tuple(
            as_tensor(*pair)
            for pair in zip((p for of_graph in of_graphs for p in of_graph), parts, strict=True)
        )

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        parts = ctx.saved_tensors
        if torch.is_grad_enabled():
            # Third derivatives and on: the engine that sums cycles, too, differentiates as often as wanted.
            of_graphs = zip(ctx.structures, _by_graph(parts), _by_graph(grads), strict=True)
            return None, None, *(d for item in of_graphs for d in _uses_along(item, ctx.beta))
        # The matrix of second derivatives of F is symmetric: its product with a vector is a derivative along
        # it.
        along = parallel_map(
            lambda item: _Sums(item[0], ctx.beta, *item[1]).posteriors_along(
                *(as_array(grad.double()) for grad in item[2])
            ),
            zip(ctx.structures, _by_graph(parts), _by_graph(grads), strict=True),
        )
        return (
            None,
            None,
            *(as_tensor(*pair) for pair in zip((d for a in along for d in a), parts, strict=True)),
        )


def _by_graph(parts: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    return [tuple(parts[k : k + 3]) for k in range(0, len(parts), 3)]


def _array_dtype(tensor: Tensor) -> DTypeLike:
    """What numpy holds a tensor's values in without loss."""
    return np.float64 if tensor.dtype == torch.float64 else np.float32


def _parts(graphs: Sequence[Graph]) -> list[Tensor]:
    check_one_dtype(graphs)
    return [part for graph in graphs for part in (graph.energies, graph.initial, graph.final)]


def _uses_along(
    item: tuple[Structure, tuple[Tensor, ...], tuple[Tensor, ...]], beta: float
) -> tuple[Tensor, ...]:
    """The derivative of Σ direction · posteriors in the energies, which can be differentiated again."""
    structure, parts, direction = item
    # Each its own tensor, as initial and final energies may be one.
    own = [part.view_as(part) if part.requires_grad else part.detach().requires_grad_() for part in parts]
    free = sum_over_paths(Graph(structure, *own), beta)
    uses = torch.autograd.grad(free, own, create_graph=True)
    # Where there is no path the uses are 0 and have no derivative; the empty slice keeps the sum one of them.
    summed = torch.cat([*(use * along for use, along in zip(uses, direction, strict=True)), own[0][:0]]).sum()
    return torch.autograd.grad(summed, own, create_graph=True, allow_unused=True, materialize_grads=True)


def own_tensors(parts: Sequence[Tensor], differentiable: bool) -> list[Tensor]:
    """Each of the parts as a tensor of its own to differentiate in, as two of them may be one; connected with
    it where it is to be differentiated, else a copy, which is of no inference mode."""
    return [
        part.view_as(part)
        if differentiable and part.requires_grad
        else part.detach().clone().requires_grad_()
        for part in parts
    ]


def _expected_uses(graph: Graph, beta: float) -> Posteriors:
    """The posteriors of a graph with cycles: the gradient of its free energy."""
    parts = graph.energies, graph.initial, graph.final
    differentiable = torch.is_grad_enabled() and any(part.requires_grad for part in parts)
    with torch.inference_mode(False), torch.enable_grad():
        own = own_tensors(parts, differentiable)
        free = sum_over_paths(graph.with_energies(*own), beta)
        uses = torch.autograd.grad(free, own, create_graph=differentiable)
    return Posteriors(*(use if differentiable else use.detach() for use in uses))


@takes_graphs
def free_energy(graphs: Graph | Sequence[Graph], beta: float = 1.0) -> Tensor:
    """F_β = −(1/β) log Σ_paths exp(−β E(path)): the forward scorer of LeCun et al. 1998.

    β = ∞ gives the minimum energy. +inf where there is no path (with a gradient of 0). The derivative in an
    arc's energy is the arc's posterior; derivatives of any order flow through torch. The sums are carried
    in float64, scaled so that they neither underflow nor overflow, whatever the dtype of the energies. An
    acyclic graph takes one pass forward and one back; cycles are summed in closed form, at the cost of
    ``distance.shortest_distance``.

    Args:
        graphs: one graph, or a list of them.
        beta: inverse temperature, > 0.

    Returns:
        A scalar, or for a list of B graphs a tensor [B], in the dtype of the energies.

    Raises:
        CycleError: the sum over a graph's paths diverges; the message names a cycle at fault, and its
            energy.
        GraphError: β ≤ 0, or an energy that is NaN, −inf or too large to add up.

    Cost: O(S + A) time and memory for an acyclic graph, in one pass forward and for the gradient one back;
    that of ``shortest_distance`` for one with cycles.

    >>> from gtn_ebm import Structure
    >>> free_energy(Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([1.0, 1.0])))  # 1 − log 2
    tensor(0.3069)
    """
    check_beta(beta)
    if math.isinf(beta):
        return minimum_energy(graphs)
    if not isinstance(graphs, Graph) and not graphs:
        return torch.zeros(0)
    every, shape = ([graphs], ()) if isinstance(graphs, Graph) else (graphs, (len(graphs),))
    structures, parts = [graph.structure for graph in every], _parts(every)
    try:
        if torch.is_grad_enabled() and any(part.requires_grad for part in parts):
            result: Tensor = _FreeEnergies.apply(structures, beta, shape, *parts)
            return result
        # Posteriors are the gradient; without one they are not worked out.
        free, _ = _summed(structures, beta, parts, with_posteriors=False)
    except CycleError:
        return _with_cycles(every, beta).to(parts[0]).reshape(shape)
    return as_tensor(free.reshape(shape), parts[0])


def _with_cycles(graphs: Sequence[Graph], beta: float) -> Tensor:
    """F of each of the graphs, [B], some of which have cycles."""
    acyclic = iter(free_energy([graph for graph in graphs if graph.structure.is_acyclic], beta))
    each = [next(acyclic) if graph.structure.is_acyclic else sum_over_paths(graph, beta) for graph in graphs]
    return torch.stack([energy.double() for energy in each])


@overload
def posteriors(graphs: Graph, beta: float = 1.0) -> Posteriors: ...
@overload
def posteriors(graphs: Sequence[Graph], beta: float = 1.0) -> list[Posteriors]: ...
@takes_graphs
def posteriors(graphs: Graph | Sequence[Graph], beta: float = 1.0) -> Posteriors | list[Posteriors]:
    """The probability of every arc, initial and final state under p(path) ∝ exp(−β E(path)).

    On cycles it is the expected number of uses. Differentiable as often as wanted: once at the cost of one
    more pass each way, beyond that at the cost of ``distance.shortest_distance``. Args and errors as of
    ``free_energy``; β must be finite.

    Cost: O(S + A) time and memory for an acyclic graph, in two passes, and two more for the derivative; that
    of ``shortest_distance`` for one with cycles, and for further derivatives.
    """
    check_beta(beta)
    if math.isinf(beta):
        raise GraphError("posteriors need a finite β; for β = ∞ use best_path")
    if isinstance(graphs, Graph):
        return posteriors([graphs], beta)[0]
    if not graphs:
        return []
    structures, parts = [graph.structure for graph in graphs], _parts(graphs)
    try:
        result = _PosteriorsOfGraphs.apply(structures, beta, *parts)
    except CycleError:
        acyclic = iter(posteriors([graph for graph in graphs if graph.structure.is_acyclic], beta))
        return [
            next(acyclic) if graph.structure.is_acyclic else _expected_uses(graph, beta) for graph in graphs
        ]
    return [Posteriors(*of_graph) for of_graph in _by_graph(result)]
