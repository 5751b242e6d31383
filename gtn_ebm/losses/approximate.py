"""Negative log-likelihood without the sum over all answers: its gradient by paths drawn at random.

The gradient of F_β(all) is how often each arc is used, on average over p(path) ∝ exp(−β E(path)). Here it is
the mean over a few paths instead. Each loss is F_β(Y) less the mean energy of these paths, so that its
gradient pushes the energies of the desired answer's paths down and those of the drawn paths up; its value is
not the likelihood, and may be below 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph
from gtn_ebm.inference import Path, PathChains, free_energy, random_paths
from gtn_ebm.inference.expectation import check_finite
from gtn_ebm.losses.graphs import selectors
from gtn_ebm.ops import compose


@takes_graphs
def sampled_nll(
    everything: Sequence[Graph],
    desired: Sequence[Graph],
    beta: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    count: int = 1,
) -> Tensor:
    """F_β(Y) − 1/N Σ E(path_k), [B], with N exact samples of each graph: an unbiased estimate of the gradient
    of F_β(Y) − F_β(all), whose variance falls with 1/N.

    Args:
        everything: B graphs of all answers, which their paths write.
        desired: B acceptors of the desired answers.
        beta: inverse temperature, finite and > 0.
        generator: where the randomness comes from; torch's own where omitted.
        count: N ≥ 1, the samples of each.

    Returns:
        [B]; +inf, with a gradient of 0, where the desired answer is not in the graph.

    Raises:
        GraphError: lists of different lengths, count < 1, or β out of range.
        CycleError: a sum over paths diverges.

    Drawing needs one pass over each graph, and no derivative of it.

    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([1.0, 50.0]))
    >>> sampled_nll([graph], [Graph.linear([1])])
    tensor([49.])
    """
    _check_count(count, "samples")
    check_finite(beta)
    desired = selectors(everything, desired)
    drawn = [random_paths(graph, count, beta, generator) for graph in everything]
    return _desired_less_mean(everything, desired, drawn, beta)


@takes_graphs
def contrastive_divergence(
    everything: Sequence[Graph],
    desired: Sequence[Graph],
    beta: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    steps: int = 1,
    count: int = 1,
    window: int = 16,
) -> Tensor:
    """CD-k on graphs: the drawn paths are ``steps`` moves away from paths of the desired answer.

    A chain begins at an exact sample of the paths that write the desired answer, and makes k moves by
    ``PathChains`` in the graph of all. So it finds what is wrong near to what is right, and no pass over
    the graph of all answers is made. The gradient is biased towards 0 while the chains have not left their
    beginnings; as k grows it becomes that of ``sampled_nll``.

    Args:
        everything, desired, beta, generator, count: as of ``sampled_nll``; everything acyclic.
        steps: k ≥ 1, the moves of each chain.
        window: as of ``PathChains``.

    Returns:
        [B]; +inf, with a gradient of 0, where the desired answer is not in the graph.

    Raises:
        CycleError: a graph of all answers has a cycle.
        GraphError: as ``sampled_nll`` and ``PathChains``.

    Source: Hinton, "Training products of experts by minimizing contrastive divergence" (2002).
    """
    _check_count(count, "chains")
    _check_count(steps, "moves")
    check_finite(beta)
    desired = selectors(everything, desired)
    drawn = []
    for graph, composed in zip(everything, compose(everything, desired), strict=True):
        begin = [_of_first(path, composed) for path in random_paths(composed, count, beta, generator)]
        chains = PathChains(graph, begin, beta, generator, window=window) if begin else None
        drawn.append(chains.move(graph, steps) if chains else [])
    return _desired_less_mean(everything, desired, drawn, beta)


@takes_graphs
def persistent_contrastive_divergence(
    everything: Sequence[Graph], desired: Sequence[Graph], chains: Sequence[PathChains], *, steps: int = 1
) -> Tensor:
    """Persistent CD: the drawn paths are those of chains that go on from one call to the next.

    Energies change little from one update to the next, so that a few moves keep the chains near to the
    distribution, wherever they began: the gradient becomes that of ``sampled_nll`` as the updates become
    small, or the moves many. With chains that have made many moves it is the NLL by Markov chain Monte Carlo.

    Args:
        everything, desired: as of ``sampled_nll``; each graph of the structure that its chains were made for.
        chains: for each graph, one or more chains in one ``PathChains``, whose β is that of the loss. They
            are moved.
        steps: ≥ 1, the moves of each chain.

    Returns:
        [B]; +inf, with a gradient of 0, where the desired answer is not in the graph.

    Raises:
        GraphError: lists of different lengths, chains of different β, of another structure, or steps < 1.

    Source: Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood gradient"
    (2008); Younes (1989).
    """
    _check_count(steps, "moves")
    if len(chains) != len(everything):
        raise GraphError(f"there are {len(everything)} graphs, but chains for {len(chains)}")
    if not chains:
        return torch.zeros(0)
    beta, *others = {of_graph.beta for of_graph in chains}
    if others:
        raise GraphError(f"the chains are of different β: {sorted([beta, *others])}")
    desired = selectors(everything, desired)
    drawn = [of_graph.move(graph, steps) for of_graph, graph in zip(chains, everything, strict=True)]
    return _desired_less_mean(everything, desired, drawn, beta)


def _of_first(path: Path, composed: Graph) -> Path:
    """A path of a composition as the path of its first operand."""
    arcs = composed.arc_maps[0][path.arcs]
    return path._replace(arcs=arcs[arcs >= 0].astype(path.arcs.dtype))


def _desired_less_mean(
    everything: Sequence[Graph],
    desired: Sequence[Graph],
    drawn: Sequence[Sequence[Path]],
    beta: float,
) -> Tensor:
    good = free_energy(compose(everything, desired), beta)
    # Where there is no desired answer nothing is to be pushed up either.
    means = [
        torch.stack([path.energy for path in paths]).mean()
        if len(paths) and energy < torch.inf
        else energy.new_zeros(())
        for paths, energy in zip(drawn, good, strict=True)
    ]
    return good - torch.stack(means) if means else good


def _check_count(count: int, what: str) -> None:
    if not isinstance(count, int) or count < 1:
        raise GraphError(f"the number of {what} must be 1 or more, not {count!r:.60}")
