import math
from dataclasses import replace
from itertools import takewhile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import CycleError, Graph, GraphError, Structure, Symbols
from gtn_ebm.distance import shortest_distance
from gtn_ebm.semiring import (
    Semiring,
    boolean,
    counting,
    expectation,
    gallic,
    k_best,
    log,
    max_times,
    real,
    string,
    tropical,
)
from tests.enumeration import graphs, log_sum, walks

NUMBERS = st.one_of(st.floats(-3.0, 3.0, allow_subnormal=False), st.just(math.inf))
LOOPED = st.one_of(st.floats(2.5, 5.0), st.just(math.inf))
CLOSE = {"rtol": 1e-9, "atol": 1e-9}

own_tropical = Semiring(
    lambda a, b: min(a, b), lambda a, b: a + b, zero=math.inf, one=0.0, lift=lambda energy: energy
)
own_real = Semiring(
    lambda a, b: a + b, lambda a, b: a * b, zero=0.0, one=1.0, lift=lambda energy: math.exp(-energy)
)
own_real_with_star = replace(own_real, star=lambda a: 1.0 / (1.0 - a) if a < 1.0 else math.nan)


def common_prefix(some: list[tuple[int, ...]]) -> list[int] | None:
    if not some:
        return None
    return [column[0] for column in takewhile(lambda column: len(set(column)) == 1, zip(*some, strict=False))]


def with_values(graph: Graph) -> Graph:
    return graph.with_attributes(value=torch.arange(graph.arcs, dtype=torch.float64) - 1.5)


@settings(max_examples=100, deadline=None)
@given(graphs(energies=NUMBERS))
def test_totals_are_those_of_all_paths_written_out(graph):
    graph = with_values(graph)
    found = walks(graph)
    energies = sorted(walk.energy for walk in found)
    weights = [math.exp(-energy) for energy in energies]
    values = [math.exp(-walk.energy) * sum(arc - 1.5 for arc in walk.arcs) for walk in found]
    for semiring, expected in (
        (tropical, min(energies, default=math.inf)),
        (own_tropical, min(energies, default=math.inf)),
        (log(2.0), log_sum(found, 2.0)),
        (real, math.fsum(weights)),
        (max_times, max(weights, default=0.0)),
        (boolean, float(bool(found))),
        (counting, float(len(found))),
        (expectation("value"), [math.fsum(weights), math.fsum(values)]),
        (k_best(3), [*energies, math.inf, math.inf, math.inf][:3]),
    ):
        np.testing.assert_allclose(semiring.total(graph).numpy(), expected, **CLOSE)
    prefix = common_prefix([walk.outputs for walk in found])
    assert string.total(graph) == prefix
    assert gallic(math.inf).total(graph) == (prefix, tropical.total(graph))


@settings(max_examples=100, deadline=None)
@given(graphs(acyclic=False, energies=LOOPED), st.sampled_from(["from", "to"]))
def test_cycles_in_closed_form_and_round_and_round_agree(graph, direction):
    """The star of Kleene's algorithm is the limit of Mohri's, and both are F_β's."""
    weights = torch.exp(-shortest_distance(graph, 1.0, direction)).numpy()
    np.testing.assert_allclose(real.shortest_distance(graph, direction).numpy(), weights, **CLOSE)
    for own in (own_real, own_real_with_star):
        np.testing.assert_allclose(own.shortest_distance(graph, direction).numpy(), weights, **CLOSE)
    least = shortest_distance(graph, math.inf, direction).numpy()
    np.testing.assert_allclose(own_tropical.shortest_distance(graph, direction).numpy(), least, **CLOSE)
    np.testing.assert_allclose(max_times.shortest_distance(graph, direction).numpy(), np.exp(-least), **CLOSE)
    is_reached = boolean.shortest_distance(graph, direction).numpy() > 0.0
    np.testing.assert_array_equal(is_reached, least < math.inf)


@settings(max_examples=60, deadline=None)
@given(graphs(acyclic=False, energies=st.floats(1.0, 4.0), most_states=3, most_arcs=3))
def test_the_k_best_of_cyclic_graphs(graph):
    # A path of more than nine arcs in three states has three cycles to leave out, each for a better path.
    energies = sorted(walk.energy for walk in walks(graph, most_arcs=9))
    np.testing.assert_allclose(
        k_best(3).total(graph).numpy(), [*energies, math.inf, math.inf, math.inf][:3], **CLOSE
    )


@settings(max_examples=200, deadline=None)
@given(graphs(acyclic=False, energies=LOOPED, most_states=4, most_arcs=5))
def test_expectations_on_cycles_are_derivatives(graph):
    graph = with_values(graph)
    total, weighted = expectation("value").total(graph).tolist()
    energies = graph.energies.clone().requires_grad_()
    free = log().total(graph.with_energies(energies))
    if free == math.inf:  # no path, as in most graphs so small
        assert total == weighted == 0.0
        return
    free.backward()
    uses = energies.grad.numpy()
    assert total == pytest.approx(math.exp(-float(free.detach())))
    assert weighted / total == pytest.approx(float(uses @ graph.attributes["value"].numpy()), abs=1e-9)


@pytest.mark.parametrize("direction", ["from", "to", None])
@pytest.mark.parametrize("semiring", [real, max_times, expectation("value")])
def test_first_and_second_derivatives(semiring, direction):
    rng = np.random.default_rng(0)
    for cyclic in (False, True) * 3:
        ends = np.sort(rng.integers(0, 4, (2, 7)), axis=0) if not cyclic else rng.integers(0, 4, (2, 7))
        ends = ends[:, ends[0] < ends[1]] if not cyclic else ends
        structure = Structure(*ends, [0] * ends.shape[1], states=4)
        sizes = structure.arcs, 4, 4, structure.arcs
        parts = [torch.from_numpy(rng.uniform(2.0, 3.0, size)).requires_grad_() for size in sizes]

        def sums(energies, initial, final, value, structure=structure):
            graph = Graph(structure, energies, initial, final, attributes={"value": value})
            return semiring.shortest_distance(graph, direction) if direction else semiring.total(graph)

        assert torch.autograd.gradcheck(sums, parts)
        assert torch.autograd.gradgradcheck(sums, parts)


def test_what_lies_on_no_path_does_not_count():
    # State 2 is a dead end, state 3 is not reached; both have loops that would diverge.
    structure = Structure([0, 0, 2, 3, 3], [1, 2, 2, 3, 1], [0] * 5)
    graph = Graph(structure, torch.tensor([0.5, 0.0, -3.0, -3.0, 0.0]), initial=[0], final=[1])
    for semiring in (log(), tropical, own_tropical, k_best(1)):
        assert semiring.total(graph).item() == 0.5
    for semiring in (real, max_times):
        assert semiring.total(graph).item() == pytest.approx(math.exp(-0.5))
    assert counting.total(graph) == 1.0


def test_no_path_is_inf_with_a_gradient_of_zero():
    energies = torch.tensor([0.5], requires_grad=True)
    for semiring in (log(), tropical):
        total = semiring.total(Graph(Structure([0], [1], [0]), energies, final=[]))
        assert total == math.inf
        assert torch.autograd.grad(total, energies)[0].tolist() == [0.0]


@settings(max_examples=60, deadline=None)
@given(graphs(acyclic=False, acceptor=False, most_states=3, most_arcs=4))
def test_common_prefixes_on_cycles(graph):
    assert string.total(graph) == common_prefix([walk.outputs for walk in walks(graph, most_arcs=9)])


def test_counts_on_cycles_are_infinite():
    graph = Graph(Structure([0, 0, 1, 2], [1, 2, 1, 3], [0] * 4), final=[1, 3])
    assert counting.shortest_distance(graph).tolist() == [1.0, math.inf, 1.0, 1.0]


def test_values_that_do_not_commute_stay_in_order():
    # Affine maps x ↦ m x + c under composition; alternatives are not met on a single path.
    maps = Semiring(
        lambda a, b: b if a[0] == 0.0 else a,
        lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1]),
        zero=(0.0, 0.0),
        one=(1.0, 0.0),
        lift=lambda energy, step: (energy + 1.0, step),
        attribute="step",
    )
    graph = Graph.linear([0, 1], energies=torch.tensor([1.0, 2.0], dtype=torch.float64))
    graph = graph.with_attributes(step=[5.0, 7.0])
    assert maps.total(graph).tolist() == [6.0, 22.0]  # x ↦ 2 x + 5 ↦ 3 (2 x + 5) + 7
    assert maps.shortest_distance(graph, "to")[0].tolist() == [6.0, 22.0]


def test_what_has_no_sum_is_named():
    graph = Graph(Structure([0, 1, 1], [1, 1, 2], [0, 0, 0]), torch.tensor([0.0, -1.0, 0.0]))
    for semiring in (real, own_real_with_star, own_tropical, k_best(3), expectation("value")):
        with pytest.raises(CycleError, match=r"state 1.* 1 → 1, of energy -1;"):
            semiring.total(with_values(graph))
    for semiring in (tropical, max_times):
        with pytest.raises(CycleError, match=r"state 1 has a negative energy of -1: 1 → 1;"):
            semiring.total(graph)
    with pytest.raises(CycleError, match="1 –a→ 1"):
        own_tropical.total(graph.with_symbols(Symbols("a")))


def test_bad_input_is_named():
    graph = Graph.linear([0, 1])
    with pytest.raises(GraphError, match="no arc attribute 'value'"):
        expectation("value").total(graph)
    with pytest.raises(GraphError, match="a number for each arc"):
        expectation("value").total(graph.with_attributes(value=["a", "b"]))
    with pytest.raises(GraphError, match="energy 1 of 2"):
        own_tropical.total(graph.with_energies(torch.tensor([0.0, math.nan])))
    with pytest.raises(GraphError, match="cannot be compiled"):
        Semiring(min, lambda a, b: a.nothing(b), math.inf, 0.0, lambda energy: energy).total(graph)
    with pytest.raises(GraphError, match="direction"):
        real.shortest_distance(graph, "back")
    with pytest.raises(GraphError, match="reverse the graph"):
        string.shortest_distance(graph, "from")
    with pytest.raises(GraphError, match="β must be positive"):
        gallic(-1.0)
    with pytest.raises(GraphError, match="k must be at least 1"):
        k_best(0)
