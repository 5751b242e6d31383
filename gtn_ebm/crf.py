"""Conditional random fields over sequences: linear chains, and segments of several frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.distance import check_beta
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.inference.free_energy import free_energy
from gtn_ebm.kernels import segments as kernels
from gtn_ebm.parallel import parallel_map


class SemiMarkovCRF:
    """A batch of sequences, each cut into segments that have a label (Sarawagi and Cohen 2004).

    E(segmentation) = initial[c₁] + Σ segments[t, k − 1, c] + Σ transitions[c, d] + final[c_last], the first
    sum over its segments of k frames, labelled c, from frame t on, the second over neighbours.

    Args:
        segments: energies [B, T, K, C] of segments of up to K frames; +inf forbids one.
        transitions: [C, C], from the label of a segment to that of the next.
        initial, final: [C], of the first and last label; zeros where omitted.
        lengths: B numbers of frames, 1 to T; T each where omitted. What goes beyond is not looked at.

    Raises:
        GraphError: shapes, dtypes or lengths that do not fit.

    >>> crf = SemiMarkovCRF(torch.zeros(1, 3, 2, 1), torch.zeros(1, 1))
    >>> crf.free_energy().exp()  # e^F = 1/3: 1+1+1, 1+2 and 2+1 are the ways to cut three frames
    tensor([0.3333])
    """

    def __init__(
        self,
        segments: Tensor,
        transitions: Tensor,
        initial: Tensor | None = None,
        final: Tensor | None = None,
        lengths: Sequence[int] | Tensor | None = None,
    ):
        if not isinstance(segments, Tensor):
            raise GraphError(f"energies of segments must be a tensor, not {segments!r:.60}")
        if segments.ndim != 4 or 0 in segments.shape[1:] or not segments.dtype.is_floating_point:
            raise GraphError(
                "energies of segments must be floating, of shape [sequences, frames, longest, labels] and "
                f"none of the last three 0, not {segments.dtype} of shape {list(segments.shape)}"
            )
        self.segments = segments
        batch, frames, _, labels = segments.shape
        nothing = segments.new_zeros(labels)
        self.transitions = _fitting(transitions, (labels, labels), segments, "transitions")
        self.initial = _fitting(nothing if initial is None else initial, (labels,), segments, "initial")
        self.final = _fitting(nothing if final is None else final, (labels,), segments, "final")
        self.lengths = _lengths([frames] * batch if lengths is None else lengths, batch, frames)

    @property
    def _parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.segments, self.transitions, self.initial, self.final

    def free_energy(self, beta: float = 1.0) -> Tensor:
        """F_β of each sequence, [B]: −(1/β) log Σ_segmentations exp(−β E), +inf where there is none.

        Differentiable as often as wanted, first by a recursion that expands nothing: O(T C (K + C)) in all,
        in float64, and exact. Energies so far apart that it would not be (β E beyond ±200) are left to the
        sums over paths of ``graphs``, as are β = ∞ and second derivatives.

        Raises:
            GraphError: β ≤ 0, or an energy that is NaN or −inf.
        """
        check_beta(beta)
        if math.isinf(beta):
            return free_energy(self.graphs(), beta)
        differentiable = torch.is_grad_enabled() and any(part.requires_grad for part in self._parts)
        result: Tensor = _FreeEnergies.apply(self.lengths, beta, differentiable, *self._parts)
        return result

    def energy(self, labels: Tensor, durations: Tensor | None = None) -> Tensor:
        """The energy of one segmentation of each sequence, [B]; differentiable.

        ``energy(desired) − free_energy()`` is the negative log-likelihood.

        Args:
            labels: [B, N], of the segments in turn; what goes beyond a sequence's is not looked at.
            durations: [B, N], their frames, 0 beyond; one frame each where omitted.

        Raises:
            GraphError: shapes that do not fit, a label or duration that does not exist, or durations that do
                not add up to the lengths.
        """
        if not isinstance(labels, Tensor) or labels.dtype.is_floating_point:
            raise GraphError(f"labels must be a tensor of integers, not {labels!r:.60}")
        length = torch.tensor(self.lengths, device=labels.device)[:, None]
        if durations is None and labels.ndim == 2:
            durations = (torch.arange(labels.shape[1], device=labels.device) < length).long()
        if durations is None or labels.ndim != 2 or labels.shape != durations.shape:
            raise GraphError("labels and durations must both be of shape [sequences, segments]")
        used = durations > 0
        chosen = labels.where(used, 0)
        _, _, longest, count = self.segments.shape
        if not bool(((chosen >= 0) & (chosen < count) & (durations >= 0) & (durations <= longest)).all()):
            raise GraphError(f"labels must be 0 to {count - 1}, and durations at most {longest}")
        if not torch.equal(durations.sum(1, keepdim=True), length) or bool(
            (used.long().diff(dim=1) > 0).any()
        ):
            raise GraphError(f"durations must add up to the lengths {self.lengths!r:.80}, without gaps")
        begin = (durations.cumsum(1) - durations).where(used, 0)
        sequence = torch.arange(len(labels), device=labels.device)[:, None]
        along = self.segments[sequence, begin, (durations - 1).clamp(min=0), chosen]
        across = self.transitions[chosen[:, :-1], chosen[:, 1:]]
        last = chosen.gather(1, used.sum(1, keepdim=True) - 1)[:, 0]
        return (
            self.initial[chosen[:, 0]]
            + torch.where(used, along, 0.0).sum(1)
            + torch.where(used[:, 1:], across, 0.0).sum(1)
            + self.final[last]
        )

    def graphs(self) -> list[Graph]:
        """Each sequence as a graph, for all else that one may ask: its paths are the segmentations.

        An arc is a segment and the transition to it: from its predecessor's label and end to its own, its
        label the segment's, its attributes ``begin`` and ``end`` its frames. State 0 is the beginning. The
        structure is made once for each length.
        """
        _, _, longest, labels = self.segments.shape
        entries = torch.cat([self.transitions.reshape(-1), self.initial])
        graphs = []
        for energies, length in zip(self.segments.unbind(), self.lengths, strict=True):
            lattice = _lattice(length, longest, labels)
            nowhere = self.final.new_full((lattice.structure.states - labels,), torch.inf)
            along = energies.reshape(-1).index_select(0, lattice.segment.to(energies.device))
            graphs.append(
                Graph(
                    lattice.structure,
                    along + entries.index_select(0, lattice.entry.to(energies.device)),
                    final=torch.cat([nowhere, self.final]),
                    attributes={"begin": lattice.begin, "end": lattice.end},
                )
            )
        return graphs


def linear_chain_crf(
    emissions: Tensor,
    transitions: Tensor,
    initial: Tensor | None = None,
    final: Tensor | None = None,
    lengths: Sequence[int] | Tensor | None = None,
) -> SemiMarkovCRF:
    """The CRF that gives each frame a label of its own (Lafferty et al. 2001): all segments are of one frame.

    Args:
        emissions: energies [B, T, C] of each label at each frame.
        transitions, initial, final, lengths: as of ``SemiMarkovCRF``.

    >>> crf = linear_chain_crf(torch.zeros(1, 3, 2), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    >>> labels = torch.tensor([[0, 0, 1]])
    >>> crf.energy(labels) - crf.free_energy()  # −log p(001)
    tensor([2.3197])
    """
    if not isinstance(emissions, Tensor) or emissions.ndim != 3:
        shape = list(emissions.shape) if isinstance(emissions, Tensor) else f"{emissions!r:.60}"
        raise GraphError(f"emissions must be a tensor of shape [sequences, frames, labels], not {shape}")
    return SemiMarkovCRF(emissions[:, :, None], transitions, initial, final, lengths)


def _lengths(lengths: Sequence[int] | Tensor, batch: int, frames: int) -> list[int]:
    given = lengths.tolist() if isinstance(lengths, Tensor) else lengths
    if not isinstance(given, Sequence) or len(given) != batch:
        raise GraphError(f"lengths must be {batch} numbers of frames, not {given!r:.80}")
    if not all(isinstance(length, int | np.integer) and 1 <= length <= frames for length in given):
        raise GraphError(f"lengths must be integers from 1 to {frames}, not {given!r:.80}")
    return [int(length) for length in given]


def _fitting(energies: Tensor, shape: tuple[int, ...], like: Tensor, what: str) -> Tensor:
    if not isinstance(energies, Tensor):
        raise GraphError(f"{what} must be a tensor of shape {list(shape)}, not {energies!r:.60}")
    if energies.shape != shape or energies.dtype != like.dtype:
        raise GraphError(
            f"{what} must be of shape {list(shape)} in {like.dtype}, not {list(energies.shape)} in "
            f"{energies.dtype}"
        )
    return energies


class _Lattice(NamedTuple):
    """The structure of a sequence's graph and, for each arc, where its energies and frames are from.

    Attributes:
        segment: which of the flattened segments.
        entry: which of the flattened transitions, followed by the initial energies.
    """

    structure: Structure
    segment: Tensor
    entry: Tensor
    begin: Tensor
    end: Tensor


@lru_cache(maxsize=32)
def _lattice(length: int, longest: int, labels: int) -> _Lattice:
    grid = np.indices((length, labels, longest, labels), dtype=np.int32).reshape(4, -1)
    # At frame 0 there is one predecessor, the beginning.
    begin, before, k, label = grid[:, (grid[0] + grid[2] < length) & ((grid[0] > 0) | (grid[1] == 0))]
    end = begin + k + 1
    source = np.where(begin == 0, 0, 1 + (begin - 1) * labels + before)
    structure = Structure(source, 1 + (end - 1) * labels + label, label, states=1 + length * labels)
    entry = np.where(begin == 0, labels, before) * labels + label
    segment = (begin.astype(np.int64) * longest + k) * labels + label
    return _Lattice(
        structure, *(torch.from_numpy(part.astype(np.int64)) for part in (segment, entry, begin, end))
    )


class _FreeEnergies(torch.autograd.Function):
    """(segments, transitions, initial, final) → F of each sequence, [B]."""

    @staticmethod
    def forward(ctx: Any, lengths: list[int], beta: float, differentiable: bool, *parts: Tensor) -> Tensor:
        ctx.lengths, ctx.beta = lengths, beta
        ctx.save_for_backward(*parts)
        shared = [_weights(as_array(part), beta) for part in parts[1:]]
        in_range = not any(np.isnan(weights).any() for weights in shared)
        segments = as_array(parts[0])
        # Of each sequence, in segments, transitions, initial and final energies.
        shapes = [part.shape[k == 0 :] for k, part in enumerate(parts)] if differentiable else []
        ctx.gradients = [np.zeros((len(lengths), *shape)) for shape in shapes]

        def one(k: int) -> float | None:
            if not in_range:
                return None
            weights = _weights(segments[k, : lengths[k]], beta)
            return _sum(beta, (weights, *shared), [part[k] for part in ctx.gradients])

        found = parallel_map(one, range(len(lengths)))
        for k, free in enumerate(found):
            if free is None:
                gradients = [part[k] for part in ctx.gradients]
                found[k] = _sum_on_lattice(beta, lengths[k], (parts[0][k], *parts[1:]), gradients)
        return parts[0].new_tensor(found)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        parts = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: the lattice's sums have one
            free = free_energy(_crf(parts, ctx.lengths).graphs(), ctx.beta)
            wanted = [part for part in parts if part.requires_grad]
            found = iter(torch.autograd.grad(free, wanted, grad, create_graph=True, allow_unused=True))
            return None, None, None, *(next(found) if part.requires_grad else None for part in parts)
        factors = grad.double().numpy(force=True)
        of_segments, *of_shared = ctx.gradients
        gradients = (
            of_segments * factors[:, None, None, None],
            *(np.tensordot(factors, of_part, 1) for of_part in of_shared),
        )
        return (
            None,
            None,
            None,
            *(torch.from_numpy(g).to(part) for g, part in zip(gradients, parts, strict=True)),
        )


def _crf(parts: Sequence[Tensor], lengths: list[int]) -> SemiMarkovCRF:
    segments, transitions, initial, final = parts
    return SemiMarkovCRF(segments, transitions, initial, final, lengths)


def _weights(energies: NDArray[Any], beta: float) -> NDArray[np.float64]:
    """exp(−βE); NaN where that leaves the range that the kernel takes."""
    with np.errstate(over="ignore", invalid="ignore"):
        weights = np.exp(energies * np.float64(-beta))
        usable = (weights >= kernels.LOW) & (weights <= kernels.HIGH)
    weights[~usable & (energies != np.inf)] = np.nan
    return weights


def _sum(
    beta: float, weights: Sequence[NDArray[np.float64]], gradients: Sequence[NDArray[np.float64]]
) -> float | None:
    """F of one sequence; fills its gradients, if there are any to fill.

    None where the kernel cannot say: energies are too far apart, or there is no segmentation.
    """
    segment, transition, initial, final = weights
    length, _, labels = segment.shape
    begun, ended = np.empty((length, labels)), np.empty((length + 1, labels))
    begun_power, ended_power = np.empty(length, np.int64), np.empty(length + 1, np.int64)
    sums = begun, begun_power, ended, ended_power
    total, power, fits = kernels.forward(segment, transition, initial, final, *sums)
    if not fits or total == 0.0:
        return None
    if gradients and not kernels.backward(segment, transition, final, *sums, total, power, *gradients):
        return None
    return -(math.log(total) + power * math.log(2.0)) / beta


def _sum_on_lattice(
    beta: float, length: int, parts: Sequence[Tensor], gradients: Sequence[NDArray[np.float64]]
) -> float:
    """As ``_sum``, whatever the energies are."""
    own = [part.detach().double().requires_grad_(bool(gradients)) for part in parts]
    with torch.enable_grad():
        free = free_energy(_crf([own[0][None], *own[1:]], [length]).graphs()[0], beta)
        found = torch.autograd.grad(free, own) if gradients else ()
    for gradient, exact in zip(gradients, found, strict=True):
        gradient[:] = exact.numpy(force=True)
    return free.item()
