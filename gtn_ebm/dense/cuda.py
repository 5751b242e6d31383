"""The recursions over frames on a GPU: emissions stay where they are, a block of threads works on each item.

Answers are the CPU's, up to the order of additions in float64. numba's CUDA target is imported when it is
first needed; with NUMBA_ENABLE_CUDASIM=1 in the environment its simulator runs the same kernels on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gtn_ebm.dense.batch import FrameArcs
from gtn_ebm.dense.sums import EmissionMemory, GraphWeights, Uses
from gtn_ebm.errors import GtnEbmError
from gtn_ebm.graph import Graph
from gtn_ebm.kernels.structure import group

THREADS = 256
"""In a block, at most; ``kernels.dense_cuda.MOST_THREADS`` says why no more."""

PARTS = 64
"""Blocks that share an item, at most, where all its frames are worked on at once."""

NEVER = np.iinfo(np.int64).max
DIGIT = 256 * math.log(2.0)
"""Of a sum's weight, in its logarithm; as the kernels carry it."""

Floats = NDArray[np.float64]
T = TypeVar("T")


def takes(emissions: Tensor) -> bool:
    """Whether the recursions over these emissions run here."""
    return emissions.is_cuda


class _Device:
    """Where the emissions are. Kernels are launched there, in torch's stream; in the simulator, on the CPU.

    Raises:
        GtnEbmError: numba cannot use it; the message says what to install.
    """

    def __init__(self, device: torch.device):
        try:
            from numba import cuda
        except ImportError:
            cuda = None
        if cuda is None or not cuda.is_available():
            raise GtnEbmError(
                "numba cannot use the GPU: install gtn-ebm[cuda] and numba-cuda[cu12] or [cu13], as your "
                "driver needs, or move the emissions to the CPU"
            )
        from gtn_ebm.kernels import dense_cuda

        self.kernels, self._cuda, self._device = dense_cuda, cuda, device

    def holds(self, values: NDArray[Any]) -> Tensor:
        """The same there; never empty, for no memory is no pointer."""
        if values.size == 0:
            values = np.zeros([max(size, 1) for size in values.shape], values.dtype)
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)

    def full(self, shape: Sequence[int], value: float, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.full([max(size, 1) for size in shape], value, dtype=dtype, device=self._device)

    def empty(self, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.empty([max(size, 1) for size in shape], dtype=dtype, device=self._device)

    def launch(self, kernel: str, grid: int | tuple[int, int], threads: int, *arguments: Any) -> None:
        """Kernels are given the memory of tensors, which may stand in tuples."""
        on_gpu = self._device.type == "cuda"
        number = torch.cuda.current_stream(self._device).cuda_stream if on_gpu else 0
        with self._cuda.gpus[self._device.index or 0]:
            stream = self._cuda.external_stream(number) if number else 0
            getattr(self.kernels, kernel)[grid, threads, stream](*map(self._memory, arguments))

    def share_out(self, kernel: str, work: NDArray[np.int64], *arguments: Any) -> None:
        """Launches a kernel whose threads share out each item's work."""
        most = int(work.max())
        self.launch(kernel, (len(work), max(1, min(PARTS, -(-most // THREADS)))), _threads(most), *arguments)

    def _memory(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(self._memory, value))
        if not isinstance(value, Tensor):
            return value
        return self._cuda.as_cuda_array(value) if value.is_cuda else value.numpy()


def _energies(emissions: Tensor) -> Tensor:
    """The emissions in a dtype that kernels know."""
    emissions = emissions.detach()
    return emissions if emissions.dtype in (torch.float32, torch.float64) else emissions.float()


def _laid_out(emissions: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
    """The memory that emissions lie in, never empty, and how far apart items, frames and classes are."""
    if not emissions.numel():
        return emissions.new_zeros(1), (0, 0, 0)
    items, frames, classes = emissions.stride()
    ends = [(size - 1) * stride for size, stride in zip(emissions.shape, emissions.stride(), strict=True)]
    return emissions.as_strided((1 + sum(ends),), (1,)), (items, frames, classes)


def _threads(states: int) -> int:
    """As many as states, in whole warps."""
    return max(1, min(THREADS, -(-states // 32) * 32))


def _places(sizes: ArrayLike) -> NDArray[np.int64]:
    """Where each of several things of these sizes begins, and where the last ends."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def _sizes(places: NDArray[Any]) -> NDArray[np.int64]:
    """What ``_places`` was given."""
    wide: NDArray[np.int64] = places.astype(np.int64)
    return wide[1:] - wide[:-1]


class _Walk(NamedTuple):
    """Graphs one behind the other, as ``kernels.dense_cuda`` describes them."""

    offsets: NDArray[Any]
    source: NDArray[Any]
    column: NDArray[Any]
    weight: NDArray[Any]
    level_offsets: NDArray[Any]
    target: NDArray[Any]
    target_offsets: NDArray[Any]
    epsilon_source: NDArray[Any]
    epsilon_weight: NDArray[Any]
    start: NDArray[Any]
    end: NDArray[Any]
    destination: NDArray[Any]
    epsilon_destination: NDArray[Any]


_OFFSETS = ("offsets", "level_offsets", "target_offsets")


class _Weighted(NamedTuple):
    """A graph and its weights, which are numbers [..., 2] or energies [...].

    Attributes:
        arcs: the graph.
        source, destination, column, weight: of the arcs that consume a frame.
        silent_source, silent_destination, silent_weight: of the epsilons, in topological order.
        start, end: of the states.
    """

    arcs: FrameArcs
    source: NDArray[np.uint32]
    destination: NDArray[np.uint32]
    column: NDArray[np.uint32]
    weight: NDArray[np.float64]
    silent_source: NDArray[np.uint32]
    silent_destination: NDArray[np.uint32]
    silent_weight: NDArray[np.float64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]

    @classmethod
    def of(cls, arcs: FrameArcs, *weights: NDArray[np.float64]) -> _Weighted:
        """``weights``: of the arcs and epsilons in the order of ``arcs``, and of initial and final states."""
        of_arcs, of_epsilons, start, end = weights
        offsets = arcs.offsets.astype(np.int64)
        destination = np.repeat(np.arange(len(start), dtype=np.uint32), offsets[1:] - offsets[:-1])
        return cls(
            arcs, arcs.source, destination, arcs.column, of_arcs,
            arcs.epsilon_source, arcs.epsilon_destination, of_epsilons, start, end,
        )  # fmt: skip

    def reversed(self) -> _Weighted:
        return self._replace(
            source=self.destination,
            destination=self.source,
            silent_source=np.ascontiguousarray(self.silent_destination[::-1]),
            silent_destination=np.ascontiguousarray(self.silent_source[::-1]),
            silent_weight=self.silent_weight[::-1],
            start=self.end,
            end=self.start,
        )

    def walk(self, kernels: Any) -> tuple[_Walk, NDArray[np.uint32]]:
        """Its walk, and which epsilon each of the walk's is."""
        states = len(self.start)
        offsets, order = group(self.destination, states)
        level = kernels.epsilon_levels(self.silent_source, self.silent_destination, states)
        target = np.flatnonzero(level)
        target = target[np.argsort(level[target], kind="stable")]
        rank = np.zeros(states, np.uint32)
        rank[target] = np.arange(len(target))
        target_offsets, silent = group(rank[self.silent_destination], len(target))
        level_offsets = _places(np.bincount(level[target])[1:])
        walk = _Walk(
            offsets, self.source[order], self.column[order], self.weight[order], level_offsets, target,
            target_offsets, self.silent_source[silent], self.silent_weight[silent], self.start, self.end,
            self.destination[order], self.silent_destination[silent],
        )  # fmt: skip
        return walk, silent


def _joined(walks: Sequence[_Walk]) -> _Walk:
    parts = {}
    for name in _Walk._fields:
        each = [getattr(walk, name) for walk in walks]
        if name in _OFFSETS:
            parts[name] = _places(np.concatenate([_sizes(part) for part in each]))
        else:
            parts[name] = np.concatenate(each)
            if parts[name].dtype != np.float64:
                parts[name] = parts[name].astype(np.int32)
    return _Walk(**parts)


class _Graphs:
    """The different graphs of a batch on the device, each forwards and then, if asked for, each reversed.

    Attributes:
        walk, table, classes: as the kernels take them.
        states, columns: how many of these each has.
        deepest: the most levels of epsilons.
        silent: which epsilon each of the walk's is, of each forwards.
    """

    def __init__(self, device: _Device, weighted: Sequence[_Weighted], both_ways: bool):
        runs = [*weighted, *(graph.reversed() for graph in weighted)] if both_ways else weighted
        walks, silent = zip(*(graph.walk(device.kernels) for graph in runs), strict=True)
        self.silent = silent[: len(weighted)]
        self.walk = tuple(device.holds(part) for part in _joined(walks))
        self.states = np.array([len(walk.start) for walk in walks])
        self.columns = np.array([len(graph.arcs.classes) for graph in runs])
        levels = [len(walk.level_offsets) - 1 for walk in walks]
        self.deepest = max(levels)
        table = _places(self.states), _places(levels), _places(self.columns)
        self.table = device.holds(np.stack(table, axis=1))
        self.classes = device.holds(np.concatenate([graph.arcs.classes for graph in runs]))

    def by_class(self, device: _Device, weighted: Sequence[_Weighted]) -> tuple[Any, Any]:
        """The arcs forwards that consume a frame, grouped by the class of their graph."""
        first = _places([len(graph.arcs.classes) for graph in weighted])
        columns = [graph.column.astype(np.int64) + k for graph, k in zip(weighted, first[:-1], strict=True)]
        offsets, arcs = group(np.concatenate(columns).astype(np.uint32), int(first[-1]))
        return device.holds(offsets.astype(np.int64)), device.holds(arcs.astype(np.int64))

    def arcs_of(
        self, pointers: NDArray[np.int32], weighted: Sequence[_Weighted], graph: int
    ) -> NDArray[np.int64]:
        """The arcs of a graph that back-pointers stand for."""
        first = sum(len(one.source) for one in weighted[:graph])
        first_silent = sum(len(one.silent_source) for one in weighted[:graph])
        arcs, silent = weighted[graph].arcs, pointers < 0
        numbers = np.empty(len(pointers), np.int64)
        numbers[~silent] = arcs.arc[pointers[~silent] - first]
        numbers[silent] = arcs.epsilon_arc[self.silent[graph][-2 - pointers[silent] - first_silent]]
        return numbers


def _different(each: Sequence[T], key: Callable[[T], int] = id) -> tuple[list[T], NDArray[np.int64]]:
    """The different ones of these objects, and which of those each is."""
    different = {key(one): one for one in each}
    place = {name: k for k, name in enumerate(different)}
    return list(different.values()), np.array([place[key(one)] for one in each], np.int64)


class FreeEnergies(NamedTuple):
    """Of a batch.

    Attributes:
        free: of each item, on the device, [B] float64.
        classes: the posteriors of classes at each frame, [B, T, C] on the device; None if not asked for.
        uses: of arcs, initial and final states of each item; None if not asked for.
    """

    free: Tensor
    classes: Tensor | None
    uses: list[Uses] | None


def free_energies(
    graphs: Sequence[GraphWeights],
    lengths: Sequence[int],
    emissions: Tensor,
    beta: float,
    of_classes: bool,
    of_graphs: bool,
) -> FreeEnergies:
    """F_β of each item, and the posteriors asked for.

    Raises:
        GraphError: an emission that is NaN, −inf or too large to add up; the message says where.
        GtnEbmError: numba cannot use the GPU.
    """
    if len(graphs) == 0:
        return FreeEnergies(emissions.new_zeros(0, dtype=torch.float64), emissions.detach(), [])
    sums = _Sums(graphs, lengths, emissions, beta, of_classes or of_graphs)
    value, digit = sums.totals[: len(graphs)].unbind(1)
    free = torch.where(value > 0.0, (value.log() + digit * DIGIT) / -beta + 0.0, torch.inf)
    return FreeEnergies(free, sums.occupancies() if of_classes else None, sums.uses() if of_graphs else None)


class _Sums:
    """The sums over the paths of a batch: a run of the kernel for each item, and for posteriors a second one
    from behind.

    Attributes:
        totals: over all paths of each run, as numbers, [R, 2].
    """

    def __init__(
        self,
        graphs: Sequence[GraphWeights],
        lengths: Sequence[int],
        emissions: Tensor,
        beta: float,
        both_ways: bool,
    ):
        different, self.of_item = _different(graphs)
        self.device, self.emissions = _Device(emissions.device), emissions
        self.weighted = [_weighted(graph) for graph in different]
        self.graphs = _Graphs(self.device, self.weighted, both_ways)
        self.frames = np.array(lengths, np.int64)
        self.columns, states = self.graphs.columns[self.of_item], self.graphs.states[self.of_item]
        self.places = _places(self.frames * self.columns)
        self._weigh(graphs, beta)
        rows = np.maximum(self.frames + 1, 2) if both_ways else np.full(len(self.frames), 2)
        runs = [(self.of_item, self.places[:-1], self.columns)]
        if both_ways:
            runs.append((self.of_item + len(different), self.places[1:] - self.columns, -self.columns))
        begins = _places(np.tile(rows * states, len(runs)))
        each = zip(runs, np.split(begins[:-1], len(runs)), strict=True)
        tables = [
            np.stack([graph, self.frames, place, stride, begin, rows], axis=1)
            for (graph, place, stride), begin in each
        ]
        self.runs = [self.device.holds(table) for table in tables]
        self.found = self.device.empty(int(begins[-1]), 2)
        self.totals = self.device.empty(len(graphs) * len(runs), 2)
        self.device.launch(
            "sums", len(self.totals), _threads(int(states.max())),
            self.device.holds(np.concatenate(tables)), self.graphs.table, self.graphs.walk, self.weights,
            self.found, self.totals,
        )  # fmt: skip

    def _weigh(self, graphs: Sequence[GraphWeights], beta: float) -> None:
        """Sets the weights of the emissions."""
        table = np.stack([self.of_item, self.frames, self.columns, self.places[:-1]], axis=1)
        self.weights = self.device.empty(int(self.places[-1]), 2)
        wrong = self.device.full((len(graphs),), NEVER, torch.int64)
        self.device.share_out(
            "weigh", self.frames * self.columns, *_laid_out(_energies(self.emissions)),
            self.device.holds(table), self.graphs.table, self.graphs.classes,
            -beta * self.device.kernels.LOG2_E, self.weights, wrong,
        )  # fmt: skip
        for item in (wrong < NEVER).nonzero()[:1, 0].tolist():
            # Refuses these energies in the CPU's words.
            memory, classes = EmissionMemory(self.emissions), graphs[item].arcs.classes
            memory.weights(item, int(self.frames[item]), classes, beta)

    def occupancies(self) -> Tensor:
        """The posteriors of classes at each frame, [B, T, C], laid out as the emissions are."""
        result = torch.zeros_like(_energies(self.emissions))
        self.device.share_out(
            "occupancies", self.frames * self.columns, *self.runs, self.graphs.table, self.graphs.walk,
            self.graphs.by_class(self.device, self.weighted), self.graphs.classes, self.weights, self.found,
            self.totals, *_laid_out(result),
        )  # fmt: skip
        return result

    def uses(self) -> list[Uses]:
        """The posteriors of arcs and states of each item; without those of classes."""
        common = *self.runs, self.graphs.table, self.graphs.walk
        found = self.found, self.totals
        sizes = np.array([(len(g.source), len(g.silent_source), len(g.start)) for g in self.weighted]).T
        arcs = self._of_items("uses", sizes[0], *common, self.weights, *found)
        silent = self._of_items("silent_uses", sizes[1], *common, *found)
        ends = self._of_items("uses_of_ends", sizes[2], *common, *found)
        return [self._uses(*each) for each in zip(self.of_item, arcs, silent, ends, strict=True)]

    def _uses(self, graph: int, of_arcs: Floats, of_silent: Floats, of_ends: Floats) -> Uses:
        """In the order of the structure."""
        arcs = self.weighted[graph].arcs
        values = np.empty(len(of_arcs) + len(of_silent))
        values[arcs.arc] = of_arcs[:, 0]
        values[arcs.epsilon_arc[self.graphs.silent[graph]]] = of_silent[:, 0]
        return Uses(np.empty((0, 0)), values, of_ends[:, 0], of_ends[:, 1])

    def _of_items(self, kernel: str, sizes: NDArray[np.int64], *arguments: Any) -> list[Floats]:
        """What a kernel finds for each item, whose graph has one of these sizes."""
        each = sizes[self.of_item]
        places = _places(each)
        result = self.device.full((int(places[-1]), 2), 0.0)
        self.device.share_out(kernel, each, *arguments, self.device.holds(places), result)
        return np.split(result.numpy(force=True)[: places[-1]], places[1:-1])


def _weighted(graph: GraphWeights) -> _Weighted:
    values = [
        np.stack([value, digit if len(digit) else np.zeros(len(value))], axis=1)
        for value, digit in zip(graph.weights[::2], graph.weights[1::2], strict=True)
    ]
    return _Weighted.of(graph.arcs, *values)


def best_paths(
    graphs: Sequence[Graph], arcs: Sequence[FrameArcs], lengths: Sequence[int], emissions: Tensor
) -> list[tuple[int, NDArray[np.int64], int] | None]:
    """The path of least energy of each item, as its first state, its arcs and its last state, None where
    there is none. Energies are not checked. Keeps four bytes for each frame and state.

    Raises:
        GtnEbmError: numba cannot use the GPU.
    """
    if len(graphs) == 0:
        return []
    device = _Device(emissions.device)
    different, of_item = _different(list(zip(graphs, arcs, strict=True)), key=lambda pair: id(pair[0]))
    weighted = [_with_energies(*pair) for pair in different]
    on_device, frames = _Graphs(device, weighted, both_ways=False), np.array(lengths, np.int64)
    states = on_device.states[of_item]
    longest = frames + (frames + 1) * on_device.deepest
    begins = [_places(sizes) for sizes in (2 * states, (frames + 1) * states, longest)]
    found = device.empty(int(begins[0][-1]))
    pointers, paths = (device.empty(int(places[-1]), dtype=torch.int32) for places in begins[1:])
    ends = device.empty(len(graphs), 3, dtype=torch.int64)
    table = np.stack([of_item, frames, *(places[:-1] for places in begins)], axis=1)
    device.launch(
        "least", len(graphs), _threads(int(states.max())), device.holds(table), on_device.table,
        on_device.classes, on_device.walk, *_laid_out(_energies(emissions)), found, pointers, paths, ends,
    )  # fmt: skip
    each = np.split(paths.numpy(force=True)[: begins[2][-1]], begins[2][1:-1])
    return [
        None if count < 0 else (first, on_device.arcs_of(along[:count][::-1], weighted, graph), last)
        for graph, along, (count, first, last) in zip(of_item, each, ends.tolist(), strict=True)
    ]


def _with_energies(graph: Graph, arcs: FrameArcs) -> _Weighted:
    energies, initial, final = (
        part.detach().double().numpy(force=True) for part in (graph.energies, graph.initial, graph.final)
    )
    return _Weighted.of(arcs, energies[arcs.arc], energies[arcs.epsilon_arc], initial, final)
