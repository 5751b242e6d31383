"""Paths drawn at random, each as often as its probability says."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import shortest_distance
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph
from gtn_ebm.inference.least_energy import InOrder, Path, Traces, as_given, paths_along
from gtn_ebm.kernels import paths as kernels
from gtn_ebm.ops.pruning import live
from gtn_ebm.ops.scaling import scale


@takes_graphs
def random_paths(
    graph: Graph,
    count: int,
    beta: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    max_arcs: int | None = None,
) -> list[Path]:
    """Independent exact samples: each path is drawn with probability p(path) = exp(−β E(path)) / Z.

    At β = 0 all paths of finite energy are equally likely.

    Args:
        graph: any graph for which Σ exp(−β E) converges: at β = 0, one with finitely many paths.
        count: how many paths.
        beta: inverse temperature, finite and ≥ 0.
        generator: where the randomness comes from; torch's own where omitted.
        max_arcs: the most arcs of a path: round a cycle that costs next to nothing it may be many; where
            omitted ten times those of the graph, and at least a million.

    Returns:
        ``count`` paths, their energies differentiable; or none where the graph has no path of finite energy.

    Raises:
        CycleError: the sum over paths diverges; the message names a cycle at fault.
        GraphError: β or count out of range, an energy that is NaN or −inf, or a path of more than
            ``max_arcs`` arcs: without it the others would be likelier than they are.

    Cost: one ``shortest_distance``, O(S + A) time and memory for an acyclic graph, then O(log of the arcs to
    choose from) time for each step of a path.

    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0], [1, 1], [7, 8]), torch.tensor([0.0, 50.0]))
    >>> random_paths(graph, 2)[1].input_labels
    [7]
    """
    if not isinstance(beta, int | float | np.number) or not 0.0 <= beta < math.inf:
        raise GraphError(
            f"to draw paths β must be finite and not negative, not {beta!r:.40}; at ∞ use best_path"
        )
    if count < 0:
        raise GraphError(f"cannot draw {count} paths")
    most = max(1_000_000, 10 * graph.arcs) if max_arcs is None else max_arcs
    traces = _traces(at_unit_beta(graph, beta), count, most, numpy_generator(generator))
    return paths_along(graph, traces)


def _traces(graph: Graph, count: int, most: int, random: np.random.Generator) -> Traces:
    to_go = shortest_distance(graph, direction="to").numpy()
    in_order = InOrder.of(graph)
    first = _starts(in_order.initial + to_go, count, random)
    ladder = kernels.steps(*in_order[:3], in_order.final, to_go)
    arcs, begins, last = kernels.walk(*in_order[:2], *ladder, first, random, most)
    if (np.diff(begins) > most).any():
        raise GraphError(
            f"a path of more than {most} arcs was drawn; allow more with max_arcs, or raise the energies on "
            "the graph's cycles"
        )
    return Traces(first, as_given(graph.structure, arcs), begins, last)


def at_unit_beta(graph: Graph, beta: float) -> Graph:
    """The graph, in float64 and without gradients, whose paths at β = 1 are as likely as those of the given
    one at this β."""
    return scale(live(graph).detach().to("cpu", torch.float64), beta)


def _starts(energies: NDArray[np.float64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Initial states drawn with probability ∝ exp(−energy); none where all are +inf."""
    if not np.isfinite(energies).any():
        return np.empty(0, np.int64)
    cumulative = np.cumsum(np.exp(energies.min() - energies))
    return np.searchsorted(cumulative, random.random(count) * cumulative[-1], side="right")


def numpy_generator(generator: torch.Generator | None) -> np.random.Generator:
    """A generator for kernels, seeded by torch's."""
    device = None if generator is None else generator.device
    return np.random.default_rng(int(torch.randint(2**62, (), generator=generator, device=device)))
