"""Forced alignment: which frames of a recording or an image each token of its transcript takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gtn_ebm import inference
from gtn_ebm.arguments import takes_graphs
from gtn_ebm.dense import cuda, topologies
from gtn_ebm.dense.checks import check_class, check_energies, check_floating, lengths_of
from gtn_ebm.dense.free_energy import posteriors
from gtn_ebm.dense.least_energy import (
    PathBatch,
    Trace,
    energies,
    labels_of,
    prepare_paths,
    traces,
)
from gtn_ebm.dense.target_paths import TargetSearch
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, as_array
from gtn_ebm.kernels import spans as kernels
from gtn_ebm.parallel import Result, parallel_map
from gtn_ebm.symbols import EPSILON

MOST_NAMED = 5
"""Items in a message."""


class Span(NamedTuple):
    """A token and the frames it takes.

    Attributes:
        label: what the graph writes.
        start, end: its first frame, and the one behind its last; equal where it takes none.
        energy: of these frames, emissions and arcs; divide by ``end − start`` for a mean a frame.
        confidence: the posterior probability of the label read in each of its frames, averaged, between 0 and
            1; NaN where it was not asked for or the token takes no frame.
    """

    label: int
    start: int
    end: int
    energy: float
    confidence: float


class Alignment(NamedTuple):
    """The best path of one item.

    Attributes:
        labels: read in each frame, [T].
        energy: of the path, a scalar, differentiable.
        spans: of its tokens, in order.
    """

    labels: NDArray[np.int64]
    energy: Tensor
    spans: list[Span]


def forced_align(
    emissions: Tensor,
    lengths: Tensor | ArrayLike | None,
    targets: Graph | Sequence[Graph | ArrayLike],
    blank: int | None = 0,
    beta: float | None = None,
    *,
    progress: Callable[[float], object] | None = None,
) -> list[Alignment]:
    """The best alignment of each item's frames with its target, exactly, and the frames of each token.

    A token begins with an arc that writes an output label, unless that is a loop at its state or reads the
    blank; it lasts until the last frame before the next token in which no blank is read. So in the graph of
    connectionist temporal classification each token takes the frames that read its label, and blanks between
    tokens belong to none, while in a graph without blanks tokens take all frames from the first on.

    Rows of labels are aligned exactly, too, but what is proven to be on no best path is not worked out: the
    surer the network, the less time hours of frames take. They can be interrupted. Memory is O(T/K L + K²)
    for K ≥ √T frames kept at a time. Time and memory of graphs are those of ``best_path``.

    Args:
        emissions: energies (−log p of a network), [B, T, C] floating; lower is better, +inf is impossible.
        lengths: frames of each item, [B] integers; T for all where None.
        targets: what was said: a graph for all items, or for each item a graph or a row of labels, [B]. A row
            stands for its ``topologies.ctc``.
        blank: the label of frames that belong to no token; None where there is none such.
        beta: inverse temperature of the posteriors that confidences are made of; without it there are none,
            which saves most of the time.
        progress: called from time to time with the share of the work done, which goes from 0 to 1, by one
            thread at a time; what it raises ends the alignment. While graphs are worked on it is not called.

    Raises:
        GraphError: an item cannot be aligned: the message says which, and how many frames it lacks; a blank
            that is no class. And what ``best_path`` raises.

    >>> emissions = -torch.tensor([[[0.1, 0.8, 0.1], [0.1, 0.7, 0.2], [0.2, 0.1, 0.7]]]).log()
    >>> (alignment,) = forced_align(emissions, None, [[1, 2]], beta=1.0)
    >>> [(span.label, span.start, span.end, round(span.confidence, 2)) for span in alignment.spans]
    [(1, 0, 2, 0.81), (2, 2, 3, 0.95)]
    """
    if not isinstance(targets, Graph | Sequence | Tensor | np.ndarray) or isinstance(targets, str):
        raise GraphError(
            f"targets must be a graph, or a graph or a row of labels for each item, not {targets!r:.60}"
        )
    check_floating(emissions, "emissions", "batch", "frames", "classes")
    if blank is not None:
        check_class(blank, emissions.shape[2], "the blank")
    if not isinstance(targets, Graph) and len(targets) != len(emissions):
        raise GraphError(f"there are {len(targets)} targets for {len(emissions)} items; give one for each")
    if beta is None and not isinstance(targets, Graph):
        alignments = _of_rows(emissions, lengths, targets, blank, progress)
        if alignments is not None:
            return alignments
    batch = prepare_paths(emissions, lengths, _graphs(targets, blank))
    found = traces(batch)
    missing = [_missing(batch, item) for item, trace in enumerate(found) if trace is None]
    if missing:
        raise GraphError("; ".join(missing[:MOST_NAMED]) + ("; …" if len(missing) > MOST_NAMED else ""))
    certain: Sequence[Tensor | None] = [None] * len(found)
    if beta is not None:
        certain = posteriors(emissions.detach(), batch.lengths, batch.graphs, beta).classes.unbind()
    each = zip(batch.graphs, found, energies(batch, found).unbind(), emissions.detach(), certain, strict=True)
    return [
        Alignment(labels_of(graph, trace), energy, _spans(graph, trace, frames, blank, classes))
        for graph, trace, energy, frames, classes in each
        if trace is not None
    ]


def _of_rows(
    emissions: Tensor,
    lengths: Tensor | ArrayLike | None,
    targets: Sequence[Graph | ArrayLike],
    blank: int | None,
    progress: Callable[[float], object] | None,
) -> list[Alignment] | None:
    """The same for rows of labels, without their graphs; None where these have to say what is amiss."""
    each = lengths_of(lengths, len(emissions), emissions.shape[1])
    rows = [row for target in targets if (row := _row(target, emissions.shape[2], blank)) is not None]
    if blank is None or cuda.takes(emissions) or not len(targets) == len(rows) == len(each):
        return None
    detached = emissions.detach()
    told = _Progress([length * (len(row) + 1) for length, row in zip(each, rows, strict=True)], progress)

    def one(item: int) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]] | None:
        frames = as_array(detached[item, : each[item]])
        check_energies(frames, f"item {item}: the emission of frame {{}} and class {{}}")
        path = TargetSearch(frames, rows[item], blank, partial(told, item)).best()
        if path is None:
            return None
        states = path[1:]
        read = np.where(states % 2, np.append(rows[item], blank)[states // 2], blank)
        return states, read, frames[np.arange(len(frames)), read].astype(np.float64)

    alignments = []
    for item, found in enumerate(told.to_the_end(lambda: parallel_map(one, range(len(each))))):
        if found is None:
            return None
        states, read, paid = found
        tokens = np.arange(1, 2 * len(rows[item]), 2)  # the states of labels
        start, end = np.searchsorted(states, tokens), np.searchsorted(states, tokens, "right")
        index = torch.from_numpy(read).to(emissions.device)[:, None]
        energy = emissions[item, : each[item]].gather(1, index).double().sum().to(emissions.dtype)
        alignments.append(
            Alignment(read, energy, _as_spans(rows[item], start, end, kernels.sums(paid, start, end)))
        )
    return alignments


class _Progress:
    """How far the work on some items is. Where one thread fails or is interrupted, the others end, too."""

    def __init__(self, sizes: Sequence[int], tell: Callable[[float], object] | None):
        self._sizes, self._shares, self._tell = np.array(sizes, np.float64), np.zeros(len(sizes)), tell
        self._lock = Lock()
        self._failure: BaseException | None = None

    def __call__(self, item: int, share: float) -> None:
        with self._lock:
            if self._failure is not None:
                raise self._failure
            # A pass that begins anew does not take the share back.
            self._shares[item] = max(self._shares[item], share)
            if self._tell is not None:
                self._tell(float(self._shares @ self._sizes / self._sizes.sum()))

    def to_the_end(self, work: Callable[[], Result]) -> Result:
        try:
            return work()
        except BaseException as failure:
            self._failure = failure
            raise


def _row(target: Graph | ArrayLike, classes: int, blank: int | None) -> NDArray[np.int32] | None:
    """A row of labels that are classes and not the blank; None for anything else."""
    if isinstance(target, Graph):
        return None
    labels = target.numpy(force=True) if isinstance(target, Tensor) else np.asarray(target)
    if labels.ndim != 1 or (labels.size and labels.dtype.kind not in "iu") or blank is None:
        return None
    inside = (labels >= 0) & (labels < classes) & (labels != blank)
    return labels.astype(np.int32) if inside.all() else None


def _graphs(targets: Graph | Sequence[Graph | ArrayLike], blank: int | None) -> Graph | list[Graph]:
    if isinstance(targets, Graph):
        return targets
    if blank is None and not all(isinstance(target, Graph) for target in targets):
        raise GraphError("a row of labels is aligned with blanks between; name the blank, or give graphs")
    return [target if isinstance(target, Graph) else topologies.ctc(target, blank or 0) for target in targets]


def _missing(batch: PathBatch, item: int) -> str:
    """Why there is no path."""
    frames, fewest = batch.lengths[item], fewest_frames(batch.graphs[item])
    if fewest is None:
        return f"item {item} cannot be aligned: its graph has no path of finite energy"
    if fewest > frames:
        return (
            f"item {item} cannot be aligned: its graph takes at least {fewest} frames, but there are "
            f"{frames}: {fewest - frames} are missing"
        )
    return (
        f"item {item} cannot be aligned: its graph takes {fewest} frames or more, but no path of exactly "
        f"{frames} avoids emissions of +inf"
    )


def spans(
    graph: Graph,
    arcs: NDArray[np.integer[Any]],
    paid: NDArray[np.float64],
    blank: int | None,
    certain: NDArray[np.float64] | None = None,
) -> list[Span]:
    """The tokens along a path of the graph, as ``forced_align`` defines them.

    Args:
        arcs: of the path, [L].
        paid: what each of them costs, emissions included, [L].
        certain: the posterior of the label read in each frame, [T] float64.
    """
    label, start, end, energy = kernels.along(
        graph.source[arcs],
        graph.destination[arcs],
        graph.input_labels[arcs],
        graph.output_labels[arcs],
        paid,
        EPSILON if blank is None else blank,
    )
    return _as_spans(label, start, end, energy, certain)


def _as_spans(
    labels: NDArray[Any],
    start: NDArray[Any],
    end: NDArray[Any],
    energy: NDArray[np.float64],
    certain: NDArray[np.float64] | None = None,
) -> list[Span]:
    """``certain``: of each frame."""
    columns = [column.tolist() for column in (labels, start, end, energy)]
    if certain is None:
        return list(map(Span, *columns, repeat(math.nan)))
    with np.errstate(invalid="ignore"):  # 0 / 0 where a token takes no frame
        confidence = kernels.sums(certain, start, end) / (end - start)
    return list(map(Span, *columns, confidence.clip(max=1.0).tolist()))


def _spans(
    graph: Graph, trace: Trace, emissions: Tensor, blank: int | None, certain: Tensor | None
) -> list[Span]:
    """``certain``: posteriors of the classes, [T, C]."""
    labels = labels_of(graph, trace)
    read = np.arange(len(labels)), labels
    paid = as_array(graph.energies)[trace.arcs].astype(np.float64)
    paid[graph.input_labels[trace.arcs] != EPSILON] += as_array(emissions)[read]
    return spans(
        graph,
        trace.arcs,
        paid,
        blank,
        None if certain is None else as_array(certain)[read].astype(np.float64),
    )


@takes_graphs
def fewest_frames(graph: Graph) -> int | None:
    """How many frames the shortest path of finite energy takes; None where there is no path.

    >>> fewest_frames(Graph.linear([3, 1, 4]))
    3
    """

    def allowed(energies: Tensor, cost: Tensor | float) -> Tensor:
        return torch.where(energies.detach().double().cpu() < math.inf, cost, math.inf)

    consumes = torch.from_numpy((graph.input_labels != EPSILON).astype(np.float64))
    counting = Graph(
        graph.structure,
        allowed(graph.energies, consumes),
        allowed(graph.initial, 0.0).double(),
        allowed(graph.final, 0.0).double(),
    )
    fewest = float(inference.minimum_energy(counting))
    return None if fewest == math.inf else int(fewest)
