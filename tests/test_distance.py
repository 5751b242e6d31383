import math

import numpy as np
import pynini
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.openfst import to_openfst
from gtn_ebm import EPSILON, CycleError, Graph, GraphError, Structure, Symbols
from gtn_ebm.distance import Divergence, all_pairs_distance, shortest_distance, sum_over_paths
from gtn_ebm.kernels import distance as kernels
from tests.enumeration import FINITE_ENERGIES, graphs, log_sum, requiring_grad, walks

BETAS = st.sampled_from([0.5, 1.0, 3.0, math.inf])
LOOPED = st.one_of(st.floats(2.5, 5.0), st.just(math.inf))
"""Energies at which no eight arcs diverge."""


def between(graph: Graph, first: int | None, last: int | None) -> Graph:
    """The graph whose paths begin and end in these states at no energy, or wherever they did."""

    def only(state: int | None, given: torch.Tensor) -> torch.Tensor:
        if state is None:
            return given
        energies = torch.full_like(given, math.inf)
        energies[state] = 0.0
        return energies

    return graph.with_energies(graph.energies, only(first, graph.initial), only(last, graph.final))


def summed(graph: Graph, beta: float) -> float:
    found = walks(graph)
    return log_sum(found, beta) if beta < math.inf else min((w.energy for w in found), default=math.inf)


@settings(max_examples=150, deadline=None)
@given(graphs(), BETAS)
def test_acyclic_distances_are_sums_over_paths(graph, beta):
    states = range(graph.states)
    from_start = [summed(between(graph, None, state), beta) for state in states]
    to_end = [summed(between(graph, state, None), beta) for state in states]
    pairs = [[summed(between(graph, p, q), beta) for q in states] for p in states]
    close = {"rtol": 1e-12, "atol": 1e-11}
    np.testing.assert_allclose(shortest_distance(graph, beta).numpy(), from_start, **close)
    np.testing.assert_allclose(shortest_distance(graph, beta, "to").numpy(), to_end, **close)
    np.testing.assert_allclose(all_pairs_distance(graph, beta).numpy().reshape(-1), np.ravel(pairs), **close)


def inverse(graph: Graph) -> np.ndarray:
    """(I − W)⁻¹, which is Σ Wⁿ."""
    matrix = np.zeros((graph.states, graph.states))
    np.add.at(matrix, (graph.source, graph.destination), np.exp(-graph.energies.numpy()))
    assert np.abs(np.linalg.eigvals(matrix)).max(initial=0.0) < 1.0
    return np.linalg.inv(np.eye(graph.states) - matrix)


@settings(max_examples=150, deadline=None)
@given(graphs(acyclic=False, energies=LOOPED))
def test_cycles_are_summed_in_closed_form(graph):
    star = inverse(graph)
    first, last = np.exp(-graph.initial.numpy()), np.exp(-graph.final.numpy())
    close = {"rtol": 1e-10, "atol": 1e-14}
    np.testing.assert_allclose(np.exp(-shortest_distance(graph).numpy()), first @ star, **close)
    np.testing.assert_allclose(np.exp(-shortest_distance(graph, 1.0, "to").numpy()), star @ last, **close)
    np.testing.assert_allclose(np.exp(-all_pairs_distance(graph).numpy()), star, **close)


@settings(max_examples=200, deadline=None)
@given(graphs(acyclic=False, energies=LOOPED), st.sampled_from(["log64", "standard"]))
def test_distances_are_those_of_openfst(graph, arc_type):
    beta = math.inf if arc_type == "standard" else 1.0
    if not (graph.initial < math.inf).any():
        return
    fst = to_openfst(graph, arc_type)
    for direction, reverse in (("from", False), ("to", True)):
        theirs = [float(d) for d in pynini.shortestdistance(fst, reverse=reverse, delta=1e-10)]
        theirs += [math.inf] * (graph.states - len(theirs))
        ours = shortest_distance(graph, beta, direction).numpy()
        np.testing.assert_allclose(ours, theirs[: graph.states], atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(graphs(acyclic=False, energies=st.floats(-1.0, 4.0)))
def test_least_distances_are_those_of_floyd_and_warshall(graph):
    least = np.full((graph.states, graph.states), np.inf)
    np.fill_diagonal(least, 0.0)
    np.minimum.at(least, (graph.source, graph.destination), graph.energies.numpy())
    for k in range(graph.states):
        least = np.minimum(least, least[:, k : k + 1] + least[k : k + 1])
    if (np.diag(least) < 0.0).any():
        with pytest.raises(CycleError, match="energy of -"):
            all_pairs_distance(graph, math.inf)
        return
    np.testing.assert_allclose(all_pairs_distance(graph, math.inf).numpy(), least, atol=1e-12)
    from_start = (graph.initial.numpy()[:, None] + least).min(0, initial=np.inf)
    np.testing.assert_allclose(shortest_distance(graph, math.inf).numpy(), from_start, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    graphs(acyclic=False, energies=st.floats(2.0, 4.0), most_states=4, most_arcs=6),
    st.sampled_from([1.0, math.inf]),
    st.sampled_from(["from", "to"]),
)
def test_first_and_second_derivatives(graph, beta, direction):
    parts = requiring_grad(graph)
    held = [part.isfinite() for part in parts]
    # No two paths of equal energy, between which the least has a kink.
    noise = torch.Generator().manual_seed(0)
    parts = [
        (torch.where(h, p, 3.0).detach() + 0.1 * torch.rand(len(p), generator=noise)).requires_grad_()
        for h, p in zip(held, parts, strict=True)
    ]

    def distances(*given_parts):
        moved = [torch.where(h, p, math.inf) for h, p in zip(held, given_parts, strict=True)]
        found = shortest_distance(graph.with_energies(*moved), beta, direction)
        return found[found < math.inf]

    def pairs(energies):
        found = all_pairs_distance(graph.with_energies(energies), beta)
        return found[found < math.inf]

    if graph.states:
        assert torch.autograd.gradcheck(distances, parts)
        assert torch.autograd.gradgradcheck(distances, parts)
    if graph.arcs:
        assert torch.autograd.gradcheck(pairs, parts[:1])
        assert torch.autograd.gradgradcheck(pairs, parts[:1])


def test_a_self_loop_is_taken_any_number_of_times():
    graph = Graph(Structure([0, 0], [0, 1], [0, 1]), torch.tensor([1.0, 0.0], dtype=torch.float64))
    assert shortest_distance(graph).tolist() == pytest.approx([math.log(1 - math.exp(-1))] * 2, rel=1e-14)


@pytest.mark.parametrize("size", [500.0, -500.0, 3e4])
def test_large_energies_neither_underflow_nor_overflow(size):
    # Round 0 → 1 → 2 → 0 the energies cancel but for 1.
    structure = Structure([0, 1, 2, 2], [1, 2, 0, 3], [0] * 4)
    graph = Graph(structure, torch.tensor([size, size, 1.0 - 2 * size, size], dtype=torch.float64))
    round_and_round = math.log(1 - math.exp(-1))
    expected = np.array([0.0, size, 2 * size, 3 * size])
    for found in (shortest_distance(graph), all_pairs_distance(graph)[0]):
        np.testing.assert_allclose(found.numpy(), expected + round_and_round, rtol=1e-15 * (1e3 + abs(size)))
    np.testing.assert_allclose(shortest_distance(graph, math.inf).numpy(), expected)


def test_a_cycle_of_no_energy_is_fine_where_the_least_is_asked():
    energies = torch.tensor([0.1, 0.2, -0.1 - 0.2 - 1e-17, 1.0], dtype=torch.float64)
    graph = Graph(Structure([0, 1, 2, 2], [1, 2, 0, 3], [0] * 4), energies)
    assert shortest_distance(graph, math.inf).tolist() == pytest.approx([0.0, 0.1, 0.3, 1.3])


def test_what_diverges_is_named():
    ring = Graph(Structure([0, 1, 2, 1], [1, 2, 1, 3], [0] * 4), torch.tensor([5.0, 1.0, -3.0, 0.0]))
    for beta in (1.0, math.inf):
        for act in (shortest_distance, all_pairs_distance):
            named = r"state [12] (add up to an|has a negative) energy of -2\b.*(1 → 2 → 1|2 → 1 → 2)[,;]"
            with pytest.raises(CycleError, match=named):
                act(ring, beta)
    # Each of the two loops alone would not.
    two = Graph(Structure([0, 0], [0, 0], [0, 1]), torch.tensor([0.5, 0.5]))
    with pytest.raises(CycleError, match=r"state 0 add up to an energy of -0\.193147,"):
        shortest_distance(two)
    assert shortest_distance(two, math.inf).tolist() == [0.0]


def test_a_cycle_is_named_by_its_symbols_and_shortened_where_it_is_long():
    structure = Structure([0, 1, 2, 1], [1, 2, 1, 3], [0, 1, 2, 1], [0, EPSILON, 2, 1])
    ring = Graph(structure, torch.tensor([5.0, 1.0, -3.0, 0.0]))
    ring = ring.with_symbols(Symbols("abc"), Symbols("xy"))
    for act in (shortest_distance, all_pairs_distance, sum_over_paths):
        for beta in (1.0, math.inf):
            with pytest.raises(CycleError, match=r"1 –b:ε→ 2 –c:2→ 1|2 –c:2→ 1 –b:ε→ 2"):
                act(ring, beta)
    long = Graph(Structure(range(30), np.roll(range(30), -1), [0] * 30))
    with pytest.raises(CycleError, match=r"→ 5 → 6 … 18 more … → 25 → 26 .*, of energy 0;"):
        shortest_distance(long)


def test_what_is_named_is_a_cycle_of_the_energy_that_is_said():
    rng, named = np.random.default_rng(0), 0
    for k in range(200):
        states, arcs = int(rng.integers(1, 6)), int(rng.integers(1, 12))
        structure = Structure(*rng.integers(0, states, (2, arcs)), [0] * arcs, states=states)
        energies = np.where(rng.random(arcs) < 0.1, np.inf, rng.uniform(-0.5, 2.0, arcs))
        graph = Graph(structure, torch.from_numpy(energies))
        error = divergence(graph, (1.0, math.inf)[k % 2], ("from", "to")[k // 2 % 2])
        if error is None:
            continue
        named += 1
        ends = [(int(graph.source[arc]), int(graph.destination[arc])) for arc in error.arcs]
        assert all(ends[step][0] == ends[step - 1][1] for step in range(len(ends)))
        assert len({state for state, _ in ends}) == len(ends)
        total = math.fsum(energies[error.arcs])
        assert f"energy of {total:.6g}:" in str(error) or f"of energy {total:.6g};" in str(error)
        assert total < 0.0 or "add up to" in str(error)
    assert named > 50


def divergence(graph: Graph, beta: float, direction: str) -> Divergence | None:
    try:
        shortest_distance(graph, beta, direction)
    except Divergence as error:
        return error
    return None


def test_only_what_is_reached_can_diverge():
    graph = Graph(Structure([0, 2], [1, 2], [0, 0]), torch.tensor([1.0, -1.0]))
    assert shortest_distance(graph).tolist() == [0.0, 1.0, math.inf]


def sparse(states: int, low: float, seed: int = 0) -> Graph:
    """A random graph of five arcs a state, whose sum diverges for ``low`` below about 1.16."""
    rng = np.random.default_rng(seed)
    source = np.repeat(np.arange(states), 5)
    structure = Structure(
        source, rng.integers(0, states, len(source)), np.zeros(len(source), int), None, states
    )
    return Graph(structure, torch.from_numpy(rng.uniform(low, low + 1.0, len(source))))


@pytest.mark.parametrize("low", [2.0, 1.2, 1.158])
def test_large_components_are_solved_as_small_ones(low, monkeypatch):
    graph = sparse(1000, low)
    assert graph.states > kernels.LARGEST_DENSE
    parts = requiring_grad(graph)
    distance = shortest_distance(graph.with_energies(*parts))
    reached = distance < math.inf
    exact = inverse(graph)
    np.testing.assert_allclose(np.exp(-distance.detach().numpy()), exact[0], rtol=1e-10)
    # d Σ_v d_v / d e_a = Σ_v α_u w_a S_qv / α_v
    distance[reached].sum().backward()
    alpha = exact[0]
    uses = (exact[:, reached.numpy()] / alpha[reached.numpy()]).sum(1)
    expected = alpha[graph.source] * np.exp(-graph.energies.numpy()) * uses[graph.destination]
    np.testing.assert_allclose(parts[0].grad.numpy(), expected, rtol=1e-8, atol=1e-10)


def test_large_components_that_diverge_are_named():
    with pytest.raises(CycleError, match=r"state \d+ add up to an energy of -\d"):
        shortest_distance(sparse(1000, 1.0))


@pytest.mark.parametrize("excess", [1e-2, 1e-5])
def test_a_long_walk_to_and_fro(excess):
    # Steps up and down a ladder, whose sums span thousands of orders of magnitude and mix slowly.
    states = 5000
    source = np.r_[np.arange(states - 1), np.arange(1, states)]
    destination = np.r_[np.arange(1, states), np.arange(states - 1)]
    energies = torch.full((len(source),), math.log(2.0) + excess, dtype=torch.float64)
    graph = Graph(Structure(source, destination, np.zeros(len(source), int)), energies)
    # Far from both ends the sums fall by a constant factor r = w (1 + r²).
    w = 0.5 * math.exp(-excess)
    fall = -math.log((1 - math.sqrt(1 - 4 * w * w)) / (2 * w))
    steps = shortest_distance(graph)[2000:3000].diff()
    np.testing.assert_allclose(steps.numpy(), fall, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_answers_come_in_the_dtype_of_the_energies(dtype):
    graph = Graph.linear([0, 1], energies=torch.tensor([0.5, 2.0], dtype=dtype))
    assert shortest_distance(graph).dtype == all_pairs_distance(graph).dtype == dtype
    assert shortest_distance(graph).tolist() == [0.0, 0.5, 2.5]


def test_a_graph_without_states_or_arcs():
    assert shortest_distance(Graph(Structure([], [], [], states=0))).shape == (0,)
    assert all_pairs_distance(Graph(Structure([], [], [], states=0)), math.inf).shape == (0, 0)
    lone = torch.tensor([2.0, math.inf], requires_grad=True)
    for beta in (1.0, math.inf):
        found = shortest_distance(Graph(Structure([], [], [], states=2), initial=lone), beta)
        assert found.tolist() == [2.0, math.inf]
        found[0].backward()
    assert lone.grad.tolist() == [2.0, 0.0]


def test_bad_input_is_named():
    graph = Graph.linear([0, 1])
    for act in (shortest_distance, all_pairs_distance):
        for beta in (0.0, -1.0, math.nan):
            with pytest.raises(GraphError, match="β must be positive"):
                act(graph, beta)
        for beta in (1.0, math.inf):
            with pytest.raises(GraphError, match="energy 1 of 2"):
                act(graph.with_energies(torch.tensor([0.0, math.nan])), beta)
    with pytest.raises(GraphError, match="direction"):
        shortest_distance(graph, 1.0, "back")


@settings(max_examples=50, deadline=None)
@given(graphs(energies=FINITE_ENERGIES), BETAS)
def test_from_and_to_meet_in_the_total(graph, beta):
    forward, backward = shortest_distance(graph, beta), shortest_distance(graph, beta, "to")
    if beta == math.inf:
        totals = [
            (part + ends).min() if graph.states else math.inf
            for part, ends in ((forward, graph.final), (backward, graph.initial))
        ]
    else:
        totals = [
            -torch.logsumexp(-beta * (part + ends), 0) / beta
            for part, ends in ((forward, graph.final), (backward, graph.initial))
        ]
    assert float(totals[0]) == pytest.approx(float(totals[1]), abs=1e-11)


def test_a_gradient_that_is_nan_is_not_hidden():
    energies = torch.tensor([1.0], requires_grad=True)
    distance = all_pairs_distance(Graph(Structure([0], [1], [0]), energies))
    assert torch.autograd.grad(distance[0, 1] * math.nan, energies)[0].isnan().all()


def test_an_iteration_that_does_not_converge_is_an_error_of_its_own(monkeypatch):
    energies = torch.full((4,), 3.0, requires_grad=True)
    graph = Graph(Structure([0, 1, 2, 1], [1, 2, 1, 3], [0] * 4), energies)
    distance = shortest_distance(graph)
    # The kernels in plain Python, with an iteration that never comes nearer.
    for name in ("sums", "solve", "_sums_within", "_solve_within"):
        monkeypatch.setattr(kernels, name, getattr(kernels, name).py_func)
    monkeypatch.setattr(kernels, "LARGEST_DENSE", 1)
    monkeypatch.setattr(kernels, "_iterate", lambda *_: 1.0)
    for act in (lambda: shortest_distance(graph), lambda: torch.autograd.grad(distance[3], energies)):
        with pytest.raises(GraphError, match=r"component of 2 states, of which [12] is one, could not be"):
            act()
