"""Files and graphs that several tests of readers begin with."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from typing import BinaryIO

import torch

from gtn_ebm import io as files
from gtn_ebm.errors import GraphFormatError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.symbols import Symbols

ARPA = """\
A model of two words, written by hand.

\\data\\
ngram 1=5
ngram 2=4
ngram 3=1

\\1-grams:
-0.5\ta\t-0.3
-0.6\tb\t-0.2
-1.2\t</s>
-99\t<s>\t-0.1
-2.0\t<unk>

\\2-grams:
-0.2\t<s> a\t-0.15
-0.4\ta b\t-0.25
-0.3\tb </s>
-0.7\ta a

\\3-grams:
-0.1\t<s> a b

\\end\\
"""

LEXICON = """\
read r eh d
red r eh d
read r iy d
reads r eh d z
a ah
"""

LEXICON_WITH_PROBABILITIES = """\
read 0.25 r eh d
read 0.75 r iy d
a 1.0 ah
"""


def seed_graphs() -> list[Graph]:
    """A small graph of each kind: none, an acceptor with names, a transducer with all kinds of ends."""
    acceptor = Graph.linear([0, 2, 1], energies=torch.tensor([0.5, 0.0, -1.25]), input_symbols=Symbols("abc"))
    transducer = Graph(
        Structure([2, 0, 0, 1], [0, 1, 1, 1], [3, -1, 0, 5], [-1, -1, 2, 5], states=4),
        torch.tensor([1.5, 0.25, math.inf, -3.0]),
        torch.tensor([0.5, math.inf, 0.0, math.inf]),
        torch.tensor([math.inf, 2.0, 0.0, math.inf]),
        attributes={"frame": torch.arange(4), "name": ["a", None, ("b", math.inf), {"c": 1}]},
    )
    return [Graph(Structure([], [], [], states=0)), acceptor, transducer]


def aligned_const() -> bytes:
    """A const file as OpenFst aligns it: states and arcs begin at multiples of 16 bytes."""
    file = io.BytesIO()
    files.write_openfst(Graph.linear([0, 1]).with_symbols(None), file, "standard", "const")
    data = bytearray(file.getvalue())
    flags = 4 + 4 + len("const") + 4 + len("standard") + 4
    data[flags] |= 4
    header, states = 4 + 4 + 5 + 4 + 8 + 4 + 4 + 4 * 8, 3 * 20
    gap = bytes(-header % 16)
    body = gap + bytes(data[header : header + states])
    body += bytes(-(header + len(body)) % 16)
    return bytes(data[:header]) + body + bytes(data[header + states :])


def _written(write: Callable[..., None], *arguments: object) -> list[bytes]:
    found = []
    for graph in seed_graphs():
        file = io.BytesIO()
        write(graph, file, *arguments)
        found.append(file.getvalue())
    return found


def _binary_symbols() -> list[bytes]:
    file = io.BytesIO()
    files.write_binary_symbols(Symbols(["a", "ε̄", "long name"]), file)
    return [file.getvalue()]


Reader = Callable[[BinaryIO], object]
READERS: dict[str, tuple[Reader, Callable[[], list[bytes]]]] = {
    "openfst": (
        files.read_openfst,
        lambda: [
            *_written(files.write_openfst),
            *_written(files.write_openfst, "log64"),
            *_written(files.write_openfst, "standard", "const"),
            *_written(files.write_openfst, "log64", "const"),
            aligned_const(),
        ],
    ),
    "binary_symbols": (files.read_binary_symbols, _binary_symbols),
    "gtn": (files.read_gtn, lambda: _written(files.write_gtn)),
    "gtn_text": (files.read_gtn_text, lambda: _written(files.write_gtn_text)),
    "k2_text": (files.read_k2_text, lambda: _written(files.write_k2_text)),
    "json": (files.read_json, lambda: _written(files.write_json)),
    "text": (files.read_text, lambda: _written(files.write_text)),
    "acceptor_text": (files.read_acceptor_text, lambda: [b"0 1 1 0.5\n1 2 2\n2 1e3\n"]),
    "symbols": (files.read_symbols, lambda: ["<eps> 0\na 1\nß 7\n".encode()]),
    "arpa": (files.read_arpa, lambda: [ARPA.encode()]),
    "arpa_pruned": (lambda file: files.read_arpa(file, threshold=0.1), lambda: [ARPA.encode()]),
    "lexicon": (files.read_lexicon, lambda: [LEXICON.encode()]),
    "lexicon_with_probabilities": (
        files.read_lexicon_with_probabilities,
        lambda: [LEXICON_WITH_PROBABILITIES.encode()],
    ),
}
"""Each reader of files, and what makes good ones for it."""


def refusal(read: Reader, data: bytes) -> str | None:
    """What a reader says of what it refuses."""
    try:
        read(io.BytesIO(data))
    except GraphFormatError as error:
        return str(error)
    return None


def names_a_byte(message: str, data: bytes) -> bool:
    """Whether the message says which byte of the data is at fault."""
    found = re.search(r"byte (\d+)(:|\)$)", message)
    return found is not None and int(found[1]) <= len(data)
