"""One thread pool for all batches: kernels release the GIL, so that a list of graphs runs on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="gtn_ebm")


def parallel_map(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``[function(item) for item in items]`` on as many threads as ``torch.get_num_threads()``.

    The caller's thread works too, and whoever is free takes the next item, so that a call from within
    ``function`` always ends. The pool belongs to the process: a forked data loader's worker gets one of its
    own. Torch's settings of the caller's thread, such as ``no_grad``, do not reach the others: ``function``
    should compute in arrays.
    """
    items = list(items)
    helpers = min(torch.get_num_threads(), len(items)) - 1
    if helpers < 1:
        return [function(item) for item in items]
    results: dict[int, Result] = {}
    places = iter(range(len(items)))

    def work() -> None:
        for place in places:
            results[place] = function(items[place])

    helping = [_pool(os.getpid(), helpers).submit(work) for _ in range(helpers)]
    try:
        work()
    finally:
        # What has not begun by now finds nothing left to do.
        begun = [future for future in helping if not future.cancel()]
    for future in begun:
        future.result()
    return [results[place] for place in range(len(items))]
