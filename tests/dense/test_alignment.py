"""Forced alignment against a plain recursion and against all paths written out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.timing import peak_memory
from gtn_ebm import Graph, GraphError, Structure
from gtn_ebm.dense import fewest_frames, forced_align, posteriors, target_paths
from gtn_ebm.dense.topologies import ctc
from gtn_ebm.kernels import target_paths as kernels
from tests.dense.test_least_energy import random_emissions
from tests.enumeration import graphs, walks


def plain_recursion(emissions: np.ndarray, target: list[int]) -> tuple[float, list[int]]:
    """The least energy and the labels of CTC's Viterbi recursion, back-pointers in full."""
    labels = [0] + [label for token in target for label in (token, 0)]
    energy = np.full(len(labels), math.inf)
    energy[0] = 0.0
    back = []
    for frame in emissions:
        options = np.full((3, len(labels)), math.inf)
        options[0], options[1, 1:], options[2, 2:] = energy, energy[:-1], energy[:-2]
        for v in range(2, len(labels)):
            if v % 2 == 0 or labels[v] == labels[v - 2]:
                options[2, v] = math.inf
        back.append(options.argmin(0))
        energy = options.min(0) + frame[labels]
    state = max(len(labels) - 2, 0) + int(energy[-2:].argmin())
    least, read = float(energy[state]), []
    for moves in reversed(back):
        read.append(labels[state])
        state -= int(moves[state])
    return least, read[::-1]


@given(st.lists(st.integers(1, 3), max_size=6), st.integers(0, 14), st.integers(0, 10_000))
@settings(deadline=None, max_examples=200)
def test_ctc_as_by_a_plain_recursion(target: list[int], frames: int, seed: int) -> None:
    emissions = random_emissions(seed, frames, 4, impossible=0.05)
    least, labels = plain_recursion(emissions.numpy(), target)
    if least == math.inf:
        with pytest.raises(GraphError, match="item 0 cannot be aligned"):
            forced_align(emissions[None], None, [target])
        return
    (found,) = forced_align(emissions[None], None, [target])
    assert found.energy.item() == pytest.approx(least, abs=1e-9)
    assert found.labels.tolist() == labels
    assert [span.label for span in found.spans] == target
    spoken = [frame for span in found.spans for frame in range(span.start, span.end)]
    assert spoken == [frame for frame, label in enumerate(labels) if label != 0]
    for span in found.spans:
        read = emissions[range(span.start, span.end), labels[span.start : span.end]]
        assert set(labels[span.start : span.end]) == {span.label}
        assert span.energy == pytest.approx(read.sum().item(), abs=1e-9)


@given(
    st.lists(st.lists(st.integers(1, 3), max_size=4), max_size=3), st.integers(0, 3), st.integers(0, 10_000)
)
@settings(deadline=None, max_examples=100)
def test_rows_are_aligned_as_their_graphs(targets: list[list[int]], blank: int, seed: int) -> None:
    emissions = random_emissions(seed, len(targets), 9, 4, impossible=0.0).round(decimals=1).requires_grad_()
    lengths = torch.tensor([9, 8, 7])[: len(targets)]
    targets = [[(label + blank) % 4 for label in target] for target in targets]
    of_graphs, of_rows = (
        forced_align(emissions, lengths, each, blank)
        for each in ([ctc(target, blank) for target in targets], targets)
    )
    for expected, found in zip(of_graphs, of_rows, strict=True):
        np.testing.assert_array_equal(found.labels, expected.labels)
        assert [span[:3] for span in found.spans] == [span[:3] for span in expected.spans]
        of_tokens = [[span.energy for span in alignment.spans] for alignment in (found, expected)]
        np.testing.assert_allclose(*of_tokens, atol=1e-12)
        torch.testing.assert_close(found.energy, expected.energy)
        gradients = [
            torch.autograd.grad(one.energy, emissions, retain_graph=True)[0] for one in (found, expected)
        ]
        assert torch.equal(*gradients)


def test_tokens_without_blanks_take_all_frames_and_arc_energies_count() -> None:
    hidden_markov = Structure([0, 1, 1, 2, 2], [1, 1, 2, 2, 2], [0, 0, 1, 1, 2], [7, -1, 8, -1, -1])
    graph = Graph(hidden_markov, torch.tensor([0.5, 0.25, 1.0, 0.0, 0.0]))
    emissions = torch.full((1, 5, 3), 9.0)
    emissions[0, range(5), [0, 0, 1, 1, 2]] = 1.0
    (found,) = forced_align(emissions, None, graph, blank=None)
    assert [span[:4] for span in found.spans] == [(7, 0, 2, 2.75), (8, 2, 5, 4.0)]


def test_a_word_on_an_epsilon_takes_the_frames_that_follow() -> None:
    spelled = Structure([0, 1, 1, 2, 3], [1, 1, 2, 3, 4], [-1, 0, 1, -1, 2], [5, -1, -1, 6, -1])
    emissions = torch.full((1, 4, 3), 9.0)
    emissions[0, range(4), [0, 0, 1, 2]] = 0.0
    (found,) = forced_align(emissions, None, Graph(spelled))
    assert [span[:3] for span in found.spans] == [(5, 2, 3), (6, 3, 4)]
    written_last = Graph(Structure([0, 1], [1, 2], [1, -1], [-1, 4]))
    (found,) = forced_align(emissions, torch.tensor([1]), written_last)
    assert [span[:4] for span in found.spans] == [(4, 1, 1, 0.0)]


def test_frames_that_are_missing_are_counted_for_each_item() -> None:
    emissions = torch.zeros(3, 4, 4)
    each = [ctc([1, 2]), ctc([1, 1, 1]), ctc([1, 2, 3, 3, 3])]
    message = r"item 1 .* at least 5 frames, but there are 4: 1 are missing; item 2 .* 3 are"
    with pytest.raises(GraphError, match=message):
        forced_align(emissions, None, each)
    emissions[1, 2, 1:] = math.inf
    with pytest.raises(GraphError, match=r"item 1 .* avoids emissions of"):
        forced_align(emissions, torch.tensor([4, 4, 4]), [ctc([1]), ctc([1, 2, 3, 1]), ctc([])])
    with pytest.raises(GraphError, match="no path of finite energy"):
        forced_align(emissions[:1], None, Graph(Structure([0], [1], [0]), final=[]))


@given(graphs(acyclic=True))
@settings(deadline=None, max_examples=200)
def test_fewest_frames_as_by_enumeration(graph: Graph) -> None:
    lengths = [len(walk.inputs) for walk in walks(graph)]
    assert fewest_frames(graph) == (min(lengths) if lengths else None)


def test_energy_is_differentiable() -> None:
    emissions = random_emissions(5, 1, 6, 4, impossible=0.0).requires_grad_()
    (found,) = forced_align(emissions, None, ctc([1, 2]))
    (gradient,) = torch.autograd.grad(found.energy, emissions)
    assert gradient[0].nonzero()[:, 1].tolist() == found.labels.tolist()


def test_confidence_is_the_mean_posterior_of_what_is_read() -> None:
    emissions = random_emissions(5, 2, 9, 4, impossible=0.0)
    targets, lengths = [[1, 2, 2], [3]], torch.tensor([9, 6])
    found = forced_align(emissions, lengths, targets, beta=2.0)
    classes = posteriors(emissions, lengths, list(map(ctc, targets)), 2.0).classes
    for item, alignment in enumerate(found):
        for span in alignment.spans:
            within = classes[item, span.start : span.end, span.label]
            assert span.confidence == pytest.approx(within.mean().item(), abs=1e-9)
    assert math.isnan(forced_align(emissions, lengths, targets)[0].spans[0].confidence)
    with pytest.raises(GraphError, match="name the blank"):
        forced_align(emissions, None, targets, blank=None)


@given(st.integers(0, 10_000), st.integers(0, 40), st.integers(0, 200), st.sampled_from([1, 300, 1 << 28]))
@settings(deadline=None, max_examples=200)
def test_what_is_left_out_is_on_no_best_path(seed: int, labels: int, frames: int, chunk: int) -> None:
    generator = np.random.default_rng(seed)
    target = generator.integers(1, 5, labels)
    heard = np.zeros(frames, np.int64)
    heard[np.sort(generator.choice(frames, min(frames, labels), replace=False))] = target[:frames]
    emissions = random_emissions(seed, frames, 5, impossible=0.02 * (seed % 3))
    emissions[range(frames), heard] -= 4.0 * (seed % 5)
    least, read = plain_recursion(emissions.numpy(), target.tolist())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target_paths, "LARGEST_PLAIN", -1)
        patch.setattr(target_paths, "CHUNK", chunk)
        patch.setattr(target_paths, "FIRST_SHARE", [0.0, 1e-3, 1.0][seed % 3])
        if least == math.inf:
            with pytest.raises(GraphError, match="item 0 cannot be aligned"):
                forced_align(emissions[None], None, [target])
            return
        (found,) = forced_align(emissions[None], None, [target])
    assert found.energy.item() == pytest.approx(least, abs=1e-9)
    assert found.labels.tolist() == read


def test_what_costs_too_much_is_left_out() -> None:
    """Where the network hears the target, only tiles near the path are worked out."""
    places, frames = 40 * kernels.TILE, 120 * kernels.TILE
    labels = np.arange(places - 1, dtype=np.int32) % 28 + 1
    emissions = np.full((frames, 29), 9.0)
    emissions[range(1, 3 * places - 3, 3), labels] = 0.0
    emissions[emissions.min(1) > 0, 0] = 0.0
    shares: list[float] = []
    search = target_paths.TargetSearch(emissions, labels, 0, shares.append)
    path = search.best()
    assert path is not None
    assert (
        emissions[range(frames), np.where(path[1:] % 2, np.append(labels, 0)[path[1:] // 2], 0)].sum() == 0.0
    )
    widths = np.diff(search.bands).ravel()
    assert widths.max() <= 8 * kernels.TILE
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize("threads", [1, 2])
def test_progress_is_told_and_may_end_it(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_paths, "CHUNK", 100)
    emissions, told = random_emissions(0, 3, 500, 4, impossible=0.0), list[float]()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        forced_align(emissions, None, [[1, 2], [3], []], progress=told.append)
        assert told == sorted(told)
        assert told[0] < 0.2
        assert told[-1] == pytest.approx(1.0)

        def interrupt(share: float) -> None:
            if share > 0.5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            forced_align(emissions, None, [[1, 2], [3], []], progress=interrupt)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("targets", [None, 3, "ab"])
def test_targets_must_be_graphs_or_rows(targets: object) -> None:
    with pytest.raises(GraphError, match="targets must be"):
        forced_align(torch.zeros(1, 2, 3), None, targets)  # type: ignore[arg-type]


@pytest.mark.parametrize("blank", [1.5, "a", 3, -1])
@pytest.mark.parametrize("targets", [[[2], [2]], ctc([2])])
def test_the_blank_must_be_a_class(targets: object, blank: object) -> None:
    with pytest.raises(GraphError, match=f"the blank must be a class from 0 to 2, not {blank}"):
        forced_align(torch.zeros(2, 2, 3), None, targets, blank)  # type: ignore[arg-type]


@pytest.mark.parametrize("targets", [[], [[1]], torch.tensor([[1]])])
def test_targets_are_counted(targets: list) -> None:
    with pytest.raises(GraphError, match=f"there are {len(targets)} targets for 2 items"):
        forced_align(torch.zeros(2, 2, 3), None, targets)


@pytest.mark.slow
def test_an_hour_is_aligned_in_memory_that_grows_slowly() -> None:
    frames, labels = 180_000, 50_000
    generator = torch.Generator().manual_seed(0)
    emissions = -torch.randn(1, frames, 30, generator=generator).log_softmax(-1)
    target = torch.randint(1, 30, (labels,), generator=generator)
    assert peak_memory(lambda: forced_align(emissions, None, [target])) < 400 * 2**20  # in full 4.5 GB
    (found,) = forced_align(emissions, None, [target])
    assert [span.label for span in found.spans] == target.tolist()
    assert found.energy.item() == pytest.approx(sum(emissions[0, range(frames), found.labels].tolist()))
