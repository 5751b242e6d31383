import math

import pytest
import torch

from gtn_ebm import GraphError
from gtn_ebm.dense import star_emissions, subtract_prior


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_stars_are_sums_over_the_other_labels(classes, scale):
    torch.manual_seed(0)
    emissions = scale * torch.randn(4, 3, classes, dtype=torch.float64)
    for blank in range(classes):
        stars = star_emissions(emissions, blank)
        assert torch.equal(stars[..., :classes], emissions)
        for k in range(classes):
            others = [c for c in range(classes) if c not in (blank, k)]
            expected = (
                -torch.logsumexp(-emissions[..., others], -1) if others else torch.tensor(math.inf).double()
            )
            torch.testing.assert_close(stars[..., classes + k], expected.expand(4, 3), rtol=1e-14, atol=0)


def test_stars_have_derivatives_and_no_cancellation():
    emissions = torch.tensor([[0.0, 1.0, 40.0, 90.0], [3.0, 2.0, 1.0, 0.5]], dtype=torch.float64)
    assert torch.autograd.gradcheck(star_emissions, emissions.requires_grad_())
    assert torch.autograd.gradgradcheck(star_emissions, emissions)
    stars = star_emissions(emissions.detach().float())
    assert float(stars[0, 5]) == pytest.approx(40.0)  # all but the likeliest
    impossible = torch.full((3,), math.inf, requires_grad=True)
    stars = star_emissions(impossible)
    assert stars[3:].isposinf().all()
    stars.backward(torch.ones(6))
    assert impossible.grad.tolist() == [1.0, 1.0, 1.0]


def test_a_prior_is_taken_off():
    emissions, log_prior = torch.randn(2, 4, 3), torch.tensor([0.8, 0.1, 0.1]).log()
    likelihoods = (-emissions).exp() / log_prior.exp() ** 0.5
    torch.testing.assert_close(subtract_prior(emissions, log_prior, 0.5), -likelihoods.log())


def test_the_blank_must_be_a_class():
    with pytest.raises(GraphError, match="the blank must be a class from 0 to 2, not 4"):
        star_emissions(torch.zeros(2, 3), 4)
    with pytest.raises(GraphError, match="must be a floating tensor"):
        star_emissions(torch.zeros(2, 3).long())
    with pytest.raises(GraphError, match="an entry for each of 3 classes"):
        subtract_prior(torch.zeros(2, 3), torch.zeros(2))
