"""Graph → graph. Structures and arc maps are worked out in integers; energies and attributes follow."""

from gtn_ebm.ops.composition import compose, intersect
from gtn_ebm.ops.connection import connect
from gtn_ebm.ops.labels import invert, project
from gtn_ebm.ops.order import arc_sort, topological_sort
from gtn_ebm.ops.rational import closure, concat, union

__all__ = [
    "arc_sort",
    "closure",
    "compose",
    "concat",
    "connect",
    "intersect",
    "invert",
    "project",
    "topological_sort",
    "union",
]
