"""Losses of plain energies: registry, values, derivatives, laws and limits."""

import copy
import math
import pickle
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from gtn_ebm import GraphError, losses
from gtn_ebm.losses import ALIASES, LOSSES, EnergyLoss
from tests.losses.formulas import FORMULAS

ENERGY = st.floats(-5.0, 5.0)
SEVERAL = st.lists(ENERGY, min_size=1, max_size=4)
INF = math.inf

# Two examples each: one of a good and one of a bad desired answer.
EXAMPLES: dict[str, dict[str, list]] = {
    "desired": {"desired": [-0.5, 1.5]},
    "everything": {"everything": [-0.7, 0.25]},
    "wrong": {"wrong": [0.1, 0.6]},
    "wrong_answers": {"wrong_answers": [[0.1, 0.4, 3.0], [0.6, 1.0, 1.75]]},
    "answers": {"answers": [[-0.5, 0.1, 0.4], [0.6, 1.0, 1.5]]},
    "costs": {"costs": [[0.0, 2.0, 1.0], [3.0, 1.0, 0.0]]},
    "expected_cost": {"expected_cost": [0.2, 1.7]},
}


def tensor(values: object, requires_grad: bool = False) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=requires_grad)


def example(name: str) -> list[Tensor]:
    """Energies for the loss, to differentiate in."""
    return [tensor(EXAMPLES[need][need], requires_grad=need != "costs") for need in LOSSES[name].needs]


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_derivatives_are_the_formula_s(name: str) -> None:
    loss, energies = LOSSES[name], example(name)
    ours = loss.function(*energies, **loss.options)
    theirs = FORMULAS[name](*energies, **loss.options)
    assert ours.shape == (2,)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    wanted = [values for values in energies if values.requires_grad]
    for one, two in zip(*(torch.autograd.grad(x.sum(), wanted) for x in (ours, theirs)), strict=True):
        assert torch.allclose(one, two, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(loss.function, energies)
    assert torch.autograd.gradgradcheck(loss.function, energies)


OPTIONS: list[tuple[str, dict]] = [
    ("hinge", {"margin": 0.2}),
    ("lvq2", {"limit": 0.5}),
    ("square_square", {"margin": 2.0}),
    ("square_exponential", {"gamma": 3.0}),
    ("mee", {"beta": 2.0}),
    ("simple", {"margin": 0.5}),
    ("square_square_pair", {"margin": 0.5}),
    ("exponential", {"margin": 0.5}),
    ("info_nce", {"beta": 0.25}),
    ("nce", {"beta": 3.0}),
    ("expected_risk", {"beta": 2.0}),
    *(
        ("additive_margin", {"margin": 0.75, "pair": pair})
        for pair in ("hinge", "simple", "square_square", "square_square_pair", "exponential")
    ),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_options_are_the_formula_s(name: str, options: dict) -> None:
    loss, energies = LOSSES[name], example(name)
    ours = EnergyLoss(name, **options)(*energies)
    assert torch.allclose(ours, FORMULAS[name](*energies, **{**loss.options, **options}), rtol=0, atol=1e-12)


def test_every_option_is_tried() -> None:
    tried = {(name, option) for name, options in OPTIONS for option in options}
    assert tried == {(name, option) for name, loss in LOSSES.items() for option in loss.options}


MARGINS = sorted(name for name, loss in LOSSES.items() if "margin" in loss.options)


@pytest.mark.parametrize("name", MARGINS)
def test_a_margin_may_be_each_answer_s_own_and_is_taken_off_its_energy(name: str) -> None:
    function, (desired, wrong) = LOSSES[name].function, example(name)
    margin = torch.rand(wrong.shape, dtype=torch.float64)
    for ours in (
        function(desired, wrong, margin=margin),
        FORMULAS[name](desired, wrong, margin, *PAIR[name]),
    ):
        assert torch.allclose(ours, function(desired, wrong - margin, margin=0.0))


PAIR = {name: ("hinge",) if name == "additive_margin" else () for name in MARGINS}


def test_energies_of_any_shape_broadcast() -> None:
    desired, wrong = torch.rand(3, 1), torch.rand(2)
    assert losses.hinge(desired, wrong).shape == (3, 2)
    assert losses.info_nce(torch.tensor(1.0), torch.rand(5, 4)).shape == (5,)
    assert losses.nce(torch.rand(3, 1), torch.rand(5, 4)).shape == (3, 5)
    assert losses.expected_risk(torch.rand(2, 3), torch.rand(3)).shape == (2,)


@given(ENERGY, SEVERAL, st.sampled_from([0.1, 1.0, 10.0]), st.floats(0.0, 3.0))
def test_laws(desired: float, wrong: list[float], beta: float, margin: float) -> None:
    good, bad = tensor(desired), tensor(wrong)
    every = torch.cat([good[None], bad])
    least, free = every.min(), -torch.logsumexp(-beta * every, 0) / beta
    worst = bad.min()
    perceptron, nll = losses.perceptron(good, least), losses.nll(good, free)
    hinge = losses.hinge(good, worst, margin)
    close = 1e-9
    assert perceptron >= 0
    assert nll >= perceptron - close
    assert nll <= perceptron + math.log(len(every)) / beta + close
    assert hinge >= perceptron - close
    assert hinge <= perceptron + margin + close
    assert perceptron <= losses.log(good, worst) <= perceptron + math.log(2) + close
    assert 0 <= losses.lvq2(good, worst, margin) <= min(float(perceptron), margin) + close
    assert 0 < losses.mce(good, worst) < 1
    assert -close <= losses.mee(good, free, beta) <= 1
    assert torch.isclose(losses.mee(good, free, beta), 1 - torch.exp(-beta * nll))
    assert torch.isclose(losses.info_nce(good, bad, beta), beta * nll)
    assert losses.nce(good, bad, beta) >= losses.info_nce(good, bad, beta)
    # The sum over all wrong answers, from their free energy at β = 1.
    sums = losses.additive_margin(good, bad, margin, pair="exponential")
    assert torch.isclose(losses.exponential(good, -torch.logsumexp(-bad, 0), margin), sums)
    assert torch.isclose(losses.log(good, -torch.logsumexp(-bad, 0)), losses.info_nce(good, bad))
    assert losses.additive_margin(good, bad, margin) >= hinge - close
    costs = tensor([0.0] + [1.0] * len(wrong))
    assert torch.isclose(losses.expected_risk(every, costs, beta), losses.mee(good, free, beta))


def test_they_are_torch_s_where_torch_has_them() -> None:
    random = torch.Generator().manual_seed(0)
    desired, wrong = torch.randn(2, 20, generator=random, dtype=torch.float64)
    several = torch.randn(20, 5, generator=random, dtype=torch.float64)
    first, below = torch.zeros(20, dtype=torch.long), -torch.ones(20)
    for ours, theirs in (
        (
            losses.hinge(desired, wrong, 0.5),
            functional.margin_ranking_loss(desired, wrong, below, 0.5, reduction="none"),
        ),
        (losses.log(desired, wrong).mean(), functional.soft_margin_loss(desired - wrong, below)),
        (
            losses.info_nce(desired, several, 2.0),
            functional.cross_entropy(
                -2.0 * torch.cat([desired[:, None], several], 1), first, reduction="none"
            ),
        ),
        (
            losses.mce(desired, wrong),
            1 - torch.softmax(-torch.stack([desired, wrong], 1), 1)[:, 0],
        ),
    ):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


@given(ENERGY, SEVERAL)
def test_only_differences_count_but_in_losses_of_absolute_energies(
    desired: float, wrong: list[float]
) -> None:
    for name, loss in LOSSES.items():
        if name in (
            "energy",
            "simple",
            "square_square",
            "square_square_pair",
            "square_exponential",
            "bayes_risk",
        ):
            continue
        energies = {
            "desired": tensor(desired),
            "everything": tensor(min([desired, *wrong])),
            "wrong": tensor(min(wrong)),
            "wrong_answers": tensor(wrong),
            "answers": tensor(wrong),
        }
        costs = {"costs": torch.arange(len(wrong), dtype=torch.float64)} if "costs" in loss.needs else {}
        chosen = {need: energies[need] for need in loss.needs if need in energies}
        higher = {need: values + 2.0 for need, values in chosen.items()}
        assert torch.isclose(loss.function(**chosen, **costs), loss.function(**higher, **costs), atol=1e-9)


# Of the desired answer at energy 1 among no wrong ones, and of one that is out of reach.
NO_WRONG = {"square_square": 1.0, "square_exponential": 1.0, "simple": 1.0, "square_square_pair": 1.0}
UNREACHABLE = {"lvq2": 1.0, "mce": 1.0, "mee": 1.0}


@pytest.mark.parametrize("name", [name for name in LOSSES if LOSSES[name].needs[0] == "desired"])
def test_limits(name: str) -> None:
    loss = LOSSES[name]
    desired = tensor([1.0, INF, INF], requires_grad=True)
    others = {
        "everything": tensor([1.0, 0.5, INF], requires_grad=True),
        "wrong": tensor([INF, 0.5, INF], requires_grad=True),
        "wrong_answers": tensor([[INF, INF], [0.5, INF], [INF, INF]], requires_grad=True),
    }
    energies = [desired, *(others[need] for need in loss.needs[1:])]
    found = loss.function(*energies)
    unreachable = UNREACHABLE.get(name, INF)
    assert found.tolist() == [1.0 if name == "energy" else NO_WRONG.get(name, 0.0), unreachable, unreachable]
    for gradient in torch.autograd.grad(found.sum(), energies):
        assert torch.isfinite(gradient).all()
        assert (gradient[1:] == 0).all()


def test_risk_of_no_answer_is_infinite() -> None:
    answers = tensor([[INF, INF], [INF, 2.0]], requires_grad=True)
    risk = losses.expected_risk(answers, tensor([[INF, 1.0], [INF, 4.0]]))
    assert risk.tolist() == [INF, 4.0]
    assert torch.autograd.grad(risk.sum(), answers)[0].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert losses.expected_risk(torch.zeros(2, 0), torch.zeros(2, 0)).tolist() == [INF, INF]


def test_what_does_not_fit_is_refused() -> None:
    one, three = tensor([1.0]), tensor([1.0, 2.0, 3.0])
    for call, message in (
        (lambda: losses.hinge(three, tensor([1.0, 2.0])), "hinge do not fit each other"),
        (lambda: losses.expected_risk(three, tensor([1.0, 2.0])), "expected_risk do not fit each other"),
        (lambda: losses.expected_risk(three, tensor([1.0, INF, 2.0])), r"costs \+inf"),
        (lambda: losses.hinge(one, one, margin="wide"), "margin of hinge must be 0 or more, not 'wide'"),
    ):
        with pytest.raises(GraphError, match=message):
            call()


@pytest.mark.parametrize("name", ["info_nce", "nce", "additive_margin"])
def test_sets_of_no_wrong_answers_cost_nothing(name: str) -> None:
    assert LOSSES[name].function(torch.tensor([1.0, 2.0]), torch.zeros(2, 0)).tolist() == [0.0, 0.0]


def test_a_risk_s_gradient_is_that_with_a_baseline() -> None:
    energies, costs = tensor([0.3, 1.0, 0.1], requires_grad=True), tensor([0.0, 2.0, 1.0])
    risk = losses.expected_risk(energies, costs, beta=2.0)
    p = torch.softmax(-2.0 * energies.detach(), 0)
    assert torch.allclose(torch.autograd.grad(risk, energies)[0], -2.0 * p * (costs - p @ costs))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_is_that_of_the_energies(dtype: torch.dtype) -> None:
    for name, loss in LOSSES.items():
        assert loss.function(*(values.to(dtype) for values in example(name))).dtype == dtype


def test_modules_are_called_by_position_or_by_name() -> None:
    module, (desired, wrong) = EnergyLoss("triplet", margin=2.0), example("hinge")
    assert module.needs == ("desired", "wrong")
    expected = losses.hinge(desired, wrong, 2.0)
    assert torch.equal(module(desired, wrong), expected)
    assert torch.equal(module(wrong=wrong, desired=desired), expected)
    for again in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        assert torch.equal(again(desired, wrong), expected)
    assert repr(module) == "EnergyLoss(hinge, margin=2.0)"


def test_other_names_lead_to_losses_and_hide_none() -> None:
    assert set(FORMULAS) == set(LOSSES)
    assert set(ALIASES.values()) <= set(LOSSES)
    assert not set(ALIASES) & set(LOSSES)
    assert losses.by_name("mwer").name == "expected_risk"


def test_one_s_own_loss_has_a_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gtn_ebm.losses.registry.LOSSES", {})
    monkeypatch.setattr("gtn_ebm.losses.registry.ALIASES", {})

    @losses.loss(beta=2.0, aliases=("ramp",))
    def clipped(desired: Tensor, wrong: Tensor, width: float = 1.0) -> Tensor:
        return torch.clamp(desired - wrong, 0.0, width)

    module = EnergyLoss("ramp", width=0.5)
    assert (module.loss.name, module.loss.beta, module.needs) == ("clipped", 2.0, ("desired", "wrong"))
    assert module(tensor([2.0, INF]), tensor([1.0, INF])).tolist() == [0.5, 0.5]
    with pytest.raises(GraphError, match="width of clipped must be 0 or more"):
        clipped(tensor(1.0), tensor(1.0), width=-1.0)


HINGE: Callable[..., Tensor] = losses.hinge


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.by_name("hing"), "no loss 'hing'; there are energy, perceptron"),
        (lambda: EnergyLoss("hinge", gamma=1.0), "'hinge' has no option 'gamma'; it has margin"),
        (lambda: EnergyLoss("energy", gamma=1.0), "it has none"),
        (lambda: EnergyLoss("hinge", margin=-1.0), "margin of hinge must be 0 or more, not -1.0"),
        (lambda: EnergyLoss("hinge", margin=math.nan), "margin of hinge must be 0 or more"),
        (lambda: EnergyLoss("square_exponential", gamma=-0.5), "gamma of square_exponential"),
        (lambda: EnergyLoss("additive_margin", pair=[]), r"pair of additive_margin must be a name, not \[\]"),
        (lambda: EnergyLoss("hinge")(tensor(1.0)), "hinge needs desired, wrong; given are 1 by place"),
        (
            lambda: EnergyLoss("hinge")(desired=tensor(1.0), everything=tensor(1.0)),
            "hinge needs desired, wrong; given are 0 by place, desired, everything",
        ),
        (
            lambda: HINGE(tensor([1.0] * 3), tensor(1.0), tensor([1.0] * 2)),
            r"\{'margin': \[2\]\} of hinge do not fit",
        ),
        (
            lambda: losses.additive_margin(tensor(0.0), tensor([1.0] * 2), tensor([1.0] * 3)),
            "of additive_margin do not fit its energies",
        ),
        (lambda: EnergyLoss("mee", beta=0.0), "β must be positive, not 0.0"),
        (lambda: EnergyLoss("nce", beta=INF), "nce needs a finite β"),
        (lambda: HINGE(tensor(1.0), tensor(1.0), tensor([1.0, -1.0])), "margin of hinge must be 0 or more"),
        (lambda: HINGE(tensor([0.0, math.nan]), tensor(1.0)), r"desired\[1\] is nan; hinge needs numbers"),
        (lambda: HINGE(tensor(0.0), tensor(-INF)), "wrong is -inf"),
        (lambda: HINGE(1.0, tensor(1.0)), "hinge needs 'desired' as a floating tensor, not 1.0"),
        (lambda: HINGE(tensor(1.0), torch.tensor(1)), "hinge needs 'wrong' as a floating tensor"),
        (lambda: losses.info_nce(tensor(1.0), tensor(1.0)), "with a last dimension for the answers"),
        (lambda: losses.perceptron(tensor([1.0]), tensor([INF])), "do not hold the desired one"),
        (lambda: losses.exponential(tensor(1e3), tensor(0.0)), "exponential is inf: .* too far apart"),
        (lambda: losses.square_exponential(tensor(0.0), tensor(-1e3)), "square_exponential is inf"),
        (lambda: losses.additive_margin(tensor(0.0), tensor([1.0]), pair="nll"), "'nll' is not one of"),
        (lambda: losses.additive_margin(tensor(0.0), tensor([1.0]), pair="log"), "'log' is not one of"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        call()
