"""Random paths, and what they say of two graphs."""

from __future__ import annotations

import random

import numpy as np

import gtn_ebm.graph as core
from gtn_ebm import inference, ops
from gtn_ebm.compat.gtn.autograd import apply, as_engine_graph
from gtn_ebm.compat.gtn.functions import chain
from gtn_ebm.compat.gtn.graph import Graph
from gtn_ebm.symbols import EPSILON


def sample(g: Graph, max_length: int = 1000) -> Graph:
    """A random path as a chain: at each node any arc, or the end where it may be, with the same probability.

    A path as long as ``max_length`` is cut back to the last accept node. The empty graph where the walk came
    to a dead end, or through no accept node. Python's ``random.seed`` makes it repeatable.
    """
    walk = _walk(g, max_length)
    if walk is None:
        return Graph()
    return apply(lambda graph: chain(graph, *walk), g)


def _walk(g: Graph, max_length: int) -> tuple[np.ndarray, int] | None:
    """The arcs of a random path and its last node."""
    arrays = g.arrays()
    starts = np.flatnonzero(arrays.start)
    if not len(starts):
        return None
    offsets, order = arrays.structure.out_index
    node = int(random.choice(starts))
    arcs: list[int] = []
    found: tuple[int, int] | None = None  # the arcs up to the last accept node, and that node
    while True:
        leaving = int(offsets[node + 1] - offsets[node])
        accept = bool(arrays.final[node] != -np.inf)
        if accept:
            found = len(arcs), node
        if len(arcs) >= max_length:
            break
        if not leaving + accept:
            return None
        choice = random.randrange(leaving + accept)
        if choice == leaving:
            break
        arcs.append(int(order[offsets[node] + choice]))
        node = int(arrays.structure.destination[arcs[-1]])
    return None if found is None else (np.array(arcs[: found[0]], np.int64), found[1])


def rand_equivalent(
    g1: Graph, g2: Graph, num_samples: int = 100, tol: float = 1e-4, max_length: int = 1000
) -> bool:
    """Whether both graphs give the strings of random paths the same ``forward_score``, up to ``tol``.

    A path is one of either graph, as ``sample`` finds it; its strings are what it reads and writes, epsilons
    left out.
    """
    graphs = [as_engine_graph(g).detach() for g in (g1, g2)]
    checked = set()
    for _ in range(num_samples):
        which = random.randrange(2)
        walk = _walk((g1, g2)[which], max_length)
        if walk is None:
            continue
        strings = tuple(
            tuple(label for label in labels[walk[0]].tolist() if label != EPSILON)
            for labels in (graphs[which].input_labels, graphs[which].output_labels)
        )
        if strings in checked:
            continue
        checked.add(strings)
        scores = [_score(graph, *strings) for graph in graphs]
        if scores[0] != scores[1] and not abs(scores[0] - scores[1]) <= tol:
            return False
    return True


def _score(graph: core.Graph, read: tuple[int, ...], written: tuple[int, ...]) -> float:
    """The forward score of the paths that read and write this."""
    paths = ops.compose(ops.compose(core.Graph.linear(read), graph), core.Graph.linear(written))
    return -float(inference.free_energy(paths))
