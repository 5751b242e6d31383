import pytest
import torch

from recipes.handwriting_lines.ink import HEIGHT
from recipes.handwriting_lines.network import STRIDE, FeatureDropout, LineNetwork


@pytest.mark.parametrize("columns", [STRIDE, 40, 200])
def test_scores_of_every_frame_and_class(columns: int) -> None:
    network = LineNetwork(5).eval()
    scores, shortcut = network(torch.rand(2, HEIGHT, columns))
    assert scores.shape == shortcut.shape == (2, columns // STRIDE, 5)
    assert scores.dtype == shortcut.dtype == torch.float32


def test_size_is_that_of_a_network_for_lines() -> None:
    assert 1_000_000 < sum(weight.numel() for weight in LineNetwork(50).parameters()) < 10_000_000


def test_every_weight_learns() -> None:
    torch.manual_seed(0)
    network = LineNetwork(5)
    outputs = network(torch.rand(2, HEIGHT, 80))
    sum(output.square().sum() for output in outputs).backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_dropout_leaves_out_a_feature_of_a_line_in_all_frames() -> None:
    torch.manual_seed(0)
    dropout = FeatureDropout(0.5)
    kept = dropout(torch.ones(7, 3, 100))
    assert (kept == kept[:1]).all()
    assert 0.3 < (kept == 0).float().mean() < 0.7
    assert kept.mean().item() == pytest.approx(1, abs=0.2)
    assert (dropout.eval()(torch.ones(7, 3, 100)) == 1).all()
