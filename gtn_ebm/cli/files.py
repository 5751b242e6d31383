"""What commands read and write: graphs in any format, ``-`` being standard input or output."""

from __future__ import annotations

import argparse
import io
import math
import struct
import sys
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import torch

from gtn_ebm import io as formats
from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Graph
from gtn_ebm.io.files import File, read_whole, write_whole
from gtn_ebm.symbols import Symbols


class Format(NamedTuple):
    """How a format is read and written."""

    read: Callable[[File], Graph]
    write: Callable[..., None]
    is_binary: bool


FORMATS = {
    "openfst": Format(formats.read_openfst, formats.write_openfst, True),
    "text": Format(formats.read_text, formats.write_text, False),
    "gtn": Format(formats.read_gtn, formats.write_gtn, True),
    "gtn-text": Format(formats.read_gtn_text, formats.write_gtn_text, False),
    "k2": Format(formats.read_k2_text, formats.write_k2_text, False),
    "json": Format(formats.read_json, formats.write_json, False),
}

_BETAS = {"standard": math.inf, "log": 1.0, "log64": 1.0}
_ARC_TYPE_AT = 4  # bytes, behind the magic number: the kind of graph, then of arc, each behind its length


class Files:
    """The files that one call of a command reads and writes.

    ``beta`` is how it sums over alternatives: as --semiring says, else as the arcs of the first graph read.
    """

    def __init__(self, options: argparse.Namespace):
        self._options = options
        self._arc_type: str | None = None
        self._stdin_is_read = False

    def graph(self, name: str) -> Graph:
        """The graph in the file ``name``."""
        if name == "-" and FORMATS[self._options.source].is_binary and sys.stdin.buffer.isatty():
            raise GraphError("standard input is a terminal; name the file of a graph, or pipe one in")
        data, shown = self.whole(name)
        if not data and self._options.source == "openfst":
            raise GraphFormatError(f"{shown} is empty; did the command that should have written it fail?")
        if self._options.source == "openfst" and self._arc_type is None:
            self._arc_type = _arc_type(data)
        return FORMATS[self._options.source].read(_named(data, shown))

    def graphs(self, *names: str) -> list[Graph]:
        """The graphs in these files."""
        return [self.graph(name) for name in names]

    def file(self, name: str) -> BinaryIO:
        """The content of a file in memory, for readers."""
        return _named(*self.whole(name))

    def symbols(self, name: str | None) -> Symbols | None:
        """The symbol table in a text file, if one is named."""
        return None if name is None else formats.read_symbols(self.file(name))

    def whole(self, name: str) -> tuple[bytes, str]:
        """All bytes of a file, and its name for messages."""
        if name != "-":
            return read_whole(name)
        if self._stdin_is_read:
            raise GraphError("standard input (-) can be read once only; name a file for the other operands")
        self._stdin_is_read = True
        return sys.stdin.buffer.read(), "standard input"

    @property
    def beta(self) -> float:
        """∞ in the tropical semiring, 1 in the log semiring."""
        semiring = getattr(self._options, "semiring", None)
        if semiring is not None:
            return {"tropical": math.inf, "log": 1.0}[semiring]
        return _BETAS[self._arc_type or "standard"]

    def write(self, answer: Graph | str) -> None:
        """Writes a graph in the format wanted, or text, to where --output says."""
        if isinstance(answer, str):
            self._put(answer, is_binary=False)
            return
        wanted = FORMATS[self._options.target or "openfst"]
        graph = _without_initial_energy(answer)
        held = io.BytesIO()
        wanted.write(graph, held, **self._openfst_options(graph, wanted))
        self._put(held.getvalue(), wanted.is_binary)

    def _openfst_options(self, graph: Graph, wanted: Format) -> dict[str, Any]:
        if wanted.write is not formats.write_openfst:
            return {}
        given = self._options.arc_type
        kind = "standard" if self.beta == math.inf else "log64" if graph.dtype == torch.float64 else "log"
        return {"arc_type": given or self._arc_type or kind, "fst_type": self._options.fst_type}

    def _put(self, content: str | bytes, is_binary: bool) -> None:
        name = self._options.output
        if name != "-":
            write_whole(name, content)
            return
        if is_binary and sys.stdout.isatty():
            raise GraphError(
                "a binary file is not for a terminal; give -o FILE, or --to text, or pipe it on, "
                "as in ... | gtn-ebm fst print"
            )
        write_whole(sys.stdout.buffer, content)
        sys.stdout.flush()


def _without_initial_energy(graph: Graph) -> Graph:
    """The same paths with the energy of an only initial state, which most formats cannot say, on what leaves
    it; the graph as it is where arcs come back to that state."""
    starts = (graph.initial != math.inf).nonzero().flatten().tolist()
    if len(starts) != 1 or (graph.destination == starts[0]).any():
        return graph
    (start,) = starts
    energy = graph.initial[start]
    initial, final = graph.initial.clone(), graph.final.clone()
    initial[start] = 0.0
    final[start] += energy
    leaving = torch.from_numpy(graph.source == start)
    return graph.with_energies(torch.where(leaving, graph.energies + energy, graph.energies), initial, final)


def _named(data: bytes, name: str) -> BinaryIO:
    file = io.BytesIO(data)
    file.name = name
    return file


def _arc_type(data: bytes) -> str | None:
    """The kind of arcs that a file of OpenFst's says it has; None where it is no such file."""
    at, text = _ARC_TYPE_AT, b""
    for _ in range(2):
        if len(data) < at + 4:
            return None
        (length,) = struct.unpack_from("<i", data, at)
        text = data[at + 4 : at + 4 + max(length, 0)]
        at += 4 + max(length, 0)
    name = text.decode("ascii", "replace")
    return name if name in _BETAS else None
