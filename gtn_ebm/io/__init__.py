"""Graphs and symbol tables as files. Other conventions than ours, such as 0 for epsilon, end here."""

from gtn_ebm.io.arpa import read_arpa
from gtn_ebm.io.convert import from_gtn, from_k2, from_pynini, to_gtn, to_k2, to_pynini
from gtn_ebm.io.gtn_format import read_gtn, read_gtn_text, write_gtn, write_gtn_text
from gtn_ebm.io.json_text import read_json, write_json
from gtn_ebm.io.k2_text import read_k2_text, write_k2_text
from gtn_ebm.io.lexicon import (
    Pronunciation,
    lexicon_graph,
    read_lexicon,
    read_lexicon_with_probabilities,
)
from gtn_ebm.io.openfst import read_openfst, write_openfst
from gtn_ebm.io.symbols import read_binary_symbols, read_symbols, write_binary_symbols, write_symbols
from gtn_ebm.io.text import read_acceptor_text, read_text, write_text

__all__ = [
    "Pronunciation",
    "from_gtn",
    "from_k2",
    "from_pynini",
    "lexicon_graph",
    "read_acceptor_text",
    "read_arpa",
    "read_binary_symbols",
    "read_gtn",
    "read_gtn_text",
    "read_json",
    "read_k2_text",
    "read_lexicon",
    "read_lexicon_with_probabilities",
    "read_openfst",
    "read_symbols",
    "read_text",
    "to_gtn",
    "to_k2",
    "to_pynini",
    "write_binary_symbols",
    "write_gtn",
    "write_gtn_text",
    "write_json",
    "write_k2_text",
    "write_openfst",
    "write_symbols",
    "write_text",
]
