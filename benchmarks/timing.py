"""Medians of interleaved runs, memory, and a table of them."""

import ctypes
import gc
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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


def compare(
    workload: str,
    arcs: int,
    contestants: Contestants,
    runs: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Row]:
    """Times the contestants in turns, after two calls of each that do not count; short calls are repeated in
    a run.

    Args:
        arcs: what the time per arc is counted on.
        clock: of seconds; ``time.process_time`` where one thread works on a machine that has other work, too.
    """
    repeats = {name: max(1, round(SHORTEST_RUN / _once(call))) for name, call in contestants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(runs):
        for name, call in contestants.items():
            gc.collect()
            start = clock()
            for _ in range(repeats[name]):
                call()
            seconds[name].append((clock() - start) / repeats[name])
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
    """Bytes that one call needs beyond what the process holds already: the largest resident set while it
    runs, which Linux begins to count anew, less that before."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # or else memory freed before would count as held already
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    call()
    return resident("VmHWM") - before


def resident(which: str) -> int:
    """Bytes that this process holds, VmRSS, or has held at most, VmHWM, as Linux counts them."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return 1024 * int(line.split()[1])


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
        places = 0 if row.peak_megabytes >= 10 else 2
        table.add_row(
            row.workload, f"{row.arcs:,}", row.contestant, *figures, f"{row.peak_megabytes:.{places}f}"
        )
    Console(width=None if Console().is_terminal else 120).print(table)
    if to_json:
        write_whole(to_json, json.dumps([row._asdict() for row in rows], indent=1) + "\n")


def _right(*names: str) -> list[Column]:
    return [Column(name, justify="right") for name in names]
