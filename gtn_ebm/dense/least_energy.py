"""The best path of emissions through a graph: exact, in memory that hours of frames do not exhaust."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gtn_ebm import inference
from gtn_ebm.arguments import takes_graphs
from gtn_ebm.dense import cuda
from gtn_ebm.dense.batch import FrameArcs, graph_of_each, prepare
from gtn_ebm.dense.checks import check_energies
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.inference import Path
from gtn_ebm.kernels import chain_paths, frame_paths
from gtn_ebm.kernels.structure import group
from gtn_ebm.ops import compose
from gtn_ebm.parallel import parallel_map
from gtn_ebm.symbols import EPSILON

MOST_BYTES = 64 * 2**20
"""Of back-pointers of one item through a graph that is no chain; beyond, frames are gone through twice."""


@takes_graphs
def minimum_energy(
    emissions: Tensor, lengths: Tensor | ArrayLike | None, graphs: Graph | Sequence[Graph]
) -> Tensor:
    """min over paths of E(path, emissions), [B] in the dtype of the emissions; +inf where there is no path.

    A path that consumes all frames of its item costs its energy in the graph and, for each frame, the
    emission of the label that it reads there. The derivative is 1 for each emission and each time an arc is
    used on the best path, and 0 elsewhere. Args and errors as of ``best_path``.

    >>> emissions = torch.tensor([[[0.5, 2.0], [1.0, 0.0], [3.0, 0.25]]])
    >>> minimum_energy(emissions, None, Graph.linear([0, 1, 1]))
    tensor([0.7500])
    """
    batch = prepare_paths(emissions, lengths, graphs)
    return energies(batch, traces(batch))


@takes_graphs
def best_path(
    emissions: Tensor, lengths: Tensor | ArrayLike | None, graphs: Graph | Sequence[Graph]
) -> list[Path | None]:
    """The path of least energy of each item, exactly, or None where no path has a finite one.

    Energies are summed in float64 whatever their dtype. Chains (see ``dense.batch.Chain``), such as the
    alignments of a transcript, take O(T S) time for T frames and S states, and O(√T S) memory; any other
    graph takes O(T A) time for its A arcs and T back-pointers of as few bits a state as its arcs need, or,
    where these are more than 64 MiB, twice the time and about the square root of the memory.

    Args:
        emissions: energies (−log p of a network), [B, T, C] floating; lower is better, +inf is impossible.
        lengths: frames of each item, [B] integers; T for all where None.
        graphs: one for all items, or a list of B. Input labels are classes, below C. Any states may be
            initial or final, and arcs may be epsilon.

    Returns:
        For each item its path: the arcs in the given graph, the energy, a differentiable scalar, the label of
        each frame (``input_labels``) and what is written along it. Of several best paths one is given.

    Raises:
        GraphError: a shape, dtype, length or number of graphs that does not fit; a label that is no class;
            an energy that is NaN or −inf, with its item, frame and class.
        CycleError: a cycle of epsilon arcs of negative energy; the message names it.

    >>> ab = Graph.linear([0, 1])
    >>> best_path(torch.tensor([[[0.0, 1.0], [4.0, 0.5]]]), None, ab)[0].input_labels
    [0, 1]
    """
    batch = prepare_paths(emissions, lengths, graphs)
    found = traces(batch)
    each = energies(batch, found).unbind()
    return [
        None if trace is None else _path(graph, trace, energy)
        for graph, trace, energy in zip(batch.graphs, found, each, strict=True)
    ]


class PathBatch(NamedTuple):
    """B items, checked, as ``dense.batch.Batch`` describes them; but each keeps the graph it was given, and
    has no ``arcs`` where that has cycles of epsilons."""

    emissions: Tensor
    lengths: list[int]
    graphs: list[Graph]
    arcs: list[FrameArcs | None]


def prepare_paths(
    emissions: Tensor, lengths: Tensor | ArrayLike | None, graphs: Graph | Sequence[Graph]
) -> PathBatch:
    """Checks a batch; args and errors as of ``best_path``."""
    batch = prepare(emissions, lengths, graphs, math.inf)
    given = graph_of_each(graphs, len(batch.graphs))
    arcs = [
        of_graph if graph is prepared else None
        for graph, prepared, of_graph in zip(given, batch.graphs, batch.arcs, strict=True)
    ]
    return PathBatch(emissions, batch.lengths, given, arcs)


class Trace(NamedTuple):
    """A path as integers: its first state, its arcs, its last state."""

    first: int
    arcs: NDArray[np.int64]
    last: int


def traces(batch: PathBatch) -> list[Trace | None]:
    """The best path of each item."""
    there = [item for item, arcs in enumerate(batch.arcs) if arcs is not None and cuda.takes(batch.emissions)]
    known = dict(zip(there, _traces_on_gpu(batch, there), strict=True))

    def one(item: int) -> Trace | None:
        if item in known:
            return known[item]
        return _trace(_frames(batch, item), batch.graphs[item], batch.arcs[item])

    return parallel_map(one, range(len(batch.graphs)))


def _frames(batch: PathBatch, item: int) -> NDArray[Any]:
    frames = as_array(batch.emissions[item, : batch.lengths[item]].detach())
    check_energies(frames, f"item {item}: the emission of frame {{}} and class {{}}")
    return frames


def _traces_on_gpu(batch: PathBatch, items: Sequence[int]) -> list[Trace | None]:
    """Those of items whose graphs have no cycles of epsilons."""
    graphs = [batch.graphs[item] for item in items]
    for graph in {id(graph): graph for graph in graphs}.values():
        _energies_of(graph)
    emissions = batch.emissions.detach()
    if len(items) and not (emissions > -math.inf).all():
        for item in items:
            _frames(batch, item)
    found = cuda.best_paths(
        graphs,
        [arcs for arcs in batch.arcs if arcs is not None],
        [batch.lengths[item] for item in items],
        emissions if len(items) == len(emissions) else emissions[list(items)],
    )
    return [None if trace is None else Trace(*trace) for trace in found]


def _trace(frames: NDArray[Any], graph: Graph, arcs: FrameArcs | None) -> Trace | None:
    if arcs is None:
        return _by_composition(frames, graph)
    energy, initial, final = _energies_of(graph)
    if arcs.chain is not None and len(arcs.classes):
        return _through_chain(frames, arcs, energy, initial, final)
    return _through_any(frames, arcs, energy, initial, final)


def _energies_of(graph: Graph) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of arcs, initial and final states, checked."""
    energy, initial, final = (
        as_array(part).astype(np.float64, copy=False) for part in (graph.energies, graph.initial, graph.final)
    )
    check_energies(energy, "the energy of arc {}")
    check_energies(initial, "the initial energy of state {}")
    check_energies(final, "the final energy of state {}")
    return energy, initial, final


def _through_chain(
    frames: NDArray[Any],
    arcs: FrameArcs,
    energy: NDArray[np.float64],
    initial: NDArray[np.float64],
    final: NDArray[np.float64],
) -> Trace | None:
    column, entering = arcs.chain  # type: ignore[misc]
    moves = np.where(entering >= 0, energy[entering], np.inf)
    label = arcs.classes.view(np.uint32)[column]
    block = frames_at_a_time(len(frames), len(initial))
    states = chain_paths.best(frames, block, label, *moves, initial, final)
    if states[0] < 0:
        return None
    along = entering[np.diff(states), states[1:]].astype(np.int64)
    return Trace(int(states[0]), along, int(states[-1]))


def frames_at_a_time(frames: int, states: int) -> int:
    """How many frames of a chain to keep back-pointers of: few beside its states, or as memory allows."""
    cheapest = round((16 * frames * states) ** (1 / 3))  # bytes: 8 for each frames/K · states, and K²/2
    return max(1, min(max(math.isqrt(2 * frames), states // 20), cheapest))


def _through_any(
    frames: NDArray[Any],
    arcs: FrameArcs,
    energy: NDArray[np.float64],
    initial: NDArray[np.float64],
    final: NDArray[np.float64],
) -> Trace | None:
    states = len(initial)
    silent_offsets, silent_order = group(arcs.epsilon_destination, states)
    consuming = np.diff(arcs.offsets.astype(np.int64))
    rank = np.empty(len(silent_order), np.int64)
    rank[silent_order] = np.arange(len(silent_order)) - silent_offsets[arcs.epsilon_destination[silent_order]]
    place, bits, words = frame_paths.fields(consuming + np.diff(silent_offsets.astype(np.int64)))
    first, along, last = frame_paths.best(
        frames,
        _frames_of_any(len(frames), states, words),
        arcs.offsets,
        arcs.source,
        arcs.label,
        energy[arcs.arc],
        arcs.epsilon_source,
        arcs.epsilon_destination,
        energy[arcs.epsilon_arc],
        (consuming[arcs.epsilon_destination] + rank).astype(np.int32),
        silent_offsets,
        silent_order,
        place,
        bits,
        words,
        initial,
        final,
    )
    if first < 0:
        return None
    numbers = np.concatenate([arcs.arc, arcs.epsilon_arc[::-1]]).astype(np.int64)  # −1 − k counts from behind
    return Trace(first, numbers[along], last)


def _frames_of_any(frames: int, states: int, words: int) -> int:
    """How many frames to keep back-pointers of: all, or as many as take the memory of the energies kept."""
    if 4 * words * frames <= MOST_BYTES:
        return max(1, frames)
    return max(1, math.isqrt(2 * frames * states // words))


def _by_composition(frames: NDArray[Any], graph: Graph) -> Trace | None:
    """For the rare graph with cycles of epsilons, which no order of its states undoes."""
    length, classes = frames.shape
    grid = np.arange(length).repeat(classes)
    structure = Structure(grid, grid + 1, np.tile(np.arange(classes), length), states=length + 1)
    product = compose(
        Graph(structure, torch.from_numpy(frames.flatten()).to(graph.dtype)), graph.detach().to("cpu")
    )
    path = inference.best_path(product)
    if path is None:
        return None
    arcs = product.arc_maps[1][path.arcs].astype(np.int64)
    if len(arcs) == 0:
        alone = int((graph.initial + graph.final).argmin())
        return Trace(alone, arcs, alone)
    return Trace(int(graph.source[arcs[0]]), arcs, int(graph.destination[arcs[-1]]))


def energies(batch: PathBatch, found: Sequence[Trace | None]) -> Tensor:
    """[B], summed in float64; differentiable in the emissions and in the energies of the graphs."""
    emissions, device = batch.emissions, batch.emissions.device
    labels = [labels_of(graph, trace) for graph, trace in zip(batch.graphs, found, strict=True)]
    counts = np.array([len(of_item) for of_item in labels], np.int64)
    item = torch.from_numpy(np.repeat(np.arange(len(labels)), counts)).to(device)
    read = torch.from_numpy(np.concatenate([*labels, np.empty(0, np.int64)])).to(device)
    frame = (
        torch.arange(len(read), device=device) - torch.from_numpy(counts.cumsum() - counts).to(device)[item]
    )
    paid = emissions[item, frame, read].double()
    total = torch.zeros(len(labels), dtype=torch.float64, device=device).index_add(0, item, paid)
    of_graphs = [_in_graph(graph, trace).to(device) for graph, trace in zip(batch.graphs, found, strict=True)]
    return (total + torch.stack(of_graphs) if of_graphs else total).to(emissions.dtype)


def labels_of(graph: Graph, trace: Trace | None) -> NDArray[np.int64]:
    """The label of each frame; none where there is no path."""
    if trace is None:
        return np.empty(0, np.int64)
    labels = graph.input_labels[trace.arcs]
    return labels[labels != EPSILON].astype(np.int64)


def _in_graph(graph: Graph, trace: Trace | None) -> Tensor:
    """What the path costs in the graph alone, in float64; +inf, with a gradient of 0, where there is none."""
    if trace is None:
        return (
            torch.cat([part[:0] for part in (graph.energies, graph.initial, graph.final)]).sum().double()
            + torch.inf
        )
    arcs = torch.from_numpy(trace.arcs).to(graph.energies.device)
    along = graph.energies.index_select(0, arcs).double().sum()
    return along + graph.initial[trace.first].double() + graph.final[trace.last].double()


def _path(graph: Graph, trace: Trace, energy: Tensor) -> Path:
    written = graph.output_labels[trace.arcs]
    return Path(trace.arcs, energy, labels_of(graph, trace).tolist(), written[written != EPSILON].tolist())
