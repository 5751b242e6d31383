"""One thread pool for all batches: kernels release the GIL, so a list of graphs runs on all cores."""

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
    """``[function(item) for item in items]`` on as many threads as ``torch.get_num_threads()``, in the same order.

    The pool belongs to the process, so that a forked data loader's worker gets one of its own.
    """
    items = list(items)
    threads = torch.get_num_threads()
    if threads == 1 or len(items) == 1:
        return [function(item) for item in items]
    return list(_pool(os.getpid(), threads).map(function, items))
