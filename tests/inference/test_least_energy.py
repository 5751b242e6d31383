import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import CycleError, Graph, Structure, best_path, free_energy, minimum_energy
from tests.enumeration import FINITE_ENERGIES, graphs, requiring_grad, walks

NOT_NEGATIVE = st.one_of(st.floats(0.0, 3.0, allow_subnormal=False), st.sampled_from([0.0, 1.0, math.inf]))


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_best_path_is_the_least_of_all(graph):
    found = walks(graph)
    path = best_path(graph)
    if not found:
        assert path is None
        assert minimum_energy(graph) == math.inf
        return
    assert float(path.energy) == pytest.approx(min(walk.energy for walk in found), abs=1e-9)
    assert float(minimum_energy(graph)) == float(path.energy)
    same = [walk for walk in found if walk.arcs == tuple(path.arcs.tolist())]
    assert any(
        (list(walk.inputs), list(walk.outputs)) == (path.input_labels, path.output_labels)
        and walk.energy == pytest.approx(float(path.energy), abs=1e-9)
        for walk in same
    )


@settings(max_examples=200, deadline=None)
@given(graphs(acyclic=False, energies=NOT_NEGATIVE, most_arcs=6))
def test_with_cycles_it_goes_round_none_for_nothing(graph):
    # The best path needs no state twice.
    found = walks(graph, most_arcs=graph.states)
    path = best_path(graph)
    if not found:
        assert path is None
        assert minimum_energy(graph) == math.inf
        return
    assert float(path.energy) == pytest.approx(min(walk.energy for walk in found), abs=1e-9)
    assert float(free_energy(graph, math.inf)) == float(path.energy)
    assert path.arcs.tolist() in [list(walk.arcs) for walk in found]


def test_with_cycles_and_energies_below_0():
    # Down and up and down again: 0 → 1 → 2 → 3 with arcs back, of which none pays.
    structure = Structure([0, 1, 2, 1, 2, 2], [1, 2, 3, 0, 1, 2], [0, 1, 2, 3, 4, 5])
    graph = Graph(structure, torch.tensor([-5.0, 3.0, -1.0, 5.0, -3.0, 0.0]))
    assert best_path(graph).input_labels == [0, 1, 2]
    assert minimum_energy(graph) == -3.0


@pytest.mark.parametrize("through", ["others", "itself"])
def test_a_cycle_below_0_is_named(through):
    back = [1, 2, 1.5] if through == "others" else [1, 1, -0.25]
    structure = Structure([0, back[0], 2, 2], [1, back[1], 1, 3], [0, 1, 2, 3])
    energies = torch.tensor([0.0, -0.25 if through == "itself" else -2.0, back[2], 0.0])
    with pytest.raises(CycleError, match=r"state [12] has a negative energy of -0\.(5|25)"):
        best_path(Graph(structure, energies, final=[1, 3]))


def test_a_cycle_below_0_on_no_path_does_no_harm():
    # Nothing leads to state 2, and state 3 leads nowhere.
    structure = Structure([2, 2, 0, 0, 3], [2, 0, 1, 3, 3], [0, 1, 2, 3, 4])
    graph = Graph(structure, torch.tensor([-1.0, 0.0, 0.0, 0.0, -1.0]), initial=[0], final=[1])
    assert best_path(graph).input_labels == [2]


def test_energies_are_summed_in_float64():
    graph = Graph.linear([0] * 100_000).with_energies(torch.full((100_000,), 0.1))
    exact = torch.tensor(100_000 * float(torch.tensor(0.1)))
    for energies in (graph.energies, graph.energies.clone().requires_grad_()):
        assert torch.equal(minimum_energy(graph.with_energies(energies)).detach(), exact)


@settings(max_examples=100, deadline=None)
@given(graphs(energies=st.one_of(FINITE_ENERGIES, st.just(math.inf))))
def test_the_derivative_is_one_along_the_best_path(graph):
    parts = requiring_grad(graph)
    minimum_energy(graph.with_energies(*parts)).backward()
    path = best_path(graph)
    along = np.zeros(graph.arcs)
    if path is not None:
        np.add.at(along, path.arcs, 1.0)
    assert parts[0].grad.tolist() == along.tolist()
    ends = 0.0 if path is None else 1.0
    assert (float(parts[1].grad.sum()), float(parts[2].grad.sum())) == (ends, ends)


@settings(max_examples=50, deadline=None)
@given(st.lists(graphs(), max_size=5))
def test_a_list_is_its_graphs_one_by_one(some):
    together = minimum_energy(some)
    assert together.shape == (len(some),)
    for graph, energy, path in zip(some, together, best_path(some), strict=True):
        assert torch.equal(energy, minimum_energy(graph))
        alone = best_path(graph)
        assert (path is None) == (alone is None)
        assert path is None or path.arcs.tolist() == alone.arcs.tolist()


def test_labels_leave_epsilons_out():
    graph = Graph.linear([2, -1, 0], [-1, 1, -1])
    path = best_path(graph)
    assert (path.input_labels, path.output_labels) == ([2, 0], [1])
    assert path.arcs.tolist() == [0, 1, 2]


def test_the_empty_path():
    graph = Graph(
        Structure([], [], [], states=2), initial=torch.tensor([5.0, 2.0]), final=torch.tensor([1.0, 3.0])
    )
    path = best_path(graph)
    assert path.arcs.tolist() == path.input_labels == []
    assert path.energy == 5.0
    assert best_path(Graph(Structure([], [], [], states=0))) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_energy_comes_in_the_dtype_of_the_graph(dtype):
    graph = Graph.linear([0, 1]).with_energies(torch.tensor([0.5, 1.5], dtype=dtype))
    assert (
        best_path(graph).energy.dtype == minimum_energy(graph).dtype == minimum_energy([graph]).dtype == dtype
    )
