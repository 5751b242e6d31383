"""Encoding: pairs of labels, with or without their energies, as one label, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, as_array
from gtn_ebm.kernels import encoding as kernels
from gtn_ebm.ops.arc_maps import select
from gtn_ebm.ops.labels import relabelled
from gtn_ebm.symbols import EPSILON, Symbols


class Encoder:
    """A table of what arcs carry: code k stands for the k-th different (input label, output label), or
    (input label, output label, energy), that it was given. Filled by ``encode``, read by ``decode``.

    Args:
        energies: whether the energies of arcs are encoded, too. Energies are told apart exactly, without
            rounding.
    """

    def __init__(self, energies: bool = False):
        self.energies = energies
        self._codes: dict[tuple[int, int, float], int] = {}
        self._kept: list[Tensor] = []
        self._symbols: tuple[Symbols | None, Symbols | None] | None = None

    def __len__(self) -> int:
        return len(self._codes)

    def __repr__(self) -> str:
        return f"Encoder(energies={self.energies}) of {len(self)} codes"

    def _encode(self, graph: Graph) -> NDArray[np.int32]:
        """The codes of the graph's arcs, [A], after entering what is new."""
        symbols = graph.input_symbols, graph.output_symbols
        if self._symbols not in (None, symbols):
            raise GraphError(
                "the graph has other symbol tables than those the encoder has seen; use one each"
            )
        self._symbols = symbols
        columns = [graph.input_labels, graph.output_labels]
        if self.energies:
            columns.append(as_array(graph.energies.detach().double()))
        first, ranks = distinct(*columns)
        energies = columns[2][first].tolist() if self.energies else [0.0] * len(first)
        labels = (column[first].tolist() for column in columns[:2])
        known = len(self._codes)
        codes = [self._codes.setdefault(key, len(self._codes)) for key in zip(*labels, energies, strict=True)]
        if self.energies:
            new = first[np.array(codes, np.int64) >= known]
            self._kept.append(select(graph.energies, new))
        return np.array(codes, np.int32)[ranks]

    def _decode(self, codes: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The input and output labels of codes; epsilon stands for itself."""
        if len(codes) and codes.max() >= len(self):
            raise GraphError(f"label {codes.max()} is no code of this encoder, which has {len(self)}")
        pairs = [(read, written) for read, written, _ in self._codes] + [(EPSILON, EPSILON)]
        labels = np.array(pairs, np.int32)[codes]
        return np.ascontiguousarray(labels[:, 0]), np.ascontiguousarray(labels[:, 1])


def distinct(*columns: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(first, ranks): where each different row of the columns first stands, in that order, and which of these
    each row is. O(rows)."""
    rows = np.empty((len(columns[0]), len(columns)), np.int64)
    for k, column in enumerate(columns):
        # 0 is added to floats, so that −0 and 0 have the same bits.
        whole = column.dtype.kind in "iu"
        rows[:, k] = column if whole else (column.astype(np.float64) + 0.0).view(np.int64)
    return kernels.distinct(rows)


@takes_graphs
def encode(graph: Graph, encoder: Encoder) -> Graph:
    """The acceptor whose labels are the encoder's codes for what the arcs of ``graph`` carry.

    So operations for (unweighted) acceptors become available to transducers, epsilons being labels like any
    other; graphs encoded by one encoder fit each other. Where energies are encoded, those of the arcs become
    0; those of initial and final states stay.

    Raises:
        GraphError: the symbol tables are not those of the graphs the encoder has seen.

    Cost: O(A) time and memory.

    >>> encoder = Encoder()
    >>> graph = Graph.linear([5, 5, 6], [7, -1, -1])
    >>> encode(graph, encoder).input_labels
    array([0, 1, 2], dtype=int32)
    >>> decode(encode(graph, encoder), encoder).output_labels
    array([ 7, -1, -1], dtype=int32)
    """
    codes = encoder._encode(graph)
    energies = torch.zeros_like(graph.energies) if encoder.energies else graph.energies
    return relabelled(graph, codes, codes, (None, None), energies)


@takes_graphs
def decode(graph: Graph, encoder: Encoder) -> Graph:
    """The graph whose labels the codes of ``encoder`` stand for: undoes ``encode``, also after an operation
    on the encoded graph. Epsilon stands for itself.

    Where energies were encoded, that of a code is added to its arc's; it is that of the arc the code was made
    for, to which its gradient goes.

    Raises:
        GraphError: a transducer, or a label that is no code of the encoder.

    Cost: O(A + codes) time and memory.
    """
    if not graph.is_acceptor:
        raise GraphError("decode needs an acceptor, as encode makes it, but the graph is a transducer")
    inputs, outputs = encoder._decode(graph.input_labels)
    energies = graph.energies
    if encoder.energies:
        table = torch.cat([*encoder._kept, energies.new_zeros(1)])
        energies = energies + table[torch.from_numpy(graph.input_labels.astype(np.int64))].to(energies)
    return relabelled(graph, inputs, outputs, encoder._symbols or (None, None), energies)
