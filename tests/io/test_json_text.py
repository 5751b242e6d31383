import contextlib
import io
import json
import math
import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings

from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Graph
from gtn_ebm.io import read_json, write_json
from gtn_ebm.symbols import Symbols
from tests.enumeration import graphs
from tests.io.samples import seed_graphs


def written(graph: Graph) -> bytes:
    file = io.BytesIO()
    write_json(graph, file)
    return file.getvalue()


def read(data: bytes) -> Graph:
    return read_json(io.BytesIO(data))


def assert_same(one: Graph, other: Graph) -> None:
    for name in ("source", "destination", "input_labels", "output_labels"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
    for name in ("energies", "initial", "final"):
        assert torch.equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype
    assert one.states == other.states
    assert (one.input_symbols, one.output_symbols) == (other.input_symbols, other.output_symbols)


@settings(max_examples=100, deadline=None)
@given(graph=graphs(acyclic=False))
def test_a_graph_comes_back_to_the_bit(graph: Graph) -> None:
    assert_same(read(written(graph)), graph)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_energies_of_every_type(dtype: torch.dtype) -> None:
    energies = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype)
    energies[0], energies[1], energies[2] = torch.finfo(dtype).max, torch.finfo(dtype).tiny, -0.0
    graph = Graph.linear([0] * 50, energies=energies)
    assert_same(read(written(graph)), graph)
    assert math.copysign(1, read(written(graph)).energies[2]) == -1


def test_symbols_and_samples() -> None:
    for graph in seed_graphs():
        assert_same(read(written(graph)), graph)
    named = Graph.linear([0, 1]).with_symbols(Symbols(["a b", "\n"]), Symbols("xy"))
    assert_same(read(written(named)), named)


TENSORS = [
    torch.arange(12).reshape(2, 3, 2),
    torch.tensor([[math.nan], [-math.inf]], dtype=torch.float16),
    torch.tensor([True, False]),
    torch.zeros(2, 0, dtype=torch.uint8),
    torch.tensor([-(2**63), 2**63 - 1]),
]


@pytest.mark.parametrize("values", TENSORS, ids=str)
def test_tensor_attributes(values: torch.Tensor) -> None:
    again = read(written(Graph.linear([0, 1], output_labels=None).with_attributes(x=values))).attributes["x"]
    assert again.dtype == values.dtype
    assert torch.equal(torch.nan_to_num(again), torch.nan_to_num(values)) if again.numel() else True
    assert again.shape == values.shape


def test_list_attributes() -> None:
    values: list[Any] = [None, {"a": (1, [2.5, -math.inf]), 3: True}, (), "name"]
    graph = Graph.linear([0] * 4).with_attributes(x=values)
    assert read(written(graph)).attributes == {"x": values}


@pytest.mark.parametrize(
    ("values", "found"),
    [([{1}], "set"), (torch.zeros(1, dtype=torch.complex64), "complex64"), (["\ud800"], "no UTF-8")],
)
def test_attributes_that_would_not_come_back(values: Any, found: str) -> None:
    with pytest.raises(GraphError, match=found):
        written(Graph.linear([0]).with_attributes(x=values))


def test_a_gradient_is_no_obstacle() -> None:
    energies = torch.ones(1, requires_grad=True)
    assert read(written(Graph.linear([0], energies=energies))).energies.tolist() == [1.0]


GOOD = json.loads(written(Graph.linear([0, 1]).with_attributes(x=torch.tensor([1, 2]))))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"format": "other"}, "whose format is"),
        ({"version": 2}, "version 2"),
        ({"dtype": "int32"}, "int32"),
        ({"dtype": ["float32"]}, "'dtype' is missing or no str"),
        ({"states": True}, "'states' is missing or no int"),
        ({"states": 10**9}, "states are announced"),
        ({"states": 2}, "state 2"),
        ({"source": [0]}, "lengths"),
        ({"source": [0, 1.0]}, "entry 1 of 'source'"),
        ({"input_labels": [0, -2]}, "entry 1 of 'input_labels'"),
        ({"input_labels": [0, 2**31]}, "entry 1 of 'input_labels'"),
        ({"energies": [0, "1"]}, "entry 1 of 'energies'"),
        ({"energies": [0, 1e39]}, "entry 1 of 'energies'"),
        ({"energies": [0, False]}, "entry 1 of 'energies'"),
        ({"initial": [0]}, "initial"),
        ({"input_symbols": ["a", "a"]}, "twice"),
        ({"input_symbols": ["a", None]}, "entry 1 of 'input_symbols'"),
        ({"attributes": []}, "'attributes' is missing or no dict"),
        ({"attributes": {"x": [1, 2]}}, "neither a list nor a tensor"),
        ({"attributes": {"x": {"list": [1]}}}, "1 entries for 2 arcs"),
        ({"attributes": {"x": {"list": [{"a": 1}, 0]}}}, "no value of an attribute"),
        ({"attributes": {"x": {"list": [{"dict": [[[], 1]]}, 0]}}}, "no value of an attribute"),
        ({"attributes": {"x": {"tensor": [1, 2], "dtype": "int8", "shape": [3]}}}, "not those of its shape"),
        ({"attributes": {"x": {"tensor": [], "dtype": "int8", "shape": [0, 2**31 - 1, 9]}}}, "its shape"),
        ({"attributes": {"x": {"tensor": [1, 200], "dtype": "int8", "shape": [2]}}}, "entry 1 of 'x'"),
        ({"attributes": {"x": {"tensor": [1, 2], "dtype": "bool", "shape": [2]}}}, "entry 0 of 'x'"),
        ({"attributes": {"x": {"tensor": 5, "dtype": "bool", "shape": []}}}, "no list"),
    ],
    ids=lambda part: str(part)[:50],
)
def test_members_are_checked(change: dict[str, Any], found: str) -> None:
    with pytest.raises(GraphFormatError) as raised:
        read(json.dumps({**GOOD, **change}).encode())
    assert found in str(raised.value)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ({"source": [0, -5.25]}, "-5.25"),
        ({"version": 77}, "77"),
        ({"states": 10**9}, "1000000000"),
        ({"input_symbols": ["b", "b"]}, '["b", "b"]'),
        ({"attributes": {"ä": [1, 2]}}, "[1, 2]}}"),
        ({"attributes": {"x": {"list": [1, 1]}, "y": {"list": [1, {"z": 1}]}}}, '{"list": [1, {"z'),
        ({"attributes": {"x": {"tensor": [1, -200], "dtype": "int8", "shape": [2]}}}, "-200"),
        ({"energies": [0, -1e39]}, "-1e+39"),
        ({"initial": [0]}, "{"),
    ],
    ids=lambda part: str(part)[:50],
)
def test_the_byte_of_the_value_at_fault_is_named(change: dict[str, Any], value: str) -> None:
    text = json.dumps({**GOOD, **change}, ensure_ascii=False, indent=1 if "version" in change else None)
    with pytest.raises(GraphFormatError, match=r"^the input, line \d+, column \d+, byte \d+: ") as raised:
        read(text.encode())
    byte = int(re.findall(r"byte (\d+):", str(raised.value))[0])
    assert text.encode()[byte:].decode().startswith(value)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "line 1, column 1, byte 0:"),
        (b'["9", 1.5, -' + b"9" * 10_000, "byte 11: Exceeds the limit"),
        (b'["NaN", 1.5, -Infinity]', "byte 13: -Infinity is no number"),
        (b'["[[[[", [[' + b"[" * 100_000, "byte 100010: values are nested too deep"),
        (b'{"format":\n oops}', "line 2, column 2"),
        (b"[NaN]", "NaN is no number"),
        (b"[" * 100_000, "nested too deep"),
        (b"9" * 10_000, "digits"),
        (b'"\xff"', "byte 1: 0xff is not UTF-8"),
        (b"[]", "whose format is"),
    ],
    ids=lambda part: str(part)[:20],
)
def test_what_is_not_json(data: bytes, found: str) -> None:
    with pytest.raises(GraphFormatError) as raised:
        read(data)
    assert found in str(raised.value)


def test_deep_attributes() -> None:
    attributes = json.dumps({**GOOD, "attributes": {"x": {"list": [0, "deep"]}}})
    read(attributes.replace('"deep"', "[" * 100 + "]" * 100).encode())
    for depth in range(300, 1500, 100):  # parsing fails at another depth than what follows
        with contextlib.suppress(GraphFormatError):
            read(attributes.replace('"deep"', "[" * depth + "]" * depth).encode())
    with pytest.raises(GraphFormatError, match="nested too deep"):
        read(attributes.replace('"deep"', "[" * 100_000 + "]" * 100_000).encode())
