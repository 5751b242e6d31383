"""What the energies of a determinized graph are made of, as differentiable sums.

Kernels run the first derivative; the same sums in torch give all others.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.distance import shortest_distance
from gtn_ebm.errors import CycleError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.kernels import determinization as kernels


class Tape(NamedTuple):
    """What a search found, and what its energies are made of."""

    weights: NDArray[np.float64]
    found: tuple[Any, ...]
    counts: NDArray[np.int64]
    beta: float


class _Parts(NamedTuple):
    """The tape as indices.

    Attributes:
        entry, weight: of each term, [T].
        group: that each term is in, [T].
        move: that each group is in, [G].
        entered: the entry that each group leads to, [G]; one more than there are where a path ends.
        made_by: the move that first led to the subset of each entry, [E]; −1 for the one before the start.
        level: how many moves away from the start each entry was made, [E].
        moves: how many.
    """

    entry: Tensor
    weight: Tensor
    group: Tensor
    move: Tensor
    entered: Tensor
    made_by: NDArray[np.int64]
    level: NDArray[np.int64]
    moves: int


def replayed(tape: Tape, weights: Tensor) -> Tensor:
    """The energies of the moves, as they follow from the weights.

    A move m leads to entries with the values v_k, in a subset whose residuals r_k may be those of another
    move that leads there. With the free energies d_k from each entry to the end its energy is
    F_β over k of (v_k + d_k) − F_β over k of (r_k + d_k): the same where the v_k − r_k are all equal, as they
    are on the way forward, and the one of which all sums over paths come out right, however weights move.
    """
    parts = _parts(tape)
    used = weights.double()[parts.weight]
    residual = _residuals(parts, used, tape.beta)
    values = free_energies(residual[parts.entry] + used, parts.group, len(parts.move), tape.beta)
    to_end, alive = _to_end(parts, used, tape.beta)
    group = alive[parts.entered].nonzero()[:, 0]
    move, entered = parts.move[group], parts.entered[group]
    # Where a path ends stands an entry of residual 0 with nothing to follow.
    stood = residual[entered] + to_end[entered]
    if math.isinf(tape.beta):
        least = _first_least(stood, move, parts.moves)
        return (values[group[least]] - residual[entered[least]]).to(weights)
    taken = free_energies(values[group] + to_end[entered], move, parts.moves, tape.beta)
    return (taken - free_energies(stood, move, parts.moves, tape.beta)).to(weights)


def _parts(tape: Tape) -> _Parts:
    subsets, _, _, moves, groups, terms = tape.found
    count = {kind: int(tape.counts[kind]) for kind in range(len(tape.counts))}
    terms, target = terms[: count[kernels.TERMS]], moves["target"][: count[kernels.MOVES]]
    first_group = moves["first_group"][: count[kernels.MOVES] + 1]
    first_entry = subsets["first_entry"][: count[kernels.SUBSETS] + 1]
    group = _owners(groups["first_term"][: count[kernels.GROUPS] + 1])
    move = _owners(first_group)
    within = np.arange(len(move)) - first_group[move]
    inside = target[move] != kernels.END
    entered = np.where(inside, first_entry[target[move]] + within, count[kernels.ENTRIES])
    made_by = subsets["made_by"][: count[kernels.SUBSETS]].astype(np.int64)
    made_by[0] = -1
    level = np.zeros(len(made_by), np.int64)
    for subset in range(1, len(made_by)):
        level[subset] = level[moves["source"][made_by[subset]]] + 1
    of_entry = _owners(first_entry)
    return _Parts(
        _index(terms["entry"]),
        _index(terms["weight"]),
        _index(group),
        _index(move),
        _index(entered),
        made_by[of_entry],
        level[of_entry],
        len(target),
    )


def _owners(first: NDArray[np.int64]) -> NDArray[np.int64]:
    """For items in a row, those of k from ``first[k]`` to ``first[k + 1]``, whose each is."""
    return np.repeat(np.arange(len(first) - 1), np.diff(first))


def _index(places: NDArray[np.integer]) -> Tensor:
    return torch.from_numpy(places.astype(np.int64))


def _residuals(parts: _Parts, used: Tensor, beta: float) -> Tensor:
    """Of each entry and, behind them, 0 for where paths end, [E + 1]: level by level, as each follows from
    the entries that the move comes from."""
    residual = used.new_zeros(len(parts.level) + 1)
    # The groups that made each entry's residual.
    move, entered = parts.move.numpy(), parts.entered.numpy()
    inside = np.flatnonzero(entered < len(parts.level))
    makers = inside[parts.made_by[entered[inside]] == move[inside]]
    of_group = np.zeros(len(move), np.int64)
    of_group[makers] = parts.level[entered[makers]]
    of_term = of_group[parts.group.numpy()]
    for level in range(1, int(parts.level.max(initial=0)) + 1):
        groups, terms = (torch.from_numpy(np.flatnonzero(of == level)) for of in (of_group, of_term))
        place = torch.searchsorted(groups, parts.group[terms])
        values = free_energies(residual[parts.entry[terms]] + used[terms], place, len(groups), beta)
        energy = free_energies(values, parts.move[groups], parts.moves, beta)
        residual = residual.index_copy(0, parts.entered[groups], values - energy[parts.move[groups]])
    return residual


def _to_end(parts: _Parts, used: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """The free energy from each entry to the end, [E + 1], and of which entries it is to be considered: all
    in a subset from which nothing follows, else those from which something does. Zeros where it diverges."""
    entries = len(parts.level)
    source, destination = parts.entry.numpy(), parts.entered[parts.group].numpy()
    structure = Structure(source, destination, np.zeros_like(source), states=entries + 1)
    try:
        to_end = shortest_distance(Graph(structure, used, [], [entries]), beta, "to")
    except CycleError:
        to_end = used.new_zeros(entries + 1)
    alive = to_end.detach() < torch.inf
    of_subset = torch.from_numpy(np.append(parts.made_by, parts.moves) + 1)
    alive_subset = torch.zeros(parts.moves + 2, dtype=torch.bool).index_fill(0, of_subset[alive], True)
    dead = ~alive_subset[of_subset]
    return torch.where(alive, to_end, 0.0), alive | dead


def free_energies(values: Tensor, segment: Tensor, segments: int, beta: float) -> Tensor:
    """F_β over the values of each segment, [segments]; +inf, without a gradient, of one without values."""
    if math.isinf(beta):
        least = _first_least(values, segment, segments)
        padded = torch.cat([values, values.new_full((1,), torch.inf)])
        return padded[torch.where(least < 0, len(values), least)]
    fixed = values.detach()
    least = fixed.new_full((segments,), torch.inf).scatter_reduce(0, segment, fixed, "amin")
    total = fixed.new_zeros(segments).index_add(0, segment, torch.exp(-beta * (values - least[segment])))
    empty = total.detach() == 0.0
    return torch.where(empty, torch.inf, least - torch.log(torch.where(empty, 1.0, total)) / beta)


def _first_least(values: Tensor, segment: Tensor, segments: int) -> Tensor:
    """The place of the least value of each segment, the first of several as the kernels take it; −1 of one
    without values."""
    fixed = values.detach()
    least = fixed.new_full((segments,), torch.inf).scatter_reduce(0, segment, fixed, "amin")
    place = torch.arange(len(fixed))
    candidates = torch.where(fixed == least[segment], place, len(fixed))
    first = torch.full((segments,), len(fixed)).scatter_reduce(0, segment, candidates, "amin")
    return torch.where(first < len(fixed), first, -1)
