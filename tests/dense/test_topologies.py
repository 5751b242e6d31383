from itertools import groupby, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import GraphError
from gtn_ebm.dense.batch import frame_arcs
from gtn_ebm.dense.topologies import ctc
from tests.enumeration import walks


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


@pytest.mark.parametrize("target", [[[1]], [-1], [0.5]])
def test_targets_that_are_none(target):
    with pytest.raises(GraphError, match="a row of labels"):
        ctc(target)
    with pytest.raises(GraphError, match="blank must be a class"):
        ctc([1], -1)
