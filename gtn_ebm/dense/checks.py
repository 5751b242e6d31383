"""What the functions of this room are given, checked: one message for the same fault, wherever it is made."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, as_array

LARGEST_LABEL = 2**31 - 1


def check_tensor(values: object, name: str, what: str = "a tensor") -> None:
    """Raises GraphError where the values are no tensor, or one without a number in memory for each entry."""
    if not isinstance(values, Tensor):
        raise GraphError(f"{name} must be {what}, not {type(values).__name__}")
    if values.is_meta:
        raise GraphError(f"{name} must be {what} with values, not one on the meta device, which has none")
    if values.layout is not torch.strided:
        raise GraphError(f"{name} must be {what} with all entries, not {values.layout}; use to_dense() first")


def check_floating(values: Any, name: str, *sides: str) -> None:
    """Raises GraphError where the values are no floating tensor with a dimension for each of these sides."""
    check_tensor(values, name)
    if values.ndim != len(sides) or not values.dtype.is_floating_point:
        raise GraphError(
            f"{name} must be a floating tensor [{', '.join(sides)}], "
            f"not {values.dtype} of shape {list(values.shape)}"
        )


def check_energies(values: NDArray[Any], what: str) -> None:
    """Raises GraphError where an energy is NaN or −inf; ``what`` names the place it is in."""
    if values.size and not values.min() > -np.inf:
        place = np.argwhere(~(values > -np.inf))[0]
        raise GraphError(f"{what.format(*place)} is {values[tuple(place)]}; energies are finite or +inf")


def check_energies_of(graph: Graph, named: str) -> None:
    """``check_energies`` of all energies of a graph, which goes by this name."""
    for what in ("energies", "initial", "final"):
        check_energies(as_array(getattr(graph, what)), f"{what}[{{}}] of {named}")


def check_class(label: Any, classes: int, what: str) -> None:
    """Raises GraphError where the label is none of so many classes."""
    if classes == 0:
        raise GraphError(f"{what} must be a class, but there are no classes")
    if not isinstance(label, Integral) or not 0 <= int(label) < classes:
        raise GraphError(f"{what} must be a class from 0 to {classes - 1}, not {label}")


def named(classes: int) -> str:
    """So many classes, in a message."""
    return f"classes 0 to {classes - 1}" if classes else "no classes"


def check_number(value: Any, name: str) -> None:
    """Raises GraphError where it is no real number, or NaN."""
    is_number = isinstance(value, Real) or (isinstance(value, Tensor) and value.ndim == 0)
    if not is_number or value != value:
        raise GraphError(f"{name} must be a number, not {value}")


def check_count(count: Any, name: str, least: int = 1) -> None:
    """Raises GraphError where it is no integer of at least ``least``."""
    if not isinstance(count, Integral) or int(count) < least:
        raise GraphError(f"{name} must be a whole number of at least {least}, not {count}")


def check_label(label: Any, what: str) -> None:
    """Raises GraphError where it is no label: no integer from 0 to 2³¹ − 1."""
    if not isinstance(label, Integral) or not 0 <= int(label) <= LARGEST_LABEL:
        raise GraphError(f"{what} must be a class ≥ 0, not {label}")


def as_integers(values: Tensor | ArrayLike, name: str, *shape: int) -> NDArray[Any]:
    """The values as an array of this shape; raises GraphError where they are no integers, or of another."""
    array = _as_array(values, name)
    if array.shape != shape or (array.size and array.dtype.kind not in "iu"):
        raise GraphError(
            f"{name} must be integers of shape {list(shape)}, not {array.dtype} of shape {list(array.shape)}"
        )
    return array


def lengths_of(lengths: Tensor | ArrayLike | None, items: int, most: int, name: str = "lengths") -> list[int]:
    """Of each item, the most for all where None; raises GraphError where one is outside 0 … ``most``."""
    if lengths is None:
        return [most] * items
    each = [int(length) for length in as_integers(lengths, name, items)]
    for item, length in enumerate(each):
        if not 0 <= length <= most:
            raise GraphError(f"{name} of item {item} is {length}; it must be within 0 and {most}")
    return each


def as_labels(labels: Tensor | ArrayLike, what: str = "a target") -> NDArray[np.int32]:
    """A row of labels, [L]; raises GraphError where it is no row of integers from 0 to 2³¹ − 1."""
    array = _as_array(labels, what)
    whole = array.dtype.kind in "iu" and array.min(initial=0) >= 0 and array.max(initial=0) <= LARGEST_LABEL
    if array.ndim != 1 or (array.size and not whole):
        raise GraphError(f"{what} must be a row of labels ≥ 0, not {array!r:.80}")
    return array.astype(np.int32)


def _as_array(values: Tensor | ArrayLike, name: str) -> NDArray[Any]:
    try:
        return values.numpy(force=True) if isinstance(values, Tensor) else np.asarray(values)
    except ValueError:  # rows of different lengths
        raise GraphError(f"{name} must be an array of integers, not {values!r:.80}") from None
