"""Whether two graphs are the same: arc by arc, up to the numbering of states, or in what they accept."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import sum_over_paths, usable
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, as_array
from gtn_ebm.inference.sampling import random_paths
from gtn_ebm.kernels import comparison as kernels
from gtn_ebm.kernels.partition import refine
from gtn_ebm.kernels.structure import group
from gtn_ebm.ops.composition import compose
from gtn_ebm.ops.determinization import determinize
from gtn_ebm.ops.encoding import distinct
from gtn_ebm.ops.epsilons import remove_epsilons
from gtn_ebm.ops.properties import properties
from gtn_ebm.ops.pushing import push

DELTA = 1 / 1024


@takes_graphs
def equal(first: Graph, second: Graph, *, delta: float = DELTA) -> bool:
    """Whether both have the same states, and each state the same arcs in the same order, with energies that
    differ by ``delta`` at most. Attributes and dtypes may differ.

    Raises:
        GraphError: their symbol tables differ, so that labels do not mean the same; or an energy that is NaN
            or −inf.

    Cost: O(S + A) time and memory.

    >>> equal(Graph.linear([0, 1]), Graph.linear([0, 2]))
    False
    """
    _check_symbols(first, second)
    _check_energies(first, second)
    if (first.states, first.arcs) != (second.states, second.arcs):
        return False
    orders = [graph.structure.out_index.arcs for graph in (first, second)]
    return all(
        np.array_equal(getattr(first, name)[orders[0]], getattr(second, name)[orders[1]])
        for name in ("source", "destination", "input_labels", "output_labels")
    ) and all(
        _close(one, two, delta)
        for one, two in (
            (as_array(first.energies)[orders[0]], as_array(second.energies)[orders[1]]),
            (as_array(first.initial), as_array(second.initial)),
            (as_array(first.final), as_array(second.final)),
        )
    )


@takes_graphs
def isomorphic(first: Graph, second: Graph, *, delta: float = DELTA) -> bool:
    """Whether the states of one can be numbered and its arcs be ordered so that it becomes the other.

    Energies are the same where they round to the same multiple of ``delta``. Graphs of any kind may be
    compared, with several initial states and without determinism: states are told apart by what is around
    them (colour refinement), and pairings are tried only where states look alike without need.

    Raises:
        GraphError: their symbol tables differ, ``delta`` is not positive, or an energy is NaN or −inf.

    Cost: O(A log S) time, O(S + A) memory; exponential time only for graphs made to be hard.

    >>> from gtn_ebm import Structure
    >>> one = Graph(Structure([0, 0], [1, 2], [5, 6]), final=[1, 2])
    >>> two = Graph(Structure([2, 2], [0, 1], [6, 5]), initial=[2], final=[0, 1])
    >>> isomorphic(one, two)
    True
    """
    _check_symbols(first, second)
    _check_energies(first, second)
    if not 0.0 < delta < math.inf:
        raise GraphError(f"delta must be positive and finite, not {delta}")
    if (first.states, first.arcs) != (second.states, second.arcs):
        return False
    pairing = _Pairing(first, second, delta)
    waiting = [iter([pairing.block])]
    while waiting:
        chosen = next(waiting[-1], None)
        if chosen is None:
            waiting.pop()
            continue
        block = pairing.refined(chosen)
        if block is None:
            continue
        if block.max(initial=-1) + 1 == first.states:
            if pairing.is_isomorphism(block):
                return True
            continue
        waiting.append(pairing.choices(block))
    return False


class _Pairing:
    """Both graphs side by side: the states of the second behind those of the first. A block is a number for
    each state; states of different blocks cannot be paired."""

    def __init__(self, first: Graph, second: Graph, delta: float):
        graphs = first, second
        self.states = first.states
        # A state and an arc of the one has the code that its like has in the other.
        ends = [
            np.concatenate([_steps(getattr(g, name), delta) for g in graphs]) for name in ("initial", "final")
        ]
        self.block = distinct(*ends)[1].astype(np.int64)
        self.codes = distinct(
            np.concatenate([g.input_labels for g in graphs]),
            np.concatenate([g.output_labels for g in graphs]),
            np.concatenate([_steps(g.energies, delta) for g in graphs]),
        )[1]
        self.source = np.concatenate([first.source, second.source + self.states]).astype(np.int64)
        self.destination = np.concatenate([first.destination, second.destination + self.states]).astype(
            np.int64
        )
        # Each arc marks both of its ends, in different ways.
        kinds = int(self.codes.max(initial=-1)) + 1
        marks = np.random.default_rng(0).integers(0, 2**64, (2, kinds), np.uint64)
        reached = np.concatenate([self.destination, self.source])
        offsets, order = group(reached.astype(np.uint32), 2 * self.states)
        self.edges = (
            offsets,
            np.concatenate([self.source, self.destination])[order],
            np.concatenate([marks[0, self.codes], marks[1, self.codes]])[order],
        )

    def refined(self, block: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The coarsest stable refinement, or None where a block has more states of one graph."""
        block = block.copy()
        blocks = refine(block, int(block.max(initial=-1)) + 1, *self.edges)
        ours, theirs = (
            np.bincount(part, minlength=blocks) for part in (block[: self.states], block[self.states :])
        )
        return block if np.array_equal(ours, theirs) else None

    def choices(self, block: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """All ways to pair one state of the first graph from a smallest block that leaves a choice."""
        counts = np.bincount(block)
        chosen = int(np.where(counts > 2, counts, counts.max() + 1).argmin())
        members = np.flatnonzero(block == chosen)
        for partner in members[members >= self.states]:
            paired = block.copy()
            paired[[members[0], partner]] = len(counts)
            yield paired

    def is_isomorphism(self, block: NDArray[np.int64]) -> bool:
        """Whether pairing the two states of each block maps the arcs of one graph to those of the other."""
        _, arcs = distinct(block[self.source], self.codes, block[self.destination])
        half = len(arcs) // 2
        return np.array_equal(np.sort(arcs[:half]), np.sort(arcs[half:]))


@takes_graphs
def equivalent(
    first: Graph,
    second: Graph,
    beta: float = 1.0,
    *,
    delta: float = DELTA,
    max_states: int | None = None,
) -> bool:
    """Whether two acceptors accept the same strings, each with the same F_β over its paths.

    Energies are the same where they differ by ``delta`` at most, after pushing. Epsilons and several initial
    states are allowed, and sums over cycles need not converge, epsilon cycles aside. ``max_states`` bounds
    determinization, as of ``determinize``.

    - Deterministic graphs (once epsilons are removed) are walked through side by side, in the time of a
      shortest distance: Hopcroft, Karp, "A linear algorithm for testing equivalence of finite automata"
      (1971), on pushed energies (Mohri 1997).
    - Others at finite β: the vectors of weights in which strings arrive at the states span a space of at
      most S₁ + S₂ dimensions, in which as many strings decide over all: Schützenberger (1961), Tzeng, "A
      polynomial-time algorithm for the equivalence of probabilistic automata" (1992). O(labels · S³), in
      float64: what is 10⁻⁹ as likely as something else after the same beginning may be missed.
    - Others at β = ∞ are determinized first, since the question is undecidable for tropical energies in
      general; where that does not end, ``determinize`` says so.

    Raises:
        GraphError: a transducer, for which the question is undecidable (``encode`` compares its pairs of
            labels, ``random_equivalent`` tries some strings); different symbol tables; an energy that is NaN
            or −inf; or determinization does not end.
        CycleError: the sum over a cycle of epsilons diverges.

    Cost: that of a shortest distance for deterministic graphs; for others O(labels · S³) time and O(S²)
    memory at finite β, and that of ``determinize`` at β = ∞.

    >>> from gtn_ebm import Structure
    >>> twice = Graph(Structure([0, 0], [1, 1], [5, 5]))
    >>> once = Graph(Structure([0], [1], [5]), torch.tensor([-math.log(2)]))
    >>> equivalent(twice, once), equivalent(twice, once, beta=math.inf)
    (True, False)
    """
    _check_symbols(first, second)
    _check_energies(first, second)
    for graph, which in ((first, "first"), (second, "second")):
        if not graph.is_acceptor:
            raise GraphError(
                f"equivalence is decided for acceptors, but the {which} graph is a transducer; encode both, "
                "or try some strings with random_equivalent"
            )
    one, two = (remove_epsilons(_plain(graph), beta) for graph in (first, second))
    if beta == math.inf:
        one, two = (
            g if properties(g).i_deterministic else determinize(g, beta, max_states=max_states)
            for g in (one, two)
        )
    if one.states == 0 or two.states == 0:
        return one.states == two.states
    # What is added to each arc depends on the length of the string alone; then every sum converges.
    more = max(_energy_to_converge(graph, beta) for graph in (one, two))
    one, two = (push(graph.with_energies(graph.energies + more), beta=beta) for graph in (one, two))
    if properties(one).i_deterministic and properties(two).i_deterministic:
        return _same_walk(one, two, delta)
    return _same_spaces(one, two, beta, delta)


def _energy_to_converge(graph: Graph, beta: float) -> float:
    """What added to each arc makes Σ exp(−βE) over those of any state 1/2 at most; at β = ∞, min E be 0."""
    energies = as_array(graph.energies)
    least = float(energies.min(initial=np.inf))
    if least == np.inf or beta == math.inf:
        return -least if least < np.inf else -math.inf
    sums = np.bincount(graph.source, np.exp(-beta * (energies - least)))
    return math.log(2.0 * float(sums.max())) / beta - least


def _same_walk(first: Graph, second: Graph, delta: float) -> bool:
    """Of deterministic graphs, pushed."""
    sides: list[tuple] = []
    totals = []
    for graph in (first, second):
        (start,) = np.flatnonzero(as_array(graph.initial) != np.inf)
        index = graph.structure.out_by_input
        labels, targets = graph.input_labels[index.arcs], graph.destination[index.arcs]
        sides.append(
            (
                start,
                index.offsets,
                labels,
                targets,
                as_array(graph.energies)[index.arcs],
                as_array(graph.final),
            )
        )
        totals.append(float(graph.initial[start]))
    return abs(totals[0] - totals[1]) <= delta and kernels.same_strings(*sides[0], *sides[1], delta)


RELATIVE = 1e-9
"""How much of a vector must lie outside the span of others to count as a dimension more."""


def _same_spaces(first: Graph, second: Graph, beta: float, delta: float) -> bool:
    """Of epsilon-free graphs, pushed: what is at all states after a string is then the logarithm of its
    probability as a beginning, with the final energies that of the string itself. Both graphs must agree in
    both for as many strings as there are dimensions, and for all one label longer."""
    split = first.states
    final = -beta * np.concatenate([as_array(first.final), as_array(second.final)])
    start = -beta * np.concatenate([as_array(first.initial), as_array(second.initial)])
    steps = _Steps(first, second, beta)

    def agree(logs: NDArray[np.float64]) -> bool:
        sums = ((_log_sum(part[:split]), _log_sum(part[split:])) for part in (logs, logs + final))
        return all(one == two or abs(one - two) <= beta * delta for one, two in sums)

    basis = np.empty((0, len(start)))
    waiting = [start]
    while waiting:
        logs = waiting.pop()
        if not agree(logs):
            return False
        outside = np.exp(logs - logs.max())
        outside /= np.linalg.norm(outside)
        for _ in range(2):  # twice, so that rounding leaves nothing inside
            outside -= basis.T @ (basis @ outside)
        if (rest := np.linalg.norm(outside)) > RELATIVE:
            basis = np.vstack([basis, outside / rest])
            waiting += steps.following(logs)
    return True


class _Steps:
    """The arcs of both graphs, the second's states behind the first's."""

    def __init__(self, first: Graph, second: Graph, beta: float):
        self.states = first.states + second.states
        self.source = np.concatenate([first.source, second.source + first.states])
        self.destination = np.concatenate([first.destination, second.destination + first.states])
        self.labels = np.concatenate([first.input_labels, second.input_labels])
        self.logs = -beta * np.concatenate([as_array(first.energies), as_array(second.energies)])

    def following(self, logs: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """What is at all states one label on, for every label that leads anywhere."""
        arcs = np.flatnonzero(logs[self.source] > -np.inf)
        moved = logs[self.source[arcs]] + self.logs[arcs]
        labels, ranks = distinct(self.labels[arcs])
        place = ranks.astype(np.int64) * self.states + self.destination[arcs]
        top = np.full(len(labels) * self.states, -np.inf)
        np.maximum.at(top, place, moved)
        reached = np.flatnonzero(top > -np.inf)
        sums = np.bincount(place, np.exp(moved - top[place]), len(top))
        top[reached] += np.log(sums[reached])
        return list(top.reshape(len(labels), self.states))


def _log_sum(logs: NDArray[np.float64]) -> float:
    return float(torch.logsumexp(torch.from_numpy(logs), 0))


@takes_graphs
def random_equivalent(
    first: Graph,
    second: Graph,
    beta: float = 1.0,
    *,
    count: int = 100,
    delta: float = DELTA,
    generator: torch.Generator | None = None,
) -> bool:
    """Whether both give the same F_β, up to ``delta``, to the input and output strings of random paths.

    ``count`` paths are drawn from each graph by probability (at β = ∞ by that at β = 1). False is certain;
    True only says that no difference was found. Any two graphs may be compared, transducers, too.

    Args:
        count: how many paths of each graph.
        generator: where the randomness comes from; torch's own where omitted.

    Raises:
        GraphError: their symbol tables differ.
        CycleError: the sum over a cycle diverges.

    Cost: that of two compositions with a string, for each path and graph.

    >>> abc = Graph.linear([0, 1, 2], [2, 1, 0])
    >>> random_equivalent(abc, abc), random_equivalent(abc, Graph.linear([0, 1, 2]))
    (True, False)
    """
    _check_symbols(first, second)
    graphs = _plain(first), _plain(second)
    drawn = [
        path
        for graph in graphs
        for path in random_paths(graph, count, 1.0 if beta == math.inf else beta, generator)
    ]
    pairs = sorted({(tuple(path.input_labels), tuple(path.output_labels)) for path in drawn})
    if not pairs:
        return True
    one, two = (_string_energies(graph, pairs, beta) for graph in graphs)
    return _close(one, two, delta)


def _string_energies(
    graph: Graph, pairs: list[tuple[tuple[int, ...], tuple[int, ...]]], beta: float
) -> NDArray[np.float64]:
    """F_β over the paths of each pair of strings."""
    read, written = ([Graph.linear(pair[side]).to(torch.float64) for pair in pairs] for side in (0, 1))
    found = compose(compose(read, graph), written)
    return np.array([float(sum_over_paths(of_pair, beta)) for of_pair in found])


def _plain(graph: Graph) -> Graph:
    """In float64, without gradients, attributes or symbols."""
    parts = (part.detach().double() for part in (graph.energies, graph.initial, graph.final))
    return Graph(graph.structure, *parts)


def _steps(energies: torch.Tensor, delta: float) -> NDArray[np.float64]:
    return np.asarray(np.rint(as_array(energies.double()) / delta))


def _close(one: NDArray, two: NDArray, delta: float) -> bool:
    same = one == two  # also where both are +inf
    return bool((np.abs(one[~same].astype(np.float64) - two[~same]) <= delta).all())


def _check_symbols(first: Graph, second: Graph) -> None:
    for name in ("input_symbols", "output_symbols"):
        one, two = getattr(first, name), getattr(second, name)
        if None not in (one, two) and one != two:
            raise GraphError(f"the graphs have different {name}, so that their labels do not mean the same")


def _check_energies(*graphs: Graph) -> None:
    for graph in graphs:
        for part in (graph.energies, graph.initial, graph.final):
            usable(part)
