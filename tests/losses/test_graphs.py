"""Losses of graphs: each is what enumeration of all paths gives."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gtn_ebm import Graph, GraphError, Structure, closure, compose, free_energy, intersect, union
from gtn_ebm.losses import LOSSES, GraphLoss
from gtn_ebm.ops import edit_distance, hamming_distance
from tests.answers import edits, path_energies, rivals, selector, substitutions
from tests.enumeration import Walk, graphs, requiring_grad
from tests.losses.formulas import FORMULAS

String = tuple[int, ...]
COSTS: dict[str, tuple[Callable[..., Graph], Callable[[String, String], int]]] = {
    "edit": (edit_distance, edits),
    "hamming": (hamming_distance, substitutions),
}
BOUNDED = {"lvq2": 1.0, "mce": 1.0, "mee": 1.0}
"""Losses of a desired answer that is out of reach; INF in others."""
NEED_COST = {"expected_risk", "bayes_risk"}
INF = math.inf


def free(energies: Sequence[Tensor], beta: float) -> Tensor:
    if not energies:
        return torch.tensor(INF, dtype=torch.float64)
    stacked = torch.stack(list(energies))
    return stacked.min() if math.isinf(beta) else -torch.logsumexp(-beta * stacked, 0) / beta


class Enumerated:
    """The energies that losses need, from all paths written out."""

    def __init__(
        self,
        found: list[tuple[Walk, Tensor]],
        answer: String,
        beta: float,
        count: int,
        cost: Callable[[String, String], float] | None,
    ):
        self.plain = [(walk.outputs, energy) for walk, energy in found]
        self.answer, self.beta, self.count, self.cost = answer, beta, count, cost
        self.competing = [(string, energy - self.price(string)) for string, energy in self.plain]

    def price(self, string: String) -> float:
        return 0 if self.cost is None else self.cost(string, self.answer)

    def desired(self) -> Tensor:
        return free([energy for string, energy in self.plain if string == self.answer], self.beta)

    def everything(self) -> Tensor:
        return free([energy for _, energy in self.competing], self.beta)

    def wrong(self) -> Tensor:
        return free([energy for string, energy in self.competing if string != self.answer], self.beta)

    def wrong_answers(self) -> Tensor:
        return self.best([pair for pair in self.competing if pair[0] != self.answer])[1]

    def answers(self) -> Tensor:
        return self.best(self.plain)[1]

    def costs(self) -> Tensor:
        return torch.tensor([self.price(string) for string in self.best(self.plain)[0]], dtype=torch.float64)

    def expected_cost(self) -> Tensor:
        weights = torch.softmax(-self.beta * torch.stack([energy for _, energy in self.plain]), 0)
        return weights @ torch.tensor([self.price(string) for string, _ in self.plain], dtype=torch.float64)

    def best(self, pairs: list[tuple[String, Tensor]]) -> tuple[list[String], Tensor]:
        by_string: dict[String, list[Tensor]] = {}
        for string, energy in pairs:
            by_string.setdefault(string, []).append(energy)
        strings = sorted(by_string, key=lambda string: min(energy.item() for energy in by_string[string]))[
            : self.count
        ]
        energies = [free(by_string[string], self.beta) for string in strings]
        return strings, torch.stack(energies) if energies else torch.zeros(0, dtype=torch.float64)


def test_values_and_gradients_are_those_of_enumeration() -> None:
    ways = itertools.cycle(itertools.product([None, "edit", "hamming"], [None, 0.5, 2.0], [0.5, 1.0]))
    random = np.random.default_rng(0)
    for (graph, parts), (kind, beta, margin) in zip(rivals(216), ways, strict=False):
        found = path_energies(graph)
        answer = found[0][0].outputs
        cost, distance = COSTS[kind] if kind else (None, None)
        for name in some_of_each_kind(set(LOSSES) - (NEED_COST if kind is None else {"energy"}), random):
            options = {"margin": margin} if "margin" in LOSSES[name].options else {}
            ours = GraphLoss(name, beta=beta, cost=cost, count=3, **options)([graph], [selector(answer)])
            price = distance and partial(scaled, distance, margin if options else 1.0)
            chosen = LOSSES[name].beta if beta is None else beta
            check(name, ours, Enumerated(found, answer, chosen, 3, price), parts, options)


def some_of_each_kind(names: set[str], random: np.random.Generator) -> Iterator[str]:
    """Two of the losses that need the same energies, so that all of these are worked out."""
    by_needs: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(names):
        by_needs.setdefault(LOSSES[name].needs, []).append(name)
    for alike in by_needs.values():
        yield from random.permutation(alike)[:2].tolist()


def scaled(distance: Callable[[String, String], int], margin: float, one: String, other: String) -> float:
    return margin * distance(one, other)


def check(name: str, ours: Tensor, enumerated: Enumerated, parts: list[Tensor], options: dict) -> None:
    """The loss [1] against its formula, in value and gradient."""
    if options and enumerated.cost is not None:
        options = {"margin": 0.0}  # the energies have it
    if "beta" in LOSSES[name].options:
        options = {"beta": enumerated.beta}
    energies = [getattr(enumerated, need)() for need in LOSSES[name].needs]
    theirs = FORMULAS[name](*energies, **{**LOSSES[name].options, **options})
    assert ours.tolist() == pytest.approx([theirs.item()], rel=0, abs=1e-9), name
    gradients = (torch.autograd.grad(loss, parts, retain_graph=True) for loss in (ours[0], theirs))
    for one, two in zip(*gradients, strict=True):
        assert torch.allclose(one, two, rtol=1e-9, atol=1e-9), name


def lattice(steps: int = 4, labels: int = 3) -> Graph:
    """All strings of so many labels, with random energies to differentiate in."""
    source = [q for q in range(steps) for _ in range(labels)]
    structure = Structure(source, [q + 1 for q in source], list(range(labels)) * steps)
    energies = torch.rand(steps * labels, dtype=torch.float64, generator=torch.Generator().manual_seed(steps))
    return Graph(structure, energies.requires_grad_())


@pytest.mark.parametrize("name", LOSSES)
def test_batches_are_their_examples(name: str) -> None:
    everything = [lattice(2), lattice(3)]
    desired = [selector((0, 1)), selector((2, 2, 1))]
    for cost in (
        [edit_distance] if name in NEED_COST else [None] if name == "energy" else [None, edit_distance]
    ):
        loss = GraphLoss(name, cost=cost, count=20)
        together = loss(everything, desired)
        alone = [loss([graph], [answer])[0] for graph, answer in zip(everything, desired, strict=True)]
        assert torch.allclose(together, torch.stack(alone))
        assert loss([], []).shape == (0,)


def test_energies_of_several_graphs_are_added_before_they_become_a_loss() -> None:
    one, two, answer = lattice(2), lattice(2).detach(), selector((0, 1))
    for name in ("nll", "mee"):
        loss = GraphLoss(name)
        first, second = (loss.energies([graph], [answer]) for graph in (one, two))
        ours = loss.of_energies(**{need: first[need] + second[need] for need in loss.of_energies.needs})
        # As if each answered for itself: all pairs of an answer of one and an answer of the other.
        desired, everything = (
            sum(free_energy(graph) for graph in graphs)
            for graphs in (intersect([one, two], answer), [one, two])
        )
        theirs = FORMULAS[name](desired, everything, **loss.of_energies.options)
        assert torch.allclose(ours, theirs)


def test_structured_hinge_is_zero_once_every_answer_is_as_much_worse_as_it_is_wrong() -> None:
    answer = (0, 1, 2)
    cost = edit_distance(selector(answer), range(3))
    exact = compose(lattice(3).with_energies(torch.zeros(9, dtype=torch.float64)), cost)
    for factor, expected in ((1.0, 0.0), (0.5, 1.5)):
        scaled = exact.with_energies(exact.energies * factor, exact.initial, exact.final * factor)
        loss = GraphLoss("hinge", cost=edit_distance)([scaled], [selector(answer)])
        assert loss.item() == pytest.approx(expected)


def test_softmax_margin_bounds_the_likelihood_and_the_structured_hinge() -> None:
    graph, answer = lattice(), selector((0, 1, 2, 0))
    softmax_margin = GraphLoss("nll", cost=hamming_distance)([graph], [answer])
    assert softmax_margin > GraphLoss("nll")([graph], [answer])
    assert softmax_margin > GraphLoss("hinge", cost=hamming_distance)([graph], [answer])
    assert torch.equal(
        GraphLoss("perceptron", cost=hamming_distance)([graph], [answer]),
        GraphLoss("hinge", cost=hamming_distance)([graph], [answer]),
    )


def test_all_wrong_answers_are_taken_where_no_count_is_given() -> None:
    graph, answer = lattice(3), selector((0, 0, 0))
    nll = GraphLoss("nll")([graph], [answer])
    assert torch.allclose(GraphLoss("info_nce", count=None)([graph], [answer]), nll)
    assert GraphLoss("info_nce", count=25)([graph], [answer]) < nll
    sums = GraphLoss("additive_margin", beta=1.0, count=None, pair="exponential", margin=0.0)
    assert torch.allclose(sums([graph], [answer]), GraphLoss("exponential")([graph], [answer]))
    risks = (GraphLoss(name, cost=edit_distance, count=None) for name in ("expected_risk", "bayes_risk"))
    assert torch.allclose(*(risk([graph], [answer]) for risk in risks))
    with pytest.raises(GraphError, match="more than 10000 answers; say how many by count"):
        GraphLoss("info_nce", count=None)([closure(graph)], [answer])


def test_desired_answers_are_a_set_whatever_the_acceptor_s_paths_energies_and_dtype() -> None:
    graph, answers = lattice(2), [(0, 1), (2, 2)]
    twice = union(*(selector(string) for string in answers * 2)).to(torch.float32)
    plain = sum(torch.exp(-energy) for walk, energy in path_energies(graph) if walk.outputs in answers)
    loss = GraphLoss("nll")([graph], [twice.with_energies(twice.energies + 3.0)])
    assert torch.allclose(loss, -torch.log(plain) - free_energy(graph))


def test_latent_paths_are_summed_out_of_an_answer() -> None:
    # Two paths write 0, one writes 1; both are read from frames.
    structure = Structure([0, 0, 0], [1, 1, 1], [5, 6, 7], [0, 0, 1])
    graph = Graph(structure, torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64))
    loss = GraphLoss("hinge", beta=1.0, margin=2.0)([graph], [selector((0,))])
    assert loss.item() == pytest.approx(2.0 + 1.0 - math.log(2) - 2.0)


def test_second_derivatives_are_right() -> None:
    graph, answer = lattice(2), selector((0, 1))
    for name in ("nll", "log", "mee", "square_exponential"):
        loss = GraphLoss(name, beta=1.0)

        def of_energies(energies: Tensor, loss: GraphLoss = loss) -> Tensor:
            return loss([graph.with_energies(energies)], [answer])

        assert torch.autograd.gradgradcheck(of_energies, graph.energies)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_that_of_the_graphs(dtype: torch.dtype) -> None:
    graph, answer = lattice().to(dtype), selector((0, 1, 2, 0)).to(dtype)
    for name in LOSSES:
        cost = edit_distance if name in NEED_COST else None
        assert GraphLoss(name, cost=cost)([graph], [answer]).dtype == dtype


# Bad input.


def test_an_answer_out_of_reach_has_the_limit_and_no_gradient() -> None:
    graph = lattice()
    for name, loss in LOSSES.items():
        if "desired" not in loss.needs:
            continue
        value = GraphLoss(name)([graph], [selector((0,))])
        assert value.item() == BOUNDED.get(name, INF)
        (gradient,) = torch.autograd.grad(value.sum(), graph.energies)
        assert (gradient == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_no_wrong_answer_and_no_path_at_all_have_their_limits(name: str) -> None:
    only = selector((0,)).with_energies(torch.ones(1, dtype=torch.float64, requires_grad=True))
    cost = edit_distance if name in NEED_COST else None
    squares = {"square_square", "square_exponential", "simple", "square_square_pair", "energy"}
    loss = GraphLoss(name, cost=cost)
    assert loss([only], [selector((0,))]).item() == (1.0 if name in squares else 0.0)
    empty = Graph(Structure([], [], []), torch.zeros(0, dtype=torch.float64))
    assert loss([empty], [selector((0,))]).item() == BOUNDED.get(name, INF)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("nothing",), {}, "no loss 'nothing'"),
        (("hinge",), {"beta": 0.0}, "β must be positive"),
        (("hinge",), {"beta": -INF}, "β must be positive"),
        (("hinge",), {"margin": -1.0}, "margin of hinge must be 0 or more"),
        (("hinge",), {"margin": -1.0, "cost": edit_distance}, "margin of hinge must be 0 or more"),
        (("mee",), {"beta": INF}, "mee needs a finite β"),
        (("bayes_risk",), {"beta": INF, "cost": edit_distance}, "finite β"),
        (("expected_risk",), {}, "needs a cost of answers"),
        (("energy",), {"cost": edit_distance}, "no cost has a part in it"),
        (("nll",), {"margin": 1.0}, "no option 'margin'"),
        (("nce",), {"count": 0}, "count must be 1 or more, or None"),
    ],
)
def test_bad_options_are_refused(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        GraphLoss(*arguments, **options)([lattice()], [selector((0, 1, 2, 0))])


@settings(max_examples=60, deadline=None)
@given(graphs(), st.sampled_from([(), (0,), (1, 0)]))
def test_laws_hold_and_nothing_is_nan_on_any_graph(graph: Graph, answer: String) -> None:
    parts = requiring_grad(graph)
    graph = graph.with_energies(*parts)
    found = {}
    for name in LOSSES:
        loss = GraphLoss(name, cost=edit_distance if name in NEED_COST else None)
        value = loss([graph], [selector(answer)])
        found[name] = value.item()
        assert not math.isnan(found[name])
        for gradient in torch.autograd.grad(value.sum(), parts, allow_unused=True):
            assert gradient is None or torch.isfinite(gradient).all()
    assert found["perceptron"] >= 0
    assert found["nll"] >= -1e-9
    assert found["hinge"] >= found["perceptron"]
    assert found["nll"] >= found["mee"] - 1e-9
    assert 0 <= found["lvq2"] <= 1
    assert found["additive_margin"] >= found["hinge"] - 1e-9
    structured = GraphLoss("hinge", cost=edit_distance)([graph], [selector(answer)]).item()
    assert structured >= found["perceptron"] - 1e-9


@pytest.mark.parametrize("name", LOSSES)
def test_bad_graphs_are_refused(name: str) -> None:
    graph, answer = lattice(), selector((0, 1, 2, 0))
    loss = GraphLoss(name, cost=edit_distance if name in NEED_COST else None)
    nan = graph.with_energies(torch.where(torch.arange(12) == 4, math.nan, graph.energies))
    for everything, desired, message in (
        ([graph, graph], [answer], "2 graphs of all answers, but 1 of desired"),
        ([nan], [answer], "nan|NaN"),
        ([graph], [Graph.linear([0], [1])], "number 0 is a transducer"),
        (graph, answer, "everything must be a list of Graphs, not a Graph"),
    ):
        with pytest.raises(GraphError, match=message):
            loss(everything, desired)
