"""Likelihoods of mixtures beside torch's distributions."""

import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from recipes.speech_alignment.gaussians import Gaussians, log_sum


def test_likelihoods_are_those_of_mixtures() -> None:
    random = torch.Generator().manual_seed(0)
    model = Gaussians(classes=5, features=4, components=3)
    model.means.copy_(torch.randn(5, 3, 4, generator=random))
    model.variances.copy_(torch.rand(5, 3, 4, generator=random) + 0.2)
    model.log_weights.copy_(torch.randn(5, 3, generator=random).log_softmax(1))
    frames = 2 * torch.randn(7, 4, generator=random)
    parts = Independent(Normal(model.means, model.variances.sqrt()), 1)
    expected = MixtureSameFamily(Categorical(logits=model.log_weights), parts).log_prob(frames[:, None])
    torch.testing.assert_close(model(frames), -expected, rtol=1e-4, atol=1e-4)
    joint = parts.log_prob(frames[:, None, None]) + model.log_weights
    torch.testing.assert_close(model.joint(frames), joint, rtol=1e-4, atol=1e-4)


def test_sums_of_what_differs_much_and_little() -> None:
    values = torch.tensor([[0.0, -0.5, -2.0], [-1e4, -1e4 - 90.0, -3e4], [5.0, -95.0, -1e30]])
    torch.testing.assert_close(log_sum(values, 1), values.logsumexp(1))
    torch.testing.assert_close(log_sum(values, 0), values.logsumexp(0))
