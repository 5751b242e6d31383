"""Whatever is no graph is refused by name, by every public operation that takes graphs."""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch

import gtn_ebm
from gtn_ebm import (
    Graph,
    GraphError,
    Path,
    PathChains,
    best_path,
    compose,
    dense,
    draw,
    free_energy,
    io,
    losses,
    replace,
    semiring,
    transformers,
    union,
)

GRAPH = Graph.linear([0, 1])
SEMIRINGS = {
    "tropical": semiring.tropical, "counting": semiring.counting, "string": semiring.string,
    "gallic": semiring.gallic(),
}  # fmt: skip


def _operations() -> Iterator[tuple[str, Callable[..., Any]]]:
    modules: list[ModuleType] = [gtn_ebm, gtn_ebm.ops, gtn_ebm.inference, losses, transformers, io]
    functions = {name: getattr(module, name) for module in modules for name in module.__all__}
    functions |= {f"draw.{name}": getattr(draw, name) for name in ("dot", "svg", "save")}
    functions |= {f"dense.{name}": getattr(dense, name) for name in ("decode", "free_energy", "posteriors")}
    functions |= {f"dense.{name}": getattr(dense, name) for name in ("desired_and_all", "prefix_search")}
    for name, function in functions.items():
        if inspect.isfunction(function):
            yield name, function
    for name, one in SEMIRINGS.items():
        yield f"{name}.total", one.total
        yield f"{name}.shortest_distance", one.shortest_distance


BAD = {
    "None": None,
    "number": 3,
    "text": "graph",
    "list": [GRAPH, None],
    "array": torch.zeros(2),
    "Path": best_path(GRAPH),
}
CASES = [
    pytest.param(operation, parameter, value, id=f"{name}-{parameter.name}-{kind}")
    for name, operation in _operations()
    for parameter in inspect.signature(operation).parameters.values()
    if "Graph" in str(parameter.annotation)
    for kind, value in BAD.items()
    if value is not None or "None" not in str(parameter.annotation)
]


GOOD: dict[Any, Any] = {
    "Sequence[Graph]": [GRAPH],
    "Mapping[int, Graph]": {0: GRAPH},
    "int": 1,
    "float": 1.0,
    "Iterable[int]": [0],
    "Sequence[int]": [0],
    "Sequence[Sequence[int]]": [[0]],
    "Sequence[Path]": [best_path(GRAPH)],
    "Sequence[PathChains]": [],
}
"""By annotation; of others it is a graph, or nothing."""


def _call(operation: Callable[..., Any], wrong: inspect.Parameter, value: object) -> Any:
    """The operation with this value for a parameter, and good ones or nothing for the others."""
    if wrong.kind is wrong.VAR_POSITIONAL:
        return operation(GRAPH, value)
    parameters = inspect.signature(operation).parameters.values()
    needed = {
        p.name: GOOD.get(p.annotation, GRAPH)
        for p in parameters
        if p.default is p.empty and p.kind is not p.VAR_KEYWORD
    }
    return operation(**{**needed, wrong.name: value})


def test_all_rooms_are_looked_at() -> None:
    assert len(CASES) > 60 * len(BAD)


@pytest.mark.parametrize(("operation", "parameter", "value"), CASES)
def test_what_is_no_graph_is_refused(
    operation: Callable[..., Any], parameter: inspect.Parameter, value: object
) -> None:
    with pytest.raises(GraphError, match=rf"{operation.__name__}: {parameter.name}.* must be a .*, not "):
        _call(operation, parameter, value)


OTHERS: dict[str, list[Any]] = {
    "int": [None, 1.5, "2"],
    "int | None": [1.5, "2"],
    "float": [None, "2", [1.0]],
    "torch.Generator | None": [0],
    "Iterable[int]": [None, 3],
    "Sequence[int]": [None, 3],
    "Sequence[Sequence[int]]": [None, [None]],
    "Sequence[Path]": [None, [None], best_path(GRAPH).arcs.tolist()],
    "Sequence[PathChains]": [None, [None]],
}
OTHER_CASES = [
    pytest.param(operation, parameter, value, id=f"{name}-{parameter.name}-{value!r:.10}")
    for name, operation in _operations()
    for parameter in inspect.signature(operation).parameters.values()
    if any("Graph" in str(p.annotation) for p in inspect.signature(operation).parameters.values())
    and parameter.name != "beta"
    for value in OTHERS.get(str(parameter.annotation), [])
]


@pytest.mark.parametrize(("operation", "parameter", "value"), OTHER_CASES)
def test_what_is_no_number_and_no_labels_is_refused(
    operation: Callable[..., Any], parameter: inspect.Parameter, value: object
) -> None:
    with pytest.raises(GraphError, match=rf"{parameter.name}.* must be .*, not "):
        _call(operation, parameter, value)


def test_every_kind_of_argument_is_looked_at() -> None:
    assert {str(case.values[1].annotation) for case in OTHER_CASES} == set(OTHERS)


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (dense.Decoder, "graph"),
        (dense.NLLLoss, "graph"),
        (dense.MWERLoss, "graph"),
        (partial(dense.LFMMILoss, language_model=GRAPH), "topology"),
        (partial(dense.LFMMILoss, topology=GRAPH), "language_model"),
        (partial(dense.PrefixSearch, 2), "grammar"),
    ],
)
def test_classes_refuse_what_is_no_graph(make: Callable[..., Any], parameter: str) -> None:
    with pytest.raises(GraphError, match=rf"{parameter} must be a Graph, not 3"):
        make(**{parameter: 3})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: free_energy(None), "free_energy: graphs must be a Graph or a list of them, not None"),
        (lambda: free_energy([GRAPH, 7]), "free_energy: graphs[1] must be a Graph, not 7"),
        (lambda: union([GRAPH]), "union: graphs[0] must be a Graph, not a list"),
        (lambda: compose(GRAPH, second=[GRAPH, "a"]), "compose: second[1] must be a Graph, not 'a'"),
        (
            lambda: replace(GRAPH, [GRAPH]),
            "graphs must be a mapping from labels to Graphs, not a list",
        ),
        (lambda: replace(GRAPH, {4: None}), "replace: graphs[4] must be a Graph, not None"),
        (
            lambda: losses.GraphLoss("nll")([GRAPH], [None]),
            "GraphLoss.energies: desired[0] must be a Graph, not None",
        ),
        (
            lambda: transformers.ViterbiTransformer()(GRAPH),
            "ViterbiTransformer.forward: graphs must be a list of Graphs, not a Graph",
        ),
        (lambda: transformers.Transducer(3), "Transducer: graph must be a Graph, not 3"),
        (lambda: PathChains(None, []), "PathChains: graph must be a Graph, not None"),
        (lambda: Graph([0, 1]), "structure must be a Structure, not a list"),
    ],
)
def test_the_message_says_which(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(GraphError) as caught:
        call()
    assert str(caught.value).endswith(message)


def test_graphs_in_any_sequence_are_taken() -> None:
    assert free_energy((GRAPH, GRAPH)).shape == free_energy([GRAPH, GRAPH]).shape == (2,)
    assert isinstance(best_path((GRAPH,))[0], Path)
