"""The best path and the ten best, beside OpenFst (pynini) and rustfst, in one process and on one thread.

On the lattices of `free_energy`. Their answer is an Fst of the paths; ours are lists of arcs and labels.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pynini
import torch
import typer
from rustfst.algorithms.shortest_path import ShortestPathConfig

from benchmarks.free_energy import SIZES, deep, wide
from benchmarks.openfst import to_openfst
from benchmarks.rust import to_rustfst
from benchmarks.timing import Row, compare, show
from gtn_ebm import Graph, Structure, best_path, best_paths


def lattice(make: Callable[[np.random.Generator, int], Structure], arcs: int, runs: int) -> list[Row]:
    rng = np.random.default_rng(0)
    structure = make(rng, arcs)
    graph = Graph(structure, torch.from_numpy(rng.standard_normal(structure.arcs).astype(np.float32)))
    theirs, in_rust = to_openfst(graph, "standard"), to_rustfst(graph)
    name = f"{make.__name__}, {structure.states:,} states"
    rows = compare(
        f"{name}: best path",
        structure.arcs,
        {
            "gtn_ebm": partial(best_path, graph),
            "pynini": partial(pynini.shortestpath, theirs),
            "rustfst": in_rust.shortest_path,
        },
        runs,
    )
    return rows + compare(
        f"{name}: ten best paths",
        structure.arcs,
        {
            "gtn_ebm": partial(best_paths, graph, 10),
            "gtn_ebm, unique": partial(best_paths, graph, 10, unique=True),
            "pynini": partial(pynini.shortestpath, theirs, nshortest=10),
            "rustfst": partial(in_rust.shortest_path, ShortestPathConfig(10)),
        },
        runs,
    )


def main(
    arcs: Annotated[list[int], typer.Option(help="Arcs of the lattices.")] = SIZES,
    runs: Annotated[int, typer.Option(help="Runs of each contestant.")] = 5,
    json: Annotated[Path | None, typer.Option(help="A file to keep the figures in.")] = None,
) -> None:
    """The best path and the ten best beside OpenFst and rustfst, as the lattice grows."""
    torch.set_num_threads(1)
    rows = [row for make in (deep, wide) for size in arcs for row in lattice(make, size, runs)]
    show("Best paths", rows, json)


if __name__ == "__main__":
    typer.run(main)
