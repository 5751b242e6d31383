"""gtn's Graph: built node by node, mutable, with scores as weights and a gradient beside it."""

from __future__ import annotations

import ctypes
import math
import threading
from array import array
from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import gtn_ebm.graph as core
from gtn_ebm.compat.gtn import cuda as no_cuda
from gtn_ebm.compat.gtn.device import Device
from gtn_ebm.errors import GraphError, GtnEbmError
from gtn_ebm.symbols import EPSILON

if TYPE_CHECKING:
    from gtn_ebm.compat.gtn.autograd import Record

epsilon = EPSILON
"""The label that stands for no symbol, −1 as in gtn."""

_LARGEST_LABEL = 2**31 - 1
_SHOWN = 10  # nodes and arcs that repr shows of a graph with more than twice as many
_LOCK = threading.RLock()  # several threads may share a graph: its arrays are made, its gradient added to


class GtnRuntimeError(GtnEbmError, RuntimeError):
    """What gtn raises RuntimeError for: a gradient that does not exist, a graph that is no scalar."""


class _Lists:
    """A graph while it grows."""

    def __init__(self) -> None:
        self.start: list[bool] = []
        self.final = array("f")
        self.source, self.destination = array("i"), array("i")
        self.ilabels, self.olabels = array("i"), array("i")
        self.weights = array("f")


class Arrays(NamedTuple):
    """A graph as functions take it. ``weights`` [A] may be written to.

    ``final`` [S] is −inf but at accept nodes, where it is 0 unless the graph comes from ``remove``: what the
    removed arcs into an accept node weighed stands here, since gtn's graphs have no place for it.
    """

    structure: core.Structure
    start: NDArray[np.bool_]
    final: NDArray[np.float32]
    weights: NDArray[np.float32]


class Graph:
    """A weighted acceptor or transducer as gtn has it: a path's score is the sum of its arcs' weights.

    Args:
        calc_grad: whether ``backward`` works out a gradient for it.

    >>> g = Graph()
    >>> g.add_node(start=True), g.add_node(accept=True)
    (0, 1)
    >>> g.add_arc(0, 1, 7, 7, 0.5)
    0
    >>> g
    0
    1
    0 1 7 7 0.5
    """

    def __init__(self, calc_grad: bool = True):
        self._calc_grad = bool(calc_grad)
        self._lists: _Lists | None = _Lists()
        self._arrays: Arrays | None = None
        self._grad: Graph | None = None
        self._record: Record | None = None

    @classmethod
    def of(cls, arrays: Arrays, calc_grad: bool, record: Record | None = None) -> Graph:
        """The graph of these arrays, taken as they are, and of how it was made."""
        graph = cls(calc_grad)
        graph._lists, graph._arrays, graph._record = None, arrays, record
        return graph

    def add_node(self, start: bool = False, accept: bool = False) -> int:
        """Adds a node and returns its number."""
        lists = self._growing()
        lists.start.append(bool(start))
        lists.final.append(0.0 if accept else -math.inf)
        return len(lists.start) - 1

    def add_arc(
        self,
        src_node: int,
        dst_node: int,
        ilabel: int | None = None,
        olabel: int | None = None,
        weight: float = 0.0,
        *,
        label: int | None = None,
    ) -> int:
        """Adds an arc and returns its number: ``(src_node, dst_node, label)``, or with both labels.

        Raises:
            TypeError: no label, or one that is no integer.
            ValueError: a node not yet added, or a label below −1 (gtn takes either and corrupts its memory).
        """
        read = index(label if ilabel is None else ilabel)  # type: ignore[arg-type]
        written = read if olabel is None else index(olabel)
        source, destination = index(src_node), index(dst_node)
        lists = self._growing()
        nodes = len(lists.start)
        if not (0 <= source < nodes and 0 <= destination < nodes):
            raise GraphError(f"the arc {source} → {destination} touches a node that has not been added")
        if not (epsilon <= read <= _LARGEST_LABEL and epsilon <= written <= _LARGEST_LABEL):
            raise GraphError(
                f"label {read}:{written} of the arc {source} → {destination} is below −1 or ≥ 2³¹"
            )
        lists.weights.append(weight)
        lists.source.append(source)
        lists.destination.append(destination)
        lists.ilabels.append(read)
        lists.olabels.append(written)
        return len(lists.weights) - 1

    def _growing(self) -> _Lists:
        if self._lists is None:
            structure, start, final, weights = self.arrays()
            lists = _Lists()
            lists.start = start.tolist()
            lists.final.frombytes(final.tobytes())
            lists.source.frombytes(structure.source.tobytes())
            lists.destination.frombytes(structure.destination.tobytes())
            lists.ilabels.frombytes(structure.input_labels.tobytes())
            lists.olabels.frombytes(structure.output_labels.tobytes())
            lists.weights.frombytes(weights.tobytes())
            self._lists, self._arrays = lists, None
        return self._lists

    def arrays(self) -> Arrays:
        """The graph as arrays, for functions; adding a node or an arc takes it back to lists."""
        with _LOCK:
            if self._arrays is None:
                assert self._lists is not None
                self._arrays, self._lists = _as_arrays(self._lists), None
            return self._arrays

    def num_nodes(self) -> int:
        """The number of nodes."""
        return len(self._lists.start) if self._lists is not None else self.arrays().structure.states

    def num_arcs(self) -> int:
        """The number of arcs."""
        return len(self._lists.weights) if self._lists is not None else self.arrays().structure.arcs

    def num_start(self) -> int:
        """The number of start nodes."""
        return int(np.count_nonzero(self.arrays().start))

    def num_accept(self) -> int:
        """The number of accept nodes."""
        return int(np.count_nonzero(self.arrays().final != -np.inf))

    def item(self) -> float:
        """The weight of a graph's only arc. Raises ValueError where there are more or none."""
        weights = self.arrays().weights
        if len(weights) != 1:
            raise GraphError(f"item() is for graphs of one arc, but this one has {len(weights)}")
        return float(weights[0])

    def weights(self) -> int:
        """The address of the weights, float32. It holds until a node or an arc is added."""
        return self.arrays().weights.ctypes.data

    def weights_to_list(self) -> list[float]:
        """The weights of the arcs."""
        result: list[float] = self.arrays().weights.tolist()
        return result

    def weights_to_numpy(self) -> NDArray[np.float32]:
        """The weights of the arcs, [A], a copy."""
        return self.arrays().weights.copy()

    def set_weights(self, weights: int | Sequence[float] | NDArray[Any] | torch.Tensor) -> None:
        """Sets the weights of all arcs: from the address of as many float32, a list, an array or a tensor.

        Raises:
            ValueError: not one weight for each arc (gtn reads beyond the end), or address 0.
        """
        ours = self.arrays().weights
        if isinstance(weights, int | np.integer):
            if weights == 0 and len(ours):
                raise GraphError("set_weights was given the address 0")
            ctypes.memmove(ours.ctypes.data, int(weights), ours.nbytes)
            return
        if isinstance(weights, torch.Tensor):
            weights = weights.numpy(force=True)
        given = np.asarray(weights, np.float32).reshape(-1)
        if len(given) != len(ours):
            raise GraphError(f"set_weights was given {len(given)} weights for {len(ours)} arcs")
        ours[:] = given

    def labels_to_list(self, ilabel: bool = True) -> list[int]:
        """The input labels of the arcs, or the output labels."""
        structure = self.arrays().structure
        labels: list[int] = (structure.input_labels if ilabel else structure.output_labels).tolist()
        return labels

    def arc_sort(self, olabel: bool = False) -> None:
        """Does nothing, since functions sort for themselves, once. Arcs keep their numbers in gtn, too."""

    def mark_arc_sorted(self, olabel: bool = False) -> None:
        """Does nothing: see ``arc_sort``. (A graph marked in error gives wrong answers in gtn.)"""

    @property
    def calc_grad(self) -> bool:
        """Whether ``backward`` works out a gradient; False drops gradient and history."""
        return self._calc_grad

    @calc_grad.setter
    def calc_grad(self, calc_grad: bool) -> None:
        self._calc_grad = bool(calc_grad)
        if not calc_grad:
            self._grad = self._record = None

    def grad(self) -> Graph:
        """The gradient: the same graph, its weights being the derivatives.

        Raises:
            RuntimeError: ``calc_grad`` is False, or ``backward`` has not come here.
        """
        if not self._calc_grad:
            raise GtnRuntimeError("this graph has no gradient because its calc_grad is False")
        if self._grad is None:
            raise GtnRuntimeError("this graph has no gradient yet; call backward on a result of it first")
        return self._grad

    def is_grad_available(self) -> bool:
        """Whether there is a gradient."""
        return self._grad is not None

    def zero_grad(self) -> None:
        """Drops the gradient."""
        self._grad = None

    @property
    def record(self) -> Record | None:
        """How the graph was made, for ``backward``; None for one made by hand."""
        return self._record

    def add_grad(self, derivatives: NDArray[np.float32]) -> None:
        """Adds to the gradient, where one is wanted."""
        if not self._calc_grad:
            return
        arrays = self.arrays()
        if len(derivatives) != len(arrays.weights):
            raise GtnRuntimeError(f"{len(derivatives)} derivatives for {len(arrays.weights)} arcs")
        with _LOCK:
            if self._grad is None:
                self._grad = Graph.of(arrays._replace(weights=derivatives.copy()), calc_grad=False)
            else:
                weights = self._grad.arrays().weights
                weights += derivatives

    def cpu(self) -> Graph:
        """A copy, on the CPU."""
        arrays = self.arrays()
        return Graph.of(arrays._replace(weights=arrays.weights.copy()), self._calc_grad)

    def cuda(self, device: int | Device | None = None) -> Graph:
        """Raises ValueError, as a gtn built without CUDA does."""
        no_cuda.unavailable("Graph.cuda")

    def is_cuda(self) -> bool:
        """False."""
        return False

    def __repr__(self) -> str:
        structure, start, final, weights = self.arrays()
        whole = max(structure.states, structure.arcs) <= 2 * _SHOWN
        ends = [np.flatnonzero(ends).tolist() for ends in (start, final != -np.inf)]
        shown = slice(None) if whole else slice(_SHOWN)
        lines = []
        for nodes in ends:
            lines.append(" ".join(map(str, nodes[shown])) + (" ..." if nodes[shown] != nodes else ""))
        columns = structure.source, structure.destination, structure.input_labels, structure.output_labels
        for *numbers, weight in zip(*(column[shown] for column in (*columns, weights)), strict=True):
            lines.append(" ".join(map(str, numbers)) + f" {weight:g}")
        if not whole and structure.arcs > _SHOWN:
            lines.append("...")
        return "\n".join(lines)


def _as_arrays(lists: _Lists) -> Arrays:
    # Copies: an array that shares its memory could not grow any more.
    columns = lists.source, lists.destination, lists.ilabels, lists.olabels
    source, destination, read, written = (np.array(column, np.int32) for column in columns)
    if np.array_equal(read, written):
        written = read
    return Arrays(
        core.Structure.of_valid(source, destination, read, written, len(lists.start)),
        np.array(lists.start, np.bool_),
        np.array(lists.final, np.float32),
        np.array(lists.weights, np.float32),
    )
