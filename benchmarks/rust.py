"""Our graphs as rustfst's: a peer to compare with, in the tropical semiring only."""

from __future__ import annotations

import io

from rustfst import VectorFst

from gtn_ebm import Graph
from gtn_ebm.io import write_openfst


def to_rustfst(graph: Graph) -> VectorFst:
    """The graph with label k as k + 1, 0 being epsilon there."""
    content = io.BytesIO()
    write_openfst(graph.detach(), content, arc_type="standard")
    return VectorFst.from_bytes(content.getvalue())
