"""Graph transformer networks on torch: weighted finite-state graphs that are trained end to end."""

from gtn_ebm.errors import CycleError, DataError, GraphError, GraphFormatError, GtnEbmError
from gtn_ebm.graph import Graph, GraphBuilder, Index, Structure
from gtn_ebm.inference import Path, Posteriors, best_path, free_energy, minimum_energy, posteriors
from gtn_ebm.ops import (
    arc_sort,
    closure,
    compose,
    concat,
    connect,
    intersect,
    invert,
    project,
    topological_sort,
    union,
)
from gtn_ebm.symbols import EPSILON, Symbols
from gtn_ebm.warmup import warmup

__version__ = "0.1.0"

__all__ = [
    "EPSILON",
    "CycleError",
    "DataError",
    "Graph",
    "GraphBuilder",
    "GraphError",
    "GraphFormatError",
    "GtnEbmError",
    "Index",
    "Path",
    "Posteriors",
    "Structure",
    "Symbols",
    "arc_sort",
    "best_path",
    "closure",
    "compose",
    "concat",
    "connect",
    "free_energy",
    "intersect",
    "invert",
    "minimum_energy",
    "posteriors",
    "project",
    "topological_sort",
    "union",
    "warmup",
]
