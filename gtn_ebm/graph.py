"""The graph: an integer structure, the energies on it, and whatever else its arcs carry."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gtn_ebm.errors import CycleError, GraphError
from gtn_ebm.kernels import components
from gtn_ebm.kernels import structure as kernels
from gtn_ebm.symbols import EPSILON, Symbols

Attribute = Tensor | list[Any]


def as_array(values: Tensor) -> NDArray[Any]:
    """The values as kernels take them: float64 from float64, else float32; a copy only where it must be."""
    if values.dtype is not torch.float32 and values.dtype is not torch.float64:
        values = values.float()
    return np.ascontiguousarray(values.numpy(force=True))


def as_tensor(values: NDArray[Any], like: Tensor) -> Tensor:
    """What kernels give, in the dtype and on the device of another tensor."""
    return torch.from_numpy(values).to(like)


class Index(NamedTuple):
    """Arcs grouped by state: those of state q are ``arcs[offsets[q]:offsets[q + 1]]`` (both uint32)."""

    offsets: NDArray[np.uint32]
    arcs: NDArray[np.uint32]


class Readable(NamedTuple):
    """Arcs by the state they leave and then by the label on one side: what searches by label need.

    Attributes:
        offsets: those of state q stand from ``offsets[q]`` to ``offsets[q + 1]``.
        labels, destination: of the arcs in this order.
        arcs: which they are; empty where they are in this order already.
    """

    offsets: NDArray[np.uint32]
    labels: NDArray[np.int32]
    destination: NDArray[np.uint32]
    arcs: NDArray[np.uint32]


def _integers(values: ArrayLike, what: str) -> NDArray[np.int32]:
    array = np.asarray(values)
    if array.size == 0:
        array = array.astype(np.int32)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise GraphError(
            f"{what} must be a one-dimensional array of integers, not {array.dtype} of shape {array.shape}"
        )
    if array.size and (array.min() < EPSILON or array.max() > np.iinfo(np.int32).max):
        raise GraphError(f"{what} has a value outside {EPSILON} … 2³¹ − 1")
    # A copy unless it is already ours: nobody else may change a structure.
    array = array.astype(np.int32, copy=bool(array.flags.writeable))
    array.setflags(write=False)
    return array


class Structure:
    """The integer part of a graph; immutable, shared by graphs that differ only in energies.

    Args:
        source, destination: states of each arc, [A], each in 0 … states − 1.
        input_labels: [A], labels ≥ 0 or EPSILON (−1).
        output_labels: [A]; the input labels where omitted, which makes an acceptor.
        states: their number; one more than the largest in ``source`` and ``destination`` where omitted.

    Raises:
        GraphError: arrays of different lengths, a state that does not exist, a label below −1, states < 0.
    """

    def __init__(
        self,
        source: ArrayLike,
        destination: ArrayLike,
        input_labels: ArrayLike,
        output_labels: ArrayLike | None = None,
        states: int | None = None,
    ):
        self.source = _integers(source, "source")
        self.destination = _integers(destination, "destination")
        self.input_labels = _integers(input_labels, "input_labels")
        self.output_labels = (
            self.input_labels if output_labels is None else _integers(output_labels, "output_labels")
        )
        lengths = {
            name: len(getattr(self, name))
            for name in ("source", "destination", "input_labels", "output_labels")
        }
        if len(set(lengths.values())) > 1:
            raise GraphError(f"an arc needs one entry in each array, but their lengths are {lengths}")
        ends = [int(array.max()) for array in (self.source, self.destination) if len(array)]
        self.states = 1 + max(ends, default=-1) if states is None else operator.index(states)
        if self.states < 0:
            raise GraphError(f"a graph cannot have {self.states} states")
        if max(ends, default=-1) >= self.states:
            raise GraphError(
                f"an arc touches state {max(ends)}, but the graph has states 0 to {self.states - 1}"
            )
        if len(self.source) and min(self.source.min(), self.destination.min()) < 0:
            raise GraphError("an arc touches a state below 0")

    @classmethod
    def of_valid(
        cls,
        source: NDArray[np.int32],
        destination: NDArray[np.int32],
        input_labels: NDArray[np.int32],
        output_labels: NDArray[np.int32],
        states: int,
    ) -> Structure:
        """Takes arrays that are valid by construction as they are: for operations on graphs."""
        structure = cls.__new__(cls)
        structure.source, structure.destination = source, destination
        structure.input_labels, structure.output_labels = input_labels, output_labels
        structure.states = states
        for array in (source, destination, input_labels, output_labels):
            array.setflags(write=False)
        return structure

    @property
    def arcs(self) -> int:
        """The number of arcs."""
        return len(self.source)

    @cached_property
    def is_acceptor(self) -> bool:
        """Whether every arc has the same input and output label."""
        return self.output_labels is self.input_labels or np.array_equal(
            self.input_labels, self.output_labels
        )

    @cached_property
    def _is_by_source(self) -> bool:
        return kernels.is_sorted(self.source)

    @cached_property
    def out_index(self) -> Index:
        """Arcs by the state they leave, in the order of the arcs."""
        if self._is_by_source:
            offsets = kernels.offsets(self.source.view(np.uint32), self.states)
            return Index(offsets, np.arange(self.arcs, dtype=np.uint32))
        return Index(*kernels.group(self.source.view(np.uint32), self.states))

    @property
    def out_order(self) -> NDArray[np.uint32] | None:
        """``out_index.arcs``, or None where the arcs are in that order already."""
        return None if self._is_by_source else self.out_index.arcs

    @cached_property
    def outgoing(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """``out_index.offsets``, and the destinations of the arcs in its order: what recursions need."""
        destination = self.destination.view(np.uint32)
        if not self._is_by_source:
            destination = destination[self.out_index.arcs]
            # As the structure's own arrays are, because numba compiles anew for another kind.
            destination.setflags(write=False)
        return self.out_index.offsets, destination

    @cached_property
    def in_index(self) -> Index:
        """Arcs by the state they enter, in the order of the arcs."""
        return Index(*kernels.group(self.destination.view(np.uint32), self.states))

    @cached_property
    def out_by_input(self) -> Index:
        """Arcs by the state they leave and then by input label, epsilon first."""
        return self._out_by(self.input_labels)

    @cached_property
    def out_by_output(self) -> Index:
        """Arcs by the state they leave and then by output label, epsilon first."""
        return self._out_by(self.output_labels)

    @cached_property
    def by_input(self) -> Readable:
        """``out_by_input`` with the input labels and destinations in its order."""
        return self._readable(self.out_by_input, self.input_labels)

    @cached_property
    def by_output(self) -> Readable:
        """``out_by_output`` with the output labels and destinations in its order."""
        return self._readable(self.out_by_output, self.output_labels)

    def _readable(self, index: Index, labels: NDArray[np.int32]) -> Readable:
        destination = self.destination.view(np.uint32)
        if index is self.out_index and self._is_by_source:
            return Readable(index.offsets, labels, destination, index.arcs[:0])
        labels, destination = labels[index.arcs], destination[index.arcs]
        for array in (labels, destination):
            array.setflags(write=False)
        return Readable(index.offsets, labels, destination, index.arcs)

    def _out_by(self, labels: NDArray[np.int32]) -> Index:
        if self._is_by_source and kernels.is_sorted_within(self.source, labels):
            return self.out_index
        # Labels too sparse to count are ranked.
        if int(labels.max()) > 4 * len(labels) + 1024:
            labels = np.unique(labels, return_inverse=True)[1].astype(np.int32)
        return Index(
            *kernels.group_by_both(self.source.view(np.uint32), self.states, labels, int(labels.max()))
        )

    @cached_property
    def topological_order(self) -> NDArray[np.uint32]:
        """The states, [S], each before all that its arcs lead to.

        Raises:
            CycleError: there is none because of a cycle; the message names a state on it.
        """
        order = kernels.topological_order(*self.outgoing)
        if len(order) < self.states:
            ordered = np.zeros(self.states, np.bool_)
            ordered[order] = True
            state = kernels.state_on_cycle(self.source.view(np.uint32), *self.in_index, ordered)
            raise CycleError(
                f"the graph must be acyclic here, but state {state} lies on a cycle; "
                "cut it, or compose with an acyclic graph first"
            )
        return order

    @cached_property
    def is_acyclic(self) -> bool:
        """Whether the graph has no cycle, its unreachable states counted in."""
        try:
            return len(self.topological_order) == self.states
        except CycleError:
            return False

    @cached_property
    def components(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """The states by strongly connected component, each before those that its arcs lead to, [S]; and where
        each component begins among them, the number of states last."""
        if self.is_acyclic:
            return self.topological_order, np.arange(self.states + 1, dtype=np.uint32)
        return components.components(*self.outgoing)


class Graph:
    """A weighted finite-state acceptor or transducer. Immutable.

    The energy of a path is the sum of its arcs' energies and those of its initial and final state; lower is
    better.

    Args:
        structure: states, arcs and labels.
        energies: of the arcs, [A], floating; zeros where omitted. Gradients flow through it.
        initial: energy of starting in each state, [S], +inf where a path cannot; or the states where it may,
            at energy 0. State 0 where omitted.
        final: the same for ending. The last state where omitted.
        attributes: what else each arc carries, by name: a tensor whose first dimension is A, or a list of
            length A. Operations carry attributes over to the arcs of their result.
        input_symbols, output_symbols: names of the labels, used by pictures and text files. The output's are
            the input's where omitted in an acceptor.
        arc_maps: set by operations: for each operand, the arc of it that each arc stems from, [A] int32, −1
            for none.

    Raises:
        GraphError: a shape or dtype that does not fit.

    >>> two = Structure([0, 0, 1], [1, 2, 2], [0, 1, 2])
    >>> graph = Graph(two, torch.tensor([0.5, 2.0, 1.0]))
    >>> graph
    Graph(3 states, 3 arcs, acceptor)
    """

    def __init__(
        self,
        structure: Structure,
        energies: Tensor | None = None,
        initial: Tensor | Iterable[int] | None = None,
        final: Tensor | Iterable[int] | None = None,
        *,
        attributes: Mapping[str, Attribute] | None = None,
        input_symbols: Symbols | None = None,
        output_symbols: Symbols | None = None,
        arc_maps: Sequence[NDArray[np.int32]] = (),
    ):
        _check_structure(structure)
        self.structure = structure
        self.energies = torch.zeros(structure.arcs) if energies is None else energies
        if not isinstance(self.energies, Tensor):
            raise GraphError(
                f"energies must be a tensor, not {type(self.energies).__name__}; use torch.tensor(…)"
            )
        if self.energies.shape != (structure.arcs,) or not self.energies.dtype.is_floating_point:
            raise GraphError(
                f"energies must be a floating tensor of shape [{structure.arcs}], one for each arc, "
                f"not {self.energies.dtype} of shape {list(self.energies.shape)}"
            )
        states = structure.states
        self.initial = self._ends(initial if initial is not None else range(min(states, 1)), "initial")
        self.final = self._ends(final if final is not None else range(states)[-1:], "final")
        self.attributes = dict(attributes or {})
        for name, values in self.attributes.items():
            if len(values) != structure.arcs:
                raise GraphError(f"attribute {name!r} has {len(values)} entries for {structure.arcs} arcs")
        self.input_symbols = input_symbols
        if output_symbols is None and input_symbols is not None and structure.is_acceptor:
            output_symbols = input_symbols
        self.output_symbols = output_symbols
        self.arc_maps = tuple(arc_maps) if isinstance(arc_maps, list) else arc_maps

    def _ends(self, given: Tensor | Iterable[int], what: str) -> Tensor:
        states = self.structure.states
        if isinstance(given, Tensor):
            if given.shape != (states,) or given.dtype != self.energies.dtype:
                raise GraphError(
                    f"{what} must hold an energy for each of {states} states in {self.energies.dtype}, "
                    f"not shape {list(given.shape)} in {given.dtype}"
                )
            return given
        energies = self.energies.new_full((states,), torch.inf, requires_grad=False)
        chosen = list(given)
        if not all(isinstance(state, int | np.integer) for state in chosen):
            raise GraphError(
                f"{what} must name states by their numbers, or be a tensor of an energy for each; "
                f"not {chosen!r:.80}"
            )
        if any(not 0 <= state < states for state in chosen):
            raise GraphError(f"{what} names a state outside 0 … {states - 1}: {chosen}")
        energies[chosen] = 0.0
        return energies

    @classmethod
    def linear(
        cls,
        input_labels: ArrayLike,
        output_labels: ArrayLike | None = None,
        energies: Tensor | None = None,
        **names: Any,
    ) -> Graph:
        """The graph of one path, with the given labels [L] in a row: LeCun's "path selector" of a desired
        answer.

        >>> Graph.linear([2, 0, 1])
        Graph(4 states, 3 arcs, acceptor)
        """
        length = len(np.asarray(input_labels))
        structure = Structure(
            np.arange(length), np.arange(1, length + 1), input_labels, output_labels, states=length + 1
        )
        return cls(structure, energies, **names)

    @property
    def states(self) -> int:
        """The number of states."""
        return self.structure.states

    @property
    def arcs(self) -> int:
        """The number of arcs."""
        return self.structure.arcs

    @property
    def source(self) -> NDArray[np.int32]:
        """The state each arc leaves, [A]."""
        return self.structure.source

    @property
    def destination(self) -> NDArray[np.int32]:
        """The state each arc enters, [A]."""
        return self.structure.destination

    @property
    def input_labels(self) -> NDArray[np.int32]:
        """[A]; EPSILON is −1."""
        return self.structure.input_labels

    @property
    def output_labels(self) -> NDArray[np.int32]:
        """[A]; EPSILON is −1."""
        return self.structure.output_labels

    @property
    def is_acceptor(self) -> bool:
        """Whether every arc has the same input and output label."""
        return self.structure.is_acceptor

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of all its energies."""
        return self.energies.dtype

    def _replace(self, **changes: Any) -> Graph:
        fields = {
            "structure": self.structure,
            "energies": self.energies,
            "initial": self.initial,
            "final": self.final,
            "attributes": self.attributes,
            "input_symbols": self.input_symbols,
            "output_symbols": self.output_symbols,
            "arc_maps": self.arc_maps,
        }
        return Graph(**{**fields, **changes})

    def with_energies(
        self, energies: Tensor, initial: Tensor | None = None, final: Tensor | None = None
    ) -> Graph:
        """The same graph with other energies [A], and other initial and final energies [S] where given."""
        return self._replace(
            energies=energies,
            initial=self.initial.to(energies) if initial is None else initial,
            final=self.final.to(energies) if final is None else final,
        )

    def with_attributes(self, **attributes: Attribute) -> Graph:
        """The same graph with these arc attributes added or replaced."""
        return self._replace(attributes={**self.attributes, **attributes})

    def with_symbols(self, input_symbols: Symbols | None, output_symbols: Symbols | None = None) -> Graph:
        """The same graph with other names for its labels; an acceptor's output takes the input's."""
        return self._replace(input_symbols=input_symbols, output_symbols=output_symbols)

    def with_arc_maps(self, *arc_maps: NDArray[np.int32]) -> Graph:
        """The same graph with other arc maps, [A] each: for operations made of several."""
        return self._replace(arc_maps=arc_maps)

    def to(self, *target: Any) -> Graph:
        """The same graph with its energies and tensor attributes moved as ``torch.Tensor.to`` moves them.

        A dtype in ``target`` applies to the energies only.
        """
        energies = self.energies.to(*target)
        attributes = {
            name: values.to(energies.device) if isinstance(values, Tensor) else values
            for name, values in self.attributes.items()
        }
        return self._replace(
            energies=energies,
            initial=self.initial.to(energies),
            final=self.final.to(energies),
            attributes=attributes,
        )

    def detach(self) -> Graph:
        """The same graph, its energies cut off from what they were computed from."""
        return self.with_energies(self.energies.detach(), self.initial.detach(), self.final.detach())

    def __repr__(self) -> str:
        kind = "acceptor" if self.is_acceptor else "transducer"
        return f"Graph({self.states} states, {self.arcs} arcs, {kind})"

    def _repr_svg_(self) -> str:
        from gtn_ebm.draw import preview

        return preview(self)


def _check_structure(given: object) -> None:
    if not isinstance(given, Structure):
        raise GraphError(f"structure must be a Structure, not a {type(given).__name__}")


def check_one_dtype(graphs: Sequence[Graph]) -> None:
    """Raises GraphError where the energies of the graphs are of different dtypes."""
    for k, graph in enumerate(graphs):
        if graph.dtype != graphs[0].dtype:
            raise GraphError(
                f"graph {k} has energies in {graph.dtype}, graph 0 in {graphs[0].dtype}; convert with .to()"
            )


class GraphBuilder:
    """Makes a graph by hand, state by state and arc by arc.

    Args:
        dtype: of the energies.
        input_symbols, output_symbols: where given, arcs may name their labels; the output's are the input's
            where omitted.

    >>> build = GraphBuilder(input_symbols=Symbols("ab"))
    >>> start, end = build.state(initial=0.0), build.state(final=0.0)
    >>> build.arc(start, end, "a", energy=0.5)
    >>> build.arc(start, end, "b", energy=1.5)
    >>> build.graph()
    Graph(2 states, 2 arcs, acceptor)
    """

    def __init__(
        self,
        dtype: torch.dtype = torch.float32,
        input_symbols: Symbols | None = None,
        output_symbols: Symbols | None = None,
    ):
        self._dtype = dtype
        self._input_symbols = input_symbols
        self._output_symbols = input_symbols if output_symbols is None else output_symbols
        self._initial: list[float] = []
        self._final: list[float] = []
        self._arcs: list[tuple[int, int, int, int, float]] = []
        self._attributes: list[dict[str, Any]] = []

    def state(self, initial: float = np.inf, final: float = np.inf) -> int:
        """Adds a state with the energies of starting and ending in it, and returns its number."""
        self._initial.append(initial)
        self._final.append(final)
        return len(self._initial) - 1

    def arc(
        self,
        source: int,
        destination: int,
        input_label: int | str,
        output_label: int | str | None = None,
        energy: float = 0.0,
        **attributes: Any,
    ) -> None:
        """Adds an arc; the output label is the input label, or that of its name, where omitted. EPSILON (−1)
        stands for no symbol.

        Raises:
            GraphError: a state not yet added, or a name without a symbol table that has it.
        """
        for state in (source, destination):
            if not 0 <= state < len(self._initial):
                raise GraphError(f"state {state} of the arc {source} → {destination} has not been added")
        read = self._label(input_label, self._input_symbols)
        written = self._label(input_label if output_label is None else output_label, self._output_symbols)
        self._arcs.append((source, destination, read, written, energy))
        self._attributes.append(attributes)

    @staticmethod
    def _label(label: int | str, symbols: Symbols | None) -> int:
        if isinstance(label, int | np.integer):
            return int(label)
        if symbols is None:
            raise GraphError(f"the label {label!r} is a name, but the builder was given no symbol table")
        return symbols.label(label)

    def graph(self) -> Graph:
        """The graph of all states and arcs so far; an attribute is None on arcs that were not given it."""
        source, destination, read, written, energies = (
            zip(*self._arcs, strict=True) if self._arcs else [()] * 5
        )
        structure = Structure(
            source, destination, read, None if read == written else written, len(self._initial)
        )
        names = dict.fromkeys(name for attributes in self._attributes for name in attributes)
        return Graph(
            structure,
            torch.tensor(energies, dtype=self._dtype),
            torch.tensor(self._initial, dtype=self._dtype),
            torch.tensor(self._final, dtype=self._dtype),
            attributes={name: [given.get(name) for given in self._attributes] for name in names},
            input_symbols=self._input_symbols,
            output_symbols=self._output_symbols,
        )
