import math
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import GraphError, best_path, free_energy
from gtn_ebm.dense import TransducerLoss, transducer_graph, transducer_loss


def over_alignments(log_probabilities, target, blank):
    """−log of the sum over all orders of T blanks, the last of them at the end, and U labels."""
    frames, places, _ = log_probabilities.shape
    energies = []
    for labels_at in combinations(range(frames - 1 + len(target)), len(target)) if frames else ():
        t = u = 0
        energy = 0.0
        for step in range(frames + len(target)):
            read = target[u] if step in labels_at else blank
            energy -= float(log_probabilities[t, u, read])
            t, u = (t, u + 1) if step in labels_at else (t + 1, u)
        assert (t, u) == (frames, places - 1)
        energies.append(energy)
    return -math.log(math.fsum(math.exp(-energy) for energy in energies)) if energies else math.inf


def random_batch(frames, labels, classes=4, dtype=torch.float64, seed=0):
    """Items with these numbers of frames and labels, padded with what must not matter."""
    torch.manual_seed(seed)
    items = len(frames)
    logits = torch.randn(items, max(frames) + 1, max(labels) + 2, classes, dtype=dtype)
    targets = torch.randint(0, classes - 1, (items, max(labels) + 1))
    for item, length in enumerate(labels):
        targets[item, length:] = 10**6
    return logits, targets, torch.tensor(frames), torch.tensor(labels)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), min_size=1, max_size=3),
    st.integers(-3, 2),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_the_loss_sums_over_all_alignments(sizes, blank, fused, seed):
    logits, targets, *lengths = random_batch(*zip(*sizes, strict=True), classes=3, seed=seed)
    losses = transducer_loss(logits, targets, *lengths, blank, reduction="none", fused_log_softmax=fused)
    for item, (frames, labels) in enumerate(sizes):
        used = logits[item, :frames, : labels + 1]
        used = used.log_softmax(-1) if fused else used
        target = targets[item, :labels]
        expected = over_alignments(used, target.tolist(), blank % 3)
        assert float(losses[item]) == pytest.approx(expected, rel=1e-12)
        assert float(free_energy(transducer_graph(used, target, blank))) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("clamp", [-1.0, 0.2])
def test_first_and_second_derivatives(fused, clamp):
    logits, targets, *lengths = random_batch([2, 1, 3], [1, 0, 2], classes=3)
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)

    def loss(logits, clamp=clamp):
        each = transducer_loss(logits, targets, *lengths, 1, clamp, "none", fused)
        return (each * weights).sum()

    logits.requires_grad_()
    if clamp < 0:
        assert torch.autograd.gradcheck(loss, logits)
        assert torch.autograd.gradgradcheck(loss, logits)
    # Both ways to the gradient, by kernels and by graphs, clamp each item's own.
    plain, twice = (
        torch.autograd.grad(loss(logits), logits, create_graph=create)[0] for create in (False, True)
    )
    torch.testing.assert_close(plain, twice.detach(), rtol=0, atol=1e-14)
    if clamp > 0:
        free = torch.autograd.grad(loss(logits, -1.0), logits)[0]
        factor = weights[:, None, None, None]
        torch.testing.assert_close(plain, (free / factor).clamp(-clamp, clamp) * factor, rtol=0, atol=1e-14)
        assert (plain != free).any()


def test_reductions_and_the_module():
    batch = random_batch([3, 2], [1, 2])
    each = transducer_loss(*batch, reduction="none")
    assert torch.equal(TransducerLoss()(*batch), each.mean())
    assert torch.equal(TransducerLoss(reduction="sum")(*batch), each.sum())


def test_what_is_impossible_costs_infinity_or_nothing():
    logits, targets, _, labels = random_batch([3, 3, 3], [1, 1, 1])
    frames = torch.tensor([3, 0, 3])
    logits[2, :, 0, targets[2, 0]] = -math.inf  # its only label cannot be read
    logits.requires_grad_()
    losses = transducer_loss(logits, targets, frames, labels, reduction="none")
    assert losses.isinf().tolist() == [False, True, True]
    losses.sum().backward()
    assert logits.grad[0].any()
    assert not logits.grad[1:].any()
    finite = transducer_loss(logits, targets, frames, labels, reduction="none", zero_infinity=True)
    assert torch.equal(finite, losses.masked_fill(losses.isinf(), 0.0))


def test_impossible_classes_beside_the_way_have_no_gradient():
    logits, targets, *lengths = random_batch([3], [1], classes=5)
    targets[0, 0] = 2
    logits[..., 0] = -math.inf
    logits.requires_grad_()
    loss = transducer_loss(logits, targets, *lengths)
    loss.backward()
    rest = transducer_loss(logits[..., 1:].detach(), targets - 1, *lengths)
    assert float(loss.detach()) == pytest.approx(float(rest))
    assert not logits.grad[..., 0].any()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("scale", [1.0, 15.0])
def test_float32_keeps_its_precision(scale):
    logits, targets, *lengths = random_batch([60, 45], [20, 12], classes=70, dtype=torch.float32)
    logits = (scale * logits).requires_grad_()
    exact = logits.detach().double().requires_grad_()
    for values in (logits, exact):
        transducer_loss(values, targets, *lengths, reduction="sum").backward()
    torch.testing.assert_close(logits.grad.double(), exact.grad, rtol=0, atol=3e-7)
    torch.testing.assert_close(
        transducer_loss(logits, targets, *lengths).double(),
        transducer_loss(exact, targets, *lengths),
        rtol=1e-6,
        atol=0,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back_as_it_came(dtype):
    logits, targets, *lengths = random_batch([5, 4], [2, 3], dtype=dtype)
    exact = logits.double().requires_grad_()
    logits.requires_grad_()
    for values in (logits, exact):
        loss = transducer_loss(values, targets, *lengths, reduction="sum")
        assert loss.dtype == values.dtype
        loss.backward()
    torch.testing.assert_close(logits.grad, exact.grad.to(dtype), rtol=1e-2, atol=1e-3)


def test_any_strides_and_several_threads():
    logits, targets, *lengths = random_batch([4, 3], [2, 2], dtype=torch.float32)
    strided = logits.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)

    def gradient(values):
        values = values.detach().requires_grad_()
        transducer_loss(values, targets, *lengths).backward()
        return values.grad

    expected = gradient(logits)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(found, expected) for found in pool.map(gradient, [strided, logits] * 8))


def test_the_best_path_of_the_graph_is_an_alignment():
    logits = torch.full((3, 3, 4), -5.0)
    for t, u, read in ((0, 0, 3), (1, 0, 2), (1, 1, 1), (1, 2, 3), (2, 2, 3)):
        logits[t, u, read] = 5.0
    graph = transducer_graph(logits.log_softmax(-1), torch.tensor([2, 1]))
    path = best_path(graph)
    assert path.output_labels == [2, 1]
    assert graph.attributes["frame"][path.arcs].tolist() == [0, 1, 1, 1, 2]


def test_an_empty_batch_and_no_frames():
    assert (
        transducer_loss(
            torch.zeros(0, 3, 2, 4), torch.zeros(0, 1).long(), *torch.zeros(2, 0).long(), reduction="sum"
        )
        == 0
    )
    logits = torch.zeros(0, 3, 2, 4, requires_grad=True)
    loss = transducer_loss(logits, torch.zeros(0, 1).long(), [], [], reduction="sum")
    (gradient,) = torch.autograd.grad(loss, logits, create_graph=True)
    gradient.sum().backward()
    assert logits.grad.shape == (0, 3, 2, 4)
    assert free_energy(transducer_graph(torch.zeros(0, 2, 3), torch.tensor([0]))) == math.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(2, 3, 4)}, "logits must be"),
        ({"logits": torch.zeros(2, 3, 2, 4).long()}, "logits must be"),
        ({"logits": torch.full((2, 3, 2, 4), math.nan)}, "item 0 has a logit that is NaN"),
        ({"logits": torch.full((2, 3, 2, 4), math.inf)}, r"NaN or \+inf"),
        ({"targets": torch.zeros(2, 2).long()}, r"targets must be integers of shape \[2, 1\]"),
        ({"targets": torch.tensor([[4], [0]])}, "item 0 has a label outside the classes 0 to 3"),
        ({"logit_lengths": torch.tensor([3, 4])}, "logit_lengths of item 1 is 4"),
        ({"target_lengths": torch.tensor([-1, 1])}, "target_lengths of item 0 is -1"),
        ({"target_lengths": torch.tensor([1.0, 1.0])}, "target_lengths must be integers"),
        ({"logits": None}, "logits must be a tensor, not NoneType"),
        ({"logit_lengths": [[1], [2, 3]]}, "logit_lengths must be an array of integers"),
        ({"blank": 4}, "the blank is class 4"),
        ({"blank": 1.5}, "the blank must be a class or −1 for the last, not 1.5"),
        ({"clamp": "a"}, "clamp must be a number, not a"),
        ({"clamp": math.nan}, "clamp must be a number, not nan"),
        ({"reduction": "average"}, "reduction is 'average'"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    fitting = {
        "logits": torch.zeros(2, 3, 2, 4),
        "targets": torch.zeros(2, 1).long(),
        "logit_lengths": torch.tensor([3, 2]),
        "target_lengths": torch.tensor([1, 0]),
    }
    transducer_loss(**fitting)
    with pytest.raises(GraphError, match=message):
        transducer_loss(**{**fitting, **change})


def test_the_module_refuses_a_clamp_that_is_no_number():
    for clamp in ("a", math.nan, None):
        with pytest.raises(GraphError, match="clamp must be a number"):
            TransducerLoss(clamp=clamp)


def test_the_graph_needs_a_target_that_fits():
    with pytest.raises(GraphError, match="3 places need a target of 2 labels"):
        transducer_graph(torch.zeros(4, 3, 5), torch.tensor([0]))
    cases = [([5], -1, "class from 0 to 4"), ([-1], -1, "labels ≥ 0"), ([0], 5, "the blank is class 5")]
    for target, blank, message in cases:
        with pytest.raises(GraphError, match=message):
            transducer_graph(torch.zeros(4, 2, 5), target, blank)
    with pytest.raises(GraphError, match=r"a floating tensor \[frames"):
        transducer_graph(torch.zeros(4, 5), [])


def test_torchaudio_says_the_same():
    reason = "torchaudio imports only beside a torch built for its CUDA"
    functional = pytest.importorskip("torchaudio.functional", reason=reason, exc_type=ImportError)
    torch.manual_seed(0)
    logits = torch.randn(3, 7, 5, 6, requires_grad=True)
    rest = torch.randint(0, 5, (3, 4)), torch.tensor([7, 5, 6]), torch.tensor([4, 2, 0])
    found = []
    for loss, of_rest in ((transducer_loss, rest), (functional.rnnt_loss, [part.int() for part in rest])):
        logits.grad = None
        each = loss(logits, *of_rest, clamp=0.1, reduction="none")
        each.sum().backward()
        found.append((each.detach(), logits.grad))
    torch.testing.assert_close(*found)
