"""Shortest distances: sums over all paths to, from and between states, exact on cycles, with gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.errors import CycleError, GraphError
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.kernels import distance as kernels
from gtn_ebm.kernels import lattice
from gtn_ebm.kernels.structure import group, reachable
from gtn_ebm.symbols import Symbols

Direction = Literal["from", "to"]

SLACK = 4e-15
"""How much smaller, relatively, a least energy must be to count as smaller on a cycle."""

MOST_NAMED = 12
"""The most arcs of a cycle that an error names; of a longer one, as many."""


class Walk(NamedTuple):
    """The arcs as walked in one direction: grouped by the state walked from, the states in components."""

    order: NDArray[np.uint32]
    starts: NDArray[np.uint32]
    place: NDArray[np.uint32]
    offsets: NDArray[np.uint32]
    onwards: NDArray[np.uint32]
    arcs: NDArray[np.uint32] | None

    def chosen(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of the arcs in the order walked."""
        return values if self.arcs is None else values[self.arcs]

    @property
    def graph(self) -> tuple[NDArray[np.uint32], ...]:
        """As kernels take it."""
        return self[:5]


def walk(structure: Structure, direction: Direction) -> Walk:
    offsets, onwards = structure.outgoing
    order, starts = structure.components
    arcs = structure.out_order
    if direction == "to":
        # The same components the other way round.
        offsets, arcs = structure.in_index
        onwards = structure.source.view(np.uint32)[arcs]
        order = np.ascontiguousarray(order[::-1])
        starts = np.ascontiguousarray(np.uint32(structure.states) - starts[::-1])
    return Walk(order, starts, kernels.positions(order), offsets, onwards, arcs)


def _opposite(direction: Direction) -> Direction:
    return "to" if direction == "from" else "from"


def _walked(structure: Structure, direction: Direction) -> tuple[Tensor, Tensor]:
    """The states each arc is walked from and to, as indices of tensors."""
    source, destination = (
        torch.from_numpy(s.astype(np.int64)) for s in (structure.source, structure.destination)
    )
    return (source, destination) if direction == "from" else (destination, source)


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


def check_beta(beta: object) -> None:
    """Raises GraphError unless β is a positive number."""
    if isinstance(beta, Tensor):
        raise GraphError("β must be a number, not a tensor; for a learned temperature scale the energies")
    if not isinstance(beta, Real):
        raise GraphError(f"β must be a number, not {beta!r:.40}")
    if not float(beta) > 0.0:
        raise GraphError(f"β must be positive, not {beta}")


def check_direction(direction: str) -> None:
    """Raises GraphError unless it is "from" or "to"."""
    if direction not in ("from", "to"):
        raise GraphError(f'direction must be "from" or "to", not {direction!r}')


@takes_graphs
def shortest_distance(graph: Graph, beta: float = 1.0, direction: Direction = "from") -> Tensor:
    """F_β = −(1/β) log Σ exp(−β E) over all paths between the ends of the graph and each state.

    Args:
        graph: any graph; its cycles are summed in closed form.
        beta: inverse temperature, > 0; ∞ for the least energy (the tropical semiring).
        direction: "from" for the paths from the initial states, whose energies they include; "to" for those
            to the final states, likewise.

    Returns:
        [S], in the dtype of the energies; +inf where there is no path. Differentiable, as often as wanted:
        the derivative in an arc's energy is how often the paths to a state are expected to use the arc.

    Raises:
        CycleError: the sum diverges; the message names a cycle at fault, state by state, and its energy.
        GraphError: β ≤ 0; an energy that is NaN, −inf or too large to add up; or the sum over a component of
            many states cannot be found to 1e-5, which also a gradient may say.

    Cost: O(S + A) time and memory outside strongly connected components, and n³/3 multiplications and n²
    numbers in one of n states, where x = b + x W is solved by elimination (Lehmann 1977; Mohri 2002,
    "Semiring frameworks and algorithms for shortest-distance problems").

    >>> graph = Graph(Structure([0, 0], [0, 1], [0, 1]), torch.tensor([1.0, 0.0]))
    >>> shortest_distance(graph)  # log(1 − e⁻¹): as often round the cycle as one likes
    tensor([-0.4587, -0.4587])
    >>> shortest_distance(graph, beta=math.inf, direction="to")
    tensor([0., 0.])
    """
    check_beta(beta)
    check_direction(direction)
    ends = graph.initial if direction == "from" else graph.final
    function = _Least if math.isinf(beta) else _LogSums
    # In float64 throughout: a derivative is a difference of distances.
    with naming_cycles(graph):
        distance: Tensor = function.apply(
            graph.structure, beta, direction, graph.energies.double(), ends.double()
        )
    return distance.to(graph.energies)


def arcs_on_paths(graph: Graph) -> tuple[Structure, NDArray[np.int64], NDArray[np.bool_]]:
    """The structure with only the arcs that lie on a path of finite energy from an initial to a final state;
    which arcs those are; and of each state whether it lies on one, [S]. O(S + A)."""
    structure = graph.structure
    is_arc, is_first, is_last = (
        as_array(part) != np.inf for part in (graph.energies, graph.initial, graph.final)
    )
    arcs = np.flatnonzero(is_arc)
    source, destination = (end[arcs].view(np.uint32) for end in (structure.source, structure.destination))
    on_path = reachable(destination, *group(source, structure.states), is_first)
    on_path &= reachable(source, *group(destination, structure.states), is_last)
    kept = on_path[source] & on_path[destination]
    arcs = arcs[kept]
    chosen = Structure.of_valid(
        structure.source[arcs],
        structure.destination[arcs],
        structure.input_labels[arcs],
        structure.output_labels[arcs],
        structure.states,
    )
    return chosen, arcs, on_path


@takes_graphs
def sum_over_paths(graph: Graph, beta: float = 1.0) -> Tensor:
    """F_β over all paths of the graph: a scalar in the dtype of the energies, +inf where there is no path.

    Cycles that lie on no path are left out, and may diverge. Args, errors and cost as of
    ``shortest_distance``; differentiable as often as wanted, with a gradient of 0 where there is no path.

    >>> graph = Graph(Structure([0, 0], [1, 1], [0, 1]), torch.tensor([1.0, 1.0]))
    >>> sum_over_paths(graph)  # 1 − log 2
    tensor(0.3069)
    """
    check_beta(beta)
    energies, initial, final = (part.double() for part in (graph.energies, graph.initial, graph.final))
    for part in (graph.energies, graph.initial, graph.final):
        # Raises where one is unusable, even if no path uses it.
        usable(part) if math.isinf(beta) else weights(part, beta)
    structure, arcs, on_path = arcs_on_paths(graph)
    first = torch.from_numpy(np.flatnonzero(on_path & (as_array(initial) < np.inf))).to(energies.device)
    if not len(first):
        nothing = torch.cat([energies[:0], initial[:0], final[:0]]).sum()
        return (nothing + torch.inf).to(graph.energies)
    useful = Graph(structure, energies[torch.from_numpy(arcs).to(energies.device)], initial, final)
    useful = useful.with_symbols(graph.input_symbols, graph.output_symbols)  # for errors
    ends = initial[first] + shortest_distance(useful, beta, "to")[first]
    total = ends[ends.argmin()] if math.isinf(beta) else torch.logsumexp(-beta * ends, 0) / -beta + 0.0
    return total.to(graph.energies)


class Divergence(CycleError):
    """Of a sum over paths. The message is for a graph without names, until ``naming_cycles`` gives it them.

    Attributes:
        said: the message, but for the cycle.
        arcs: the cycle's, in order.
    """

    def __init__(self, said: str, structure: Structure, arcs: list[int]):
        super().__init__(said.format(cycle=_in_words(structure, arcs)))
        self.said, self.arcs = said, arcs


@contextmanager
def naming_cycles(graph: Graph) -> Iterator[None]:
    """Has a ``Divergence`` name its cycle by the symbols of the graph."""
    try:
        yield
    except Divergence as error:
        if graph.input_symbols is None:
            raise
        cycle = _in_words(graph.structure, error.arcs, graph.input_symbols, graph.output_symbols)
        raise CycleError(error.said.format(cycle=cycle)) from None


def _in_words(
    structure: Structure, arcs: list[int], read: Symbols | None = None, written: Symbols | None = None
) -> str:
    """The states along the cycle and, where they have names, the labels between them."""

    def name(symbols: Symbols | None, label: int) -> str:
        return symbols.name(label) if symbols is not None and label < len(symbols) else str(label)

    steps = []
    for arc in arcs:
        label = name(read, structure.input_labels[arc])
        if not structure.is_acceptor:
            label += f":{name(written, structure.output_labels[arc])}"
        steps.append(f"{'→' if read is None else f'–{label}→'} {structure.destination[arc]}")
    if len(steps) > MOST_NAMED:
        steps[MOST_NAMED // 2 : -MOST_NAMED // 2] = [f"… {len(steps) - MOST_NAMED} more …"]
    return " ".join([str(structure.source[arcs[0]]), *steps])


def cycle_through(structure: Structure, energies: NDArray[np.float64], state: int) -> list[int]:
    """The arcs of the cycle of least energy through the state; or of one of negative energy that leads to the
    state and back, of which there is no least."""
    order, starts = structure.components
    component = np.empty(structure.states, np.int64)
    component[order] = np.repeat(np.arange(len(starts) - 1), np.diff(starts.astype(np.int64)))
    source, destination = structure.source, structure.destination
    inside = (component[source] == component[state]) & (component[destination] == component[state])
    ends = np.where(np.arange(structure.states) == state, 0.0, np.inf)
    within = np.where(inside, energies, np.inf)
    arc, ends, meets = _least_arcs(structure, "from", within, ends)
    if meets < 0:
        closing = np.flatnonzero(inside & (destination == state))
        cycle, meets = [int(closing[(ends[source[closing]] + within[closing]).argmin()])], state
    else:
        cycle = [int(arc[meets])]
    while source[cycle[-1]] != meets:
        cycle.append(int(arc[source[cycle[-1]]]))
    return cycle[::-1]


def _least_arcs(
    structure: Structure, direction: Direction, energies: NDArray[Any], ends: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """The last arc of a least path of each state and its energy; and a state on a cycle of negative energy,
    which these arcs lead round, or −1."""
    way, energy = walk(structure, direction), ends.copy()
    arc, state = kernels.least(*way.graph, way.chosen(energies), SLACK, energy)
    if way.arcs is not None:
        entered = arc >= 0
        arc[entered] = way.arcs[arc[entered]]
    return arc, energy, state


def _raise_infinite(
    structure: Structure, way: Walk, state: int, cycles: float, energies: NDArray[Any], beta: float
) -> None:
    """What kernels say of a state whose sum is infinite, or cannot be found."""
    if cycles != kernels.NOT_FOUND:
        _raise_divergence(structure, state, -math.log(cycles) / beta, energies)
    component = np.searchsorted(way.starts, way.place[state], side="right")
    states = int(way.starts[component]) - int(way.starts[component - 1])
    raise GraphError(
        f"the sum over a component of {states} states, of which {state} is one, could not be found to "
        f"{kernels.LEAST_ACCURACY:g}; it is at the brink of divergence: raise the energies on its cycles, or "
        "compose with an acyclic graph first"
    )


def _raise_divergence(structure: Structure, state: int, energy: float, energies: NDArray[Any]) -> None:
    arcs = cycle_through(structure, energies, state)
    raise Divergence(
        f"the sum over paths diverges: the cycles through state {state} add up to an energy of "
        f"{energy + 0.0:.6g}, where only more than 0 keeps it finite; a cycle there is {{cycle}}, of "
        f"energy {math.fsum(energies[arcs]) + 0.0:.6g}; raise their energies, or compose with an acyclic "
        "graph first",
        structure,
        arcs,
    )


def _energy(value: NDArray[np.float64], digit: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """−(1/β) log of sums as the kernels carry them."""
    with np.errstate(divide="ignore"):
        energy: NDArray[np.float64] = (np.log(value) + digit * (lattice.DIGIT * math.log(2.0))) / -beta
    return energy + 0.0  # no −0


class _LogSums(torch.autograd.Function):
    """(energies, ends) in float64 → F_β to each state."""

    @staticmethod
    def forward(
        ctx: Any, structure: Structure, beta: float, direction: Direction, energies: Tensor, ends: Tensor
    ) -> Tensor:
        way = walk(structure, direction)
        value, digit = weights(ends, beta)
        sums = np.stack([value, digit if len(digit) else np.zeros(len(value))], axis=1)
        state, cycles = kernels.sums(*way.graph, *weights(energies, beta, way.arcs), sums)
        if state >= 0:
            _raise_infinite(structure, way, state, cycles, as_array(energies), beta)
        distance = torch.from_numpy(_energy(sums[:, 0], sums[:, 1], beta)).to(energies.device)
        ctx.structure, ctx.beta, ctx.direction = structure, beta, direction
        ctx.save_for_backward(energies, ends, distance)
        return distance

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """With p_a = exp(−β(d_u + e_a − d_v)), the share of the paths to v that come by arc a from u, the
        derivative of Σ grad · d in e_a is p_a z_v, where z_u = grad_u + Σ_{a: u→v} p_a z_v."""
        energies, ends, distance = ctx.saved_tensors
        at, to = (state.to(energies.device) for state in _walked(ctx.structure, ctx.direction))
        reached = distance < torch.inf
        finite = torch.where(reached, distance, 0.0)

        def share(before: Tensor, after: Tensor, used: Tensor) -> Tensor:
            exponent = torch.where(used, before - after, 0.0)
            return torch.where(used, torch.exp(-ctx.beta * exponent), 0.0)

        by_arc = share(finite[at] + energies, finite[to], reached[at] & (energies < torch.inf))
        by_end = share(ends, finite, ends < torch.inf)
        uses = _Solution.apply(
            ctx.structure, _opposite(ctx.direction), by_arc, torch.where(reached, grad, 0.0)
        )
        return None, None, None, by_arc * uses[to], by_end * uses


class _Solution(torch.autograd.Function):
    """(P of the arcs, b) → x = b + x P in the direction walked, [S]: x_v = b_v + Σ_{a: u→v} x_u p_a."""

    @staticmethod
    def forward(ctx: Any, structure: Structure, direction: Direction, share: Tensor, right: Tensor) -> Tensor:
        way = walk(structure, direction)
        x = as_array(right).copy()
        state, cycles = kernels.solve(*way.graph, way.chosen(as_array(share)), x)
        if state >= 0:
            with np.errstate(divide="ignore"):
                _raise_infinite(structure, way, state, cycles, -np.log(as_array(share)), 1.0)
        ctx.structure, ctx.direction = structure, direction
        solution = torch.from_numpy(x).to(share.device)
        ctx.save_for_backward(share, solution)
        return solution

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        share, solution = ctx.saved_tensors
        at, to = (state.to(share.device) for state in _walked(ctx.structure, ctx.direction))
        adjoint = _Solution.apply(ctx.structure, _opposite(ctx.direction), share, grad)
        return None, None, solution[at] * adjoint[to], adjoint


class _Least(torch.autograd.Function):
    """(energies, ends) in float64 → the least energy to each state."""

    @staticmethod
    def forward(
        ctx: Any, structure: Structure, beta: float, direction: Direction, energies: Tensor, ends: Tensor
    ) -> Tensor:
        tree = _least_tree(structure, direction, energies, ends)
        ctx.tree = tree.arc, _back(structure, direction)
        result = torch.from_numpy(tree.energy).to(energies.device)
        ctx.save_for_backward(energies, result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        energies, distance = ctx.saved_tensors
        last_arc = torch.from_numpy(ctx.tree[0]).to(energies.device)
        uses = _TreeSums.apply(*ctx.tree, torch.where(distance < torch.inf, grad, 0.0))
        entered = (last_arc >= 0).nonzero()[:, 0]
        by_arc = torch.zeros_like(energies).index_add(0, last_arc[entered], uses[entered])
        return None, None, None, by_arc, torch.where(last_arc < 0, uses, 0.0)


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


class Tree(NamedTuple):
    """Least paths of each state.

    Attributes:
        energy: the least energy of a path between the ends of the graph and the state, [S] float64.
        arc: the arc of this path at the state, −1 where it has none, [S]. These arcs never lead round a
            cycle, not even one of energy 0.
    """

    energy: NDArray[np.float64]
    arc: NDArray[np.int64]


def least_tree(graph: Graph, direction: Direction) -> Tree:
    """The best path "from" the initial states to each state, or from it "to" the final ones.

    Raises:
        CycleError: a cycle of negative energy; the message names it, state by state.
        GraphError: an energy that is NaN or −inf.
    """
    with naming_cycles(graph):
        ends = graph.initial if direction == "from" else graph.final
        return _least_tree(graph.structure, direction, graph.energies, ends)


def _least_tree(structure: Structure, direction: Direction, energies: Tensor, ends: Tensor) -> Tree:
    values = usable(energies.double())
    arc, energy, state = _least_arcs(structure, direction, values, usable(ends.double()))
    if state >= 0:
        back = _back(structure, direction)
        cycle = [int(arc[state])]
        while back[cycle[-1]] != state:
            cycle.append(int(arc[back[cycle[-1]]]))
        raise Divergence(
            f"the cycle through state {state} has a negative energy of {math.fsum(values[cycle]):.6g}: "
            "{cycle}; so no path is the best; raise its energy, or compose with an acyclic graph first",
            structure,
            cycle[::-1] if direction == "from" else cycle,
        )
    return Tree(energy, arc)


def _back(structure: Structure, direction: Direction) -> NDArray[np.uint32]:
    """The state that each arc is walked from."""
    return (structure.source if direction == "from" else structure.destination).view(np.uint32)


class _TreeSums(torch.autograd.Function):
    """Values of the states [S] → for each state, their sum over all states whose least path goes through
    it."""

    @staticmethod
    def forward(
        ctx: Any, last_arc: NDArray[np.int64], walked_from: NDArray[np.uint32], values: Tensor
    ) -> Tensor:
        ctx.tree = last_arc, walked_from
        return torch.from_numpy(kernels.along_tree(last_arc, walked_from, as_array(values))).to(values.device)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """The sum over all states on the least path to each, in steps that double in length."""
        last_arc, walked_from = ctx.tree
        root = len(last_arc)  # a state of value 0 above all
        above = np.full(root + 1, root)
        entered = np.flatnonzero(last_arc >= 0)
        above[entered] = walked_from[last_arc[entered]]
        sums, jump = torch.cat([grad, grad.new_zeros(1)]), torch.from_numpy(above).to(grad.device)
        for _ in range(root.bit_length()):
            sums, jump = sums + sums[jump], jump[jump]
        return None, None, sums[:root]


@takes_graphs
def all_pairs_distance(graph: Graph, beta: float = 1.0) -> Tensor:
    """F_β over all paths from each state to each: D[p, q], the path without arcs from p to p included.

    Initial and final energies do not count.

    Returns:
        [S, S], in the dtype of the energies; +inf where there is no path. Differentiable, as often as wanted.

    Args and errors as of ``shortest_distance``.

    Cost: O(S²) memory; for finite β O(S³) time by Lehmann's generalisation of Kleene's, Floyd's and
    Warshall's algorithm, and O(S³ + A S) exponentials for the gradient; S searches for β = ∞.

    >>> graph = Graph(Structure([0, 1], [1, 0], [0, 1]), torch.tensor([1.0, 2.0]))
    >>> all_pairs_distance(graph, beta=math.inf)
    tensor([[0., 1.],
            [2., 0.]])
    """
    check_beta(beta)
    energies = graph.energies.double()
    if math.isinf(beta):
        ends = torch.full(
            (graph.states, graph.states), torch.inf, dtype=torch.float64, device=energies.device
        )
        ends.fill_diagonal_(0.0)
        with naming_cycles(graph):
            rows = [_Least.apply(graph.structure, beta, "from", energies, row) for row in ends]
        distance = torch.stack(rows) if rows else ends
    else:
        with naming_cycles(graph):
            distance = _AllPairs.apply(graph.structure, beta, energies)
    return distance.to(graph.energies)


class _AllPairs(torch.autograd.Function):
    """Energies in float64 → F_β between all pairs of states."""

    @staticmethod
    def forward(ctx: Any, structure: Structure, beta: float, energies: Tensor) -> Tensor:
        value, digit = weights(energies, beta)
        sums, sums_digit, state, cycles = kernels.all_pairs(
            structure.source.view(np.uint32),
            structure.destination.view(np.uint32),
            value,
            digit,
            structure.states,
        )
        if state >= 0:
            _raise_divergence(structure, state, -math.log(cycles) / beta, as_array(energies))
        distance = torch.from_numpy(_energy(sums, sums_digit, beta)).to(energies.device)
        ctx.structure, ctx.beta = structure, beta
        ctx.save_for_backward(energies, distance)
        return distance

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Σ_pq grad_pq ∂D_pq/∂e_a = Σ_q exp(−β(e_a + D_vq − D_uq)) T_uq for the arc a from u to v, with
        T_uq = Σ_p grad_pq exp(−β(D_pu + D_uq − D_pq)): the exponents are bounded, as no path is left out."""
        energies, distance = ctx.saved_tensors
        source, destination = (end.to(energies.device) for end in _walked(ctx.structure, "from"))
        reached = distance < torch.inf
        finite = torch.where(reached, distance, 0.0)

        def ratio(exponent: Tensor, used: Tensor) -> Tensor:
            return torch.where(used, torch.exp(-ctx.beta * torch.where(used, exponent, 0.0)), 0.0)

        through = torch.zeros_like(distance)
        for p in range(len(distance)):
            exponent = finite[p][:, None] + finite - finite[p]
            wanted = torch.where(reached[p], grad[p], 0.0)
            through = through + wanted * ratio(exponent, reached[p][:, None] & reached)
        exponent = energies[:, None] + finite[destination] - finite[source]
        used = (energies < torch.inf)[:, None] & reached[destination]
        return None, None, (ratio(exponent, used) * through[source]).sum(1)
