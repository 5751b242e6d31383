import math
import multiprocessing
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import EPSILON, Graph, GraphError, Structure, compose, dense, free_energy
from gtn_ebm import posteriors as graph_posteriors
from tests.enumeration import ENERGIES, FINITE_ENERGIES, graphs, log_sum, requiring_grad, walks

BETAS = st.sampled_from([0.5, 1.0, 3.0])
CLASSES = 2


def of_emissions(emissions: torch.Tensor) -> Graph:
    """The graph that reads any class at each of the frames [T, C]."""
    frames, classes = emissions.shape
    source = np.repeat(np.arange(frames), classes)
    labels = np.tile(np.arange(classes), frames)
    return Graph(Structure(source, source + 1, labels, states=frames + 1), emissions.reshape(-1))


@st.composite
def emissions(draw: st.DrawFn, energies=ENERGIES, most_frames: int = 4) -> torch.Tensor:
    frames = draw(st.integers(0, most_frames))
    row = st.lists(energies, min_size=CLASSES, max_size=CLASSES)
    rows = draw(st.lists(row, min_size=frames, max_size=frames))
    return torch.tensor(rows, dtype=torch.float64).reshape(1, frames, CLASSES)


@st.composite
def chains(draw: st.DrawFn, energies=ENERGIES, most_states: int = 5) -> Graph:
    """Left-to-right graphs of one label a state, arcs missing here and there."""
    states = draw(st.integers(1, most_states))
    pairs = [(s - k, s) for s in range(states) for k in range(3) if s >= k]
    arcs = [pair for pair in pairs if draw(st.integers(0, 3))]
    labels = [draw(st.integers(0, CLASSES - 1)) for _ in range(states)]
    ends = st.lists(st.one_of(st.just(math.inf), energies), min_size=states, max_size=states)
    of_arcs = st.lists(energies, min_size=len(arcs), max_size=len(arcs))
    source, destination = zip(*arcs, strict=True) if arcs else ((), ())
    structure = Structure(source, destination, [labels[s] for s in destination], states=states)
    parts = (torch.tensor(draw(values), dtype=torch.float64) for values in (of_arcs, ends, ends))
    return Graph(structure, *parts)


def cyclic(energies=FINITE_ENERGIES) -> st.SearchStrategy[Graph]:
    """Graphs with cycles that consume frames: epsilons only lead up."""
    return graphs(acyclic=False, energies=energies, most_states=4).filter(
        lambda graph: bool(((graph.input_labels != EPSILON) | (graph.source < graph.destination)).all())
    )


def composed(given: torch.Tensor, graph: Graph) -> Graph:
    return compose(of_emissions(given[0]), graph)


@settings(max_examples=250, deadline=None)
@given(emissions(), st.one_of(graphs(), chains(), cyclic()), BETAS)
def test_as_composed_explicitly(given_emissions, graph, beta):
    """Energies of all sizes, +inf, epsilons, any ends; with the graph's energies fixed and to be trained."""
    outcomes = []
    for trained in (False, True):
        parts = requiring_grad(graph) if trained else [graph.energies, graph.initial, graph.final]
        for explicit in (False, True):
            leaf = given_emissions.clone().requires_grad_()
            moved = graph.with_energies(*parts)
            if explicit:
                free = free_energy(composed(leaf, moved), beta)
            else:
                free = dense.free_energy(leaf, None, moved, beta)[0]
            wanted = [leaf, *parts] if trained else [leaf]
            found = torch.autograd.grad(free, wanted, allow_unused=True, materialize_grads=True)
            outcomes.append((free.detach(), found))
    for (free, found), (expected, wanted) in (outcomes[:2], outcomes[2:]):
        torch.testing.assert_close(free, expected, rtol=1e-12, atol=1e-9)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=0.0, atol=1e-7)


@settings(max_examples=200, deadline=None)
@given(emissions(most_frames=3), chains(most_states=4), BETAS)
def test_the_sum_over_enumerated_paths(given_emissions, graph, beta):
    expected = log_sum(walks(composed(given_emissions, graph)), beta)
    assert float(dense.free_energy(given_emissions, None, graph, beta)) == pytest.approx(
        expected, rel=1e-12, abs=1e-9
    )


@settings(max_examples=25, deadline=None)
@given(emissions(FINITE_ENERGIES, 3), st.one_of(chains(FINITE_ENERGIES, 3), cyclic()), BETAS)
def test_derivatives(given_emissions, graph, beta):
    if len(given_emissions[0]) == 0:
        return
    names = ("energies", "initial", "final")
    finite = [getattr(graph, name).isfinite() for name in names]

    def total(leaf, *parts):
        held = [torch.where(f, p, torch.inf) for f, p in zip(finite, parts, strict=True)]
        return dense.free_energy(leaf, None, graph.with_energies(*held), beta)

    parts = [
        torch.where(f, getattr(graph, name), 0.0).requires_grad_()
        for f, name in zip(finite, names, strict=True)
    ]
    leaves = [given_emissions.clone().requires_grad_(), *parts]
    if total(*leaves).isfinite().all():
        assert torch.autograd.gradcheck(total, leaves)
        assert torch.autograd.gradgradcheck(total, leaves)


def test_derivatives_round_an_epsilon_cycle():
    structure = Structure([0, 1, 2, 2], [1, 2, 1, 2], [0, EPSILON, EPSILON, 1])
    energies = torch.tensor([0.0, 1.0, 1.0, 0.5], dtype=torch.float64, requires_grad=True)
    leaf = torch.randn(1, 3, 2, dtype=torch.float64, requires_grad=True)
    graph = Graph(structure, energies)
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda e, a: dense.free_energy(e, None, graph.with_energies(a)), (leaf, energies))
    found = dense.posteriors(leaf, None, graph).graphs[0].arcs.detach()
    torch.testing.assert_close(found, graph_posteriors(composed(leaf, graph).detach()).arcs[:0].new_tensor(
        torch.autograd.grad(dense.free_energy(leaf, None, graph), energies)[0].tolist()
    ))  # fmt: skip


def batch(items: int = 6, frames: int = 30) -> tuple[torch.Tensor, list[int], list[Graph]]:
    generator = torch.Generator().manual_seed(0)
    leaf = torch.randn(items, frames, 5, generator=generator)
    targets = [torch.randint(1, 5, (k,), generator=generator).tolist() for k in range(items)]
    return leaf, [frames - 3 * k for k in range(items)], [dense.topologies.ctc(t) for t in targets]


def test_a_batch_is_its_items_one_by_one():
    leaf, lengths, some = batch()
    leaf.requires_grad_()
    together = dense.free_energy(leaf, lengths, some)
    (gradient,) = torch.autograd.grad(together.sum(), leaf)
    for k, graph in enumerate(some):
        alone = leaf[k : k + 1, : lengths[k]].detach().requires_grad_()
        free = dense.free_energy(alone, None, graph)
        assert torch.equal(free[0], together[k])
        assert torch.equal(torch.autograd.grad(free, alone)[0][0], gradient[k, : lengths[k]])
        assert not gradient[k, lengths[k] :].any()


def test_each_item_has_its_factor_and_a_shared_graph_adds_up():
    leaf, lengths, some = batch()
    energies = torch.zeros(some[3].arcs, requires_grad=True)
    shared, factors = some[3].with_energies(energies), torch.arange(1.0, 7.0)
    (dense.free_energy(leaf, lengths, shared) * factors).sum().backward()
    found = dense.posteriors(leaf, lengths, shared)
    expected = sum(f * p.arcs.detach() for f, p in zip(factors, found.graphs, strict=True))
    torch.testing.assert_close(energies.grad, expected)
    again = torch.autograd.grad(
        (dense.free_energy(leaf, lengths, shared) * factors).sum(), energies, create_graph=True
    )[0]
    torch.testing.assert_close(again.detach(), expected)


def test_posteriors_sum_to_one_at_each_frame():
    leaf, lengths, some = batch()
    classes, of_graphs = dense.posteriors(leaf, lengths, some)
    for k, length in enumerate(lengths):
        torch.testing.assert_close(classes[k, :length].sum(1), torch.ones(length))
        assert not classes[k, length:].any()
        assert float(of_graphs[k].arcs.sum()) == pytest.approx(length, rel=1e-5)
        assert float(of_graphs[k].final.sum()) == pytest.approx(1.0, rel=1e-5)


def test_strides_do_not_matter():
    leaf, lengths, some = batch()
    wide = torch.zeros(30, 5, 12)
    others = [leaf.transpose(0, 1).contiguous().transpose(0, 1), wide.permute(2, 0, 1)[::2].copy_(leaf)]
    expected = dense.free_energy(leaf, lengths, some)
    for other in others:
        other = other.detach().requires_grad_()
        found = dense.free_energy(other, lengths, some)
        assert torch.equal(found, expected)
        found.sum().backward()
        assert torch.equal(other.grad, dense.posteriors(leaf, lengths, some).classes)
    same = leaf[:1].expand(6, -1, -1)
    assert torch.equal(dense.free_energy(same, None, some[2]), dense.free_energy(same.clone(), None, some[2]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtypes(dtype):
    leaf, lengths, some = batch()
    leaf = leaf.to(dtype).requires_grad_()
    free = dense.free_energy(leaf, lengths, some)
    free.sum().backward()
    exact = leaf.detach().double().requires_grad_()
    expected = dense.free_energy(exact, lengths, some)
    expected.sum().backward()
    assert free.dtype == leaf.grad.dtype == dtype
    torch.testing.assert_close(free, expected.to(dtype))
    torch.testing.assert_close(leaf.grad, exact.grad.to(dtype))


@pytest.mark.parametrize("scale", [1.0, 15.0, 200.0, 3000.0])
def test_nothing_is_lost_over_many_frames(scale):
    """However peaked: the chain's kernels against those for any graph and a log-domain recursion."""
    rng = np.random.default_rng(0)
    graph = dense.topologies.ctc(rng.integers(1, 10, 80))
    leaf = torch.from_numpy(rng.standard_normal((1, 600, 10)) * scale).requires_grad_()
    chain = dense.free_energy(leaf, None, graph)
    any_graph = dense.free_energy(leaf, None, graph.with_energies(torch.zeros(graph.arcs).requires_grad_()))
    exact = explicit(-leaf.detach()[0].numpy(), graph)
    assert float(chain.detach()) == pytest.approx(exact, rel=1e-12)
    assert float(any_graph.detach()) == pytest.approx(exact, rel=1e-12)
    one, other = (torch.autograd.grad(free, leaf)[0] for free in (chain, any_graph))
    torch.testing.assert_close(one, other, rtol=0.0, atol=1e-9)
    torch.testing.assert_close(one.sum(2), torch.ones_like(one.sum(2)))


def explicit(log_weights: np.ndarray, graph: Graph) -> float:
    """F by a recursion of logarithms."""
    alpha = -graph.initial.double().numpy()
    for frame in log_weights:
        after = np.full(graph.states, -np.inf)
        np.logaddexp.at(after, graph.destination, alpha[graph.source] + frame[graph.input_labels])
        alpha = after
    return float(-np.logaddexp.reduce(alpha - graph.final.double().numpy()))


@pytest.mark.parametrize("trained", [False, True])
def test_no_path_is_inf_without_a_gradient(trained):
    leaf = torch.zeros(2, 3, 2, requires_grad=True)
    graph = Graph.linear([0, 1])
    graph.energies.requires_grad_(trained)
    free = dense.free_energy(leaf, [3, 2], graph)
    assert free.tolist() == [math.inf, 0.0]
    free[1:].sum().backward()
    assert not leaf.grad[0].any()
    (gradient,) = torch.autograd.grad(dense.free_energy(leaf, [3, 1], graph).sum(), leaf)
    assert not gradient.any()


@pytest.mark.parametrize("value", [math.nan, -math.inf, 1e30])
def test_unusable_emissions_are_named(value):
    leaf = torch.zeros(2, 3, 4)
    leaf[1, 2, 3] = value
    with pytest.raises(GraphError, match="item 1: the emission of frame 2 and class 3"):
        dense.free_energy(leaf, None, Graph.linear([0, 1, 3]))
    assert dense.free_energy(leaf, [3, 0], Graph.linear([0, 1, 3]))[0] == 0.0


def test_bad_beta():
    for beta in (0.0, -1.0, math.nan):
        with pytest.raises(GraphError, match="β must be positive"):
            dense.free_energy(torch.zeros(1, 1, 1), None, Graph.linear([0]), beta)
    with pytest.raises(GraphError, match="best_path"):
        dense.posteriors(torch.zeros(1, 1, 1), None, Graph.linear([0]), math.inf)


def test_callers_on_many_threads_at_once():
    leaf, lengths, some = batch(16, 60)
    wanted = dense.posteriors(leaf, lengths, some).classes
    found: list[torch.Tensor] = []
    callers = [
        threading.Thread(target=lambda: found.append(dense.posteriors(leaf, lengths, some).classes))
        for _ in range(6)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 6
    assert all(torch.equal(classes, wanted) for classes in found)


def _answer(results) -> None:
    torch.set_num_threads(1)
    results.put(float(dense.free_energy(*batch()).sum()))


def test_a_forked_child():
    wanted = float(dense.free_energy(*batch()).sum())
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_answer, args=(results,))
    child.start()
    assert results.get(timeout=60) == wanted
    child.join(timeout=60)
    assert child.exitcode == 0
