"""Graph → graph. Structures and arc maps are worked out in integers; energies and attributes follow."""

from gtn_ebm.ops.composition import compose, intersect
from gtn_ebm.ops.connection import connect
from gtn_ebm.ops.costs import cost_augmented, edit_distance, hamming_distance
from gtn_ebm.ops.determinization import determinize
from gtn_ebm.ops.difference import complement, difference
from gtn_ebm.ops.disambiguation import disambiguate
from gtn_ebm.ops.encoding import Encoder, decode, encode
from gtn_ebm.ops.epsilons import epsilon_normalize, remove_epsilons
from gtn_ebm.ops.labels import invert, project, relabel
from gtn_ebm.ops.minimization import minimize
from gtn_ebm.ops.order import arc_sort, topological_sort
from gtn_ebm.ops.properties import Properties, properties
from gtn_ebm.ops.pruning import prune
from gtn_ebm.ops.pushing import push, push_labels
from gtn_ebm.ops.rational import closure, concat, union
from gtn_ebm.ops.replacement import replace
from gtn_ebm.ops.reversal import reverse
from gtn_ebm.ops.scaling import scale
from gtn_ebm.ops.synchronization import synchronize

__all__ = [
    "Encoder",
    "Properties",
    "arc_sort",
    "closure",
    "complement",
    "compose",
    "concat",
    "connect",
    "cost_augmented",
    "decode",
    "determinize",
    "difference",
    "disambiguate",
    "edit_distance",
    "encode",
    "epsilon_normalize",
    "hamming_distance",
    "intersect",
    "invert",
    "minimize",
    "project",
    "properties",
    "prune",
    "push",
    "push_labels",
    "relabel",
    "remove_epsilons",
    "replace",
    "reverse",
    "scale",
    "synchronize",
    "topological_sort",
    "union",
]
