import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import Graph, GraphError, Structure, Symbols, closure, concat, free_energy, union
from tests.enumeration import Walk, graphs, language, same_language, walks


def joined(one: Walk, two: Walk) -> Walk:
    return Walk(0, (), 0, one.inputs + two.inputs, one.outputs + two.outputs, one.energy + two.energy)


EMPTY = Walk(0, (), 0, (), (), 0.0)


@settings(max_examples=200, deadline=None)
@given(st.lists(graphs(), min_size=1, max_size=3))
def test_union_has_the_paths_of_all(some):
    expected = language([walk for graph in some for walk in walks(graph)])
    assert same_language(language(walks(union(*some))), expected)


@settings(max_examples=200, deadline=None)
@given(st.lists(graphs(most_arcs=5), min_size=1, max_size=3))
def test_concat_joins_every_path_with_every_other(some):
    expected = [EMPTY]
    for graph in some:
        expected = [joined(one, two) for one in expected for two in walks(graph)]
    assert same_language(language(walks(concat(*some))), language(expected))


@settings(max_examples=150, deadline=None)
@given(graphs(most_states=3, most_arcs=4))
def test_closure_has_every_number_of_paths_in_a_row(graph):
    # A path of n arcs takes n + 2 in the closure, so that rounds of at most two arcs fit in twelve.
    bound = 12
    expected, row = [EMPTY], [(EMPTY, 0)]
    while row:
        row = [
            (joined(one, two), length + len(two.arcs) + 2)
            for one, length in row
            for two in walks(graph)
            if length + len(two.arcs) + 2 <= bound
        ]
        expected += [walk for walk, _ in row]
        if len(expected) > 3000:
            return
    assert same_language(language(walks(closure(graph), bound)), language(expected))


@settings(max_examples=100, deadline=None)
@given(graphs(), graphs(), st.sampled_from([union, concat]))
def test_arc_maps_lead_each_arc_to_where_it_stems_from(first, second, operation):
    result = operation(first, second)
    assert len(result.arc_maps) == 2
    stems = [
        [(k, int(arc)) for k, arc in enumerate(pair) if arc >= 0]
        for pair in zip(*result.arc_maps, strict=True)
    ]
    assert [stem for (stem, *_) in filter(None, stems)] == [
        (k, arc) for k, graph in enumerate((first, second)) for arc in range(graph.arcs)
    ]
    for arc, stem in enumerate(stems):
        if stem:
            ((k, old),) = stem
            graph = (first, second)[k]
            assert result.energies[arc] == graph.energies[old]
            assert result.input_labels[arc] == graph.input_labels[old]
            assert result.output_labels[arc] == graph.output_labels[old]
        else:
            assert result.input_labels[arc] == result.output_labels[arc] == -1


def test_attributes_of_one_name_stand_side_by_side():
    first = Graph.linear([0, 1], attributes={"span": [(0, 1), (1, 2)], "frame": torch.tensor([4, 5])})
    second = Graph.linear([2], attributes={"span": [(7, 8)], "score": torch.tensor([0.5])})
    result = concat(first, second)
    assert result.attributes["span"] == [(0, 1), (1, 2), (7, 8), None, None]
    assert result.attributes["frame"].tolist() == [4, 5, -1, -1, -1]
    assert result.attributes["score"].isnan().tolist() == [True, True, False, True, True]
    assert union(first, first).attributes["frame"].tolist() == [4, 5, 4, 5]
    assert union(second, first).attributes["span"] == [(7, 8), (0, 1), (1, 2)]


def test_kinds_of_attributes_must_agree():
    graph = Graph.linear([0])
    with pytest.raises(GraphError, match="'x' is of different kinds"):
        union(graph.with_attributes(x=[1]), graph.with_attributes(x=torch.tensor([1])))


def test_an_acceptor_stays_one():
    assert union(Graph.linear([0]), Graph.linear([1])).is_acceptor
    assert closure(Graph.linear([0])).is_acceptor
    assert not concat(Graph.linear([0]), Graph.linear([1], [0])).is_acceptor


def test_gradients_flow_to_the_ends_of_every_part():
    structure = Structure([0], [1], [0])
    ends = [torch.tensor(values, requires_grad=True) for values in ([1.0, 2.0], [3.0, 4.0])]
    graph = Graph(structure, torch.tensor([0.5]), *ends)
    free_energy(concat(graph, graph)).backward()
    # Each of the two graphs is entered and left once.
    assert [float(end.grad.sum()) for end in ends] == [2.0, 2.0]


def rows(graph: Graph, lower: int, upper: int, most_arcs: int) -> list[Walk] | None:
    """The walks of ``lower`` to ``upper`` paths in a row, each of at most ``most_arcs`` arcs of the graph."""
    singles = [walk for walk in walks(graph) if len(walk.arcs) <= most_arcs]
    found = [EMPTY] if lower == 0 else []
    row = [EMPTY]
    for count in range(1, upper + 1):
        row = [joined(one, two) for one in row for two in singles]
        found += row if count >= lower else []
        if len(found) > 3000:
            return None
    return found


@settings(max_examples=150, deadline=None)
@given(graphs(most_states=3, most_arcs=4), st.integers(0, 2), st.integers(0, 2))
def test_closure_counts_the_paths_in_a_row(graph, lower, more):
    upper = lower + more
    if upper:
        expected = rows(graph, lower, upper, 4)
        if expected is not None:
            assert same_language(language(walks(closure(graph, lower, upper))), language(expected))


@settings(max_examples=150, deadline=None)
@given(graphs(most_states=3, most_arcs=4), st.integers(1, 2))
def test_closure_without_an_upper_bound_goes_on(graph, lower):
    # A path of a arcs takes a + 3 at most, back and forth; so few rows have few arcs.
    repeated = closure(graph, lower)
    for count in range(lower, lower + 2):
        expected = rows(graph, count, count, 4)
        if expected is not None and len(expected) < 200:
            enough = walks(repeated, 7 * count)
            assert language(expected).keys() <= language(enough).keys()


@settings(max_examples=100, deadline=None)
@given(graphs(), st.integers(0, 2), st.sampled_from([None, 2]))
def test_arcs_of_a_closure_stem_from_the_graphs(graph, lower, upper):
    graph = graph.with_attributes(number=list(range(graph.arcs)))
    result = closure(graph, lower, upper)
    (stems,) = result.arc_maps
    assert result.attributes["number"] == [None if arc < 0 else arc for arc in stems.tolist()]
    own = stems >= 0
    assert result.energies[own].tolist() == graph.energies[stems[own]].tolist()
    assert (result.input_labels[own] == graph.input_labels[stems[own]]).all()
    assert (result.input_labels[~own] == -1).all()
    assert np.bincount(stems[own], minlength=graph.arcs).tolist() == [upper or max(lower, 1)] * graph.arcs


def test_many_copies_take_time_as_they_are_many(monkeypatch):
    sizes = []
    concatenate = np.concatenate
    monkeypatch.setattr(
        np, "concatenate", lambda parts: sizes.append(sum(map(len, parts))) or concatenate(parts)
    )
    cat = torch.cat
    monkeypatch.setattr(torch, "cat", lambda parts: sizes.append(sum(map(len, parts))) or cat(parts))
    result = closure(Graph.linear([0, 1]), 500, 500)
    assert (result.states, result.arcs) == (2001, 2000)
    assert sum(sizes) < 20 * result.arcs


def test_a_closure_needs_bounds_in_order():
    for bounds in ((-1,), (2, 1), (0, 0)):
        with pytest.raises(GraphError, match="0 ≤ lower ≤ upper"):
            closure(Graph.linear([0]), *bounds)


def test_bad_input_is_refused():
    graph = Graph.linear([0])
    for operation in (union, concat):
        with pytest.raises(GraphError, match="at least one"):
            operation()
        with pytest.raises(GraphError, match=r"graph 1 has energies in torch\.float64"):
            operation(graph, graph.to(torch.float64))
        with pytest.raises(GraphError, match="symbol tables"):
            operation(graph.with_symbols(Symbols("a")), graph.with_symbols(Symbols("b")))


def test_many_graphs_take_no_more_memory_than_the_result():
    words = [Graph.linear([k, k + 1]).with_attributes(word=torch.full((2,), k)) for k in range(2_000)]
    for operation in (union, concat):
        result = operation(*words)
        maps = result.arc_maps
        assert len(maps) == len(words)
        for k in (0, 1_234, -1):
            (places,) = np.nonzero(maps[k] >= 0)
            assert maps[k][places].tolist() == [0, 1]
            assert result.input_labels[places].tolist() == words[k].input_labels.tolist()
            assert result.attributes["word"][places].tolist() == words[k].attributes["word"].tolist()
        with pytest.raises(IndexError):
            maps[2_000]
