"""What a beam search kept: as arrays, and as a graph for who asks for one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.dense.alignment import Span, spans
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.inference import Path
from gtn_ebm.symbols import EPSILON


class BeamLattice(NamedTuple):
    """Paths that were found, through tokens: a state of the decoding graph after a number of frames each.

    Attributes:
        of: the decoding graph.
        initial, final: what it costs to begin and to end in each of its states, [S].
        source, target, arc, frame, paid: of each arc: tokens, the arc of the decoding graph, the frame (the
            one that follows an epsilon arc) and the energy, emission included, [A].
        tokens: how many there are.
        starts, ends: the tokens in which paths begin and end, and the states that they are in.
        best: the arcs of the best path, [L].
        best_ends: its first and its last token; −1 where there is no path.
        least: its energy.
    """

    of: Graph
    initial: NDArray[np.float64]
    final: NDArray[np.float64]
    source: NDArray[np.int32]
    target: NDArray[np.int32]
    arc: NDArray[np.int32]
    frame: NDArray[np.int32]
    paid: NDArray[np.float64]
    tokens: int
    starts: tuple[NDArray[np.int64], NDArray[np.int64]]
    ends: tuple[NDArray[np.int64], NDArray[np.int64]]
    best: NDArray[np.int64]
    best_ends: tuple[int, int]
    least: float

    def path(self, blank: int | None) -> tuple[Path | None, list[Span]]:
        """The best path, its energy a constant, and the spans of what it writes (see ``alignment.spans``)."""
        if self.best_ends[0] < 0:
            return None, []
        arcs = self.arc[self.best]
        read, written = self.of.input_labels[arcs], self.of.output_labels[arcs]
        path = Path(
            self.best,
            torch.tensor(self.least, dtype=torch.float64),
            read[read != EPSILON].tolist(),
            written[written != EPSILON].tolist(),
        )
        return path, spans(self.of, arcs, self.paid[self.best], blank)

    def graph(self) -> Graph:
        """The lattice, its energies constants."""
        of = self.of
        structure = Structure.of_valid(
            self.source, self.target, of.input_labels[self.arc], of.output_labels[self.arc], self.tokens
        )
        return Graph(
            structure,
            torch.from_numpy(self.paid),
            self._spread(self.starts, torch.from_numpy(self.initial)),
            self._spread(self.ends, torch.from_numpy(self.final)),
            attributes={"frame": torch.from_numpy(self.frame).long()},
            input_symbols=of.input_symbols,
            output_symbols=of.output_symbols,
            arc_maps=[self.arc],
        )

    def with_gradients(self, emissions: Tensor) -> Graph:
        """The lattice, its energies made of those of the decoding graph and of emissions [T, C]."""
        of, lattice = self.of, self.graph()
        energies = of.energies[torch.from_numpy(self.arc).long()].double()
        read = torch.from_numpy(lattice.input_labels.astype(np.int64))
        consumes = (read != EPSILON).nonzero()[:, 0]
        heard = emissions[lattice.attributes["frame"][consumes], read[consumes]].double().to(energies.device)
        return lattice.with_energies(
            energies.index_add(0, consumes.to(energies.device), heard),
            self._spread(self.starts, of.initial),
            self._spread(self.ends, of.final),
        )

    def energy_in(self, lattice: Graph) -> Tensor:
        """That of the best path, a scalar, with the energies of a graph of the lattice."""
        first, last = self.best_ends
        along = lattice.energies[torch.from_numpy(self.best)].sum()
        return lattice.initial[first] + along + lattice.final[last]

    def _spread(self, which: tuple[NDArray[np.int64], NDArray[np.int64]], energies: Tensor) -> Tensor:
        """Of tokens and their states the energies of the states, +inf at other tokens, [tokens] float64."""
        token, state = (torch.from_numpy(numbers).to(energies.device) for numbers in which)
        everywhere = torch.full((self.tokens,), torch.inf, dtype=torch.float64, device=energies.device)
        return everywhere.index_put((token,), energies[state].double())
