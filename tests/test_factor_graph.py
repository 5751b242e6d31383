import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gtn_ebm import GraphError, best_paths
from gtn_ebm.factor_graph import FactorGraph
from tests.enumeration import walks

ENERGIES = st.one_of(st.floats(-3.0, 3.0, allow_subnormal=False), st.just(math.inf))
FINITE = st.floats(-3.0, 3.0, allow_subnormal=False)
BETAS = st.sampled_from([0.25, 1.0, 3.0])


@st.composite
def factor_graphs(draw, energies=ENERGIES):
    """Up to five variables of up to three values, factors over none to three of them, perhaps an order."""
    sizes = {f"z{k}": draw(st.integers(1, 3)) for k in range(draw(st.integers(1, 5)))}
    scopes = draw(
        st.lists(st.lists(st.sampled_from(sorted(sizes)), unique=True, max_size=3), min_size=1, max_size=6)
    )
    factors = []
    for scope in scopes:
        shape = [sizes[name] for name in scope]
        count = math.prod(shape)
        values = draw(st.lists(energies, min_size=count, max_size=count))
        factors.append((scope, torch.tensor(values, dtype=torch.float64).reshape(shape)))
    used = sorted({name for scope in scopes for name in scope})
    order = draw(st.one_of(st.none(), st.permutations(used)))
    return FactorGraph(factors, order)


def assignments(model):
    """All of them, each with its energy: the sum of what each factor says."""
    for values in itertools.product(*map(range, model.sizes.values())):
        named = dict(zip(model.sizes, values, strict=True))
        terms = [energies[tuple(named[v] for v in scope)] for scope, energies in model.factors]
        yield named, torch.stack(terms).sum()


def free_energy_by_enumeration(model, beta):
    energies = torch.stack([energy for _, energy in assignments(model)])
    return -torch.logsumexp(-beta * energies, 0) / beta


@settings(max_examples=250, deadline=None)
@given(factor_graphs(), BETAS)
def test_answers_are_those_of_all_assignments_written_out(model, beta):
    expected = free_energy_by_enumeration(model, beta)
    assert model.free_energy(beta).item() == pytest.approx(expected.item(), rel=1e-9, abs=1e-9)
    least_values, least = min(assignments(model), key=lambda assignment: assignment[1].item())
    best = model.best_assignment()
    if least == math.inf:
        assert best is None
        return
    assert best.energy.item() == pytest.approx(least.item(), abs=1e-9)
    energy_of = {tuple(values.values()): energy.item() for values, energy in assignments(model)}
    assert energy_of[tuple(best.values.values())] == pytest.approx(least.item(), abs=1e-9)
    assert list(best.values) == list(least_values)


@settings(max_examples=250, deadline=None)
@given(factor_graphs(), BETAS)
def test_gradients_and_marginals_are_probabilities_of_joint_values(model, beta):
    parts = [energies.clone().requires_grad_() for _, energies in model.factors]
    differentiable = FactorGraph(
        zip((scope for scope, _ in model.factors), parts, strict=True), list(model.order)
    )
    free = free_energy_by_enumeration(model, beta)
    probability = {
        tuple(values.values()): 0.0 if energy == math.inf else math.exp(beta * (free - energy))
        for values, energy in assignments(model)
    }
    if free < math.inf:
        differentiable.free_energy(beta).backward()
    found = model.marginals(beta)
    names = list(model.sizes)
    for (scope, energies), part, joint in zip(model.factors, parts, found.factors, strict=True):
        expected = np.zeros(energies.shape)
        for values, p in probability.items():
            expected[tuple(values[names.index(name)] for name in scope)] += p
        if free < math.inf:
            np.testing.assert_allclose(part.grad.numpy(), expected, atol=1e-9)
        if scope:
            np.testing.assert_allclose(joint.numpy(), expected, atol=1e-9)
    for k, name in enumerate(names):
        expected = np.zeros(model.sizes[name])
        for values, p in probability.items():
            expected[values[k]] += p
        np.testing.assert_allclose(found.variables[name].numpy(), expected, atol=1e-9)


@settings(max_examples=200, deadline=None)
@given(factor_graphs(), BETAS, st.data())
def test_conditioning_is_restricting_to_the_assignments_that_agree(model, beta, data):
    names = data.draw(st.lists(st.sampled_from(sorted(model.sizes)), unique=True)) if model.sizes else []
    observed = {name: data.draw(st.integers(0, model.sizes[name] - 1)) for name in names}
    agreeing = [
        energy
        for values, energy in assignments(model)
        if all(values[name] == value for name, value in observed.items())
    ]
    expected = -torch.logsumexp(-beta * torch.stack(agreeing), 0) / beta
    rest = model.given(observed)
    assert list(rest.sizes) == [name for name in model.sizes if name not in observed]
    assert rest.free_energy(beta).item() == pytest.approx(expected.item(), rel=1e-9, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(factor_graphs(FINITE), BETAS)
def test_first_and_second_derivatives(model, beta):
    scopes = [scope for scope, _ in model.factors]
    parts = [energies.clone().requires_grad_() for _, energies in model.factors]
    assume(sum(part.numel() for part in parts) <= 40)

    def free(*energies):
        return FactorGraph(zip(scopes, energies, strict=True)).free_energy(beta)

    assert torch.autograd.gradcheck(free, parts)
    assert torch.autograd.gradgradcheck(free, parts)


def textbook():
    """Figure 20 of LeCun et al. 2006: latent z1, z2, outputs y1 (binary) and y2 (ternary)."""
    shapes = {("z1",): (2,), ("z1", "z2"): (2, 2), ("z2", "y1"): (2, 2), ("y1", "y2"): (2, 3)}
    generator = torch.Generator().manual_seed(0)
    return FactorGraph((scope, torch.rand(shape, generator=generator)) for scope, shape in shapes.items())


def test_textbook_case_takes_16_factor_values_where_all_configurations_take_96():
    model = textbook()
    assert model.configurations == 24 == len(list(assignments(model)))
    assert model.configurations * len(model.factors) == 96
    assert model.order == ("z1", "z2", "y1", "y2")
    trellis = model.trellis()
    assert model.evaluations == 16 == trellis.arcs
    assert np.bincount(trellis.attributes["variable"].numpy()).tolist() == [2, 4, 4, 6]
    assert len(walks(trellis)) == 24
    values, energy = min(assignments(model), key=lambda assignment: assignment[1].item())
    assert model.best_assignment().values == values
    assert model.best_assignment().energy.item() == pytest.approx(energy.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("pairs", "widest"),
    [
        ([(k, k + 1) for k in range(30)], 2),  # a chain
        ([(0, k) for k in range(1, 31)], 2),  # a star, given from its centre
        ([(k, 30) for k in range(30)], 2),  # a star, given from its leaves
        ([(k, (k - 1) // 2) for k in range(1, 31)], 2**4),  # a binary tree
        ([(k, (k + 1) % 30) for k in range(30)], 4),  # a ring
    ],
)
def test_min_fill_keeps_few_variables_at_once(pairs, widest):
    model = FactorGraph((list(map(str, pair)), torch.rand(2, 2)) for pair in pairs)
    trellis = model.trellis()
    leaving = np.bincount(trellis.attributes["variable"].numpy())
    assert leaving.max() <= 2 * widest
    assert model.free_energy() < model.best_assignment().energy


def test_a_chain_is_assigned_from_its_beginning():
    names = [f"x{k}" for k in range(12)]
    model = FactorGraph((pair, torch.zeros(3, 3)) for pair in itertools.pairwise(names))
    assert model.order == tuple(names)
    assert model.configurations == 3**12
    assert model.evaluations == 11 * 9


def test_every_query_of_graphs_can_be_asked_of_the_trellis():
    model = textbook()
    energies = sorted(energy.item() for _, energy in assignments(model))
    found = [path.energy.item() for path in best_paths(model.trellis(), 5)]
    assert found == pytest.approx(energies[:5], rel=1e-6)


def test_structures_are_shared_by_models_of_one_shape():
    assert textbook().trellis().structure is textbook().trellis().structure


PAIR = torch.zeros(2, 2)


@pytest.mark.parametrize(
    ("factors", "order", "message"),
    [
        ([], None, "a factor at least"),
        (None, None, "must be pairs of variables' names and energies, not None"),
        ([None], None, "a factor is a pair of .*, not None"),
        ([(None, PAIR)], None, "a factor is a pair of"),
        ([("ab", PAIR)], None, "sequence of names"),
        ([(["a"], [1.0])], None, "floating tensor"),
        ([(["a"], torch.tensor([1, 2]))], None, "floating tensor"),
        ([(["a", "a"], PAIR)], None, "twice"),
        ([(["a"], PAIR)], None, "a dimension for each"),
        ([(["a"], torch.zeros(0))], None, "a value at least"),
        ([(["a"], torch.zeros(3)), (["a", "b"], PAIR)], None, "'a' has 2 values .* 3 before"),
        ([(["a", "b"], PAIR), (["a"], torch.zeros(2).double())], None, "one dtype"),
        ([(["a", "b"], PAIR)], ["a"], "each of the variables"),
    ],
)
def test_what_does_not_fit_is_refused(factors, order, message):
    with pytest.raises(GraphError, match=message):
        FactorGraph(factors, order)


def test_trellis_too_large_is_refused_before_it_is_made():
    names = [f"x{k}" for k in range(40)]
    model = FactorGraph((pair, PAIR) for pair in itertools.combinations(names, 2))
    with pytest.raises(GraphError, match="39 variables are needed at once"):
        model.trellis()


@pytest.mark.parametrize(
    ("observed", "message"),
    [({"w": 0}, "no variable 'w'"), ({"z1": 2}, "values 0 to 1"), ({"z1": -1}, "not -1")],
)
def test_what_cannot_be_observed_is_refused(observed, message):
    with pytest.raises(GraphError, match=message):
        textbook().given(observed)


def test_unusable_energies_are_refused():
    model = FactorGraph([(["a"], torch.tensor([0.0, math.nan]))])
    for ask in (model.free_energy, model.marginals, model.best_assignment):
        with pytest.raises(GraphError, match="NaN"):
            ask()
    with pytest.raises(GraphError, match="β must be positive"):
        textbook().free_energy(0.0)
