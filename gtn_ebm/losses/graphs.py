"""Losses of graphs: from graphs to the energies that a loss needs, and to the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import check_beta
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph
from gtn_ebm.inference import answer_energies, best_answers, expected_cost, free_energy
from gtn_ebm.inference.offending import incorrect_paths
from gtn_ebm.losses.registry import EnergyLoss, by_name
from gtn_ebm.ops import compose, cost_augmented, difference
from gtn_ebm.ops.difference import deterministic_reader, written_labels

Cost = Callable[[Graph, list[int]], Graph]
"""From a desired answer, and the labels that answers are made of, to what each answer costs: an acceptor with
one path for each, such as ``ops.edit_distance`` and ``ops.hamming_distance`` give."""

MOST_ANSWERS = 10_000
"""Answers that a graph may have where all are asked for."""


class GraphLoss(nn.Module):
    """A loss of graphs, by name.

    An answer is what a path writes. Its energy sums over the paths that write it (F_β), or is that of the
    best of them (β = ∞).

    Args:
        name: of a loss in ``LOSSES``.
        beta: inverse temperature of the energies; that of the loss where omitted (∞ for those that compare
            least energies, 1 for those that sum over answers).
        cost: of answers. Losses of costs need it. In others it is the margin, multiplied by the option
            ``margin`` (1 where omitted): each answer competes with the energy E(ŷ) − m(y, ŷ), so that
            "hinge" and "perceptron" both are the structured hinge loss (margin rescaling; the latter need not
            tell wrong answers from right ones, and is faster) and "nll" is the softmax-margin loss (Gimpel,
            Smith 2010).
        count: how many answers a loss of several takes, those of the best paths first; None for all.
        options: of the loss, such as ``margin``.

    Called with B graphs of all answers and B acceptors of the desired ones, such as ``Graph.linear`` of one,
    it gives B losses. Energies of the acceptors count for nothing. Where no path writes a desired answer the
    loss is its limit, +inf for most, with a gradient of 0.

    Where more is known of the right paths than what they write, such as where a character was drawn, give
    them as ``right``: B graphs whose paths take the place of those of the desired answers.

    Raises:
        GraphError: no such loss or option; β is not positive; no cost where one is needed, or one where none
            is; lists of different lengths; a graph with more than ``MOST_ANSWERS`` answers where ``count`` is
            None.

    >>> from gtn_ebm import Structure
    >>> everything = Graph(Structure([0, 0, 0], [1, 1, 1], [0, 1, 2]), torch.tensor([2.0, 1.5, 4.0]))
    >>> GraphLoss("hinge", margin=1.0)([everything], [Graph.linear([0])])
    tensor([1.5000])
    """

    def __init__(
        self,
        name: str,
        *,
        beta: float | None = None,
        cost: Cost | None = None,
        count: int | None = 10,
        **options: Any,
    ):
        super().__init__()
        loss = by_name(name)
        self.beta = loss.beta if beta is None else beta
        check_beta(self.beta)
        if "beta" in loss.options:
            options["beta"] = self.beta
        self.of_energies = EnergyLoss(name, **options)
        self.cost, self.count, self.margin = cost, count, 1.0
        _check_cost(loss.name, loss.needs, cost)
        if count is not None and (not isinstance(count, int) or count < 1):
            raise GraphError(f"count must be 1 or more, or None for all answers, not {count!r:.60}")
        if cost is not None and "margin" in loss.options:
            # The energies will have it already.
            margin = options.get("margin", 1.0)
            if not isinstance(margin, Real):
                raise GraphError(f"beside a cost the margin is one number, not {margin!r:.60}")
            self.margin = float(margin)
            self.of_energies.options["margin"] = 0.0

    def forward(
        self, everything: Sequence[Graph], desired: Sequence[Graph], right: Sequence[Graph] | None = None
    ) -> Tensor:
        return self.of_energies(**self.energies(everything, desired, right))

    @takes_graphs
    def energies(
        self, everything: Sequence[Graph], desired: Sequence[Graph], right: Sequence[Graph] | None = None
    ) -> dict[str, Tensor]:
        """The energies that the loss needs, by name, [B] or [B, K].

        A system of several graphs adds up those [B] of each, each summed or minimised over for itself, before
        ``of_energies`` makes one loss of them.

        Args:
            everything, desired: graphs of all answers, and acceptors of the desired ones.
            right: the paths that are right, where these are not all that write the desired answer. Wrong
                answers, and costs, are told by what they write.
        """
        desired = selectors(everything, desired)
        found: dict[str, Tensor] = {}
        if right is not None:
            check_lengths(everything, right)
            found["desired"] = free_energy(right, self.beta)
        for name in self.of_energies.needs:
            if name not in found:
                found.update(getattr(self, f"_{name}")(everything, desired))
        return {name: found[name] for name in self.of_energies.needs}

    def _desired(self, everything: Sequence[Graph], desired: Sequence[Graph]) -> dict[str, Tensor]:
        return {"desired": free_energy(compose(everything, desired), self.beta)}

    def _everything(self, everything: Sequence[Graph], desired: Sequence[Graph]) -> dict[str, Tensor]:
        return {"everything": free_energy(self._competing(everything, desired), self.beta)}

    def _wrong(self, everything: Sequence[Graph], desired: Sequence[Graph]) -> dict[str, Tensor]:
        return {"wrong": free_energy(self._incorrect(everything, desired), self.beta)}

    def _wrong_answers(self, everything: Sequence[Graph], desired: Sequence[Graph]) -> dict[str, Tensor]:
        incorrect = self._incorrect(everything, desired)
        return {"wrong_answers": _padded([self._best(graph)[1] for graph in incorrect], math.inf)}

    def _answers(self, everything: Sequence[Graph], desired: Sequence[Graph]) -> dict[str, Tensor]:
        best = [self._best(graph) for graph in everything]
        costs = [
            answer_energies(cost, answers, math.inf)
            for (answers, _), cost in zip(best, self._costs_of(everything, desired), strict=True)
        ]
        return {
            "answers": _padded([energies for _, energies in best], math.inf),
            "costs": _padded(costs, 0.0),
        }

    def _expected_cost(self, everything: Sequence[Graph], desired: Sequence[Graph]) -> dict[str, Tensor]:
        costs = self._costs_of(everything, desired)
        return {"expected_cost": expected_cost(everything, costs, self.beta)}

    def _competing(self, everything: Sequence[Graph], desired: Sequence[Graph]) -> Sequence[Graph]:
        """The graphs with E − m(y, ŷ), where the margin is a cost."""
        if self.cost is None:
            return everything
        costs = self._costs_of(everything, desired)
        return [cost_augmented(*pair, margin=self.margin) for pair in zip(everything, costs, strict=True)]

    def _incorrect(self, everything: Sequence[Graph], desired: Sequence[Graph]) -> list[Graph]:
        """``_competing`` without the desired answers."""
        if self.cost is None:
            return incorrect_paths(everything, desired)
        costs = zip(self._costs_of(everything, desired), desired, strict=True)
        wrong = [difference(*pair) for pair in costs]
        return [cost_augmented(*pair, margin=self.margin) for pair in zip(everything, wrong, strict=True)]

    def _costs_of(self, everything: Sequence[Graph], desired: Sequence[Graph]) -> list[Graph]:
        assert self.cost is not None
        return [
            self.cost(answer, written_labels(graph).tolist())
            for graph, answer in zip(everything, desired, strict=True)
        ]

    def _best(self, graph: Graph) -> tuple[list[list[int]], Tensor]:
        """The answers of the best paths, and their energies [K]."""
        most = MOST_ANSWERS + 1 if self.count is None else self.count
        best = best_answers(graph, most, math.inf)
        if self.count is None and len(best) > MOST_ANSWERS:
            raise GraphError(f"the graph has more than {MOST_ANSWERS} answers; say how many by count")
        answers = [answer.labels for answer in best]
        if math.isinf(self.beta) and best:
            return answers, torch.stack([answer.energy for answer in best])
        return answers, answer_energies(graph, answers, self.beta)

    def extra_repr(self) -> str:
        return f"beta={self.beta}"


def _check_cost(name: str, needs: Sequence[str], cost: Cost | None) -> None:
    if cost is None and {"costs", "expected_cost"} & set(needs):
        raise GraphError(f"the loss {name!r} needs a cost of answers, such as cost=ops.edit_distance")
    if cost is not None and not callable(cost):
        raise GraphError(f"a cost is a function such as ops.edit_distance, not {cost!r:.60}")
    if cost is not None and list(needs) == ["desired"]:
        raise GraphError(f"the loss {name!r} is of the desired answer alone; no cost has a part in it")


def check_lengths(everything: Sequence[Graph], desired: Sequence[Graph]) -> None:
    """Raises GraphError unless there is a graph of all answers for each of desired ones."""
    if len(everything) != len(desired):
        raise GraphError(
            f"there are {len(everything)} graphs of all answers, but {len(desired)} of desired answers"
        )


def selectors(everything: Sequence[Graph], desired: Sequence[Graph]) -> list[Graph]:
    """The acceptors with one path for each desired answer, without energies, in the dtype of the graphs."""
    check_lengths(everything, desired)
    transducer = next((k for k, answers in enumerate(desired) if not answers.is_acceptor), None)
    if transducer is not None:
        raise GraphError(
            f"desired answers are acceptors, but number {transducer} is a transducer; project it"
        )
    return [
        deterministic_reader(answers).to(graph.energies.detach()).with_symbols(answers.input_symbols)
        for graph, answers in zip(everything, desired, strict=True)
    ]


def _padded(rows: Sequence[Tensor], value: float) -> Tensor:
    """[B, K] of B rows of at most K."""
    return pad_sequence(list(rows), batch_first=True, padding_value=value) if rows else torch.zeros(0, 0)
