"""The most offending incorrect answers: what is wrong and of least energy."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gtn_ebm.graph import Graph
from gtn_ebm.inference.free_energy import free_energy
from gtn_ebm.inference.least_energy import Path, best_path
from gtn_ebm.ops.difference import difference


def wrong_answers(graph: Graph, desired: Graph) -> Graph:
    """The paths whose output ``desired`` does not accept; args and errors as of ``difference``."""
    return difference(graph, desired)


def most_offending(graph: Graph, desired: Graph) -> Path | None:
    """The path of least energy among those whose output is not a desired answer, or None where there is none.

    Exact: it is the best path of the graph's ``difference`` with the desired answers.
    """
    return best_path(difference(graph, desired))


def offending_energy(graphs: Sequence[Graph], desired: Sequence[Graph], beta: float) -> Tensor:
    """F_β over the paths whose output is not a desired answer, [B]; +inf where there is none."""
    return free_energy([difference(*pair) for pair in zip(graphs, desired, strict=True)], beta)
