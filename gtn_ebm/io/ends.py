"""What formats cannot say of a graph's ends, energies and labels, said with epsilon arcs or refused."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.symbols import EPSILON

_Ends = Tensor | list[int]

_MOST_STATES = 2**31 - 1
_LARGEST_LABEL = 2**31 - 1
_IDLE_STATES = 1 << 16


def finite_states(ends: Tensor) -> NDArray[np.int32]:
    """The states whose initial or final energies [S] are below +inf."""
    return np.flatnonzero(as_array(ends) < np.inf).astype(np.int32)


def check_energies(graph: Graph, dtype: torch.dtype = torch.float64) -> None:
    """Raises GraphError where an energy is NaN or −inf, for which no format has a place, or finite and too
    large for ``dtype``, in which the format has energies."""
    for energies in (graph.energies, graph.initial, graph.final):
        for unusable, why in (
            (torch.isnan(energies) | (energies == -torch.inf), "NaN and −inf cannot be written"),
            (torch.isfinite(energies) & torch.isinf(energies.to(dtype)), f"too large for {dtype}"),
        ):
            if unusable.any():
                place = int(unusable.nonzero()[0])
                raise GraphError(f"energy {place} of {len(energies)} is {energies[place]:g}: {why}")


def check_labels(graph: Graph, form: str) -> None:
    """Raises GraphError where a label is too large for a form in which 0 is epsilon."""
    largest = max(int(labels.max(initial=0)) for labels in (graph.input_labels, graph.output_labels))
    if largest == _LARGEST_LABEL:
        raise GraphError(
            f"the label {largest} cannot be written: in {form} it is one more, beyond the largest there is"
        )


def check_states(states: int, named: int) -> None:
    """Raises GraphFormatError where a file announces many more states than its arcs and ends name.

    Such a graph is legal, but its states cost memory for which the file has no bytes.
    """
    if not 0 <= states <= min(named + _IDLE_STATES, _MOST_STATES):
        raise GraphFormatError(
            f"{states} states are announced, but arcs and ends name at most {named}; "
            f"up to {_IDLE_STATES} more are read"
        )


def single_initial(graph: Graph) -> tuple[Graph, int]:
    """An equivalent graph with one initial state, at energy 0, and that state. Differentiable.

    It is the same graph where that has one already. Any other gets a new state, numbered after all others,
    from which an epsilon arc with the initial energy leads to each initial state; these arcs come first.
    """
    starts = finite_states(graph.initial)
    if len(starts) == 1 and graph.initial[starts[0]] == 0:
        return graph, int(starts[0])
    new = np.full_like(starts, graph.states)
    structure = _one_more_state(
        graph,
        np.concatenate([new, graph.source]),
        np.concatenate([starts, graph.destination]),
        len(starts),
        0,
    )
    energies = torch.cat([_chosen(graph.initial, starts), graph.energies])
    return _renewed(graph, structure, energies, [graph.states], _with_infinity(graph.final)), graph.states


def single_final(graph: Graph) -> tuple[Graph, int]:
    """The same for the final state; the new epsilon arcs come last."""
    ends = finite_states(graph.final)
    if len(ends) == 1 and graph.final[ends[0]] == 0:
        return graph, int(ends[0])
    new = np.full_like(ends, graph.states)
    structure = _one_more_state(
        graph,
        np.concatenate([graph.source, ends]),
        np.concatenate([graph.destination, new]),
        0,
        len(ends),
    )
    energies = torch.cat([graph.energies, _chosen(graph.final, ends)])
    return _renewed(graph, structure, energies, _with_infinity(graph.initial), [graph.states]), graph.states


def _chosen(ends: Tensor, states: NDArray[np.int32]) -> Tensor:
    return ends.index_select(0, torch.from_numpy(states).to(ends.device))


def _with_infinity(ends: Tensor) -> Tensor:
    return torch.cat([ends, ends.new_full((1,), torch.inf, requires_grad=False)])


def _one_more_state(
    graph: Graph, source: NDArray[np.int32], destination: NDArray[np.int32], before: int, after: int
) -> Structure:
    """With a state more, and epsilon arcs before and after the others."""
    read, written = (
        np.pad(labels, (before, after), constant_values=EPSILON)
        for labels in (graph.input_labels, graph.output_labels)
    )
    return Structure(source, destination, read, written, states=graph.states + 1)


def _renewed(graph: Graph, structure: Structure, energies: Tensor, initial: _Ends, final: _Ends) -> Graph:
    return Graph(
        structure,
        energies,
        initial,
        final,
        input_symbols=graph.input_symbols,
        output_symbols=graph.output_symbols,
    )
