"""Decoding: beam search of emissions through a graph, all at once or as they come, into a lattice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gtn_ebm.arguments import check_graph, takes_graphs
from gtn_ebm.dense.alignment import Span
from gtn_ebm.dense.batch import graph_of_each
from gtn_ebm.dense.beam_lattice import BeamLattice
from gtn_ebm.dense.checks import (
    check_class,
    check_count,
    check_energies,
    check_floating,
    check_label,
    check_number,
    lengths_of,
)
from gtn_ebm.dense.search_graph import search_graph
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, as_array
from gtn_ebm.inference import Path, best_paths
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


@dataclass(frozen=True, eq=False)
class Decoding:
    """What a search found.

    Attributes:
        path: the best path of the lattice, or None; what it writes is the answer (``output_labels``).
        spans: of the words it writes: when, and what they cost; see ``forced_align`` for which frames belong
            to a word.
        pruning: what the beam left out.
    """

    path: Path | None
    spans: list[Span]
    pruning: Pruning
    _lattice: BeamLattice | Graph = field(repr=False)

    @cached_property
    def lattice(self) -> Graph:
        """The paths found, as a graph with float64 energies (emissions included), the attribute ``frame``
        (of an epsilon arc the frame that follows) and ``arc_maps`` to the decoding graph."""
        return self._lattice if isinstance(self._lattice, Graph) else self._lattice.graph()

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
        GraphError: a shape, dtype, length, number of graphs or beam that does not fit; a label or blank that
            is no class; an energy that is NaN or −inf.
        CycleError: the graph has a cycle of epsilon arcs, which the message names; ``remove_epsilons`` first.

    >>> ab = Graph.linear([1, 2])
    >>> emissions = torch.tensor([[[0.0, 0.5, 9.0], [4.0, 9.0, 0.25]]])
    >>> (found,) = decode(emissions, None, ab)
    >>> found.path.output_labels, found.path.energy.item(), found.pruning.exact
    ([1, 2], 0.75, True)
    """
    check_floating(emissions, "emissions", "batch", "frames", "classes")
    each = graph_of_each(graphs, len(emissions))
    ends = lengths_of(lengths, len(emissions), emissions.shape[1])
    decoders = [Decoder(graph, beam, max_active, lattice_beam, blank) for graph in each]
    frames = [emissions[item, :length] for item, length in enumerate(ends)]
    parallel_map(
        lambda item: decoders[item]._take(as_array(frames[item].detach()), f"item {item}: "), range(len(each))
    )
    wanted = torch.is_grad_enabled() and any(
        part.requires_grad
        for part in (emissions, *(p for g in each for p in (g.energies, g.initial, g.final)))
    )
    return [
        decoder._ended(decoder._search.final, heard if wanted else None)
        for decoder, heard in zip(decoders, frames, strict=True)
    ]


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
        check_number(beam, "beam")
        check_number(lattice_beam, "lattice_beam")
        if not (beam >= 0.0 and lattice_beam >= 0.0):
            raise GraphError(
                f"a beam must not be negative, but they are beam {beam} and lattice_beam {lattice_beam}"
            )
        if blank is not None:
            check_label(blank, "the blank")
        self._graph, self._lattice_beam, self._blank = graph, lattice_beam, blank
        self._classes: int | None = None  # until the first frames tell
        self._search = search = search_graph(graph)
        most = min(int(max_active), graph.states)
        self._fixed = search.silent[:4], search.to_go, float(beam), most, float(lattice_beam)
        self._tokens = np.empty(most, np.int64), np.empty(most), np.empty(most, np.int64)
        self._lattice = _room_for(max(SMALLEST_LATTICE, len(search.silent.number) + len(search.starts)))
        report = np.empty((1, kernels.COLUMNS))
        self._reports = [report]
        self._frames = 0
        with search.borrowed() as scratch:
            self._count, states, self._arcs = kernels.begin(
                search.starts,
                search.initial[search.starts],
                *self._fixed,
                self._tokens,
                scratch,
                self._lattice,
                report,
            )
        self._number = len(states)
        self._starts = np.arange(self._number), states

    def feed(self, emissions: Tensor) -> None:
        """Goes on over the next frames: emissions [T, C].

        Raises:
            GraphError: a shape or dtype that does not fit; another number of classes than before; a label of
                the graph or a blank that is no class; an energy that is NaN or −inf.
        """
        check_floating(emissions, "emissions", "frames", "classes")
        self._take(as_array(emissions))

    def _take(self, frames: NDArray[Any], whose: str = "") -> None:
        """``whose``: how messages begin."""
        self._check_classes(frames.shape[1], whose)
        check_energies(frames, f"{whose}the emission of frame {{}} and class {{}}")
        self._classes = frames.shape[1]
        report, done = np.empty((len(frames), kernels.COLUMNS)), 0
        while done < len(frames):
            with self._search.borrowed() as scratch:
                taken, self._count, self._number, self._arcs = kernels.search(
                    frames[done:], self._frames, self._count, self._number, self._arcs,
                    self._search.consuming[:4], *self._fixed, self._tokens, scratch, self._lattice,
                    report[done:],
                )  # fmt: skip
            self._frames += taken
            done += taken
            if done < len(frames):
                self._make_room(enlarge=taken == 0)
        self._reports.append(report)

    def _check_classes(self, classes: int, whose: str) -> None:
        if self._classes not in (None, classes):
            raise GraphError(f"{whose}emissions must have {self._classes} classes as before, not {classes}")
        if self._search.largest_label >= classes:
            raise GraphError(
                f"{whose}the graph has label {self._search.largest_label}, but there are {classes} classes"
            )
        if self._blank is not None:
            check_class(self._blank, classes, f"{whose}the blank")

    def result(self) -> Decoding:
        """What was found if the frames end here. Its energies are not differentiable."""
        return self._ended(self._search.final)

    def so_far(self) -> Decoding:
        """What was found if any state may be the last: an answer while more is to come, which may change."""
        return self._ended(np.zeros_like(self._search.final))

    def _make_room(self, enlarge: bool) -> None:
        numbers = self._tokens[2][: self._count]
        renumbered, self._number, self._arcs = kernels.compact(
            self._lattice, self._arcs, self._number, numbers
        )
        numbers[:] = renumbered[numbers]
        kept = renumbered[self._starts[0]] >= 0
        self._starts = renumbered[self._starts[0][kept]], self._starts[1][kept]
        if enlarge or 2 * max(self._arcs, self._number) > len(self._lattice[0]):
            more = _room_for(1 + len(self._lattice[0]))
            self._lattice = tuple(np.concatenate(pair) for pair in zip(self._lattice, more, strict=True))

    def _ended(self, final: NDArray[np.float64], emissions: Tensor | None = None) -> Decoding:
        """What was found, with energies differentiable in emissions [T, C] of all frames where given."""
        arcs, *rest = kernels.answer(
            self._lattice, self._arcs, self._number, self._search.arc_numbers, self._starts,
            tuple(part[: self._count] for part in self._tokens), final, self._lattice_beam,
        )  # fmt: skip
        found = BeamLattice(self._graph, self._search.initial, final, *(*arcs, *rest))
        path, when = found.path(self._blank)
        lattice: BeamLattice | Graph = found
        if emissions is not None:
            lattice = found.with_gradients(emissions)
            path = path and path._replace(energy=found.energy_in(lattice))
        if self._lattice_beam > 0.0:
            whole = found.graph() if isinstance(lattice, BeamLattice) else lattice
            lattice, path = _within(self._lattice_beam, whole, path)
        pruning = _pruning(np.concatenate(self._reports), found.least)
        return Decoding(path, when, pruning, lattice)


def _within(beam: float, whole: Graph, path: Path | None) -> tuple[Graph, Path | None]:
    """The paths of a lattice that are at most ``beam`` worse than the best, and this one in it."""
    kept = prune(whole, beam)
    arcs = kept.arc_maps[0]  # ascending
    path = path and path._replace(arcs=np.searchsorted(arcs, path.arcs))
    return kept.with_arc_maps(whole.arc_maps[0][arcs]), path


def _pruning(report: NDArray[np.float64], least: float) -> Pruning:
    """``least``: the energy of the answer."""
    active, pruned, gap, bound, least_bound = kernels.bounds(report)
    return Pruning(active, pruned, gap, bound, least_bound >= least)


def _room_for(arcs: int) -> tuple[NDArray[Any], ...]:
    """Arrays for a lattice of so many arcs, and of as many tokens."""
    return (*(np.empty(arcs, np.int32) for _ in range(4)), np.empty(arcs), np.empty(arcs, np.int32))
