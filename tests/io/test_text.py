import math
from pathlib import Path

import pynini
import pytest
import pywrapfst
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Graph, GraphBuilder, Structure
from gtn_ebm.io import read_acceptor_text, read_symbols, read_text, write_symbols, write_text
from gtn_ebm.symbols import EPSILON, Symbols

INF = math.inf
ENERGIES = st.floats(-100, 100, width=32) | st.sampled_from([0.0, INF])

same_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@st.composite
def graphs(draw: st.DrawFn, acyclic: bool = False, symbols: Symbols | None = None) -> Graph:
    states = draw(st.integers(1, 5))
    labels = st.integers(EPSILON, 3)
    ends = st.tuples(st.integers(0, states - 1), st.integers(0, states - 1))
    if acyclic:
        ends = ends.map(sorted).filter(lambda pair: pair[0] < pair[1]) if states > 1 else st.nothing()
    arcs = draw(st.lists(st.tuples(ends, labels, labels, ENERGIES), max_size=0 if ends.is_empty else 8))
    at_states = st.lists(ENERGIES | st.just(INF), min_size=states, max_size=states)
    read, written = [arc[1] for arc in arcs], [arc[2] for arc in arcs]
    return Graph(
        Structure(
            [a[0][0] for a in arcs],
            [a[0][1] for a in arcs],
            read,
            None if read == written else written,
            states,
        ),
        torch.tensor([arc[3] for arc in arcs]),
        torch.tensor(draw(at_states)),
        torch.tensor(draw(at_states)),
        input_symbols=symbols,
        output_symbols=symbols,
    )


def paths(graph: Graph) -> list[tuple[list[int], list[int], float]]:
    """Labels (no epsilons) and energy of every path of an acyclic graph."""
    found = []

    def follow(state: int, read: list[int], written: list[int], energy: float) -> None:
        if graph.final[state] < INF:
            found.append((read, written, energy + float(graph.final[state])))
        for arc in range(graph.arcs):
            if graph.source[arc] == state and graph.energies[arc] < INF:
                a, b = int(graph.input_labels[arc]), int(graph.output_labels[arc])
                follow(
                    int(graph.destination[arc]),
                    read + [a] * (a != EPSILON),
                    written + [b] * (b != EPSILON),
                    energy + float(graph.energies[arc]),
                )

    for state in range(graph.states):
        if graph.initial[state] < INF:
            follow(state, [], [], float(graph.initial[state]))
    return sorted(found)


def openfst_paths(fst: pynini.Fst) -> list[tuple[list[int], list[int], float]]:
    """The same of an OpenFst machine, its labels turned into ours."""
    found = []
    if fst.connect().start() >= 0:  # connected, for its iterator takes a dead end for a path's end
        every = fst.paths()
        while not every.done():
            read, written = ([x - 1 for x in labels if x] for labels in (every.ilabels(), every.olabels()))
            if (energy := float(every.weight())) < INF:
                found.append((read, written, energy))
            every.next()
    return sorted(found)


def compiled(path: Path) -> pynini.Fst:
    compiler = pywrapfst.Compiler()
    compiler.write(path.read_text(encoding="utf-8"))
    return pynini.Fst.from_pywrapfst(compiler.compile())


def assert_same_paths(one: list, other: list) -> None:
    assert [path[:2] for path in one] == [path[:2] for path in other]
    assert [path[2] for path in one] == pytest.approx([path[2] for path in other], rel=1e-5, abs=1e-4)


@same_file
@given(graph=graphs(acyclic=True))
def test_openfst_reads_what_we_write(graph: Graph, tmp_path: Path) -> None:
    write_text(graph, tmp_path / "graph.txt")
    assert_same_paths(openfst_paths(compiled(tmp_path / "graph.txt")), paths(graph))


@same_file
@given(graph=graphs(acyclic=True))
def test_we_read_what_openfst_prints(graph: Graph, tmp_path: Path) -> None:
    write_text(graph, tmp_path / "graph.txt")
    printed = compiled(tmp_path / "graph.txt").print()
    (tmp_path / "printed.txt").write_text(printed or "0 Infinity\n")
    assert_same_paths(paths(read_text(tmp_path / "printed.txt")), paths(graph))


@same_file
@given(graph=graphs(symbols=Symbols(["a", "#", "ε", "\u2028"])))
def test_round_trip_keeps_arcs_and_energies(graph: Graph, tmp_path: Path) -> None:
    write_text(graph, tmp_path / "graph.txt")
    again = read_text(tmp_path / "graph.txt", graph.input_symbols, graph.output_symbols)
    entries = again.arcs - graph.arcs
    assert again.input_labels[entries:].tolist() == graph.input_labels.tolist()
    assert again.output_labels[entries:].tolist() == graph.output_labels.tolist()
    assert again.energies[entries:].tolist() == graph.energies.tolist()
    # States keep their order, so each arc leads where it led; unused states are gone.
    numbers = sorted({*graph.source.tolist(), *graph.destination.tolist()})
    read_back = sorted({*again.source[entries:].tolist(), *again.destination[entries:].tolist()})
    assert dict(zip(numbers, read_back, strict=True)) == {
        **dict(zip(graph.source.tolist(), again.source[entries:].tolist(), strict=True)),
        **dict(zip(graph.destination.tolist(), again.destination[entries:].tolist(), strict=True)),
    }
    assert sorted(e for e in again.final.tolist() if e < INF) == sorted(
        e for e in graph.final.tolist() if e < INF
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_energies_come_back_to_the_bit(dtype: torch.dtype, tmp_path: Path) -> None:
    energies = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype)
    write_text(Graph.linear([0] * 50, energies=energies), tmp_path / "graph.txt")
    assert torch.equal(read_text(tmp_path / "graph.txt", dtype=dtype).energies, energies)


def test_one_plain_initial_state_needs_no_new_state(tmp_path: Path) -> None:
    build = GraphBuilder(input_symbols=Symbols("ab"))
    start, end = build.state(initial=0.0), build.state(final=1.5)
    build.arc(start, end, "a", "b", energy=0.25)
    build.arc(start, end, EPSILON)
    write_text(build.graph().with_symbols(Symbols("ab"), Symbols("ab")), tmp_path / "graph.txt")
    assert (tmp_path / "graph.txt").read_text() == "0\t1\ta\tb\t0.25\n0\t1\t<eps>\t<eps>\n1\t1.5\n"


def test_initial_energy_is_written_through_a_new_state(tmp_path: Path) -> None:
    graph = Graph(Structure([0], [1], [4]), initial=torch.tensor([0.5, 0.0]))
    write_text(graph, tmp_path / "graph.txt")
    assert (tmp_path / "graph.txt").read_text() == "2\t0\t0\t0\t0.5\n2\t1\t0\t0\n0\t1\t5\t5\n1\n"


def test_states_may_have_any_numbers(tmp_path: Path) -> None:
    (tmp_path / "graph.txt").write_text("7 900000000000 1 1\n900000000000\n")
    graph = read_text(tmp_path / "graph.txt")
    assert (graph.states, graph.initial.tolist(), graph.final.tolist()) == (2, [0.0, INF], [INF, 0.0])


def test_comments_blank_lines_and_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "graph.txt").write_bytes(b"\xef\xbb\xbf# amounts\r\n\r\n0 1 \t# 0.5\r\n1 infinity\r\n")
    graph = read_acceptor_text(tmp_path / "graph.txt", Symbols("#"))
    assert (graph.input_labels.tolist(), graph.energies.tolist()) == ([0], [0.5])
    assert graph.is_acceptor
    assert graph.output_symbols == Symbols("#")
    assert graph.final.tolist() == [INF, INF]


@pytest.mark.parametrize(
    ("lines", "line", "found"),
    [
        ("", None, "no arc"),
        ("# nothing\n\n", None, "no arc"),
        ("0 1 a a\n0 1 a\n", 2, "3 columns"),
        ("0 1 a a 0 0\n", 1, "6 columns"),
        ("0 1 a c\n", 1, "'c' is not in the symbol table"),
        ("0 -1 a a\n", 1, "'-1' is not a state"),
        ("x 1 a a\n", 1, "'x' is not a state"),
        ("0 1 a a nan\n", 1, "'nan' is not an energy"),
        ("0 1 a a -Infinity\n", 1, "'-Infinity' is not an energy"),
        ("0 1 a a 1_0\n", 1, "'1_0' is not an energy"),
        ("0 1 a a 1e39\n", 1, "too large"),
        ("0 1 a a\n1\n\n1 0.5\n", 4, "a second time"),
        ("0 1 a a\n" + "9" * 5000, 2, "is not a state"),
    ],
)
def test_wrong_line_is_named(lines: str, line: int | None, found: str, tmp_path: Path) -> None:
    path = tmp_path / "graph.txt"
    path.write_text(lines)
    with pytest.raises(GraphFormatError) as raised:
        read_text(path, Symbols("ab"), Symbols("ab"))
    assert str(raised.value).startswith(f"{path}, line {line}: " if line else str(path))
    assert found in str(raised.value)


@pytest.mark.parametrize("label", ["a", "-1", "1.5", "٣", "3000000000"])
def test_labels_without_a_table_are_numbers(label: str, tmp_path: Path) -> None:
    (tmp_path / "graph.txt").write_text(f"0 1 {label}\n", encoding="utf-8")
    with pytest.raises(GraphFormatError, match=r"line 1.*not a label"):
        read_acceptor_text(tmp_path / "graph.txt")


def test_acceptor_with_two_labels_points_to_the_other_function(tmp_path: Path) -> None:
    (tmp_path / "graph.txt").write_text("0 1 1 1 0.5\n")
    with pytest.raises(GraphFormatError, match=r"5 columns.*read_text"):
        read_acceptor_text(tmp_path / "graph.txt")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(GraphFormatError, match=r"absent\.txt cannot be read: No such file"):
        read_text(tmp_path / "absent.txt")
    with pytest.raises(GraphFormatError, match="cannot be read"):
        read_symbols(tmp_path)
    (tmp_path / "latin.txt").write_bytes("0 1 1\n0 1 é\n".encode("latin-1"))
    with pytest.raises(GraphFormatError, match="line 2: byte 0xe9 is not UTF-8"):
        read_acceptor_text(tmp_path / "latin.txt")


@pytest.mark.parametrize("energy", [math.nan, -INF])
def test_unusable_energy_is_not_written(energy: float, tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=f"energy 1 of 2 is {energy}"):
        write_text(Graph.linear([0, 1], energies=torch.tensor([0.0, energy])), tmp_path / "graph.txt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["<eps>", "two words", "line\nend", "\ud800"])
def test_symbol_that_has_no_text_form_is_not_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="cannot be written"):
        write_text(Graph.linear([0], input_symbols=Symbols([name])), tmp_path / "graph.txt")
    with pytest.raises(GraphError, match="cannot be written"):
        write_symbols(Symbols([name]), tmp_path / "symbols.txt")
    assert list(tmp_path.iterdir()) == []


def test_table_that_holds_epsilon_is_refused(tmp_path: Path) -> None:
    (tmp_path / "graph.txt").write_text("0 1 <eps>\n")
    with pytest.raises(GraphError, match="'<eps>' among its symbols"):
        read_acceptor_text(tmp_path / "graph.txt", Symbols(["<eps>", "a"]))


@same_file
@given(names=st.lists(st.text("ab#€ε<>\u2028", min_size=1, max_size=3), unique=True))
def test_symbols_round_trip(names: list[str], tmp_path: Path) -> None:
    write_symbols(Symbols(names), tmp_path / "symbols.txt")
    assert list(read_symbols(tmp_path / "symbols.txt")) == names


def test_openfst_reads_our_symbols_and_we_read_theirs(tmp_path: Path) -> None:
    write_symbols(Symbols("xyz"), tmp_path / "ours.txt")
    table = pynini.SymbolTable.read_text(str(tmp_path / "ours.txt"))
    assert [table.find(number) for number in range(4)] == ["<eps>", "x", "y", "z"]
    table.write_text(str(tmp_path / "theirs.txt"))
    assert list(read_symbols(tmp_path / "theirs.txt")) == ["x", "y", "z"]


def test_symbols_follow_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "symbols.txt").write_text("b 90\nε 0\na 7\n", encoding="utf-8")
    assert list(read_symbols(tmp_path / "symbols.txt")) == ["a", "b"]


@pytest.mark.parametrize(
    ("lines", "line", "found"),
    [
        ("a 0\n", 1, "must be epsilon"),
        ("<eps> 1\n", 1, "must have number 0"),
        ("<eps> 0\na 1\na 2\n", 3, "in the table already"),
        ("a 1\nb 1\n", 2, "in the table already"),
        ("a -1\n", 1, "not the number of a symbol"),
        ("a\n", 1, "1 columns"),
        ("a b 1\n", 1, "3 columns"),
    ],
)
def test_wrong_symbol_line_is_named(lines: str, line: int, found: str, tmp_path: Path) -> None:
    path = tmp_path / "symbols.txt"
    path.write_text(lines)
    with pytest.raises(GraphFormatError) as raised:
        read_symbols(path)
    assert str(raised.value).startswith(f"{path}, line {line}: ")
    assert found in str(raised.value)
