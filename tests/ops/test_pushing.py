import math

import numpy as np
import pynini
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.openfst import to_openfst
from gtn_ebm import EPSILON, CycleError, Graph, GraphError, Structure, Symbols, connect
from gtn_ebm.distance import all_pairs_distance, shortest_distance
from gtn_ebm.ops.pushing import push, push_labels
from tests.enumeration import (
    FINITE_ENERGIES,
    finite_part,
    graphs,
    language,
    requiring_grad,
    same_language,
    walks,
)
from tests.series import series

# Energies high enough that the sums over cycles converge.
HIGH_ENERGIES = st.one_of(st.floats(3.0, 5.0), st.just(math.inf))
BETAS = st.sampled_from([0.7, 1.0, math.inf])
ENDS = st.sampled_from(["initial", "final"])


@settings(max_examples=150, deadline=None)
@given(graphs(), ENDS, BETAS)
def test_each_path_keeps_its_energy(graph, to, beta):
    pushed = push(graph, beta, to=to)
    (stems_from,) = pushed.arc_maps
    ours = {(w.first, w.arcs, w.last): w.energy for w in walks(pushed)}
    before = {(w.first, w.arcs, w.last): w.energy for w in walks(connect(graph))}
    assert ours == pytest.approx(before, abs=1e-9)
    assert stems_from.tolist() == connect(graph).arc_maps[0].tolist()


@settings(max_examples=150, deadline=None)
@given(graphs(acyclic=False, energies=HIGH_ENERGIES), ENDS, BETAS)
def test_what_leaves_a_state_is_a_probability(graph, to, beta):
    pushed = push(graph, beta, to=to)
    state, ends = (pushed.source, pushed.final) if to == "initial" else (pushed.destination, pushed.initial)
    for q in range(pushed.states):
        parts = torch.cat([pushed.energies[torch.from_numpy(state == q)], ends[q : q + 1]])
        least = parts.min() if math.isinf(beta) else -torch.logsumexp(-beta * parts, 0) / beta
        assert float(least) == pytest.approx(0.0, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(graphs(acyclic=False, energies=HIGH_ENERGIES), ENDS, BETAS)
def test_twice_is_once(graph, to, beta):
    once = push(graph, beta, to=to)
    twice = push(once, beta, to=to)
    for ours, theirs in zip(
        (once.energies, once.initial, once.final), (twice.energies, twice.initial, twice.final), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(graphs(acyclic=False, energies=HIGH_ENERGIES), ENDS, BETAS)
def test_the_total_stands_at_the_end_pushed_to(graph, to, beta):
    pushed, connected = push(graph, beta, to=to), connect(graph)
    ends = pushed.initial if to == "initial" else pushed.final
    total = shortest_distance(connected, beta) + connected.final
    for parts in (ends, total):
        assume(len(parts))
    ours, theirs = (
        float(parts.min() if math.isinf(beta) else -torch.logsumexp(-beta * parts, 0) / beta)
        for parts in (ends, total)
    )
    assert ours == pytest.approx(theirs, abs=1e-9)


@settings(max_examples=250, deadline=None)
@given(graphs(acyclic=False, energies=HIGH_ENERGIES), ENDS, st.sampled_from([1.0, math.inf]))
def test_energies_pushed_are_openfsts_arc_by_arc(graph, to, beta):
    connected = connect(graph)
    # With initial energies that are not 0, theirs has one more state, where all paths start.
    shifted = connected.with_energies(connected.energies, connected.initial + 0.125)
    pushed = push(shifted, beta, to=to)
    theirs = pynini.push(
        to_openfst(shifted, "log64" if beta == 1.0 else "standard"),
        push_weights=True,
        reweight_type=f"to_{to}",
        delta=1e-12,
    )
    ours = [[] for _ in range(shifted.states)]
    for arc, energy in enumerate(pushed.energies.tolist()):
        ours[pushed.source[arc]].append((int(pushed.destination[arc]), energy))
    ours.append([(q, energy) for q, energy in enumerate(pushed.initial.tolist()) if energy < math.inf])
    assert theirs.num_states() == shifted.states + 1
    for state, arcs in enumerate(ours):
        there = [(arc.nextstate, float(arc.weight)) for arc in theirs.arcs(state)]
        assert [target for target, _ in arcs] == [target for target, _ in there]
        assert [energy for _, energy in arcs] == pytest.approx([energy for _, energy in there], abs=1e-4)
    finals = [float(theirs.final(state)) for state in range(shifted.states)]
    assert pushed.final.tolist() == pytest.approx(finals, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(graphs(acyclic=False, energies=st.floats(3.0, 5.0)), ENDS)
def test_gradients(graph, to):
    finite = [finite_part(graph, part) for part in ("energies", "initial", "final")]

    def pushed(*parts):
        moved = [torch.where(f, p, torch.inf) for f, p in zip(finite, parts, strict=True)]
        result = push(graph.with_energies(*moved), to=to)
        energies = torch.cat([result.energies, result.initial, result.final])
        return energies[torch.isfinite(energies.detach())]

    parts = [
        torch.where(f, p.detach(), 0.0).requires_grad_()
        for f, p in zip(finite, requiring_grad(graph), strict=True)
    ]
    assume(len(pushed(*parts)))
    assert torch.autograd.gradcheck(pushed, parts)


def test_pushing_a_sum_that_diverges_is_refused():
    loop = Graph(Structure([0, 0], [0, 1], [0, 1]), torch.tensor([-1.0, 0.0]))
    with pytest.raises(CycleError, match="state 0"):
        push(loop)


@pytest.mark.parametrize("operation", [push, push_labels])
def test_bad_ends_are_refused(operation):
    with pytest.raises(GraphError, match="'start'"):
        operation(Graph.linear([0]), to="start")


@pytest.mark.parametrize("operation", [push, push_labels])
@pytest.mark.parametrize("states", [0, 2])
def test_an_empty_language_stays_empty(operation, states):
    empty = Graph(Structure([], [], [], states=states), initial=[], final=[])
    assert [operation(empty, to=to).states for to in ("initial", "final")] == [0, 0]


@pytest.mark.parametrize("operation", [push, push_labels])
def test_attributes_and_symbols_are_kept(operation):
    graph = Graph.linear(
        [0, 1, 2],
        [EPSILON, 3, 3],
        attributes={"frame": [7, 8, 9]},
        input_symbols=Symbols("abc"),
        output_symbols=Symbols("wxyz"),
    )
    result = operation(graph, to="final")
    assert result.attributes["frame"][:3] == [7, 8, 9]
    assert (result.input_symbols, result.output_symbols) == (graph.input_symbols, graph.output_symbols)


@settings(max_examples=200, deadline=None)
@given(graphs(), ENDS)
def test_labels_pushed_keep_each_path(graph, to):
    pushed = push_labels(graph, to=to)
    assert same_language(language(walks(pushed)), language(walks(graph)))
    (stems_from,) = pushed.arc_maps
    assert sorted(stems_from[stems_from >= 0].tolist()) == connect(graph).arc_maps[0].tolist()
    assert (
        pushed.input_labels[stems_from >= 0].tolist()
        == graph.input_labels[stems_from[stems_from >= 0]].tolist()
    )
    assert not pushed.energies[torch.from_numpy(stems_from < 0)].any()


def common_prefix(strings: list[tuple[int, ...]]) -> int:
    return next(
        (place for place, labels in enumerate(zip(*strings, strict=False)) if len(set(labels)) > 1),
        min(map(len, strings)),
    )


@settings(max_examples=200, deadline=None)
@given(graphs(energies=FINITE_ENERGIES))
def test_what_all_paths_from_a_state_write_is_written_before(graph):
    connected, pushed = connect(graph), push_labels(graph)
    # Nothing moves to before an initial state, so neither past one further on.
    reaches = all_pairs_distance(connected, math.inf).isfinite()
    for state in range(connected.states):
        if not (reaches[state] & connected.initial.isfinite()).any():
            start = torch.where(torch.arange(pushed.states) == state, 0.0, torch.inf).double()
            written = [w.outputs for w in walks(pushed.with_energies(pushed.energies, start))]
            assert common_prefix(written) == 0


@settings(max_examples=200, deadline=None)
@given(graphs(energies=FINITE_ENERGIES))
def test_what_all_paths_to_a_state_write_is_written_after(graph):
    connected, pushed = connect(graph), push_labels(graph, to="final")
    reaches = all_pairs_distance(connected, math.inf).isfinite()
    for state in range(connected.states):
        if not (reaches[:, state] & connected.final.isfinite()).any():
            end = torch.where(torch.arange(pushed.states) == state, 0.0, torch.inf).double()
            written = [w.outputs[::-1] for w in walks(pushed.with_energies(pushed.energies, None, end))]
            assert common_prefix(written) == 0


@settings(max_examples=100, deadline=None)
@given(graphs(acyclic=False, energies=HIGH_ENERGIES), ENDS)
def test_labels_pushed_keep_each_pair_of_strings_on_cycles(graph, to):
    np.testing.assert_allclose(series(push_labels(graph, to=to)), series(graph), atol=1e-9)


def test_labels_come_before_a_cycle_that_all_paths_leave_alike():
    # Round state 1 as often as one likes, then 7 8 on either way.
    structure = Structure([0, 1, 1, 1, 2], [1, 1, 2, 2, 3], [0, 1, 2, 3, 4], [5, EPSILON, 7, 7, 8])
    pushed = push_labels(Graph(structure))
    assert pushed.output_labels.tolist() == [5, EPSILON, EPSILON, EPSILON, EPSILON, 7, 8]
    assert pushed.input_labels.tolist() == [0, 1, 2, 3, 4, EPSILON, EPSILON]


def test_a_long_common_string_is_found_at_once():
    length = 100_000
    structure = Structure(
        np.repeat(np.arange(length), 2),
        np.repeat(np.arange(1, length + 1), 2),
        [0, 1] * length,
        [7, 7] * length,
    )
    pushed = push_labels(Graph(structure))
    # The first two arcs write what is left to write, an arc for each label.
    assert pushed.arcs == 2 * length + 2 * (length - 1)
