import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import (
    CycleError,
    Graph,
    GraphError,
    Structure,
    closure,
    compose,
    concat,
    connect,
    free_energy,
    minimum_energy,
    posteriors,
    union,
)
from gtn_ebm.kernels import lattice
from tests.enumeration import ENERGIES, FINITE_ENERGIES, graphs, log_sum, probabilities, requiring_grad, walks

BETAS = st.sampled_from([0.25, 1.0, 3.0])
PART_NAMES = ("energies", "initial", "final")


@settings(max_examples=300, deadline=None)
@given(graphs(), BETAS)
def test_free_energy_is_the_sum_over_all_paths(graph, beta):
    assert float(free_energy(graph, beta)) == pytest.approx(log_sum(walks(graph), beta), rel=1e-12, abs=1e-12)


@settings(max_examples=300, deadline=None)
@given(graphs(), BETAS)
def test_posteriors_and_gradients_are_the_paths_probabilities(graph, beta):
    expected = probabilities(graph, walks(graph), beta)
    found = posteriors(graph, beta)
    parts = requiring_grad(graph)
    free_energy(graph.with_energies(*parts), beta).backward()
    for probability, posterior, part in zip(expected, found, parts, strict=True):
        np.testing.assert_allclose(posterior.numpy(), probability, atol=1e-12)
        np.testing.assert_allclose(part.grad.numpy(), probability, atol=1e-12)
        assert bool(((posterior >= 0) & (posterior <= 1)).all())
        assert not posterior[part.isinf()].any()


@settings(max_examples=40, deadline=None)
@given(graphs(energies=st.one_of(FINITE_ENERGIES, st.just(math.inf))), BETAS)
def test_first_and_second_derivatives(graph, beta):
    if not walks(graph):
        return
    parts = [getattr(graph, name) for name in PART_NAMES]
    finite = [part.isfinite() for part in parts]

    # What is +inf has no numerical derivative; it is held.
    def held(*given_parts):
        return graph.with_energies(
            *(torch.where(f, p, torch.inf) for f, p in zip(finite, given_parts, strict=True))
        )

    free = [torch.where(f, p, 0.0).requires_grad_() for f, p in zip(finite, parts, strict=True)]
    assert torch.autograd.gradcheck(lambda *p: free_energy(held(*p), beta), free)
    assert torch.autograd.gradgradcheck(lambda *p: free_energy(held(*p), beta), free)
    assert torch.autograd.gradcheck(lambda *p: posteriors(held(*p), beta), free)


@settings(max_examples=20, deadline=None)
@given(graphs(energies=FINITE_ENERGIES, most_arcs=5), graphs(energies=FINITE_ENERGIES, most_arcs=5))
def test_derivatives_through_union_and_concat(first, second):
    def total(one, two):
        moved = first.with_energies(one), second.with_energies(two)
        return free_energy(union(*moved)), free_energy(concat(*moved))

    given_parts = [graph.energies.clone().requires_grad_() for graph in (first, second)]
    if all(value.isfinite() for value in total(*given_parts)):
        assert torch.autograd.gradcheck(total, given_parts)
        assert torch.autograd.gradgradcheck(total, given_parts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_answers_come_in_the_dtype_of_the_energies(dtype):
    graph = Graph(Structure([0, 0, 1], [1, 2, 2], [0, 1, 2]), torch.tensor([0.5, 2.0, 1.0], dtype=dtype))
    energies = graph.energies.clone().requires_grad_()
    free = free_energy(graph.with_energies(energies))
    free.backward()
    wanted = log_sum(walks(graph), 1.0)
    assert free.dtype == energies.grad.dtype == posteriors(graph).arcs.dtype == dtype
    assert free == torch.tensor(wanted).to(dtype)
    exact = torch.from_numpy(probabilities(graph, walks(graph), 1.0)[0])
    assert torch.equal(energies.grad, exact.to(dtype))


@settings(max_examples=50, deadline=None)
@given(st.lists(graphs(), max_size=5), BETAS)
def test_a_list_is_its_graphs_one_by_one(some, beta):
    together = free_energy(some, beta)
    assert together.shape == (len(some),)
    for graph, free, found in zip(some, together, posteriors(some, beta), strict=True):
        assert torch.equal(free, free_energy(graph, beta))
        assert all(map(torch.equal, found, posteriors(graph, beta)))


def test_each_of_a_list_gets_its_own_gradient():
    graph = Graph.linear([0, 1])
    one, two = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    free = free_energy([graph.with_energies(one), graph.with_energies(two)])
    (free * torch.tensor([2.0, -3.0])).sum().backward()
    assert one.grad.tolist() == [2.0, 2.0]
    assert two.grad.tolist() == [-3.0, -3.0]


def test_initial_and_final_energies_may_be_one_tensor():
    structure = Structure([0, 0], [1, 1], [0, 1])
    ends = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    energies = torch.tensor([0.0, 1.0], dtype=torch.float64)
    graph = Graph(structure, energies, ends, ends)
    free_energy(graph).backward()
    found = probabilities(graph, walks(graph), 1.0)
    np.testing.assert_allclose(ends.grad.numpy(), found[1] + found[2])


def test_no_path_is_inf_without_a_gradient():
    structure = Structure([0, 1], [1, 2], [0, 1])
    for energies in ([1.0, math.inf], [math.inf, math.inf]):
        part = torch.tensor(energies, requires_grad=True)
        for value in (free_energy(Graph(structure, part)), minimum_energy(Graph(structure, part))):
            assert value == math.inf
            part.grad = None
            value.backward()
            assert part.grad.tolist() == [0.0, 0.0]


def test_what_needs_no_gradient_is_not_swept_twice(monkeypatch):
    monkeypatch.setattr(lattice, "backward", None)
    graph = Graph.linear([0, 1])
    assert free_energy(graph) == 0.0
    with torch.no_grad():
        assert free_energy(graph.with_energies(torch.zeros(2, requires_grad=True))) == 0.0


def test_an_infinite_beta_is_the_minimum():
    graph = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([3.0, 1.0]))
    assert free_energy(graph, math.inf) == 1.0
    assert free_energy(graph, 1e6) == pytest.approx(1.0)
    with pytest.raises(GraphError, match="best_path"):
        posteriors(graph, math.inf)


def test_the_empty_path():
    graph = Graph(Structure([], [], [], states=1), initial=torch.tensor([2.0]), final=torch.tensor([3.0]))
    assert free_energy(graph) == 5.0
    assert posteriors(graph).final.tolist() == [1.0]
    assert free_energy(Graph(Structure([], [], [], states=0))) == math.inf


def test_a_self_loop_is_taken_any_number_of_times():
    graph = Graph(Structure([0, 0], [0, 1], [0, 1]), torch.tensor([1.0, 0.0], dtype=torch.float64))
    assert float(free_energy(graph)) == pytest.approx(math.log(1 - math.exp(-1)), rel=1e-14)
    found = posteriors(graph)
    np.testing.assert_allclose(found.arcs.numpy(), [1 / (math.e - 1), 1.0], rtol=1e-14)
    assert found.final.tolist() == pytest.approx([0.0, 1.0])


@settings(max_examples=100, deadline=None)
@given(graphs(acyclic=False, energies=st.one_of(st.floats(2.5, 5.0), st.just(math.inf)), most_arcs=4), BETAS)
def test_cycles_are_the_limit_of_long_unrollings(graph, beta):
    if beta < 1.0 and graph.arcs > 2:  # more arcs of so little energy may diverge
        return
    found = walks(graph, most_arcs=7)
    longer = walks(graph, most_arcs=8)
    free = float(free_energy(graph, beta))
    # What is left out lowers the sum by no more than a geometric series of what one more arc added.
    few, more = (log_sum(some, beta) for some in (found, longer))
    assert free <= more + 1e-12
    if few < math.inf:
        assert more - free <= 10 * (few - more) + 2e-3
    else:
        assert (free < math.inf) == (more < math.inf)


@settings(max_examples=30, deadline=None)
@given(graphs(acyclic=False, energies=st.floats(2.0, 4.0), most_states=4, most_arcs=6))
def test_derivatives_on_cycles(graph):
    parts = [getattr(graph, name) for name in PART_NAMES]
    finite = [part.isfinite() for part in parts]

    def held(*given_parts):
        return graph.with_energies(
            *(torch.where(f, p, torch.inf) for f, p in zip(finite, given_parts, strict=True))
        )

    free = [torch.where(f, p, 0.0).requires_grad_() for f, p in zip(finite, parts, strict=True)]
    if free_energy(held(*free)) < math.inf:
        assert torch.autograd.gradcheck(lambda *p: free_energy(held(*p)), free)
        assert torch.autograd.gradgradcheck(lambda *p: free_energy(held(*p)), free)
        assert torch.autograd.gradcheck(lambda *p: posteriors(held(*p)), free)


def test_a_list_may_mix_graphs_with_and_without_cycles():
    loop = Graph(Structure([0, 0], [0, 1], [0, 1]), torch.tensor([1.0, 0.0]))
    some = [Graph.linear([0]), loop, Graph.linear([0, 1]), loop]
    assert free_energy(some).tolist() == [float(free_energy(graph)) for graph in some]
    for graph, found in zip(some, posteriors(some), strict=True):
        assert all(map(torch.equal, found, posteriors(graph)))


def test_cycles_on_no_path_do_not_count():
    # State 2 is a dead end, state 3 is not reached; both have loops that would diverge.
    structure = Structure([0, 0, 2, 3, 3], [1, 2, 2, 3, 1], [0] * 5)
    energies = torch.tensor([0.5, 0.0, -3.0, -3.0, 0.0], requires_grad=True)
    graph = Graph(structure, energies, initial=[0], final=[1])
    assert free_energy(graph) == 0.5
    assert posteriors(graph).arcs.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_posteriors_on_cycles_in_inference_mode():
    structure = Structure([0, 0], [0, 1], [0, 1])
    expected = posteriors(Graph(structure, torch.tensor([1.0, 0.0])))
    leaf = torch.tensor([1.0, 0.0], requires_grad=True)
    with torch.inference_mode():
        for energies in (torch.tensor([1.0, 0.0]), leaf):
            for one, other in zip(posteriors(Graph(structure, energies)), expected, strict=True):
                torch.testing.assert_close(one, other)


def test_sums_that_diverge_are_refused_with_a_state_and_the_energy():
    # 0 → 1 → 2 ⇄ 3 → 4: states 2 and 3 lie on the cycle, 4 only behind it.
    graph = Graph(Structure([0, 1, 2, 3, 3], [1, 2, 3, 2, 4], [0] * 5))
    for act in (free_energy, posteriors):
        with pytest.raises(CycleError, match=r"cycles through state [23] add up to an energy of 0,"):
            act(graph)
    with pytest.raises(CycleError, match=r"state 0 add up to an energy of -0\.25,"):
        free_energy(Graph(Structure([0], [0], [0]), torch.tensor([-0.25])))
    with pytest.raises(CycleError):
        free_energy(closure(Graph.linear([0])))


@pytest.mark.parametrize("value", [math.nan, -math.inf])
@pytest.mark.parametrize("part", PART_NAMES)
def test_unusable_energies_are_named(value, part):
    graph = Graph.linear([0, 1, 2])
    parts = {name: getattr(graph, name).clone() for name in PART_NAMES}
    parts[part][2] = value
    for act in (free_energy, posteriors, minimum_energy):
        with pytest.raises(GraphError, match="energy 2 of"):
            act(graph.with_energies(**parts))


@pytest.mark.parametrize("value", [math.nan, -math.inf])
@pytest.mark.parametrize("part", PART_NAMES)
def test_no_operation_drops_an_unusable_energy(value, part):
    graph = Graph.linear([0, 1, 2])
    parts = {name: getattr(graph, name).clone() for name in PART_NAMES}
    parts[part][{"energies": 1, "initial": 0, "final": 3}[part]] = value
    bad = graph.with_energies(**parts)
    for result in (connect(bad), compose(bad, graph), compose(graph, bad), concat(graph, bad, graph)):
        with pytest.raises(GraphError, match=r"energy \d+ of"):
            free_energy(result)


def test_energies_too_large_to_add_are_named():
    graph = Graph.linear([0, 1]).with_energies(torch.tensor([0.0, 1e30]))
    with pytest.raises(GraphError, match="energy 1 of 2"):
        free_energy(graph)


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan])
def test_beta_must_be_positive(beta):
    for act in (free_energy, posteriors):
        with pytest.raises(GraphError, match="β must be positive"):
            act(Graph.linear([0]), beta)


def test_a_list_of_mixed_dtypes_is_refused():
    graph = Graph.linear([0])
    for act in (free_energy, minimum_energy, posteriors):
        with pytest.raises(GraphError, match=r"graph 1 has energies in torch\.float64"):
            act([graph, graph.to(torch.float64)])


def ladder(steps: int, width: int, generator: np.random.Generator) -> Structure:
    """``steps`` states in a row with ``width`` arcs from each to the next."""
    source = np.repeat(np.arange(steps), width)
    return Structure(source, source + 1, generator.integers(0, 50, len(source)))


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("spread", [1.0, 60.0])
def test_a_million_float32_arcs_and_100_000_steps_lose_nothing(shuffled, spread):
    rng = np.random.default_rng(0)
    steps, width = 100_000, 10
    structure = ladder(steps, width, rng)
    energies = (rng.standard_normal((steps, width)) * spread).astype(np.float32)
    # In closed form, a step at a time, in extended precision.
    exact = energies.astype(np.longdouble)
    least = exact.min(1, keepdims=True)
    weights = np.exp(least - exact)
    of_step = weights.sum(1, keepdims=True)
    total = (least[:, 0] - np.log(of_step[:, 0])).sum()
    expected = (weights / of_step).astype(np.float64).ravel()

    places = rng.permutation(structure.arcs) if shuffled else np.arange(structure.arcs)
    structure = Structure(
        structure.source[places], structure.destination[places], structure.input_labels[places]
    )
    part = torch.from_numpy(energies.ravel()[places]).requires_grad_()
    free = free_energy(Graph(structure, part))
    free.backward()
    assert float(free.detach()) == np.float32(total)
    posterior = part.grad.numpy()
    assert posterior.min() >= 0.0
    assert posterior.max() <= 1.0
    np.testing.assert_allclose(posterior, expected[places], atol=1e-7)


def test_long_ways_round_against_extended_precision():
    # States may be skipped, so that no closed form exists; the reference is a log-domain recursion in long
    # double.
    rng = np.random.default_rng(1)
    states, skips = 3000, 4
    source = np.repeat(np.arange(states), skips)
    destination = np.minimum(source + rng.integers(1, 9, len(source)), states)
    energies = (rng.standard_normal(len(source)) * 20 + 5).astype(np.float32)
    graph = Graph(Structure(source, destination, np.zeros(len(source), int)), torch.from_numpy(energies))
    forward = np.full(states + 1, -np.inf, np.longdouble)
    backward = forward.copy()
    forward[0] = backward[-1] = 0.0
    for arc in range(len(source)):
        way = forward[source[arc]] - np.longdouble(energies[arc])
        forward[destination[arc]] = np.logaddexp(forward[destination[arc]], way)
    for arc in reversed(range(len(source))):
        way = backward[destination[arc]] - np.longdouble(energies[arc])
        backward[source[arc]] = np.logaddexp(backward[source[arc]], way)
    expected = np.exp(forward[source] - energies + backward[destination] - forward[-1]).astype(np.float64)
    assert float(free_energy(graph)) == np.float32(-forward[-1])
    np.testing.assert_allclose(posteriors(graph).arcs.numpy(), expected, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    graphs(energies=st.one_of(ENERGIES, st.sampled_from([1e4, -1e4, 1e8, -1e8, 90.0, -90.0, 180.0, -700.0])))
)
def test_energies_of_all_sizes(graph):
    found = walks(graph)
    assert float(free_energy(graph)) == pytest.approx(log_sum(found, 1.0), rel=1e-12, abs=1e-9)
    for posterior, probability in zip(posteriors(graph), probabilities(graph, found, 1.0), strict=True):
        np.testing.assert_allclose(posterior.numpy(), probability, atol=1e-6)
