"""Gradients through sampled paths: surrogates whose gradient estimates that of an expectation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import shortest_distance
from gtn_ebm.errors import CycleError, GraphError
from gtn_ebm.graph import Graph
from gtn_ebm.inference.expectation import check_finite, check_paths, in_float64
from gtn_ebm.inference.free_energy import posteriors
from gtn_ebm.inference.least_energy import Path


def reinforce(energies: Sequence[Tensor] | Tensor, costs: Tensor, beta: float = 1.0) -> Tensor:
    """The mean cost of N independent samples, with a gradient that is right on average: REINFORCE with the
    leave-one-out baseline.

    The gradient of E[c] is E[c ∇log p]. With b_k the mean cost of the other samples, the estimate is
    1/N Σ (c_k − b_k) ∇log p_k = −β/(N − 1) Σ (c_k − c̄) ∇E_k: the derivative of the free energy drops out, as
    the c_k − c̄ sum to 0. Costs may be anything that can be worked out for a sample; where they have gradients
    of their own, these are added.

    Args:
        energies: of N exact samples, as ``random_paths`` (or ``random_answers``, of less variance) gives
            them: ``[path.energy for path in paths]``.
        costs: of the samples, [N].
        beta: the inverse temperature at which they were drawn, finite and > 0.

    Returns:
        A scalar: its value is the mean cost, its gradient an unbiased estimate of that of the expected cost.
        A second derivative of it estimates nothing.

    Raises:
        GraphError: fewer than two samples, numbers that differ, a cost that is not finite, or β out of range.

    Source: Kool, van Hoof and Welling, "Buy 4 REINFORCE samples, get a baseline for free!" (2019).

    Cost: O(samples) time and memory, and the gradients of their energies.

    >>> from gtn_ebm import Structure, random_paths
    >>> energies = torch.tensor([0.0, 1.0], requires_grad=True)
    >>> graph = Graph(Structure([0, 0], [1, 1], [0, 1]), energies)
    >>> paths = random_paths(graph, 1000, generator=torch.Generator().manual_seed(0))
    >>> costs = torch.tensor([float(path.output_labels == [1]) for path in paths])
    >>> reinforce([path.energy for path in paths], costs).backward()
    >>> energies.grad.round(decimals=1)  # ± p (1 − p)
    tensor([ 0.2000, -0.2000])
    """
    check_finite(beta)
    if not isinstance(energies, Tensor | Sequence) or not all(isinstance(one, Tensor) for one in energies):
        raise GraphError(f"energies must be a tensor, or tensors in a list, not {energies!r:.60}")
    if not isinstance(energies, Tensor):
        energies = torch.stack(list(energies)) if len(energies) else torch.zeros(0)
    if not isinstance(costs, Tensor):
        raise GraphError(f"costs must be a tensor [{len(energies)}], not {costs!r:.60}")
    if energies.ndim != 1 or costs.shape != energies.shape:
        raise GraphError(f"costs of shape {list(costs.shape)} do not fit {list(energies.shape)} energies")
    if len(energies) < 2:
        raise GraphError(f"leaving one of {len(energies)} samples out leaves none; draw two or more")
    costs = costs.to(energies.device) if costs.is_floating_point() else costs.to(energies)
    fixed = costs.detach().double()
    if not fixed.isfinite().all():
        raise GraphError("costs of samples must be finite numbers")
    weighted = (fixed - fixed.mean()) * energies.double()
    score = -beta / (len(energies) - 1) * weighted.sum()
    return costs.mean() + (score - score.detach()).to(costs)


@takes_graphs
def straight_through(graph: Graph, paths: Sequence[Path], beta: float = 1.0) -> Tensor:
    """How often each path uses each arc, [N, A], with the gradient of the posteriors.

    Forwards these are the paths as they are, so that what is computed from them is computed from whole
    answers; backwards each counts as the arcs' posteriors, the mean of all paths. So the gradient of a linear
    function of it is exact, whichever paths were drawn, and that of another one is biased, the less the
    nearer it is to linear between the paths.

    Args:
        graph: the graph whose paths they are.
        paths: N samples, as ``random_paths`` draws them, or the best one.
        beta: inverse temperature of the posteriors, finite and > 0.

    Raises:
        GraphError: as ``posteriors``, or a path of another graph.

    Source: Bengio, Léonard and Courville, "Estimating or propagating gradients through stochastic neurons"
    (2013); with posteriors as in structured attention.

    Cost: O(A) time and memory for each path.

    >>> from gtn_ebm import Structure, best_path
    >>> graph = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([0.0, 1.0]))
    >>> straight_through(graph, [best_path(graph)])
    tensor([[1., 0.]])
    """
    uses = torch.zeros(len(paths), graph.arcs, dtype=graph.dtype)
    for k, path in enumerate(paths):
        if len(path.arcs) and not 0 <= path.arcs.min() <= path.arcs.max() < graph.arcs:
            raise GraphError(f"path {k} has arcs that the graph of {graph.arcs} arcs lacks: it is another's")
        uses[k].index_add_(0, torch.from_numpy(path.arcs), torch.ones(len(path.arcs), dtype=graph.dtype))
    probable = posteriors(graph, beta).arcs
    return uses.to(probable.device) + (probable - probable.detach())


@takes_graphs
def relaxed_paths(
    graph: Graph,
    count: int,
    temperature: float,
    beta: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Samples made soft: how much each of ``count`` perturbed paths uses each arc, [count, A], within [0, 1].

    From each state, a path goes on by an arc, or ends, with probabilities that follow from the free energies
    to the end. To each of these choices Gumbel noise is added, and a softmax at the given temperature taken
    in the place of the largest; how much arrives at a state is shared out by it. As the temperature goes to
    0, the samples become exact ones: paths of p(path) ∝ exp(−β E(path)), unlike those of arcs perturbed
    independently of each other. At any other they are biased. The noise does not depend on the energies, so
    that gradients flow through a sample: of little variance at a high temperature, of little bias at a low
    one.

    Args:
        graph: an acyclic graph. (Round a cycle the same noise would choose the same each time.)
        count: how many samples.
        temperature: of the softmax, > 0; 1 or less for most uses.
        beta: inverse temperature of the distribution of paths, finite and > 0.
        generator: where the noise comes from; torch's own where omitted.

    Raises:
        CycleError: the graph has a cycle.
        GraphError: count < 0, a temperature or β out of range, or no path of finite energy.

    Source: Corro and Titov, "Differentiable perturb-and-parse" (2019); Paulus, Choi, Tarlow, Krause and
    Maddison, "Gradient estimation with stochastic softmax tricks" (2020), by the choices of a path from state
    to state.

    Cost: one ``shortest_distance``, and O(S + A) time and memory for each sample, in the two passes of
    ``posteriors``.

    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([0.0, 9.0]))
    >>> relaxed_paths(graph, 1, 0.1, generator=torch.Generator().manual_seed(0)).round()
    tensor([[1., 0.]])
    """
    check_finite(beta)
    if not 0.0 < temperature < torch.inf:
        raise GraphError(f"the temperature must be positive and finite, not {temperature}")
    if count < 0:
        raise GraphError(f"cannot draw {count} samples")
    if not graph.structure.is_acyclic:
        raise CycleError("relaxed paths need an acyclic graph; draw from one with cycles by random_paths")
    plain = in_float64(Graph(graph.structure, graph.energies, graph.initial, graph.final))
    to_go = shortest_distance(plain, beta, "to")
    check_paths(torch.cat([plain.initial + to_go, to_go.new_full((1,), torch.inf)]).min()[None])
    if not count:
        return graph.energies.new_zeros(0, graph.arcs)
    energy, of_state = _choices(plain, to_go)
    possible = (energy < torch.inf).nonzero()[:, 0]
    group = of_state[possible]
    logits = -beta * energy[possible] + _gumbel((count, len(possible)), generator).to(energy)
    costs = -_log_softmax(logits / temperature, group, graph.states + 1)
    every = costs.new_full((count, len(energy)), torch.inf).index_copy(1, possible, costs)
    shares = (row.split([graph.arcs, graph.states, graph.states]) for row in every)
    soft = posteriors([plain.with_energies(arcs, initial, final) for arcs, final, initial in shares])
    return torch.stack([found.arcs for found in soft]).to(graph.dtype)


def _choices(graph: Graph, to_go: Tensor) -> tuple[Tensor, Tensor]:
    """The energies of going on by each arc, of ending and of starting in each state, [A + 2 S], up to one
    number for each state; and at which state one chooses, S being before the start."""
    states, device = graph.states, to_go.device
    source, destination = (
        torch.from_numpy(ends.astype(np.int64)).to(device) for ends in (graph.source, graph.destination)
    )
    energies = torch.cat([graph.energies + to_go[destination], graph.final, graph.initial + to_go])
    at = torch.arange(states, device=device)
    return energies, torch.cat([source, at, torch.full_like(at, states)])


def _gumbel(shape: tuple[int, int], generator: torch.Generator | None) -> Tensor:
    device = None if generator is None else generator.device
    noise = torch.empty(shape, dtype=torch.float64, device=device).exponential_(generator=generator)
    return -torch.log(noise)


def _log_softmax(logits: Tensor, group: Tensor, groups: int) -> Tensor:
    """Of the logits [N, C] within each group of columns."""
    index = group.expand_as(logits)
    largest = logits.detach().new_full((len(logits), groups), -torch.inf)
    largest = largest.scatter_reduce(1, index, logits.detach(), "amax")
    above = logits - largest.gather(1, index)
    total = torch.zeros_like(largest).index_add(1, group, above.exp())
    return above - total.log().gather(1, index)
