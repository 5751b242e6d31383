import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from gtn_ebm import EPSILON, CycleError, Graph, GraphError, Structure, Symbols
from gtn_ebm.dense.batch import frame_arcs, prepare
from tests.enumeration import graphs

EMISSIONS = torch.zeros(2, 5, 4)


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_every_arc_is_there_once_under_the_state_it_enters(graph):
    arcs, structure = frame_arcs(graph.structure), graph.structure
    assert sorted([*arcs.arc.tolist(), *arcs.epsilon_arc.tolist()]) == list(range(graph.arcs))
    entered = np.repeat(np.arange(graph.states), np.diff(arcs.offsets.astype(int)))
    np.testing.assert_array_equal(entered, structure.destination[arcs.arc])
    np.testing.assert_array_equal(arcs.source, structure.source[arcs.arc])
    np.testing.assert_array_equal(arcs.label, structure.input_labels[arcs.arc])
    np.testing.assert_array_equal(arcs.classes[arcs.column], arcs.label)
    np.testing.assert_array_equal(arcs.epsilon_source, structure.source[arcs.epsilon_arc])
    np.testing.assert_array_equal(arcs.epsilon_destination, structure.destination[arcs.epsilon_arc])
    assert (structure.input_labels[arcs.epsilon_arc] == EPSILON).all()
    left = set()
    for source, destination in zip(arcs.epsilon_source, arcs.epsilon_destination, strict=True):
        left.add(source)
        assert destination not in left


@settings(max_examples=300, deadline=None)
@given(graphs(acyclic=False, most_states=4))
def test_a_chain_holds_the_same_arcs(graph):
    try:
        chain = frame_arcs(graph.structure).chain
    except CycleError:
        return
    steps = graph.destination - graph.source
    pairs = set(zip(graph.source.tolist(), graph.destination.tolist(), strict=True))
    labels = set(zip(graph.destination.tolist(), graph.input_labels.tolist(), strict=True))
    left_to_right = (
        graph.arcs > 0 and ((steps >= 0) & (steps <= 2)).all() and (graph.input_labels != EPSILON).all()
    )
    plain = len(pairs) == graph.arcs and len({state for state, _ in labels}) == len(labels)
    assert (chain is not None) == (left_to_right and plain)
    if chain is not None:
        step, state = np.nonzero(chain.arcs >= 0)
        arcs = chain.arcs[step, state]
        assert sorted(arcs.tolist()) == list(range(graph.arcs))
        np.testing.assert_array_equal(graph.destination[arcs], state)
        np.testing.assert_array_equal(graph.source[arcs], state - step)
        classes = frame_arcs(graph.structure).classes
        np.testing.assert_array_equal(classes[chain.column[state]], graph.input_labels[arcs])


def test_the_form_is_made_once_for_a_structure():
    graph = Graph.linear([0, 1, 2])
    batch = prepare(EMISSIONS, None, graph)
    assert batch.arcs[0] is batch.arcs[1] is prepare(EMISSIONS, None, [graph] * 2).arcs[0]
    assert batch.arcs[0] is frame_arcs(graph.with_energies(torch.ones(3)).structure)


@pytest.mark.parametrize("lengths", [[5, 0], torch.tensor([5, 0]), np.array([5, 0], np.int32), (5, 0)])
def test_lengths(lengths):
    assert prepare(EMISSIONS, lengths, Graph.linear([0])).lengths == [5, 0]
    assert prepare(EMISSIONS, None, Graph.linear([0])).lengths == [5, 5]


def test_no_items():
    assert prepare(torch.zeros(0, 5, 4), [], []).lengths == []
    assert prepare(torch.zeros(0, 5, 4), None, Graph.linear([0])).graphs == []


@pytest.mark.parametrize(
    ("emissions", "lengths", "graphs", "message"),
    [
        (
            EMISSIONS[0],
            None,
            Graph.linear([0]),
            r"\[batch, frames, classes\], not torch.float32 of shape \[5",
        ),
        (EMISSIONS.long(), None, Graph.linear([0]), "not torch.int64"),
        (EMISSIONS.numpy(), None, Graph.linear([0]), "must be a tensor, not ndarray"),
        (EMISSIONS, [1, 2, 3], Graph.linear([0]), r"lengths must be integers of shape \[2\]"),
        (EMISSIONS, [1.0, 2.0], Graph.linear([0]), r"integers of shape \[2\], not float64"),
        (EMISSIONS, [5, 6], Graph.linear([0]), "lengths of item 1 is 6; it must be within 0 and 5"),
        (EMISSIONS, [[1], [2, 3]], Graph.linear([0]), "lengths must be an array of integers"),
        (EMISSIONS, [-1, 5], Graph.linear([0]), "lengths of item 0 is -1"),
        (EMISSIONS[..., :0], None, Graph.linear([0]), "has label 0, but the emissions have no classes"),
        (EMISSIONS.to_sparse(), None, Graph.linear([0]), r"not torch.sparse_coo; use to_dense\(\)"),
        (EMISSIONS.to("meta"), None, Graph.linear([0]), "meta device"),
        (EMISSIONS, None, [Graph.linear([0])], "1 graphs for 2 items"),
        (
            EMISSIONS,
            None,
            [Graph.linear([3]), Graph.linear([0, 4])],
            "item 1: arc 1 of its graph has label 4",
        ),
    ],
)
def test_what_does_not_fit_is_named(emissions, lengths, graphs, message):
    with pytest.raises(GraphError, match=message):
        prepare(emissions, lengths, graphs)


def round_an_epsilon_cycle(energy: float) -> Graph:
    structure = Structure([0, 1, 2, 2], [1, 2, 1, 3], [0, EPSILON, EPSILON, 1])
    return Graph(structure, torch.tensor([0.0, energy, energy, 0.0], dtype=torch.float64))


def test_epsilon_cycles_are_removed_with_their_gradient():
    graph = round_an_epsilon_cycle(1.0)
    graph.energies.requires_grad_()
    (prepared, _), (arcs, _) = (prepare(EMISSIONS, None, graph)[k] for k in (2, 3))
    assert len(arcs.epsilon_arc) == 0
    assert prepared.arc_maps[0].tolist() == [0, 3]
    assert float(prepared.energies[1].detach()) == pytest.approx(1.0 + math.log(1 - math.exp(-2.0)))
    prepared.energies.sum().backward()
    assert graph.energies.grad[1] > 1.0


def test_an_epsilon_cycle_that_diverges_is_named():
    with pytest.raises(CycleError, match=r"diverges.*(1 → 2 → 1|2 → 1 → 2)"):
        prepare(EMISSIONS, None, round_an_epsilon_cycle(0.0))
    for beta in (1.0, math.inf):
        with pytest.raises(CycleError, match=r"negative energy of -2: (1 → 2 → 1|2 → 1 → 2)"):
            prepare(EMISSIONS, None, round_an_epsilon_cycle(-1.0), beta)
    assert prepare(EMISSIONS, None, round_an_epsilon_cycle(0.0), math.inf).graphs[0].arcs == 2


def test_an_epsilon_cycle_is_named_by_its_symbols():
    cycle = round_an_epsilon_cycle(-1.0)
    for beta in (1.0, math.inf):
        graph = Graph(cycle.structure, cycle.energies, input_symbols=Symbols("ab"))
        with pytest.raises(CycleError, match=r"1 –ε→ 2 –ε→ 1|2 –ε→ 1 –ε→ 2"):
            prepare(EMISSIONS, None, graph, beta)


def test_an_energy_beside_an_epsilon_cycle_that_is_none_is_named_by_its_arc():
    cycle = round_an_epsilon_cycle(1.0)
    for arc in range(4):
        energies = cycle.energies.index_fill(0, torch.tensor(arc), math.nan)
        with pytest.raises(GraphError, match=rf"energies\[{arc}\] of the graph is nan"):
            prepare(EMISSIONS, None, cycle.with_energies(energies))


def test_many_epsilon_cycles_of_negative_energy_are_refused_at_once():
    states = np.arange(20_000)
    structure = Structure(
        np.tile(states, 2), np.append(states, np.roll(states, -1)), np.repeat([0, EPSILON], 20_000)
    )
    graph = Graph(structure, torch.cat([torch.zeros(20_000), torch.full((20_000,), -0.1)]))
    prepare(EMISSIONS, None, Graph.linear([0, EPSILON, 1]))  # compiled
    before = time.thread_time()
    with pytest.raises(CycleError, match="negative energy"):
        prepare(EMISSIONS, None, graph)
    assert time.thread_time() - before < 10.0  # rounds over all states would take far longer


def test_epsilon_cycles_on_no_path_may_have_any_energy():
    loop = Structure([0, 1, 2], [3, 2, 1], [0, EPSILON, EPSILON], states=4)
    graph = Graph(loop, torch.tensor([0.0, -1.0, -1.0]))
    assert prepare(EMISSIONS, None, graph).graphs[0].arcs == 1
