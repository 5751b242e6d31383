"""Graphs and symbol tables as files. Other conventions than ours, such as 0 for epsilon, end here."""

from gtn_ebm.io.symbols import read_symbols, write_symbols
from gtn_ebm.io.text import read_acceptor_text, read_text, write_text

__all__ = ["read_acceptor_text", "read_symbols", "read_text", "write_symbols", "write_text"]
