"""Graphs as JSON, with everything a ``Graph`` holds but its arc maps.

One object with the members
- ``format``: "gtn_ebm graph", and ``version``: 1;
- ``dtype``: of the energies, such as "float32", and ``states``: their number;
- ``source``, ``destination``, ``input_labels``, ``output_labels``: integers, one for each arc, −1 being
  epsilon; without output labels the graph is an acceptor;
- ``energies``, ``initial``, ``final``: numbers, one for each arc or state, null being +inf;
- ``input_symbols``, ``output_symbols``: names in the order of their labels; left out where there is no table;
- ``attributes``: for each name either ``{"list": […]}`` or ``{"tensor": […], "dtype": …, "shape": […]}``, the
  values of the tensor in row-major order.

Numbers that JSON has none for are ``{"float": "nan"}``, "inf" or "-inf"; in lists, a tuple is
``{"tuple": […]}`` and a dict ``{"dict": [[key, value], …]}``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from reprlib import repr  # of bounded length
from typing import Any

import torch
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Attribute, Graph, Structure
from gtn_ebm.io import json_places as places
from gtn_ebm.io.ends import check_energies, check_states
from gtn_ebm.io.files import File, read_whole, write_whole
from gtn_ebm.symbols import EPSILON, Symbols

_FORMAT, _VERSION = "gtn_ebm graph", 1
_ENERGY_TYPES = ("float16", "bfloat16", "float32", "float64")
_INTEGER_TYPES = ("uint8", "int8", "int16", "int32", "int64")
_OTHER_FLOATS = ("nan", "inf", "-inf")
_LARGEST = 2**31 - 1


@takes_graphs
def write_json(graph: Graph, path: File) -> None:
    """Writes a graph as JSON; ``read_json`` gives back the same to the bit.

    Args:
        graph: its attributes may be tensors of real numbers, integers or booleans, and lists of whatever JSON
            knows, of tuples, and of dicts.
        path: the file, or an open binary file.

    Raises:
        GraphError: an energy that is NaN or −inf; an attribute of another kind; a name without a UTF-8 form.
        OSError: the folder cannot be written.
    """
    check_energies(graph)
    content: dict[str, Any] = {
        "format": _FORMAT,
        "version": _VERSION,
        "dtype": _name(graph.dtype),
        "states": graph.states,
        "source": graph.source.tolist(),
        "destination": graph.destination.tolist(),
        "input_labels": graph.input_labels.tolist(),
    }
    if not graph.is_acceptor:
        content["output_labels"] = graph.output_labels.tolist()
    for name in ("energies", "initial", "final"):
        values = getattr(graph, name).tolist()
        content[name] = [None if value == math.inf else value for value in values]
    for name in ("input_symbols", "output_symbols"):
        if getattr(graph, name) is not None:
            content[name] = list(getattr(graph, name))
    content["attributes"] = {
        name: _written_attribute(name, values) for name, values in graph.attributes.items()
    }
    try:
        write_whole(path, json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")
    except UnicodeEncodeError as error:
        raise GraphError(f"{error.object[error.start]!r} in a name has no UTF-8 form; rename it") from None


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _written_attribute(name: str, values: Attribute) -> dict[str, Any]:
    if isinstance(values, list):
        return {"list": [_written(name, value) for value in values]}
    if _name(values.dtype) not in (*_ENERGY_TYPES, *_INTEGER_TYPES, "bool"):
        raise GraphError(f"the attribute {name!r} is of {values.dtype}, which JSON has no numbers for")
    flat = [_written(name, value) for value in values.detach().flatten().tolist()]
    return {"tensor": flat, "dtype": _name(values.dtype), "shape": list(values.shape)}


def _written(name: str, value: Any) -> Any:
    if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return value
    if type(value) is float:
        return {"float": str(value)}
    if type(value) is list:
        return [_written(name, item) for item in value]
    if type(value) is tuple:
        return {"tuple": [_written(name, item) for item in value]}
    if type(value) is dict:
        return {"dict": [[_written(name, item) for item in pair] for pair in value.items()]}
    raise GraphError(f"the attribute {name!r} has a {type(value).__name__}, which would not come back as one")


def read_json(path: File) -> Graph:
    """Reads a graph that ``write_json`` wrote.

    Raises:
        GraphFormatError: with the file, and line, column and byte of the value that is at fault: text that is
            not JSON, or not of this form; a member that is missing or of another kind; whatever ``Graph``
            would refuse.
    """
    data, name = read_whole(path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"byte {error.start}: {data[error.start]:#x} is not UTF-8"
        raise GraphFormatError(f"{name}, {found}") from None
    try:
        return _graph(json.loads(text, parse_constant=_refuse))
    except json.JSONDecodeError as error:
        place, found = error.pos, error.msg
    except (GraphFormatError, GraphError) as error:
        place, found = places.of_value(text, getattr(error, "keys", ())), str(error)
    except RecursionError:
        place, found = places.of_deepest(text), "values are nested too deep"
    except ValueError as error:  # a constant, or a number of thousands of digits
        place, found = places.of_what_is_no_number(text), str(error)
    raise GraphFormatError(f"{name}, {places.shown(text, place)}: {found}")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON's; write null for +inf")


class _Misfit(GraphFormatError):
    """A value that is not of this form; ``keys`` lead to it."""

    def __init__(self, message: str, *keys: str | int):
        super().__init__(message)
        self.keys = keys


@contextmanager
def _within(*keys: str) -> Iterator[None]:
    """What raises inside is about the value to which these keys lead, or about one within it."""
    try:
        yield
    except (GraphFormatError, GraphError) as error:
        raise _Misfit(str(error), *keys, *getattr(error, "keys", ())) from None


def _graph(content: Any) -> Graph:
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise GraphFormatError(f"this is no JSON object whose format is {_FORMAT!r}")
    if content.get("version") != _VERSION:
        raise _Misfit(f"version {repr(content.get('version'))} of this form is not known", "version")
    dtype = _dtype(content, _ENERGY_TYPES)
    source, destination, read = (
        _integers(content, name) for name in ("source", "destination", "input_labels")
    )
    written = _integers(content, "output_labels") if "output_labels" in content else None
    states = _member(content, "states", int)
    initial, final = (_energies(content, name, dtype) for name in ("initial", "final"))
    with _within("states"):
        check_states(states, len(initial))
    return Graph(
        Structure(source, destination, read, written, states),
        _energies(content, "energies", dtype),
        initial,
        final,
        attributes=_attributes(_member(content, "attributes", dict)),
        input_symbols=_symbols(content, "input_symbols"),
        output_symbols=_symbols(content, "output_symbols"),
    )


def _member(content: dict[str, Any], name: str, kind: type) -> Any:
    value = content.get(name)
    if type(value) is not kind:
        raise _Misfit(f"the member {name!r} is missing or no {kind.__name__}", name)
    return value


def _dtype(content: dict[str, Any], known: tuple[str, ...]) -> torch.dtype:
    name = _member(content, "dtype", str)
    if name not in known:
        raise _Misfit(f"the dtype {name[:40]!r} is not one of {', '.join(known)}", "dtype")
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _all(
    values: list[Any], name: str, is_right: Callable[[Any], bool], what: str, key: str | None = None
) -> list[Any]:
    """The values, all of them right; ``key`` leads to them where ``name`` does not."""
    for place, value in enumerate(values):
        if not is_right(value):
            found = f"entry {place} of {name!r} is {repr(value)}; {what} is wanted"
            raise _Misfit(found, key or name, place)
    return values


def _integers(content: dict[str, Any], name: str) -> list[int]:
    values = _member(content, name, list)
    return _all(values, name, lambda v: type(v) is int and EPSILON <= v <= _LARGEST, "−1 … 2³¹ − 1")


def _energies(content: dict[str, Any], name: str, dtype: torch.dtype) -> Tensor:
    values, most = _member(content, name, list), torch.finfo(dtype).max
    _all(values, name, lambda v: v is None or _is_number(v, most), f"null or a number of {dtype}")
    return torch.tensor([math.inf if v is None else float(v) for v in values], dtype=dtype)


def _is_number(value: Any, most: float) -> bool:
    return type(value) in (int, float) and abs(value) <= most


def _symbols(content: dict[str, Any], name: str) -> Symbols | None:
    if name not in content:
        return None
    names = _all(_member(content, name, list), name, lambda v: type(v) is str, "a name")
    with _within(name):
        return Symbols(names)


def _attributes(content: dict[str, Any]) -> dict[str, Attribute]:
    found = {}
    for name, described in content.items():
        with _within("attributes", name):
            found[name] = _attribute(name, described)
    return found


def _attribute(name: str, described: Any) -> Attribute:
    if isinstance(described, dict) and described.keys() == {"list"}:
        return [_read(value) for value in _member(described, "list", list)]
    if isinstance(described, dict) and described.keys() == {"tensor", "dtype", "shape"}:
        return _tensor(name, described)
    raise GraphFormatError(f"the attribute {name[:40]!r} is neither a list nor a tensor")


def _tensor(name: str, described: dict[str, Any]) -> Tensor:
    dtype = _dtype(described, (*_ENERGY_TYPES, *_INTEGER_TYPES, "bool"))
    shape = _member(described, "shape", list)
    _all(shape, "shape", lambda v: type(v) is int and 0 <= v <= _LARGEST, "0 … 2³¹ − 1")
    values = [_read(value) for value in _member(described, "tensor", list)]
    if math.prod(shape) != len(values) or not 1 <= len(shape) <= 64 or _span(shape) > _LARGEST:
        raise GraphFormatError(
            f"the attribute {name[:40]!r} has {len(values)} values, not those of its shape"
        )
    _all(values, name, *_of_dtype(dtype), "tensor")
    return torch.tensor(values, dtype=dtype).reshape(shape)


def _of_dtype(dtype: torch.dtype) -> tuple[Callable[[Any], bool], str]:
    """Whether a tensor of this dtype can hold a value, and what it can hold."""
    if dtype == torch.bool:
        return lambda v: type(v) is bool, "true or false"
    if dtype.is_floating_point:
        greatest = torch.finfo(dtype).max
        return lambda v: _is_number(v, greatest) or _is_other_float(v), f"a number of {dtype}"
    least, most = torch.iinfo(dtype).min, torch.iinfo(dtype).max
    return lambda v: type(v) is int and least <= v <= most, f"an integer of {dtype}"


def _span(shape: list[int]) -> int:
    """The product of the sizes above 0: what torch multiplies even where there are no values."""
    return math.prod(size for size in shape if size)


def _is_other_float(value: Any) -> bool:
    return type(value) is float and not math.isfinite(value)


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [_read(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"float"} and value["float"] in _OTHER_FLOATS:
        return float(value["float"])
    if value.keys() == {"tuple"} and isinstance(value["tuple"], list):
        return tuple(_read(item) for item in value["tuple"])
    if value.keys() == {"dict"}:
        try:
            return dict(_read(value["dict"]))
        except (TypeError, ValueError):
            pass
    raise GraphFormatError(f"{repr(value)} is no value of an attribute")
