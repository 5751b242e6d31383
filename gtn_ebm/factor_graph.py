"""Factor graphs: an energy that is a sum of factors over discrete variables, worked out on a trellis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.inference import best_path, free_energy, posteriors

MOST_ARCS = 50_000_000
"""Of a trellis; what would need more is refused before memory is taken for it."""

Scope = tuple[str, ...]


class Factor(NamedTuple):
    """A term of the energy: ``energies[z1, z2, …]`` for the values of ``variables``, in their order."""

    variables: Scope
    energies: Tensor


class Assignment(NamedTuple):
    """A value for each variable, and the energy of them all; a differentiable scalar."""

    values: dict[str, int]
    energy: Tensor


class Marginals(NamedTuple):
    """Probabilities under p(assignment) ∝ exp(−β E); all 0 where no assignment has a finite energy.

    Attributes:
        variables: of each value of each variable, [values].
        factors: of the joint values of each factor's variables, in the shape of its energies.
    """

    variables: dict[str, Tensor]
    factors: list[Tensor]


class FactorGraph:
    """E(z1, z2, …) = Σ of factors, each a tensor over the values of a few variables.

    Args:
        factors: pairs of variables' names and energies with a dimension for each of them; +inf forbids.
            A factor without variables is a constant. How many values a variable has follows from the shapes.
        order: in which the trellis assigns the variables; found by min-fill where omitted.

    Raises:
        GraphError: shapes that contradict each other, different dtypes, a variable twice in one factor, an
            order that is not of all variables, no factor at all; and on use, a trellis of more than
            ``MOST_ARCS`` arcs.

    The trellis is a ``Graph``: its paths are the assignments, its states those of the variables that factors
    yet to come still need, and a factor's energy is on the arcs that assign the last of its variables. So
    all that can be asked of a graph can be asked of a factor graph, and is differentiable in the factors:
    ``best_paths(model.trellis(), 10)``, or ``free_energy([model.trellis() for model in batch])``. Structures
    are made once for all models of the same shape.

    The example of LeCun et al. 2006 ("A tutorial on energy-based learning", section 7): 24 configurations
    of four factors are 96 evaluations, of which the trellis needs 16.

    >>> model = FactorGraph(
    ...     [
    ...         (["z1"], torch.tensor([1.0, 0.0])),
    ...         (["z1", "z2"], torch.tensor([[0.0, 2.0], [3.0, 1.0]])),
    ...         (["z2", "y1"], torch.tensor([[1.0, 2.0], [2.0, 0.0]])),
    ...         (["y1", "y2"], torch.tensor([[0.5, 1.0, 2.0], [2.0, 1.0, 3.0]])),
    ...     ]
    ... )
    >>> model.configurations, model.configurations * len(model.factors), model.evaluations
    (24, 96, 16)
    >>> model.best_assignment().values
    {'z1': 1, 'z2': 1, 'y1': 1, 'y2': 1}
    >>> model.given({"y1": 0}).best_assignment().values
    {'z1': 0, 'z2': 0, 'y2': 0}
    """

    def __init__(self, factors: Iterable[tuple[Sequence[str], Tensor]], order: Sequence[str] | None = None):
        if not isinstance(factors, Iterable):
            raise GraphError(f"factors must be pairs of variables' names and energies, not {factors!r:.60}")
        self.factors = [_factor(pair) for pair in factors]
        if not self.factors:
            raise GraphError("a factor graph needs a factor at least")
        _check_one_dtype(self.factors)
        self.sizes = _sizes(self.factors)
        self._given_order = None if order is None else tuple(order)
        if self._given_order is not None and sorted(self._given_order) != sorted(self.sizes):
            raise GraphError(
                f"the order {list(self._given_order)} must name each of the variables {list(self.sizes)} once"
            )

    @cached_property
    def order(self) -> Scope:
        """The variables as the trellis assigns them."""
        scopes = tuple(factor.variables for factor in self.factors)
        return _min_fill(scopes) if self._given_order is None else self._given_order

    @property
    def configurations(self) -> int:
        """The number of assignments."""
        return math.prod(self.sizes.values())

    @property
    def evaluations(self) -> int:
        """How often the trellis takes a factor's value; writing out all assignments takes
        ``configurations * len(factors)``."""
        return sum(len(elements) for elements in self._plan.elements if elements is not None)

    def given(self, observed: Mapping[str, int]) -> FactorGraph:
        """The factor graph of the other variables, these having been observed; energies stay comparable.

        Raises:
            GraphError: no such variable, or no such value of it.
        """
        for name, value in observed.items():
            if name not in self.sizes:
                raise GraphError(f"no variable {name!r} to observe; there are {list(self.sizes)}")
            if not isinstance(value, int | np.integer) or not 0 <= value < self.sizes[name]:
                raise GraphError(f"{name!r} has values 0 to {self.sizes[name] - 1}, not {value!r:.40}")
        order = self._given_order
        return FactorGraph(
            (_given(factor, observed) for factor in self.factors),
            None if order is None else [name for name in order if name not in observed],
        )

    def trellis(self) -> Graph:
        """The graph whose paths are the assignments, labelled with the values in the order of ``order``.

        Attribute ``variable``: which of ``order`` an arc assigns, int64.
        """
        plan = self._plan
        like = self.factors[0].energies
        parts = [like.new_zeros(end - begin) for begin, end in plan.steps]
        constant = like.new_zeros(1)
        for (_, energies), step, elements in zip(self.factors, plan.step_of, plan.elements, strict=True):
            if elements is None:
                constant = constant + energies
            else:
                parts[step] = parts[step] + energies.reshape(-1).index_select(0, elements.to(like.device))
        nowhere = like.new_full((plan.structure.states - 1,), torch.inf)
        return Graph(
            plan.structure,
            torch.cat([like.new_zeros(0), *parts]),
            torch.cat([constant, nowhere]),
            attributes={"variable": plan.variable},
        )

    def free_energy(self, beta: float = 1.0) -> Tensor:
        """F_β = −(1/β) log Σ_assignments exp(−β E), a scalar. As ``gtn_ebm.free_energy`` otherwise."""
        return free_energy(self.trellis(), beta)

    def best_assignment(self) -> Assignment | None:
        """The assignment of least energy; None where none has a finite energy."""
        path = best_path(self.trellis())
        if path is None:
            return None
        values = dict(zip(self.order, path.input_labels, strict=True))
        return Assignment({name: values[name] for name in self.sizes}, path.energy)

    def marginals(self, beta: float = 1.0) -> Marginals:
        """Of every variable and of every factor's variables together; differentiable as often as
        wanted."""
        plan = self._plan
        found = posteriors(self.trellis(), beta)
        arcs = found.arcs
        labels = torch.from_numpy(plan.structure.input_labels.astype(np.int64)).to(arcs.device)
        of_variables = {
            name: arcs.new_zeros(self.sizes[name]).index_add(0, labels[begin:end], arcs[begin:end])
            for name, (begin, end) in zip(self.order, plan.steps, strict=True)
        }
        of_factors = [
            found.initial.sum()  # of the one value that a constant has
            if elements is None
            else arcs.new_zeros(energies.numel())
            .index_add(0, elements.to(arcs.device), arcs[slice(*plan.steps[step])])
            .reshape(energies.shape)
            for (_, energies), step, elements in zip(self.factors, plan.step_of, plan.elements, strict=True)
        ]
        return Marginals({name: of_variables[name] for name in self.sizes}, of_factors)

    @property
    def _plan(self) -> _Plan:
        return _planned(
            tuple(factor.variables for factor in self.factors),
            tuple((name, self.sizes[name]) for name in self.order),
        )

    def __repr__(self) -> str:
        return f"FactorGraph({len(self.sizes)} variables, {len(self.factors)} factors)"


def _factor(pair: tuple[Sequence[str], Tensor]) -> Factor:
    if not isinstance(pair, Sequence) or len(pair) != 2 or not isinstance(pair[0], Sequence):
        raise GraphError(f"a factor is a pair of its variables' names and its energies, not {pair!r:.60}")
    variables, energies = pair
    if isinstance(variables, str):
        raise GraphError(f"a factor's variables must be a sequence of names, such as ({variables!r},)")
    if not isinstance(energies, Tensor) or not energies.dtype.is_floating_point:
        raise GraphError(f"the energies of the factor of {list(variables)} must be a floating tensor")
    scope = tuple(variables)
    if len(set(scope)) < len(scope):
        raise GraphError(f"a factor has a variable twice: {list(scope)}; take the diagonal of its energies")
    if energies.ndim != len(scope) or 0 in energies.shape:
        raise GraphError(
            f"the factor of {list(scope)} needs energies with a dimension for each of them and a value at "
            f"least, not of shape {list(energies.shape)}"
        )
    return Factor(scope, energies)


def _check_one_dtype(factors: Sequence[Factor]) -> None:
    dtypes = {factor.energies.dtype for factor in factors}
    if len(dtypes) > 1:
        raise GraphError(f"factors have energies in {sorted(map(str, dtypes))}; convert them to one dtype")


def _sizes(factors: Sequence[Factor]) -> dict[str, int]:
    """How many values each variable has, in the order in which they are first named."""
    sizes: dict[str, int] = {}
    for scope, energies in factors:
        for name, size in zip(scope, energies.shape, strict=True):
            if sizes.setdefault(name, size) != size:
                raise GraphError(
                    f"{name!r} has {size} values in the factor of {list(scope)}, but {sizes[name]} before"
                )
    return sizes


def _given(factor: Factor, observed: Mapping[str, int]) -> Factor:
    scope, energies = factor
    chosen = tuple(observed.get(name, slice(None)) for name in scope)
    return Factor(tuple(name for name in scope if name not in observed), energies[chosen])


class _Plan(NamedTuple):
    """A trellis without energies.

    Attributes:
        structure: of the graph; the arcs of one variable after those of another.
        steps: which arcs assign each variable of the order: begin and end.
        variable: the place in the order of what each arc assigns, [A].
        step_of: on the arcs of which step each factor lies; −1 for a constant.
        elements: which element of the factor, flattened, each of these arcs takes; None for a constant.
    """

    structure: Structure
    steps: list[tuple[int, int]]
    variable: Tensor
    step_of: list[int]
    elements: list[Tensor | None]


@lru_cache(maxsize=64)
def _planned(scopes: tuple[Scope, ...], order: tuple[tuple[str, int], ...]) -> _Plan:
    """The trellis of factors over these variables, given in order with the number of values of each."""
    sizes = dict(order)
    place = {name: k for k, name in enumerate(sizes)}
    step_of = [max((place[name] for name in scope), default=-1) for scope in scopes]
    frontiers = _frontiers(scopes, list(sizes), step_of)
    states = [math.prod(sizes[name] for name in frontier) for frontier in frontiers]
    arcs = [count * sizes[name] for count, name in zip(states, sizes, strict=False)]
    if sum(arcs) > MOST_ARCS:
        raise GraphError(
            f"the trellis would have {sum(arcs):,} arcs, more than {MOST_ARCS:,}: as many as "
            f"{max(map(len, frontiers))} variables are needed at once; observe some, or give a better order"
        )
    first_state, first_arc = np.cumsum([0, *states]), np.cumsum([0, *arcs]).tolist()
    arrays: tuple[list[NDArray[np.int64]], ...] = [], [], []  # sources, destinations, labels
    elements: list[Tensor | None] = [None] * len(scopes)
    for step, name in enumerate(sizes):
        before = frontiers[step]
        values = dict(zip((*before, name), _grid([*(sizes[v] for v in before), sizes[name]]), strict=True))
        ends = [first_state[at] + _number(values, frontiers[at], sizes) for at in (step, step + 1)]
        for part, of_step in zip(arrays, (*ends, values[name]), strict=True):
            part.append(of_step)
        for factor, scope in enumerate(scopes):
            if step_of[factor] == step:
                elements[factor] = torch.from_numpy(_number(values, scope, sizes))
    nothing = [np.zeros(0, np.int64)]
    source, destination, labels = (np.concatenate(part or nothing) for part in arrays)
    structure = Structure(source, destination, labels, states=sum(states))
    variable = torch.repeat_interleave(torch.tensor(arcs, dtype=torch.int64))
    return _Plan(structure, list(pairwise(first_arc)), variable, step_of, elements)


def _frontiers(scopes: Sequence[Scope], order: Sequence[str], step_of: Sequence[int]) -> list[Scope]:
    """Before each step, and after the last, the assigned variables that a factor yet to come needs."""
    last_use = {
        name: max(step for scope, step in zip(scopes, step_of, strict=True) if name in scope)
        for name in order
    }
    return [tuple(name for name in order[:step] if last_use[name] >= step) for step in range(len(order) + 1)]


def _grid(sizes: Sequence[int]) -> list[NDArray[np.int64]]:
    """The values of each variable in all their joint assignments, the last one's changing fastest."""
    return [values.ravel() for values in np.indices(sizes, dtype=np.int64)]


def _number(
    values: Mapping[str, NDArray[np.int64]], scope: Scope, sizes: Mapping[str, int]
) -> NDArray[np.int64]:
    """The number of each joint assignment of a scope among all of its, as a flattened tensor counts them."""
    number = np.zeros_like(next(iter(values.values())))
    for name in scope:
        number = number * sizes[name] + values[name]
    return number


@lru_cache(maxsize=64)
def _min_fill(scopes: tuple[Scope, ...]) -> Scope:
    """An order of assignment in which few variables are needed at once.

    Eliminating variables one by one, always one whose neighbours lack the fewest edges among them, gives each
    a parent: the next of its neighbours to go. On the way down this tree a variable's factors lie within its
    ancestors, so that walking it depth first, smaller branches first, needs no more than these at once. Of
    equals the last given is eliminated first, so that a chain is assigned from its beginning.
    """
    neighbours: dict[str, set[str]] = {name: set() for scope in scopes for name in scope}
    for scope in scopes:
        for name in scope:
            neighbours[name].update(set(scope) - {name})
    missing = {name: _missing_edges(neighbours, name) for name in neighbours}
    eliminated: dict[str, set[str]] = {}
    while neighbours:
        name = min(reversed(neighbours), key=missing.__getitem__)
        around = eliminated[name] = neighbours.pop(name)
        for other in around:
            neighbours[other] |= around - {other}
            neighbours[other].discard(name)
        for other in around.union(*(neighbours[other] for other in around)):
            missing[other] = _missing_edges(neighbours, other)
    return tuple(_depth_first(eliminated))


def _missing_edges(neighbours: Mapping[str, set[str]], name: str) -> int:
    around = neighbours[name]
    return sum(len(around - neighbours[other]) - 1 for other in around) // 2


def _depth_first(eliminated: Mapping[str, set[str]]) -> Iterator[str]:
    """The elimination tree's variables, parents first; ``eliminated`` in the order in which they went."""
    place = {name: k for k, name in enumerate(eliminated)}
    children: dict[str | None, list[str]] = {None: [], **{name: [] for name in eliminated}}
    size = dict.fromkeys(eliminated, 1)
    for name, around in eliminated.items():
        parent = min(around, key=place.__getitem__, default=None)
        children[parent].append(name)
        if parent is not None:
            size[parent] += size[name]
    waiting = list(children[None])
    while waiting:
        name = waiting.pop()
        yield name
        waiting += sorted(children[name], key=size.__getitem__, reverse=True)
