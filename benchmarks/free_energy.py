"""Free energy with its gradient beside OpenFst (pynini), in one process and on one thread.

Deep lattices have ten arcs from each state to the five after it; wide ones are layers of states, each with an
arc to every state of the next layer. Indices and topological order are made beforehand, and OpenFst's Fst is.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import isqrt
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks.openfst import posteriors, to_openfst
from benchmarks.timing import Row, compare, show
from gtn_ebm import Graph, Structure, free_energy

SIZES = [1_000, 10_000, 100_000, 1_000_000]


def deep(rng: np.random.Generator, arcs: int) -> Structure:
    """A long chain: arcs lead one to five states on."""
    steps, fan_out = arcs // 10, 10
    source = np.repeat(np.arange(steps), fan_out)
    onwards = rng.integers(1, 6, len(source))
    onwards[::fan_out] = 1
    return Structure(source, np.minimum(source + onwards, steps), rng.integers(0, 50, len(source)))


def wide(rng: np.random.Generator, arcs: int) -> Structure:
    """At most a hundred layers of as many states as it takes, between a first and a last state."""
    layers = min(100, arcs // 100)
    width = isqrt(arcs // layers)
    grid = np.arange(layers * width).reshape(layers, width)
    between = [np.stack(np.broadcast_arrays(a[:, None], b[None])).reshape(2, -1) for a, b in pairwise(grid)]
    inwards, outwards = (
        np.stack([np.zeros_like(grid[0]) - 1, grid[0]]),
        np.stack([grid[-1], np.full(width, grid.size)]),
    )
    source, destination = np.concatenate([inwards, *between, outwards], axis=1) + 1
    return Structure(source, destination, rng.integers(0, 50, len(source)))


def _with_gradient(graph: Graph) -> None:
    energies = graph.energies.detach().requires_grad_()
    free_energy(graph.with_energies(energies)).backward()


def lattice(make: Callable[[np.random.Generator, int], Structure], arcs: int, runs: int) -> list[Row]:
    rng = np.random.default_rng(0)
    structure = make(rng, arcs)
    graph = Graph(structure, torch.from_numpy(rng.standard_normal(structure.arcs).astype(np.float32)))
    theirs = to_openfst(graph, "log64")
    return compare(
        f"{make.__name__}, {structure.states:,} states",
        structure.arcs,
        {"gtn_ebm": partial(_with_gradient, graph), "pynini": partial(posteriors, theirs, graph)},
        runs,
    )


def main(
    arcs: Annotated[list[int], typer.Option(help="Arcs of the lattices.")] = SIZES,
    runs: Annotated[int, typer.Option(help="Runs of each contestant.")] = 5,
    json: Annotated[Path | None, typer.Option(help="A file to keep the figures in.")] = None,
) -> None:
    """Free energy with its gradient beside OpenFst, as the lattice grows."""
    torch.set_num_threads(1)
    rows = [row for make in (deep, wide) for size in arcs for row in lattice(make, size, runs)]
    show("Free energy with its gradient", rows, json)


if __name__ == "__main__":
    typer.run(main)
