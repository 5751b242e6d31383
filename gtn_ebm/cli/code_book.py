"""The file of a code book: what the labels of an encoded graph stand for."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import torch

from gtn_ebm import io as formats
from gtn_ebm.errors import GraphFormatError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.ops.encoding import Encoder, encode

_CODE = "code"  # the arc attribute of a code book that makes it one


def write(path: str, graph: Graph, encoded: Graph, energies: bool) -> None:
    """Writes what the codes of a graph's encoding stand for, its energies only if they are encoded.

    A code book is a graph, too: an arc for each code, in order, with the energy that the code stands for,
    which is 0 where energies are not encoded.
    """
    codes, first = np.unique(encoded.input_labels, return_index=True)
    ends = np.zeros(len(first), np.int32)
    of_codes = graph.energies.detach()[torch.from_numpy(first)]
    book = Graph(
        Structure(ends, ends + 1, graph.input_labels[first], graph.output_labels[first], states=2),
        of_codes if energies else torch.zeros_like(of_codes),
        input_symbols=graph.input_symbols,
        output_symbols=graph.output_symbols,
        attributes={_CODE: torch.from_numpy(codes)},
    )
    formats.write_json(book, path)


def read(file: BinaryIO) -> Graph:
    """The code book in a file, in which each code is found once. Raises GraphFormatError."""
    try:
        book = formats.read_json(file)
    except GraphFormatError as error:
        raise GraphFormatError(f"{error}; a code book is what 'encode' writes") from None
    codes = book.attributes.get(_CODE)
    if not isinstance(codes, torch.Tensor) or codes.tolist() != list(range(book.arcs)):
        raise GraphFormatError(f"{file.name} holds a graph and no code book, as 'encode' writes one")
    encoded = encode(book, Encoder(energies=True)).input_labels
    if len(np.unique(encoded)) < book.arcs:
        raise GraphFormatError(f"{file.name}: two codes mean the same; write the book again by 'encode'")
    return book
