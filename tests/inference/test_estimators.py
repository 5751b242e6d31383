"""Estimates come from samples drawn with a fixed seed. Their means are held to five standard errors of what
is exact, which itself is more than that from 0."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from gtn_ebm import CycleError, Graph, GraphError, Structure, best_path, random_paths
from gtn_ebm.inference import random_answers, reinforce, relaxed_paths, straight_through
from tests import written_out
from tests.enumeration import requiring_grad, walks
from tests.inference.test_sampling import are_likely
from tests.written_out import random_graphs

BETA = 0.8
LATTICE = Graph(
    Structure([0, 0, 1, 1, 2, 2, 1], [1, 2, 2, 3, 3, 3, 3], range(7), [0, 1, -1, 1, 0, 1, 0]),
    torch.tensor([0.3, 0.8, -0.4, 0.9, 0.2, 0.5, 1.0], dtype=torch.float64),
)


def cost(outputs):
    """No sum over arcs."""
    return float(len(outputs) ** 2 - 3 * (tuple(outputs) == (0, 1)) + 2 * (0 in outputs))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def exact_gradient(of_path=None):
    """The gradient of the expected cost in the energies of the arcs, by all paths."""
    energies = LATTICE.energies.clone().requires_grad_()
    found = walks(LATTICE)
    costs = torch.tensor([cost(walk.outputs) for walk in found], dtype=torch.float64)
    if of_path is not None:
        costs = of_path(written_out.uses(LATTICE, found))
    expected = written_out.probabilities(LATTICE.with_energies(energies), found, BETA) @ costs
    return torch.autograd.grad(expected, energies)[0]


def holds(estimates, exact, bias=0.0):
    """Whether the mean of the estimates [N, A] is what is exact, and the test says something."""
    error = estimates.std(0) / math.sqrt(len(estimates))
    assert float(((exact.abs() - bias) / error).max()) > 8
    return bool(((estimates.mean(0) - exact).abs() <= 5 * error + bias + 1e-12).all())


def estimates_of(draw, group, count):
    """Estimates of the gradient, [count, A], of ``group`` samples each."""
    generator, estimates = seeded(), []
    for _ in range(count):
        energies = LATTICE.energies.clone().requires_grad_()
        samples = draw(LATTICE.with_energies(energies), group, BETA, generator)
        outputs = [s.output_labels if draw is random_paths else s.labels for s in samples]
        costs = torch.tensor([cost(labels) for labels in outputs], dtype=torch.float64)
        surrogate = reinforce([sample.energy for sample in samples], costs, BETA)
        assert surrogate.item() == pytest.approx(float(costs.mean()))
        estimates.append(torch.autograd.grad(surrogate, energies)[0])
    return torch.stack(estimates)


@pytest.mark.parametrize("group", [2, 20])
def test_reinforce_is_right_on_average(group):
    assert holds(estimates_of(random_paths, group, 600), exact_gradient())


def test_summing_out_latent_paths_lowers_the_variance():
    of_paths, of_answers = (estimates_of(draw, 5, 400) for draw in (random_paths, random_answers))
    assert holds(of_answers, exact_gradient())
    assert float(of_answers.var(0).sum()) < 0.9 * float(of_paths.var(0).sum())


def test_costs_with_gradients_of_their_own_add_them():
    weight = torch.tensor(2.0, requires_grad=True)
    reinforce(torch.zeros(3), weight * torch.tensor([1.0, 2.0, 6.0])).backward()
    assert float(weight.grad) == pytest.approx(3.0)


def test_straight_through_is_exact_for_what_is_linear():
    weights = torch.arange(7.0, dtype=torch.float64)
    energies = LATTICE.energies.clone().requires_grad_()
    graph = LATTICE.with_energies(energies)
    paths = random_paths(graph, 5, BETA, seeded())
    uses = straight_through(graph, paths, BETA)
    for row, path in zip(uses, paths, strict=True):
        assert row.nonzero()[:, 0].tolist() == sorted(path.arcs.tolist())
    (gradient,) = torch.autograd.grad((uses @ weights).mean(), energies)
    wanted = exact_gradient(lambda of_paths: of_paths @ weights)
    np.testing.assert_allclose(gradient.numpy(), wanted.numpy(), atol=1e-12)


def test_straight_through_is_that_of_enumeration():
    """The arcs of each path, and the gradient of the posteriors."""
    for seed, (graph, beta) in enumerate(random_graphs(200)):
        parts, found = requiring_grad(graph), walks(graph)
        weights = torch.rand(graph.arcs, dtype=torch.float64, generator=seeded(seed))
        uses = straight_through(graph.with_energies(*parts), random_paths(graph, 2, beta, seeded(seed)), beta)
        assert {tuple(row.nonzero()[:, 0].tolist()) for row in uses} <= {
            tuple(sorted(walk.arcs)) for walk in found
        }
        plain = graph.with_energies(*parts)
        of_paths = written_out.uses(graph, found) @ weights
        exact = torch.softmax(-beta * written_out.energies(plain, found), 0) @ of_paths
        ours, theirs = (torch.autograd.grad(value, parts) for value in ((uses @ weights).mean(), exact))
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-9)


def test_reinforce_is_its_formula():
    """−β/(N − 1) Σ (c_k − c̄) ∇E_k, with energies of paths written out."""
    for seed, (graph, beta) in enumerate(random_graphs(200, 1)):
        parts, found = requiring_grad(graph), walks(graph)
        given = graph.with_energies(*parts)
        paths = random_paths(given, 4, beta, seeded(seed))
        costs = torch.rand(4, dtype=torch.float64, generator=seeded(seed))
        ours = reinforce([path.energy for path in paths], costs, beta)
        arcs = [walk.arcs for walk in found]
        energies = written_out.energies(given, found)
        chosen = torch.stack([_of_arcs(path, arcs, energies) for path in paths])
        theirs = -beta / 3 * ((costs - costs.mean()) * chosen).sum()
        assert ours.item() == pytest.approx(costs.mean().item(), abs=1e-9)
        gradients = (torch.autograd.grad(value, parts[0]) for value in (ours, theirs))
        for one, other in zip(*gradients, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-9)


def _of_arcs(path, arcs, energies):
    """The energy, among those written out, of a path along the same arcs: without arcs, any of the ends'."""
    return energies[arcs.index(tuple(path.arcs.tolist()))]


def test_relaxed_paths_share_out_one_path():
    """Softly among all, and frozen they are paths."""
    for seed, (graph, beta) in enumerate(random_graphs(200, 2)):
        soft, cold = (relaxed_paths(graph, 2, t, beta, seeded(seed)) for t in (0.7, 1e-6))
        assert ((soft >= 0) & (soft <= 1 + 1e-9)).all()
        arcs = {tuple(sorted(walk.arcs)) for walk in walks(graph)}
        assert {tuple(row.round().nonzero()[:, 0].tolist()) for row in cold} <= arcs
        on_paths = torch.zeros(graph.arcs, dtype=torch.bool)
        on_paths[[arc for path in arcs for arc in path]] = True
        assert not soft[:, ~on_paths].any()


def test_straight_through_counts_each_time_round_a_cycle():
    graph = Graph(Structure([0, 0], [0, 1], [0, 1]), torch.tensor([0.2, 0.0]))
    paths = random_paths(graph, 10, generator=seeded())
    uses = straight_through(graph, paths)
    torch.testing.assert_close(uses[:, 0], torch.tensor([len(path.arcs) - 1.0 for path in paths]))


def test_cold_relaxed_paths_come_as_often_as_they_are_probable():
    for seed, (graph, beta) in enumerate(random_graphs(20, large=False)):
        found = walks(graph)
        uses = relaxed_paths(graph, 400, 1e-4, beta, seeded(seed)).round()
        arcs = Counter(tuple(row.nonzero()[:, 0].tolist()) for row in uses)
        shares = Counter()
        for walk, p in zip(found, written_out.probabilities(graph, found, beta).tolist(), strict=True):
            shares[tuple(sorted(walk.arcs))] += p
        assert are_likely(arcs, shares, 400)


@pytest.mark.parametrize(("temperature", "bias"), [(0.5, 0.2), (0.1, 0.02)])
def test_relaxed_paths_approach_the_gradient_as_they_cool(temperature, bias):
    weights, generator = torch.arange(7.0, dtype=torch.float64), seeded()
    estimates = []
    for _ in range(60):
        energies = LATTICE.energies.clone().requires_grad_()
        uses = relaxed_paths(LATTICE.with_energies(energies), 50, temperature, BETA, generator)
        assert ((uses >= 0) & (uses <= 1)).all()
        torch.testing.assert_close(uses[:, :2].sum(1), torch.ones(50, dtype=torch.float64))
        estimates.append(torch.autograd.grad((uses @ weights).mean(), energies)[0])
    exact = exact_gradient(lambda of_paths: of_paths @ weights)
    assert holds(torch.stack(estimates), exact, bias * float(exact.abs().max()))


def test_a_relaxed_path_is_differentiable():
    def soft(energies):
        return relaxed_paths(LATTICE.with_energies(energies), 2, 0.7, BETA, seeded())

    energies = LATTICE.energies.clone().requires_grad_()
    assert torch.autograd.gradcheck(soft, [energies])
    assert torch.autograd.gradgradcheck(soft, [energies])


def test_dead_ends_and_infinite_energies_do_no_harm():
    energies = torch.tensor([0.0, torch.inf, 0.0, 1.0], requires_grad=True)
    graph = Graph(Structure([0, 0, 0, 0], [1, 1, 2, 1], range(4), states=3), energies, final=[1])
    uses = relaxed_paths(graph, 50, 0.5, generator=seeded())
    assert not uses[:, [1, 2]].any()
    torch.testing.assert_close(uses.sum(1), torch.ones(50))
    (gradient,) = torch.autograd.grad(uses[:, 0].sum(), energies)
    assert gradient.isfinite().all()
    assert not gradient[[1, 2]].any()


def test_bad_input_is_refused():
    graph, nothing = Graph.linear([0]), Graph(Structure([0], [1], [0], states=3))
    energies = torch.zeros(3)
    for beta in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(GraphError, match="β"):
            reinforce(energies, energies, beta)
        with pytest.raises(GraphError, match="β"):
            straight_through(graph, [best_path(graph)], beta)
        with pytest.raises(GraphError, match="β"):
            relaxed_paths(graph, 1, 1.0, beta)
    with pytest.raises(GraphError, match="another's"):
        straight_through(graph, [best_path(Graph.linear([0, 1]))])
    for few in (torch.zeros(1), []):
        with pytest.raises(GraphError, match="two or more"):
            reinforce(few, torch.zeros(len(few)))
    with pytest.raises(GraphError, match="do not fit"):
        reinforce(energies, torch.zeros(2))
    for temperature in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(GraphError, match="temperature"):
            relaxed_paths(graph, 1, temperature)
    with pytest.raises(GraphError, match="-1 samples"):
        relaxed_paths(graph, -1, 1.0)
    with pytest.raises(GraphError, match="no path"):
        relaxed_paths(nothing, 1, 1.0)
    with pytest.raises(CycleError, match="acyclic"):
        relaxed_paths(Graph(Structure([0, 0], [0, 1], [0, 1]), torch.ones(2)), 1, 1.0)
    assert relaxed_paths(graph, 0, 1.0).shape == (0, 1)
