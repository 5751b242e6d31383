"""Writes docs/reference/: a page for every operation, with its graphs drawn before and after.

`make reference` makes them all anew from the docstrings and the examples below.
"""

from __future__ import annotations

import inspect
import re
import shutil
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

import gtn_ebm
from gtn_ebm import Graph, Symbols, draw
from gtn_ebm.io import read_text
from gtn_ebm.io.files import write_whole

PAGES = Path(__file__).parent / "reference"
LETTERS = Symbols("abcdefgh")


class Example(NamedTuple):
    """What a page shows: graphs in AT&T text form, named a, b, … in the call, lines divided by ``;``.

    An acceptor's arcs have two equal labels.
    """

    call: str
    graphs: tuple[str, ...]


WEIGHTED = "0 1 a a 1; 0 2 b b 2; 1 2 c c 0.5; 2 2 d d 1; 2 0.5"
TRANSDUCER = "0 1 a b 1; 0 2 b c; 1 3 c c 0.5; 2 3 c d 2; 3"
AMBIGUOUS = "0 1 a a 1; 0 2 a a 2; 1 3 b b; 2 3 b b 1; 2 3 c c; 3"
WITH_EPSILONS = "0 1 <eps> <eps> 1; 1 2 a a; 0 2 b b 2; 2 1 <eps> <eps> 3; 2 3 c c; 3"
TREE = "0 1 a a 1; 0 2 b b 1; 1 3 c c 2; 2 4 c c 2; 3; 4"
ONE_EACH = "0 1 a a 1; 0 1 b b; 1 2 c c; 2"
LATE = "0 1 a <eps>; 1 2 b <eps> 1; 2 3 <eps> c; 3"

SECTIONS: dict[str, dict[str, Example]] = {
    "Putting graphs together": {
        "union": Example("union(a, b)", ("0 1 a a 1; 1 2 b b; 2", "0 1 c c 0.5; 1")),
        "concat": Example("concat(a, b)", ("0 1 a a 1; 1 0.5", "0 1 b b; 0 1 c c 2; 1")),
        "closure": Example("closure(a)", ("0 1 a a 1; 1 2 b b; 2 0.5",)),
        "replace": Example(
            "replace(a, {7: b})", ("0 1 a a; 1 2 h h 1; 2 3 b b; 3", "0 1 c c 1; 0 1 d d 2; 1")
        ),
    },
    "Composition and its kin": {
        "compose": Example(
            "compose(a, b)", ("0 1 a b 1; 0 1 b c 2; 1 2 c d; 2", "0 1 b e 0.5; 0 1 c f; 1 2 d g; 2")
        ),
        "intersect": Example("intersect(a, b)", (WEIGHTED, "0 1 a a; 0 1 b b 1; 1 2 c c; 1 2 d d; 2")),
        "difference": Example("difference(a, b)", (WEIGHTED, "0 1 a a; 1 2 c c; 2")),
        "complement": Example("complement(a)", ("0 1 a a; 1 2 b b; 2",)),
    },
    "Labels": {
        "project": Example('project(a, "output")', (TRANSDUCER,)),
        "invert": Example("invert(a)", (TRANSDUCER,)),
        "relabel": Example("relabel(a, {0: 4}, {2: -1})", (TRANSDUCER,)),
        "encode": Example("encode(a, Encoder())", (TRANSDUCER,)),
        "decode": Example("decode(encode(a, encoder := Encoder()), encoder)", (TRANSDUCER,)),
        "push_labels": Example("push_labels(a)", (LATE,)),
        "synchronize": Example("synchronize(a)", (LATE,)),
    },
    "Order and connection": {
        "connect": Example("connect(a)", ("0 1 a a; 0 2 b b; 1 3 c c; 4 3 d d; 2 5 a a; 3",)),
        "arc_sort": Example('arc_sort(a, "input")', ("0 1 c c; 0 1 a a; 0 1 b b; 1",)),
        "topological_sort": Example("topological_sort(a)", ("0 2 a a; 2 1 b b; 0 1 c c; 1",)),
        "reverse": Example("reverse(a)", (WEIGHTED,)),
    },
    "Energies": {
        "scale": Example("scale(a, 2.0)", (WEIGHTED,)),
    },
    "Fewer states and arcs": {
        "remove_epsilons": Example("remove_epsilons(a)", (WITH_EPSILONS,)),
        "epsilon_normalize": Example('epsilon_normalize(a, "input")', ("0 1 <eps> b; 1 2 a <eps> 1; 2",)),
        "determinize": Example("determinize(a)", (AMBIGUOUS,)),
        "disambiguate": Example("disambiguate(a)", (AMBIGUOUS,)),
        "minimize": Example("minimize(a)", (TREE,)),
        "push": Example("push(a)", (WEIGHTED,)),
        "prune": Example("prune(a, threshold=1.0)", (AMBIGUOUS,)),
    },
    "Numbers, paths and samples": {
        "free_energy": Example("free_energy(a)", (AMBIGUOUS,)),
        "minimum_energy": Example("minimum_energy(a)", (WEIGHTED,)),
        "posteriors": Example("posteriors(a)", (AMBIGUOUS,)),
        "best_path": Example("best_path(a)", (WEIGHTED,)),
        "best_paths": Example("best_paths(a, 3)", (WEIGHTED,)),
        "random_paths": Example(
            "random_paths(a, 3, generator=torch.Generator().manual_seed(0))", (WEIGHTED,)
        ),
        "shortest_distance": Example("shortest_distance(a)", (WEIGHTED,)),
        "all_pairs_distance": Example("all_pairs_distance(a)", (WEIGHTED,)),
    },
    "Wrong answers and what they cost": {
        "most_offending": Example("most_offending(a, b)", (AMBIGUOUS, "0 1 a a; 1 2 b b; 2")),
        "incorrect_free_energy": Example("incorrect_free_energy(a, b)", (AMBIGUOUS, "0 1 a a; 1 2 b b; 2")),
        "edit_distance": Example("edit_distance(a, labels=[0, 1], at_most=2)", ("0 1 a a; 1",)),
        "hamming_distance": Example("hamming_distance(a, labels=[0, 1])", ("0 1 a a; 1 2 b b; 2",)),
        "cost_augmented": Example("cost_augmented(a, b)", (AMBIGUOUS, "0 1 a a; 1 2 b b; 1 2 c c 1; 2")),
        "expected_cost": Example("expected_cost(a, b)", (AMBIGUOUS, "0 1 a a; 1 2 b b; 1 2 c c 1; 2")),
    },
    "The distribution of paths": {
        "expectation": Example("expectation(a, torch.ones(a.arcs))", (WEIGHTED,)),
        "expected_labels": Example("expected_labels(a)", (WEIGHTED,)),
        "expected_energy": Example("expected_energy(a)", (AMBIGUOUS,)),
        "energy_variance": Example("energy_variance(a)", (AMBIGUOUS,)),
        "entropy": Example("entropy(a)", (AMBIGUOUS,)),
        "cross_entropy": Example("cross_entropy(a, scale(a, 2.0))", (AMBIGUOUS,)),
        "kl_divergence": Example("kl_divergence(a, scale(a, 2.0))", (AMBIGUOUS,)),
        "string_cross_entropy": Example("string_cross_entropy(a, b)", (TREE, ONE_EACH)),
        "string_kl_divergence": Example("string_kl_divergence(a, b)", (TREE, ONE_EACH)),
        "free_energy_slope": Example("free_energy_slope(a, 2.0)", (AMBIGUOUS,)),
        "heat_capacity": Example("heat_capacity(a, 2.0)", (AMBIGUOUS,)),
    },
    "Answers": {
        "best_answers": Example("best_answers(a, 2)", (AMBIGUOUS,)),
        "random_answers": Example(
            "random_answers(a, 2, generator=torch.Generator().manual_seed(0))", (AMBIGUOUS,)
        ),
        "answer_energies": Example("answer_energies(a, [[0, 1], [0, 2], [3]])", (AMBIGUOUS,)),
        "expected_edit_distance": Example("expected_edit_distance(a, [0, 1])", (AMBIGUOUS,)),
        "minimum_risk_answer": Example("minimum_risk_answer(a, 2)", (AMBIGUOUS,)),
    },
    "Gradients of samples": {
        "reinforce": Example(
            "reinforce([path.energy for path in best_paths(a, 3)], torch.tensor([0.0, 1.0, 1.0]))",
            (AMBIGUOUS,),
        ),
        "straight_through": Example("straight_through(a, best_paths(a, 2))", (AMBIGUOUS,)),
        "relaxed_paths": Example(
            "relaxed_paths(a, 2, 0.5, generator=torch.Generator().manual_seed(0))", (AMBIGUOUS,)
        ),
    },
    "Other semirings": {
        "Semiring": Example("semiring.counting.total(a)", (AMBIGUOUS,)),
    },
    "Questions": {
        "properties": Example("properties(a)", (WEIGHTED,)),
        "equal": Example("equal(a, b)", (TREE, TREE)),
        "isomorphic": Example("isomorphic(a, b)", ("0 1 a a; 0 2 b b; 1; 2", "0 1 b b; 0 2 a a; 1; 2")),
        "equivalent": Example("equivalent(a, b)", (TREE, "0 1 a a 2; 0 1 b b 2; 1 2 c c 1; 2")),
        "random_equivalent": Example("random_equivalent(a, b, count=10)", (TREE, TREE)),
    },
}


def graph(text: str) -> Graph:
    """The graph of an example."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "graph.txt")
        file.write_text(text.replace("; ", "\n") + "\n")
        return read_text(file, input_symbols=LETTERS, output_symbols=LETTERS)


def run(example: Example) -> tuple[list[Graph], Any]:
    """The graphs of an example, and what its call gives."""
    graphs = [graph(text) for text in example.graphs]
    names = {**vars(gtn_ebm), "torch": torch, **dict(zip("abcd", graphs, strict=False))}
    return graphs, eval(example.call, names)


def page(name: str, example: Example) -> tuple[str, dict[str, Graph]]:
    """The page of an operation in Markdown, and the graphs to be drawn beside it, by file name."""
    function = getattr(gtn_ebm, name)
    graphs, result = run(example)
    results = result if type(result) in (list, tuple) else [result]
    before = {f"{name}.before{k}.svg": one for k, one in enumerate(graphs)}
    after = {f"{name}.after{k}.svg": one for k, one in enumerate(results) if isinstance(one, Graph)}
    answers = [f"```\n{one}\n```" for one in results if not isinstance(one, Graph)]
    operands = [f"`{letter}`\n\n{_shown(file)}" for letter, file in zip("abcd", before, strict=False)]
    parts = [
        f"# {name}",
        f"```python\n{signature(function)}\n```",
        markdown(inspect.getdoc(function) or ""),
        "## Example",
        *operands,
        f"`{example.call}`",
        *map(_shown, after),
        *answers,
    ]
    return "\n\n".join(parts) + "\n", before | after


def signature(function: Callable) -> str:
    """``def`` line, without quotation marks around the types."""
    return f"{function.__name__}{inspect.signature(function)}".replace("'", "")


def markdown(docstring: str) -> str:
    """A docstring as Markdown: sections under bold titles, named parts of a section as a list, examples as
    code."""
    return "\n\n".join(_block(block) for block in docstring.split("\n\n"))


def _block(block: str) -> str:
    if block.startswith(">>> "):
        return f"```python\n{block}\n```"
    block = re.sub("^Cost:", "**Cost:**", block.replace("``", "`"))
    title, _, body = block.partition("\n")
    if title not in ("Args:", "Returns:", "Raises:", "Attributes:"):
        return block
    lines = textwrap.dedent(body)
    if title != "Returns:":  # a part begins at the margin and goes on further in
        lines = re.sub(r"(?m)^(?=\S)", "- ", re.sub(r"\n\s+", " ", lines))
    return f"**{title}**\n\n{lines}"


def _shown(file: str) -> str:
    return f"![{file.removesuffix('.svg')}]({file})"


def index() -> str:
    """The page that lists all others."""
    lines = [
        "# The operations",
        "Made by `make reference` from the docstrings and examples. Costs are in the states S and arcs A of "
        "the graph, or of all graphs together.",
    ]
    for title, examples in SECTIONS.items():
        lines += [f"\n## {title}", "| operation | |", "|---|---|"]
        for name in examples:
            first = (inspect.getdoc(getattr(gtn_ebm, name)) or "").split("\n\n")[0].replace("\n", " ")
            lines.append(f"| [{name}]({name}.md) | {first.replace('``', '`').replace('|', '∣')} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes every page anew."""
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir()
    write_whole(PAGES / "README.md", index())
    for examples in SECTIONS.values():
        for name, example in examples.items():
            text, pictures = page(name, example)
            write_whole(PAGES / f"{name}.md", text)
            for file, graph in pictures.items():
                write_whole(PAGES / file, draw.svg(graph))


if __name__ == "__main__":
    main()
