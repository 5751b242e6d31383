"""What keeps or scores paths: the path selector, the Viterbi transformer and the forward scorer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import check_beta
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.inference import Path, best_path, free_energy
from gtn_ebm.inference.answers import selector
from gtn_ebm.ops import compose
from gtn_ebm.ops.arc_maps import carry_attributes, select

Answer = Sequence[int] | str | Graph
"""Labels, their names in the graph's output symbols, or an acceptor of all that counts as the answer."""


class PathSelector(nn.Module):
    """LeCun's path selector: keeps of each graph the paths that write the desired answer.

    Args:
        acceptor: from an answer to the graph of all that counts as it; where omitted, that of the answer's
            labels or, where it is a string, of its characters' labels in the graph's output symbols.

    Called with B graphs and B answers it gives B graphs.

    Raises:
        GraphError: lists of different lengths, a label below 0, a string where the graph has no output
            symbols or has them without a character; as ``compose``.
    """

    def __init__(self, acceptor: Callable[[Any], Graph] | None = None):
        super().__init__()
        if acceptor is not None and not callable(acceptor):
            raise GraphError(f"an acceptor is made by a function of the answer, not {acceptor!r:.60}")
        self.acceptor = acceptor

    def forward(self, graphs: Sequence[Graph], answers: Sequence[Any]) -> list[Graph]:
        return compose(graphs, self.acceptors(graphs, answers))

    @takes_graphs
    def acceptors(self, graphs: Sequence[Graph], answers: Sequence[Any]) -> list[Graph]:
        """The graph of each desired answer, in the dtype of the graph it is for."""
        if len(graphs) != len(answers):
            raise GraphError(f"there are {len(graphs)} graphs, but {len(answers)} desired answers")
        return [
            (_acceptor(graph, answer) if self.acceptor is None else self.acceptor(answer)).to(graph.energies)
            for graph, answer in zip(graphs, answers, strict=True)
        ]


def _acceptor(graph: Graph, answer: Answer) -> Graph:
    if isinstance(answer, Graph):
        return answer
    if not isinstance(answer, str | Sequence | np.ndarray):
        raise GraphError(f"an answer is labels, a string or an acceptor, not {answer!r:.60}")
    if not isinstance(answer, str):
        return selector(answer, graph)
    if graph.output_symbols is None:
        raise GraphError(f"the answer {answer!r} is a string, but the graph has no output symbols")
    return Graph.linear(graph.output_symbols.labels(answer), input_symbols=graph.output_symbols)


class ViterbiTransformer(nn.Module):
    """LeCun's Viterbi transformer: of each graph the path of least energy, as a graph.

    Called with B graphs it gives B graphs of one path each, whose ``arc_maps[0]`` are its arcs, or of none
    where there is no path.
    """

    @takes_graphs
    def forward(self, graphs: Sequence[Graph]) -> list[Graph]:
        return [_of_path(graph, path) for graph, path in zip(graphs, best_path(graphs), strict=True)]


def _of_path(graph: Graph, path: Path | None) -> Graph:
    arcs = np.zeros(0, np.int32) if path is None else path.arcs.astype(np.int32)
    length = len(arcs)
    if length:
        first, last = int(graph.source[arcs[0]]), int(graph.destination[arcs[-1]])
    elif path is not None:
        first = last = int((graph.initial + graph.final).argmin())
    nowhere = graph.energies.new_full((length,), torch.inf)
    none = graph.energies.new_full((1,), torch.inf)
    return Graph(
        Structure(
            np.arange(length),
            np.arange(1, length + 1),
            graph.input_labels[arcs],
            None if graph.is_acceptor else graph.output_labels[arcs],
            states=length + 1,
        ),
        select(graph.energies, arcs),
        torch.cat([none if path is None else graph.initial[first : first + 1], nowhere]),
        torch.cat([nowhere, none if path is None else graph.final[last : last + 1]]),
        attributes=carry_attributes((graph,), (arcs,)),
        input_symbols=graph.input_symbols,
        output_symbols=graph.output_symbols,
        arc_maps=(arcs,),
    )


class ForwardScorer(nn.Module):
    """LeCun's forward scorer: the free energy F_β of each graph, [B].

    Args:
        beta: inverse temperature, > 0; ∞ for the least energy.
    """

    def __init__(self, beta: float = 1.0):
        super().__init__()
        check_beta(beta)
        self.beta = beta

    def forward(self, graphs: Sequence[Graph]) -> Tensor:
        return free_energy(graphs, self.beta)

    def extra_repr(self) -> str:
        return f"beta={self.beta}"
