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


class Ends(NamedTuple):
    """Tokens in which paths begin, or end: the states of the decoding graph that they are in, and what it
    costs there, [N] each."""

    token: NDArray[np.int64]
    state: NDArray[np.int64]
    energy: NDArray[np.float64]

    def spread(self, tokens: int, energies: Tensor) -> Tensor:
        """Their energies, +inf at other tokens, [tokens] float64."""
        everywhere = torch.full((tokens,), torch.inf, dtype=torch.float64, device=energies.device)
        return everywhere.index_put((torch.from_numpy(self.token).to(energies.device),), energies.double())


class BeamLattice(NamedTuple):
    """Paths that were found, through tokens: a state of the decoding graph after a number of frames each.

    Attributes:
        of: the decoding graph.
        source, target, arc, frame, paid: of each arc: tokens, the arc of the decoding graph, the frame (the
            one that follows an epsilon arc) and the energy, emission included, [A].
        tokens: how many there are.
        starts, ends: where paths begin and end.
        best: the arcs of the best path, [L].
        best_ends: its first and its last token; −1 where there is no path.
        least: its energy.
    """

    of: Graph
    source: NDArray[np.int32]
    target: NDArray[np.int32]
    arc: NDArray[np.int32]
    frame: NDArray[np.int32]
    paid: NDArray[np.float64]
    tokens: int
    starts: Ends
    ends: Ends
    best: NDArray[np.int64]
    best_ends: tuple[int, int]
    least: float

    def path(self) -> Path | None:
        """The best path, its energy a constant."""
        if self.best_ends[0] < 0:
            return None
        arcs = self.arc[self.best]
        read, written = self.of.input_labels[arcs].tolist(), self.of.output_labels[arcs].tolist()
        return Path(
            self.best,
            torch.tensor(self.least, dtype=torch.float64),
            [label for label in read if label != EPSILON],
            [label for label in written if label != EPSILON],
        )

    def spans(self, blank: int | None) -> list[Span]:
        """Of the tokens that the best path writes; see ``alignment.spans``."""
        return spans(self.of, self.arc[self.best], self.paid[self.best], blank)

    def graph(self) -> Graph:
        """The lattice, its energies constants."""
        of = self.of
        structure = Structure.of_valid(
            self.source, self.target, of.input_labels[self.arc], of.output_labels[self.arc], self.tokens
        )
        return Graph(
            structure,
            torch.from_numpy(self.paid),
            self.starts.spread(self.tokens, torch.from_numpy(self.starts.energy)),
            self.ends.spread(self.tokens, torch.from_numpy(self.ends.energy)),
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
            self.starts.spread(self.tokens, of.initial[torch.from_numpy(self.starts.state)]),
            self.ends.spread(self.tokens, of.final[torch.from_numpy(self.ends.state)]),
        )

    def energy_in(self, lattice: Graph) -> Tensor:
        """That of the best path, a scalar, with the energies of a graph of the lattice."""
        first, last = self.best_ends
        along = lattice.energies[torch.from_numpy(self.best)].sum()
        return lattice.initial[first] + along + lattice.final[last]
