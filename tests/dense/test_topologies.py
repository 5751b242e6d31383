import math
import re
from collections import Counter
from itertools import groupby, pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import EPSILON, Graph, GraphError, compose
from gtn_ebm.dense.batch import frame_arcs
from gtn_ebm.dense.topologies import (
    asg,
    compact_ctc,
    correct_ctc,
    ctc,
    hmm,
    minimal_ctc,
    optional_silence,
    stc,
    uncertain_transcript,
)
from tests.enumeration import language, walks

BLANK = 1
TARGETS = st.lists(st.integers(0, 2), max_size=4)


def written(topology, frames):
    """All that the topology writes when it reads these frames, with the energies of the ways to do it."""
    found = language(walks(compose(Graph.linear(frames), topology)))
    return {outputs: energies for (_, outputs), energies in found.items()}


def sequences(classes, most):
    return [frames for length in range(most + 1) for frames in product(range(classes), repeat=length)]


def without_blank(frames):
    return tuple(label for label in frames if label != BLANK)


def once_each(frames):
    return tuple(label for label, _ in groupby(frames))


@pytest.mark.parametrize(
    ("topology", "rule"),
    [
        (correct_ctc(3, BLANK), lambda frames: without_blank(once_each(frames))),
        (minimal_ctc(3, BLANK), without_blank),
        (asg(torch.zeros(3, 3)), once_each),
    ],
)
def test_frames_spell_one_answer_in_one_way(topology, rule):
    for frames in sequences(3, 4):
        assert written(topology, frames) == {rule(frames): [0.0]}


def divisions(frames, labels_of):
    """What each way to cut the frames into stretches spells; ``labels_of`` a stretch, None if it is none."""
    if not frames:
        return [()]
    return [
        (*labels, *rest)
        for end in range(1, len(frames) + 1)
        if (labels := labels_of(frames[:end])) is not None
        for rest in divisions(frames[end:], labels_of)
    ]


def each_way_once(found):
    return {answer: [0.0] * times for answer, times in Counter(found).items()}


@pytest.mark.parametrize("target", [(), (0,), (0, 2), (2, 2), (0, 0, 2)])
def test_the_target_graph_of_ctc_is_the_topology_with_the_target(target):
    for graph, topology in (
        (ctc(target, BLANK), correct_ctc(3, BLANK)),
        (ctc(target, BLANK, keep_repeats_apart=False), compact_ctc(3, BLANK)),
    ):
        composed = compose(topology, Graph.linear(target))
        assert all(written(graph, frames) == written(composed, frames) for frames in sequences(3, 4))


def test_compact_ctc_lets_equal_labels_touch():
    def labels_of(stretch):
        if stretch == (BLANK,):
            return ()
        return once_each(stretch) if BLANK not in stretch and len(set(stretch)) == 1 else None

    for frames in sequences(3, 4):
        assert written(compact_ctc(3, BLANK), frames) == each_way_once(divisions(frames, labels_of))


@pytest.mark.parametrize(("states", "most"), [(1, 5), (2, 5), (3, 4)])
def test_an_hmm_goes_through_all_states_of_a_label(states, most):
    def labels_of(stretch):
        label = stretch[0] // states
        in_order = tuple(range(label * states, (label + 1) * states))
        return (label,) if once_each(stretch) == in_order else None

    for frames in sequences(2 * states, most):
        assert written(hmm(2, states), frames) == each_way_once(divisions(frames, labels_of))


def test_asg_has_an_energy_for_each_pair():
    transitions = torch.randn(3, 3, dtype=torch.float64)
    graph = asg(transitions)
    for frames in sequences(3, 4):
        (path,) = walks(compose(Graph.linear(frames).to(torch.float64), graph))
        pairs = pairwise(frames)
        assert path.energy == pytest.approx(math.fsum(float(transitions[pair]) for pair in pairs))
    asg(transitions.requires_grad_()).energies.sum().backward()
    assert torch.equal(transitions.grad, torch.ones_like(transitions))


def test_silence_may_be_in_each_place_once():
    silence = 3
    for target in sequences(2, 3):
        expected = {}
        for places in product([(), (silence,)], repeat=len(target) + 1):
            read = places[0] + sum(
                ((label, *place) for label, place in zip(target, places[1:], strict=True)), ()
            )
            expected[read, target] = [0.0]
        assert language(walks(optional_silence(target, silence))) == expected


@settings(max_examples=50, deadline=None)
@given(TARGETS, *[st.sampled_from([0.0, 0.5, 2.0, math.inf])] * 3)
def test_an_uncertain_transcript_pays_for_each_error(target, missing, wrong, superfluous):
    star = 7
    graph = uncertain_transcript(target, star, missing, wrong, superfluous)
    most = len(target) + 1
    # By position: a label or what stands in its place, and any number of stars before it.
    ways = {((), 0): [0.0]}
    for place in range(len(target) + 1):
        starred = {}
        for (read, arcs), energies in ways.items():
            for stars in range(1 if missing == math.inf else most - arcs + 1):
                key = read + (star,) * stars, arcs + stars
                starred.setdefault(key, []).extend(e + (missing * stars if stars else 0.0) for e in energies)
        if place == len(target):
            ways = starred
            break
        ways = {}
        for (read, arcs), energies in starred.items():
            for more, cost in (((target[place],), 0.0), ((star,), wrong), ((), superfluous)):
                if cost < math.inf:
                    ways.setdefault((read + more, arcs + 1), []).extend(e + cost for e in energies)
    expected = {}
    for (read, arcs), energies in ways.items():
        if arcs <= most:
            expected.setdefault((read, read), []).extend(energies)
    found = language(walks(graph, most))
    assert found == {strings: sorted(energies) for strings, energies in expected.items()}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([0, 2]), max_size=3))
def test_a_stc_reads_anything_but_the_next_label(target):
    # Classes 0 … 2 are written as digits, and so are stars, 3 + k for any label but k.
    between = [f"[{BLANK}{3 + label}]*" for label in (*target, BLANK)]
    pattern = re.compile(
        between[0] + "".join(f"{y}{rest}" for y, rest in zip(target, between[1:], strict=True))
    )
    graph = stc(target, 3, BLANK, penalty=0.25)
    assert graph.states == len(target) + 1
    found = language(walks(graph, 4))
    for frames in sequences(6, 4):
        if pattern.fullmatch("".join(map(str, frames))):
            stars = sum(label >= 3 for label in frames)
            assert found.pop((frames, frames)) == [0.25 * stars]
    assert not found


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: correct_ctc(3, 3), "the blank must be a class from 0 to 2, not 3"),
        (lambda: compact_ctc(3, -1), "the blank must be a class from 0 to 2, not -1"),
        (lambda: minimal_ctc(0), "the blank"),
        (lambda: asg(torch.zeros(2, 3)), "a row and a column for each class"),
        (lambda: hmm(2, 0), "states must be a whole number of at least 1, not 0"),
        (lambda: stc([1, 5], 3), "the label 5 must be a class from 0 to 2"),
        (lambda: stc([1, 0], 3), "the blank is in the target"),
        (lambda: hmm(-1), "labels must be a whole number of at least 0, not -1"),
        (lambda: asg(torch.zeros(2)), "transitions must be a floating tensor"),
        (lambda: ctc([1, 0]), "the blank is in the target"),
        (lambda: optional_silence([0, -1], 2), "a row of labels ≥ 0"),
        (lambda: optional_silence([0], EPSILON), "the silence must be a class ≥ 0, not -1"),
        (lambda: uncertain_transcript([0], EPSILON), "the star must be a class ≥ 0, not -1"),
        (lambda: uncertain_transcript([0], 1, missing=math.nan), "must not be NaN: missing nan"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(GraphError, match=message):
        make()


def test_topologies_compose_with_any_transcript():
    # A label with silence around it, in frames of an HMM of one state, silence being its label 2.
    graph = compose(hmm(3, 1), optional_silence([0, 1], silence=2))
    assert set(written(graph, [2, 0, 0, 1])) == {(0, 1)}
    assert set(written(graph, [0, 2, 2, 1])) == {(0, 1)}
    assert written(graph, [2, 0, 0]) == {}
    assert EPSILON in graph.input_labels


def collapsed(read: tuple[int, ...], blank: int) -> list[int]:
    return [label for label, _ in groupby(read) if label != blank]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 1), max_size=3), st.integers(0, 4))
def test_ctc_reads_just_what_collapses_to_the_target_once(target, frames):
    found = [walk for walk in walks(ctc(target, blank=2), frames) if len(walk.arcs) == frames]
    expected = [read for read in product(range(3), repeat=frames) if collapsed(read, 2) == target]
    assert sorted(walk.inputs for walk in found) == sorted(expected)
    assert all(list(walk.outputs) == target for walk in found)


def test_repeats_need_not_be_kept_apart():
    assert len([walk for walk in walks(ctc([1, 1]), 3) if len(walk.arcs) == 2]) == 0
    (walk,) = [walk for walk in walks(ctc([1, 1], keep_repeats_apart=False), 3) if len(walk.arcs) == 2]
    assert walk.inputs == walk.outputs == (1, 1)


@pytest.mark.parametrize("target", [[], [1], [1, 1], [3, 1, 2, 2]])
def test_ctc_is_a_chain(target):
    graph = ctc(target)
    assert frame_arcs(graph.structure).chain is not None
    assert graph.states == 2 * len(target) + 1


@pytest.mark.parametrize("target", [[[1]], [-1], [0.5], [True], "12", None, [2**31], torch.tensor([0.5])])
def test_targets_that_are_none(target):
    with pytest.raises(GraphError, match="a row of labels"):
        ctc(target)
    with pytest.raises(GraphError, match="blank must be a class"):
        ctc([1], -1)
