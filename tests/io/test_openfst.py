import io
import math
import tracemalloc

import numpy as np
import pynini
import pytest
import pywrapfst
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.openfst import to_openfst
from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.io import read_openfst, write_openfst
from gtn_ebm.symbols import Symbols
from tests.enumeration import graphs, language, same_language, walks
from tests.io.samples import aligned_const

KINDS = [(arcs, kind) for arcs in ("standard", "log", "log64") for kind in ("vector", "const")]
HEADER = 60  # bytes that name the kinds, flags and properties, or fewer

many = settings(max_examples=200, deadline=None)  # for each of six kinds


def written(graph: Graph, arc_type: str = "standard", fst_type: str = "vector") -> bytes:
    file = io.BytesIO()
    write_openfst(graph, file, arc_type, fst_type)
    return file.getvalue()


def read(data: bytes) -> Graph:
    return read_openfst(io.BytesIO(data))


def rounded(graph: Graph) -> Graph:
    """With energies that float32 holds exactly."""
    return graph.to(torch.float32).to(torch.float64)


def by_source(graph: Graph) -> list[tuple]:
    """The arcs in the order files have them."""
    arcs = zip(
        graph.source.tolist(),
        graph.destination.tolist(),
        graph.input_labels.tolist(),
        graph.output_labels.tolist(),
        graph.energies.tolist(),
        strict=True,
    )
    return sorted(arcs, key=lambda arc: arc[0])


def weight(of: pywrapfst.Weight) -> float:
    """A weight that float32 holds; pynini gives its first nine digits, which tell such numbers apart."""
    return float(np.float32(float(of)))


def theirs(fst: pywrapfst.Fst, fst_type: str) -> bytes:
    return pywrapfst.convert(fst, fst_type).write_to_string()


@pytest.mark.parametrize(("arc_type", "fst_type"), KINDS)
@many
@given(graph=graphs(acyclic=False))
def test_openfst_reads_what_we_write(arc_type: str, fst_type: str, graph: Graph) -> None:
    graph = rounded(graph)
    fst = pynini.Fst.read_from_string(written(graph, arc_type, fst_type))
    assert (fst.arc_type(), fst.fst_type()) == (arc_type, "vector")  # pynini makes a vector of any
    assert fst.verify()
    assert pynini.equal(fst, to_openfst(graph, arc_type), delta=0)


@pytest.mark.parametrize(("arc_type", "fst_type"), KINDS)
@many
@given(graph=graphs(acyclic=False))
def test_we_read_what_openfst_writes(arc_type: str, fst_type: str, graph: Graph) -> None:
    fst = to_openfst(rounded(graph), arc_type)
    again = read(theirs(fst, fst_type))
    assert again.dtype == (torch.float64 if arc_type == "log64" else torch.float32)
    assert again.states == fst.num_states()
    assert by_source(again) == [
        (state, arc.nextstate, arc.ilabel - 1, arc.olabel - 1, weight(arc.weight))
        for state in fst.states()
        for arc in fst.arcs(state)
    ]
    assert again.final.tolist() == [weight(fst.final(state)) for state in fst.states()]
    assert [q for q in range(again.states) if again.initial[q] == 0] == [fst.start()]


@pytest.mark.parametrize(("arc_type", "fst_type"), KINDS)
@many
@given(graph=graphs())
def test_same_paths_after_a_round_trip(arc_type: str, fst_type: str, graph: Graph) -> None:
    graph = rounded(graph)
    again = read(written(graph, arc_type, fst_type))
    assert same_language(language(walks(again)), language(walks(graph)))
    if graph.initial[torch.isfinite(graph.initial)].tolist() == [0.0]:
        assert by_source(again) == by_source(graph)
        assert again.final.tolist() == graph.final.tolist()


@pytest.mark.parametrize(("arc_type", "fst_type"), KINDS)
def test_states_and_arcs_are_openfsts_to_the_byte(arc_type: str, fst_type: str) -> None:
    graph = Graph(
        Structure([0, 2, 0, 1], [1, 2, 0, 2], [3, -1, 0, 5], [-1, -1, 2, 5], states=3),
        torch.tensor([1.5, 0.25, math.inf, -3.0]),
    )
    ours, same = written(graph, arc_type, fst_type), theirs(to_openfst(graph, arc_type), fst_type)
    weights = "<f8" if arc_type == "log64" else "<f4"
    fields = [("input", "<i4"), ("output", "<i4"), ("weight", weights), ("next", "<i4")]
    arc = np.dtype(fields, align=fst_type == "const")
    state = np.dtype(weights).itemsize + (8 if fst_type == "vector" else 16)
    body, arcs = 4 * arc.itemsize + 3 * state, 4 * arc.itemsize
    assert len(ours) == len(same)
    if fst_type == "vector":
        assert ours[-body:] == same[-body:]
    else:
        assert ours[-body:-arcs] == same[-body:-arcs]
        # Not byte by byte, for OpenFst leaves in the gaps between arcs what was there before.
        assert (np.frombuffer(ours[-arcs:], arc) == np.frombuffer(same[-arcs:], arc)).all()
    assert written(read(same), arc_type, fst_type) == ours


def test_symbol_tables_stand_inside() -> None:
    words, letters = Symbols(["ja", "ε̄"]), Symbols("abc")
    graph = Graph(Structure([0, 0], [1, 1], [0, -1], [2, 1]), input_symbols=words, output_symbols=letters)
    for fst_type in ("vector", "const"):
        data = written(graph, "log", fst_type)
        fst = pynini.Fst.read_from_string(data)
        assert dict(fst.input_symbols()) == {0: "<eps>", 1: "ja", 2: "ε̄"}
        assert dict(fst.output_symbols()) == {0: "<eps>", 1: "a", 2: "b", 3: "c"}
        assert (read(data).input_symbols, read(data).output_symbols) == (words, letters)
        assert read(data).output_labels.tolist() == [2, 1]


def test_labels_are_places_in_a_table_with_gaps() -> None:
    table = pynini.SymbolTable()
    for name, number in (("nil", 0), ("b", 70), ("a", 3), ("huge", 2**40)):
        table.add_symbol(name, number)
    fst = pynini.Fst()
    fst.add_states(2)
    fst.set_start(0).add_arc(0, pynini.Arc(70, 0, 0, 1)).add_arc(0, pynini.Arc(3, 3, 0, 1)).set_final(1)
    fst.set_input_symbols(table).set_output_symbols(table)
    graph = read(fst.write_to_string())
    assert list(graph.input_symbols) == ["a", "b", "huge"]
    assert (graph.input_labels.tolist(), graph.output_labels.tolist()) == ([1, 0], [-1, 0])
    fst.add_arc(0, pynini.Arc(4, 3, 0, 1))
    with pytest.raises(GraphFormatError, match="the input label 4 is not in the table"):
        read(fst.write_to_string())


def test_aligned_files() -> None:
    assert pynini.Fst.read_from_string(aligned_const()).num_states() == 3
    assert by_source(read(aligned_const())) == [(0, 1, 0, 0, 0.0), (1, 2, 1, 1, 0.0)]


def test_a_vector_file_may_leave_its_number_of_states_open() -> None:
    data = written(Graph.linear([0, 1]))
    at = 4 + 4 + len("vector") + 4 + len("standard") + 4 + 4 + 8 + 8
    assert read(data[:at] + (-1).to_bytes(8, "little", signed=True) + data[at + 8 :]).states == 3


def test_files_by_name(tmp_path) -> None:
    write_openfst(Graph.linear([0, 1]), tmp_path / "graph.fst")
    assert pynini.Fst.read(str(tmp_path / "graph.fst")).num_states() == 3
    assert read_openfst(tmp_path / "graph.fst").arcs == 2
    assert [file.name for file in tmp_path.iterdir()] == ["graph.fst"]
    with pytest.raises(GraphFormatError, match=r"absent\.fst cannot be read: No such file"):
        read_openfst(tmp_path / "absent.fst")


@pytest.mark.parametrize(
    ("graph", "arc_type", "fst_type", "found"),
    [
        (Graph.linear([0], energies=torch.tensor([math.nan])), "log", "const", "nan"),
        (Graph.linear([0], energies=torch.tensor([-math.inf])), "log64", "const", "-inf"),
        (Graph.linear([2**31 - 1]), "log", "const", "2147483647"),
        (Graph.linear([0, 7], input_symbols=Symbols("ab")), "log", "vector", "no label 7"),
        (Graph.linear([0], input_symbols=Symbols(["<eps>"])), "log", "vector", "<eps>"),
        (Graph.linear([0]), "gallic", "vector", "gallic"),
        (Graph.linear([0]), "log", "compact", "compact"),
    ],
)
def test_what_has_no_place_in_a_file(graph: Graph, arc_type: str, fst_type: str, found: str) -> None:
    with pytest.raises(GraphError, match=found):
        written(graph, arc_type, fst_type)


def test_energies_too_large_for_the_arc_type() -> None:
    graph = Graph.linear([0, 1], energies=torch.tensor([1e39, math.inf], dtype=torch.float64))
    with pytest.raises(GraphError, match=r"energy 0 of 2 is 1e\+39: too large for torch.float32"):
        written(graph, "log")
    assert read(written(graph, "log64")).energies.tolist() == [1e39, math.inf]


def changed(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


VECTOR, CONST = written(Graph.linear([4, 5])), written(Graph.linear([4, 5]), "standard", "const")
V, C = len(VECTOR) - 2 * 16 - 3 * 12, len(CONST) - 2 * 16 - 3 * 20


@pytest.mark.parametrize(
    ("data", "byte", "found"),
    [
        (b"", 0, "left"),
        (b"gzip", 0, "no binary file"),
        (changed(VECTOR, 8, b"sector"), 4, "'sector'"),
        (changed(VECTOR, 18, b"foreign!"), 4, "'foreign!'"),
        (changed(VECTOR, 4, b"\xff\xff\xff\x7f"), 8, "2147483647"),
        (changed(VECTOR, 4, b"\xff\xff\xff\xff"), 8, "-1 bytes"),
        (VECTOR + b"\0", len(VECTOR), "1 bytes are left"),
        (VECTOR[:-1], V + 28 + 28, "state 2 is cut off"),
        (VECTOR[: V + 41], V + 32, "should have 1 arcs"),
        (changed(VECTOR, V - 16, (2**62).to_bytes(8, "little")), V, "announced"),
        (changed(VECTOR, V + 4, (2**62).to_bytes(8, "little")), V + 4, "should have"),
        (changed(VECTOR, V + 24, b"\3\0\0\0"), V + 12, "leads to state 3"),
        (changed(VECTOR, V + 12, b"\xff\xff\xff\xff"), V + 12, "negative"),
        (changed(VECTOR, V + 28, b"\0\0\xc0\x7f"), V + 28, "nan"),
        (changed(VECTOR, V + 48, b"\0\0\x80\xff"), V + 40, "-inf"),
        (changed(CONST, C - 8, (2**60).to_bytes(8, "little")), C + 60, "left"),
        (changed(CONST, C - 16, (-5).to_bytes(8, "little", signed=True)), C, "left"),
        (changed(CONST, C + 28, b"\7"), C + 40, "in a row"),
        (changed(CONST, C + 24, b"\7"), C + 20, "in a row"),
        (changed(CONST, C + 60 + 16 + 12, b"\xff"), C + 76, "leads to state 255"),
    ],
)
def test_byte_of_the_fault_is_named(data: bytes, byte: int, found: str) -> None:
    with pytest.raises(GraphFormatError) as raised:
        read(data)
    assert found in str(raised.value)
    assert f"byte {byte}:" in str(raised.value)


@pytest.mark.parametrize(("arc_type", "fst_type"), KINDS)
def test_cut_off_anywhere(arc_type: str, fst_type: str) -> None:
    data = written(Graph.linear([0, 1], input_symbols=Symbols("ab")), arc_type, fst_type)
    for length in range(len(data)):
        with pytest.raises(GraphFormatError):
            read(data[:length])


@pytest.mark.parametrize(("arc_type", "fst_type"), KINDS)
def test_any_bit_flipped(arc_type: str, fst_type: str) -> None:
    data = written(Graph.linear([0, 1], input_symbols=Symbols("ab")), arc_type, fst_type)
    refused = 0
    for bit in range(8 * len(data)):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        try:
            read(bytes(wrong))
        except GraphFormatError:
            refused += 1
    assert refused > 4 * len(data)  # the rest changes a label, a weight, a name or a property


@settings(max_examples=200, deadline=None)
@given(tail=st.binary(max_size=200), kind=st.sampled_from([VECTOR[:V], CONST[:C], b""]))
def test_noise(tail: bytes, kind: bytes) -> None:
    try:
        read(kind + tail)
    except GraphFormatError:
        return
    assert kind


def test_memory_is_in_proportion_to_the_file() -> None:
    states, arcs = 20_000, 100_000
    source, labels = np.arange(arcs) % states, np.arange(arcs) % 50
    graph = Graph(Structure(source, source, labels, states=states))
    for arc_type, fst_type in KINDS:
        data = written(graph, arc_type, fst_type)
        tracemalloc.start()
        read(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * len(data) + 100_000
