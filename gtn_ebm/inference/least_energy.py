"""The path of least energy of an acyclic graph: LeCun's Viterbi transformer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, as_array, check_one_dtype
from gtn_ebm.kernels import lattice
from gtn_ebm.parallel import parallel_map
from gtn_ebm.symbols import EPSILON


class Path(NamedTuple):
    """A path through a graph.

    Attributes:
        arcs: its arcs, first to last, [L] int64.
        energy: the sum of its arcs', its initial and its final energy; a scalar, differentiable in each of
            them.
        input_labels, output_labels: read and written along it, epsilons left out.
    """

    arcs: NDArray[np.int64]
    energy: Tensor
    input_labels: list[int]
    output_labels: list[int]


@overload
def best_path(graphs: Graph) -> Path | None: ...
@overload
def best_path(graphs: Sequence[Graph]) -> list[Path | None]: ...
def best_path(graphs: Graph | Sequence[Graph]) -> Path | list[Path | None] | None:
    """The path of least energy of each graph, or None where no path has a finite energy.

    Args:
        graphs: one acyclic graph, or a list of them.

    Raises:
        CycleError: a graph with a cycle; the message names a state on it.
        GraphError: an energy that is NaN or −inf.

    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0, 1], [1, 1, 2], [0, 1, 2]), torch.tensor([3.0, 1.0, 2.0]))
    >>> best_path(graph).input_labels
    [1, 2]
    """
    if isinstance(graphs, Graph):
        return best_path([graphs])[0]
    found = parallel_map(_least_arcs, graphs)
    return [None if arcs is None else _path(graph, *arcs) for graph, arcs in zip(graphs, found, strict=True)]


def minimum_energy(graphs: Graph | Sequence[Graph]) -> Tensor:
    """min over paths of E(path): a scalar, or [B] for a list of graphs; +inf where there is no path.

    Its derivative is 1 on the arcs of the best path and 0 elsewhere. Args and errors as of ``best_path``.
    """
    if isinstance(graphs, Graph):
        return minimum_energy([graphs])[0]
    if not graphs:
        return torch.zeros(0)
    check_one_dtype(graphs)
    return torch.stack(
        [
            _no_path(graph) if path is None else path.energy
            for graph, path in zip(graphs, best_path(graphs), strict=True)
        ]
    )


def _no_path(graph: Graph) -> Tensor:
    """+inf, with a gradient of 0 in every energy."""
    return torch.cat([part[:0] for part in (graph.energies, graph.initial, graph.final)]).sum() + torch.inf


def _least_arcs(graph: Graph) -> tuple[int, NDArray[np.int64], int] | None:
    """The first state, arcs and last state of the best path."""
    structure = graph.structure
    offsets, destination = structure.outgoing
    energies, initial, final = (_usable(part) for part in (graph.energies, graph.initial, graph.final))
    in_order = structure.out_order
    if in_order is not None:
        energies = energies[in_order]
    first, best_arc = lattice.least(
        structure.topological_order, offsets, destination, energies, initial, final
    )
    if first < 0:
        return None
    arcs, last = lattice.trace(destination, best_arc, first)
    return first, arcs if in_order is None else in_order[arcs].astype(np.int64), last


def _usable(energies: Tensor) -> NDArray[Any]:
    values = as_array(energies)
    if len(values) and not values.min() > -np.inf:
        place = int(np.flatnonzero(~(values > -np.inf))[0])
        raise GraphError(
            f"energy {place} of {len(values)} is {values[place]}: energies must not be NaN or −inf"
        )
    return values


def _path(graph: Graph, first: int, arcs: NDArray[np.int64], last: int) -> Path:
    chosen = graph.energies[torch.from_numpy(arcs).to(graph.energies.device)]
    return Path(
        arcs,
        chosen.sum() + graph.initial[first] + graph.final[last],
        [label for label in graph.input_labels[arcs].tolist() if label != EPSILON],
        [label for label in graph.output_labels[arcs].tolist() if label != EPSILON],
    )
