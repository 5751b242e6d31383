"""The operations by name: one entry in ``COMMANDS`` each."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import PurePath
from typing import Any, BinaryIO, Literal, NamedTuple

import torch

from gtn_ebm import draw
from gtn_ebm import io as formats
from gtn_ebm.cli import code_book
from gtn_ebm.cli.files import Files
from gtn_ebm.cli.options import (
    AB,
    ISYMBOLS,
    MAX_STATES,
    OSYMBOLS,
    SEED,
    SEMIRING,
    SEVERAL,
    A,
    Option,
    a_beta,
    a_count,
    a_distance,
    delta_option,
)
from gtn_ebm.distance import all_pairs_distance, shortest_distance
from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.inference.best_paths import best_paths
from gtn_ebm.inference.comparison import equal, equivalent, isomorphic, random_equivalent
from gtn_ebm.inference.least_energy import Path
from gtn_ebm.inference.sampling import random_paths
from gtn_ebm.io.lines import Lines, whole_number
from gtn_ebm.ops.composition import compose, intersect
from gtn_ebm.ops.connection import connect
from gtn_ebm.ops.determinization import determinize
from gtn_ebm.ops.difference import complement, difference
from gtn_ebm.ops.disambiguation import disambiguate
from gtn_ebm.ops.encoding import Encoder, decode, encode
from gtn_ebm.ops.epsilons import epsilon_normalize, remove_epsilons
from gtn_ebm.ops.labels import invert, project, relabel
from gtn_ebm.ops.minimization import minimize
from gtn_ebm.ops.order import arc_sort, topological_sort
from gtn_ebm.ops.properties import Properties, properties
from gtn_ebm.ops.pruning import prune
from gtn_ebm.ops.pushing import push, push_labels
from gtn_ebm.ops.rational import closure, concat, union
from gtn_ebm.ops.replacement import replace
from gtn_ebm.ops.reversal import reverse
from gtn_ebm.ops.synchronization import synchronize
from gtn_ebm.symbols import Symbols

Answer = Graph | str | bool
Run = Callable[[Files, argparse.Namespace], Answer]


class Command(NamedTuple):
    """An operation: what it says of itself, its arguments, and what it does; of the options that ``needs``
    names one at least must be given."""

    about: str
    run: Run
    operands: tuple[Option, ...]
    example: str
    options: tuple[Option, ...] = ()
    needs: tuple[str, ...] = ()


def _of_one(operation: Callable[..., Answer], *names: str) -> Run:
    """An operation of one graph; ``names`` are those options that it takes as they are."""
    return lambda files, options: operation(files.graph(options.a), **_taken(options, names))


def _of_two(operation: Callable[..., Answer], *names: str) -> Run:
    return lambda files, options: operation(*files.graphs(options.a, options.b), **_taken(options, names))


def _of_sums(operation: Callable[..., Answer], *names: str) -> Run:
    """An operation of one graph that sums over alternatives."""

    def run(files: Files, options: argparse.Namespace) -> Answer:
        graph = files.graph(options.a)
        return operation(graph, beta=files.beta, **_taken(options, names))

    return run


def _taken(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names}


def _compile(files: Files, options: argparse.Namespace) -> Graph:
    file = files.file(options.a)
    tables = files.symbols(options.isymbols), files.symbols(options.osymbols)
    if options.acceptor:
        return formats.read_acceptor_text(file, tables[0])
    return formats.read_text(file, *tables)


def _with_symbols(files: Files, options: argparse.Namespace) -> Graph:
    graph = files.graph(options.a)
    tables = files.symbols(options.isymbols), files.symbols(options.osymbols)
    return graph if tables == (None, None) else graph.with_symbols(*tables)


def _print(files: Files, options: argparse.Namespace) -> Graph:
    options.target = options.target or "text"
    return _with_symbols(files, options)


def _draw(files: Files, options: argparse.Namespace) -> str:
    ending = PurePath(options.output).suffix.lower()
    if ending not in ("", ".dot", ".gv", ".svg"):
        raise GraphError(
            f"{options.output}: a picture is drawn as .svg, or as DOT source to .dot, .gv or a pipe, "
            "of which Graphviz's programs make other formats"
        )
    graph = _with_symbols(files, options)
    if options.most_probable is not None:
        graph = draw.most_probable(graph, options.most_probable)
    picture = draw.svg if ending == ".svg" else draw.dot
    return picture(graph, title=options.title, best_path=options.best_path, max_arcs=options.max_arcs)


def _info(graph: Graph) -> str:
    ends = [int((part != math.inf).sum()) for part in (graph.initial, graph.final)]
    rows: dict[str, object] = {
        "states": graph.states,
        "arcs": graph.arcs,
        "initial states": ends[0],
        "final states": ends[1],
        "input epsilons": int((graph.input_labels < 0).sum()),
        "output epsilons": int((graph.output_labels < 0).sum()),
        "input symbols": "none" if graph.input_symbols is None else len(graph.input_symbols),
        "output symbols": "none" if graph.output_symbols is None else len(graph.output_symbols),
    }
    found = properties(graph)
    reads_one_way = found.i_deterministic and not found.i_epsilons
    for name, value in vars(Properties).items():
        is_property = isinstance(value, cached_property) and not name.startswith("_")
        if is_property and (reads_one_way or name not in _OF_THE_SQUARE):
            rows[name.replace("_", " ")] = "yes" if getattr(found, name) else "no"
    width = max(map(len, rows)) + 2
    return "".join(f"{name:<{width}}{value}\n" for name, value in rows.items())


_OF_THE_SQUARE = ("functional", "unambiguous")  # which cost the square of a graph that is not deterministic


def _push(files: Files, options: argparse.Namespace) -> Graph:
    graph = files.graph(options.a)
    to: Literal["initial", "final"] = "final" if options.to_final else "initial"
    if options.push_labels:
        graph = push_labels(graph, to=to)
    if options.push_weights or not options.push_labels:
        graph = push(graph, files.beta, to=to)
    return graph


def _shortest_distance(files: Files, options: argparse.Namespace) -> str:
    graph = files.graph(options.a)
    distance = shortest_distance(graph, files.beta, "to" if options.reverse else "from")
    return "".join(f"{state}\t{energy:.9g}\n" for state, energy in enumerate(distance.tolist()))


def _all_pairs_distance(files: Files, options: argparse.Namespace) -> str:
    graph = files.graph(options.a)
    distance = all_pairs_distance(graph, files.beta)
    pairs = (distance != math.inf).nonzero().tolist()
    return "".join(f"{first}\t{second}\t{distance[first, second]:.9g}\n" for first, second in pairs)


def _shortest_path(graph: Graph, nshortest: int, unique: bool) -> Graph:
    return _side_by_side(graph, best_paths(graph, nshortest, unique=unique))


def _random_paths(files: Files, options: argparse.Namespace) -> Graph:
    graph = files.graph(options.a)
    drawn = random_paths(
        graph, options.npath, options.beta, _generator(options.seed), max_arcs=options.max_length
    )
    return _side_by_side(graph, drawn)


def _generator(seed: int | None) -> torch.Generator:
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def _equivalent(files: Files, options: argparse.Namespace) -> bool:
    first, second = files.graphs(options.a, options.b)
    if not options.random:
        return equivalent(first, second, files.beta, delta=options.delta, max_states=options.max_states)
    generator = _generator(options.seed)
    return random_equivalent(
        first, second, files.beta, count=options.npath, delta=options.delta, generator=generator
    )


def _side_by_side(graph: Graph, paths: list[Path]) -> Graph:
    """The graph of these paths alone."""
    if not paths:
        nothing = Structure([], [], [])
        return Graph(nothing, graph.energies[:0]).with_symbols(graph.input_symbols, graph.output_symbols)
    return union(*(_chain(graph, path) for path in paths))


def _chain(graph: Graph, path: Path) -> Graph:
    labels = graph.input_labels[path.arcs], graph.output_labels[path.arcs]
    symbols: dict[str, Any] = {"input_symbols": graph.input_symbols, "output_symbols": graph.output_symbols}
    energies = graph.energies[torch.from_numpy(path.arcs)]
    ends = path.energy  # all there is of it where no arc is
    if len(path.arcs):
        first, last = graph.source[path.arcs[0]], graph.destination[path.arcs[-1]]
        ends = graph.initial[first] + graph.final[last]
    final = energies.new_full((len(energies) + 1,), torch.inf)
    final[-1] = ends
    return Graph.linear(*labels, energies, final=final, **symbols)


def _replace(files: Files, options: argparse.Namespace) -> Graph:
    root = files.graph(options.a)
    called = {}
    for rule in options.rules:
        label, equals, name = rule.partition("=")
        if not equals:
            raise GraphError(f"{rule!r} is no rule; write LABEL=FILE")
        called[_label(label, root.output_symbols)] = files.graph(name)
    return replace(root, called, max_states=options.max_states)


def _label(text: str, symbols: Symbols | None) -> int:
    """A label as it stands in files: a name, or where there is no table a number, 0 being epsilon."""
    if symbols is not None:
        return symbols.label(text)
    if not re.fullmatch("[0-9]{1,10}", text) or not 0 < int(text) < 2**31:
        raise GraphError(f"{text!r} is no label; write a number from 1 to 2³¹ − 1, as in text files")
    return int(text) - 1


def _complement(files: Files, options: argparse.Namespace) -> Graph:
    graph = files.graph(options.a)
    labels = None
    if options.labels is not None:
        labels = [_label(text, graph.input_symbols) for text in options.labels.split()]
    return complement(graph, labels, max_states=options.max_states)


def _relabel(files: Files, options: argparse.Namespace) -> Graph:
    pairs = [
        None if name is None else _pairs(files.file(name))
        for name in (options.relabel_ipairs, options.relabel_opairs)
    ]
    return relabel(files.graph(options.a), *pairs)


def _pairs(file: BinaryIO) -> dict[int, int]:
    pairs = {}
    lines = Lines(file)
    for number, fields in lines.columns(2):
        with lines.at(number):
            if len(fields) != 2:
                raise GraphFormatError("write two numbers, the old label and the new")
            old, new = (whole_number(field, "a label", 2**31 - 1) - 1 for field in fields)
            pairs[old] = new
    return pairs


def _encode(files: Files, options: argparse.Namespace) -> Graph:
    graph = files.graph(options.a)
    encoded = encode(graph, Encoder(energies=options.encode_weights))
    code_book.write(options.codex, graph, encoded, options.encode_weights)
    return encoded


def _decode(files: Files, options: argparse.Namespace) -> Graph:
    graph, encoder = files.graph(options.a), Encoder(energies=True)
    encode(code_book.read(files.file(options.codex)), encoder)
    return decode(graph, encoder)


def _determinize(files: Files, options: argparse.Namespace) -> Graph:
    graph = files.graph(options.a)
    outputs: dict[str, Literal["single", "all", "best"]] = {
        "functional": "single",
        "nonfunctional": "all",
        "disambiguate": "best",
    }
    return determinize(
        graph,
        files.beta,
        outputs=outputs[options.det_type],
        delta=options.delta,
        max_states=options.max_states,
    )


def _arc_sort(graph: Graph, sort_type: str) -> Graph:
    return arc_sort(graph, "input" if sort_type == "ilabel" else "output")


def _closure(graph: Graph, closure_type: str) -> Graph:
    return closure(graph, lower=1 if closure_type == "plus" else 0)


def _of_several(operation: Callable[..., Graph]) -> Run:
    return lambda files, options: operation(*files.graphs(*options.graphs))


_SIDES = ("input", "output")

COMMANDS = {
    "compile": Command(
        "Make a graph of text: lines 'source destination input output [energy]' and 'final [energy]'.",
        _compile,
        (Option("a", nargs="?", default="-", metavar="A", help="a text file (standard input)"),),
        "compile --isymbols letters.txt words.txt -o words.fst",
        (ISYMBOLS, OSYMBOLS, Option("--acceptor", action="store_true", help="arcs have one label")),
    ),
    "print": Command(
        "Show a graph as text, as 'compile' reads it.", _print, A, "print words.fst", (ISYMBOLS, OSYMBOLS)
    ),
    "info": Command(
        "Say how large a graph is, and of what kind.\n\n"
        "Whether it is functional and unambiguous is said only where its input is deterministic and\n"
        "without epsilons, since else that takes time as the square of the graph.",
        _of_one(_info),
        A,
        "info words.fst",
    ),
    "draw": Command(
        "Draw a graph: as DOT source, or as SVG to a file named .svg.",
        _draw,
        A,
        "draw words.fst -o words.svg",
        (
            ISYMBOLS,
            OSYMBOLS,
            Option("--title", default="", help="a line above the graph"),
            Option("--best_path", action="store_true", help="colour the path of least energy"),
            Option("--max_arcs", type=a_count, default=500, metavar="N", help="the most arcs to draw (500)"),
            Option("--most_probable", type=a_count, metavar="N", help="draw the N most probable arcs only"),
        ),
    ),
    "convert": Command(
        "Write a graph in another format or for other arcs.",
        _of_one(lambda graph: graph),
        A,
        "convert words.fst --to json -o words.json",
    ),
    "compose": Command(
        "Compose two transducers: read what A reads, write what B writes of what A wrote.",
        _of_two(compose, "max_states"),
        AB,
        "compose letters.fst lexicon.fst -o words.fst",
        (MAX_STATES,),
    ),
    "intersect": Command(
        "Accept what both of two acceptors accept; energies add up.",
        _of_two(intersect, "max_states"),
        AB,
        "intersect a.fst b.fst | gtn-ebm fst print",
        (MAX_STATES,),
    ),
    "difference": Command(
        "Accept what A accepts and B does not; B's energies do not count.",
        _of_two(difference, "max_states"),
        AB,
        "difference words.fst stopwords.fst",
        (MAX_STATES,),
    ),
    "complement": Command(
        "Accept the strings that an acceptor does not accept, all with an energy of 0.",
        _complement,
        A,
        'complement --labels "1 2 3" words.fst',
        (
            Option("--labels", metavar="'A B …'", help="what strings are made of (the graph's own labels)"),
            MAX_STATES,
        ),
    ),
    "union": Command(
        "Put the paths of several graphs side by side.", _of_several(union), SEVERAL, "union a.fst b.fst"
    ),
    "concat": Command(
        "Put a path of each of several graphs in a row.", _of_several(concat), SEVERAL, "concat a.fst b.fst"
    ),
    "closure": Command(
        "Put any number of paths in a row.",
        _of_one(_closure, "closure_type"),
        A,
        "closure --closure_type plus word.fst",
        (
            Option(
                "--closure_type",
                choices=("star", "plus"),
                default="star",
                help="from none, or from one (star)",
            ),
        ),
    ),
    "project": Command(
        "Keep the input labels only, or the output labels.",
        _of_one(lambda graph, project_type: project(graph, project_type), "project_type"),
        A,
        "project --project_type output words.fst",
        (Option("--project_type", choices=_SIDES, default="input", help="which labels (input)"),),
    ),
    "invert": Command("Exchange input and output labels.", _of_one(invert), A, "invert words.fst"),
    "reverse": Command("Turn all paths around.", _of_one(reverse), A, "reverse words.fst"),
    "relabel": Command(
        "Give other labels, by pairs of numbers in a file.",
        _relabel,
        A,
        "relabel --relabel_ipairs pairs.txt words.fst",
        (
            Option("--relabel_ipairs", metavar="FILE", help="lines 'old new' for input labels"),
            Option("--relabel_opairs", metavar="FILE", help="lines 'old new' for output labels"),
        ),
        needs=("relabel_ipairs", "relabel_opairs"),
    ),
    "replace": Command(
        "Put graphs in the place of labels, recursively.",
        _replace,
        (
            Option("a", metavar="ROOT", help="a graph, or -"),
            Option(
                "rules", nargs="+", metavar="LABEL=FILE", help="an output label and the graph it stands for"
            ),
        ),
        "replace sentence.fst 17=number.fst",
        (MAX_STATES,),
    ),
    "connect": Command("Drop states that lie on no whole path.", _of_one(connect), A, "connect words.fst"),
    "arcsort": Command(
        "Order the arcs of each state by label.",
        _of_one(_arc_sort, "sort_type"),
        A,
        "arcsort --sort_type olabel words.fst",
        (
            Option(
                "--sort_type", choices=("ilabel", "olabel"), default="ilabel", help="by which label (ilabel)"
            ),
        ),
    ),
    "topsort": Command(
        "Number the states so that every arc leads to a greater one.",
        _of_one(topological_sort),
        A,
        "topsort words.fst",
    ),
    "rmepsilon": Command(
        "Remove arcs that neither read nor write.",
        _of_sums(remove_epsilons),
        A,
        "rmepsilon words.fst",
        (SEMIRING,),
    ),
    "epsnormalize": Command(
        "Move epsilons to the ends of paths.",
        _of_sums(
            lambda graph, beta, eps_norm_type, max_states: epsilon_normalize(
                graph, eps_norm_type, beta, max_states=max_states
            ),
            "eps_norm_type",
            "max_states",
        ),
        A,
        "epsnormalize --eps_norm_type output words.fst",
        (
            Option("--eps_norm_type", choices=_SIDES, default="input", help="which epsilons (input)"),
            SEMIRING,
            MAX_STATES,
        ),
    ),
    "synchronize": Command(
        "Let each path read and write in step as far as it can.",
        _of_one(synchronize, "max_states"),
        A,
        "synchronize words.fst",
        (MAX_STATES,),
    ),
    "determinize": Command(
        "Leave one path to each string that is read.",
        _determinize,
        A,
        "determinize words.fst | gtn-ebm fst minimize -o small.fst",
        (
            Option(
                "--det_type",
                choices=("functional", "nonfunctional", "disambiguate"),
                default="functional",
                help="a string with several outputs: is an error (functional), keeps them, or the best",
            ),
            SEMIRING,
            delta_option(1e-6),
            MAX_STATES,
        ),
    ),
    "disambiguate": Command(
        "Leave one path to each string that is read, in a graph that need not be deterministic.",
        _of_sums(disambiguate, "delta", "max_states"),
        A,
        "disambiguate words.fst",
        (SEMIRING, delta_option(1e-6), MAX_STATES),
    ),
    "minimize": Command(
        "Make the smallest graph that is equivalent to a deterministic one.",
        _of_sums(minimize, "delta"),
        A,
        "minimize words.fst",
        (SEMIRING, delta_option(1e-6)),
    ),
    "push": Command(
        "Move energies, or output labels, towards the initial states.",
        _push,
        A,
        "push --push_labels words.fst",
        (
            Option(
                "--push_weights", action="store_true", help="move energies (done if nothing is asked for)"
            ),
            Option("--push_labels", action="store_true", help="move output labels"),
            Option("--to_final", action="store_true", help="towards the final states"),
            SEMIRING,
        ),
    ),
    "prune": Command(
        "Keep what lies on good paths only.",
        _of_one(lambda graph, weight, nstate: prune(graph, weight, nstate), "weight", "nstate"),
        A,
        "prune --weight 5 lattice.fst",
        (
            Option("--weight", type=a_distance, metavar="X", help="paths within X of the least energy"),
            Option("--nstate", type=a_count, metavar="N", help="at most N states, those of the best paths"),
        ),
        needs=("weight", "nstate"),
    ),
    "shortestpath": Command(
        "Keep the paths of least energy.",
        _of_one(_shortest_path, "nshortest", "unique"),
        A,
        "shortestpath --nshortest 10 --unique lattice.fst | gtn-ebm fst print",
        (
            Option("--nshortest", type=a_count, default=1, metavar="N", help="how many (1)"),
            Option("--unique", action="store_true", help="of paths with the same strings only the best"),
        ),
    ),
    "shortestdistance": Command(
        "Print for each state the sum over all paths to it.",
        _shortest_distance,
        A,
        "shortestdistance --semiring log lattice.fst",
        (Option("--reverse", action="store_true", help="from it to the final states"), SEMIRING),
    ),
    "allpairsdistance": Command(
        "Print for each pair of states with a path between them the sum over all of these.",
        _all_pairs_distance,
        A,
        "allpairsdistance --semiring log lattice.fst",
        (SEMIRING,),
    ),
    "randgen": Command(
        "Draw random paths, each with the probability that its energy gives it.",
        _random_paths,
        A,
        "randgen --npath 5 --seed 1 lattice.fst | gtn-ebm fst print",
        (
            Option("--npath", type=a_count, default=1, metavar="N", help="how many (1)"),
            Option(
                "--beta",
                type=a_beta,
                default=1.0,
                metavar="X",
                help="a path's probability falls as exp(−X · energy); 0: all are alike (1)",
            ),
            Option("--max_length", type=a_count, metavar="N", help="give up on a path of more than N arcs"),
            SEED,
        ),
    ),
    "equal": Command(
        "Ask whether two graphs have the same states and arcs, in order (exit code 1 if not).",
        _of_two(equal, "delta"),
        AB,
        "equal a.fst b.fst",
        (delta_option(1 / 1024),),
    ),
    "isomorphic": Command(
        "Ask whether two graphs are the same but for the numbers of states (exit code 1 if not).",
        _of_two(isomorphic, "delta"),
        AB,
        "isomorphic a.fst b.fst",
        (delta_option(1 / 1024),),
    ),
    "equivalent": Command(
        "Ask whether two graphs give each string the same energy (exit code 1 if not).",
        _equivalent,
        AB,
        "equivalent words.fst small.fst && echo the same",
        (
            SEMIRING,
            delta_option(1 / 1024),
            Option("--random", action="store_true", help="only on the strings of random paths"),
            Option("--npath", type=a_count, default=100, metavar="N", help="how many of each graph (100)"),
            SEED,
            MAX_STATES,
        ),
    ),
    "encode": Command(
        "Make an acceptor whose labels stand for input and output label (and energy).",
        _encode,
        (
            Option("a", metavar="A", help="a graph, or -"),
            Option("codex", metavar="CODEX", help="where to write what labels mean"),
        ),
        "encode words.fst words.codex | gtn-ebm fst minimize | gtn-ebm fst decode - words.codex",
        (Option("--encode_weights", action="store_true", help="energies, too"),),
    ),
    "decode": Command(
        "Undo 'encode'.",
        _decode,
        (
            Option("a", metavar="A", help="a graph, or -"),
            Option("codex", metavar="CODEX", help="as 'encode' wrote it"),
        ),
        "decode coded.fst words.codex",
    ),
}
