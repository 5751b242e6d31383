import pytest
import torch

from gtn_ebm import GraphError
from gtn_ebm.losses import LOSSES
from recipes.handwriting_lines.criteria import CTC
from recipes.handwriting_lines.objective import LineLoss

TEXTS = ["ab", "b a", "aaaa"]
LENGTHS = [8, 6, 3]  # too few for the last


def scores() -> torch.Tensor:
    return torch.randn(3, 8, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_down_any_loss_makes_it_less(name: str) -> None:
    loss = LineLoss(CTC([" ", "a", "b"]), name)
    start = scores()
    before = loss(start, LENGTHS, TEXTS)
    (gradient,) = torch.autograd.grad(before[:2].sum(), start)
    after = loss(start.detach() - 1e-3 * gradient / gradient.norm(), LENGTHS, TEXTS)
    assert after[:2].sum() < before[:2].sum()


@pytest.mark.parametrize("name", LOSSES)
def test_a_text_out_of_reach_has_no_finite_loss_and_teaches_nothing(name: str) -> None:
    start = scores()
    loss = LineLoss(CTC([" ", "a", "b"]), name)(start, LENGTHS, TEXTS)
    assert loss.isfinite().tolist() == [True, True, False]
    loss.sum().backward()
    assert start.grad is not None
    assert start.grad.isfinite().all()
    assert (start.grad[2] == 0).all()


def test_nll_is_the_criterion_itself() -> None:
    criterion = CTC([" ", "a", "b"])
    torch.testing.assert_close(
        LineLoss(criterion, "nll")(scores(), LENGTHS, TEXTS), criterion(scores(), LENGTHS, TEXTS)
    )


def test_a_loss_that_would_overflow_leaves_out_what_is_too_far() -> None:
    far = torch.zeros(1, 8, 4)
    far[..., 3] = 20.0
    assert LineLoss(CTC([" ", "a", "b"]), "exponential")(far, [8], ["aaa"]).isinf().all()


def test_no_such_loss() -> None:
    with pytest.raises(GraphError, match="hinge"):
        LineLoss(CTC(["a"]), "none")
