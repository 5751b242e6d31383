"""A stack of graph transformers with a loss: a whole system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph
from gtn_ebm.inference import best_path, free_energy
from gtn_ebm.inference.expectation import check_finite
from gtn_ebm.losses import GraphLoss
from gtn_ebm.transformers.selection import PathSelector


class Reading(NamedTuple):
    """An answer.

    Attributes:
        labels: that the path of least energy writes.
        energy: the free energy of all paths that write them.
        confidence: the answer's posterior among all answers, 0 to 1.
    """

    labels: list[int]
    energy: float
    confidence: float


class GraphTransformerNetwork(nn.Module):
    """Graph transformers one after the other, the last of which gives a graph of all answers.

    Args:
        transformers: modules, each called with what the one before gave; what comes in first may be anything.
        loss: the name of any loss in ``gtn_ebm.losses``, or a ``GraphLoss`` with options.
        selector: from desired answers to their paths.

    Called with a batch it gives the graph of all answers for each item. A system that reads two frames,
    each of class 0 or 1, of which the second prefers what the first was not:

    >>> _ = torch.manual_seed(0)
    >>> from gtn_ebm.transformers import *
    >>> system = GraphTransformerNetwork(
    ...     RecognitionTransformer(nn.Linear(3, 2)),
    ...     CompositionTransformer(Transducer(bigram(2))),
    ...     loss="hinge",
    ... )
    >>> frames = Graph.linear([0, 0], attributes={"input": torch.eye(3)[:2]})
    >>> optimiser = torch.optim.SGD(system.parameters(), lr=0.1)
    >>> for _ in range(30):
    ...     optimiser.zero_grad()
    ...     loss = system.loss([frames], [[0, 1]]).mean()
    ...     loss.backward()
    ...     optimiser.step()
    >>> system.read([frames])[0].labels, round(loss.item(), 3)
    ([0, 1], 0.0)
    """

    def __init__(
        self,
        *transformers: nn.Module,
        loss: str | GraphLoss = "nll",
        selector: PathSelector | None = None,
    ):
        super().__init__()
        if wrong := [one for one in transformers if not isinstance(one, nn.Module)]:
            raise GraphError(f"transformers are torch modules, not {wrong[0]!r:.60}")
        self.transformers = nn.Sequential(*transformers)
        self.graph_loss = loss if isinstance(loss, GraphLoss) else GraphLoss(loss)
        self.selector = PathSelector() if selector is None else selector
        if not isinstance(self.selector, PathSelector):
            raise GraphError(f"the selector must be a PathSelector, not {selector!r:.60}")

    def forward(self, inputs: Any) -> list[Graph]:
        graphs: list[Graph] = self.transformers(inputs)
        return graphs

    def loss(self, inputs: Any, answers: Sequence[Any], right: Sequence[Graph] | None = None) -> Tensor:
        """The loss of each item, [B]; its limit, +inf for most, with a gradient of 0 where no path writes the
        desired answer.

        Args:
            answers: as the selector takes them: labels, a string in the graphs' output symbols, or an
                acceptor.
            right: the paths that are right, where more is known of them (see ``GraphLoss.energies``).
        """
        losses: Tensor = self.graph_loss.of_energies(**self.energies(inputs, answers, right))
        return losses

    def energies(
        self, inputs: Any, answers: Sequence[Any], right: Sequence[Graph] | None = None
    ) -> dict[str, Tensor]:
        """The energies that the loss is made of, by name: those of several networks that read the same add up
        to those of one system (see ``GraphLoss.energies``)."""
        graphs = self(inputs)
        return self.graph_loss.energies(graphs, self.selector.acceptors(graphs, answers), right)

    @torch.no_grad()
    def read(self, inputs: Any, beta: float = 1.0) -> list[Reading | None]:
        """The answer to each item; None where there is no path.

        Args:
            beta: inverse temperature of energy and confidence, finite and > 0.
        """
        check_finite(beta)
        graphs = self(inputs)
        paths = best_path(graphs)
        read = [k for k, path in enumerate(paths) if path is not None]
        answers = [path.output_labels for path in paths if path is not None]
        everything = [graphs[k] for k in read]
        # In float64, for float32 cannot tell the confidences of sure answers from 1.
        total = free_energy([graph.to(torch.float64) for graph in everything], beta)
        of_answers = PathSelector()([graph.to(torch.float64) for graph in everything], answers)
        energies = free_energy(of_answers, beta)
        confidences = torch.exp(-beta * (energies - total)).clamp(max=1.0)
        readings: list[Reading | None] = [None] * len(paths)
        for k, *parts in zip(read, answers, energies.tolist(), confidences.tolist(), strict=True):
            readings[k] = Reading(*parts)
        return readings
