"""Second derivatives through operations whose arcs sum over others."""

import math

import numpy as np
import pytest
import torch

from gtn_ebm import Graph, Structure, determinize, disambiguate, free_energy, project, remove_epsilons
from tests import written_out
from tests.enumeration import walks
from tests.written_out import derivatives, random_graphs


@pytest.mark.parametrize("operation", [determinize, disambiguate])
def test_of_the_free_energy_they_are_the_graphs_own(operation):
    for graph, beta in random_graphs(200, acceptor=True, large=False):
        wanted = derivatives(lambda moved, beta=beta: free_energy(moved, beta), graph)
        found = derivatives(lambda moved, beta=beta: free_energy(operation(moved, beta), beta), graph)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-8)


@pytest.mark.parametrize("operation", [determinize, disambiguate])
@pytest.mark.parametrize("beta", [0.7, math.inf])
def test_of_single_energies_they_are_those_of_finite_differences(operation, beta):
    # No two residuals coincide but those that are equal whatever the energies.
    graph = Graph(
        Structure([0, 0, 1, 2, 1, 2, 3], [1, 2, 3, 3, 3, 4, 4], [0, 0, 1, 1, 2, 2, 0]),
        torch.tensor([0.3, 1.0, 2.0, 0.7, 0.2, 0.1, 0.6], dtype=torch.float64),
    )

    def energies(given):
        single = operation(graph.with_energies(given), beta)
        return torch.cat([single.energies, single.initial[:1], single.final[-1:]]).square()

    given = graph.energies.clone().requires_grad_()
    assert torch.autograd.gradcheck(energies, [given])
    assert torch.autograd.gradgradcheck(energies, [given])


def test_where_all_energies_coincide():
    # Every residual is 0, on whatever energies it depends: each sum over paths is right all the same.
    source = np.repeat(np.arange(4), 3)
    structure = Structure(source, np.minimum(source + np.tile([1, 1, 2], 4), 4), np.tile([0, 0, 1], 4))
    graph = Graph(structure, torch.zeros(12, dtype=torch.float64))
    wanted = derivatives(free_energy, graph)
    for operation in (determinize, disambiguate):
        found = derivatives(lambda moved, operation=operation: free_energy(operation(moved)), graph)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-9)


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_round_cycles(beta):
    # Two ways round with equal energies: the twins property.
    structure = Structure([0, 0, 1, 2, 0, 1, 2], [1, 2, 1, 2, 3, 3, 3], [0, 0, 1, 1, 2, 2, 3])
    graph = Graph(structure, torch.tensor([1.0, 2.0, 1.5, 1.5, 3.0, 0.25, 0.75], dtype=torch.float64))
    wanted = derivatives(lambda moved: free_energy(moved, beta), graph)
    found = derivatives(lambda moved: free_energy(determinize(moved, beta), beta), graph)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-9)


def test_outputs_are_kept():
    for graph, beta in random_graphs(30, 1, acceptor=False, large=False):
        single = remove_epsilons(project(graph, "output"), beta)
        if not walks(single):
            continue
        wanted = derivatives(lambda moved, beta=beta: free_energy(moved, beta), graph)
        found = derivatives(
            lambda moved, beta=beta: free_energy(determinize(moved, beta, outputs="all"), beta), graph
        )
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-8)


def test_finite_differences_of_the_whole():
    written_out.check_derivatives(
        random_graphs(2, 2, acceptor=True, most_states=4, large=False),
        lambda graph, beta: free_energy(determinize(graph, beta), beta),
    )
