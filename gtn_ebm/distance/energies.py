"""Energies as the kernels take them, and back."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import as_array
from gtn_ebm.kernels import lattice


def check_beta(beta: object) -> None:
    """Raises GraphError unless β is a positive number."""
    if isinstance(beta, Tensor):
        raise GraphError("β must be a number, not a tensor; for a learned temperature scale the energies")
    if not isinstance(beta, Real):
        raise GraphError(f"β must be a number, not {beta!r:.40}")
    if not float(beta) > 0.0:
        raise GraphError(f"β must be positive, not {beta}")


def weights(
    energies: Tensor, beta: float, order: NDArray[np.uint32] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """exp(−βE) of the energies in this order, as the kernels carry it: (values, digits), each value times
    2^(256 · digit), the digits empty where all are 0.

    Raises:
        GraphError: an energy that is NaN, −inf or too large to add up; the message says which.
    """
    values = as_array(energies)
    value, digit, unusable = lattice.weights(values if order is None else values[order], beta)
    if unusable:
        raise GraphError(_unusable(energies, beta))
    return value, digit


def _unusable(energies: Tensor, beta: float) -> str:
    limit = lattice.LARGEST_EXPONENT / (lattice.LOG2_E * beta)
    place = int((~(energies.detach().abs() < limit) & (energies != torch.inf)).nonzero()[0])
    return (
        f"energy {place} of {len(energies)} is {float(energies[place])}: "
        f"energies must be +inf or smaller in size than {limit:.3g} at β = {beta:g}, and not NaN"
    )


def usable(energies: Tensor) -> NDArray[Any]:
    """The energies as kernels take them.

    Raises:
        GraphError: one of them is NaN or −inf; the message says which.
    """
    values = as_array(energies)
    if len(values) and not values.min() > -np.inf:
        place = int(np.flatnonzero(~(values > -np.inf))[0])
        raise GraphError(
            f"energy {place} of {len(values)} is {values[place]}: energies must not be NaN or −inf"
        )
    return values


def energy_of(value: NDArray[np.float64], digit: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """−(1/β) log of sums as the kernels carry them."""
    with np.errstate(divide="ignore"):
        energy: NDArray[np.float64] = (np.log(value) + digit * (lattice.DIGIT * math.log(2.0))) / -beta
    return energy + 0.0  # no −0
