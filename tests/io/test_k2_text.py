import io
import math

import pytest
import torch
from hypothesis import given, settings

from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.io import read_k2_text, write_k2_text
from tests.enumeration import graphs, language, same_language, walks


def written(graph: Graph) -> str:
    file = io.BytesIO()
    write_k2_text(graph, file)
    return file.getvalue().decode()


def read(text: str) -> Graph:
    return read_k2_text(io.BytesIO(text.encode()))


@settings(max_examples=200, deadline=None)
@given(graph=graphs(dtype=torch.float32))
def test_same_paths_after_a_round_trip(graph: Graph) -> None:
    assert same_language(language(walks(read(written(graph)))), language(walks(graph)))


@settings(max_examples=100, deadline=None)
@given(graph=graphs(acyclic=False))
def test_k2s_rules_are_kept(graph: Graph) -> None:
    *arcs, last = written(graph).splitlines()
    rows = [line.split(" ") for line in arcs]
    assert all(len(row) == (4 if graph.is_acceptor else 5) for row in rows)
    assert [int(row[0]) for row in rows] == sorted(int(row[0]) for row in rows)
    for row in rows:
        source, destination, *labels = map(int, row[:-1])
        assert 0 <= source < int(last)
        assert 0 <= destination <= int(last)
        assert all((label == -1) == (destination == int(last)) for label in labels)


def test_text_is_k2s() -> None:
    graph = Graph(
        Structure([1, 0], [0, 0], [9, -1], [1, 4], states=2),
        torch.tensor([-0.1, 0.5]),
        initial=[1],
        final=torch.tensor([0.25, math.inf]),
    )
    assert written(graph) == "0 1 10 2 0.1\n1 1 0 5 -0.5\n1 2 -1 -1 -0.25\n2\n"


def test_the_example_of_its_documentation() -> None:
    graph = read("\n  0 1 10 0.1\n  0 2 20 0.2\n  1 2 30 0.3\n  1 3 -1 0.4\n  2 3 -1 0.5\n  3\n")
    assert (graph.states, graph.input_labels.tolist()) == (3, [9, 19, 29])
    assert graph.energies.tolist() == pytest.approx([-0.1, -0.2, -0.3])
    assert graph.final.tolist() == pytest.approx([math.inf, -0.4, -0.5])
    assert graph.initial.tolist() == [0.0, math.inf, math.inf]


def test_further_arcs_into_the_final_state_stay_arcs() -> None:
    graph = read("0 1 -1 -1 -1.5\n0 1 -1 -1 -2.5\n0 1 -1 7 -3.5\n1\n")
    assert graph.final.tolist() == [1.5, 0.0]
    assert (graph.input_labels.tolist(), graph.output_labels.tolist()) == ([-1, -1], [-1, 6])
    assert graph.energies.tolist() == [2.5, 3.5]


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("", None, "before the line of the final state"),
        ("0 1 -1 0\n", None, "before the line of the final state"),
        ("0 1 -1 0\n1\n0 1 -1 0\n", 3, "must be the last one"),
        ("0 1 -1\n1\n", 1, "3 columns"),
        ("0 1 -1 0\n0 1 -1 -1 0\n1\n", 2, "5 columns"),
        ("0 1 -1 -1 0 0\n1\n", 1, "6 columns or more"),
        ("0 1 -1 inf\n1\n", 1, "+inf"),
        ("0 1 -1 nan\n1\n", 1, "not a score"),
        ("0 1 -2 0\n1\n", 1, "not a label"),
        ("0 1 3 0\n1\n", None, "label −1 is for arcs into the final state"),
        ("0 1 -1 0\n2\n", None, "label −1 is for arcs into the final state"),
        ("0 2 -1 0\n1\n", None, "must be the last"),
        ("2147483646\n", None, "2147483647 states are announced"),
    ],
)
def test_wrong_line_is_named(text: str, line: int | None, found: str) -> None:
    with pytest.raises(GraphFormatError) as raised:
        read(text)
    assert found in str(raised.value)
    assert (f"line {line}:" in str(raised.value)) == (line is not None)


@pytest.mark.parametrize(
    "graph", [Graph.linear([2**31 - 1]), Graph.linear([0], energies=torch.tensor([-math.inf]))]
)
def test_what_k2_has_no_place_for(graph: Graph) -> None:
    with pytest.raises(GraphError, match="cannot be written"):
        written(graph)
