"""Prefix search against the free energies of all strings."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import EPSILON, CycleError, Graph, GraphError, Structure, Symbols
from gtn_ebm.dense import free_energy
from gtn_ebm.dense.prefix_search import PrefixSearch, prefix_search
from gtn_ebm.dense.topologies import ctc
from tests.dense.test_least_energy import random_emissions


def bigrams(seed: int) -> Graph:
    """Of the labels 1 and 2, with some pairs missing and back-offs to state 0, of either sign."""
    rng = np.random.default_rng(seed)
    arcs = [(0, 1, 1), (0, 2, 2), (1, 0, EPSILON), (2, 0, EPSILON)]
    arcs += [(p, q, q) for p, q in itertools.product((1, 2), repeat=2) if rng.random() < 0.5]
    source, destination, label = np.array(arcs, np.int32)[rng.permutation(len(arcs))].T
    return Graph(
        Structure(source, destination, label, states=3),
        torch.from_numpy(rng.normal(size=len(arcs))),
        final=torch.tensor([0.5, math.inf, 0.25], dtype=torch.float64),
        initial=torch.tensor([math.inf, 0.75, math.inf], dtype=torch.float64),
    )


def energy_in(grammar: Graph, labels: tuple[int, ...]) -> float:
    """With back-off only where there is no arc."""
    energies = grammar.energies.tolist()
    arcs = {
        (int(p), int(x)): (int(q), e)
        for p, q, x, e in zip(
            grammar.source, grammar.destination, grammar.input_labels, energies, strict=True
        )
    }
    (state,) = grammar.initial.isfinite().nonzero().flatten().tolist()
    total = grammar.initial[state].item()
    for label in labels:
        while (state, label) not in arcs:
            state, energy = arcs[state, EPSILON]
            total += energy
        state, energy = arcs[state, label]
        total += energy
    while math.isinf(grammar.final[state].item()):
        state, energy = arcs[state, EPSILON]
        total += energy
    return total + grammar.final[state].item()


def all_strings(emissions: torch.Tensor, grammar: Graph | None) -> dict[tuple[int, ...], float]:
    frames = len(emissions)
    strings = [s for length in range(frames + 1) for s in itertools.product((1, 2), repeat=length)]
    graphs = [ctc(np.array(s, np.int64)).to(torch.float64) for s in strings]
    energies = free_energy(emissions.expand(len(graphs), -1, -1), None, graphs).tolist()
    rest = [0.0 if grammar is None else energy_in(grammar, s) for s in strings]
    found = {s: e + r for s, e, r in zip(strings, energies, rest, strict=True)}
    return {s: e for s, e in found.items() if e < math.inf}


@given(st.integers(0, 5), st.integers(0, 10_000), st.booleans())
@settings(deadline=None, max_examples=200)
def test_with_room_for_all_strings_it_is_exact(frames: int, seed: int, with_grammar: bool) -> None:
    emissions = random_emissions(seed, frames, 3)
    grammar = bigrams(seed) if with_grammar else None
    expected = all_strings(emissions, grammar)
    (found,) = prefix_search(emissions[None], None, grammar, count=1000, width=100)
    assert {tuple(prefix.labels) for prefix in found} == expected.keys()
    for prefix in found:
        assert prefix.energy == pytest.approx(expected[tuple(prefix.labels)], abs=1e-9)
    energies = [prefix.energy for prefix in found]
    assert energies == sorted(energies)


@given(st.integers(0, 6), st.integers(0, 10_000), st.integers(1, 6))
@settings(deadline=None, max_examples=100)
def test_narrow_searches_are_never_too_good(frames: int, seed: int, width: int) -> None:
    emissions, grammar = random_emissions(seed, frames, 3), bigrams(seed)
    expected = all_strings(emissions, grammar)
    (found,) = prefix_search(emissions[None], None, grammar, count=10, width=width)
    assert len(found) <= width
    assert len({tuple(prefix.labels) for prefix in found}) == len(found)
    for prefix in found:
        assert prefix.energy >= expected[tuple(prefix.labels)] - 1e-9


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(0, 1000))
@settings(deadline=None, max_examples=50)
def test_pieces_give_what_the_whole_gives(pieces: list[int], seed: int) -> None:
    emissions, grammar = random_emissions(seed, sum(pieces), 3), bigrams(seed)
    search = PrefixSearch(3, grammar, width=3)
    for piece in emissions.split(pieces):
        search.feed(piece)
    assert search.result(3) == prefix_search(emissions[None], None, grammar, 3, width=3)[0]


def test_blank_may_be_any_class_and_lengths_count() -> None:
    emissions = -torch.tensor([[[0.1, 0.8, 0.1], [0.2, 0.1, 0.7], [1.0, 0.0, 0.0]]]).log()
    assert prefix_search(emissions, torch.tensor([2]), blank=2)[0][0].labels == [1]
    assert prefix_search(emissions, blank=2)[0][0].labels == [1, 0]


def test_bad_input() -> None:
    two_arcs = Graph(Structure([0, 0], [1, 1], [1, 1]))
    with pytest.raises(GraphError, match="1 arcs too many"):
        prefix_search(torch.zeros(1, 2, 3), grammar=two_arcs)
    with pytest.raises(GraphError, match="the blank must be a class from 0 to 2, not 3"):
        prefix_search(torch.zeros(1, 2, 3), blank=3)
    with pytest.raises(GraphError, match="frame 0 and class 0 is nan"):
        prefix_search(torch.full((1, 2, 3), math.nan))
    with pytest.raises(GraphError, match="must have 3 classes, not 2"):
        PrefixSearch(3).feed(torch.zeros(2, 2))
    with pytest.raises(GraphError, match="a floating tensor"):
        PrefixSearch(3).feed(torch.zeros(3))
    with pytest.raises(GraphError, match="width must be a whole number of at least 1, not 2"):
        PrefixSearch(3, width=2.5)
    with pytest.raises(GraphError, match="count must be a whole number of at least 0"):
        PrefixSearch(3).result(-1)


def test_a_cycle_of_back_offs_is_named_by_its_symbols():
    ring = Graph(Structure([0, 1], [1, 0], [-1, -1]), input_symbols=Symbols("ab"))
    with pytest.raises(CycleError, match=r"0 –ε→ 1 –ε→ 0|1 –ε→ 0 –ε→ 1"):
        prefix_search(torch.zeros(1, 2, 3), grammar=ring)
