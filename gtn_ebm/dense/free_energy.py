"""Sums over all paths of emissions through a graph: free energy, posteriors, and their derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from gtn_ebm import inference
from gtn_ebm.arguments import takes_graphs
from gtn_ebm.dense import cuda
from gtn_ebm.dense.batch import Batch, graph_of_each, prepare
from gtn_ebm.dense.checks import check_floating
from gtn_ebm.dense.least_energy import minimum_energy
from gtn_ebm.dense.sums import EmissionMemory, GraphSums, GraphWeights, Uses, scattered, sum_over_chain
from gtn_ebm.distance import check_beta
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, as_array
from gtn_ebm.inference.free_energy import own_tensors
from gtn_ebm.parallel import parallel_map


class Posteriors(NamedTuple):
    """Probabilities under p(path) ∝ exp(−β E(path)); all 0 for an item without a path.

    Attributes:
        classes: that the path reads the class at the frame, [B, T, C]: the occupancies. Over the classes of a
            frame they sum to 1 within the item's length; they are 0 beyond it.
        graphs: of each item, how often its path is expected to use each arc, and the probabilities that it
            starts and ends in each state.
    """

    classes: Tensor
    graphs: list[inference.Posteriors]


class _Items:
    """A batch without its energies: how many frames each item has, and which of the different graphs."""

    def __init__(self, batch: Batch, beta: float):
        self.lengths, self.beta = batch.lengths, beta
        different = {id(graph): (graph, arcs) for graph, arcs in zip(batch.graphs, batch.arcs, strict=True)}
        place = {name: k for k, name in enumerate(different)}
        self.graph_of = [place[id(graph)] for graph in batch.graphs]
        self.arcs = [arcs for _, arcs in different.values()]
        self.parts = [
            part for graph, _ in different.values() for part in (graph.energies, graph.initial, graph.final)
        ]

    @property
    def classes(self) -> list[NDArray[np.int32]]:
        """That occur in the graph of each item, [B]."""
        return [self.arcs[k].classes for k in self.graph_of]

    def for_each(
        self, emissions: Tensor, parts: Sequence[Tensor], function: Callable[[int, GraphSums], Uses]
    ) -> list[Uses]:
        """The function of each item's number and sums, which keep what posteriors need."""
        memory, graphs = EmissionMemory(emissions), self.graphs(parts)

        def one(item: int) -> Uses:
            graph = graphs[item]
            weights = memory.weights(item, self.lengths[item], graph.arcs.classes, self.beta)
            return function(item, GraphSums(weights, graph, keep=True))

        return parallel_map(one, range(len(graphs)))

    def graphs(self, parts: Sequence[Tensor]) -> list[GraphWeights]:
        """The graph of each item with its weights, [B]."""
        threes = [parts[k : k + 3] for k in range(0, len(parts), 3)]
        each = zip(self.arcs, threes, strict=True)
        weighted = parallel_map(lambda item: GraphWeights(item[0], self.beta, *item[1]), each)
        return [weighted[k] for k in self.graph_of]

    def added_up(
        self, uses: Sequence[Uses], factors: Sequence[float], parts: Sequence[Tensor]
    ) -> list[Tensor]:
        """factor · uses of arcs, initial and final states, summed over the items that share a graph."""
        sums = [np.zeros(len(part)) for part in parts]
        for graph, factor, (_, *of_graph) in zip(self.graph_of, factors, uses, strict=True):
            for total, values in zip(sums[3 * graph : 3 * graph + 3], of_graph, strict=True):
                total += factor * values
        return [torch.from_numpy(total).to(part) for total, part in zip(sums, parts, strict=True)]


class _FreeEnergies(torch.autograd.Function):
    """Emissions and (energies, initial, final) of each different graph → F of each item, [B] float64."""

    @staticmethod
    def forward(ctx: Any, items: _Items, differentiable: bool, emissions: Tensor, *parts: Tensor) -> Tensor:
        graphs, fixed = items.graphs(parts), not any(ctx.needs_input_grad[3:])
        ctx.items = items
        ctx.save_for_backward(emissions, *parts)
        if cuda.takes(emissions):
            free, ctx.occupancies, ctx.uses = cuda.free_energies(
                graphs, items.lengths, emissions, items.beta, differentiable, differentiable and not fixed
            )
            return free
        memory = EmissionMemory(emissions)
        dtype = memory.values.dtype

        def one(item: int) -> tuple[float, NDArray[Any] | None, Uses | None]:
            graph = graphs[item]
            weights = memory.weights(item, items.lengths[item], graph.arcs.classes, items.beta)
            if fixed and graph.chain:
                return *sum_over_chain(
                    weights, graph.chain, items.beta, dtype if differentiable else None
                ), None
            sums = GraphSums(weights, graph, differentiable)
            uses = sums.posteriors(dtype) if differentiable else None
            return sums.free_energy(), uses and uses.classes, uses

        results = parallel_map(one, range(len(graphs)))
        ctx.occupancies = [occupancies for _, occupancies, _ in results]
        ctx.uses = None if fixed else [uses for _, _, uses in results]
        return torch.tensor([free for free, _, _ in results], dtype=torch.float64)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        items, (emissions, *parts) = ctx.items, ctx.saved_tensors
        # The posteriors found on the way forward are the gradient; only a second derivative needs them as a
        # function.
        if torch.is_grad_enabled():
            classes, *uses = _PosteriorsOfItems.apply(items, emissions, *parts)
            weights = grad.to(emissions)
            return None, None, classes * weights[:, None, None], *_of_graphs(items, uses, weights)
        factors = grad.tolist()
        of_parts: Sequence[Tensor | None] = [None] * len(parts)
        if ctx.uses:
            of_parts = items.added_up(ctx.uses, factors, parts)
        if isinstance(ctx.occupancies, Tensor):  # of a GPU
            of_classes = (ctx.occupancies * grad.to(ctx.occupancies)[:, None, None]).to(emissions)
        else:
            of_classes = scattered(emissions, items.classes, ctx.occupancies, factors)
        return None, None, of_classes, *of_parts


def _of_graphs(items: _Items, uses: Sequence[Tensor], factors: Tensor) -> list[Tensor]:
    """factor · (arcs, initial, final) of each item, summed over the items that share a graph."""
    sums: dict[int, Tensor] = {}
    for item, graph in enumerate(items.graph_of):
        for part in range(3):
            values = uses[3 * item + part]
            values = values * factors[item].to(values)
            place = 3 * graph + part
            sums[place] = sums[place] + values if place in sums else values
    return [sums[place] for place in range(len(sums))]


class _PosteriorsOfItems(torch.autograd.Function):
    """Emissions and (energies, initial, final) of each different graph → the posteriors of classes [B, T, C],
    and of arcs, initial and final states of each item."""

    @staticmethod
    def forward(ctx: Any, items: _Items, emissions: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        ctx.items = items
        ctx.save_for_backward(emissions, *parts)
        each = items.for_each(emissions, parts, lambda _, sums: sums.posteriors())
        classes = scattered(emissions, items.classes, [uses.classes for uses in each], [1.0] * len(each))
        return classes, *(
            torch.from_numpy(values).to(parts[3 * graph + part])
            for graph, uses in zip(items.graph_of, each, strict=True)
            for part, values in enumerate(uses[1:])
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_classes: Tensor, *grads: Tensor) -> Any:
        items, (emissions, *parts) = ctx.items, ctx.saved_tensors
        directions = [as_array(grad.double()) for grad in (of_classes, *grads)]

        # The matrix of second derivatives of F is symmetric: its product with a vector is a derivative along
        # it.
        def along(item: int, sums: GraphSums) -> Uses:
            frames = directions[0][item, : items.lengths[item], items.classes[item]].T
            return sums.posteriors_along(
                Uses(np.ascontiguousarray(frames), *directions[3 * item + 1 : 3 * item + 4])
            )

        each = items.for_each(emissions, parts, along)
        ones = [1.0] * len(each)
        return (
            None,
            scattered(emissions, items.classes, [uses.classes for uses in each], ones),
            *items.added_up(each, ones, parts),
        )


@takes_graphs
def free_energy(
    emissions: Tensor,
    lengths: Tensor | ArrayLike | None,
    graphs: Graph | Sequence[Graph],
    beta: float = 1.0,
) -> Tensor:
    """F_β = −(1/β) log Σ_paths exp(−β E), over the paths of a graph that consume exactly an item's frames.

    A path's energy E is that of its arcs, its initial and its final state, and for the t-th arc that has an
    input label the emission of that label at frame t; epsilon arcs consume no frame, output labels play no
    part. It is the ``free_energy`` of the graph composed with that of the emissions, which is never made.
    The derivative in an emission is the posterior of the class at the frame, that in an arc's energy how
    often the arc is expected to be used; first and second derivatives flow through torch. β = ∞ gives the
    minimum energy. Sums are carried in float64, scaled so that they neither underflow nor overflow.

    Args:
        emissions: energies (−log p of a network), [B, T, C] floating, of any strides; +inf is impossible.
        lengths: frames of each item, [B] integers, ≤ T; all T where None.
        graphs: one for all items, or a list of B; input labels are classes, below C. Any states may be
            initial or final; cycles, of epsilons too, are allowed.
        beta: inverse temperature, > 0.

    Returns:
        [B] in the dtype of the emissions; +inf, with a gradient of 0, where no path consumes just the frames.

    Raises:
        GraphError: what does not fit, with its item; β ≤ 0; an energy that is NaN, −inf or too large to add.
        CycleError: the sum over an epsilon cycle diverges; the message names a cycle at fault.

    O(T A) time for A arcs, and O(T S) memory for S states of the items worked on at once; less time for
    a graph whose states stand in a row (``dense.batch.Chain``), as those of CTC do.
    Emissions on a GPU are worked on there (``gtn-ebm[cuda]``), second derivatives on the CPU.

    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0, 1], [0, 1, 1], [0, 1, 1]))  # any number of 0, then of 1
    >>> free_energy(torch.zeros(1, 4, 2), None, graph)  # −log 4: the change comes after 0 to 3 frames
    tensor([-1.3863])
    """
    check_beta(beta)
    if math.isinf(beta):
        return minimum_energy(emissions, lengths, graphs)
    items = _Items(prepare(emissions, lengths, graphs, beta), beta)
    # Posteriors are the gradient; without one they are not worked out.
    differentiable = torch.is_grad_enabled() and any(x.requires_grad for x in (emissions, *items.parts))
    result: Tensor = _FreeEnergies.apply(items, differentiable, emissions, *items.parts)
    return result.to(emissions)


@takes_graphs
def posteriors(
    emissions: Tensor,
    lengths: Tensor | ArrayLike | None,
    graphs: Graph | Sequence[Graph],
    beta: float = 1.0,
) -> Posteriors:
    """The probability of every class at every frame, arc, initial and final state, under
    p(path) ∝ exp(−β E(path)): the derivatives of ``free_energy``, whose args and errors these are.

    β must be finite. Differentiable once.

    >>> found = posteriors(torch.zeros(1, 3, 2), None, Graph.linear([1, 0, 1]))
    >>> found.classes
    tensor([[[0., 1.],
             [1., 0.],
             [0., 1.]]])
    """
    check_beta(beta)
    if math.isinf(beta):
        raise GraphError("posteriors need a finite β; for β = ∞ use best_path")
    check_floating(emissions, "emissions", "batch", "frames", "classes")
    each = graph_of_each(graphs, len(emissions))
    given = [emissions, *(part for graph in each for part in (graph.energies, graph.initial, graph.final))]
    differentiable = torch.is_grad_enabled() and any(part.requires_grad for part in given)
    with torch.inference_mode(False), torch.enable_grad():
        own = own_tensors(given, differentiable)  # of each item, even of a graph that is shared
        of_items = [graph.with_energies(*own[3 * k + 1 : 3 * k + 4]) for k, graph in enumerate(each)]
        free = free_energy(own[0], lengths, of_items, beta)
        uses = torch.autograd.grad(
            free, own, torch.ones_like(free), create_graph=differentiable, materialize_grads=True
        )
    classes, *found = uses if differentiable else (use.detach() for use in uses)
    return Posteriors(classes, [inference.Posteriors(*found[k : k + 3]) for k in range(0, len(found), 3)])
