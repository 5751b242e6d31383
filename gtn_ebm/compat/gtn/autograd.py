"""The record of which graph was made of which, and gradients along it.

Each function works on graphs of the engine, whose energies are leaves of a torch computation of its own; its
record keeps leaves and results. ``backward`` goes through the records from the last to the first, so that, as
in gtn, every graph on the way gets a gradient and weights may be set anew after a function has run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import gtn_ebm.graph as core
from gtn_ebm.compat.gtn.graph import Arrays, Graph, GtnRuntimeError
from gtn_ebm.compat.gtn.parallel import vectorised
from gtn_ebm.errors import GraphError

SCALAR = core.Structure([0], [1], [0])
"""The structure of a score, whose label is 0 as in gtn."""

Deltas = list[NDArray[np.float32]]
"""The derivatives in a graph's weights and in its final scores."""


class Record(ABC):
    """What a result was made of; after ``release`` a ``backward`` through it is an error."""

    def __init__(self, inputs: Sequence[Graph]):
        self._inputs: tuple[Graph, ...] | None = tuple(inputs)

    @property
    def inputs(self) -> tuple[Graph, ...]:
        """The graphs the result was made of. Raises GraphError once released."""
        if self._inputs is None:
            raise GraphError(
                "backward went through this graph before; call it with retain_graph=True the first time"
            )
        return self._inputs

    @abstractmethod
    def derivatives(self, deltas: Deltas, retain: bool) -> list[Deltas]:
        """From the derivatives in the result those in each input: of scores in scores as of energies in
        energies."""

    def release(self) -> None:
        """Frees what only ``backward`` needs."""
        self._inputs = None


class _OfTorch(Record):
    """Of a result that torch differentiates."""

    def __init__(self, inputs: Sequence[Graph], leaves: Sequence[core.Graph], result: core.Graph):
        super().__init__(inputs)
        self._leaves = [part for leaf in leaves for part in (leaf.energies, leaf.final)]
        self._results = [result.energies, result.final]

    def derivatives(self, deltas: Deltas, retain: bool) -> list[Deltas]:
        wanted = [leaf for leaf in self._leaves if leaf.requires_grad]
        results = [k for k, result in enumerate(self._results) if result.requires_grad]
        found: Sequence[Tensor | None] = [None] * len(wanted)
        if results and wanted:
            found = torch.autograd.grad(
                [self._results[k] for k in results],
                wanted,
                [torch.from_numpy(deltas[k]) for k in results],
                retain_graph=retain,
                allow_unused=True,
            )
        by_leaf = dict(zip(map(id, wanted), found, strict=True))
        parts = [_or_zero(by_leaf.get(id(leaf)), leaf) for leaf in self._leaves]
        return [parts[k : k + 2] for k in range(0, len(parts), 2)]

    def release(self) -> None:
        super().release()
        self._leaves, self._results = [], []


def _or_zero(delta: Tensor | None, like: Tensor) -> NDArray[np.float32]:
    return np.zeros(like.shape, np.float32) if delta is None else delta.numpy()


class _OfSlopes(Record):
    """Of a score whose derivatives in one graph's weights were worked out together with it."""

    def __init__(self, graph: Graph, slopes: NDArray[np.float32]):
        super().__init__((graph,))
        self._slopes = slopes

    def derivatives(self, deltas: Deltas, retain: bool) -> list[Deltas]:
        return [[self._slopes * deltas[0], np.zeros(self.inputs[0].num_nodes(), np.float32)]]

    def release(self) -> None:
        super().release()
        self._slopes = self._slopes[:0]


def score(value: float, graph: Graph, slopes: NDArray[np.float32] | None) -> Graph:
    """A scalar graph, put on record where its derivatives in the weights of the graph it is a score of, [A],
    are known."""
    record = None if slopes is None else _OfSlopes(graph, slopes)
    start, final = np.array([True, False]), np.array([-np.inf, 0.0], np.float32)
    return Graph.of(Arrays(SCALAR, start, final, np.array([value], np.float32)), graph.calc_grad, record)


def apply(function: Callable[..., core.Graph], *graphs: Graph) -> Graph:
    """What ``function`` makes of these graphs, put on record where one of them wants a gradient."""
    calc_grad = any(graph.calc_grad for graph in graphs)
    # Not what the caller's thread has: programs call functions where torch runs without gradients.
    with torch.inference_mode(False), torch.set_grad_enabled(calc_grad):
        leaves = [as_engine_graph(graph) for graph in graphs]
        result = function(*leaves)
    record = _OfTorch(graphs, leaves, result) if calc_grad else None
    return Graph.of(_as_arrays(result), calc_grad, record)


def as_engine_graph(graph: Graph) -> core.Graph:
    """The graph as the engine has it."""
    structure, start, final, weights = graph.arrays()
    energies, ends = (torch.from_numpy(_opposite(scores)) for scores in (weights, final))
    energies.requires_grad_(graph.calc_grad)
    ends.requires_grad_(graph.record is not None)
    initial = torch.from_numpy(np.where(start, np.float32(0), np.float32(np.inf)))
    return core.Graph(structure, energies, initial, ends)


def _opposite(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Energies of scores, or scores of energies; not −values, which would make 0 −0."""
    return np.float32(0) - values


def _as_arrays(result: core.Graph) -> Arrays:
    weights, final = (_opposite(part.detach().numpy()) for part in (result.energies, result.final))
    return Arrays(result.structure, result.initial.detach().numpy() != np.inf, final, weights)


@vectorised
def backward(g: Graph, grad: Graph | bool | None = None, retain_graph: bool = False) -> None:
    """Adds to the gradients of all graphs that ``g`` was made of: ``backward(g, retain_graph=False)`` or
    ``backward(g, grad, retain_graph=False)``.

    Each call adds the derivatives of ``g`` alone. (gtn sends what an earlier call left on a graph on the way
    through once more.)

    Args:
        g: any graph, its weights being differentiated; or a list, one by one.
        grad: with weights to begin with, by arc of ``g``; ones where omitted.
        retain_graph: whether ``backward`` may go this way again.

    Raises:
        ValueError: ``backward`` went this way before and was not told to retain the graph.
        RuntimeError: ``grad`` has another number of arcs.
    """
    if grad is not None and not isinstance(grad, Graph):
        grad, retain_graph = None, bool(grad)
    arrays = g.arrays()
    seed = np.ones(len(arrays.weights), np.float32) if grad is None else grad.weights_to_numpy()
    if len(seed) != len(arrays.weights):
        raise GtnRuntimeError(f"grad has {len(seed)} arcs where the graph has {len(arrays.weights)}")
    deltas: dict[int, Deltas] = {id(g): [seed, np.zeros(len(arrays.final), np.float32)]}
    for graph in reversed(_inputs_first(g)):
        delta = deltas.pop(id(graph))
        graph.add_grad(delta[0])
        if graph.record is None:
            continue
        inputs = graph.record.inputs
        for operand, parts in zip(inputs, graph.record.derivatives(delta, retain_graph), strict=True):
            if id(operand) in deltas:
                parts = [a + b for a, b in zip(deltas[id(operand)], parts, strict=True)]
            deltas[id(operand)] = parts
        if not retain_graph:
            graph.record.release()


def _inputs_first(g: Graph) -> list[Graph]:
    """All graphs that ``g`` was made of, each before all made of it, and ``g``."""
    order: list[Graph] = []
    seen: set[int] = set()
    stack = [(g, False)]
    while stack:
        graph, inputs_done = stack.pop()
        if inputs_done:
            order.append(graph)
        elif id(graph) not in seen:
            seen.add(id(graph))
            stack.append((graph, True))
            if graph.record is not None:
                stack.extend((operand, False) for operand in graph.record.inputs)
    return order
