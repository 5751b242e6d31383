"""Files and graphs that several tests of readers begin with."""

from __future__ import annotations

import io
import math

import torch

from gtn_ebm.graph import Graph, Structure
from gtn_ebm.io import write_openfst
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
    write_openfst(Graph.linear([0, 1]).with_symbols(None), file, "standard", "const")
    data = bytearray(file.getvalue())
    flags = 4 + 4 + len("const") + 4 + len("standard") + 4
    data[flags] |= 4
    header, states = 4 + 4 + 5 + 4 + 8 + 4 + 4 + 4 * 8, 3 * 20
    gap = bytes(-header % 16)
    body = gap + bytes(data[header : header + states])
    body += bytes(-(header + len(body)) % 16)
    return bytes(data[:header]) + body + bytes(data[header + states :])
