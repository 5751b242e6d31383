"""Second derivatives of the free energy through chains of operations, and products of them with vectors."""

import numpy as np
import pytest
import torch

from gtn_ebm import (
    Graph,
    Structure,
    closure,
    compose,
    concat,
    connect,
    determinize,
    difference,
    disambiguate,
    epsilon_normalize,
    free_energy,
    intersect,
    invert,
    minimize,
    posteriors,
    project,
    prune,
    push,
    push_labels,
    relabel,
    remove_epsilons,
    replace,
    reverse,
    synchronize,
    topological_sort,
    union,
)
from tests import written_out
from tests.enumeration import walks
from tests.written_out import random_graphs

FIRST = Graph(
    Structure([0, 0, 1, 1, 2], [1, 1, 2, 3, 3], [0, 1, -1, 1, 0], [1, 1, 0, -1, 0]),
    torch.tensor([0.3, 1.1, 0.2, 0.9, 0.4], dtype=torch.float64),
)
SECOND = Graph(
    Structure([0, 0, 1, 1], [1, 2, 2, 1], [1, 0, 0, 0], [0, 0, 1, 0]),
    torch.tensor([0.6, 1.0, 0.1, 2.5], dtype=torch.float64),
)
CHAINS = {
    "compose": lambda one, other: compose(one, other),
    "compose twice": lambda one, other: compose(invert(one), compose(one, other)),
    "intersect": lambda one, other: intersect(project(one, "output"), project(other, "input")),
    "union": lambda one, other: union(one, other),
    "concat": lambda one, other: concat(one, other, one),
    "closure": lambda one, other: compose(closure(one), concat(other, other)),
    "replace": lambda one, other: replace(one, {1: relabel(other, {1: 5, 0: 5}, {1: 5, 0: 5})}),
    "reverse": lambda one, other: compose(reverse(one), reverse(other)),
    "difference": lambda one, other: difference(one, project(other, "input")),
    "remove_epsilons": lambda one, other: remove_epsilons(project(union(one, other), "output")),
    "epsilon_normalize": lambda one, other: epsilon_normalize(one, "input"),
    "push": lambda one, other: push(compose(one, other)),
    "push_labels": lambda one, other: push_labels(union(one, other)),
    "synchronize": lambda one, other: synchronize(one),
    "prune and sort": lambda one, other: topological_sort(connect(prune(one, 5.0))),
    "determinize": lambda one, other: determinize(remove_epsilons(project(compose(one, other), "output"))),
    "determinize a union": lambda one, other: determinize(
        remove_epsilons(union(project(one, "output"), project(one, "input")))
    ),
    "disambiguate": lambda one, other: disambiguate(remove_epsilons(project(union(one, one), "output"))),
    "minimize": lambda one, other: minimize(
        determinize(remove_epsilons(union(project(one, "output"), project(one, "input"))))
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_through_a_chain_of_operations(name):
    def total(one, other):
        return free_energy(CHAINS[name](FIRST.with_energies(one), SECOND.with_energies(other)))

    parts = [graph.energies.clone().requires_grad_() for graph in (FIRST, SECOND)]
    assert total(*parts).isfinite()
    assert torch.autograd.gradcheck(total, parts)
    assert torch.autograd.gradgradcheck(total, parts)


def test_the_product_with_a_vector_is_a_covariance():
    for graph, beta in random_graphs(200):
        found = walks(graph)
        finite = graph.energies.isfinite()
        energies = torch.where(finite, graph.energies, 0.0).requires_grad_()
        vector = torch.randn(graph.arcs, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        free = free_energy(graph.with_energies(torch.where(finite, energies, torch.inf)), beta)
        (first,) = torch.autograd.grad(free, energies, create_graph=True)
        (product,) = torch.autograd.grad(first @ vector, energies)
        p, uses = written_out.probabilities(graph, found, beta), written_out.uses(graph, found)
        centred = uses - p @ uses
        wanted = -beta * (p * (centred @ vector)) @ centred
        np.testing.assert_allclose(product.numpy(), wanted.numpy(), rtol=1e-9, atol=1e-9)


def test_posteriors_are_differentiable_twice():
    written_out.check_derivatives(
        random_graphs(3, 1, most_states=4, large=False),
        lambda graph, beta: torch.cat(posteriors(graph, beta)),
    )


def test_where_there_is_no_path_posteriors_have_a_derivative_of_0():
    energies = torch.zeros(1, requires_grad=True)
    uses = posteriors(Graph(Structure([0], [1], [0], states=3), energies)).arcs
    (first,) = torch.autograd.grad(uses.sum(), energies, create_graph=True)
    assert first.tolist() == [0.0]
