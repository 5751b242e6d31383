"""What is no energy, no β and no answer: for every query and loss an error of ours or a limit, and no NaN."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from gtn_ebm import Graph, GraphError, Structure, inference, losses
from gtn_ebm.inference import PathChains
from gtn_ebm.losses import LOSSES, GraphLoss
from gtn_ebm.ops import edit_distance

INF, REFUSED = math.inf, GraphError
LATTICE = Graph(
    Structure([0, 0, 1, 1], [1, 1, 2, 2], [0, 1, 0, 1]),
    torch.tensor([0.5, 1.0, 0.0, 2.0], dtype=torch.float64),
)
"""All strings of two labels."""

STRAY = LATTICE.with_energies(torch.where(torch.arange(4) == 0, math.nan, LATTICE.energies))
NOWHERE = Graph(Structure([], [], [], states=2), torch.zeros(0, dtype=torch.float64))
NOTHING = Graph(Structure([], [], [], states=0), torch.zeros(0, dtype=torch.float64))
ONE = Graph.linear([0, 1], energies=torch.ones(2, dtype=torch.float64))
"""Writes one answer."""

ANSWER = Graph.linear([0, 1])
PATHS = inference.best_paths(LATTICE, 2)
COST = edit_distance(ANSWER.to(torch.float64), [0, 1])


def chains(graph: Graph, beta: float = 1.0) -> list[Any]:
    return PathChains(graph, PATHS, beta, window=2).move(graph, 2)


OF_BETA: dict[str, Callable[[Graph, Any], Any]] = {
    "free_energy": inference.free_energy,
    "posteriors": inference.posteriors,
    "expected_labels": inference.expected_labels,
    "expectation": lambda g, beta: inference.expectation(g, torch.ones(g.arcs, dtype=g.dtype), beta),
    "expected_cost": lambda g, beta: inference.expected_cost(g, COST, beta),
    "expected_energy": inference.expected_energy,
    "energy_variance": inference.energy_variance,
    "entropy": inference.entropy,
    "free_energy_slope": inference.free_energy_slope,
    "heat_capacity": inference.heat_capacity,
    "kl_divergence": lambda g, beta: inference.kl_divergence(g, g, beta),
    "cross_entropy": lambda g, beta: inference.cross_entropy(g, g, beta),
    "string_kl_divergence": lambda g, beta: inference.string_kl_divergence(g, g, beta),
    "string_cross_entropy": lambda g, beta: inference.string_cross_entropy(g, g, beta),
    "best_answers": lambda g, beta: inference.best_answers(g, 2, beta),
    "answer_energies": lambda g, beta: inference.answer_energies(g, [[0, 1]], beta),
    "incorrect_free_energy": lambda g, beta: inference.incorrect_free_energy(g, ANSWER, beta),
    "expected_edit_distance": lambda g, beta: inference.expected_edit_distance(g, [0, 1], beta),
    "minimum_risk_answer": lambda g, beta: inference.minimum_risk_answer(g, 2, beta),
    "random_paths": lambda g, beta: inference.random_paths(g, 2, beta),
    "random_answers": lambda g, beta: inference.random_answers(g, 2, beta),
    "reinforce": lambda g, beta: inference.reinforce(g.energies, g.energies.detach(), beta),
    "straight_through": lambda g, beta: inference.straight_through(g, PATHS, beta),
    "relaxed_paths": lambda g, beta: inference.relaxed_paths(g, 2, 0.5, beta),
    "PathChains": chains,
    "sampled_nll": lambda g, beta: losses.sampled_nll([g], [ANSWER], beta),
    "contrastive_divergence": lambda g, beta: losses.contrastive_divergence([g], [ANSWER], beta),
}
QUERIES: dict[str, Callable[[Graph], Any]] = {
    **{name: lambda g, query=query: query(g, 1.0) for name, query in OF_BETA.items()},
    "minimum_energy": inference.minimum_energy,
    "best_path": inference.best_path,
    "best_paths": lambda g: inference.best_paths(g, 2),
    "most_offending": lambda g: inference.most_offending(g, ANSWER),
    "persistent_contrastive_divergence": lambda g: losses.persistent_contrastive_divergence(
        [g], [ANSWER], [PathChains(LATTICE, PATHS)]
    ),
}


def test_every_query_is_in_the_table() -> None:
    compared = {"equal", "equivalent", "isomorphic", "random_equivalent"}
    assert {
        name for name in inference.__all__ if name[0].islower() or name == "PathChains"
    } - compared <= set(QUERIES)


def plain(found: Any) -> Any:
    """The numbers of an answer."""
    if isinstance(found, Tensor):
        return found.tolist()
    if isinstance(found, tuple):
        return [plain(part) for part in found if isinstance(part, Tensor)]
    return [plain(one) for one in found] if isinstance(found, list) else found


def without_nan(found: Any) -> bool:
    if isinstance(found, list):
        return all(map(without_nan, found))
    return not isinstance(found, float) or not math.isnan(found)


@pytest.mark.parametrize("beta", [0.0, -1.0, -INF, math.nan, None, "1", torch.tensor(1.0)])
@pytest.mark.parametrize("name", OF_BETA)
def test_queries_refuse_what_is_no_inverse_temperature(name: str, beta: object) -> None:
    if name == "random_paths" and beta == 0.0:
        return  # all paths alike
    with pytest.raises(GraphError, match="β"):
        OF_BETA[name](LATTICE, beta)


@pytest.mark.parametrize("energy", [math.nan, -INF])
@pytest.mark.parametrize("name", QUERIES)
def test_queries_refuse_what_is_no_energy(name: str, energy: float) -> None:
    energies = torch.where(torch.arange(4) == 0, energy, LATTICE.energies)
    with pytest.raises(GraphError, match=r"nan|NaN|-inf|must be finite"):
        QUERIES[name](LATTICE.with_energies(energies))


OF_NO_PATH: dict[str, Any] = {
    **dict.fromkeys(QUERIES, REFUSED),
    **dict.fromkeys(["free_energy", "minimum_energy", "expected_cost", "incorrect_free_energy"], INF),
    "best_path": None,
    **{name: [] for name in ("best_paths", "best_answers", "random_paths", "random_answers")},
    "answer_energies": [INF],
    "most_offending": None,
    **{name: [INF] for name in ("sampled_nll", "contrastive_divergence")},
}
"""Of a graph without a path; a distribution that there is not is refused."""


@pytest.mark.parametrize("graph", [NOWHERE, NOTHING], ids=["no path", "no state"])
@pytest.mark.parametrize("name", QUERIES)
def test_queries_of_empty_graphs_have_their_limits(name: str, graph: Graph) -> None:
    no_states = [0.0] * graph.states
    expected = [[], no_states, no_states] if name == "posteriors" else OF_NO_PATH[name]
    if expected is REFUSED:
        with pytest.raises(GraphError):
            QUERIES[name](graph)
        return
    assert plain(QUERIES[name](graph)) == expected


ABSENT = Graph.linear([0, 0, 0])
OF_ABSENT: Mapping[str, tuple[Callable[[], Any], Any]] = {
    "answer_energies": (lambda: inference.answer_energies(LATTICE, [[0, 0, 0]]), [INF]),
    "most_offending": (lambda: inference.most_offending(LATTICE, ABSENT).energy, 0.5),
    "incorrect_free_energy": (
        lambda: inference.incorrect_free_energy(LATTICE, ABSENT),
        inference.free_energy(LATTICE).item(),
    ),
    "expected_edit_distance": (lambda: inference.expected_edit_distance(ONE, [0, 1, 0]), 1.0),
    "sampled_nll": (lambda: losses.sampled_nll([LATTICE], [ABSENT]), [INF]),
    "contrastive_divergence": (lambda: losses.contrastive_divergence([LATTICE], [ABSENT]), [INF]),
    "persistent_contrastive_divergence": (
        lambda: losses.persistent_contrastive_divergence([LATTICE], [ABSENT], [PathChains(LATTICE, PATHS)]),
        [INF],
    ),
}


@pytest.mark.parametrize("name", OF_ABSENT)
def test_queries_about_an_answer_that_is_not_in_the_graph(name: str) -> None:
    query, expected = OF_ABSENT[name]
    assert plain(query()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (lambda: inference.most_offending(ONE, ANSWER), None),
        (lambda: inference.incorrect_free_energy(ONE, ANSWER), INF),
        (lambda: inference.expected_edit_distance(ONE, [0, 1]), 0.0),
        (lambda: inference.minimum_risk_answer(ONE, 5).risk, 0.0),
        (lambda: losses.sampled_nll([ONE], [ANSWER]), [0.0]),
        (lambda: losses.contrastive_divergence([ONE], [ANSWER]), [0.0]),
    ],
)
def test_queries_where_no_answer_is_wrong(query: Callable[[], Any], expected: Any) -> None:
    assert plain(query()) == pytest.approx(expected)


# Losses.

COSTLY = {"expected_risk", "bayes_risk"}
BOUNDED = {"lvq2": 1.0, "mce": 1.0, "mee": 1.0}
OF_SQUARES = {
    "energy": 2.0,
    "square_square": 4.0,
    "square_exponential": 4.0,
    "simple": 2.0,
    "square_square_pair": 4.0,
}
"""Losses of absolute energies, of a right answer of energy 2 among no wrong ones."""


def loss(name: str, **options: Any) -> GraphLoss:
    return GraphLoss(name, cost=edit_distance if name in COSTLY else None, **options)


@pytest.mark.parametrize("beta", [0.0, -1.0, -INF, math.nan, "1", torch.tensor(1.0)])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_refuse_what_is_no_inverse_temperature(name: str, beta: object) -> None:
    with pytest.raises(GraphError, match="β"):
        loss(name, beta=beta)


@pytest.mark.parametrize("value", [-1.0, math.nan, "wide", None, torch.tensor([1.0, -1.0])])
@pytest.mark.parametrize(
    ("name", "option"),
    [
        (name, option)
        for name, one in LOSSES.items()
        for option, default in one.options.items()
        if isinstance(default, float) and option != "beta"
    ],
)
def test_losses_refuse_negative_margins_and_their_like(name: str, option: str, value: object) -> None:
    with pytest.raises(GraphError, match=f"{option} of {name} must be 0 or more"):
        loss(name, **{option: value})


@pytest.mark.parametrize("name", LOSSES)
def test_losses_have_their_limits(name: str) -> None:
    of_desired = "desired" in LOSSES[name].needs
    out_of_reach = BOUNDED.get(name, INF)
    for everything, desired, expected in (
        (ONE, ANSWER, OF_SQUARES.get(name, 0.0)),  # no wrong answer
        (NOWHERE, ANSWER, out_of_reach),
        (NOTHING, ANSWER, out_of_reach),
        (LATTICE, ABSENT, out_of_reach if of_desired else None),
        (LATTICE, NOWHERE, out_of_reach if of_desired else REFUSED),  # nothing is desired
    ):
        if expected is REFUSED:
            with pytest.raises(GraphError):
                loss(name)([everything], [desired])
            continue
        energies = everything.energies.detach().clone().requires_grad_()
        found = loss(name)([everything.with_energies(energies)], [desired])
        assert without_nan(found.tolist())
        if expected is not None:
            assert found.item() == expected
        (gradient,) = torch.autograd.grad(found.sum(), energies, allow_unused=True, materialize_grads=True)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_refuse_what_is_no_energy(name: str) -> None:
    with pytest.raises(GraphError, match=r"nan|NaN"):
        loss(name)([STRAY], [ANSWER])
