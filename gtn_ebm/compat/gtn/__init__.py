"""The Python interface of gtn 0.0 (https://gtn.readthedocs.io) on this engine.

A program written for gtn runs with ``from gtn_ebm.compat import gtn`` in place of ``import gtn``. Its
conventions hold here: weights are scores, a path's score is the sum of its arcs' weights, ``forward_score``
is log Σ exp over paths, epsilon is −1, gradients add up over calls of ``backward``. What differs is in
docs/gtn.md.

>>> from gtn_ebm.compat import gtn
>>> g = gtn.Graph()
>>> g.add_node(start=True), g.add_node(accept=True)
(0, 1)
>>> g.add_arc(0, 1, label=0), g.add_arc(0, 1, label=1)
(0, 1)
>>> score = gtn.forward_score(g)
>>> round(score.item(), 4)  # log 2
0.6931
>>> gtn.backward(score)
>>> g.grad().weights_to_list()
[0.5, 0.5]
"""

from gtn_ebm.compat.gtn import criterion, cuda
from gtn_ebm.compat.gtn.autograd import backward
from gtn_ebm.compat.gtn.creations import linear_graph, scalar_graph
from gtn_ebm.compat.gtn.device import CPU, CUDA, Device, DeviceType
from gtn_ebm.compat.gtn.drawing import draw, write_dot
from gtn_ebm.compat.gtn.functions import (
    add,
    clone,
    closure,
    compose,
    concat,
    forward_score,
    intersect,
    negate,
    project_input,
    project_output,
    remove,
    subtract,
    union,
    viterbi_path,
    viterbi_score,
)
from gtn_ebm.compat.gtn.graph import Graph, epsilon
from gtn_ebm.compat.gtn.parallel import parallel_for
from gtn_ebm.compat.gtn.rand import rand_equivalent, sample
from gtn_ebm.compat.gtn.utils import equal, isomorphic, load, loadtxt, save, savetxt

__version__ = "0.0.1"  # of gtn, whose interface this is

__all__ = [
    "CPU",
    "CUDA",
    "Device",
    "DeviceType",
    "Graph",
    "add",
    "backward",
    "clone",
    "closure",
    "compose",
    "concat",
    "criterion",
    "cuda",
    "draw",
    "epsilon",
    "equal",
    "forward_score",
    "intersect",
    "isomorphic",
    "linear_graph",
    "load",
    "loadtxt",
    "negate",
    "parallel_for",
    "project_input",
    "project_output",
    "rand_equivalent",
    "remove",
    "sample",
    "save",
    "savetxt",
    "scalar_graph",
    "subtract",
    "union",
    "viterbi_path",
    "viterbi_score",
    "write_dot",
]
