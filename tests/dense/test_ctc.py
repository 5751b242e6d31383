import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import GraphError, compose, dense, free_energy
from gtn_ebm.dense import CTCLoss, ctc_loss
from tests.dense.test_free_energy import of_emissions

torch_loss = torch.nn.functional.ctc_loss


@st.composite
def problems(draw: st.DrawFn):
    """Logits [T, N, C], targets, lengths and the blank: padded or in a row, too long for the frames, empty,
    of equal labels, peaked, of zero and one frame."""
    frames, items, classes = draw(st.integers(1, 7)), draw(st.integers(1, 3)), draw(st.integers(2, 4))
    seed, scale = draw(st.integers(0, 2**20)), draw(st.sampled_from([1.0, 15.0]))
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(frames, items, classes, generator=generator, dtype=torch.float64) * scale
    lengths = torch.tensor([draw(st.integers(0, frames)) for _ in range(items)])
    of_targets = torch.tensor([draw(st.integers(0, 4)) for _ in range(items)])
    blank = draw(st.integers(0, classes - 1))
    # Torch's gradient is wrong where a target holds the blank.
    labels = [label for label in range(classes) if label != blank]
    rows = [[draw(st.sampled_from(labels)) for _ in range(4)] for _ in range(items)]
    targets = torch.tensor(rows)
    if draw(st.booleans()):
        targets = torch.cat([row[:length] for row, length in zip(targets, of_targets, strict=True)])
    return logits, targets, lengths, of_targets, blank


@settings(max_examples=250, deadline=None)
@given(problems(), st.sampled_from(["none", "mean", "sum"]), st.booleans())
def test_as_torch(problem, reduction, zero_infinity):
    logits, *rest = problem
    outcomes = []
    for loss in (ctc_loss, torch_loss):
        leaf = logits.clone().requires_grad_()
        value = loss(leaf.log_softmax(2), *rest, reduction, zero_infinity)
        outcomes.append((value, torch.autograd.grad(value.sum(), leaf)[0]))
    (ours, gradient), (theirs, expected) = outcomes
    torch.testing.assert_close(ours, theirs)
    if zero_infinity or theirs.isfinite().all():
        torch.testing.assert_close(gradient, expected, rtol=0.0, atol=1e-9)
    assert gradient.isfinite().all()


@settings(max_examples=100, deadline=None)
@given(problems())
def test_as_the_graph_composed_explicitly(problem):
    logits, targets, lengths, of_targets, blank = problem
    log_probs = logits.log_softmax(2)
    losses = ctc_loss(log_probs, targets, lengths, of_targets, blank, "none")
    begins = [0, *of_targets.cumsum(0).tolist()]
    for k, loss in enumerate(losses):
        target = targets[k, : of_targets[k]] if targets.ndim == 2 else targets[begins[k] : begins[k + 1]]
        graph = dense.topologies.ctc(target.tolist(), blank).to(torch.float64)
        frames = -log_probs[: lengths[k], k]
        torch.testing.assert_close(free_energy(compose(of_emissions(frames), graph)), loss)


def test_a_target_of_blanks_is_taken_literally():
    logits = torch.randn(5, 1, 3, dtype=torch.float64, requires_grad=True)
    arguments = torch.tensor([[0, 0]]), torch.tensor([5]), torch.tensor([2])
    torch.testing.assert_close(
        ctc_loss(logits.log_softmax(2), *arguments), torch_loss(logits.log_softmax(2), *arguments)
    )
    assert torch.autograd.gradcheck(lambda x: ctc_loss(x.log_softmax(2), *arguments), logits)


def test_no_frames_and_impossible_classes():
    assert ctc_loss(torch.zeros(0, 2, 3), torch.zeros(2, 0, dtype=torch.long), [0, 0], [0, 0]) == 0.0
    assert ctc_loss(torch.zeros(0, 1, 3), torch.tensor([[1]]), [0], [1]) == math.inf
    log_probs = torch.full((4, 1, 3), 0.5).log()
    log_probs[1:3, 0, 1] = -math.inf
    log_probs.requires_grad_()
    loss = ctc_loss(log_probs, torch.tensor([[1]]), [4], [1], reduction="sum")
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-math.log(2 / 16))
    assert log_probs.grad[:, 0, 1].tolist() == [-0.5, 0.0, 0.0, -0.5]


def test_one_item_without_a_batch():
    log_probs, target = torch.randn(6, 4).log_softmax(1), torch.tensor([1, 2])
    for lengths in ((6, 2), (torch.tensor(6), torch.tensor(2)), (torch.tensor([6]), torch.tensor([2]))):
        for reduction in ("none", "mean", "sum"):
            ours = ctc_loss(log_probs, target, *lengths, reduction=reduction)
            theirs = torch_loss(log_probs, target, torch.tensor(6), torch.tensor(2), reduction=reduction)
            torch.testing.assert_close(ours, theirs)


def test_second_derivatives():
    logits = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    arguments = torch.tensor([[1, 1], [2, 0]]), torch.tensor([4, 3]), torch.tensor([2, 1])
    assert torch.autograd.gradgradcheck(lambda x: ctc_loss(x.log_softmax(2), *arguments), logits)


@pytest.mark.parametrize("scale", [1.0, 15.0])
def test_float32_gradients_beside_float64(scale):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 2, 28, generator=generator) * scale
    arguments = torch.randint(1, 28, (2, 80), generator=generator), [500, 400], [80, 40]
    gradients = []
    for dtype, loss in ((torch.float32, ctc_loss), (torch.float64, torch_loss)):
        leaf = logits.log_softmax(2).to(dtype).requires_grad_()
        arguments = tuple(torch.as_tensor(argument) for argument in arguments)
        loss(leaf, *arguments, reduction="sum").backward()
        inside = torch.arange(500)[:, None, None] < torch.tensor([500, 400])[:, None]
        gradients.append(leaf.grad + leaf.detach().exp() * inside * (loss is ctc_loss))
    assert float((gradients[0] - gradients[1]).abs().max()) < 1e-5


def test_the_module_is_the_function():
    log_probs = torch.randn(6, 2, 4).log_softmax(2)
    arguments = torch.tensor([[1, 2], [1, 0]]), torch.tensor([6, 1]), torch.tensor([2, 2])
    for reduction in ("none", "mean", "sum"):
        module = CTCLoss(3, reduction, zero_infinity=True)
        torch.testing.assert_close(
            module(log_probs, *arguments), torch.nn.CTCLoss(3, reduction, True)(log_probs, *arguments)
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": torch.tensor([[1, 4]])}, "item 0: its target has labels from 1 to 4"),
        ({"targets": torch.tensor([[1, -1]])}, "item 0: its target has labels from -1 to 1"),
        ({"targets": torch.tensor([[1, 2**33 + 1]])}, "item 0: its target has labels from 1 to 2147483647"),
        ({"targets": torch.tensor([[1, -(2**33)]])}, "item 0: its target has labels from -1 to 1"),
        ({"targets": torch.tensor([[1.0, 2.0]])}, "targets must be integers"),
        ({"targets": torch.tensor([[True, True]])}, "targets must be integers"),
        ({"targets": torch.tensor([[1, 2]] * 2)}, "targets for 2 items"),
        ({"targets": torch.tensor([1])}, r"target_lengths has 2, outside 0 … 1"),
        ({"input_lengths": [7]}, "item 0: input_lengths has 7, outside 0 … 6"),
        ({"target_lengths": [3]}, "item 0: target_lengths has 3"),
        ({"input_lengths": [6, 6]}, "input_lengths must be 1 integers"),
        ({"blank": 4}, "the blank must be a class from 0 to 3, not 4"),
        ({"blank": 1.5}, "the blank must be a class from 0 to 3, not 1.5"),
        ({"log_probs": torch.zeros(6, 1, 0)}, "the blank must be a class, but there are no classes"),
        ({"log_probs": [[[0.0]]]}, "log_probs must be a tensor, not list"),
        ({"targets": [[1, 2]]}, "targets must be a tensor of integers, not list"),
        ({"targets": None}, "targets must be a tensor of integers, not NoneType"),
        ({"reduction": "max"}, "reduction is 'max'; it must be"),
        ({"log_probs": torch.zeros(6)}, "log_probs must be floating"),
        (
            {"log_probs": torch.full((6, 1, 4), math.nan)},
            "item 0: the emission of frame 0 and class 0 is nan",
        ),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    fitting = {
        "log_probs": torch.zeros(6, 1, 4),
        "targets": torch.tensor([[1, 2]]),
        "input_lengths": [6],
        "target_lengths": [2],
    }
    with pytest.raises(GraphError, match=message):
        ctc_loss(**{**fitting, **changes})


@pytest.mark.parametrize("blank", [1.5, -1, "a"])
def test_the_module_refuses_what_is_no_label(blank):
    with pytest.raises(GraphError, match="the blank must be a class"):
        CTCLoss(blank)
