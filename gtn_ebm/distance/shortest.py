"""Sums over all paths to, from and between the ends of a graph."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance.divergence import naming_cycles
from gtn_ebm.distance.energies import check_beta, usable, weights
from gtn_ebm.distance.least import LeastEnergies
from gtn_ebm.distance.log_sums import LogSums
from gtn_ebm.distance.walks import Direction, check_direction
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.kernels.structure import group, reachable


@takes_graphs
def shortest_distance(graph: Graph, beta: float = 1.0, direction: Direction = "from") -> Tensor:
    """F_β = −(1/β) log Σ exp(−β E) over all paths between the ends of the graph and each state.

    Args:
        graph: any graph; its cycles are summed in closed form.
        beta: inverse temperature, > 0; ∞ for the least energy (the tropical semiring).
        direction: "from" for the paths from the initial states, whose energies they include; "to" for those
            to the final states, likewise.

    Returns:
        [S], in the dtype of the energies; +inf where there is no path. Differentiable, as often as wanted:
        the derivative in an arc's energy is how often the paths to a state are expected to use the arc.

    Raises:
        CycleError: the sum diverges; the message names a cycle at fault, state by state, and its energy.
        GraphError: β ≤ 0; an energy that is NaN, −inf or too large to add up; or the sum over a component of
            many states cannot be found to 1e-5, which also a gradient may say.

    Cost: O(S + A) time and memory outside strongly connected components, and n³/3 multiplications and n²
    numbers in one of n states, where x = b + x W is solved by elimination (Lehmann 1977; Mohri 2002,
    "Semiring frameworks and algorithms for shortest-distance problems").

    >>> graph = Graph(Structure([0, 0], [0, 1], [0, 1]), torch.tensor([1.0, 0.0]))
    >>> shortest_distance(graph)  # log(1 − e⁻¹): as often round the cycle as one likes
    tensor([-0.4587, -0.4587])
    >>> shortest_distance(graph, beta=math.inf, direction="to")
    tensor([0., 0.])
    """
    check_beta(beta)
    check_direction(direction)
    ends = graph.initial if direction == "from" else graph.final
    function = LeastEnergies if math.isinf(beta) else LogSums
    # In float64 throughout: a derivative is a difference of distances.
    with naming_cycles(graph):
        distance: Tensor = function.apply(
            graph.structure, beta, direction, graph.energies.double(), ends.double()
        )
    return distance.to(graph.energies)


def arcs_on_paths(graph: Graph) -> tuple[Structure, NDArray[np.int64], NDArray[np.bool_]]:
    """The structure with only the arcs that lie on a path of finite energy from an initial to a final state;
    which arcs those are; and of each state whether it lies on one, [S]. O(S + A)."""
    structure = graph.structure
    is_arc, is_first, is_last = (
        as_array(part) != np.inf for part in (graph.energies, graph.initial, graph.final)
    )
    arcs = np.flatnonzero(is_arc)
    source, destination = (end[arcs].view(np.uint32) for end in (structure.source, structure.destination))
    on_path = reachable(destination, *group(source, structure.states), is_first)
    on_path &= reachable(source, *group(destination, structure.states), is_last)
    kept = on_path[source] & on_path[destination]
    arcs = arcs[kept]
    chosen = Structure.of_valid(
        structure.source[arcs],
        structure.destination[arcs],
        structure.input_labels[arcs],
        structure.output_labels[arcs],
        structure.states,
    )
    return chosen, arcs, on_path


@takes_graphs
def sum_over_paths(graph: Graph, beta: float = 1.0) -> Tensor:
    """F_β over all paths of the graph: a scalar in the dtype of the energies, +inf where there is no path.

    Cycles that lie on no path are left out, and may diverge. Args, errors and cost as of
    ``shortest_distance``; differentiable as often as wanted, with a gradient of 0 where there is no path.

    >>> graph = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([1.0, 1.0]))
    >>> sum_over_paths(graph)  # 1 − log 2
    tensor(0.3069)
    """
    check_beta(beta)
    energies, initial, final = (part.double() for part in (graph.energies, graph.initial, graph.final))
    for part in (graph.energies, graph.initial, graph.final):
        # Raises where one is unusable, even if no path uses it.
        usable(part) if math.isinf(beta) else weights(part, beta)
    structure, arcs, on_path = arcs_on_paths(graph)
    first = torch.from_numpy(np.flatnonzero(on_path & (as_array(initial) < np.inf))).to(energies.device)
    if not len(first):
        nothing = torch.cat([energies[:0], initial[:0], final[:0]]).sum()
        return (nothing + torch.inf).to(graph.energies)
    useful = Graph(structure, energies[torch.from_numpy(arcs).to(energies.device)], initial, final)
    useful = useful.with_symbols(graph.input_symbols, graph.output_symbols)  # for errors
    ends = initial[first] + shortest_distance(useful, beta, "to")[first]
    total = ends[ends.argmin()] if math.isinf(beta) else torch.logsumexp(-beta * ends, 0) / -beta + 0.0
    return total.to(graph.energies)
