"""The work on many recordings, side by side in processes of this machine."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context

Work = Callable[[str], str | None]

DIED = "its process died twice, killed perhaps for want of memory; try it with fewer --jobs"


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
        with _pool(min(jobs, len(rest))) as pool:
            results = [pool.submit(work, name) for name in rest]
            for result in results:
                try:
                    wrong = result.result()
                except BrokenProcessPool:
                    break
                yield rest.pop(0), wrong
        suspects, rest = rest[: 2 * jobs], rest[2 * jobs :]
        for name in suspects:
            yield name, _alone(work, name)


def _alone(work: Work, name: str) -> str | None:
    with _pool(1) as pool:
        try:
            return pool.submit(work, name).result()
        except BrokenProcessPool:
            return DIED


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with what they are at where this one is interrupted."""
    default = (signal.SIGINT, signal.SIG_DFL)  # which ends a process without a word
    pool = ProcessPoolExecutor(processes, get_context("spawn"), signal.signal, default)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
