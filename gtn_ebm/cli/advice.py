"""What the library's errors advise, in the words of the command: its options in the place of Python's."""

from __future__ import annotations

import re

OPTIONS = (
    (
        r"outputs='all' keeps them, outputs='best' the best of them",
        "--det_type nonfunctional keeps them, --det_type disambiguate the best of them",
    ),
    (r"outputs='best' needs β = ∞ .*", "--det_type disambiguate needs --semiring tropical"),
    (r"draw\.most_probable\(graph, arcs=100\)", "--most_probable 100"),
    (r"arcs with two labels: read_text", "arcs with two labels: without --acceptor"),
    (r"arcs with one label: read_acceptor_text", "arcs with one label: --acceptor"),
    (r"give a symbol table to read names", "give --isymbols and --osymbols to read names"),
    (r"try some strings with random_equivalent", "try some strings with --random"),
    (r"convert with \.to\(\)", "convert one of them with gtn-ebm fst convert --arc_type log64"),
    (
        r"this is no binary file of OpenFst's",
        r"\g<0>; gtn-ebm fst compile makes one of text, and --from names another format",
    ),
    (r"allow more with max_arcs", "allow more with --max_length"),
    (r"\b(max_states|max_arcs)\b", r"--\1"),
    (r"\bor delta\b", "or --delta"),
)


def in_options(message: str) -> str:
    """The message with what a command's user can do."""
    for said, meant in OPTIONS:
        message = re.sub(said, meant, message)
    return message
