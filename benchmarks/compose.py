"""Composition beside OpenFst (pynini) and rustfst, in one process and on one thread.

Layered pairs have five arcs from each state to the next layer; cyclic pairs have five from each state to
anywhere, with labels as frequent as Zipf's law has them. The batch is a step of training: 16 interpretation
graphs, each composed with a small grammar. Times do not count what all can keep: the others' arcs are sorted
beforehand, our indices are made. What the others leave out is counted: the arc maps, through which gradients
flow to both operands.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pynini
import torch
import typer
from numpy.typing import NDArray

from benchmarks.openfst import to_openfst
from benchmarks.rust import to_rustfst
from benchmarks.timing import Contestants, Row, compare, show
from gtn_ebm import EPSILON, Graph, Structure, compose

FAN_OUT = 5
LABELS = 18
SIZES = [1080, 4860, 49680]
CYCLIC_SIZES = [1000, 5000]


def layered(rng: np.random.Generator, arcs: int, epsilons: float) -> Graph:
    """Layers of 36 states, as many as it takes for the arcs; epsilons lead to the next state of the layer."""
    width = 36
    layers = max(2, round(arcs / FAN_OUT / width))
    source = np.repeat(np.arange(layers * width), FAN_OUT)
    destination = (source // width + 1) * width + rng.integers(0, width, len(source))
    labels = rng.integers(0, LABELS, (2, len(source)))
    inside = (rng.random(len(source)) < epsilons) & (source % width < width - 1)
    destination[inside] = source[inside] + 1
    labels[:, inside] = EPSILON
    ends = range(width), range(layers * width, (layers + 1) * width)
    return _graph(rng, source, destination, labels, *ends)


def cyclic(rng: np.random.Generator, arcs: int, epsilons: float) -> Graph:
    """Arcs from anywhere to anywhere, labels after Zipf."""
    states = arcs // FAN_OUT
    source = np.repeat(np.arange(states), FAN_OUT)
    destination = rng.integers(0, states, len(source))
    labels = np.minimum(rng.zipf(1.3, (2, len(source))) - 1, 999)
    labels[rng.random(labels.shape) < epsilons] = EPSILON
    return _graph(rng, source, destination, labels, [0], range(states))


def _graph(
    rng: np.random.Generator,
    source: NDArray[np.int64],
    destination: NDArray[np.int64],
    labels: NDArray[np.int64],
    initial: Sequence[int],
    final: Sequence[int],
) -> Graph:
    energies = torch.from_numpy(rng.random(len(source)).astype(np.float32))
    structure = Structure(source, destination, labels[0], labels[1], states=1 + max(final))
    return Graph(structure, energies, initial=initial, final=final)


def interpretation(rng: np.random.Generator) -> Graph:
    """A word of 40 strips: each span of up to ten of them may be any of ten digits."""
    spans = [(start, end) for start in range(40) for end in range(start + 1, min(start + 10, 40) + 1)]
    source, destination = np.repeat(spans, 10, axis=0).T
    energies = torch.from_numpy(rng.standard_normal(len(source)).astype(np.float32))
    return Graph(Structure(source, destination, np.tile(np.arange(10), len(spans))), energies)


def pair(
    make: Callable[[np.random.Generator, int, float], Graph], arcs: int, epsilons: float, runs: int
) -> list[Row]:
    rng = np.random.default_rng(0)
    first, second = make(rng, arcs, epsilons), make(rng, arcs, epsilons)
    theirs = to_openfst(first, "log").arcsort("olabel"), to_openfst(second, "log").arcsort("ilabel")
    in_rust = [to_rustfst(graph) for graph in (first, second)]
    for fst, by_input in zip(in_rust, (False, True), strict=True):
        fst.tr_sort(by_input)
    result = compose(first, second)
    name = f"{make.__name__}{', epsilons' if epsilons else ''}: {first.arcs:,} ∘ {second.arcs:,}"
    contestants: Contestants = {
        "gtn_ebm": partial(compose, first, second),
        "pynini": partial(pynini.compose, *theirs),
        "rustfst": partial(in_rust[0].compose, in_rust[1]),
    }
    return compare(name, max(result.arcs, 1), contestants, runs)


def batch(runs: int) -> list[Row]:
    rng = np.random.default_rng(0)
    words = [interpretation(rng) for _ in range(16)]
    # Digits at even and at odd places.
    grammar = Graph(Structure([0] * 10 + [1] * 10, [1] * 10 + [0] * 10, [*range(10)] * 2), final=[0, 1])
    theirs = [to_openfst(word, "log").arcsort("olabel") for word in words]
    their_grammar = to_openfst(grammar, "log").arcsort("ilabel")

    def pynini_batch() -> None:
        for word in theirs:
            pynini.compose(word, their_grammar)

    arcs = sum(graph.arcs for graph in compose(words, grammar))
    contestants: Contestants = {"gtn_ebm": partial(compose, words, grammar), "pynini": pynini_batch}
    return compare(f"batch of 16: {words[0].arcs:,} ∘ {grammar.arcs}", arcs, contestants, runs)


def main(
    arcs: Annotated[list[int], typer.Option(help="Arcs of each graph of a layered pair.")] = SIZES,
    cyclic_arcs: Annotated[
        list[int], typer.Option(help="Arcs of each graph of a cyclic pair.")
    ] = CYCLIC_SIZES,
    epsilons: Annotated[
        float, typer.Option(help="Share of arcs with an epsilon, where there are any.")
    ] = 0.1,
    runs: Annotated[int, typer.Option(help="Runs of each contestant.")] = 5,
    json: Annotated[Path | None, typer.Option(help="A file to keep the figures in.")] = None,
) -> None:
    """Composition beside OpenFst and rustfst; times per arc are per arc of the result."""
    torch.set_num_threads(1)
    rows = batch(runs)
    for make, sizes in ((layered, arcs), (cyclic, cyclic_arcs)):
        for share in (0.0, epsilons):
            for size in sizes:
                rows += pair(make, size, share, runs)
    show("Composition", rows, json)


if __name__ == "__main__":
    typer.run(main)
