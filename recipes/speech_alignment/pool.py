"""The work on many recordings, side by side in processes of this machine."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context

Work = Callable[[str], str | None]

DIED = "its process died twice, killed perhaps for want of memory; try it with fewer processes at a time"


def side_by_side(work: Work, names: Sequence[str], jobs: int) -> Iterator[tuple[str, str | None]]:
    """Each name with what the work says is wrong with it, in order.

    Where a process dies, those names that it may have been at are done again, one at a time; only the one
    whose process dies again is given up.

    Args:
        work: that can be pickled, and is quick with what is done already.
        names: of recordings.
        jobs: processes; with one, it is this.
    """
    if jobs == 1:
        yield from zip(names, map(work, names), strict=True)
        return
    rest = list(names)
    while rest:
        for wrong in _until_one_dies(work, rest, jobs):
            yield rest.pop(0), wrong
        suspects, rest = rest[: 2 * jobs], rest[2 * jobs :]
        while suspects:
            for wrong in _until_one_dies(work, suspects, 1):
                yield suspects.pop(0), wrong
            if suspects:
                yield suspects.pop(0), DIED


def _until_one_dies(work: Work, names: Sequence[str], jobs: int) -> Iterator[str | None]:
    """What the work says of each name, in order, up to where a process dies."""
    with _pool(min(jobs, len(names))) as pool:
        for result in [pool.submit(work, name) for name in names]:
            try:
                wrong = result.result()
            except BrokenProcessPool:
                return
            yield wrong


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with what they are at where this one is interrupted."""
    default = (signal.SIGINT, signal.SIG_DFL)  # which ends a process without a word
    pool = ProcessPoolExecutor(processes, get_context("spawn"), signal.signal, default)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
