import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from gtn_ebm import (
    EPSILON,
    Graph,
    GraphError,
    Structure,
    Symbols,
    closure,
    connect,
    free_energy,
    intersect,
    union,
)
from gtn_ebm.ops.difference import complement, difference
from tests.enumeration import FINITE_ENERGIES, graphs, walks

ANY = graphs(acyclic=False, acceptor=True)
STRINGS = [word for length in range(4) for word in itertools.product([0, 1], repeat=length)]


def accepts(graph: Graph, word: tuple[int, ...]) -> bool:
    """Whether some path reads the word, by the sets of states that its beginnings lead to."""
    usable = torch.isfinite(graph.energies).tolist()
    arcs = [
        arc
        for arc, is_usable in zip(
            zip(graph.source.tolist(), graph.input_labels.tolist(), graph.destination.tolist(), strict=True),
            usable,
            strict=True,
        )
        if is_usable
    ]

    def on(states: set[int], label: int) -> set[int]:
        return {after for before, read, after in arcs if read == label and before in states}

    def closed(states: set[int]) -> set[int]:
        while not (more := on(states, EPSILON)) <= states:
            states = states | more
        return states

    states = closed(set(torch.isfinite(graph.initial).nonzero().ravel().tolist()))
    for label in word:
        states = closed(on(states, label))
    return any(math.isfinite(graph.final[state]) for state in states)


def language(graph: Graph) -> set[tuple[int, ...]]:
    """Its strings of up to three labels."""
    return {word for word in STRINGS if accepts(graph, word)}


@settings(max_examples=200, deadline=None)
@given(graphs(), ANY)
def test_the_paths_are_those_whose_output_is_not_accepted(first, second):
    result = difference(first, second)
    wanted = sorted(
        (walk.arcs, walk.inputs, walk.outputs, round(walk.energy, 6))
        for walk in walks(first)
        if not accepts(second, walk.outputs)
    )
    found = sorted(
        (
            tuple(result.arc_maps[0][list(walk.arcs)].tolist()),
            walk.inputs,
            walk.outputs,
            round(walk.energy, 6),
        )
        for walk in walks(result)
    )
    assert found == wanted
    assert (result.arc_maps[1] == -1).all()
    assert connect(result).arcs == result.arcs


@settings(max_examples=200, deadline=None)
@given(ANY)
def test_complement_accepts_the_other_strings(graph):
    result = complement(graph, labels=[0, 1])
    assert language(result) == set(STRINGS) - language(graph)
    leaving = list(zip(result.source.tolist(), result.input_labels.tolist(), strict=True))
    assert len(set(leaving)) == len(leaving)


@settings(max_examples=50, deadline=None)
@given(ANY)
def test_complement_is_its_own_inverse(graph):
    twice = complement(complement(graph, labels=[0, 1]), labels=[0, 1])
    assert language(twice) == language(graph)


@settings(max_examples=50, deadline=None)
@given(ANY, ANY)
def test_de_morgan(one, other):
    not_one, not_other = complement(one, labels=[0, 1]), complement(other, labels=[0, 1])
    assert language(complement(union(one, other), labels=[0, 1])) == language(intersect(not_one, not_other))
    assert language(complement(intersect(one, other), labels=[0, 1])) == language(union(not_one, not_other))


@settings(max_examples=50, deadline=None)
@given(ANY, ANY)
def test_difference_is_intersection_with_the_complement(one, other):
    assert language(difference(one, other)) == language(intersect(one, complement(other, labels=[0, 1])))


@settings(max_examples=50, deadline=None)
@given(graphs(energies=FINITE_ENERGIES), ANY)
def test_gradients_flow_to_the_first(first, second):
    parts = [p.detach().clone().requires_grad_() for p in (first.energies, first.initial, first.final)]
    same = first.with_energies(*parts)
    total = free_energy(difference(same, second))
    value = float(total.detach())
    if math.isinf(value):
        return
    kept = [walk for walk in walks(first) if not accepts(second, walk.outputs)]
    probabilities = np.exp(value - np.array([walk.energy for walk in kept]))
    wanted = np.zeros(first.arcs)
    for walk, probability in zip(kept, probabilities, strict=True):
        np.add.at(wanted, list(walk.arcs), probability)
    (found,) = torch.autograd.grad(total, parts[0])
    assert np.allclose(found.numpy(), wanted, atol=1e-6)


def test_labels_beyond_those_of_the_graph():
    word = Graph.linear([0, 1])
    assert accepts(complement(word, labels=[0, 1, 5]), (0, 5))
    assert not accepts(complement(word), (0, 5))
    # A string with a label outside the given ones is not made of them.
    assert language(complement(word, labels=[0])) == {w for w in STRINGS if 1 not in w}


def test_nothing_and_everything():
    nothing = Graph(Structure([], [], []))
    everything = closure(Graph(Structure([0, 0], [1, 1], [0, 1])))
    assert language(complement(nothing, labels=[0, 1])) == set(STRINGS)
    assert complement(everything).states == 0
    assert language(complement(nothing)) == {()}
    word = Graph.linear([0, 1])
    assert language(difference(word, nothing)) == {(0, 1)}
    assert difference(word, everything).states == 0
    assert difference(nothing, word).states == 0


def test_attributes_and_symbols_are_the_firsts():
    first = Graph(
        Structure([0, 0], [1, 1], [0, 1], [1, 0]),
        attributes={"name": ["p", "q"]},
        input_symbols=Symbols("ab"),
        output_symbols=Symbols("xy"),
    )
    result = difference(first, Graph.linear([1], input_symbols=Symbols("xy")))
    assert result.attributes["name"] == ["q"]
    assert (result.input_symbols, result.output_symbols) == (Symbols("ab"), Symbols("xy"))


def test_larger_graphs_grow_past_every_first_guess():
    # Strings of at most 60 labels, without those that have a 1 at the twelfth place from the end.
    chain = Graph(Structure([*range(60)] * 2, [*range(1, 61)] * 2, [0] * 60 + [1] * 60), final=range(61))
    places = [0, 0, 0, *range(1, 12), *range(1, 12)]
    after = [0, 0, 1, *range(2, 13), *range(2, 13)]
    twelfth = Graph(Structure(places, after, [0, 1, 1, *[0] * 11, *[1] * 11]), final=[12])
    result = difference(chain, twelfth)
    assert result.states > 10 * chain.states
    assert accepts(result, (1,) * 11)
    assert not accepts(result, (1,) * 12)
    assert accepts(result, (1, 0) + (1,) * 11)


@pytest.mark.parametrize("operation", [lambda g: difference(g, g), complement])
def test_transducers_cannot_be_taken_away(operation):
    with pytest.raises(GraphError, match="only an acceptor"):
        operation(Graph.linear([0], [1]))


def test_bad_input_is_refused():
    with pytest.raises(GraphError, match="labels ≥ 0, not -1"):
        complement(Graph.linear([0]), labels=[-1, 0])
    with pytest.raises(GraphError, match="labels has a value outside"):
        complement(Graph.linear([0]), labels=[2**32 + 3])
    with pytest.raises(GraphError, match=r"labels must be .* integers"):
        complement(Graph.linear([0]), labels=[1.5])
    with pytest.raises(GraphError, match="output symbols are not"):
        difference(
            Graph.linear([0], input_symbols=Symbols("a")), Graph.linear([0], input_symbols=Symbols("b"))
        )


def test_more_states_than_allowed_are_refused():
    word, other = Graph.linear([0, 1, 2, 3]), Graph.linear([0, 1, 2, 4])
    assert difference(word, other, max_states=10).arcs == 4
    with pytest.raises(GraphError, match="max_states"):
        difference(word, other, max_states=2)
    with pytest.raises(GraphError, match="max_states"):
        complement(word, max_states=2)
    branches = Graph(Structure([0] * 9, range(1, 10), range(9)), final=range(1, 10))
    with pytest.raises(GraphError, match="the difference has more than the 3 states that max_states allows"):
        difference(branches, Graph(Structure([], [], [], states=1), final=[]), max_states=3)
