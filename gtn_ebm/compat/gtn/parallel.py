"""Lists of graphs side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import gtn_ebm.parallel as core
from gtn_ebm.compat.gtn.graph import GtnRuntimeError

_PLURALS = {
    "graphs": "g",
    "graphs1": "g1",
    "graphs2": "g2",
    "grads": "grad",
    "labels": "label",
    "retain_graphs": "retain_graph",
}

_LISTS = list | tuple


def parallel_for(function: Callable[[int], Any], int_list: Sequence[int]) -> None:
    """Calls ``function`` on each number, several at once, on as many threads as torch has.

    The engine's loops run without Python's lock; the rest of ``function`` takes turns. An error in one call
    is raised here.
    """
    core.parallel_map(function, int_list)


def vectorised(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which where its first argument is a list takes the items one by one, several at once.

    Its other arguments may be lists then, too; one of length 1 stands for all.
    """

    @wraps(function)
    def either(*args: Any, **kwargs: Any) -> Any:
        kwargs = {_PLURALS.get(name, name): value for name, value in kwargs.items()}
        given = (*args, *kwargs.values())
        if not given or not isinstance(given[0], _LISTS):
            return function(*args, **kwargs)
        lengths = [len(value) for value in given if isinstance(value, _LISTS)]
        if any(length not in (1, max(lengths)) for length in lengths):
            raise GtnRuntimeError(f"lists of {lengths} items cannot go one by one")

        def one(k: int) -> Any:
            of_k = [x[k if len(x) > 1 else 0] if isinstance(x, _LISTS) else x for x in given]
            return function(*of_k[: len(args)], **dict(zip(kwargs, of_k[len(args) :], strict=True)))

        return core.parallel_map(one, range(max(lengths)))

    return either
