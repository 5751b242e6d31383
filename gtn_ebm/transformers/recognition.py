"""From segmentation graphs to interpretation graphs: what each piece of the input may be, at what cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gtn_ebm.arguments import check_graphs, takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.ops.arc_maps import carry_attributes
from gtn_ebm.symbols import Symbols


@takes_graphs
def interpretation_graph(segmentation: Graph, energies: Tensor, *, classes: Symbols | None = None) -> Graph:
    """The graph with an arc for each arc of a segmentation graph and each class.

    Args:
        segmentation: of A arcs, each a piece of the input; its labels count for nothing. Where the input is
            not to be cut, but read frame by frame, it is ``Graph.linear(range(frames))``.
        energies: [A, C], of each piece's being each class; an arc's energy is this plus the piece's.
        classes: their names.

    Returns:
        An acceptor whose arc a · C + c stems from the segmentation's arc a, whose attributes it carries, and
        is labelled c.

    Raises:
        GraphError: energies of another shape.

    >>> interpretation_graph(Graph.linear([0, 0]), torch.tensor([[0.5, 2.0], [1.0, 0.0]])).energies
    tensor([0.5000, 2.0000, 1.0000, 0.0000])
    """
    if not isinstance(energies, Tensor) or energies.ndim != 2 or len(energies) != segmentation.arcs:
        shape = list(energies.shape) if isinstance(energies, Tensor) else f"{energies!r:.60}"
        raise GraphError(
            f"a segmentation graph of {segmentation.arcs} arcs needs energies "
            f"[{segmentation.arcs}, classes], not {shape}"
        )
    count = energies.shape[1]
    if classes is not None and len(classes) != count:
        raise GraphError(f"there are energies of {count} classes, but {len(classes)} names for them")
    pieces = np.repeat(np.arange(segmentation.arcs, dtype=np.int32), count)
    return Graph(
        Structure(
            segmentation.source[pieces],
            segmentation.destination[pieces],
            np.tile(np.arange(count, dtype=np.int32), segmentation.arcs),
            states=segmentation.states,
        ),
        (energies + segmentation.energies.to(energies)[:, None]).reshape(-1),
        segmentation.initial.to(energies),
        segmentation.final.to(energies),
        attributes=carry_attributes((segmentation,), (pieces,)),
        input_symbols=classes,
        arc_maps=(pieces,),
    )


class RecognitionTransformer(nn.Module):
    """LeCun's recognition transformer: a network looks at what each arc of a segmentation graph stands for.

    Args:
        network: from the pieces of all graphs of a batch, [ΣA, …], to energies of classes, [ΣA, C].
        classes: their names.
        attribute: of the segmentation graphs, a tensor [A, …] that holds the pieces. The interpretation
            graphs carry all attributes but this one; ``arc_maps[0]`` leads back to it.
        segment: for a network that sees more than pieces, such as the image around them, or that reads
            frames: from a batch of whatever the network takes to its segmentation graphs. Their arcs, one
            graph after the other, are the rows of the energies, and their attributes stay.

    Called with B segmentation graphs, or with what ``segment`` makes B of, it gives B interpretation graphs
    (see ``interpretation_graph``).

    Raises:
        GraphError: a graph without the attribute, or a network that gives energies of another shape.

    >>> images = torch.zeros(2, 5, 3)  # of 5 columns
    >>> columns = nn.Sequential(nn.Linear(3, 4), nn.Flatten(0, 1))  # [B, 5, 3] → [B · 5, 4]
    >>> RecognitionTransformer(columns, segment=lambda images: [Graph.linear([0] * 5)] * len(images))(images)
    [Graph(6 states, 20 arcs, acceptor), Graph(6 states, 20 arcs, acceptor)]
    """

    def __init__(
        self,
        network: Callable[[Any], Tensor],
        classes: Symbols | None = None,
        attribute: str = "input",
        *,
        segment: Callable[[Any], Sequence[Graph]] | None = None,
    ):
        super().__init__()
        if not callable(network):
            raise GraphError(f"the network must be a torch module, or a function, not {network!r:.60}")
        self.network = network
        self.classes = classes
        self.attribute = attribute
        self.segment = segment

    def forward(self, inputs: Any) -> list[Graph]:
        segmentations = inputs if self.segment is None else self.segment(inputs)
        check_graphs(segmentations, "segmentations")
        if not segmentations:
            return []
        if self.segment is None:
            inputs = torch.cat([self._pieces(graph) for graph in segmentations])
            segmentations = [self._without_pieces(graph) for graph in segmentations]
        energies = self.network(inputs)
        counts = [graph.arcs for graph in segmentations]
        if not isinstance(energies, Tensor) or energies.ndim != 2 or len(energies) != sum(counts):
            shape = list(energies.shape) if isinstance(energies, Tensor) else f"{energies!r:.60}"
            raise GraphError(
                f"the network gave energies {shape} of {sum(counts)} pieces; they must be [pieces, classes]"
            )
        return [
            interpretation_graph(graph, of_graph, classes=self.classes)
            for graph, of_graph in zip(segmentations, energies.split(counts), strict=True)
        ]

    def _pieces(self, graph: Graph) -> Tensor:
        pieces = graph.attributes.get(self.attribute)
        if not isinstance(pieces, Tensor):
            raise GraphError(
                f"a segmentation graph needs its pieces in the arc attribute {self.attribute!r}, a tensor; "
                f"it has {sorted(graph.attributes)}"
            )
        return pieces

    def _without_pieces(self, graph: Graph) -> Graph:
        """They would be repeated for each class."""
        kept = {name: values for name, values in graph.attributes.items() if name != self.attribute}
        return Graph(graph.structure, graph.energies, graph.initial, graph.final, attributes=kept)
