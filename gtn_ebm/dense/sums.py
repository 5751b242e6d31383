"""The sums over all paths of one item, and the posteriors, through whichever kernels its graph allows."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from gtn_ebm.dense.batch import FrameArcs
from gtn_ebm.distance import weights
from gtn_ebm.errors import GraphError
from gtn_ebm.kernels import dense as kernels
from gtn_ebm.kernels import dense_chain as kernels_of_chains
from gtn_ebm.parallel import parallel_map

Floats = NDArray[np.float64]


class Uses(NamedTuple):
    """A number for whatever a path can use: a probability, a derivative, or a direction to derive along.

    Attributes:
        classes: of each class that occurs at each frame, [T, D].
        arcs: of each arc, [A].
        initial, final: of each state, [S].
    """

    classes: NDArray[Any]
    arcs: Floats
    initial: Floats
    final: Floats


class EmissionMemory:
    """Emissions [B, T, C] as kernels read and write them: the memory they lie in, whatever their strides."""

    def __init__(self, emissions: Tensor):
        emissions = emissions.detach().cpu()
        if emissions.dtype not in (torch.float32, torch.float64):
            emissions = emissions.float()
        self.shape, self.strides = emissions.shape, emissions.stride()
        ends = [(size - 1) * stride for size, stride in zip(emissions.shape, self.strides, strict=True)]
        span = 1 + sum(ends) if emissions.numel() else 0
        self.values: NDArray[Any] = emissions.as_strided((span,), (1,)).numpy()

    def place(self, item: int) -> tuple[int, int, int]:
        """Where the item begins, and how far on the next frame and the next class are."""
        return item * self.strides[0], self.strides[1], self.strides[2]

    def weights(self, item: int, frames: int, classes: NDArray[np.int32], beta: float) -> Floats:
        """exp(−βE) of these classes at each frame of an item, as the kernels carry it, [T, 2, D].

        Raises:
            GraphError: an energy that is NaN, −inf or too large to add up; the message says where.
        """
        result = np.empty((frames, 2, len(classes)))
        wrong = kernels_of_chains.weigh_emissions(self.values, *self.place(item), classes, beta, result)
        if wrong >= 0:
            self.refuse(item, wrong, classes, beta)
        return result

    def refuse(self, item: int, frame: int, classes: NDArray[np.int32], beta: float) -> None:
        """Raises GraphError for an energy of these classes at a frame that is no use."""
        start, next_frame, next_class = self.place(item)
        energies = self.values[start + frame * next_frame + classes.astype(np.int64) * next_class]
        scaled = -beta * kernels_of_chains.LOG2_E * energies.astype(np.float64)
        usable = (np.abs(scaled) < kernels_of_chains.LARGEST_EXPONENT) | (scaled == -np.inf)
        place = int(np.flatnonzero(~usable)[0])
        limit = kernels_of_chains.LARGEST_EXPONENT / abs(beta * kernels_of_chains.LOG2_E)
        impossible = "+inf" if beta > 0 else "−inf"
        raise GraphError(
            f"item {item}: the emission of frame {frame} and class {classes[place]} is {energies[place]}: "
            f"it must be {impossible} or smaller in size than {limit:.3g}, and not NaN"
        )

    def scatter(self, item: int, occupancy: NDArray[Any], factor: float, classes: NDArray[np.int32]) -> None:
        """Writes factor · occupancy [T, D] to where these classes of an item are."""
        kernels_of_chains.scatter_emissions(occupancy, factor, *self.place(item), classes, self.values)


def scattered(
    emissions: Tensor,
    classes: Sequence[NDArray[np.int32]],
    each: Sequence[NDArray[Any]],
    factors: Sequence[float],
) -> Tensor:
    """A tensor like the emissions, with factor · values [T, D] in these classes of each item, 0 elsewhere."""
    dtype = np.float64 if emissions.dtype == torch.float64 else np.float32
    # Laid out as the emissions are; numpy's zeros are pages not touched before they are needed.
    strides = emissions.stride()
    order = sorted(range(3), key=lambda dimension: -strides[dimension])
    zeros = np.zeros([emissions.shape[dimension] for dimension in order], dtype)
    result = torch.from_numpy(zeros.transpose(np.argsort(order)))
    memory = EmissionMemory(result)
    parallel_map(
        lambda item: memory.scatter(*item), zip(range(len(each)), each, factors, classes, strict=True)
    )
    return result.to(emissions)


class ChainWeights(NamedTuple):
    """A chain with its weights, as kernels take it.

    Attributes:
        column: the class of each state, [S] uint32.
        arcs: the weight of the arc into s from s − k, [3, S + MARGIN]; 0 where there is none.
        ends: the weights of initial states and their digits, of final states and theirs.
    """

    column: NDArray[np.uint32]
    arcs: Floats
    ends: tuple[Floats, Floats, Floats, Floats]


class _Scratch(threading.local):
    """Memory for the sums of one item, kept for the next one in the same thread: that asked for anew would be
    cleared page by page by the system, which takes as long as the sums."""

    values = np.empty(0)

    def take(self, size: int) -> Floats:
        """An array of this size at least, which holds anything."""
        if size > len(self.values):
            self.values = np.empty(size)
        return self.values


_scratch = _Scratch()


def sum_over_chain(
    emissions: Floats, chain: ChainWeights, beta: float, dtype: DTypeLike | None
) -> tuple[float, NDArray[Any] | None]:
    """F_β over all paths of one item through a chain, and the posteriors of each class at each frame, [T, D].

    Args:
        emissions: weights of the classes at each frame, [T, 2, D].
        chain: the chain.
        beta: inverse temperature, ≠ 0.
        dtype: of the posteriors, which are not worked out where it is None.
    """
    frames, _, classes = emissions.shape
    scratch = _scratch.take(_scratch_size(frames, len(chain.column), dtype is not None))
    occupancies = np.empty((0 if dtype is None else frames, classes), dtype)
    total = kernels_of_chains.sums(emissions, *chain, scratch, occupancies)
    return _free_energy(total, beta), None if dtype is None else occupancies


def sum_over_target(
    memory: EmissionMemory, item: int, frames: int, labels: NDArray[np.int32], blank: int, keep: bool
) -> tuple[float, NDArray[np.int32], NDArray[Any]]:
    """−log p of a target by the rules of CTC, the classes that occur, [D], and their posteriors, [T, D].

    Args:
        memory: logarithms of probabilities.
        labels: the target, of classes all.
        keep: whether the posteriors are worked out; else there are none.

    Raises:
        GraphError: a label that is no class, a logarithm that is NaN, +inf or too large to add up.
    """
    classes = memory.shape[2]
    scratch = _scratch.take(_scratch_size(frames, 2 * len(labels) + 1, keep))
    used, posteriors, wrong, *total = kernels_of_chains.sums_of_target(
        memory.values, *memory.place(item), frames, classes, labels, blank, keep, scratch
    )
    if len(used) == 0:
        raise GraphError(
            f"item {item}: its target has labels from {labels.min()} to {labels.max()}, "
            f"but the classes are 0 to {classes - 1}"
        )
    if wrong >= 0:
        memory.refuse(item, wrong, used, -1.0)
    return -_free_energy(total, -1.0), used, posteriors


def _scratch_size(frames: int, states: int, keep: bool) -> int:
    """What ``kernels.dense_chain.sums`` needs: α and its digits, of all frames or of two."""
    rows = max(frames + 1, 2) if keep else 2
    return rows * 2 * (states + kernels_of_chains.MARGIN)


def _free_energy(total: Sequence[float], beta: float) -> float:
    value, digit = total
    if value == 0.0:
        return math.copysign(math.inf, beta)
    return -(math.log(value) + digit * kernels.DIGIT * math.log(2.0)) / beta


class GraphWeights:
    """A graph's arcs with their weights exp(−βE), from which the sums of any item are made.

    Raises:
        GraphError: an energy that is NaN, −inf or too large to add up.
    """

    def __init__(self, arcs: FrameArcs, beta: float, energies: Tensor, initial: Tensor, final: Tensor):
        self.arcs, self.beta = arcs, beta
        self.states, self.count = len(initial), len(energies)
        self._initial, self._final = weights(initial, beta), weights(final, beta)
        self._energies = weights(energies, beta)

    @cached_property
    def chain(self) -> ChainWeights | None:
        """None where it is no chain, or an arc's weight is too large or small for the kernels of chains."""
        (value, digit), limit = self._energies, 2.0**kernels_of_chains.LARGEST_ARC_EXPONENT
        within = (value <= limit) & (value >= 1 / limit) | (value == 0.0)
        if self.arcs.chain is None or len(digit) or not within.all():
            return None
        of_arcs = np.zeros((3, self.states + kernels_of_chains.MARGIN))
        of_arcs[:, : self.states] = np.append(value, 0.0)[self.arcs.chain.arcs]
        return ChainWeights(self.arcs.chain.column, of_arcs, (*self._initial, *self._final))

    @cached_property
    def shape(self) -> tuple[NDArray[np.uint32], ...]:
        """The arcs as the kernels for any graph take them."""
        arcs = self.arcs
        return arcs.offsets, arcs.source, arcs.column, arcs.epsilon_source, arcs.epsilon_destination

    @cached_property
    def weights(self) -> tuple[Floats, ...]:
        """The weights as these kernels take them."""
        of_arcs, of_epsilons = (
            tuple(part[order] if len(part) else part for part in self._energies)
            for order in (self.arcs.arc, self.arcs.epsilon_arc)
        )
        return *of_arcs, *of_epsilons, *self._initial, *self._final

    def fewest_frames(self, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """That ways consume from the start to each state, and from there to the end, [S] each."""
        offsets, source, _, *epsilons = self.shape
        entering = (offsets[1:] - offsets[:-1]).astype(np.int64)
        destination = np.repeat(np.arange(self.states, dtype=np.uint32), entering)
        arcs = [source, destination, *epsilons]
        reverse = [np.ascontiguousarray(arcs[k][::-1]) for k in (1, 0, 3, 2)]
        return (
            kernels.fewest_frames(*arcs, self._initial[0] > 0.0, most),
            kernels.fewest_frames(*reverse, self._final[0] > 0.0, most),
        )


class GraphSums:
    """The sums over all paths of one item through any graph.

    Args:
        emissions: weights of the classes at each frame, [T, 2, D].
        graph: the graph.
        keep: whether posteriors will be asked for.
    """

    def __init__(self, emissions: Floats, graph: GraphWeights, keep: bool):
        self.emissions, self.graph = emissions, graph
        frames = len(emissions)
        self.alpha = np.empty((frames + 1 if keep else 2, graph.states, 2))
        self.total = kernels.forward(
            graph.shape, graph.weights, emissions, graph.fewest_frames(frames), self.alpha
        )

    def free_energy(self) -> float:
        return _free_energy(self.total, self.graph.beta)

    def posteriors(self, dtype: DTypeLike = np.float64) -> Uses:
        """Those of each class at each frame, and of arcs and states added up."""
        classes, (arcs,), (epsilons,), *ends = self._posteriors(1, 1, dtype)
        return Uses(classes, self._as_given(arcs, epsilons), *ends)

    def _posteriors(
        self, rows: int, epsilon_rows: int, dtype: DTypeLike
    ) -> tuple[NDArray[Any], Floats, Floats, Floats, Floats]:
        """Of classes, arcs, epsilons, initial and final states; those of arcs and epsilons added up into as
        many rows, or for each frame."""
        frames, _, classes = self.emissions.shape
        of_arcs = self.graph.arcs
        uses = (
            np.zeros((frames, classes), dtype),
            np.zeros((rows, len(of_arcs.arc))),
            np.zeros((epsilon_rows, len(of_arcs.epsilon_arc))),
        )
        if self.total[0] == 0.0:
            return *uses, np.zeros(self.graph.states), np.zeros(self.graph.states)
        return *uses, *kernels.backward(
            self.graph.shape, self.graph.weights, self.emissions, self.alpha, self.total, *uses
        )

    def posteriors_along(self, direction: Uses) -> Uses:
        """The derivative of the posteriors when the energies move in the given direction.

        With V(path) the direction summed along a path, that of a use u is −β (E[1_u V] − p_u E[V]).
        """
        frames, beta, of_arcs = len(self.emissions), self.graph.beta, self.graph.arcs
        posteriors = self._posteriors(frames, frames + 1, np.float64)
        classes, arcs, *ends = direction
        along = classes, arcs[of_arcs.arc], arcs[of_arcs.epsilon_arc], *ends
        before = kernels.means_before(self.graph.shape, posteriors, along)
        found = tuple(np.zeros_like(part) for part in along)
        kernels.covariances(self.graph.shape, posteriors, along, before, found)
        classes, arcs, epsilons, *ends = (-beta * part for part in found)
        return Uses(classes, self._as_given(arcs, epsilons), *ends)

    def _as_given(self, arcs: Floats, epsilons: Floats) -> Floats:
        """Values of the arcs in the order of the structure."""
        values = np.empty(self.graph.count)
        values[self.graph.arcs.arc], values[self.graph.arcs.epsilon_arc] = arcs, epsilons
        return values
