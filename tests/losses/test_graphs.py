"""Losses of graphs: each is what enumeration of all paths gives."""

import functools
import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gtn_ebm import Graph, GraphError, Structure, closure, compose, free_energy, intersect, union
from gtn_ebm.losses import LOSSES, GraphLoss
from gtn_ebm.ops import edit_distance, hamming_distance
from tests import written_out
from tests.answers import edits, path_energies, rivals, selector, substitutions
from tests.enumeration import graphs, requiring_grad, walks
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


def free(energies: Tensor, beta: float) -> Tensor:
    if not len(energies):
        return torch.tensor(INF, dtype=torch.float64)
    return energies.min() if math.isinf(beta) else -torch.logsumexp(-beta * energies, 0) / beta


class Case(NamedTuple):
    """A graph, the energies to differentiate in, and its paths written out. The first writes what is desired.

    Attributes:
        strings: that the paths write.
        energies: of the paths, [N].
    """

    graph: Graph
    parts: list[Tensor]
    strings: list[String]
    energies: Tensor

    @property
    def answer(self) -> String:
        return self.strings[0]


@functools.cache
def cases() -> list[Case]:
    found = []
    for graph, parts in rivals(216):
        paths = walks(graph)
        found.append(Case(graph, parts, [path.outputs for path in paths], written_out.energies(graph, paths)))
    return found


class Enumerated:
    """The energies that losses need, from all paths written out; ``price`` is what a string costs."""

    def __init__(self, case: Case, beta: float, count: int, price: Callable[[String], float]):
        self.strings, self.energies, self.beta, self.count = case.strings, case.energies, beta, count
        self.prices = torch.tensor([float(price(string)) for string in case.strings], dtype=torch.float64)
        self.competing = case.energies - self.prices
        self.is_right = torch.tensor([string == case.answer for string in case.strings])

    def desired(self) -> Tensor:
        return free(self.energies[self.is_right], self.beta)

    def everything(self) -> Tensor:
        return free(self.competing, self.beta)

    def wrong(self) -> Tensor:
        return free(self.competing[~self.is_right], self.beta)

    def wrong_answers(self) -> Tensor:
        wrong = self.competing.masked_fill(self.is_right, INF)
        return torch.stack([free(wrong[places], self.beta) for places in self.best(wrong)])

    def answers(self) -> Tensor:
        return torch.stack([free(self.energies[places], self.beta) for places in self.best(self.energies)])

    def costs(self) -> Tensor:
        return torch.stack([self.prices[places[0]] for places in self.best(self.energies)])

    def expected_cost(self) -> Tensor:
        return torch.softmax(-self.beta * self.energies, 0) @ self.prices

    def best(self, energies: Tensor) -> list[list[int]]:
        """Which paths write each of the best strings."""
        by_string: dict[String, list[int]] = {}
        for place, (string, energy) in enumerate(zip(self.strings, energies.tolist(), strict=True)):
            if energy < INF:
                by_string.setdefault(string, []).append(place)
        least = {string: energies[places].min().item() for string, places in by_string.items()}
        return [by_string[string] for string in sorted(least, key=lambda string: least[string])][: self.count]


WAYS = list(itertools.product([None, "edit", "hamming"], [None, 0.5, 2.0], [0.5, 1.0]))
"""A cost, β and a margin; None is none, and the loss's own β."""


@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_are_those_of_enumeration_on_216_graphs(name: str) -> None:
    ways = [way for way in WAYS if way[0] or name not in NEED_COST]
    ways = [way for way in ways if name != "energy" or not way[0]]
    for number, (kind, beta, margin) in enumerate(ways):
        batch = cases()[number :: len(ways)]
        cost, distance = COSTS[kind] if kind else (None, lambda *_: 0)
        options = {"margin": margin} if "margin" in LOSSES[name].options else {}
        loss = GraphLoss(name, beta=beta, cost=cost, count=3, **options)
        ours = loss([case.graph for case in batch], [selector(case.answer) for case in batch])
        theirs = []
        for case in batch:
            price = partial(scaled, distance, margin if options else 1.0, case.answer)
            enumerated = Enumerated(case, loss.beta, 3, price)
            energies = [getattr(enumerated, need)() for need in LOSSES[name].needs]
            theirs.append(FORMULAS[name](*energies, **loss.of_energies.options))
        same_to_1e_9(ours, torch.stack(theirs), [part for case in batch for part in case.parts])


def scaled(distance: Callable[[String, String], int], margin: float, answer: String, string: String) -> float:
    return margin * distance(string, answer)


def same_to_1e_9(ours: Tensor, theirs: Tensor, parts: list[Tensor]) -> None:
    """Losses [B], and the gradients of their sums: each part belongs to one of them."""
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-9)
    gradients = (torch.autograd.grad(loss.sum(), parts, retain_graph=True) for loss in (ours, theirs))
    for one, two in zip(*gradients, strict=True):
        assert torch.allclose(one, two, rtol=1e-9, atol=1e-9)


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


@pytest.mark.parametrize("name", LOSSES)
def test_right_paths_take_the_place_of_those_that_write_the_answer(name: str) -> None:
    # Two paths write 0, of which one is right; another writes 1.
    graph = Graph(Structure([0, 0, 0], [1, 1, 1], [5, 6, 7], [0, 0, 1]), torch.tensor([1.0, 0.2, 0.6]))
    right = graph.with_energies(torch.tensor([1.0, INF, INF]))
    loss = GraphLoss(name, cost=edit_distance if name in NEED_COST else None)
    plain = loss.energies([graph], [Graph.linear([0])])
    found = loss.energies([graph], [Graph.linear([0])], [right])
    assert list(found) == list(plain) == list(LOSSES[name].needs)
    assert {need for need in found if not torch.equal(found[need], plain[need])} <= {"desired"}
    assert "desired" not in found or found["desired"].item() == 1.0
    assert torch.equal(loss([graph], [Graph.linear([0])], [right]), loss.of_energies(**found))
    with pytest.raises(GraphError, match="1 graphs of all answers, but 2 of"):
        loss([graph], [Graph.linear([0])], [right, right])


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
