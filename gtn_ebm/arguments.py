"""What public operations are given: where their annotations say a graph, it must be one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph

Operation = TypeVar("Operation", bound=Callable[..., Any])


def takes_graphs(operation: Operation) -> Operation:
    """The operation, made to raise GraphError where it is given anything else for a graph, or for a list or
    mapping of graphs, as the annotations of its parameters name them.

    >>> @takes_graphs
    ... def arcs(graph: Graph) -> int:
    ...     return graph.arcs
    >>> arcs(None)
    Traceback (most recent call last):
    gtn_ebm.errors.GraphError: arcs: graph must be a Graph, not None
    """
    name = operation.__qualname__.split("<locals>.")[-1].removesuffix(".__init__")
    checks: list[tuple[Any, str, Callable[[object], str]]] = []
    for place, taken in enumerate(inspect.signature(operation).parameters.values()):
        annotation = str(taken.annotation)
        if taken.kind is taken.VAR_POSITIONAL and annotation == "Graph":
            checks.append((slice(place, None), taken.name, _sequence))
        elif "Graph" in annotation.split("[")[0] or "Graph]" in annotation:
            checks.append((place, taken.name, _CHECKS[annotation]))

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


def _one_or_none(value: object) -> str:
    return "" if value is None else _one(value)


def _sequence_or_none(value: object) -> str:
    return "" if value is None else _sequence(value)


def _mapping(value: object) -> str:
    if not isinstance(value, Mapping):
        return f" must be a mapping from labels to Graphs, not {_described(value)}"
    return next((f"[{label!r}]{said}" for label, item in value.items() if (said := _one(item))), "")


_CHECKS: dict[str, Callable[[object], str]] = {
    "Graph": _one,
    "Graph | None": _one_or_none,
    "Sequence[Graph]": _sequence,
    "Sequence[Graph] | None": _sequence_or_none,
    "Graph | Sequence[Graph]": _one_or_sequence,
    "Mapping[int, Graph]": _mapping,
}


def _described(value: object) -> str:
    if value is None or isinstance(value, bool | int | float | str):
        return f"{value!r:.40}"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
