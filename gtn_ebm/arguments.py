"""What public operations are given: where annotations say a graph, a number or labels, it must be one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from numbers import Integral, Real
from types import UnionType
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph

Operation = TypeVar("Operation", bound=Callable[..., Any])
Kind = TypeVar("Kind", bound=type)

Check = Callable[[object], str]
"""What to say of a value that is not as it should be; nothing of one that is."""


def takes_graphs(operation: Operation) -> Operation:
    """The operation, made to raise GraphError where it is given anything else for a graph, or for a list or
    mapping of graphs, as the annotations of its parameters name them; and likewise for whole numbers, other
    numbers, labels, paths and generators. What range they must be in is the operation's own to say.

    >>> @takes_graphs
    ... def arcs(graph: Graph) -> int:
    ...     return graph.arcs
    >>> arcs(None)
    Traceback (most recent call last):
    gtn_ebm.errors.GraphError: arcs: graph must be a Graph, not None
    """
    name = operation.__qualname__.split("<locals>.")[-1].removesuffix(".__init__")
    checks: list[tuple[Any, str, Check]] = []
    for place, taken in enumerate(inspect.signature(operation).parameters.values()):
        annotation = str(taken.annotation)
        if taken.kind is taken.VAR_POSITIONAL and annotation == "Graph":
            checks.append((slice(place, None), taken.name, _sequence))
        elif "Graph" in annotation.split("[")[0] or "Graph]" in annotation:
            checks.append((place, taken.name, _CHECKS[annotation]))
        elif taken.name != "beta" and (check := _CHECKS.get(annotation)):  # β has a check of its own
            checks.append((place, taken.name, check))

    @wraps(operation)
    def checked(*given: Any, **named: Any) -> Any:
        for place, parameter, fault in checks:
            try:
                value = given[place]
            except IndexError:
                if parameter not in named:
                    continue  # the call itself says that it is missing
                value = named[parameter]
            if said := fault(value):
                raise GraphError(f"{name}: {parameter}{said}")
        return operation(*given, **named)

    return cast(Operation, checked)


def check_graph(value: object, name: str) -> None:
    """Raises GraphError where the value is no graph; for what classes are made of."""
    if said := _one(value):
        raise GraphError(f"{name}{said}")


def check_graphs(value: object, name: str) -> None:
    """Raises GraphError where the value is no list of graphs; for what only another argument makes one."""
    if said := _sequence(value):
        raise GraphError(f"{name}{said}")


def _one(value: object) -> str:
    """What to say of a value that is no graph; nothing of one."""
    return "" if isinstance(value, Graph) else f" must be a Graph, not {_described(value)}"


def _sequence(value: object) -> str:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return f" must be a list of Graphs, not {_described(value)}"
    return next((f"[{place}]{said}" for place, item in enumerate(value) if (said := _one(item))), "")


def _one_or_sequence(value: object) -> str:
    if isinstance(value, Graph):
        return ""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return f" must be a Graph or a list of them, not {_described(value)}"
    return _sequence(value)


def _or_none(check: Check) -> Check:
    return lambda value: "" if value is None else check(value)


def _mapping(value: object) -> str:
    if not isinstance(value, Mapping):
        return f" must be a mapping from labels to Graphs, not {_described(value)}"
    return next((f"[{label!r}]{said}" for label, item in value.items() if (said := _one(item))), "")


def _whole_number(value: object) -> str:
    return "" if isinstance(value, Integral) else f" must be a whole number, not {_described(value)}"


def _number(value: object) -> str:
    is_number = isinstance(value, Real) or (isinstance(value, Tensor) and value.ndim == 0)
    return "" if is_number else f" must be a number, not {_described(value)}"


def _generator(value: object) -> str:
    is_one = isinstance(value, torch.Generator)
    return "" if is_one else f" must be a torch.Generator, not {_described(value)}"


def _several(what: str, kinds: type | UnionType = Iterable) -> Check:
    """Of several things of a kind that the operation itself looks at one by one."""

    def check(value: object) -> str:
        is_several = isinstance(value, kinds) and not isinstance(value, str | bytes)
        return "" if is_several else f" must be {what}, not {_described(value)}"

    return check


def _strings(value: object) -> str:
    if said := _several("a list of lists of labels", LIST)(value):
        return said
    one = _several("a list of labels", LIST)
    assert isinstance(value, Iterable)
    return next((f"[{place}]{said}" for place, item in enumerate(value) if (said := one(item))), "")


LIST = Sequence | np.ndarray | Tensor

_CHECKS: dict[str, Check] = {
    "Graph": _one,
    "Graph | None": _or_none(_one),
    "Sequence[Graph]": _sequence,
    "Sequence[Graph] | None": _or_none(_sequence),
    "Graph | Sequence[Graph]": _one_or_sequence,
    "Mapping[int, Graph]": _mapping,
    "int": _whole_number,
    "int | None": _or_none(_whole_number),
    "float": _number,
    "torch.Generator | None": _or_none(_generator),
    "Iterable[int]": _several("labels"),
    "Sequence[int]": _several("a list of labels", LIST),
    "Sequence[Sequence[int]]": _strings,
    "Sequence[Any]": _several("a list", LIST),
}


def in_lists(kind: Kind) -> Kind:
    """The class, entered among those of which ``takes_graphs`` knows lists."""

    def check(value: object) -> str:
        if said := _several(f"a list, of {kind.__name__} objects", LIST)(value):
            return said
        assert isinstance(value, Iterable)
        wrong = ((k, item) for k, item in enumerate(value) if not isinstance(item, kind))
        return next((f"[{k}] must be a {kind.__name__}, not {_described(item)}" for k, item in wrong), "")

    _CHECKS[f"Sequence[{kind.__name__}]"] = check
    return kind


def _described(value: object) -> str:
    if value is None or isinstance(value, bool | int | float | str):
        return f"{value!r:.40}"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
