"""Determinization: at most one arc for a label from each state."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import shortest_distance
from gtn_ebm.errors import CycleError, GraphError
from gtn_ebm.graph import Graph, Structure, as_array
from gtn_ebm.kernels import determinization as kernels
from gtn_ebm.ops.arc_maps import Map, carry_attributes, gather, select
from gtn_ebm.ops.connection import connect
from gtn_ebm.ops.tables import grown, hash_table
from gtn_ebm.ops.tape import Tape, replayed

Outputs = Literal["single", "all", "best"]
_OUTPUTS = {"single": kernels.SINGLE, "all": kernels.ALL, "best": kernels.BEST}


@takes_graphs
def determinize(
    graph: Graph,
    beta: float = 1.0,
    *,
    outputs: Outputs = "single",
    delta: float = 1e-6,
    max_states: int | None = None,
) -> Graph:
    """An equivalent graph with one initial state and at most one arc for an input label from each state.

    Each string has one path, whose energy is F_β over all paths of ``graph`` that read (and write) it.
    Output is written as soon as it is sure: where several labels are, a row of arcs stands, of which the
    first reads and the others read epsilon; what is left to write at a final state stands on such a row, too.
    Epsilon counts as a label like any other, as in OpenFst: apply ``remove_epsilons`` first where it must
    not. Only what lies on a whole path is kept.

    Args:
        graph: any acceptor or transducer. With cycles there may be no deterministic equivalent (it needs the
            twins property); the search then ends at ``max_states``.
        beta: how alternatives are summed; 1 is OpenFst's log semiring, ∞ its tropical one.
        outputs: what to do where an input has several outputs: "single" refuses the graph (OpenFst's
            "functional"); "all" keeps each, on rows of arcs from a final state ("nonfunctional"); "best"
            keeps the one of least energy ("disambiguate") and needs β = ∞, since the best of sums over paths
            is not made of the best parts.
        delta: residuals are taken as equal in steps of it. Larger steps make fewer states, and errors of up
            to a step where paths meet.
        max_states: the most states to search; where omitted ten times those of the graph, and at least a
            million. The search also ends when its subsets may come to hold sixteen times as many entries.

    Returns:
        A graph with ``arc_maps`` (the arc that each arc stems from, −1 where from several or from none), and
        the attributes along it. Energies are differentiable as often as wanted. The derivatives of
        ``free_energy`` at the same β are exactly those of the graph's own. Those of a single path's energy
        are, too, unless residuals coincide that depend on the energies in different ways, so that two paths
        go on from one state although a change of energies would part them: there they are right on average
        over what follows. Where the sum over all paths diverges, there is no such average, and the residuals
        stand in for what follows.

    Raises:
        GraphError: more states than ``max_states``; an input with several outputs where "single" is asked
            for; "best" at a finite β; an energy that is NaN or −inf.

    Source: Mohri, "Finite-state transducers in language and speech processing" (1997) and "Weighted automata
    algorithms" (2009).

    Cost: time and memory are exponential in S at worst, and O(S + A) on a lexicon.

    >>> graph = Graph(Structure([0, 0, 1, 2], [1, 2, 3, 3], [0, 0, 1, 2]), torch.tensor([1.0, 3.0, 0.0, 0.0]))
    >>> tree = determinize(graph, math.inf)
    >>> tree.source, tree.input_labels, tree.energies
    (array([0, 1, 1], dtype=int32), array([0, 1, 2], dtype=int32), tensor([1., 0., 2.]))
    >>> tree.arc_maps
    (array([-1,  2,  3], dtype=int32),)
    """
    if outputs not in _OUTPUTS:
        raise GraphError(f"outputs must be 'single', 'all' or 'best', not {outputs!r}")
    if outputs == "best" and not math.isinf(beta):
        raise GraphError(f"outputs='best' needs β = ∞ (beta=math.inf), not {beta}")
    return subset_construction(connect(graph), beta, outputs, delta, max_states)


def subset_construction(
    whole: Graph,
    beta: float,
    outputs: Outputs,
    delta: float,
    max_states: int | None,
    shared: NDArray[np.int64] | None = None,
) -> Graph:
    """Determinization of a graph that ``connect`` gave or, with the pairs of states that share a future (as
    the kernel takes them), disambiguation but for the dead states that it leaves."""
    if not beta > 0.0 or not delta > 0.0:
        raise GraphError(f"β and delta must be positive, not {beta} and {delta}")
    _check_energies(whole)
    order = whole.structure.out_by_input.arcs.view(np.int32)
    weights = torch.cat([select(whole.energies, order), whole.initial, whole.final])
    automaton = _automaton(whole, order, weights, np.zeros(0, np.int64) if shared is None else shared)
    most = max(1_000_000, 10 * whole.states) if max_states is None else max_states
    options = _OUTPUTS[outputs], float(beta), float(delta)
    found, counts = _search(automaton, shared is not None, most, options)
    tape = Tape(automaton.weights, found, counts, float(beta))
    pull = (
        _pulls(whole, tape, shared is not None) if weights.requires_grad and torch.is_grad_enabled() else None
    )
    return _as_graph(whole, order, tape, _Energies.apply(tape, pull, weights))


def _check_energies(graph: Graph) -> None:
    for name in ("energies", "initial", "final"):
        values = getattr(graph, name).detach()
        wrong = torch.isnan(values) | (values == -torch.inf)
        if wrong.any():
            place = int(wrong.nonzero()[0])
            raise GraphError(
                f"{name}[{place}] is {float(values[place])}; a subset needs numbers, or +inf for none"
            )


def _automaton(
    graph: Graph, order: NDArray[np.int32], weights: Tensor, shared: NDArray[np.int64]
) -> kernels.Automaton:
    """The graph, its arcs in this order; an acceptor writes nothing, since all is known by what it reads."""
    arcs = np.empty(graph.arcs, kernels.ARC)
    arcs["input"] = graph.input_labels[order]
    arcs["output"] = kernels.EPSILON if graph.is_acceptor else graph.output_labels[order]
    arcs["destination"] = graph.destination[order]
    return kernels.Automaton(
        graph.structure.out_by_input.offsets,
        arcs,
        as_array(weights.double()),
        np.flatnonzero(as_array(graph.initial) != np.inf),
        as_array(graph.final) != np.inf,
        shared,
    )


def _search(
    automaton: kernels.Automaton, with_heads: bool, most: int, options: tuple[int, float, float]
) -> tuple[tuple[Any, ...], NDArray[np.int64]]:
    """The arrays of all subsets and moves, grown as the kernel asks, and how much of them is filled."""
    guess = max(1024, len(automaton.arcs))
    counts = np.zeros(7, np.int64)
    found = tuple(grown(records, guess) for records in _START)
    counts[[kernels.SUBSETS, kernels.ENTRIES, kernels.STRINGS]] = 1
    wanted = np.zeros_like(counts)
    while True:
        tables = tuple(
            hash_table(kernels.fill_table, records["hash"], count)
            for records, count in (
                (found[0], counts[kernels.SUBSETS]),
                (found[2], counts[kernels.STRINGS]),
            )
        )
        status = kernels.expand(automaton, found, tables, counts, wanted, with_heads, most, options)
        if status != kernels.FULL:
            break
        found = tuple(
            records if needed < len(records) else grown(records, int(needed) + len(records))
            for records, needed in zip(found, wanted, strict=False)
        )
    if status == kernels.TOO_MANY:
        raise GraphError(
            f"stopped at {counts[kernels.SUBSETS] - 1} states made of {counts[kernels.ENTRIES]} entries, for "
            f"max_states is {most}: this graph may have no deterministic equivalent; if it has, raise "
            "max_states, or delta where residuals differ by rounding only"
        )
    if status == kernels.AMBIGUOUS:
        raise GraphError(_ambiguous(found, counts))
    return found, counts


def _ambiguous(found: tuple[Any, ...], counts: NDArray[np.int64]) -> str:
    """Says which input has two outputs, by the moves that made the subset in which they were seen."""
    subsets, moves = found[0], found[3]
    labels: list[int] = []
    subset = int(counts[kernels.EXPANDED])
    while subset > 0:
        move = moves[subsets[subset]["made_by"]]
        labels.append(int(move["label"]))
        subset = int(move["source"])
    return (
        f"inputs that begin with the labels {labels[-2::-1]} have several outputs; "
        "determinize with outputs='all' keeps them, outputs='best' the best of them"
    )


# The subset before the start, of one entry in no state, and the empty string; no move yet.
_START = (
    np.array([(0, kernels.NO_HEAD, 0, 0), (1, 0, 0, 0)], kernels.SUBSET),
    np.array([(-1, 0, 0.0)], kernels.ENTRY),
    np.array([(-1, kernels.EPSILON, 0, 0)], kernels.STRING),
    np.zeros(0, kernels.MOVE),
    np.zeros(0, kernels.GROUP),
    np.zeros(0, kernels.TERM),
)


def _pulls(graph: Graph, tape: Tape, with_heads: bool) -> NDArray[np.float64]:
    """How much of what follows on a subset goes on from each of its entries."""
    try:
        if with_heads:
            to_end = shortest_distance(_graph_of_moves(tape), tape.beta, "to")
            return kernels.pulls_of_heads(tape.weights, tape.found, tape.counts, as_array(to_end), tape.beta)
        to_end = shortest_distance(graph.detach(), tape.beta, "to")
    except CycleError:
        to_end = torch.zeros(graph.states)
    return kernels.pulls(tape.found, tape.counts, as_array(to_end.double()), tape.beta)


def _graph_of_moves(tape: Tape) -> Graph:
    """The subsets after the start and the moves between them, dead ones too, without labels."""
    moves, states = tape.found[3][: tape.counts[kernels.MOVES]], int(tape.counts[kernels.SUBSETS]) - 1
    final = np.full(states, np.inf)
    ends = moves[moves["target"] == kernels.END]
    final[ends["source"] - 1] = ends["energy"]
    inner = moves[(moves["source"] > 0) & (moves["target"] != kernels.END)]
    structure = Structure(inner["source"] - 1, inner["target"] - 1, np.zeros(len(inner), int), states=states)
    return Graph(structure, torch.tensor(inner["energy"]), [], torch.from_numpy(final))


class _Energies(torch.autograd.Function):
    """Weights of arcs, initial and final states → energies of the moves that the tape has of them."""

    @staticmethod
    def forward(ctx: Any, tape: Tape, pull: NDArray[np.float64] | None, weights: Tensor) -> Tensor:
        ctx.tape, ctx.pull = tape, pull
        ctx.save_for_backward(weights)
        return torch.from_numpy(tape.found[3]["energy"][: tape.counts[kernels.MOVES]].copy()).to(weights)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        tape = ctx.tape
        if torch.is_grad_enabled():
            (weights,) = ctx.saved_tensors
            own = weights.view_as(weights)
            (result,) = torch.autograd.grad(replayed(tape, own), own, grad, create_graph=True)
            return None, None, result
        along = kernels.backward(
            tape.weights, tape.found, tape.counts, tape.beta, ctx.pull, as_array(grad.double())
        )
        return None, None, torch.from_numpy(along).to(grad)


def _as_graph(graph: Graph, order: NDArray[np.int32], tape: Tape, energies: Tensor) -> Graph:
    """The subsets as states and the moves as arcs, with the energies of the moves."""
    (source, destination, inputs, written, move), states = kernels.spelled(
        tape.found, tape.counts, graph.is_acceptor
    )
    arc_map = _arc_map(kernels.only_terms(tape.found, tape.counts)[move], move, order)
    initial, final = _ends(tape, states)
    # Behind the moves' energies those of a state that is no end, and of one where a row of arcs ends.
    with_ends = torch.cat([energies, energies.new_tensor([torch.inf, 0.0])])
    return Graph(
        Structure.of_valid(source, destination, inputs, inputs if graph.is_acceptor else written, states),
        gather(energies, move),
        select(with_ends, initial),
        select(with_ends, final),
        attributes=carry_attributes((graph,), (arc_map,)),
        input_symbols=graph.input_symbols,
        output_symbols=graph.output_symbols,
        arc_maps=(np.where(arc_map < 0, np.int32(-1), _at(graph.arc_maps[0], arc_map)),),
    )


def _arc_map(stems: Map, move: Map, order: Map) -> Map:
    """The arc of each, given the only weight its move stems from; weights beyond the arcs' are of ends."""
    is_arc = (move >= 0) & (stems >= 0) & (stems < len(order))
    return np.where(is_arc, _at(order, np.where(is_arc, stems, -1)), np.int32(-1))


def _at(values: Map, places: Map) -> Map:
    """``values[places]``, whatever where a place is −1."""
    return values[places] if len(values) else np.full(len(places), -1, np.int32)


def _ends(tape: Tape, states: int) -> tuple[Map, Map]:
    """The moves that start and end paths in each state; counted on from the moves, one for no end and one for
    the end of a row of arcs."""
    moves, count = tape.found[3], int(tape.counts[kernels.MOVES])
    source, target, written = (moves[name][:count] for name in ("source", "target", "written"))
    initial, final = np.full((2, states), count, np.int32)
    starts = np.flatnonzero(source == 0)
    initial[target[starts] - 1] = starts
    ends = target == kernels.END
    final[source[ends & (written == 0)] - 1] = np.flatnonzero(ends & (written == 0))
    if (ends & (written > 0)).any():
        final[-1] = count + 1
    return initial, final
