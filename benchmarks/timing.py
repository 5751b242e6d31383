"""Medians of interleaved runs, memory, and a table of them."""

import ctypes
import gc
import json
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Column, Table

from gtn_ebm.io.files import write_whole

SHORTEST_RUN = 0.02
Contestants = dict[str, Callable[[], Any]]


class Row(NamedTuple):
    """What one contestant took for one workload; the ratio is to the first contestant."""

    workload: str
    arcs: int
    contestant: str
    milliseconds: float
    nanoseconds_per_arc: float
    ratio: float
    peak_megabytes: float


def compare(workload: str, arcs: int, contestants: Contestants, runs: int) -> list[Row]:
    """Times the contestants in turns, after two calls of each that do not count; short calls are repeated in
    a run.

    ``arcs`` is what the time per arc is counted on.
    """
    repeats = {name: max(1, round(SHORTEST_RUN / _once(call))) for name, call in contestants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(runs):
        for name, call in contestants.items():
            gc.collect()
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            seconds[name].append((time.perf_counter() - start) / repeats[name])
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    first = next(iter(medians.values()))
    return [
        Row(workload, arcs, name, 1e3 * s, 1e9 * s / arcs, s / first, peak_memory(contestants[name]) / 2**20)
        for name, s in medians.items()
    ]


def _once(call: Callable[[], Any]) -> float:
    call()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_memory(call: Callable[[], Any]) -> int:
    """Bytes that one call needs beyond what the process holds already, seen in a forked child."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # or else memory freed before would count as held already
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)  # OpenMP's do not outlive a fork, and would be waited for
            before = _largest_resident()
            call()
            os.write(writing, str(_largest_resident() - before).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        grown = answer.read()
    os.waitpid(child, 0)
    return int(grown)


def _largest_resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def show(title: str, rows: Sequence[Row], to_json: Path | None) -> None:
    """Prints the rows, and keeps them as a list of objects where a file is named."""
    table = Table(
        "workload",
        *_right("arcs"),
        "contestant",
        *_right("ms", "ns per arc", "ratio", "peak MB"),
        title=title,
    )
    for before, row in zip([None, *rows], rows, strict=False):
        if before and before.workload != row.workload:
            table.add_section()
        figures = f"{row.milliseconds:.2f}", f"{row.nanoseconds_per_arc:.1f}", f"{row.ratio:.2f}"
        table.add_row(row.workload, f"{row.arcs:,}", row.contestant, *figures, f"{row.peak_megabytes:.0f}")
    Console(width=None if Console().is_terminal else 120).print(table)
    if to_json:
        write_whole(to_json, json.dumps([row._asdict() for row in rows], indent=1) + "\n")


def _right(*names: str) -> list[Column]:
    return [Column(name, justify="right") for name in names]
