"""Every operation against OpenFst's: what it makes of random graphs says the same of all pairs of strings.

The graphs have epsilons, dead states, none or several initial and final states, no path at all, energies of
+inf, and cycles half of the time. Each operation is tried by turns in the log semiring at β = 1 and in
the tropical one. What OpenFst does more narrowly is compared in the operation's own tests: ``prune`` arc by
arc, ``properties`` name by name, ``encode`` code by code.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pynini
import pytest
import torch

from benchmarks.openfst import to_openfst
from gtn_ebm import EPSILON, Graph, Structure, best_paths, ops, random_paths
from gtn_ebm.distance import all_pairs_distance, sum_over_paths
from tests.series import from_openfst, series

GRAPHS = 120
"""With cycles, and as many without: 240 for each operation."""
BOTH = pytest.mark.parametrize("cyclic", [False, True], ids=["acyclic", "cyclic"])
ARC_TYPES = {1.0: "log64", math.inf: "standard"}


def random_graph(
    rng: np.random.Generator, cyclic: bool, acceptor: bool | None = None, size: int = 6, low: float = -3.0
) -> Graph:
    """At most ``size`` states and three times as many arcs; energies at which sums over cycles converge."""
    states, arcs = int(rng.integers(1, size + 1)), int(rng.integers(0, 3 * size + 1))
    ends = rng.integers(0, states, (2, arcs))
    if not cyclic:
        ends = np.sort(ends, axis=0)
        ends = rng.permutation(states)[ends[:, ends[0] < ends[1]]]
    inputs, outputs = rng.integers(EPSILON, 2, (2, ends.shape[1]))
    accepts = rng.random() < 0.5 if acceptor is None else acceptor
    low = 3.0 if cyclic else low

    def energies(count: int, absent: float) -> torch.Tensor:
        values = rng.uniform(low, low + 6.0, count)
        return torch.from_numpy(np.where(rng.random(count) < absent, math.inf, values))

    structure = Structure(*ends, inputs, None if accepts else outputs, states=states)
    return Graph(structure, energies(ends.shape[1], 0.1), energies(states, 0.4), energies(states, 0.4))


def with_arcs(graph: Graph, kept: np.ndarray) -> Graph:
    columns = (graph.source, graph.destination, graph.input_labels, graph.output_labels)
    structure = Structure(*(column[kept] for column in columns), graph.states)
    return Graph(structure, graph.energies[torch.from_numpy(kept)], graph.initial, graph.final)


def without_infinite_arcs(graph: Graph) -> Graph:
    """What OpenFst is given, which finds paths through arcs of infinite weight."""
    return with_arcs(graph, graph.energies.isfinite().numpy())


def one(rng: np.random.Generator, cyclic: bool) -> tuple[Graph, ...]:
    return (random_graph(rng, cyclic),)


def to_repeat(rng: np.random.Generator, cyclic: bool) -> tuple[Graph, ...]:
    """Its paths together weigh less than 1, so that any number of them in a row has a sum."""
    return (random_graph(rng, cyclic, low=3.0),)


def acceptor(rng: np.random.Generator, cyclic: bool) -> tuple[Graph, ...]:
    return (random_graph(rng, cyclic, True),)


def two(rng: np.random.Generator, cyclic: bool) -> tuple[Graph, ...]:
    return random_graph(rng, cyclic, size=4), random_graph(rng, cyclic, size=4)


def two_acceptors(rng: np.random.Generator, cyclic: bool) -> tuple[Graph, ...]:
    return random_graph(rng, cyclic, True), random_graph(rng, cyclic, True)


def network(rng: np.random.Generator, cyclic: bool) -> tuple[Graph, ...]:
    """A root that writes 1 and 2, a graph that writes 2 and one that writes neither."""
    graphs = [random_graph(rng, cyclic, False, 4) for _ in range(3)]
    return tuple(
        ops.relabel(graph, None, table) for graph, table in zip(graphs, ({0: 2}, {1: 2}, {1: 0}), strict=True)
    )


def quarters(graph: Graph) -> Graph:
    """The graph at multiples of 1/4, which neither single precision nor OpenFst's steps of 1/1024 round."""
    return graph.with_energies(
        *(torch.round(4.0 * part) / 4.0 for part in (graph.energies, graph.initial, graph.final))
    )


def deterministic(rng: np.random.Generator, cyclic: bool, accepts: bool = True) -> tuple[Graph, ...]:
    """One initial state, and at most one arc of each label at any state."""
    graph = quarters(random_graph(rng, cyclic, accepts, 9))
    kept = np.unique(np.stack([graph.source, graph.input_labels]), axis=1, return_index=True)[1]
    initial = torch.full_like(graph.initial, math.inf)
    initial[rng.integers(graph.states)] = 0.0
    return (with_arcs(graph.with_energies(graph.energies, initial), kept),)


def determinizable(rng: np.random.Generator, cyclic: bool) -> tuple[Graph, ...]:
    """A deterministic graph, each state of which is two that go on alike, with energies on the way to either:
    what a string leaves on both is known from its last arc, so that the subsets are finitely many."""
    (graph,) = deterministic(rng, cyclic)
    copies = 2 * graph.states

    def entering(energies: torch.Tensor) -> torch.Tensor:
        """Twice as many, for either state entered, one or the other of which may not be."""
        extra = torch.from_numpy(rng.choice([0.0, 0.5, 1.25, math.inf], (len(energies), 2)))
        extra[extra.isinf().all(1), 0] = 0.0
        return energies[:, None] + extra

    source = graph.source[:, None, None] * 2 + np.arange(2)[:, None] + np.zeros((2, 2), np.int64)
    destination = graph.destination[:, None, None] * 2 + np.arange(2) + np.zeros((2, 2), np.int64)
    labels = np.repeat(graph.input_labels, 4)
    energies = entering(graph.energies)[:, None].expand(-1, 2, -1).reshape(-1)
    structure = Structure(source.ravel(), destination.ravel(), labels, states=copies)
    return (
        Graph(structure, energies, entering(graph.initial).reshape(-1), graph.final.repeat_interleave(2)),
    )


class Case(NamedTuple):
    """An operation of ours on (β, graphs), OpenFst's on Fsts, and what graphs to try them on."""

    ours: Callable[..., Graph]
    theirs: Callable[..., pynini.Fst]
    graphs: Callable[[np.random.Generator, bool], tuple[Graph, ...]] = one
    betas: tuple[float, ...] = (1.0, math.inf)


def changed(method: str, *arguments: Any, **options: Any) -> Callable[[pynini.Fst], pynini.Fst]:
    """A method of an Fst that changes it in place."""
    return lambda fst: getattr(fst, method)(*arguments, **options)


def relabelled(inputs: dict[int, int], outputs: dict[int, int]) -> Case:
    def shifted(table: dict[int, int]) -> list[tuple[int, int]]:
        return [(old - EPSILON, new - EPSILON) for old, new in table.items()]

    return Case(
        lambda _, graph: ops.relabel(graph, inputs, outputs),
        changed("relabel_pairs", shifted(inputs), shifted(outputs)),
    )


def closed(lower: int, upper: int | None) -> Case:
    # pynini writes 0 for no upper bound.
    return Case(
        lambda _, graph: ops.closure(graph, lower, upper), changed("closure", lower, upper or 0), to_repeat
    )


def read(fst: pynini.Fst) -> pynini.Fst:
    """The deterministic acceptor of the same strings without weights, as OpenFst's difference needs it."""
    tropical = pynini.arcmap(pynini.arcmap(fst, map_type="to_std"), map_type="rmweight")
    result = pynini.determinize(tropical.rmepsilon()).arcsort()
    return result if fst.arc_type() == "standard" else pynini.arcmap(result, map_type=f"to_{fst.arc_type()}")


def every_string(arc_type: str) -> pynini.Fst:
    return to_openfst(Graph(Structure([0, 0], [0, 0], [0, 1]), initial=[0], final=[0]), arc_type)


def between_codes(
    ours: Callable[[Graph], Graph], theirs: Callable[[pynini.Fst], pynini.Fst], energies: bool, **options: Any
) -> Case:
    """An operation on the codes of arcs, whose result is decoded."""

    def decoded(_: float, graph: Graph) -> Graph:
        encoder = ops.Encoder(energies)
        return ops.decode(ours(ops.encode(graph, encoder)), encoder)

    def decoded_by_openfst(fst: pynini.Fst) -> pynini.Fst:
        mapper = pynini.EncodeMapper(fst.arc_type(), encode_labels=True, encode_weights=energies)
        return theirs(fst.encode(mapper)).decode(mapper)

    return Case(decoded, decoded_by_openfst, **options)


def disambiguated(fst: pynini.Fst) -> pynini.Fst:
    """OpenFst's operation takes tropical weights only; in the other semiring a deterministic graph serves."""
    return pynini.disambiguate(fst) if fst.arc_type() == "standard" else pynini.determinize(fst)


def acyclic_or_determinizable(rng: np.random.Generator, cyclic: bool) -> tuple[Graph, ...]:
    return determinizable(rng, True) if cyclic else tuple(map(quarters, acceptor(rng, False)))


CASES = {
    "connect": Case(lambda _, graph: ops.connect(graph), changed("connect")),
    "project to input": Case(lambda _, graph: ops.project(graph, "input"), changed("project", "input")),
    "project to output": Case(lambda _, graph: ops.project(graph, "output"), changed("project", "output")),
    "invert": Case(lambda _, graph: ops.invert(graph), changed("invert")),
    "reverse": Case(lambda _, graph: ops.reverse(graph), pynini.reverse),
    "arc_sort by input": Case(lambda _, graph: ops.arc_sort(graph, "input"), changed("arcsort", "ilabel")),
    "arc_sort by output": Case(lambda _, graph: ops.arc_sort(graph, "output"), changed("arcsort", "olabel")),
    "topological_sort": Case(
        lambda _, graph: ops.topological_sort(graph), changed("topsort"), lambda rng, _: one(rng, False)
    ),
    "relabel, exchanged": relabelled({0: 1, 1: 0}, {0: 1, 1: 0}),
    "relabel, made epsilon": relabelled({1: EPSILON}, {0: EPSILON, 1: 0}),
    "union": Case(lambda _, *graphs: ops.union(*graphs), pynini.union, two),
    "concat": Case(lambda _, *graphs: ops.concat(*graphs), pynini.concat, two),
    "star": closed(0, None),
    "plus": closed(1, None),
    "optional": closed(0, 1),
    "twice or thrice": closed(2, 3),
    "replace": Case(
        lambda _, root, first, second: ops.replace(root, {1: first, 2: second}),
        lambda root, first, second: pynini.replace(
            [(9, root), (2, first), (3, second)], epsilon_on_replace=True
        ),
        network,
    ),
    "compose": Case(
        lambda _, first, second: ops.compose(first, second),
        lambda first, second: pynini.compose(first.arcsort("olabel"), second),
        two,
    ),
    "intersect": Case(
        lambda _, first, second: ops.intersect(first, second),
        lambda first, second: pynini.intersect(first.arcsort("olabel"), second),
        two_acceptors,
    ),
    "difference": Case(
        lambda _, first, second: ops.difference(first, second),
        lambda first, second: pynini.difference(first.rmepsilon().arcsort("olabel"), read(second)),
        two_acceptors,
    ),
    "complement": Case(
        lambda _, graph: ops.complement(graph, [0, 1]),
        lambda fst: pynini.difference(every_string(fst.arc_type()), read(fst)),
        acceptor,
    ),
    "remove_epsilons": Case(lambda beta, graph: ops.remove_epsilons(graph, beta), changed("rmepsilon")),
    # With log weights OpenFst sums cycles of weight 1 on the way and does not come back.
    "push_labels to initial": Case(
        lambda _, graph: ops.push_labels(graph, to="initial"),
        lambda fst: pynini.push(fst.connect(), push_labels=True, reweight_type="to_initial"),
        betas=(math.inf,),
    ),
    "push_labels to final": Case(
        lambda _, graph: ops.push_labels(graph, to="final"),
        lambda fst: pynini.push(fst.connect(), push_labels=True, reweight_type="to_final"),
        betas=(math.inf,),
    ),
    "determinize": Case(
        lambda beta, graph: ops.determinize(graph, beta), pynini.determinize, acyclic_or_determinizable
    ),
    "disambiguate": Case(
        lambda beta, graph: ops.disambiguate(graph, beta), disambiguated, acyclic_or_determinizable
    ),
    "minimize": Case(
        lambda beta, graph: ops.minimize(graph, beta),
        lambda fst: fst.connect().minimize(delta=1e-6),
        deterministic,
    ),
    "minimize a transducer": Case(
        lambda beta, graph: ops.minimize(graph, beta),
        lambda fst: fst.connect().minimize(delta=1e-6),
        lambda rng, cyclic: deterministic(rng, cyclic, False),
    ),
    "decode what is reversed": between_codes(ops.reverse, pynini.reverse, False),
    "decode what is determinized": between_codes(
        lambda graph: ops.determinize(graph, math.inf), pynini.determinize, True, betas=(math.inf,)
    ),
}


def some(case: Case, cyclic: bool) -> Iterator[tuple[float, list[Graph], list[pynini.Fst]]]:
    """β by turns, graphs to try the operation on, and their Fsts."""
    rng = np.random.default_rng(cyclic)
    for beta in itertools.islice(itertools.cycle(case.betas), GRAPHS):
        graphs = case.graphs(rng, cyclic)
        yield beta, graphs, [to_openfst(without_infinite_arcs(g), ARC_TYPES[beta]) for g in graphs]


def is_acceptor(fst: pynini.Fst) -> bool:
    return fst.properties(pynini.ACCEPTOR, True) == pynini.ACCEPTOR


@BOTH
@pytest.mark.parametrize("name", CASES)
def test_operations_are_openfsts(name: str, cyclic: bool) -> None:
    case = CASES[name]
    for beta, graphs, fsts in some(case, cyclic):
        ours, theirs = case.ours(beta, *graphs), case.theirs(*fsts)
        np.testing.assert_allclose(series(ours, beta), series(from_openfst(theirs), beta), atol=1e-4)
        if beta == math.inf and ours.structure.is_acyclic and is_acceptor(theirs) and ours.is_acceptor:
            both = to_openfst(without_infinite_arcs(ours), "standard"), theirs
            both = [pynini.determinize(pynini.rmepsilon(fst)) for fst in both]
            assert pynini.equivalent(*both, delta=1e-4)


# The energies of a complement are 0. The others round energies or residuals, by more than what finite
# differences take them apart: their derivatives are compared with the graph's own in their tests.
NOT_BY_DIFFERENCES = ("complement", "determinize", "disambiguate", "minimize", "decode what is determinized")


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith(NOT_BY_DIFFERENCES)])
def test_derivatives_of_operations_are_those_of_finite_differences(name: str) -> None:
    case, rng, tried = CASES[name], np.random.default_rng(3), 0
    while tried < 4:
        graphs = case.graphs(rng, tried % 2 == 1)
        whole = torch.cat([part for g in graphs for part in (g.energies, g.initial, g.final)])
        finite = whole.isfinite().nonzero()[:, 0]
        total = partial(total_of, case, graphs, whole, finite)
        if float(total(whole[finite])) < math.inf:
            assert torch.autograd.gradcheck(total, whole[finite].requires_grad_(), fast_mode=True)
            assert torch.autograd.gradgradcheck(total, whole[finite].requires_grad_(), fast_mode=True)
            tried += 1


def total_of(
    case: Case, graphs: Sequence[Graph], whole: torch.Tensor, finite: torch.Tensor, given: torch.Tensor
) -> torch.Tensor:
    """The sum over the paths of what the operation makes of the graphs at other finite energies."""
    sizes = [size for graph in graphs for size in (graph.arcs, graph.states, graph.states)]
    parts = whole.index_copy(0, finite, given).split(sizes)
    moved = [graph.with_energies(*parts[3 * k : 3 * k + 3]) for k, graph in enumerate(graphs)]
    return sum_over_paths(case.ours(1.0, *moved))


def graphs_and_fsts(cyclic: bool, arc_type: str) -> Iterator[tuple[Graph, pynini.Fst]]:
    rng = np.random.default_rng(2 + cyclic)
    for _ in range(GRAPHS):
        graph = random_graph(rng, cyclic)
        yield graph, to_openfst(without_infinite_arcs(graph), arc_type)


def distances(fst: pynini.Fst, reverse: bool = False) -> np.ndarray:
    """OpenFst's shortest distances, +inf for the states behind those that it reaches, too."""
    found = [float(d) for d in pynini.shortestdistance(fst, reverse=reverse, delta=1e-12)]
    return np.array(found + [math.inf] * (fst.num_states() - len(found)))


@BOTH
@pytest.mark.parametrize("beta", ARC_TYPES)
def test_distances_of_all_pairs_are_openfsts(beta: float, cyclic: bool) -> None:
    for graph, fst in graphs_and_fsts(cyclic, ARC_TYPES[beta]):
        theirs = [distances(fst.set_start(state))[: graph.states] for state in range(graph.states)]
        np.testing.assert_allclose(all_pairs_distance(graph, beta).numpy(), theirs, atol=1e-4)


@BOTH
def test_best_paths_are_openfsts(cyclic: bool) -> None:
    for graph in (quarters(graph) for graph, _ in graphs_and_fsts(cyclic, "standard")):
        fst = to_openfst(without_infinite_arcs(graph), "standard")
        ours = [(path.energy.item(), path.input_labels, path.output_labels) for path in best_paths(graph, 7)]
        theirs = list(strings_of_openfst(pynini.shortestpath(fst, nshortest=7)))
        assert [energy for energy, *_ in ours] == sorted(energy for energy, *_ in theirs)
        # Of several that are as good as the last, either may have found others.
        last = max((energy for energy, *_ in theirs), default=0.0) if len(theirs) == 7 else math.inf
        better = [sorted(path for path in paths if path[0] < last) for paths in (ours, theirs)]
        assert better[0] == better[1]


def strings_of_openfst(fst: pynini.Fst) -> Iterator[tuple[float, list[int], list[int]]]:
    paths = fst.paths()
    while not paths.done():
        read, written = ([k + EPSILON for k in side() if k] for side in (paths.ilabels, paths.olabels))
        yield float(paths.weight()), read, written
        paths.next()


@BOTH
def test_random_paths_are_openfsts_as_often_as_its_distances_say(cyclic: bool) -> None:
    count, generator = 200, torch.Generator().manual_seed(0)
    for graph, _ in graphs_and_fsts(cyclic, "log64"):
        whole = ops.connect(graph)
        if not whole.states:
            assert random_paths(graph, count, generator=generator) == []
            continue
        fst = to_openfst(whole)
        forward, backward = distances(fst), distances(fst, reverse=True)
        # Arcs leave a state in the order of the graph's.
        weights = np.empty(whole.arcs)
        weights[whole.structure.out_index.arcs] = [
            float(arc.weight) for state in range(whole.states) for arc in fst.arcs(state)
        ]
        paths = random_paths(whole, count, generator=generator)
        uses = np.array([np.bincount(path.arcs, minlength=whole.arcs) for path in paths])
        wanted = np.exp(backward[fst.start()] - forward[whole.source] - weights - backward[whole.destination])
        # Six standard deviations, and a few paths for what is hardly ever drawn.
        error = 6.0 * np.sqrt(np.maximum(uses.var(0), wanted) / count) + 3.0 / count
        np.testing.assert_array_less(abs(uses.mean(0) - wanted), error)
        starts = {arc.nextstate: float(arc.weight) for arc in fst.arcs(whole.states)}
        for path in paths[:5]:
            assert (whole.destination[path.arcs[:-1]] == whole.source[path.arcs[1:]]).all()
            ends = (
                [(whole.source[path.arcs[0]], whole.destination[path.arcs[-1]])]
                if len(path.arcs)
                else [(state, state) for state in starts]
            )
            along = weights[path.arcs].sum()
            energies = [starts[int(p)] + along + float(fst.final(int(q))) for p, q in ends]
            assert np.isclose(energies, path.energy.item(), atol=1e-4).any()


def test_the_graphs_are_of_all_kinds() -> None:
    kinds: Counter[str] = Counter()
    for graph in (graph for cyclic in (False, True) for graph, _ in graphs_and_fsts(cyclic, "standard")):
        whole = ops.connect(graph)
        silent = (whole.input_labels == EPSILON) & (whole.output_labels == EPSILON)
        kinds["several initial states"] += int(whole.initial.isfinite().sum()) > 1
        kinds["no path"] += whole.states == 0
        kinds["dead states"] += 0 < whole.states < graph.states
        kinds["energies of +inf"] += bool(graph.energies.isinf().any())
        kinds["epsilons"] += bool(silent.any())
        kinds["cycles"] += not whole.structure.is_acyclic
        kinds["cycles of epsilons"] += not with_arcs(whole, silent).structure.is_acyclic
    assert {kind: count for kind, count in kinds.items() if count < 20} == {}
    assert len(kinds) == 7
