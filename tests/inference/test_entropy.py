import math

import pytest
import torch

from gtn_ebm import (
    Graph,
    GraphError,
    Structure,
    determinize,
    disambiguate,
    free_energy,
    remove_epsilons,
    union,
)
from gtn_ebm.inference import (
    cross_entropy,
    energy_variance,
    entropy,
    free_energy_slope,
    heat_capacity,
    kl_divergence,
    string_cross_entropy,
    string_kl_divergence,
)
from gtn_ebm.ops.scaling import scale
from tests import written_out
from tests.enumeration import language, requiring_grad, walks
from tests.written_out import random_graphs

LOOP = Graph(Structure([0, 0], [0, 1], [0, 1]), torch.tensor([1.0, 0.0], dtype=torch.float64))


def shaken(graph, seed=0):
    """The graph with other energies, +inf where it has them."""
    random = torch.Generator().manual_seed(seed)
    parts = (part.detach() for part in (graph.energies, graph.initial, graph.final))
    return graph.with_energies(
        *(part + torch.randn(len(part), dtype=torch.float64, generator=random) for part in parts)
    )


def logs(graph, found, beta):
    return torch.log_softmax(-beta * written_out.energies(graph, found), 0)


def test_entropy_is_that_of_all_paths():
    def wanted(graph, found, beta):
        log_p = logs(graph, found, beta)
        return -log_p.exp() @ log_p

    written_out.check(random_graphs(200), entropy, wanted)


@pytest.mark.parametrize("query", [cross_entropy, kl_divergence])
def test_cross_entropy_and_divergence_are_those_of_all_paths(query):
    def apart(one, other, found, beta):
        log_p, log_q = logs(one, found, beta), logs(other, found, beta)
        return log_p.exp() @ ((log_p if query is kl_divergence else 0.0) - log_q)

    # In the energies of the one, and in those of the other.
    written_out.check(
        random_graphs(200, 1),
        lambda graph, beta: query(graph, shaken(graph), beta),
        lambda graph, found, beta: apart(graph, shaken(graph), found, beta),
    )
    written_out.check(
        random_graphs(200, 1),
        lambda graph, beta: query(shaken(graph), graph, beta),
        lambda graph, found, beta: apart(shaken(graph), graph, found, beta),
    )


def test_a_path_that_the_other_leaves_out_makes_it_infinite():
    whole = Graph(Structure([0, 0, 1], [1, 1, 2], [0, 1, 2]), torch.zeros(3), final=[1, 2])
    for place in range(3):
        lacking = whole.with_energies(torch.zeros(3).index_fill(0, torch.tensor(place), torch.inf))
        parts = requiring_grad(whole)
        for query in (cross_entropy, kl_divergence):
            value = query(whole.with_energies(*parts), lacking.to(torch.float64))
            assert value == math.inf
            assert not any(gradient.any() for gradient in torch.autograd.grad(value, parts))
        assert 0.0 < kl_divergence(lacking, whole) < math.inf


def test_strings_of_two_structures():
    infinite = 0
    firsts, seconds = random_graphs(200, 2, acceptor=True), random_graphs(200, 3, acceptor=True)
    for k, ((first, beta), (second, _)) in enumerate(zip(firsts, seconds, strict=True)):
        if k % 3:  # strings of the first among those of the second, as in random graphs they seldom are
            second = union(first, second)
        single = (determinize, disambiguate)[k % 2]
        one, other = (single(remove_epsilons(graph, beta), beta) for graph in (first, second))
        mine, theirs = (
            {s: -beta * e for s, (e,) in language(walks(graph)).items()} for graph in (one, other)
        )
        cross, divergence = string_cross_entropy(one, other, beta), string_kl_divergence(one, other, beta)
        if not mine.keys() <= theirs.keys():
            assert cross == divergence == math.inf
            infinite += 1
            continue
        log_p, log_q = (
            torch.log_softmax(torch.tensor(list(logs.values()), dtype=torch.float64), 0)
            for logs in (mine, theirs)
        )
        of_second = dict(zip(theirs, log_q, strict=True))
        wanted = -(log_p.exp() * torch.stack([of_second[strings] for strings in mine])).sum()
        assert float(cross) == pytest.approx(float(wanted), rel=1e-9, abs=1e-9)
        wanted = wanted + (log_p.exp() * log_p).sum()
        assert float(divergence) == pytest.approx(float(wanted), rel=1e-9, abs=1e-9)
    assert 20 < infinite < 100


def test_strings_have_gradients_in_both():
    one = Graph(
        Structure([0, 0, 1], [1, 2, 2], [0, 1, 1]), torch.tensor([0.2, 0.5, 0.1], dtype=torch.float64)
    )
    other = Graph(
        Structure([0, 0, 0], [0, 1, 1], [0, 0, 1]), torch.tensor([1.5, 0.5, 0.1], dtype=torch.float64)
    )
    parts = [graph.energies.clone().requires_grad_() for graph in (one, other)]

    def query(mine, theirs):
        moved = one.with_energies(mine), other.with_energies(theirs)
        return string_cross_entropy(*moved), string_kl_divergence(*moved)

    assert torch.autograd.gradcheck(query, parts)
    assert torch.autograd.gradgradcheck(query, parts)


def test_strings_round_cycles():
    # Geometric distributions: KL = (r / (1 − r)) log(r / s) + log((1 − r) / (1 − s)).
    r, s = math.exp(-1.0), math.exp(-0.5)
    other = Graph(Structure([0, 1, 0, 1], [1, 0, 2, 2], [0, 0, 1, 1]), torch.tensor([0.5, 0.5, 0.0, 0.0]))
    wanted = r / (1 - r) * math.log(r / s) + math.log((1 - r) / (1 - s))
    assert float(string_kl_divergence(LOOP, other.to(torch.float64))) == pytest.approx(wanted)
    assert string_kl_divergence(LOOP, LOOP) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_round_a_cycle(beta):
    r = math.exp(-beta)
    wanted = -math.log(1 - r) - r / (1 - r) * math.log(r)
    assert float(entropy(LOOP, beta)) == pytest.approx(wanted)
    assert float(kl_divergence(LOOP, LOOP.with_energies(LOOP.energies + 1), beta)) == pytest.approx(
        r / (1 - r) * math.log(r / r**2) + math.log((1 - r) / (1 - r**2))
    )


def test_derivatives_in_beta():
    for graph, beta in random_graphs(200, 4):
        step = 1e-4 * beta
        more, less = (float(free_energy(graph, b)) for b in (beta + step, beta - step))
        assert float(free_energy_slope(graph, beta)) == pytest.approx((more - less) / (2 * step), abs=1e-5)
        more, less = (float(entropy(graph, b)) for b in (beta + step, beta - step))
        capacity = float(heat_capacity(graph, beta))
        assert capacity == pytest.approx(-beta * (more - less) / (2 * step), abs=1e-5)
        assert capacity == pytest.approx(float(beta**2 * energy_variance(graph, beta)), rel=1e-12)


def test_derivatives_of_first_and_second_order():
    written_out.check_derivatives(
        random_graphs(2, 5, most_states=4, large=False),
        entropy,
        heat_capacity,
        lambda graph, beta: cross_entropy(graph, scale(graph.detach(), 0.0), beta),
        lambda graph, beta: kl_divergence(scale(graph.detach(), 0.0), graph, beta),
    )


def test_derivatives_on_a_cycle():
    energies = LOOP.energies.clone().requires_grad_()
    for query in (entropy, heat_capacity):
        assert torch.autograd.gradcheck(lambda e, query=query: query(LOOP.with_energies(e)), [energies])
        assert torch.autograd.gradgradcheck(lambda e, query=query: query(LOOP.with_energies(e)), [energies])


def test_a_list_is_its_graphs_one_by_one():
    other = Graph.linear([0, 1, 1]).to(torch.float64)
    some, others = [LOOP, other], [LOOP.with_energies(LOOP.energies + 1), other]
    assert entropy(some).tolist() == [float(entropy(graph)) for graph in some]
    for query in (cross_entropy, kl_divergence):
        alone = [float(query(*pair)) for pair in zip(some, others, strict=True)]
        assert query(some, others).tolist() == alone
        assert query([], []).shape == (0,)


def test_float32_loses_nothing_to_large_energies():
    energies = torch.tensor([1e6, 1e6 + 1.0])
    graph = Graph(Structure([0, 0], [1, 1], [0, 1]), energies)
    assert entropy(graph) == entropy(graph.to(torch.float64)).float()
    assert kl_divergence(graph, graph.with_energies(energies - 1e6 + 1)) == pytest.approx(0.0, abs=1e-9)


def test_bad_input_is_refused():
    graph, nothing = Graph.linear([0]), Graph(Structure([0], [1], [0], states=3))
    pairs = (cross_entropy, kl_divergence, string_cross_entropy, string_kl_divergence)
    for beta in (0.0, -1.0, math.nan, math.inf):
        for query in (entropy, free_energy_slope, heat_capacity):
            with pytest.raises(GraphError, match="β"):
                query(graph, beta)
        for query in pairs:
            with pytest.raises(GraphError, match="β"):
                query(graph, graph, beta)
    for query in (entropy, free_energy_slope, heat_capacity):
        with pytest.raises(GraphError, match="no path"):
            query(nothing)
    for query in pairs:
        for pair in ((nothing, nothing), (nothing, graph), (graph, nothing)):
            with pytest.raises(GraphError, match=r"no path|structure"):
                query(*pair)
        with pytest.raises(GraphError, match="is nan"):
            query(graph, graph.with_energies(torch.tensor([math.nan])))
    with pytest.raises(GraphError, match="graphs 0 differ in structure"):
        kl_divergence(graph, Graph.linear([1]))
    with pytest.raises(GraphError, match="as many"):
        kl_divergence([graph], graph)
    twice = Graph(Structure([0, 0], [1, 1], [0, 0]))
    transducer = Graph(Structure([0], [1], [0], [1]))
    for wrong, message in ((twice, "several paths"), (transducer, "project")):
        for pair in ((wrong, graph), (graph, wrong)):
            with pytest.raises(GraphError, match=message):
                string_kl_divergence(*pair)
