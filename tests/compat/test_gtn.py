"""Programs as they are written for gtn, and what gtn's interface promises."""

import ctypes
import itertools
import math
import pickle
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gtn_ebm
from gtn_ebm.compat import gtn
from gtn_ebm.compat.gtn.autograd import as_engine_graph
from gtn_ebm.errors import GtnEbmError
from tests.enumeration import FINITE_ENERGIES, graphs, log_sum, walks

ROUGH = {"abs": 1e-4, "rel": 1e-4}


def scalar(weight: float) -> gtn.Graph:
    g = gtn.Graph()
    g.add_node(True)
    g.add_node(False, True)
    g.add_arc(0, 1, 0, 0, weight)
    return g


def chain(labels: Sequence[int], calc_grad: bool = False) -> gtn.Graph:
    g = gtn.Graph(calc_grad)
    g.add_node(True, not labels)
    for k, label in enumerate(labels):
        g.add_node(False, k + 1 == len(labels))
        g.add_arc(k, k + 1, label)
    return g


def as_gtn(graph: gtn_ebm.Graph) -> gtn.Graph:
    """The same graph built as a program for gtn builds it; energies of ends are only finite or not there."""
    g = gtn.Graph()
    for start, accept in zip(graph.initial.tolist(), graph.final.tolist(), strict=True):
        g.add_node(start != math.inf, accept != math.inf)
    columns = graph.source, graph.destination, graph.input_labels, graph.output_labels, -graph.energies
    for source, destination, read, written, weight in zip(*(c.tolist() for c in columns), strict=True):
        g.add_arc(source, destination, read, written, weight)
    return g


def without_end_energies(graph: gtn_ebm.Graph) -> gtn_ebm.Graph:
    ends = (torch.where(part.isfinite(), 0.0, torch.inf).to(part) for part in (graph.initial, graph.final))
    return graph.with_energies(graph.energies, *ends)


def slopes(function: Callable[[gtn.Graph], gtn.Graph], g: gtn.Graph, step: float = 1e-2) -> list[float]:
    """Finite differences of a scalar function in each weight."""
    weights, found = g.weights_to_list(), []
    for arc, weight in enumerate(weights):
        ends = []
        for sign in (1, -1):
            g.set_weights([*weights[:arc], weight + sign * step, *weights[arc + 1 :]])
            ends.append(function(g).item())
        found.append((ends[0] - ends[1]) / (2 * step))
    g.set_weights(weights)
    return found


def gradient(function: Callable[[gtn.Graph], gtn.Graph], g: gtn.Graph) -> list[float]:
    g.zero_grad()
    gtn.backward(function(g))
    return g.grad().weights_to_list()


ACYCLIC = graphs(acyclic=True, energies=FINITE_ENERGIES, dtype=torch.float32)
FEW = settings(max_examples=100, deadline=None)


# Programs


def test_quick_start() -> None:
    first = gtn.Graph()
    first.add_node(True)
    first.add_node()
    first.add_node(False, True)
    for arc in [(0, 1, 1), (0, 1, 2), (1, 2, 1), (1, 2, 0)]:
        first.add_arc(*arc)
    second = gtn.Graph()
    second.add_node(True, True)
    second.add_arc(0, 0, 1)
    second.add_arc(0, 0, 0)
    score = gtn.forward_score(gtn.intersect(first, second))
    gtn.backward(score)
    assert score.item() == pytest.approx(math.log(2))
    assert first.grad().weights_to_list() == pytest.approx([1, 0, 0.5, 0.5])
    assert second.grad().weights_to_list() == pytest.approx([1.5, 0.5])


@pytest.mark.parametrize("target", [[1, 2, 2, 1], [0], []])
def test_ctc_is_torchs(target: list[int]) -> None:
    frames, classes = 9, 4
    emissions = torch.randn(frames, classes, generator=torch.Generator().manual_seed(1)).double()
    emissions.requires_grad_()
    theirs = torch.nn.functional.ctc_loss(
        emissions.log_softmax(1), torch.tensor(target), (frames,), (len(target),), blank=3, reduction="sum"
    )
    (slope,) = torch.autograd.grad(theirs, emissions, retain_graph=True)
    log_probs = emissions.log_softmax(1).detach().float().contiguous()
    g = gtn.linear_graph(frames, classes, gtn.Device(gtn.CPU), True)
    g.set_weights(log_probs.data_ptr())
    loss = gtn.criterion.ctc_loss(g, target, 3)
    gtn.backward(loss)
    assert loss.item() == pytest.approx(theirs.item(), rel=1e-5)
    ours = torch.from_numpy(g.grad().weights_to_numpy()).view(frames, classes)
    back = ours - log_probs.exp() * ours.sum(1, keepdim=True)  # through the softmax
    torch.testing.assert_close(back.double(), slope, atol=1e-5, rtol=1e-4)


def test_ctc_of_any_graph_of_log_probabilities_is_that_of_a_linear_one() -> None:
    frames, classes, target = 5, 3, [1, 0]
    weights = np.random.default_rng(0).normal(size=(frames, classes)).astype(np.float32)
    linear = gtn.linear_graph(frames, classes)
    linear.set_weights(weights)
    other = gtn.Graph()
    for frame in range(frames + 1):
        other.add_node(frame == 0, frame == frames)
    for frame, label in itertools.product(range(frames), reversed(range(classes))):
        other.add_arc(frame, frame + 1, label, label, float(weights[frame, label]))
    losses = [gtn.criterion.ctc_loss(g, target, 2) for g in (linear, other)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    for loss in losses:
        gtn.backward(loss)
    of_other = other.grad().weights_to_numpy().reshape(frames, classes)[:, ::-1]
    assert linear.grad().weights_to_numpy().reshape(frames, classes) == pytest.approx(of_other, abs=1e-6)
    assert gtn.criterion.ctc_loss(linear, [1, 7], 2).item() == math.inf


def asg_transitions(classes: int, weights: np.ndarray) -> gtn.Graph:
    g = gtn.Graph()
    g.add_node(True)
    for i in range(classes):
        g.add_node(False, True)
        g.add_arc(0, i + 1, i)
    for i, j in itertools.product(range(classes), repeat=2):
        g.add_arc(j + 1, i + 1, i)
    g.set_weights(weights)
    return g


def test_asg() -> None:
    frames, classes, target = 5, 3, [2, 0, 2]
    made = np.random.default_rng(2)
    emitted = made.normal(size=(frames, classes)).astype(np.float32)
    moved = made.normal(size=(classes + 1, classes)).astype(np.float32)
    transitions = asg_transitions(classes, moved)
    emissions = gtn.linear_graph(frames, classes, True)
    emissions.set_weights(emitted)
    aligned = gtn.Graph(False)
    aligned.add_node(True)
    for k, label in enumerate(target):
        aligned.add_node(False, k + 1 == len(target))
        aligned.add_arc(k, k + 1, label)
        aligned.add_arc(k + 1, k + 1, label)

    def loss(_: gtn.Graph) -> gtn.Graph:
        wanted = gtn.forward_score(gtn.compose(gtn.compose(aligned, transitions), emissions))
        return gtn.subtract(gtn.forward_score(gtn.compose(emissions, transitions)), wanted)

    def score(labels: tuple[int, ...]) -> float:
        moves = moved[0, labels[0]] + sum(moved[1 + i, j] for j, i in itertools.pairwise(labels))
        return float(moves) + float(sum(emitted[t, label] for t, label in enumerate(labels)))

    every = list(itertools.product(range(classes), repeat=frames))
    right = [labels for labels in every if [label for label, _ in itertools.groupby(labels)] == target]
    totals = [np.logaddexp.reduce([score(labels) for labels in which]) for which in (every, right)]
    assert loss(emissions).item() == pytest.approx(totals[0] - totals[1], rel=1e-4)
    assert gradient(loss, emissions) == pytest.approx(slopes(loss, emissions), abs=1e-3)
    assert gradient(loss, transitions) == pytest.approx(slopes(loss, transitions), abs=1e-3)
    best = gtn.viterbi_path(gtn.compose(emissions, transitions)).labels_to_list()
    assert tuple(best) == max(every, key=score)


class Loss(torch.autograd.Function):
    """A loss of torch on graphs, as gtn's documentation shows it."""

    @staticmethod
    def forward(ctx, inputs, targets):  # type: ignore[no-untyped-def]
        batch, frames, classes = inputs.shape
        losses, kept = [None] * batch, [None] * batch

        def one(b: int) -> None:
            emissions = gtn.linear_graph(frames, classes, inputs.requires_grad)
            emissions.set_weights(inputs[b].contiguous().data_ptr())
            target = chain(targets[b])
            for node, label in enumerate(targets[b], start=1):
                target.add_arc(node, node, label)
            target.arc_sort(True)
            wanted = gtn.forward_score(gtn.intersect(target, emissions))
            losses[b] = gtn.subtract(gtn.forward_score(emissions), wanted)
            kept[b] = emissions

        gtn.parallel_for(one, range(batch))
        ctx.kept = losses, kept, inputs.shape
        return torch.tensor([loss.item() for loss in losses])

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        losses, kept, shape = ctx.kept
        found = torch.empty(shape)

        def one(b: int) -> None:
            gtn.backward(losses[b])
            found[b] = torch.from_numpy(kept[b].grad().weights_to_numpy()).view(shape[1:])

        gtn.parallel_for(one, range(shape[0]))
        return grad[:, None, None] * found, None


def test_torch_loss() -> None:
    inputs = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(3), requires_grad=True)
    targets = [[0, 1], [2], [1, 0, 2], [0, 2]]
    losses = Loss.apply(inputs, targets)
    assert losses is not None
    losses.mean().backward()
    every = torch.tensor(list(itertools.product(range(3), repeat=6)))
    expected = []
    for b, target in enumerate(targets):
        scores = inputs[b].double()[torch.arange(6), every].sum(1)
        right = torch.tensor([[k for k, _ in itertools.groupby(row)] == target for row in every.tolist()])
        expected.append(scores.logsumexp(0) - scores[right].logsumexp(0))
    torch.testing.assert_close(losses.double(), torch.stack(expected), atol=1e-5, rtol=1e-5)
    (slope,) = torch.autograd.grad(torch.stack(expected).mean(), inputs)
    torch.testing.assert_close(inputs.grad, slope, atol=1e-5, rtol=1e-4)


def test_linear_chain_crf_learns() -> None:
    features, classes = 3, 2
    transitions, potentials = gtn.Graph(), gtn.Graph()
    for _ in range(classes):
        transitions.add_node(False, True)
    transitions.add_node(True, True)
    for i in range(classes):
        transitions.add_arc(classes, i, i)
        for j in range(classes):
            transitions.add_arc(i, j, j)
    potentials.add_node(True, True)
    for i, j in itertools.product(range(features), range(classes)):
        potentials.add_arc(0, 0, i, j)
    read, written = chain([0, 2, 1]), chain([1, 0, 0])

    def loss(_: gtn.Graph) -> gtn.Graph:
        seen = gtn.compose(read, potentials)
        wanted = gtn.forward_score(gtn.compose(seen, gtn.intersect(written, transitions)))
        return gtn.subtract(gtn.forward_score(gtn.compose(seen, transitions)), wanted)

    assert loss(potentials).item() == pytest.approx(3 * math.log(2))  # eight answers, all alike
    for g in (potentials, transitions):
        assert gradient(loss, g) == pytest.approx(slopes(loss, g), abs=1e-3)
    for _ in range(60):
        potentials.zero_grad()
        transitions.zero_grad()
        gtn.backward(loss(potentials))
        for g in (potentials, transitions):
            weights = g.weights_to_numpy()
            weights -= 0.5 * g.grad().weights_to_numpy()
            g.set_weights(weights)
    assert loss(potentials).item() < 0.2
    best = gtn.viterbi_path(gtn.compose(gtn.compose(read, potentials), transitions))
    assert best.labels_to_list(False) == [1, 0, 0]


PIECES = ["a", "b", "c", "ab", "bc", "ac", "abc"]


def lexicon() -> gtn.Graph:
    words = []
    for number, piece in enumerate(PIECES):
        word = gtn.Graph()
        word.add_node(True)
        for k, letter in enumerate(piece):
            last = k == len(piece) - 1
            word.add_node(False, last)
            word.add_arc(k, k + 1, "abc".index(letter), number if last else gtn.epsilon)
        words.append(word)
    return gtn.closure(gtn.union(words))


def test_word_decompositions() -> None:
    letters = chain([0, 1, 2])
    pieces = gtn.remove(gtn.project_output(gtn.compose(letters, lexicon())))
    assert gtn.epsilon not in pieces.labels_to_list()
    found = {tuple(PIECES[label] for label in walk.inputs) for walk in walks(as_engine_graph(pieces))}
    assert found == {("a", "b", "c"), ("ab", "c"), ("a", "bc"), ("abc",)}
    assert gtn.forward_score(pieces).item() == pytest.approx(math.log(4))
    tokens = []
    for number in range(len(PIECES)):
        token = gtn.Graph()
        token.add_node(True)
        token.add_node(False, True)
        token.add_arc(0, 1, number)
        token.add_arc(1, 1, number, gtn.epsilon)
        tokens.append(token)
    repeats = gtn.closure(gtn.union(tokens))
    alignments = gtn.project_input(gtn.remove(gtn.compose(repeats, pieces)))
    emissions = gtn.linear_graph(5, len(PIECES))
    loss = gtn.subtract(gtn.forward_score(emissions), gtn.forward_score(gtn.intersect(emissions, alignments)))
    # Each of the four is stretched to five frames: C(4, pieces − 1) ways.
    assert loss.item() == pytest.approx(5 * math.log(7) - math.log(6 + 4 + 4 + 1), rel=1e-5)


def test_best_labels_of_a_path_without_any() -> None:
    tokens = gtn.Graph(False)  # 0 is written, 1 is a blank
    tokens.add_node(True, True)
    tokens.add_arc(0, 0, 0, 0)
    tokens.add_arc(0, 0, 1, gtn.epsilon)
    emissions = gtn.linear_graph(3, 2, False)
    emissions.set_weights([0.0, 1.0] * 3)
    path = gtn.viterbi_path(gtn.compose(gtn.remove(gtn.viterbi_path(emissions)), tokens))
    silent = gtn.remove(gtn.project_output(path))
    assert silent.labels_to_list() == []
    assert gtn.forward_score(silent).item() == 3.0  # no arc is left, but nothing is forgotten


# Graphs


def test_graph_is_built_and_read() -> None:
    g = gtn.Graph(False)
    assert [g.add_node(True), g.add_node(), g.add_node(accept=True)] == [0, 1, 2]
    assert g.add_arc(0, 1, 0) == 0
    assert g.add_arc(src_node=1, dst_node=1, label=5) == 1
    assert g.add_arc(1, 2, ilabel=1, olabel=2, weight=2.5) == 2
    assert (g.num_nodes(), g.num_arcs(), g.num_start(), g.num_accept()) == (3, 3, 1, 1)
    assert (g.labels_to_list(), g.labels_to_list(False)) == ([0, 5, 1], [0, 5, 2])
    assert g.weights_to_list() == [0.0, 0.0, 2.5]
    assert repr(g) == "0\n2\n0 1 0 0 0\n1 1 5 5 0\n1 2 1 2 2.5"
    assert g.add_node(True, True) == 3  # grows after it was read
    assert g.add_arc(3, 3, gtn.epsilon) == 3
    assert (g.num_nodes(), g.num_start(), g.num_accept()) == (4, 2, 2)
    assert g.weights_to_list() == [0.0, 0.0, 2.5, 0.0]


def test_weights_are_set_in_place() -> None:
    g = gtn.linear_graph(2, 2)
    address = g.weights()
    for weights in ([1, 2, 3, 4], np.array([[5, 6], [7, 8]]), torch.tensor([9.0, 10, 11, 12])):
        g.set_weights(weights)
        assert g.weights_to_list() == np.asarray(weights).reshape(-1).tolist()
    live = np.frombuffer((ctypes.c_float * 4).from_address(address), np.float32)
    assert live.tolist() == [9, 10, 11, 12]
    live[0] = -1.0
    assert g.weights_to_list()[0] == -1.0
    g.set_weights(address)
    assert g.weights_to_list() == [-1, 10, 11, 12]
    g.weights_to_numpy()[:] = 0.0  # a copy
    assert g.weights_to_list() == [-1, 10, 11, 12]


def test_long_graphs_are_shown_in_part() -> None:
    shown = repr(gtn.linear_graph(30, 1))
    assert shown.startswith("0\n30\n0 1 0 0 0\n")
    assert shown.endswith("9 10 0 0 0\n...")


def test_bad_graphs() -> None:
    g = scalar(1.0)
    for source, destination, label in [(0, 2, 0), (-1, 0, 0), (0, 1, -2), (0, 1, 2**31)]:
        with pytest.raises(ValueError, match=r"not been added|below −1"):
            g.add_arc(source, destination, label)
    with pytest.raises(TypeError):
        g.add_arc(0, 1, 0, 2.0)  # type: ignore[arg-type]  # a weight needs both labels before it
    with pytest.raises(TypeError):
        g.add_arc(0, 1)
    assert g.num_arcs() == 1
    for weights in ([], [1.0, 2.0]):
        with pytest.raises(ValueError, match="weights for 1 arcs"):
            g.set_weights(weights)
    with pytest.raises(ValueError, match="address 0"):
        g.set_weights(0)
    with pytest.raises(ValueError, match="has 4"):
        gtn.linear_graph(2, 2).item()
    for function in (
        gtn.negate,
        lambda graph: gtn.add(graph, scalar(1)),
        lambda graph: gtn.subtract(g, graph),
    ):
        with pytest.raises(RuntimeError, match="one arc"):
            function(gtn.linear_graph(2, 2))


def test_devices() -> None:
    assert gtn.Device(gtn.CUDA, 0) == gtn.Device(gtn.CUDA)
    assert gtn.Device(gtn.CPU) != gtn.Device(gtn.CUDA, 1) != gtn.Device(gtn.CUDA, 0)
    assert not gtn.cuda.is_available()
    g = gtn.scalar_graph(1.5, gtn.Device(gtn.CPU), False)
    assert not g.is_cuda()
    assert not g.calc_grad
    assert gtn.equal(g.cpu(), g)
    for call in (g.cuda, gtn.cuda.device_count, gtn.cuda.get_device, lambda: gtn.cuda.set_device(0)):
        with pytest.raises(ValueError, match="CUDA is not available"):
            call()
    with pytest.raises(ValueError, match="CUDA is not available"):
        gtn.linear_graph(1, 1, gtn.Device(gtn.CUDA))


# Gradients


def test_scalar_functions_and_their_gradients() -> None:
    a, b = scalar(3.0), gtn.scalar_graph(4.0)
    result = gtn.negate(gtn.subtract(gtn.add(a, a), b))
    assert result.item() == -2.0
    gtn.backward(result)
    assert (a.grad().item(), b.grad().item(), result.grad().item()) == (-2.0, 1.0, 1.0)
    assert a.grad().labels_to_list() == a.labels_to_list()


def test_gradients_add_up_over_calls() -> None:
    g = scalar(3.0)
    middle = gtn.negate(g)
    gtn.backward(gtn.add(middle, middle), True)
    assert (middle.grad().item(), g.grad().item()) == (2.0, -2.0)
    gtn.backward(gtn.negate(middle), retain_graph=True)
    # Each call adds its own part only, also beyond a graph that has a gradient.
    assert (middle.grad().item(), g.grad().item()) == (1.0, -1.0)
    g.zero_grad()
    assert not g.is_grad_available()
    gtn.backward(middle, scalar(7.0))
    assert g.grad().item() == -7.0


def test_gradient_that_does_not_exist() -> None:
    g, still = gtn.Graph(False), gtn.scalar_graph(4.0, False)
    g.calc_grad = True
    g.add_node(True)
    g.add_node(False, True)
    g.add_arc(0, 1, 1, 1, 1.0)
    cloned = gtn.clone(g)
    gtn.backward(gtn.add(g, still))
    assert g.grad().item() == 1.0
    for graph, why in ((still, "calc_grad is False"), (cloned, "no gradient yet")):
        with pytest.raises(RuntimeError, match=why) as error:
            graph.grad()
        assert isinstance(error.value, GtnEbmError)
    assert not gtn.add(still, still).calc_grad
    g.calc_grad = False
    assert not g.is_grad_available()


def test_graph_is_retained_only_if_wanted() -> None:
    g = scalar(3.0)
    result = gtn.negate(g)
    gtn.backward(result, True)
    gtn.backward(result)
    assert g.grad().item() == -2.0
    with pytest.raises(ValueError, match="retain_graph=True"):
        gtn.backward(result)
    assert g.grad().item() == -2.0
    with pytest.raises(RuntimeError, match="4 arcs"):
        gtn.backward(gtn.negate(g), gtn.linear_graph(2, 2))


def test_weights_may_change_after_a_function_ran() -> None:
    g = gtn.linear_graph(1, 2)
    score = gtn.forward_score(g)
    g.set_weights([5.0, 0.0])
    gtn.backward(score)
    assert g.grad().weights_to_list() == [0.5, 0.5]


def test_a_long_row_of_functions() -> None:
    g = scalar(0.0)
    result = g
    for _ in range(3000):
        result = gtn.negate(result)
    gtn.backward(result)
    assert g.grad().item() == 1.0


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_torch_without_gradients_is_no_matter(mode: Callable[[], AbstractContextManager]) -> None:
    g = scalar(2.0)
    with mode():
        score = gtn.forward_score(g)
    gtn.backward(score)
    assert g.grad().item() == 1.0


@FEW
@given(ACYCLIC, ACYCLIC)
def test_gradients_are_slopes(one: gtn_ebm.Graph, other: gtn_ebm.Graph) -> None:
    g, fixed = as_gtn(one), as_gtn(other)
    letters = gtn.linear_graph(2, 2, False)

    def through(h: gtn.Graph) -> gtn.Graph:
        repeated = gtn.closure(gtn.concat(chain([0]), gtn.project_input(h)))
        joined = gtn.union([gtn.concat([h, fixed, h]), repeated, fixed])
        return gtn.forward_score(gtn.compose(letters, gtn.remove(joined)))

    if gtn.forward_score(through(g)).item() > -math.inf:
        assert gradient(through, g) == pytest.approx(slopes(through, g), abs=3e-3)


# Functions


def test_states_and_arcs_are_gtns() -> None:
    first, second = gtn.Graph(), gtn.Graph()
    for g in (first, second):
        g.add_node(True)
        g.add_node(True, True)
        g.add_node(False, True)
        g.add_arc(0, 2, 4, 4, 0.5)
    joined = gtn.concat([first, second])
    assert repr(joined).split("\n") == [
        "0 1", "4 5", "0 2 4 4 0.5", "3 5 4 4 0.5",
        "1 3 -1 -1 0", "1 4 -1 -1 0", "2 3 -1 -1 0", "2 4 -1 -1 0",
    ]  # fmt: skip
    assert gtn.equal(gtn.concat(first, second), joined)
    starred = gtn.closure(first)
    assert repr(starred).split("\n") == [
        "0", "0", "1 3 4 4 0.5", "0 1 -1 -1 0", "0 2 -1 -1 0", "2 0 -1 -1 0", "3 0 -1 -1 0",
    ]  # fmt: skip
    assert repr(gtn.union([first, second])).split("\n")[:2] == ["0 1 3 4", "1 2 4 5"]


def test_no_graph_and_empty_graphs() -> None:
    nothing, silence = gtn.Graph(), gtn.Graph()
    silence.add_node(True, True)
    assert gtn.equal(gtn.concat([]), silence)
    assert gtn.equal(gtn.union([]), nothing)
    assert gtn.equal(gtn.closure(nothing), silence)
    assert gtn.equal(gtn.compose(nothing, silence), nothing)
    assert gtn.equal(gtn.viterbi_path(nothing), nothing)
    assert gtn.equal(gtn.viterbi_path(silence), silence)
    assert gtn.forward_score(nothing).item() == gtn.viterbi_score(nothing).item() == -math.inf
    assert gtn.forward_score(silence).item() == 0.0
    score = gtn.forward_score(gtn.intersect(scalar(1.0), gtn.linear_graph(2, 1)))
    gtn.backward(score)
    assert score.item() == -math.inf


def test_gradient_of_no_path_is_zero() -> None:
    g = scalar(1.0)
    gtn.backward(gtn.forward_score(gtn.intersect(g, gtn.linear_graph(2, 1))))
    assert g.grad().weights_to_list() == [0.0]
    h = scalar(-math.inf)
    gtn.backward(gtn.forward_score(h))
    assert h.grad().weights_to_list() == [0.0]


def test_cycles() -> None:
    g = scalar(1.0)
    g.add_node()
    g.add_arc(2, 2, 0)
    assert gtn.forward_score(g).item() == 1.0  # no path goes there
    g.add_arc(0, 0, 0, 0, -1.0)
    for function in (gtn.forward_score, gtn.viterbi_score, gtn.viterbi_path):
        with pytest.raises(ValueError, match="cycle"):
            function(g)


def test_intersect_is_for_acceptors() -> None:
    g = scalar(0.0)
    g.add_arc(0, 1, 0, 1)
    with pytest.raises(ValueError, match="project it or compose"):
        gtn.intersect(g, scalar(0.0))


@FEW
@given(ACYCLIC)
def test_scores_are_those_of_all_paths(graph: gtn_ebm.Graph) -> None:
    g, found = as_gtn(graph), walks(without_end_energies(graph))
    assert gtn.forward_score(g).item() == pytest.approx(-log_sum(found, 1.0), **ROUGH)
    best = max((-walk.energy for walk in found), default=-math.inf)
    assert gtn.viterbi_score(g).item() == pytest.approx(best, **ROUGH)
    path = gtn.viterbi_path(g)
    assert gtn.viterbi_score(path).item() == pytest.approx(best, **ROUGH)
    assert sum(path.weights_to_list()) == pytest.approx(best if found else 0.0, **ROUGH)


@FEW
@given(ACYCLIC, ACYCLIC)
def test_composition_counts_each_pair_of_paths_once(one: gtn_ebm.Graph, other: gtn_ebm.Graph) -> None:
    first, second = (walks(without_end_energies(graph)) for graph in (one, other))
    scores = [-(a.energy + b.energy) for a in first for b in second if a.outputs == b.inputs]
    expected = np.logaddexp.reduce(scores) if scores else -math.inf
    composed = gtn.compose(as_gtn(one), as_gtn(other))
    assert gtn.forward_score(composed).item() == pytest.approx(float(expected), **ROUGH)


@FEW
@given(ACYCLIC, st.sampled_from([(), (0,), (1, 0)]))
def test_remove_keeps_scores(graph: gtn_ebm.Graph, labels: tuple[int, ...]) -> None:
    g = as_gtn(graph)
    removed = gtn.remove(g, *labels)
    kept = zip(removed.labels_to_list(), removed.labels_to_list(False), strict=True)
    assert {(): (gtn.epsilon, gtn.epsilon), (0,): (0, 0), (1, 0): (1, 0)}[labels] not in kept
    assert gtn.forward_score(removed).item() == pytest.approx(gtn.forward_score(g).item(), **ROUGH)
    expected = gradient(gtn.forward_score, g)
    if g.num_arcs():
        assert gradient(lambda h: gtn.forward_score(gtn.remove(h, *labels)), g) == pytest.approx(
            expected, abs=1e-5
        )


def built(accepts: set[int], nodes: int, arcs: list[tuple[int, int, int]]) -> gtn.Graph:
    g = gtn.Graph()
    for node in range(nodes):
        g.add_node(node == 0, node in accepts)
    for arc in arcs:
        g.add_arc(*arc)
    return g


def test_remove_makes_the_graph_that_gtn_makes() -> None:
    silent = gtn.epsilon
    before = built({2}, 3, [(0, 1, silent), (1, 2, 0)])
    assert gtn.equal(gtn.remove(before), built({1}, 2, [(0, 1, 0)]))
    behind = built({3}, 4, [(0, 1, 0), (0, 2, 1), (1, 3, silent), (2, 3, silent)])
    assert gtn.equal(gtn.remove(behind), built({1, 2}, 3, [(0, 1, 0), (0, 2, 1)]))
    between = built({2}, 3, [(0, 1, 3), (1, 2, silent), (1, 2, 4), (2, 2, 5)])
    expected = built({1, 2}, 3, [(0, 1, 3), (1, 2, 4), (1, 2, 5), (2, 2, 5)])
    assert gtn.equal(gtn.remove(between), expected)


def test_remove_of_arcs_into_an_accept_node() -> None:
    g = chain([0, gtn.epsilon], calc_grad=True)
    g.set_weights([1.0, 2.0])
    removed = gtn.remove(g)
    assert removed.labels_to_list() == [0]
    assert removed.weights_to_list() == [1.0]
    assert gtn.forward_score(removed).item() == 3.0
    gtn.backward(gtn.forward_score(gtn.concat(removed, removed)))
    assert g.grad().weights_to_list() == [2.0, 2.0]


# Comparison, samples, files, pictures, lists


def test_pickles() -> None:
    g = gtn.linear_graph(2, 3)
    assert gtn.equal(pickle.loads(pickle.dumps(g)), g)


def test_equal() -> None:
    g = gtn.linear_graph(2, 2)
    other = gtn.linear_graph(2, 2)
    assert gtn.equal(g, other)
    other.set_weights([0, 0, 0, 1])
    assert not gtn.equal(g, other)
    turned = gtn.Graph()
    for start, accept in ((True, False), (False, False), (False, True)):
        turned.add_node(start, accept)
    for arc in ((1, 2, 1), (1, 2, 0), (0, 1, 0), (0, 1, 1)):
        turned.add_arc(*arc)
    assert gtn.equal(g, turned)  # arcs in any order
    turned.add_arc(0, 1, 1)
    assert not gtn.equal(g, turned)


def test_isomorphic() -> None:
    one, other = gtn.Graph(), gtn.Graph()
    for start, accept in ((True, False), (False, False), (False, True)):
        one.add_node(start, accept)
        other.add_node(accept, start)
    one.add_arc(0, 2, 0, 0, 0.5)
    one.add_arc(2, 1, 1, 3, 0.25)
    other.add_arc(2, 0, 1, 3, 0.25)
    assert not gtn.isomorphic(one, other)
    other = gtn.Graph()
    for start, accept in ((False, True), (False, False), (True, False)):
        other.add_node(start, accept)
    other.add_arc(0, 1, 1, 3, 0.25)
    other.add_arc(2, 0, 0, 0, 0.5)
    assert gtn.isomorphic(one, other)
    assert not gtn.equal(one, other)
    other.set_weights([0.25, 0.75])
    assert not gtn.isomorphic(one, other)


def test_sample() -> None:
    g = gtn.Graph()
    g.add_node(True)
    g.add_node()
    g.add_node(False, True)
    for arc in ((0, 0, 0), (0, 1, 1), (1, 0, 2), (1, 2, 3)):
        g.add_arc(*arc)
    random.seed(4)
    lengths = set()
    for _ in range(20):
        g.zero_grad()
        path = gtn.sample(g)
        gtn.backward(path)
        labels = path.labels_to_list()
        assert labels[-1] == 3
        assert g.grad().weights_to_list() == [labels.count(arc) for arc in range(4)]
        lengths.add(len(labels))
    assert len(lengths) > 3
    assert gtn.sample(g, max_length=1).num_nodes() == 0
    assert gtn.equal(gtn.sample(gtn.Graph()), gtn.Graph())


def test_random_equivalence() -> None:
    random.seed(5)
    g = gtn.linear_graph(3, 2)
    g.set_weights([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    other = gtn.concat([gtn.linear_graph(1, 2), gtn.linear_graph(2, 2)])
    assert not gtn.rand_equivalent(g, other)
    other.set_weights([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.0])
    assert gtn.rand_equivalent(g, other, num_samples=50, tol=1e-4)
    g.add_arc(0, 1, 7)
    assert not gtn.rand_equivalent(g, other)


def test_files(tmp_path: Path) -> None:
    g = gtn.Graph()
    for start, accept in ((True, False), (True, False), (False, True), (False, True)):
        g.add_node(start, accept)
    for arc in ((0, 1, 0, 1, 1.1), (1, 2, 1, 2, 2.1), (2, 3, 4, gtn.epsilon, -math.inf)):
        g.add_arc(*arc)
    gtn.save(tmp_path / "g.bin", g)
    gtn.savetxt(str(tmp_path / "g.txt"), g)
    assert (tmp_path / "g.txt").read_text().splitlines()[:3] == ["0 1", "2 3", "0 1 0 1 1.1"]
    for load, name in ((gtn.load, "g.bin"), (gtn.loadtxt, "g.txt"), (gtn.load, "g.txt")):
        read = load(str(tmp_path / name))
        assert gtn.equal(g, read)
        assert read.calc_grad
    gtn.save(tmp_path / "empty.bin", gtn.Graph())
    assert gtn.equal(gtn.load(tmp_path / "empty.bin"), gtn.Graph())
    for text in ("", "1", "1 0 0\n0 1", "0\n1\n0 2", "0\n1\n0 1 2 3 4 5"):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(ValueError, match="bad"):
            gtn.loadtxt(tmp_path / "bad")
    for missing in (gtn.load, gtn.loadtxt):
        with pytest.raises(ValueError, match="nowhere"):
            missing(str(tmp_path / "nowhere"))


def test_pictures(tmp_path: Path) -> None:
    g = scalar(0.5)
    g.add_arc(0, 1, gtn.epsilon, 1)
    gtn.write_dot(g, tmp_path / "g.dot", {0: 'a"'}, {0: "x", 1: "y"})
    source = (tmp_path / "g.dot").read_text()
    assert '0 -> 1 [label = "a\\":x/0.5"];' in source
    assert '[label = "ε:y/0"]' in source
    gtn.draw(graph=g, file_name=str(tmp_path / "g.svg"))
    assert "<svg" in (tmp_path / "g.svg").read_text()
    with pytest.raises(ValueError, match="label 0 has no name"):
        gtn.write_dot(g, tmp_path / "g.dot", {1: "b"})


def test_lists_go_side_by_side() -> None:
    ones, twos = ([gtn.scalar_graph(k) for k in (1.0, 2.0, 3.0)] for _ in range(2))
    assert [g.item() for g in gtn.add(ones, twos)] == [2.0, 4.0, 6.0]
    assert [g.item() for g in gtn.subtract(graphs1=ones, graphs2=[gtn.scalar_graph(1.0)])] == [0.0, 1.0, 2.0]
    assert [g.num_arcs() for g in gtn.concat([ones, ones])] == [5, 5]
    assert [g.num_arcs() for g in gtn.concat(ones, twos)] == [3, 3, 3]
    assert [g.num_arcs() for g in gtn.union([ones, twos[:1]])] == [3, 1]
    sums = gtn.add(ones, twos)
    gtn.backward(sums, [gtn.scalar_graph(5.0)], [False])
    assert [g.grad().item() for g in ones] == [5.0, 5.0, 5.0]
    with pytest.raises(RuntimeError, match="3, 2"):
        gtn.add(ones, twos[:2])


def test_parallel_for() -> None:
    shared, scores = gtn.linear_graph(2, 3), [0.0] * 20
    torch.set_num_threads(4)

    def one(k: int) -> None:
        score = gtn.forward_score(gtn.intersect(shared, gtn.linear_graph(2, k % 3 + 1)))
        gtn.backward(score)
        scores[k] = score.item()

    try:
        gtn.parallel_for(one, range(20))
    finally:
        torch.set_num_threads(1)
    assert scores == pytest.approx([2 * math.log(k % 3 + 1) for k in range(20)])
    assert sum(shared.grad().weights_to_list()) == pytest.approx(40)
    with pytest.raises(ZeroDivisionError):
        gtn.parallel_for(lambda k: 1 // k, [2, 1, 0])
