import math

import numpy as np
import pynini
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.openfst import to_openfst
from gtn_ebm import EPSILON, Graph, GraphError, Structure, Symbols, connect, free_energy
from gtn_ebm.ops.epsilons import remove_epsilons
from gtn_ebm.ops.synchronization import synchronize
from tests.enumeration import FINITE_ENERGIES, graphs, language, requiring_grad, same_language, walks
from tests.series import from_openfst, series

# Energies high enough that the sums over cycles converge.
HIGH_ENERGIES = st.one_of(st.floats(3.0, 5.0), st.just(math.inf))


def is_synchronized(graph: Graph) -> bool:
    """Whether on every path the arcs with a label on one side only come last and have it on one side."""
    one_sided = (graph.input_labels == EPSILON) != (graph.output_labels == EPSILON)
    after = set(graph.destination[one_sided].tolist())
    reads = graph.input_labels != EPSILON
    followed = [
        (bool(reads[first]), arc)
        for first in np.flatnonzero(one_sided)
        for arc in np.flatnonzero(graph.source == graph.destination[first])
    ]
    both = set(graph.source[~one_sided].tolist())
    return not after & both and all(read == reads[arc] for read, arc in followed)


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_each_path_is_kept(graph):
    synchronized = synchronize(graph)
    assert is_synchronized(synchronized)
    assert same_language(language(walks(synchronized)), language(walks(graph)))
    assert connect(synchronized).arcs == synchronized.arcs


def delays_grow(graph: Graph) -> bool:
    """Whether a path's labels written and read can differ ever more in number, by trying all paths."""
    connected = connect(graph)
    steps = (connected.output_labels != EPSILON).astype(int) - (connected.input_labels != EPSILON)
    arcs = list(zip(connected.source.tolist(), connected.destination.tolist(), steps.tolist(), strict=True))
    delays = {(q, 0) for q in range(connected.states) if connected.initial[q] < math.inf}
    while True:
        more = {(q, delay + step) for p, delay in delays for source, q, step in arcs if source == p}
        if more <= delays:
            return False
        delays |= more
        if max(abs(delay) for _, delay in delays) > 2 * connected.states:
            return True


@settings(max_examples=300, deadline=None)
@given(graphs(acyclic=False, energies=HIGH_ENERGIES))
def test_cyclic_graphs_are_openfsts_or_refused(graph):
    if delays_grow(graph):
        with pytest.raises(GraphError, match="pile up"):
            synchronize(graph)
        return
    synchronized = synchronize(graph)
    assert is_synchronized(synchronized)
    ours = series(synchronized)
    np.testing.assert_allclose(ours, series(graph), atol=1e-9)
    theirs = pynini.synchronize(to_openfst(connect(graph)))
    np.testing.assert_allclose(ours, series(from_openfst(theirs)), atol=1e-4)


@settings(max_examples=100, deadline=None)
@given(graphs(acyclic=False, acceptor=True, energies=HIGH_ENERGIES))
def test_an_acceptor_is_synchronized_already(graph):
    synchronized = synchronize(graph)
    assert synchronized.is_acceptor
    assert sorted(synchronized.arc_maps[0].tolist()) == connect(graph).arc_maps[0].tolist()


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_arcs_have_the_energies_and_attributes_of_those_they_stem_from(graph):
    synchronized = synchronize(graph.with_attributes(number=list(range(graph.arcs))))
    (stems_from,) = synchronized.arc_maps
    assert [-1 if n is None else n for n in synchronized.attributes["number"]] == stems_from.tolist()
    expected = np.append(graph.energies.numpy(), 0.0)[stems_from]
    assert synchronized.energies.tolist() == expected.tolist()


@settings(max_examples=50, deadline=None)
@given(graphs(energies=FINITE_ENERGIES))
def test_posteriors_stay_as_they_are(graph):
    parts = requiring_grad(graph)
    given_graph = graph.with_energies(*parts)
    theirs = torch.autograd.grad(free_energy(given_graph), parts)
    ours = torch.autograd.grad(free_energy(synchronize(given_graph)), parts)
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our, their, atol=1e-12)


def test_without_epsilons_inside_paths_nothing_changes():
    graph = Graph.linear([0, 1, 2, EPSILON], [3, 4, EPSILON, EPSILON])
    again = remove_epsilons(synchronize(graph))
    assert (again.input_labels.tolist(), again.output_labels.tolist()) == ([0, 1, 2], [3, 4, EPSILON])


def test_many_strings_wait():
    # Reads any of 2¹⁰ strings, then writes as many labels.
    length = 10
    states = np.arange(length)
    structure = Structure(
        [*states.repeat(2), *(length + states)],
        [*(states + 1).repeat(2), *(length + states + 1)],
        [*[0, 1] * length, *[EPSILON] * length],
        [*[EPSILON] * 2 * length, *[2] * length],
    )
    synchronized = synchronize(Graph(structure))
    assert synchronized.states == 2 ** (length + 1) - 1 + 2**length - 1
    assert float(free_energy(synchronized)) == pytest.approx(-length * math.log(2), abs=1e-5)
    with pytest.raises(GraphError, match="more than 1000 states"):
        synchronize(Graph(structure), max_states=1000)


def test_a_cycle_that_only_writes_is_named_by_its_state_in_the_graph_given():
    # State 0 is dead.
    structure = Structure([1, 2, 2], [2, 2, 3], [0, EPSILON, 1], [0, 1, 0])
    with pytest.raises(GraphError, match="near state 2"):
        synchronize(Graph(structure, initial=[1]))


@pytest.mark.parametrize("states", [0, 2])
def test_an_empty_language_stays_empty(states):
    assert synchronize(Graph(Structure([], [], [], states=states), initial=[], final=[])).states == 0


def test_symbols_are_kept():
    graph = Graph.linear([0, EPSILON], [EPSILON, 1], input_symbols=Symbols("a"), output_symbols=Symbols("xy"))
    synchronized = synchronize(graph)
    assert (synchronized.input_symbols, synchronized.output_symbols) == (Symbols("a"), Symbols("xy"))
