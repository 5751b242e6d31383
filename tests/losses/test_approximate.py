"""Gradients of drawn paths approach those of sums over all of them. Seeds are fixed; means are held to five
standard errors of what is exact, which itself is more than that from 0."""

import math

import numpy as np
import pytest
import torch

from gtn_ebm import CycleError, Graph, GraphError, Structure, best_path, compose, free_energy, random_paths
from gtn_ebm.inference import PathChains
from gtn_ebm.losses.approximate import (
    contrastive_divergence,
    persistent_contrastive_divergence,
    sampled_nll,
)

BETA = 1.2
STEPS = 12
SOURCE = np.repeat(np.arange(STEPS), 3)
ENERGIES = torch.randn(3 * STEPS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
GRAPH = Graph(
    Structure(SOURCE, np.minimum(SOURCE + np.tile([1, 1, 2], STEPS), STEPS), np.tile([0, 1, 0], STEPS)),
    ENERGIES,
)
ANSWER = Graph.linear([1] * STEPS).to(torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def gradient_of(loss):
    """Of a loss of a list of graphs, in the energies of ``GRAPH``."""
    energies = ENERGIES.clone().requires_grad_()
    value = loss([GRAPH.with_energies(energies)])
    return torch.autograd.grad(value.sum(), energies)[0]


def exact(everything):
    return free_energy(compose(everything, [ANSWER]), BETA) - free_energy(everything, BETA)


def error(estimates, wanted):
    """The largest error of the mean of the estimates [N, A], in standard errors."""
    return float(
        ((estimates.mean(0) - wanted).abs() / (estimates.std(0) / len(estimates) ** 0.5 + 1e-9)).max()
    )


def repeated(loss, times=30):
    generator = seeded()
    return torch.stack([gradient_of(lambda every: loss(every, [ANSWER], generator)) for _ in range(times)])


def test_sampled_nll_has_the_gradient_of_the_likelihood_on_average():
    wanted = gradient_of(exact)
    few, many = (
        repeated(lambda every, desired, generator, n=n: sampled_nll(every, desired, BETA, generator, count=n))
        for n in (10, 160)
    )
    assert error(few, wanted) < 5
    assert error(many, wanted) < 5
    # The variance falls with the number of samples.
    assert 8 < float(few.var(0).sum() / many.var(0).sum()) < 32
    assert error(many, torch.zeros_like(wanted)) > 50


def test_contrastive_divergence_approaches_it_as_steps_grow():
    wanted = gradient_of(exact)
    estimates = [
        repeated(
            lambda every, desired, generator, k=k: contrastive_divergence(
                every, desired, BETA, generator, steps=k, count=50, window=2
            )
        )
        for k in (1, 5, 60)
    ]
    errors = [float((some.mean(0) - wanted).norm()) for some in estimates]
    assert errors[0] > 1.5 * errors[1] > 2.25 * errors[2]
    assert error(estimates[0], wanted) > 20
    assert error(estimates[2], wanted) < 5
    # With few steps it points the same way.
    assert torch.cosine_similarity(estimates[0].mean(0), wanted, dim=0) > 0.5


def test_a_window_of_the_whole_graph_makes_each_step_an_exact_sample():
    estimates = repeated(
        lambda every, desired, generator: contrastive_divergence(
            every, desired, BETA, generator, count=50, window=STEPS + 1
        )
    )
    assert error(estimates, gradient_of(exact)) < 5


def test_persistent_chains_approach_it_from_anywhere():
    wanted = gradient_of(exact)
    chains = [PathChains(GRAPH, [best_path(GRAPH)] * 50, BETA, seeded(), window=2)]

    def loss(everything):
        return persistent_contrastive_divergence(everything, [ANSWER], chains, steps=5)

    first = gradient_of(loss)
    for _ in range(20):
        gradient_of(loss)
    later = torch.stack([gradient_of(loss) for _ in range(60)])
    # Gradients of one chain after the other depend on each other: groups of ten hardly do.
    assert error(later.view(6, 10, -1).mean(1), wanted) < 12
    assert float((later.mean(0) - wanted).norm()) < 0.3 * float((first - wanted).norm())
    assert float((later.mean(0) - wanted).norm()) < 0.05 * float(wanted.norm())


def test_training_by_persistent_chains_learns_the_distribution():
    # Of one step with three arcs, the data use them in these shares.
    shares = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    structure = Structure([0, 0, 0], [1, 1, 1], [0, 1, 2])
    energies = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    chains = PathChains(
        Graph(structure, energies), random_paths(Graph(structure), 30, generator=seeded()), window=1
    )
    answers = [Graph.linear([label]).to(torch.float64) for label in range(3)]
    total = torch.zeros_like(energies.detach())
    for step in range(200):
        graph = Graph(structure, energies)
        losses = persistent_contrastive_divergence([graph] * 3, answers, [chains] * 3, steps=1)
        (gradient,) = torch.autograd.grad(losses @ shares, energies)
        with torch.no_grad():
            energies -= 0.3 / (1 + step / 50) * gradient
        total += energies.detach() * (step >= 100)
    learned = torch.softmax(-total / 100, 0)
    torch.testing.assert_close(learned, shares, atol=0.05, rtol=0.0)


def test_an_answer_that_is_not_in_the_graph():
    graphs, answers = [GRAPH, GRAPH], [Graph.linear([7]).to(torch.float64), ANSWER]
    chains = [PathChains(GRAPH, [best_path(GRAPH)])] * 2
    for loss in (
        lambda every: sampled_nll(every, answers),
        lambda every: contrastive_divergence(every, answers),
        lambda every: persistent_contrastive_divergence(every, answers, chains),
    ):
        energies = ENERGIES.clone().requires_grad_()
        values = loss([graph.with_energies(energies) for graph in graphs])
        assert values.tolist()[0] == math.inf
        assert values[1].isfinite()
        assert not torch.autograd.grad(values[0], energies)[0].any()


def test_a_list_of_none():
    assert sampled_nll([], []).shape == contrastive_divergence([], []).shape == (0,)


def test_bad_input_is_refused():
    chains = [PathChains(GRAPH, [best_path(GRAPH)])]
    for beta in (0.0, -1.0, math.nan, math.inf):
        for loss in (sampled_nll, contrastive_divergence):
            with pytest.raises(GraphError, match="β"):
                loss([GRAPH], [ANSWER], beta=beta)
    with pytest.raises(GraphError, match="number of samples"):
        sampled_nll([GRAPH], [ANSWER], count=0)
    with pytest.raises(GraphError, match="number of chains"):
        contrastive_divergence([GRAPH], [ANSWER], count=0)
    with pytest.raises(GraphError, match="number of moves"):
        contrastive_divergence([GRAPH], [ANSWER], steps=0)
    with pytest.raises(GraphError, match="number of moves"):
        persistent_contrastive_divergence([GRAPH], [ANSWER], chains, steps=0)
    for call in (
        lambda: sampled_nll([GRAPH], []),
        lambda: contrastive_divergence([GRAPH], []),
        lambda: persistent_contrastive_divergence([GRAPH], [], chains),
    ):
        with pytest.raises(GraphError, match="1 graphs of all answers, but 0"):
            call()
    with pytest.raises(GraphError, match="chains for 0"):
        persistent_contrastive_divergence([GRAPH], [ANSWER], [])
    other = PathChains(GRAPH, [best_path(GRAPH)], beta=2.0)
    with pytest.raises(GraphError, match="different β"):
        persistent_contrastive_divergence([GRAPH] * 2, [ANSWER] * 2, [*chains, other])
    with pytest.raises(GraphError, match="nan"):
        sampled_nll([GRAPH.with_energies(ENERGIES * math.nan)], [ANSWER])
    loop = Graph(Structure([0, 0], [0, 1], [0, 1]), torch.tensor([1.0, 0.0], dtype=torch.float64))
    selector = Graph.linear([0, 1]).to(torch.float64)
    assert sampled_nll([loop], [selector]).isfinite().all()
    with pytest.raises(CycleError, match="state 0"):
        contrastive_divergence([loop], [selector])
