import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import GraphError, best_path, free_energy
from gtn_ebm.crf import SemiMarkovCRF, linear_chain_crf
from gtn_ebm.factor_graph import FactorGraph

BETAS = st.sampled_from([0.25, 1.0, 3.0])
MODERATE = st.one_of(st.floats(-3.0, 3.0, allow_subnormal=False), st.just(math.inf))
FAR_APART = st.one_of(MODERATE, st.sampled_from([40.0, -400.0, 400.0, 2000.0, -2000.0]))
NAMES = ("segments", "transitions", "initial", "final")


@st.composite
def crfs(draw, energies, most=3):
    """Up to three sequences of up to four frames; what lies beyond a sequence's end is NaN."""
    batch, frames = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    longest, labels = draw(st.integers(1, most)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    few = np.array(draw(st.lists(energies, min_size=8, max_size=8)))

    def some(*shape):
        values = few[rng.integers(0, len(few), shape)] + rng.uniform(-1.0, 1.0, shape)
        return torch.from_numpy(np.array(values, np.float64))

    lengths = draw(st.lists(st.integers(1, frames), min_size=batch, max_size=batch))
    segments = some(batch, frames, longest, labels)
    for sequence, length in zip(segments, lengths, strict=True):
        sequence[length:] = math.nan
        for k in range(1, longest):
            sequence[max(length - k, 0) :, k] = math.nan
    return SemiMarkovCRF(segments, some(labels, labels), some(labels), some(labels), lengths)


def segmentations(crf, k):
    """Every way to cut sequence k, as lists of (begin, frames, label)."""
    _, _, longest, labels = crf.segments.shape

    def go_on(begin):
        if begin == crf.lengths[k]:
            yield []
        for frames in range(1, min(longest, crf.lengths[k] - begin) + 1):
            for label in range(labels):
                for rest in go_on(begin + frames):
                    yield [(begin, frames, label), *rest]

    return list(go_on(0))


def energy_of(crf, k, segmentation):
    labels = [label for _, _, label in segmentation]
    along = sum(crf.segments[k, t, frames - 1, label] for t, frames, label in segmentation)
    across = sum((crf.transitions[pair] for pair in pairwise(labels)), torch.tensor(0.0))
    return crf.initial[labels[0]] + along + across + crf.final[labels[-1]]


def written_out(crf, beta):
    energies = [
        torch.stack([energy_of(crf, k, s) for s in segmentations(crf, k)]) for k in range(len(crf.lengths))
    ]
    return [-torch.logsumexp(-beta * of_one, 0) / beta for of_one in energies]


def requiring_grad(crf):
    parts = [getattr(crf, name).clone().requires_grad_() for name in NAMES]
    return SemiMarkovCRF(*parts, crf.lengths), parts


def check(crf, beta):
    ours, parts = requiring_grad(crf)
    theirs, their_parts = requiring_grad(crf)
    found, each = ours.free_energy(beta), written_out(theirs, beta)
    expected = torch.stack(each).detach()
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-9)
    finite = expected.isfinite()
    weights = torch.arange(1.0, 1.0 + len(found), dtype=torch.float64)
    found.backward(weights.where(finite, 1.0))
    for k in finite.nonzero().ravel().tolist():  # one by one, for +inf has no gradient in torch
        (each[k] * weights[k]).backward()
    for part, their_part in zip(parts, their_parts, strict=True):
        gradient = torch.zeros_like(part) if their_part.grad is None else their_part.grad
        torch.testing.assert_close(part.grad, gradient, rtol=0, atol=1e-9)


@settings(max_examples=250, deadline=None)
@given(crfs(MODERATE), BETAS)
def test_value_and_gradients_are_those_of_all_segmentations_written_out(crf, beta):
    check(crf, beta)


@settings(max_examples=250, deadline=None)
@given(crfs(FAR_APART), BETAS)
def test_energies_however_far_apart_are_summed_exactly(crf, beta):
    check(crf, beta)


@settings(max_examples=60, deadline=None)
@given(crfs(FAR_APART), st.sampled_from([1.0, math.inf]))
def test_graphs_have_the_segmentations_as_paths(crf, beta):
    expected = torch.stack(written_out(crf, beta)) if beta < math.inf else crf.free_energy(math.inf)
    graphs = crf.graphs()
    torch.testing.assert_close(free_energy(graphs, beta), expected, rtol=1e-11, atol=1e-9)
    for k, path in enumerate(map(best_path, graphs)):
        least = min(segmentations(crf, k), key=lambda s: energy_of(crf, k, s).item())
        energy = energy_of(crf, k, least).item()
        if path is None:
            assert energy == math.inf
            continue
        assert path.energy.item() == pytest.approx(energy, rel=1e-12, abs=1e-9)
        begin, end = (graphs[k].attributes[name][path.arcs].tolist() for name in ("begin", "end"))
        cut = [(b, e - b, c) for b, e, c in zip(begin, end, path.input_labels, strict=True)]
        assert energy_of(crf, k, cut).item() == pytest.approx(energy, rel=1e-12, abs=1e-9)
        labels, durations = torch.tensor([[c for *_, c in cut]]), torch.tensor([[n for _, n, _ in cut]])
        alone = SemiMarkovCRF(
            crf.segments[k : k + 1], crf.transitions, crf.initial, crf.final, crf.lengths[k : k + 1]
        )
        assert alone.energy(labels, durations).item() == pytest.approx(energy, rel=1e-12, abs=1e-9)


def random_crf(seed=0, batch=2, frames=4, longest=2, labels=2, lengths=(4, 3)):
    generator = torch.Generator().manual_seed(seed)
    shapes = (batch, frames, longest, labels), (labels, labels), (labels,), (labels,)
    parts = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return SemiMarkovCRF(*parts, lengths)


def test_first_and_second_derivatives():
    _, parts = requiring_grad(random_crf())

    def free(*parts):
        return SemiMarkovCRF(*parts, [4, 3]).free_energy(1.5)

    assert torch.autograd.gradcheck(free, parts)
    assert torch.autograd.gradgradcheck(free, parts)
    assert torch.autograd.gradgradcheck(
        lambda segments: free(segments, *(p.detach() for p in parts[1:])), parts[:1]
    )


def test_linear_chain_is_a_chain_of_factors():
    generator = torch.Generator().manual_seed(3)
    emissions, transitions = torch.randn(1, 5, 3, generator=generator), torch.randn(3, 3, generator=generator)
    factors = [([f"y{t}"], emissions[0, t]) for t in range(5)]
    factors += [([f"y{t}", f"y{t + 1}"], transitions) for t in range(4)]
    crf = linear_chain_crf(emissions, transitions)
    model = FactorGraph(factors)
    assert crf.free_energy().item() == pytest.approx(model.free_energy().item(), rel=1e-6)
    best = model.best_assignment()
    assert best_path(crf.graphs()[0]).input_labels == list(best.values.values())
    labels = torch.tensor([list(best.values.values())])
    assert crf.energy(labels).item() == pytest.approx(best.energy.item(), rel=1e-6)


def test_energies_of_answers_have_gradients_and_ignore_what_lies_beyond():
    crf, parts = requiring_grad(random_crf())
    labels, durations = torch.tensor([[0, 1, 1], [1, 0, 9]]), torch.tensor([[1, 2, 1], [2, 1, 0]])
    energy = crf.energy(labels, durations)
    expected = torch.stack(
        [energy_of(crf, 0, [(0, 1, 0), (1, 2, 1), (3, 1, 1)]), energy_of(crf, 1, [(0, 2, 1), (2, 1, 0)])]
    )
    torch.testing.assert_close(energy, expected)
    found, wanted = (torch.autograd.grad(e.sum(), parts, retain_graph=True) for e in (energy, expected))
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_long_sequences_neither_underflow_nor_overflow():
    for shift in (-3.0, 0.0, 60.0):
        emissions = torch.randn(1, 20_000, 4, generator=torch.Generator().manual_seed(0)).double()
        crf = linear_chain_crf(emissions + shift, torch.zeros(4, 4).double())
        expected = -torch.logsumexp(-emissions - shift, 2).sum()
        assert crf.free_energy().item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_answers_come_in_the_dtype_of_the_energies(dtype):
    emissions = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
    free = linear_chain_crf(emissions, torch.zeros(3, 3, dtype=dtype)).free_energy()
    free.sum().backward()
    exact = emissions.detach().double()
    assert free.dtype == emissions.grad.dtype == dtype
    torch.testing.assert_close(free, -torch.logsumexp(-exact, 2).sum(1).to(dtype))
    torch.testing.assert_close(emissions.grad, exact.neg().softmax(2).to(dtype))


def test_no_segmentation_is_inf_without_a_gradient():
    emissions = torch.full((1, 3, 2), math.inf, requires_grad=True)
    free = linear_chain_crf(emissions, torch.zeros(2, 2)).free_energy()
    assert free.item() == math.inf
    free.backward()
    assert emissions.grad.tolist() == torch.zeros(1, 3, 2).tolist()


SEGMENTS, TRANSITIONS = torch.zeros(1, 3, 2, 2), torch.zeros(2, 2)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((torch.zeros(1, 3, 2), TRANSITIONS), r"\[sequences, frames, longest, labels\]"),
        ((torch.zeros(1, 3, 0, 2), TRANSITIONS), "none of the last three 0"),
        ((SEGMENTS.long(), TRANSITIONS), "floating"),
        ((SEGMENTS, torch.zeros(3, 3)), r"transitions must be of shape \[2, 2\]"),
        ((SEGMENTS, TRANSITIONS.double()), r"transitions must be .* torch.float32"),
        ((SEGMENTS, TRANSITIONS, torch.zeros(3)), "initial must be"),
        ((SEGMENTS, TRANSITIONS, None, torch.zeros(3)), "final must be"),
        ((SEGMENTS, TRANSITIONS, None, None, [4]), "from 1 to 3"),
        ((SEGMENTS, TRANSITIONS, None, None, [0]), "from 1 to 3"),
        ((SEGMENTS, TRANSITIONS, None, None, [3, 3]), "1 numbers"),
    ],
)
def test_what_does_not_fit_is_refused(parts, message):
    with pytest.raises(GraphError, match=message):
        SemiMarkovCRF(*parts)


@pytest.mark.parametrize("emissions", [torch.zeros(3, 2), None])
def test_emissions_without_a_batch_are_refused(emissions):
    with pytest.raises(GraphError, match="sequences, frames, labels"):
        linear_chain_crf(emissions, TRANSITIONS)


@pytest.mark.parametrize("lengths", [3, [2.5], [3, 3], [0], torch.tensor([1.0])])
def test_lengths_that_are_none_are_refused(lengths):
    with pytest.raises(GraphError, match="lengths must be"):
        linear_chain_crf(torch.zeros(1, 3, 2), TRANSITIONS, lengths=lengths)


@pytest.mark.parametrize(
    ("labels", "durations", "message"),
    [
        ([[0, 1]], None, "add up"),
        ([[0, 1, 2]], None, "labels must be 0 to 1"),
        ([[0, 1]], [[1, 1]], "add up"),
        ([[0]], [[3]], "durations at most 2"),
        ([[0, 1, 0]], [[2, 0, 1]], "without gaps"),
        ([0, 1, 0], None, "of shape"),
        ([[0.0, 1.0, 0.0]], None, "a tensor of integers"),
        ([[0, 1]], [[1, 1, 1]], "of shape"),
    ],
)
def test_what_is_no_segmentation_is_refused(labels, durations, message):
    crf = SemiMarkovCRF(SEGMENTS, TRANSITIONS)
    with pytest.raises(GraphError, match=message):
        crf.energy(torch.tensor(labels), None if durations is None else torch.tensor(durations))


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_unusable_energies_are_refused(value):
    for part in range(4):
        parts = [torch.zeros(shape) for shape in ((1, 2, 1, 2), (2, 2), (2,), (2,))]
        parts[part].reshape(-1)[0] = value
        with pytest.raises(GraphError, match="NaN"):
            SemiMarkovCRF(*parts).free_energy()
    with pytest.raises(GraphError, match="β must be positive"):
        SemiMarkovCRF(SEGMENTS, TRANSITIONS).free_energy(-1.0)
