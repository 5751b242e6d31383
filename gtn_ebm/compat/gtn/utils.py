"""Comparison of graphs, and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import gtn_ebm.graph as core
from gtn_ebm.compat.gtn.autograd import apply, as_engine_graph
from gtn_ebm.compat.gtn.graph import Graph
from gtn_ebm.inference import comparison
from gtn_ebm.io.files import FileName
from gtn_ebm.io.gtn_format import read_gtn, read_gtn_text, write_gtn, write_gtn_text

_HEADER = 16  # bytes
_ROUNDING = 1e-6


def equal(g1: Graph, g2: Graph) -> bool:
    """Whether the graphs have the same nodes, by number, and each node the same arcs, in any order."""
    ends1, ends2 = (np.stack([g.arrays().start, g.arrays().final]) for g in (g1, g2))
    return np.array_equal(ends1, ends2) and np.array_equal(_sorted_arcs(g1), _sorted_arcs(g2))


def _sorted_arcs(g: Graph) -> NDArray[np.float64]:
    structure, _, _, weights = g.arrays()
    columns = structure.source, structure.destination, structure.input_labels, structure.output_labels
    arcs = np.stack([*columns, weights]).astype(np.float64)
    return arcs[:, np.lexsort(arcs)]


def isomorphic(g1: Graph, g2: Graph) -> bool:
    """Whether the graphs are equal but for the numbers of their nodes."""
    first, second = (as_engine_graph(g).detach() for g in (g1, g2))
    return comparison.isomorphic(first, second, delta=_ROUNDING)


def save(file_name: FileName, graph: Graph) -> None:
    """Writes the graph in gtn's binary format."""
    write_gtn(as_engine_graph(graph).detach(), file_name)


def savetxt(file_name: FileName, graph: Graph) -> None:
    """Writes the graph in gtn's text format, its weights in full."""
    write_gtn_text(as_engine_graph(graph).detach(), file_name)


def load(file_name: FileName) -> Graph:
    """Reads a graph in gtn's binary format, or in its text format, which early versions of gtn read here.

    Raises:
        ValueError: a file that is neither, or cannot be read; the message says where it goes wrong.
    """
    # The numbers that a binary file begins with have zero bytes: larger ones no memory holds the graph of.
    path = Path(file_name)
    is_text = path.is_file() and b"\0" not in _head(path)
    return _made(read_gtn_text(path) if is_text else read_gtn(path))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEADER)


def loadtxt(file_name: FileName) -> Graph:
    """Reads a graph in gtn's text format.

    Raises:
        ValueError: with file and line, where the file does not hold one.
    """
    return _made(read_gtn_text(file_name))


def _made(graph: core.Graph) -> Graph:
    made = apply(lambda: graph)
    made.calc_grad = True
    return made
