"""Losses of graphs: from graphs to the energies that a loss needs, and to the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from gtn_ebm.distance import check_beta
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph
from gtn_ebm.inference import free_energy, offending_energy
from gtn_ebm.losses.registry import EnergyLoss, by_name
from gtn_ebm.ops import compose


def _desired(everything: Sequence[Graph], desired: Sequence[Graph], beta: float) -> Tensor:
    return free_energy(compose(everything, desired), beta)


def _everything(everything: Sequence[Graph], desired: Sequence[Graph], beta: float) -> Tensor:
    return free_energy(everything, beta)


_ENERGY: dict[str, Callable[[Sequence[Graph], Sequence[Graph], float], Tensor]] = {
    "desired": _desired,
    "everything": _everything,
    "wrong": offending_energy,
}


class GraphLoss(nn.Module):
    """A loss of graphs, by name.

    Args:
        name: of a loss in ``LOSSES``.
        beta: inverse temperature of the energies; that of the loss where omitted (∞ for those that compare
            least energies, 1 for those that sum over answers).
        options: of the loss, such as ``margin``.

    Called with B graphs of all answers, which their paths write, and B acceptors of the desired answers, it
    gives B losses.

    Raises:
        GraphError: no such loss or option, β ≤ 0, or lists of different lengths.

    >>> import torch
    >>> from gtn_ebm import Structure
    >>> everything = Graph(Structure([0, 0, 0], [1, 1, 1], [0, 1, 2]), torch.tensor([2.0, 1.5, 4.0]))
    >>> GraphLoss("hinge", margin=1.0)([everything], [Graph.linear([0])])
    tensor([1.5000])
    """

    def __init__(self, name: str, *, beta: float | None = None, **options: Any):
        super().__init__()
        loss = by_name(name)
        self.beta = loss.beta if beta is None else beta
        check_beta(self.beta)
        if "beta" in loss.options:
            options["beta"] = self.beta
        self.of_energies = EnergyLoss(name, **options)

    def energy(self, name: str, everything: Sequence[Graph], desired: Sequence[Graph]) -> Tensor:
        """One of the energies that the loss ``needs``, [B]."""
        if len(everything) != len(desired):
            raise GraphError(
                f"there are {len(everything)} graphs of all answers, but {len(desired)} of desired answers"
            )
        return _ENERGY[name](everything, desired, self.beta)

    def energies(self, everything: Sequence[Graph], desired: Sequence[Graph]) -> dict[str, Tensor]:
        """The energies that the loss needs, by name, [B] each: for a system of several graphs, whose energies
        are added up before ``of_energies`` makes a loss of them."""
        return {name: self.energy(name, everything, desired) for name in self.of_energies.needs}

    def forward(self, everything: Sequence[Graph], desired: Sequence[Graph]) -> Tensor:
        return self.of_energies(**self.energies(everything, desired))

    def extra_repr(self) -> str:
        return f"beta={self.beta}"
