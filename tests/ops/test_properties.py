import math
from collections import defaultdict

import pynini
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.openfst import to_openfst
from gtn_ebm import EPSILON, Graph, Structure, closure, connect, topological_sort, union
from gtn_ebm.ops.properties import properties
from tests.enumeration import graphs, walks

FEW_ENERGIES = st.sampled_from([0.0, 0.0, 1.0])
SHARED_WITH_OPENFST = [
    "acceptor",
    "i_deterministic",
    "o_deterministic",
    "epsilons",
    "i_epsilons",
    "o_epsilons",
    "i_label_sorted",
    "o_label_sorted",
    "weighted",
    "cyclic",
    "initial_cyclic",
    "weighted_cycles",
    "top_sorted",
    "accessible",
    "coaccessible",
]


def openfsts(graph: Graph, name: str) -> bool:
    mask = getattr(pynini, name.upper())
    return to_openfst(graph).properties(mask, True) == mask


def with_one_start(graph: Graph) -> Graph:
    """State 0 the only initial one, at energy 0, so that nothing is added for OpenFst."""
    return Graph(graph.structure, graph.energies, [0], graph.final)


@settings(max_examples=400, deadline=None)
@given(graphs(acyclic=False, energies=FEW_ENERGIES, most_states=4, most_arcs=6).filter(lambda g: g.states))
def test_properties_are_openfsts(graph):
    graph = with_one_start(graph)
    found = properties(graph)
    for name in SHARED_WITH_OPENFST:
        assert getattr(found, name) == openfsts(graph, name), name


@settings(max_examples=200, deadline=None)
@given(graphs(acyclic=False, energies=FEW_ENERGIES, most_states=4, most_arcs=6))
def test_several_starts_are_like_one_with_epsilon_arcs_to_them(graph):
    assume(any(graph.initial < math.inf))
    found = properties(graph)
    same = set(SHARED_WITH_OPENFST) - {
        "epsilons",
        "i_epsilons",
        "o_epsilons",
        "initial_cyclic",
        "top_sorted",
        # Two starts of an acceptor that reads nothing else are as good as one.
        "o_deterministic",
        "i_deterministic",
    }
    for name in sorted(same):
        assert getattr(found, name) == openfsts(graph, name), name
    if int((graph.initial < math.inf).sum()) > 1:
        assert not found.i_deterministic
        assert not openfsts(graph, "i_deterministic")


@settings(max_examples=200, deadline=None)
@given(graphs(acyclic=False, most_arcs=5))
def test_arcs_of_infinite_energy_do_not_count(graph):
    present = torch.isfinite(graph.energies).numpy()
    old = graph.structure
    columns = (old.source, old.destination, old.input_labels, old.output_labels)
    without = Graph(
        Structure(*(column[present] for column in columns), old.states),
        graph.energies[torch.from_numpy(present)],
        graph.initial,
        graph.final,
    )
    one, two = properties(graph), properties(without)
    for name in [*SHARED_WITH_OPENFST, "string", "functional", "unambiguous"]:
        assert getattr(one, name) == getattr(two, name), name


@settings(max_examples=200, deadline=None)
@given(graphs(acyclic=False, energies=FEW_ENERGIES, most_states=3, most_arcs=3))
def test_a_string_is_a_graph_of_one_path_through_all(graph):
    found = walks(graph, 6)
    covered = graph.states == 0 or (
        len(found) == 1
        and sorted(found[0].arcs) == list(range(graph.arcs))
        and graph.arcs == graph.states - 1
    )
    assert properties(graph).string == covered
    if covered and graph.states:
        assert openfsts(with_one_start(topological_sort(graph)), "string")


def test_a_linear_graph_is_a_string():
    found = properties(Graph.linear([3, 1, 2]))
    assert found.string
    assert found.unambiguous
    assert not properties(closure(Graph.linear([3]))).string


def functional_by_hand(graph: Graph) -> bool:
    written = defaultdict(set)
    for walk in walks(graph):
        written[walk.inputs].add(walk.outputs)
    return all(len(outputs) == 1 for outputs in written.values())


def unambiguous_by_hand(graph: Graph) -> bool:
    strings = [walk.inputs for walk in walks(graph)]
    return len(strings) == len(set(strings))


@settings(max_examples=400, deadline=None)
@given(graphs(most_arcs=6))
def test_functional_and_unambiguous(graph):
    found = properties(graph)
    assert found.functional == functional_by_hand(graph)
    assert found.unambiguous == unambiguous_by_hand(graph)


@settings(max_examples=200, deadline=None)
@given(graphs(acyclic=False, most_states=3, most_arcs=4, energies=FEW_ENERGIES))
def test_functional_and_unambiguous_with_cycles(graph):
    # Walks of few arcs may not show it, but must not show the contrary.
    found = walks(graph, 8)
    written = defaultdict(set)
    for walk in found:
        written[walk.inputs].add(walk.outputs)
    if properties(graph).functional:
        assert all(len(outputs) == 1 for outputs in written.values())
    if properties(graph).unambiguous:
        assert len({walk.inputs for walk in found}) == len(found)
    # Of so small a graph, squared, a difference shows after few steps, if it ever does.
    elif len(connect(graph).structure.source) <= 3:
        assert len({walk.inputs for walk in found}) < len(found)


def test_what_is_ahead_must_be_made_up_for():
    # Both ways read 0 1 0; the one writes 5 6 at once, the other at the end.
    structure = Structure(
        [0, 1, 2, 0, 4, 5], [1, 2, 3, 4, 5, 3], [0, 1, 0, 0, 1, 0], [5, 6, EPSILON, EPSILON, 5, 6]
    )
    assert properties(Graph(structure, final=[3])).functional
    assert not properties(Graph(structure, final=[3])).unambiguous
    # A loop on the way that both take keeps the delay; one that writes on one side alone does not.
    for written, functional in ((7, False), (EPSILON, True)):
        looped = Structure(
            [0, 0, 1, 1, 2, 2],
            [1, 2, 1, 3, 2, 3],
            [0, 0, 1, 2, 1, 2],
            [5, EPSILON, written, EPSILON, written, 5],
        )
        assert properties(Graph(looped, final=[3])).functional == functional


def test_long_delays_are_remembered():
    # One way writes 3000 labels at once, on arcs that read nothing; the other while it reads.
    length = 3000
    early = Graph.linear([-1] * length + [1] * length, [*range(length)] + [-1] * length)
    late = Graph.linear([1] * length, [*range(length)])
    wrong = Graph.linear([1] * length, [*range(length - 1), 0])
    assert properties(union(early, late)).functional
    assert not properties(union(early, wrong)).functional


def test_a_cycle_that_writes_without_reading_is_not_functional():
    loop = Structure([0, 0], [0, 1], [EPSILON, 0], [5, 6])
    assert not properties(Graph(loop)).functional
    assert not properties(Graph(loop)).unambiguous
    silent = Structure([0, 0], [0, 1], [EPSILON, 0], [EPSILON, 6])
    assert properties(Graph(silent)).functional
    assert not properties(Graph(silent)).unambiguous


def test_two_starts_are_two_paths():
    graph = Graph(Structure([0, 1], [2, 2], [0, 0]), initial=[0, 1])
    assert not properties(graph).unambiguous
    assert properties(Graph(Structure([0, 1], [2, 2], [0, 1]), initial=[0, 1])).unambiguous
    both_end = Graph(Structure([], [], [], states=2), initial=[0, 1], final=[0, 1])
    assert not properties(both_end).unambiguous


def test_properties_cannot_be_changed():
    with pytest.raises(AttributeError):
        properties(Graph.linear([0])).graph = Graph.linear([1])
