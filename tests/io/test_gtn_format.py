import io
import math
import struct

import pytest
import torch
from hypothesis import given, settings

from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.io import read_gtn, read_gtn_text, write_gtn, write_gtn_text
from tests.enumeration import graphs, language, same_language, walks

FORMS = [(read_gtn, write_gtn), (read_gtn_text, write_gtn_text)]


def written(write, graph: Graph) -> bytes:
    file = io.BytesIO()
    write(graph, file)
    return file.getvalue()


@pytest.mark.parametrize(("read", "write"), FORMS)
@settings(max_examples=100, deadline=None)
@given(graph=graphs(dtype=torch.float32))
def test_same_paths_after_a_round_trip(read, write, graph: Graph) -> None:
    again = read(io.BytesIO(written(write, graph)))
    assert same_language(language(walks(again)), language(walks(graph)))


@pytest.mark.parametrize(("read", "write"), FORMS)
def test_plain_ends_need_no_new_nodes(read, write) -> None:
    graph = Graph(
        Structure([0, 2, 2], [1, 1, 0], [4, -1, 0], [4, 3, 0], states=3),
        torch.tensor([0.1, -2.5, math.inf]),
        initial=[2, 0],
        final=[1],
    )
    again = read(io.BytesIO(written(write, graph)))
    assert again.source.tolist() == [0, 2, 2]
    assert again.output_labels.tolist() == [4, 3, 0]
    assert torch.equal(again.energies, graph.energies)
    assert torch.equal(again.initial, graph.initial)
    assert torch.equal(again.final, graph.final)


def test_text_is_gtns() -> None:
    graph = Graph(
        Structure([0, 0], [1, 2], [0, -1], [5, -1], states=3),
        torch.tensor([1.5, -0.25]),
        initial=[0, 1],
        final=[2],
    )
    assert written(write_gtn_text, graph).decode() == "0 1\n2\n0 1 0 5 -1.5\n0 2 -1 -1 0.25\n"


def test_binary_is_gtns() -> None:
    graph = Graph(Structure([0], [1], [3]), torch.tensor([1.5]))
    assert written(write_gtn, graph) == struct.pack("<10if", 2, 1, 1, 1, 0, 1, 0, 1, 3, 3, -1.5)


def test_short_lines_and_blank_ends() -> None:
    graph = read_gtn_text(io.BytesIO(b"\n\n0 3 7\n3 0 7 -1\n"))
    assert (graph.states, graph.input_labels.tolist()) == (4, [7, 7])
    assert (graph.output_labels.tolist(), graph.energies.tolist()) == ([7, -1], [0.0, 0.0])
    assert not torch.isfinite(graph.initial).any()


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("", None, "ends before its line of start nodes"),
        ("0\n", None, "ends before its line of accept nodes"),
        ("0\n0\n0 1\n", 3, "2 columns"),
        ("0\n0\n0 1 1 1 1 1\n", 3, "6 columns or more"),
        ("0\n1 1\n", 2, "accept node twice"),
        ("-1\n1\n", 1, "not a node"),
        ("0\n1\n0 1 -2\n", 3, "not a label"),
        ("0\n1\n0 1 1 1 inf\n", 3, "+inf"),
        ("0\n1\n0 1 1 1 nan\n", 3, "not a weight"),
        ("0\n1\n0 1 1 1 -1e39\n", 3, "too large"),
        ("0\n2147483646\n", None, "2147483647 states are announced"),
    ],
)
def test_wrong_line_is_named(text: str, line: int | None, found: str) -> None:
    with pytest.raises(GraphFormatError) as raised:
        read_gtn_text(io.BytesIO(text.encode()))
    assert found in str(raised.value)
    assert (f"line {line}:" in str(raised.value)) == (line is not None)


def binary(*integers: int, weight: float = 0.0) -> bytes:
    return struct.pack(f"<{len(integers)}if", *integers, weight)


@pytest.mark.parametrize(
    ("data", "byte", "found"),
    [
        (b"", 0, "left"),
        (binary(2, 1, 1, 1, 0, 1, 0, 1, 3, 3) + b"!", 44, "should end here"),
        (binary(2, 1, 1, 1, 0, 1, 0, 1, 3, 3)[:-1], 40, "left"),
        (binary(2, 1, 1, 1, 0, 1, 0, 2, 3, 3), 24, "[0, 2, 3, 3]"),
        (binary(2, 1, 1, 1, 0, 1, 0, 1, 3, -2), 24, "[0, 1, 3, -2]"),
        (binary(2, 1, 1, 1, 0, 1, 0, 1, 3, 3, weight=math.inf), 24, "weight inf"),
        (binary(2, 1, 1, 1, 0, 1, 0, 1, 3, 3, weight=math.nan), 24, "weight nan"),
        (binary(2, 1, 1, 1, 0, 5, 0, 1, 3, 3), 20, "accept node 5"),
        (binary(2**31 - 1, 1, 1, 1, 0, 1, 0, 1, 3, 3), 0, "states are announced"),
        (binary(2, 2**31 - 1, 1, 1, 0, 1, 0, 1, 3, 3), 24, "left"),
        (binary(2, -1, 1, 1, 0, 1), 24, "left"),
    ],
)
def test_byte_of_the_fault_is_named(data: bytes, byte: int, found: str) -> None:
    with pytest.raises(GraphFormatError) as raised:
        read_gtn(io.BytesIO(data))
    assert found in str(raised.value)
    assert f"byte {byte}:" in str(raised.value)


@pytest.mark.parametrize("write", [write_gtn, write_gtn_text])
def test_energies_that_are_none(write) -> None:
    with pytest.raises(GraphError, match="nan"):
        written(write, Graph.linear([0], energies=torch.tensor([math.nan])))
