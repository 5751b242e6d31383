"""Transducers as the kernels of a convolution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import check_beta, shortest_distance
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.ops import compose
from gtn_ebm.symbols import EPSILON
from gtn_ebm.transformers.recognition import interpretation_graph
from gtn_ebm.transformers.transducers import Transducer


class ConvolutionalTransducer(nn.Module):
    """A layer whose kernels are transducers (Hannun et al. 2020, "Differentiable weighted finite-state
    transducers").

    Each kernel is composed with every receptive field, and what comes out is the free energy of the paths:
    how well what the kernel accepts explains these frames.

    Args:
        kernels: one for each class that comes out; their input labels are the classes that come in, and
            their energies are learned.
        width: frames of a receptive field.
        beta: inverse temperature, > 0; ∞ for the best path.
        stride: frames from one to the next.

    Called with energies [B, T, C] it gives energies [B, (T − width) // stride + 1, kernels].

    Raises:
        GraphError: no kernel; a width or stride below 1; energies that are not [B, T, C] with T ≥ width; a
            kernel that reads a label beyond C, or no string of ``width`` labels.

    >>> either = Graph(Structure([0, 1, 1], [1, 2, 2], [0, 0, 1]))  # reads 00 or 01
    >>> layer = ConvolutionalTransducer([either], width=2)
    >>> layer(torch.zeros(1, 3, 2))  # two paths of energy 0: −log 2
    tensor([[[-0.6931],
             [-0.6931]]], grad_fn=<ViewBackward0>)
    """

    @takes_graphs
    def __init__(self, kernels: Sequence[Graph], width: int, beta: float = 1.0, *, stride: int = 1):
        super().__init__()
        check_beta(beta)
        if not kernels:
            raise GraphError("a convolution needs a kernel at least")
        if not all(isinstance(frames, int) and frames >= 1 for frames in (width, stride)):
            raise GraphError(f"width and stride must be 1 or more, not {width!r:.40} and {stride!r:.40}")
        self.kernels = nn.ModuleList(map(Transducer, kernels))
        self.width, self.stride, self.beta = width, stride, beta

    def forward(self, energies: Tensor) -> Tensor:
        if not isinstance(energies, Tensor) or energies.ndim != 3 or energies.shape[1] < self.width:
            shape = list(energies.shape) if isinstance(energies, Tensor) else f"{energies!r:.60}"
            raise GraphError(
                f"energies must be [sequences, frames, classes] of {self.width} frames at least, not {shape}"
            )
        batch, _, classes = energies.shape
        windows = energies.unfold(1, self.width, self.stride).transpose(2, 3)
        fields = windows.reshape(batch * windows.shape[1], self.width * classes)
        field = interpretation_graph(
            Graph.linear(np.arange(self.width)), energies.new_zeros(self.width, classes)
        )
        of_kernels = [self._over_fields(k, field, fields) for k in range(len(self.kernels))]
        return torch.stack(of_kernels, 1).view(batch, windows.shape[1], len(self.kernels))

    def _over_fields(self, number: int, field: Graph, fields: Tensor) -> Tensor:
        """F of one kernel in each of N receptive fields, [N]."""
        kernel = self.kernels[number]().to(field.energies)
        read, classes = kernel.input_labels.max(initial=EPSILON), field.arcs // self.width
        if read >= classes:
            raise GraphError(f"kernel {number} reads label {read}, but there are {classes} classes")
        graph = compose(field, kernel)
        if not graph.arcs:
            raise GraphError(
                f"kernel {number} reads no string of {self.width} labels, the width of the layer"
            )
        # Side by side, each with a last state of its own, all fields are one graph.
        ends = np.flatnonzero(graph.final.detach().isfinite().numpy(force=True))
        # Of arcs that read nothing, the energy is the kernel's alone.
        with_none = torch.cat([fields, fields.new_zeros(len(fields), 1)], 1)
        read_from = np.where(graph.arc_maps[0] < 0, field.arcs, graph.arc_maps[0])
        arcs = graph.energies + with_none.index_select(1, torch.from_numpy(read_from).to(fields.device))
        final = graph.final[torch.from_numpy(ends).to(graph.final.device)].expand(len(fields), -1)
        return _distances(graph, ends, torch.cat([arcs, final], 1), self.beta)


def _distances(graph: Graph, ends: NDArray[np.int64], energies: Tensor, beta: float) -> Tensor:
    """F_β of the graph with N sets of energies [N, arcs + ends], [N]: those of its arcs and ``ends``."""
    count, states = len(energies), graph.states + 1
    source = np.concatenate([graph.source, ends])
    destination = np.concatenate([graph.destination, np.full(len(ends), graph.states)])
    offsets = states * np.arange(count)[:, None]
    structure = Structure(
        (source + offsets).ravel(),
        (destination + offsets).ravel(),
        np.zeros(energies.numel(), np.int32),
        states=states * count,
    )
    initial = torch.cat([graph.initial, graph.initial.new_full((1,), torch.inf)]).repeat(count)
    distance = shortest_distance(Graph(structure, energies.reshape(-1), initial), beta)
    return distance.view(count, states)[:, -1]
