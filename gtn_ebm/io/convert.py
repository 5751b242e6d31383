"""Graphs of pynini, gtn and k2 made ours, and ours made theirs, where those packages are installed."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Graph
from gtn_ebm.io.ends import check_energies
from gtn_ebm.io.gtn_format import read_gtn, write_gtn
from gtn_ebm.io.k2_text import K2Arcs, from_arcs, to_arcs
from gtn_ebm.io.openfst import read_openfst, write_openfst

_INSTALL = {
    "pynini": "pip install pynini",
    "gtn": "build it from https://github.com/gtn-org/gtn",
    "k2": "see https://k2-fsa.github.io/k2/installation",
}


def _peer(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"{name} is needed for this conversion: {_INSTALL[name]}", name=name) from error


def from_pynini(fst: Any) -> Graph:
    """The graph of a ``pynini.Fst`` or ``pywrapfst.Fst``, as ``read_openfst`` reads its binary form.

    Raises:
        GraphError: it cannot be written in that form, or has an arc type other than standard, log and log64.

    >>> import pynini
    >>> from_pynini(pynini.accep("ab"))
    Graph(3 states, 2 arcs, acceptor)
    """
    try:
        return read_openfst(io.BytesIO(fst.write_to_string()))
    except GraphFormatError as error:
        raise GraphError(f"this is no graph of ours: {error}") from None


@takes_graphs
def to_pynini(graph: Graph, arc_type: str = "standard") -> Any:
    """The graph as a ``pynini.Fst``, by way of the binary form that ``write_openfst`` writes.

    Raises:
        GraphError: as ``write_openfst``.
        ImportError: pynini is not installed.

    >>> to_pynini(Graph.linear([4, 2])).num_states()
    3
    """
    pynini = _peer("pynini")
    data = io.BytesIO()
    write_openfst(graph, data, arc_type)
    return pynini.Fst.read_from_string(data.getvalue())


def from_gtn(graph: Any) -> Graph:
    """The graph of a ``gtn.Graph``: its energies are minus the weights. Gradients do not flow through it.

    gtn shows the arcs of a graph only in its files, so it passes through one in a temporary folder.

    Raises:
        ImportError: gtn is not installed.
        GraphFormatError: a weight that is NaN or +inf.
    """
    gtn = _peer("gtn")
    return _through_file(lambda file: gtn.save(file, graph), read_gtn)


@takes_graphs
def to_gtn(graph: Graph) -> Any:
    """The graph as a ``gtn.Graph``, as ``write_gtn`` writes it. Gradients do not flow through it.

    Raises:
        ImportError: gtn is not installed.
        GraphError: as ``write_gtn``.
    """
    gtn = _peer("gtn")
    return _through_file(lambda file: write_gtn(graph, file), gtn.load)


def _through_file(write: Callable[[str], object], read: Callable[[str], Any]) -> Any:
    with TemporaryDirectory() as folder:
        file = str(Path(folder, "graph"))
        write(file)
        return read(file)


def from_k2(fsa: Any) -> Graph:
    """The graph of a single ``k2.Fsa``, as ``read_k2_text`` reads it; gradients flow to its ``scores``.

    Its ``aux_labels``, where it has any and they are a tensor, are the output labels.

    Raises:
        GraphError: a vector of graphs (convert them one by one), ragged aux labels, or rules of k2's broken.
    """
    if len(fsa.shape) != 2:
        raise GraphError("this is a vector of k2 graphs; convert them one by one, as fsas[0]")
    rows = fsa.arcs.values()[:, [0, 1, 2, 2]].cpu().numpy().astype(np.int32)
    aux_labels = getattr(fsa, "aux_labels", None)
    if isinstance(aux_labels, torch.Tensor):
        rows[:, 3] = aux_labels.cpu().numpy()
    elif aux_labels is not None:
        raise GraphError("the aux labels are ragged; call k2.expand_ragged_attributes first")
    return from_arcs(K2Arcs(rows, fsa.scores, fsa.shape[0]))


@takes_graphs
def to_k2(graph: Graph) -> Any:
    """The graph as a ``k2.Fsa``, as ``write_k2_text`` writes it; gradients flow through its ``scores``.

    Raises:
        ImportError: k2 is not installed.
        GraphError: as ``write_k2_text``.
    """
    k2 = _peer("k2")
    check_energies(graph, torch.float32)
    arcs = to_arcs(graph)
    rows = torch.from_numpy(arcs.rows.copy())
    scores = arcs.scores.float()
    table = torch.cat([rows[:, :3], scores.detach().cpu().view(torch.int32)[:, None]], dim=1)
    fsa = k2.Fsa(table) if graph.is_acceptor else k2.Fsa(table, aux_labels=rows[:, 3].contiguous())
    fsa.scores = scores
    return fsa
