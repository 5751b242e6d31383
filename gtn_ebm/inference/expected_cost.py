"""What the answers of a graph cost on average."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph
from gtn_ebm.inference.expectation import check_finite, in_float64
from gtn_ebm.inference.free_energy import free_energy
from gtn_ebm.ops.composition import compose
from gtn_ebm.ops.scaling import scale


@takes_graphs
def expected_cost(
    graphs: Graph | Sequence[Graph], costs: Graph | Sequence[Graph], beta: float = 1.0
) -> Tensor:
    """Σ p(path) c(path) over all paths, with p ∝ exp(−βE) and c the cost of what the path writes: the risk.

    It is the derivative of F_β(E + t c) in t at 0, and so takes one composition and one free energy, in
    float64 whatever the dtype. Differentiable as often as wanted.

    Args:
        graphs: graphs of all answers, one or a list.
        costs: for each graph, or each of the list, an acceptor whose energies are the costs, with one path
            for each string, such as ``edit_distance`` gives; paths that write other strings are left out.
        beta: inverse temperature, > 0 and finite.

    Returns:
        A scalar, or for lists [B], in the dtype of the graphs' energies; +inf, with a gradient of 0, where
        there is no path.

    Raises:
        GraphError: β is not positive and finite; as ``compose`` and ``free_energy``.

    Source: Li, Eisner, "First- and second-order expectation semirings" (2009).

    Cost: that of ``compose``, ``free_energy`` and its derivative.

    >>> import math
    >>> from gtn_ebm import Structure
    >>> from gtn_ebm.ops import edit_distance
    >>> graph = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([1.0, 1.0 + math.log(3)]))
    >>> expected_cost(graph, edit_distance(Graph.linear([0]), [0, 1]))
    tensor(0.2500)
    """
    check_finite(beta)
    if isinstance(graphs, Graph) and isinstance(costs, Graph):
        return expected_cost([graphs], [costs], beta)[0]
    if isinstance(graphs, Graph) or isinstance(costs, Graph) or len(graphs) != len(costs):
        raise GraphError("give one graph and its costs, or a list of each, of one length")
    if not graphs:
        return torch.zeros(0)
    parts = (part for graph in graphs for part in (graph.energies, graph.initial, graph.final))
    differentiable = torch.is_grad_enabled() and any(part.requires_grad for part in parts)
    with torch.inference_mode(False), torch.enable_grad():
        times = graphs[0].energies.new_zeros(len(graphs), dtype=torch.float64, requires_grad=True)
        scaled = [scale(in_float64(cost), t) for cost, t in zip(costs, times, strict=True)]
        free = free_energy(compose([in_float64(graph) for graph in graphs], scaled), beta)
        (expected,) = torch.autograd.grad(free.sum(), times, create_graph=differentiable)
        expected = torch.where(torch.isposinf(free), torch.inf, expected).to(graphs[0].dtype)
    return expected if differentiable else expected.detach()
