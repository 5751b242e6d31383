"""Semirings: what sums over paths may be taken in besides energies."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from numba.core.errors import NumbaError
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import (
    Direction,
    Divergence,
    arcs_on_paths,
    check_beta,
    check_direction,
    cycle_through,
    naming_cycles,
    shortest_distance,
    sum_over_paths,
    usable,
    walk,
)
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, as_array
from gtn_ebm.kernels import prefixes
from gtn_ebm.kernels import semiring as kernels

Value = Any
"""A float, or a tuple of floats."""


@dataclass(frozen=True)
class Semiring:
    """A semiring from plain Python functions, which numba compiles at their first use in each process.

    Values are floats, or tuples of one fixed number of floats. Ready made in ``gtn_ebm.semiring`` are
    ``tropical``, ``log(beta)``, ``real``, ``max_times``, ``expectation(attribute)``, ``boolean``,
    ``counting``, ``k_best(k)``, ``string`` and ``gallic(beta)``; all have ``total`` and
    ``shortest_distance``, the first five with gradients of any order. The k best have theirs in
    ``best_paths``; sums by functions of one's own have none, as these do not say their derivatives.

    Attributes:
        plus: (a, b) → a ⊕ b, of alternatives; associative and commutative.
        times: (a, b) → a ⊗ b, along a path; associative, and distributes over ⊕.
        zero: neutral in ⊕, the sum of no path; a ⊗ zero = zero.
        one: neutral in ⊗, the value of a path without arcs and ends.
        lift: energy → value of an arc, or of beginning or ending in a state; +inf is zero without asking.
            With an ``attribute``, (energy, attribute of the arc) → value, where ends have the attribute 0.
        star: a → one ⊕ a ⊕ a ⊗ a ⊕ …, NaN where there is no such sum. With it, cycles are summed in closed
            form by Kleene's algorithm. Without it, values go round until no sum changes by more than 1e-15
            of its size (Mohri 2002, "Semiring frameworks and algorithms for shortest-distance problems"), at
            most 10,000 times and once for each state.
        attribute: the name of a numerical arc attribute for ``lift``.

    Cost: O(S + A) time and memory for an acyclic graph; with ``star`` O(n³) time for a strongly connected
    component of n states, else O(A) time for each round.

    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0, 1], [1, 2, 2], [0, 1, 2]), torch.tensor([3.0, 1.0, 2.0]))
    >>> capacity = Semiring(max, min, zero=-math.inf, one=math.inf, lift=lambda energy: energy)
    >>> capacity.shortest_distance(graph.with_energies(graph.energies, final=graph.energies), "to")
    tensor([3., 2., 2.], dtype=torch.float64)
    """

    plus: Callable[[Value, Value], Value]
    times: Callable[[Value, Value], Value]
    zero: Value
    one: Value
    lift: Callable[..., Value]
    star: Callable[[Value], Value] | None = None
    attribute: str | None = None

    @takes_graphs
    def shortest_distance(self, graph: Graph, direction: Direction = "from") -> Tensor:
        """⊕ over all paths between the graph's ends and each state, of ⊗ along the path.

        Args:
            graph: any graph.
            direction: "from" the initial states, what beginning there is worth included, or "to" the final
            ones.

        Returns:
            [S] float64, or [S, K] where values are tuples of K floats. No gradients.

        Raises:
            CycleError: cycles whose sum does not exist, or is not reached; the message names one.
            GraphError: an energy that is NaN or −inf, no such attribute, or a function that cannot be
            compiled.
        """
        check_direction(direction)
        ends = graph.initial if direction == "from" else graph.final
        rows = self._rows(graph, self._values(graph), ends, direction)
        return torch.from_numpy(rows if self._is_tuple else rows[:, 0])

    @takes_graphs
    def total(self, graph: Graph) -> Tensor:
        """⊕ over all paths of the graph: a float64 scalar, or [K].

        Errors as of ``shortest_distance``, but that cycles on no path are left out and need no sum.
        """
        values, ends = self._values(graph), self._lifted(graph.final, None)
        structure, arcs, _ = arcs_on_paths(graph)
        useful = Graph(
            structure,
            graph.energies.detach()[torch.from_numpy(arcs)],
            input_symbols=graph.input_symbols,
            output_symbols=graph.output_symbols,
        )
        rows = self._rows(useful, values[arcs], graph.initial, "from")
        row = _compiled(self._summing, rows, ends, self._zero_row)
        return torch.from_numpy(row if self._is_tuple else row[0:1].reshape(()))

    @property
    def _is_tuple(self) -> bool:
        return isinstance(self.zero, tuple)

    @property
    def _zero_row(self) -> NDArray[np.float64]:
        return np.atleast_1d(np.asarray(self.zero, np.float64))

    @cached_property
    def _width(self) -> int:
        return len(self.zero) if self._is_tuple else 0

    @cached_property
    def _lifting(self) -> Any:
        return kernels.lifting(self.lift, self._width, self.attribute is not None)

    @cached_property
    def _summing(self) -> Any:
        return kernels.summing(self.plus, self.times, self._width)

    @cached_property
    def _distances(self) -> dict[Direction, Any]:
        functions = self.plus, self.times, self.star, self._width
        return {"from": kernels.distances(*functions, True), "to": kernels.distances(*functions, False)}

    def _lifted(self, energies: Tensor, attribute: Tensor | None) -> NDArray[np.float64]:
        values = usable(energies.double())
        given = np.zeros(len(values)) if attribute is None else as_array(attribute)
        rows: NDArray[np.float64] = _compiled(self._lifting, values, given, self._zero_row)
        return rows

    def _values(self, graph: Graph) -> NDArray[np.float64]:
        attribute = None if self.attribute is None else _numbers(graph, self.attribute)
        return self._lifted(graph.energies, attribute)

    def _rows(
        self, graph: Graph, values: NDArray[np.float64], ends: Tensor, direction: Direction
    ) -> NDArray[np.float64]:
        way = walk(graph.structure, direction)
        x = self._lifted(ends, None)
        state = _compiled(self._distances[direction], *way.graph, way.chosen(values), self._zero_row, x)
        if state >= 0:
            _raise_divergence(graph, state)
        return x


def _raise_divergence(graph: Graph, state: int) -> None:
    """Names the shortest cycle, since only the semiring knows what its energy means."""
    energies = as_array(graph.energies).astype(np.float64)
    arcs = cycle_through(graph.structure, np.where(energies < np.inf, 1.0, np.inf), state)
    with naming_cycles(graph):
        raise Divergence(
            f"the cycles through state {state} have no sum in this semiring; the shortest is {{cycle}}, of "
            f"energy {math.fsum(energies[arcs]):.6g}; cut them, or compose with an acyclic graph first",
            graph.structure,
            arcs,
        )


def _compiled(kernel: Any, *arguments: Any) -> Any:
    try:
        return kernel(*arguments)
    except NumbaError as error:
        raise GraphError(
            "a function of the semiring cannot be compiled; write it on floats, or on tuples of floats: "
            f"{error}"
        ) from error


def _numbers(graph: Graph, name: str) -> Tensor:
    """A numerical arc attribute, [A] float64."""
    if name not in graph.attributes:
        raise GraphError(f"the graph has no arc attribute {name!r}; it has {sorted(graph.attributes)}")
    values = graph.attributes[name]
    try:
        numbers = values if isinstance(values, Tensor) else torch.tensor(values, dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise GraphError(f"attribute {name!r} must hold a number for each arc: {error}") from error
    if numbers.ndim != 1:
        shape = list(numbers.shape)
        raise GraphError(f"attribute {name!r} must hold one number for each arc, not shape {shape}")
    return numbers.to(graph.energies.device, torch.float64)


@dataclass(frozen=True)
class LogSemiring:
    """Energies, alternatives summed as F_β = −(1/β) log Σ exp(−βE): ``distance.shortest_distance`` by another
    name, with gradients.

    Attributes:
        beta: inverse temperature, > 0; ∞ makes it the tropical semiring.
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        check_beta(self.beta)

    @takes_graphs
    def shortest_distance(self, graph: Graph, direction: Direction = "from") -> Tensor:
        """As of ``distance.shortest_distance``."""
        return shortest_distance(graph, self.beta, direction)

    @takes_graphs
    def total(self, graph: Graph) -> Tensor:
        """F_β over all paths of the graph, a scalar; +inf where there is none."""
        return sum_over_paths(graph, self.beta)


def log(beta: float = 1.0) -> LogSemiring:
    """The log semiring at inverse temperature β.

    >>> float(log(beta=2.0).total(Graph.linear([0])))
    0.0
    """
    return LogSemiring(beta)


tropical = LogSemiring(math.inf)
"""The least energy."""


@dataclass(frozen=True)
class WeightSemiring:
    """Plain numbers: weights exp(−E), multiplied along a path. Alternatives add up to exp(−F_β), which is
    their sum at β = 1 and the largest at β = ∞: ``LogSemiring`` without its logarithm, and so exact on
    cycles, with gradients of any order.

    Attributes:
        beta: > 0.
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        check_beta(self.beta)

    @takes_graphs
    def shortest_distance(self, graph: Graph, direction: Direction = "from") -> Tensor:
        """exp(−F_β) over all paths between the graph's ends and each state, [S] float64; args and errors as
        of ``distance.shortest_distance``."""
        return torch.exp(-shortest_distance(graph.to(torch.float64), self.beta, direction))

    @takes_graphs
    def total(self, graph: Graph) -> Tensor:
        """exp(−F_β) over all paths of the graph: a float64 scalar, 0 where there is none."""
        return torch.exp(-sum_over_paths(graph.to(torch.float64), self.beta))


real = WeightSemiring()
"""Weights exp(−E), added up and multiplied in plain numbers: beyond energies of about ±700 use ``log``.

>>> energies = torch.tensor([0.0, 1.0], requires_grad=True)
>>> real.total(Graph.linear([0, 1], energies=energies)).backward()
>>> energies.grad
tensor([-0.3679, -0.3679])
"""

max_times = WeightSemiring(math.inf)
"""The largest weight exp(−E) of a path."""


@dataclass(frozen=True)
class ExpectationSemiring:
    """Pairs (Σ p, Σ p·value) with p = exp(−E), where a path's value is the sum of its arcs' ``attribute``.
    Their quotient is its expected value (Eisner 2002, "Parameter estimation for probabilistic finite-state
    transducers"). It is found as a derivative of F, in the direction of the values, and so is exact on
    cycles, with gradients of any order in energies and values.

    Attributes:
        attribute: the name of a numerical arc attribute: a list, or a tensor, which may need gradients.
    """

    attribute: str

    @takes_graphs
    def shortest_distance(self, graph: Graph, direction: Direction = "from") -> Tensor:
        """The pairs of all paths between the graph's ends and each state, [S, 2] float64; errors as of
        ``distance.shortest_distance``, or GraphError where there is no such attribute."""
        return self._pairs(graph, lambda moved: shortest_distance(moved, 1.0, direction))

    @takes_graphs
    def total(self, graph: Graph) -> Tensor:
        """The pair of all paths of the graph, [2] float64."""
        return self._pairs(graph, sum_over_paths)

    def _pairs(self, graph: Graph, free_energy: Callable[[Graph], Tensor]) -> Tensor:
        values = _numbers(graph, self.attribute)
        parts = graph.energies, graph.initial, graph.final, values
        wanted = torch.is_grad_enabled() and any(part.requires_grad for part in parts)
        with torch.enable_grad():
            moved = graph.to(torch.float64)
            step = torch.zeros_like(moved.energies, requires_grad=True)
            free = free_energy(moved.with_energies(moved.energies + step))
            # A derivative along the values: that of Σ direction · dF/dE in the direction.
            direction = torch.zeros_like(free, requires_grad=True)
            (uses,) = torch.autograd.grad(free, step, direction, create_graph=True)
            along = (uses * values).sum() + 0.0 * direction.sum()  # of which no path may use an arc
            (expected,) = torch.autograd.grad(along, direction, create_graph=True)
            weight = torch.exp(-free)
            pairs = torch.stack([weight, weight * expected], -1)
        return pairs if wanted else pairs.detach()


def expectation(attribute: str) -> ExpectationSemiring:
    """The expectation semiring of the values in this arc attribute."""
    return ExpectationSemiring(attribute)


boolean = Semiring(max, min, zero=0.0, one=1.0, lift=lambda energy: 1.0, star=lambda a: 1.0)
"""1 where there is a path of finite energy, else 0."""

counting = Semiring(
    lambda a, b: a + b,
    lambda a, b: 0.0 if a == 0.0 or b == 0.0 else a * b,
    zero=0.0,
    one=1.0,
    lift=lambda energy: 1.0,
    star=lambda a: 1.0 if a == 0.0 else math.inf,
)
"""The number of paths of finite energy, exact up to 2⁵³; +inf where a cycle makes it so."""


@cache
def k_best(k: int) -> Semiring:
    """The k least energies of a path, ascending; +inf where there are fewer paths (Mohri 2002).

    Raises:
        GraphError: k < 1.

    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0, 1], [0, 1, 2], [0, 1, 2]), torch.tensor([1.0, 0.5, 0.0]))
    >>> k_best(3).total(graph)
    tensor([0.5000, 1.5000, 2.5000], dtype=torch.float64)
    """
    if k < 1:
        raise GraphError(f"k must be at least 1, not {k}")
    plus, times, first = kernels.least_sums(k)
    return Semiring(plus, times, zero=(math.inf,) * k, one=(0.0,) + (math.inf,) * (k - 1), lift=first)


class StringSemiring:
    """Strings of output labels, of which alternatives have their longest common prefix.

    A prefix is not of a fixed width, and so is not a value of a ``Semiring``: it is held as a length and
    a path that begins with it. Prefixes distribute over what is written before them, not
    after, and so are summed from the end only.
    """

    @takes_graphs
    def shortest_distance(self, graph: Graph, direction: Direction = "to") -> list[list[int] | None]:
        """Of each state, the longest common prefix of what all paths of finite energy from it to the final
        states write; None where there is no such path.

        Costs O(S + A L) for prefixes of length L in an acyclic graph; round cycles more, as they get shorter.

        Raises:
            GraphError: a direction other than "to", or an energy that is NaN or −inf.
        """
        if direction != "to":
            raise GraphError('common prefixes can be summed "to" the final states only; reverse the graph')
        return self._prefixes(graph, np.arange(graph.states))

    @takes_graphs
    def total(self, graph: Graph) -> list[int] | None:
        """The longest common prefix of what all paths of finite energy write; None where there is no path.

        >>> from gtn_ebm import Structure
        >>> string.total(Graph(Structure([0, 1, 1], [1, 2, 2], [5, 6, 7]), torch.zeros(3)))
        [5]
        """
        begin = np.flatnonzero(usable(graph.initial) < np.inf)
        common: list[int] | None = None
        for labels in self._prefixes(graph, begin):
            if labels is None:
                continue
            pairs = enumerate(zip(labels, labels if common is None else common, strict=False))
            shorter = min(len(labels), len(labels if common is None else common))
            common = labels[: next((place for place, (a, b) in pairs if a != b), shorter)]
        return common

    def _prefixes(self, graph: Graph, states: NDArray[np.int64]) -> list[list[int] | None]:
        everywhere = torch.zeros_like(graph.final, requires_grad=False)
        final = usable(graph.final) < np.inf
        usable(graph.energies)
        # Only arcs on the way to an end count, wherever they are come to from.
        structure, _, leads_on = arcs_on_paths(graph.with_energies(graph.energies, everywhere, graph.final))
        destination, output = structure.destination.view(np.uint32), structure.output_labels
        source = structure.source.view(np.uint32)
        next_arc, order, length = prefixes.shortest_paths(*structure.in_index, source, output, final)
        prefixes.shorten(
            *structure.out_index, *structure.in_index, source, destination, output, next_arc, order, length
        )
        return [
            prefixes.prefix(state, length, next_arc, destination, output).tolist()
            if leads_on[state]
            else None
            for state in states
        ]


string = StringSemiring()


@dataclass(frozen=True)
class GallicSemiring:
    """Pairs of a string and an energy: ``string`` and ``log(beta)`` side by side, as for pushing transducers.

    Attributes:
        beta: of the energies; ∞ for the least.
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        check_beta(self.beta)

    @takes_graphs
    def shortest_distance(
        self, graph: Graph, direction: Direction = "to"
    ) -> tuple[list[list[int] | None], Tensor]:
        """(strings, energies) of each state; as of the two."""
        return string.shortest_distance(graph, direction), shortest_distance(graph, self.beta, direction)

    @takes_graphs
    def total(self, graph: Graph) -> tuple[list[int] | None, Tensor]:
        """(string, energy) of all paths."""
        return string.total(graph), LogSemiring(self.beta).total(graph)


def gallic(beta: float = 1.0) -> GallicSemiring:
    """The (left) Gallic semiring over the log semiring at β."""
    return GallicSemiring(beta)
