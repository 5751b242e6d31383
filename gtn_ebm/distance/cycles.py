"""Which cycle is at fault where a sum over paths diverges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gtn_ebm.distance.divergence import Divergence
from gtn_ebm.distance.least import least_arcs
from gtn_ebm.distance.walks import Walk
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Structure
from gtn_ebm.kernels import distance as kernels


def cycle_through(structure: Structure, energies: NDArray[np.float64], state: int) -> list[int]:
    """The arcs of the cycle of least energy through the state; or of one of negative energy that leads to the
    state and back, of which there is no least."""
    order, starts = structure.components
    component = np.empty(structure.states, np.int64)
    component[order] = np.repeat(np.arange(len(starts) - 1), (starts[1:] - starts[:-1]).astype(np.int64))
    source, destination = structure.source, structure.destination
    inside = (component[source] == component[state]) & (component[destination] == component[state])
    ends = np.where(np.arange(structure.states) == state, 0.0, np.inf)
    within = np.where(inside, energies, np.inf)
    arc, ends, meets = least_arcs(structure, "from", within, ends)
    if meets < 0:
        closing = np.flatnonzero(inside & (destination == state))
        cycle, meets = [int(closing[(ends[source[closing]] + within[closing]).argmin()])], state
    else:
        cycle = [int(arc[meets])]
    while source[cycle[-1]] != meets:
        cycle.append(int(arc[source[cycle[-1]]]))
    return cycle[::-1]


def raise_infinite(
    structure: Structure, way: Walk, state: int, cycles: float, energies: NDArray[Any], beta: float
) -> None:
    """What kernels say of a state whose sum is infinite, or cannot be found."""
    if cycles != kernels.NOT_FOUND:
        raise_divergence(structure, state, -math.log(cycles) / beta, energies)
    component = np.searchsorted(way.starts, way.place[state], side="right")
    states = int(way.starts[component]) - int(way.starts[component - 1])
    raise GraphError(
        f"the sum over a component of {states} states, of which {state} is one, could not be found to "
        f"{kernels.LEAST_ACCURACY:g}; it is at the brink of divergence: raise the energies on its cycles, or "
        "compose with an acyclic graph first"
    )


def raise_divergence(structure: Structure, state: int, energy: float, energies: NDArray[Any]) -> None:
    """Of a state, what the cycles through it add up to, and the energies of arcs, [A]."""
    arcs = cycle_through(structure, energies, state)
    raise Divergence(
        f"the sum over paths diverges: the cycles through state {state} add up to an energy of "
        f"{energy + 0.0:.6g}, where only more than 0 keeps it finite; a cycle there is {{cycle}}, of "
        f"energy {math.fsum(energies[arcs]) + 0.0:.6g}; raise their energies, or compose with an acyclic "
        "graph first",
        structure,
        arcs,
    )
