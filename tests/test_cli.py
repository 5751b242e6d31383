"""The command gtn-ebm: what it says, what it writes, how it fails, and that pipes go through OpenFst."""

import ast
import io
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pynini
import pytest
import torch

import gtn_ebm
from gtn_ebm import Graph, cli
from gtn_ebm.cli import advice
from gtn_ebm.cli.commands import COMMANDS
from gtn_ebm.io import read_openfst, write_openfst
from gtn_ebm.ops.properties import Properties

LETTERS = "<eps> 0\na 1\nb 2\nc 3\n"
WORDS = "0 1 a a 0.5\n0 2 a a 1.5\n1 3 b b 0.25\n2 3 b b\n3\n2 0.75\n"


class Outcome(NamedTuple):
    code: int
    output: bytes
    error: str

    @property
    def graph(self) -> Graph:
        return read_openfst(io.BytesIO(self.output))

    @property
    def text(self) -> str:
        return self.output.decode()


Run = Callable[..., Outcome]
ROOT = Path(__file__).resolve().parents[1]


class Terminal(io.TextIOWrapper):
    """What standard output is where nobody redirects it."""

    def isatty(self) -> bool:
        return True


class Keyboard(io.BytesIO):
    """What standard input is where nothing is piped in."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``gtn-ebm fst`` in a folder with a symbol table and two graphs, on bytes from standard input."""
    monkeypatch.chdir(tmp_path)
    Path("letters.txt").write_text(LETTERS)
    Path("words.txt").write_text(WORDS)

    def call(*arguments: str, stdin: bytes | io.BytesIO = b"") -> Outcome:
        output = io.TextIOWrapper(io.BytesIO(), "utf-8")
        piped = io.BytesIO(stdin) if isinstance(stdin, bytes) else stdin
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=piped))
        monkeypatch.setattr(sys, "stdout", output)
        try:
            code = cli.main(["fst", *arguments])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        output.flush()
        written = output.buffer.getvalue()  # type: ignore[attr-defined]
        return Outcome(code, written, capsys.readouterr().err)

    made = call(
        "compile", "--isymbols", "letters.txt", "--osymbols", "letters.txt", "words.txt", "-o", "words.fst"
    )
    assert made == (0, b"", "")
    call("compile", "--acceptor", "-", "-o", "loop.fst", stdin=b"0 0 1\n0 0 2 1\n0\n")
    call("compile", "-", "-o", "ambiguous.fst", stdin=b"0 1 1 1\n0 1 1 2\n1\n")
    call("convert", "loop.fst", "--arc_type", "log64", "-o", "double.fst")
    return call


def openfst(file: bytes | str) -> pynini.Fst:
    return pynini.Fst.read_from_string(file) if isinstance(file, bytes) else pynini.Fst.read(file)


def test_text_goes_in_and_out(run: Run) -> None:
    lines = WORDS.replace(" ", "\t").splitlines()
    assert sorted(run("print", "words.fst").text.splitlines()) == sorted(lines)
    bare = run("compile", stdin=b"0 1 1 2 0.5\n1\n")
    assert run("print", "--isymbols", "letters.txt", stdin=bare.output).text == "0\t1\ta\t2\t0.5\n1\n"


@pytest.mark.parametrize(
    ("arguments", "theirs"),
    [
        (["connect"], lambda fst: fst.connect()),
        (["determinize"], pynini.determinize),
        (["disambiguate"], pynini.disambiguate),
        (["minimize"], None),
        (["rmepsilon"], lambda fst: fst.rmepsilon()),
        (["shortestpath"], pynini.shortestpath),
        (
            ["shortestpath", "--nshortest", "2", "--unique"],
            lambda fst: pynini.shortestpath(fst, nshortest=2, unique=True),
        ),
        (["prune", "--weight", "0.5"], lambda fst: pynini.prune(fst, weight=0.5)),
        (["push"], lambda fst: pynini.push(fst, push_weights=True)),
        (
            ["push", "--push-labels", "--to-final"],
            lambda fst: pynini.push(fst, push_labels=True, reweight_type="to_final"),
        ),
        (["closure", "--closure_type=plus"], lambda fst: fst.closure(1)),
        (["reverse"], pynini.reverse),
        (["invert"], lambda fst: fst.invert()),
        (["project", "--project_type=output"], lambda fst: fst.project("output")),
        (["arcsort", "--sort_type=olabel"], lambda fst: fst.arcsort("olabel")),
        (["topsort"], lambda fst: fst.topsort()),
        (["epsnormalize"], pynini.epsnormalize),
        (["synchronize"], pynini.synchronize),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)  # fmt: skip
def test_operations_are_openfsts(run: Run, arguments: list[str], theirs: Callable | None) -> None:
    source = "words.fst"
    if arguments == ["minimize"]:
        Path("source.fst").write_bytes(run("determinize", "words.fst").output)
        source, theirs = "source.fst", lambda fst: fst.minimize()
    assert theirs is not None
    found = run(arguments[0], source, *arguments[1:])
    assert (found.code, found.error) == (0, "")
    # What is written is OpenFst's own form, with the arcs that were read.
    ours = openfst(found.output)
    assert ours.arc_type() == "standard"
    expected = theirs(openfst(source))
    assert pynini.randequivalent(ours, expected, npath=50, delta=1e-3, seed=1)


def test_operations_of_two(run: Run) -> None:
    for name, count in (("compose", 2), ("intersect", 2)):
        found = run(name, "words.fst", "words.fst")
        assert found.graph.states > count
        assert run("equivalent", "-", "words.fst", stdin=found.output).text == "no\n"
    words = Path("words.fst").read_bytes()
    assert run("union", "words.fst", "-", stdin=words).graph.arcs == 8 + 2  # a new initial state
    assert run("concat", "-", "words.fst", "words.fst", stdin=words).code == 0
    differing = run("difference", "loop.fst", "words.fst", "-o", "rest.fst")
    assert differing.code == 0
    assert run("shortestdistance", "rest.fst").code == 0
    for name in ("equal", "isomorphic", "equivalent"):
        assert run(name, "words.fst", "-", stdin=words)[:2] == (0, b"yes\n")
        assert run(name, "words.fst", "loop.fst", stdin=words).code in (1, 2)
    assert run("equal", "loop.fst", "loop.fst").code == 0
    assert run("intersect", "words.fst", "words.fst", "--max_states", "1").code == 2


def test_commands_in_a_pipe(run: Run) -> None:
    one = run("compile", stdin=b"0 1 1 1 0.5\n0 1 1 1 1.5\n1 2 2 2\n2\n")
    two = run("determinize", stdin=one.output)
    assert (
        run("print", stdin=run("minimize", stdin=two.output).output).text
        == "0\t1\t1\t1\t0.5\n1\t2\t2\t2\n2\n"
    )
    # Arcs of the log semiring stay such, and are summed.
    logs = run("convert", "--arc_type", "log64", stdin=one.output)
    summed = run("determinize", stdin=logs.output)
    assert openfst(summed.output).arc_type() == "log64"
    assert run("print", stdin=summed.output).text.startswith("0\t1\t1\t1\t0.1867")
    summed = run("determinize", "--semiring", "log", stdin=one.output)
    assert summed.graph.energies[0] == pytest.approx(0.18674, abs=1e-5)


def test_distances_and_info(run: Run) -> None:
    assert run("shortestdistance", "words.fst").text == "0\t0\n1\t0.5\n2\t1.5\n3\t0.75\n"
    assert run("shortestdistance", "--reverse", "words.fst").text.startswith("0\t0.75\n")
    shown = dict(line.rsplit(None, 1) for line in run("info", "words.fst").text.splitlines())
    assert (shown["states"], shown["arcs"], shown["input symbols"]) == ("4", "4", "3")
    assert (shown["acceptor"], shown["i deterministic"], shown["cyclic"]) == ("yes", "no", "no")


def test_info_names_all_properties_that_are_cheap(run: Run) -> None:
    asked = [name for name in vars(Properties) if isinstance(vars(Properties)[name], cached_property)]
    names = {name.replace("_", " ") for name in asked if not name.startswith("_")}
    # words.fst has two arcs of one label; loop.fst reads one way.
    for file, missing in (("words.fst", {"functional", "unambiguous"}), ("loop.fst", set())):
        shown = dict(line.rsplit(None, 1) for line in run("info", file).text.splitlines())
        assert names - shown.keys() == missing
    assert (shown["initial cyclic"], shown["weighted cycles"], shown["epsilons"]) == ("yes", "yes", "no")


def test_random_paths(run: Run) -> None:
    first, again = (run("randgen", "--npath", "3", "--seed", "5", "words.fst").output for _ in range(2))
    assert first == again
    assert run("randgen", "words.fst").graph.arcs <= 3


def test_codes_replacements_and_labels(run: Run) -> None:
    coded = run("encode", "words.fst", "book", "--encode_weights")
    assert coded.graph.is_acceptor
    assert (
        run("print", stdin=run("decode", "-", "book", stdin=coded.output).output).text
        == run("print", "words.fst").text
    )
    call = run("compile", stdin=b"0 1 9 9\n1\n").output
    replaced = run("replace", "-", "9=loop.fst", stdin=call)
    assert replaced.graph.states == 3
    assert run("replace", "-", "9", stdin=call).code == 2
    Path("pairs.txt").write_text("9 4\n")
    assert run("relabel", "--relabel_ipairs", "pairs.txt", stdin=call).graph.input_labels.tolist() == [3]
    Path("pairs.txt").write_text("9 x\n")
    assert "pairs.txt, line 1" in run("relabel", "--relabel_ipairs", "pairs.txt", stdin=call).error


@pytest.mark.parametrize("options", [(), ("--encode_weights",)], ids=["labels", "energies"])
def test_absent_arcs_are_encoded(run: Run, options: tuple[str, ...]) -> None:
    graph = run("compile", stdin=b"0 1 1 2 inf\n0 1 1 2 0.5\n1\n").output
    coded = run("encode", "-", "book", *options, stdin=graph)
    assert (coded.code, coded.error) == (0, "")
    assert run("decode", "-", "book", stdin=coded.output).graph.energies.tolist() == [math.inf, 0.5]


def test_codes_differ_in_double_precision(run: Run) -> None:
    energies = [1.0, 1.0 + 1e-12, 2.0]
    graph = Graph.linear([0, 0, 0], energies=torch.tensor(energies, dtype=torch.float64))
    file = io.BytesIO()
    write_openfst(graph, file, "log64")
    coded = run("encode", "-", "book", "--encode_weights", stdin=file.getvalue())
    assert run("decode", "-", "book", stdin=coded.output).graph.energies.tolist() == energies


def test_a_book_of_the_same_code_twice_is_refused(run: Run) -> None:
    coded = run("encode", "words.fst", "book")
    content = json.loads(Path("book").read_text())
    for name in ("input_labels", "energies"):
        content[name] = content[name][:1] * len(content[name])
    content.pop("output_labels", None)
    Path("book").write_text(json.dumps(content))
    refused = run("decode", "-", "book", stdin=coded.output)
    assert refused.code == 2
    assert "book: two codes" in refused.error


def test_a_graph_is_no_code_book(run: Run) -> None:
    coded = run("encode", "words.fst", "book").output
    run("convert", "--to", "json", "words.fst", "-o", "words.json")
    for name, said in (("words.fst", "'encode' writes"), ("words.json", "no code book"), ("none", "none")):
        refused = run("decode", "-", name, stdin=coded)
        assert (refused.code, refused.output) == (2, b"")
        assert said in refused.error


def test_the_complement(run: Run) -> None:
    run("complement", "words.fst", "--labels", "a b", "-o", "others.fst")
    common = run("intersect", "words.fst", "others.fst").graph
    assert not torch.isfinite(common.final).any()
    assert run("complement", "words.fst", "--labels", "a x").code == 2
    everything = run("complement", "loop.fst").graph  # loop.fst accepts all strings of its labels
    assert not torch.isfinite(everything.final).any()
    assert run("complement", "loop.fst", "--labels", "1 2 3").graph.arcs > 0
    assert run("complement", "loop.fst", "--labels", "0").code == 2


def test_distances_between_all_states(run: Run) -> None:
    rows = [line.split() for line in run("allpairsdistance", "words.fst").text.splitlines()]
    found = {(int(first), int(second)): float(energy) for first, second, energy in rows}
    assert found == {
        **{(k, k): 0.0 for k in range(4)},
        (0, 1): 0.5,
        (0, 2): 1.5,
        (0, 3): 0.75,
        (1, 3): 0.25,
        (2, 3): 0.0,
    }
    summed = dict(
        line.rsplit(None, 1)
        for line in run("allpairsdistance", "--semiring", "log", "words.fst").text.splitlines()
    )
    assert float(summed["0\t3"]) == pytest.approx(-math.log(math.exp(-0.75) + math.exp(-1.5)), abs=1e-6)


def test_random_paths_at_any_temperature(run: Run) -> None:
    run("compile", "-o", "two.fst", stdin=b"0 1 1 1\n0 1 2 2 3\n1\n")
    for beta, least, most in (("0", 400, 600), ("0.5", 120, 250), ("5", 0, 2)):
        labels = run(
            "randgen", "--npath", "1000", "--seed", "1", "--beta", beta, "two.fst"
        ).graph.input_labels
        assert least <= (labels == 1).sum() <= most
    assert "--max_length" in run("randgen", "--max_length", "0", "two.fst").error


def test_the_most_probable_part_is_drawn(run: Run) -> None:
    shown = run("draw", "words.fst", "--most_probable", "2").text
    assert (shown.count("0 -> "), shown.count("->")) == (1, 2)
    assert run("draw", "words.fst", "-o", "words.gv").code == 0
    assert Path("words.gv").read_text().startswith("digraph")


def test_the_version_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"gtn-ebm {gtn_ebm.__version__}\n")


@pytest.mark.parametrize("name", ["text", "gtn", "gtn-text", "k2", "json"])
def test_formats(run: Run, name: str) -> None:
    bare = run("compile", stdin=b"0 1 1 2 0.5\n1\n").output
    there = run("convert", "--to", name, stdin=bare)
    assert there.code == 0
    assert run("print", "--from", name, stdin=there.output).text == "0\t1\t1\t2\t0.5\n1\n"


def test_pictures(run: Run) -> None:
    assert run("draw", "words.fst", "--title", "two words").text.startswith("digraph")
    assert run("draw", "words.fst", "--best-path", "-o", "words.svg").code == 0
    assert Path("words.svg").read_text().startswith("<svg")


def test_every_command_explains_itself(run: Run) -> None:
    overview = run("--help")
    assert overview.code == 0
    for name, command in COMMANDS.items():
        assert f"\n    {name}" in overview.text
        shown = run(name, "--help")
        assert shown.code == 0
        assert f"gtn-ebm fst {command.example}" in shown.text
        assert command.example.split()[0] == name


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (["determinise"], b"", "invalid choice: 'determinise'"),
        (["compose", "words.fst"], b"", "required: B"),
        (["connect", "nowhere.fst"], b"", "nowhere.fst cannot be read"),
        (["connect"], b"", "standard input is empty"),
        (["connect"], b"x", "standard input, byte 0"),
        (["connect", "words.fst", "-o", ".."], b"", ": Is a directory"),
        (["connect"], b"\xd6\xfd\xb2\x7e\x06\x00\x00", "standard input"),
        (["compile"], b"0 1 1\n", "standard input, line 1"),
        (["compose", "-", "-"], b"", "standard input"),
        (["topsort", "loop.fst"], b"", "cycle"),
        (["shortestpath", "--nshortest", "x", "words.fst"], b"", "--nshortest"),
        (["randgen", "--npath", "100000000000000000000", "words.fst"], b"", "not a count"),
        (["minimize", "words.fst", "--delta", "0"], b"", "not a positive number"),
        (["randgen", "words.fst", "--seed", "-1"], b"", "--seed"),
        (["connect", "words.fst", "-o", "."], b"", "directory"),
        (["prune", "words.fst"], b"", "fst prune: give --weight or --nstate; see gtn-ebm fst prune --help"),
        (["relabel", "words.fst"], b"", "fst relabel: give --relabel_ipairs or --relabel_opairs"),
        (["connect", "--verbose", "words.fst"], b"", "--verbose; see gtn-ebm fst connect --help"),
        (["connect", "words.fst", "loop.fst"], b"", "loop.fst; see gtn-ebm fst connect --help"),
        (["connect", "words.txt"], b"", "gtn-ebm fst compile makes one of text, and --from"),
        (["compile"], b"0 1 1\n", "(arcs with one label: --acceptor)"),
        (["compile", "--acceptor"], b"0 1 1 1 1\n", "(arcs with two labels: without --acceptor)"),
        (["compile"], b"0 1 a a\n", "give --isymbols and --osymbols to read names"),
        (
            ["compile"],
            b"0 1 2147483648 1\n",
            "'2147483648' is not a label; write a number from 0 to 2147483647",
        ),
        (["compile", "words.txt", "--isymbols", "words.txt"], b"", "words.txt, line 1"),
        (["draw", "words.fst", "-o", "words.pdf"], b"", "words.pdf: a picture is drawn as .svg, or as DOT"),
        (
            ["draw", "words.fst", "--max_arcs", "1"],
            b"",
            "(--max_arcs is 1); draw the part that matters: --most_p",
        ),
        (
            ["determinize", "ambiguous.fst"],
            b"",
            "--det_type nonfunctional keeps them, --det_type disambiguate",
        ),
        (
            ["determinize", "words.fst", "--det_type", "disambiguate", "--semiring", "log"],
            b"",
            "--semiring tropical",
        ),
        (["determinize", "words.fst", "--max_states", "0"], b"", "raise --max_states, or --delta where"),
        (["compose", "words.fst", "words.fst", "--max_states", "1"], b"", "--max_states allows"),
        (["compose", "words.fst", "double.fst"], b"", "fst convert --arc_type log64"),
        (["equivalent", "ambiguous.fst", "words.fst"], b"", "with --random"),
        (["randgen", "words.fst", "--beta", "-1"], b"", "a finite number from 0 up"),
        (["connect", "words.fst", "-o", "no/such/folder/x.fst"], b"", "no/such/folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_one_line(run: Run, arguments: list[str], stdin: bytes, said: str) -> None:
    found = run(*arguments, stdin=stdin)
    assert (found.code, found.output) == (2, b"")
    assert found.error.startswith("gtn-ebm")
    assert said in found.error
    assert found.error.count("\n") == 1


def test_nothing_half_written(run: Run) -> None:
    before = Path("words.fst").read_bytes()
    assert run("topsort", "loop.fst", "-o", "words.fst").code == 2
    assert Path("words.fst").read_bytes() == before
    assert sorted(path.name for path in Path().iterdir()) == [
        "ambiguous.fst",
        "double.fst",
        "letters.txt",
        "loop.fst",
        "words.fst",
        "words.txt",
    ]


def test_devices_are_written_to_and_not_replaced(run: Run) -> None:
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run("connect", "words.fst", "-o", "pipe").code == 0
        assert os.read(reader, 1 << 16) == run("connect", "words.fst").output
    finally:
        os.close(reader)
    assert Path("pipe").is_fifo()


def test_interruption_is_quiet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "connect", COMMANDS["connect"]._replace(run=interrupt))
    assert run("connect", "words.fst") == (130, b"", "")


def test_binary_output_is_not_for_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io, "TextIOWrapper", Terminal)
    refused = run("connect", "words.fst").error
    assert all(way in refused for way in ("-o FILE", "--to text", "fst print"))
    assert run("print", "words.fst").code == 0


def test_a_graph_is_not_typed(run: Run) -> None:
    assert "standard input is a terminal" in run("connect", stdin=Keyboard()).error


def test_as_a_program_whose_reader_stops(run: Run) -> None:
    rows = "".join(f"{k} {k + 1} 1 1\n" for k in range(20_000)) + "20000\n"
    Path("long.txt").write_text(rows)
    program = f"{sys.executable} -m gtn_ebm fst"
    line = f"{program} compile long.txt | {program} print | head -n 1"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("0\t1\t1\t1\n", "")


def _said_by(module: Path) -> str:
    """All literal text of a module; what is put in between when it runs is left out."""
    nodes = ast.walk(ast.parse(module.read_text(encoding="utf-8")))
    return "\n".join(
        "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        if isinstance(node, ast.JoinedStr)
        else str(node.value)
        for node in nodes
        if isinstance(node, ast.JoinedStr | ast.Constant)
    )


def test_advice_is_given_for_what_the_library_says() -> None:
    """Were an error worded anew, its advice in Python's words would reach the user of a command."""
    package = Path(gtn_ebm.__file__).parent
    said = "\n".join(_said_by(module) for module in package.rglob("*.py") if module.parent.name != "cli")
    for pattern, _ in advice.OPTIONS:
        assert re.search(pattern, said), pattern
