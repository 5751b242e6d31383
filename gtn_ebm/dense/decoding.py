"""Decoding: beam search of emissions through a graph, all at once or as they come, into a lattice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gtn_ebm.arguments import check_graph, takes_graphs
from gtn_ebm.dense.alignment import Span, spans
from gtn_ebm.dense.batch import frame_arcs, prepare
from gtn_ebm.dense.checks import check_count, check_energies, check_energies_of, check_floating
from gtn_ebm.distance import shortest_distance
from gtn_ebm.errors import CycleError, GraphError
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.inference import Path, best_path, best_paths
from gtn_ebm.kernels import beam as kernels
from gtn_ebm.ops import project, prune
from gtn_ebm.parallel import parallel_map
from gtn_ebm.symbols import EPSILON

SMALLEST_LATTICE = 1 << 12
"""Arcs there is room for at first."""


class Pruning(NamedTuple):
    """What the beam left out; row t is after t frames.

    Attributes:
        active: how many states went on, [T + 1].
        pruned: how many ways were given up that could have led to a final state, [T + 1].
        gap: how much worse the best of them was than the best way at that time, [T + 1]; +inf where none was.
        bound: an energy below which no path has that was given up here, [T + 1]; +inf where none was. It is
            the energy so far, the least to go in the graph, and the least emission of each frame to come.
        exact: whether the answer is proven to be the best path: its energy is no more than any bound. Where
            there is no answer, whether it is proven that there is no path.
    """

    active: NDArray[np.int64]
    pruned: NDArray[np.int64]
    gap: NDArray[np.float64]
    bound: NDArray[np.float64]
    exact: bool


class Decoding(NamedTuple):
    """What a search found.

    Attributes:
        path: the best path of the lattice, or None; what it writes is the answer (``output_labels``).
        spans: of the words it writes: when, and what they cost; see ``forced_align`` for which frames belong
            to a word.
        lattice: the paths found, as a graph with float64 energies (emissions included), the attribute
            ``frame`` (of an epsilon arc the frame that follows) and ``arc_maps`` to the decoding graph.
        pruning: what the beam left out.
    """

    path: Path | None
    spans: list[Span]
    lattice: Graph
    pruning: Pruning

    def best(self, count: int) -> list[Path]:
        """The best ``count`` distinct answers of the lattice, best first, each with its best path.

        A search with a ``lattice_beam`` of 0 knows one.
        """
        found = best_paths(project(self.lattice, "output"), count, unique=True)
        read = self.lattice.input_labels
        return [
            path._replace(input_labels=[label for label in read[path.arcs].tolist() if label != EPSILON])
            for path in found
        ]


@takes_graphs
def decode(
    emissions: Tensor,
    lengths: Tensor | ArrayLike | None,
    graphs: Graph | Sequence[Graph],
    beam: float = 16.0,
    max_active: int = 10_000,
    lattice_beam: float = 0.0,
    blank: int | None = 0,
) -> list[Decoding]:
    """Time-synchronous beam search of each item: the best words, when they are, and a lattice of others.

    After each frame the search goes on from the states reached whose energy is at most ``beam`` more than the
    least, the best ``max_active`` of them (Ney and Ortmanns 1999; Povey et al. 2012 for the lattice). What it
    gave up is reported, and often proves that the answer is the best path of all.

    Args:
        emissions: energies (−log p of a network), [B, T, C] floating; lower is better, +inf is impossible.
        lengths: frames of each item, [B] integers; T for all where None.
        graphs: what may be said, such as a lexicon composed with a grammar; one for all items, or a list of
            B. Input labels are classes; output labels the words.
        beam: in units of energy; +inf for none.
        max_active: the most states after a frame, at least 1.
        lattice_beam: how much worse than the best path the others in the lattice may be. All such paths are
            there but those that the beam gave up.
        blank: the label of frames that belong to no word, None where there is none such.

    Returns:
        For each item what was found. Energies are differentiable in the emissions and the graphs.

    Raises:
        GraphError: a shape, dtype, length, number of graphs or beam that does not fit; a label that is no
            class; an energy that is NaN or −inf.
        CycleError: the graph has a cycle of epsilon arcs; ``remove_epsilons`` first.

    >>> ab = Graph.linear([1, 2])
    >>> emissions = torch.tensor([[[0.0, 0.5, 9.0], [4.0, 9.0, 0.25]]])
    >>> (found,) = decode(emissions, None, ab)
    >>> found.path.output_labels, found.path.energy.item(), found.pruning.exact
    ([1, 2], 0.75, True)
    """
    batch = prepare(emissions, lengths, graphs)
    given = [graphs] * len(batch.graphs) if isinstance(graphs, Graph) else list(graphs)
    decoders = [Decoder(graph, beam, max_active, lattice_beam, blank) for graph in given]
    frames = [item[:length] for item, length in zip(emissions, batch.lengths, strict=True)]
    parallel_map(lambda pair: pair[0].feed(pair[1].detach()), list(zip(decoders, frames, strict=True)))
    wanted = torch.is_grad_enabled() and any(
        part.requires_grad
        for part in (emissions, *(p for g in given for p in (g.energies, g.initial, g.final)))
    )
    return [
        decoder._ended(graph.final, item if wanted else None)
        for decoder, graph, item in zip(decoders, given, frames, strict=True)
    ]


class _Arcs(NamedTuple):
    """Arcs grouped by the state they leave, as kernels take them; ``number`` in the graph."""

    offsets: NDArray[np.uint32]
    destination: NDArray[np.uint32]
    label: NDArray[np.uint32]
    energy: NDArray[np.float64]
    number: NDArray[np.uint32]

    @classmethod
    def of(cls, graph: Graph, chosen: NDArray[np.bool_]) -> _Arcs:
        numbers = graph.structure.out_index.arcs
        numbers = numbers[chosen[numbers]]
        offsets = np.zeros(graph.states + 1, np.uint32)
        offsets[1:] = np.bincount(graph.source[numbers], minlength=graph.states).cumsum()
        return cls(
            offsets,
            graph.destination[numbers].view(np.uint32),
            graph.input_labels[numbers].view(np.uint32),
            as_array(graph.energies)[numbers].astype(np.float64),
            numbers,
        )


class _SearchGraph(NamedTuple):
    """A decoding graph as kernels take it.

    Attributes:
        consuming, silent: its arcs that consume a frame, and its epsilon arcs.
        arc_numbers: of the first, then of the second from behind: the k-th epsilon arc goes by −1 − k.
        starts: the states in which a path may begin, and their energies.
        to_go: a lower bound on the energy from each state to the end in the graph alone, [S].
        largest_label: of those read.
        versions: of the tensors of energies, which may be changed in place; None where not counted.
        scratch: arrays of all states for kernels, as many as searches have needed at once.
    """

    consuming: _Arcs
    silent: _Arcs
    arc_numbers: NDArray[np.uint32]
    starts: tuple[NDArray[np.int64], NDArray[np.float64]]
    to_go: NDArray[np.float64]
    largest_label: int
    versions: tuple[int | None, ...]
    scratch: list[tuple[NDArray[Any], ...]]

    @contextmanager
    def borrowed(self) -> Iterator[tuple[NDArray[Any], ...]]:
        """Scratch that no other search has meanwhile. Made anew for each, it would take longer than a short
        search.
        """
        try:
            scratch = self.scratch.pop()
        except IndexError:
            states = len(self.to_go)
            scratch = (
                np.empty(states, np.int64),
                np.empty(states),
                np.full(states, kernels.UNSEEN, np.int32),
                np.empty(states, np.uint8),
                np.empty(states, np.int64),
            )
        yield scratch
        self.scratch.append(scratch)  # not after an error, which may leave it in any state


_known: WeakKeyDictionary[Graph, _SearchGraph] = WeakKeyDictionary()


def _search_graph(graph: Graph) -> _SearchGraph:
    known = _known.get(graph)
    parts = graph.energies, graph.initial, graph.final
    versions = tuple(None if part.is_inference() else part._version for part in parts)
    if known is None or known.versions != versions or None in versions:
        frame_arcs(graph.structure)  # refuses cycles of epsilons
        check_energies_of(graph, "the decoding graph")
        consumes = graph.input_labels != EPSILON
        consuming, silent = _Arcs.of(graph, consumes), _Arcs.of(graph, ~consumes)
        initial = as_array(graph.initial).astype(np.float64)
        starts = np.flatnonzero(initial < np.inf)
        known = _known[graph] = _SearchGraph(
            consuming,
            silent,
            np.concatenate([consuming.number, silent.number[::-1]]),
            (starts, initial[starts]),
            _least_to_go(graph),
            int(graph.input_labels.max(initial=EPSILON)),
            versions,
            [],
        )
    return known


def _least_to_go(graph: Graph) -> NDArray[np.float64]:
    try:
        return as_array(shortest_distance(graph.detach().to(torch.float64), math.inf, direction="to"))
    except CycleError:  # of negative energy: nothing can be said
        return np.full(graph.states, -np.inf)


class Decoder:
    """Beam search of one recording that comes piece by piece: the same result as all at once.

    Args:
        graph, beam, max_active, lattice_beam, blank: as of ``decode``, which see for the errors, too.

    What the search remembers grows with the frames only by what may still become part of an answer.

    >>> decoder = Decoder(Graph.linear([1, 2]))
    >>> decoder.feed(torch.tensor([[0.0, 0.5, 9.0]]))
    >>> decoder.so_far().path.output_labels
    [1]
    >>> decoder.feed(torch.tensor([[4.0, 9.0, 0.25]]))
    >>> decoder.result().path.output_labels
    [1, 2]
    """

    def __init__(
        self,
        graph: Graph,
        beam: float = 16.0,
        max_active: int = 10_000,
        lattice_beam: float = 0.0,
        blank: int | None = 0,
    ):
        check_graph(graph, "Decoder: graph")
        check_count(max_active, "max_active")
        if not (beam >= 0.0 and lattice_beam >= 0.0):
            raise GraphError(
                f"a beam must not be negative, but they are beam {beam} and lattice_beam {lattice_beam}"
            )
        self._graph, self._lattice_beam, self._blank = graph, lattice_beam, blank
        self._search = search = _search_graph(graph)
        self._fixed = search.silent[:4], search.to_go, float(beam), max_active, float(lattice_beam)
        most = min(max_active, graph.states)
        self._tokens = np.empty(most, np.int64), np.empty(most), np.empty(most, np.int64)
        self._lattice = _room_for(max(SMALLEST_LATTICE, len(search.silent.number)))
        report = _empty_report(1)
        self._reports, self._least = [report], [np.empty(0)]
        self._frames = 0
        with search.borrowed() as scratch:
            self._count, self._start_states, self._arcs = kernels.begin(
                *search.starts, *self._fixed, self._tokens, scratch, self._lattice, report
            )
        self._number = len(self._start_states)
        self._starts = np.arange(self._number)

    def feed(self, emissions: Tensor) -> None:
        """Goes on over the next frames: emissions [T, C].

        Raises:
            GraphError: a shape or dtype that does not fit; a label of the graph that is no class; an energy
                that is NaN or −inf.
        """
        check_floating(emissions, "emissions", "frames", "classes")
        frames = as_array(emissions)
        if self._search.largest_label >= frames.shape[1]:
            raise GraphError(
                f"the graph has label {self._search.largest_label}, but there are {frames.shape[1]} classes"
            )
        check_energies(frames, "the emission of frame {} and class {}")
        report, done = _empty_report(len(frames)), 0
        while done < len(frames):
            rest = tuple(part[done:] for part in report)
            with self._search.borrowed() as scratch:
                taken, self._count, self._number, self._arcs = kernels.search(
                    frames[done:], self._frames, self._count, self._number, self._arcs,
                    self._search.consuming[:4], *self._fixed, self._tokens, scratch, self._lattice, rest,
                )  # fmt: skip
            self._frames += taken
            done += taken
            if done < len(frames):
                self._make_room(enlarge=taken == 0)
        self._reports.append(report)
        self._least.append(frames.min(axis=1, initial=np.inf).astype(np.float64))

    def result(self) -> Decoding:
        """What was found if the frames end here. Its energies are not differentiable."""
        return self._ended(self._graph.final.detach())

    def so_far(self) -> Decoding:
        """What was found if any state may be the last: an answer while more is to come, which may change."""
        return self._ended(torch.zeros_like(self._graph.final))

    def _make_room(self, enlarge: bool) -> None:
        self._compact()
        if enlarge or 2 * self._arcs > len(self._lattice[0]):
            more = _room_for(1 + len(self._lattice[0]))
            self._lattice = tuple(np.concatenate(pair) for pair in zip(self._lattice, more, strict=True))

    def _compact(self) -> None:
        numbers = self._tokens[2][: self._count]
        renumbered, self._arcs = kernels.compact(self._lattice, self._arcs, self._number, numbers)
        numbers[:] = renumbered[numbers]
        self._starts, self._start_states = _renumbered(renumbered, self._starts, self._start_states)
        self._number = int(renumbered.max(initial=-1)) + 1

    def _ended(self, final: Tensor, emissions: Tensor | None = None) -> Decoding:
        """``emissions``: [T, C] of all frames, where energies are to be differentiable."""
        self._compact()
        lattice = self._within_beam(final, emissions)
        path, found = best_path(lattice), []
        if path is not None:
            paid = as_array(lattice.energies)[path.arcs]
            arcs = lattice.arc_maps[0][path.arcs].astype(np.int64)
            found = spans(self._graph, arcs, paid, self._blank)
        return Decoding(path, found, lattice, self._pruning(math.inf if path is None else path.energy.item()))

    def _within_beam(self, final: Tensor, emissions: Tensor | None) -> Graph:
        """The lattice of the paths that are good enough in the end."""
        last, states = (part[: self._count].copy() for part in (self._tokens[2], self._tokens[0]))
        total = self._tokens[1][: self._count] + as_array(final.detach()[torch.from_numpy(states)])
        good = total <= total.min(initial=np.inf) + self._lattice_beam
        good &= total < np.inf
        lattice = tuple(part[: self._arcs].copy() for part in self._lattice)
        renumbered, arcs = kernels.compact(lattice, self._arcs, self._number, last[good])
        starts = _renumbered(renumbered, self._starts, self._start_states)
        ends = _renumbered(renumbered, last[good], states[good])
        whole = self._as_graph(tuple(part[:arcs] for part in lattice), starts, ends, final, emissions)
        if self._lattice_beam == 0.0:
            return whole
        kept = prune(whole, self._lattice_beam)
        return kept.with_arc_maps(whole.arc_maps[0][kept.arc_maps[0]])

    def _as_graph(
        self,
        lattice: tuple[NDArray[Any], ...],
        starts: tuple[NDArray[np.int64], NDArray[np.int64]],
        ends: tuple[NDArray[np.int64], NDArray[np.int64]],
        final: Tensor,
        emissions: Tensor | None,
    ) -> Graph:
        """``starts``, ``ends``: tokens and the states that they are in."""
        graph, (source, target, arc, frame, paid) = self._graph, lattice
        arcs = self._search.arc_numbers[arc].view(np.int32)
        count = 1 + max(int(part.max(initial=-1)) for part in (source, target, starts[0], ends[0]))
        structure = Structure.of_valid(
            source, target, graph.input_labels[arcs], graph.output_labels[arcs], count
        )
        frames, energies = torch.from_numpy(frame).long(), torch.from_numpy(paid)
        if emissions is not None:
            energies = graph.energies[torch.from_numpy(arcs).long()].double()
            read = torch.from_numpy(structure.input_labels.astype(np.int64))
            consumes = (read != EPSILON).nonzero()[:, 0]
            heard = emissions[frames[consumes], read[consumes]].double().to(energies.device)
            energies = energies.index_add(0, consumes.to(energies.device), heard)
        return Graph(
            structure,
            energies,
            _spread(graph.initial if emissions is not None else graph.initial.detach(), *starts, count),
            _spread(final, *ends, count),
            attributes={"frame": frames},
            input_symbols=graph.input_symbols,
            output_symbols=graph.output_symbols,
            arc_maps=[arcs],
        )

    def _pruning(self, energy: float) -> Pruning:
        active, best, pruned = (np.concatenate([report[k] for report in self._reports]) for k in range(3))
        least = np.concatenate(self._least)
        to_come = np.append(least[::-1].cumsum()[::-1], 0.0)
        bound, gap = np.full(len(best), np.inf), np.full(len(best), np.inf)
        some = pruned[:, 0] > 0
        gap[some] = pruned[some, 1] - best[some]
        some &= to_come < np.inf
        bound[some] = pruned[some, 2] + to_come[some]
        return Pruning(active, pruned[:, 0].astype(np.int64), gap, bound, bool((bound >= energy).all()))


def _room_for(arcs: int) -> tuple[NDArray[Any], ...]:
    """Arrays for the arcs of a lattice: source, target, arc, frame, energy."""
    return (*(np.empty(arcs, np.int32) for _ in range(4)), np.empty(arcs))


def _empty_report(rows: int) -> tuple[NDArray[Any], ...]:
    return np.empty(rows, np.int64), np.empty(rows), np.empty((rows, 3))


def _renumbered(
    numbers: NDArray[np.int64], tokens: NDArray[np.int64], states: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of tokens and the states that they are in, those that have a number."""
    kept = numbers[tokens] >= 0
    return numbers[tokens[kept]], states[kept]


def _spread(energies: Tensor, tokens: NDArray[np.int64], states: NDArray[np.int64], count: int) -> Tensor:
    """The energies of states at the tokens that are in them, +inf at others, [count] float64."""
    chosen = energies[torch.from_numpy(states)].double()
    everywhere = torch.full((count,), torch.inf, dtype=torch.float64, device=energies.device)
    return everywhere.index_put((torch.from_numpy(tokens).to(energies.device),), chosen)
