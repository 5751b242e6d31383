"""Best paths over frames against explicit composition, on graphs of every kind."""

import contextlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import EPSILON, CycleError, Graph, GraphError, Structure, compose
from gtn_ebm import best_path as best_path_of_graph
from gtn_ebm.dense import least_energy as module
from gtn_ebm.dense.least_energy import best_path, minimum_energy
from gtn_ebm.kernels import chain_paths
from tests.enumeration import FINITE_ENERGIES, finite_part, graphs, requiring_grad


def emissions_lattice(emissions: torch.Tensor) -> Graph:
    """The emissions [T, C] of one item as a graph, as explicit composition takes them."""
    frames, classes = emissions.shape
    source = np.arange(frames).repeat(classes)
    labels = np.tile(np.arange(classes), frames)
    return Graph(Structure(source, source + 1, labels, states=frames + 1), emissions.flatten())


def random_emissions(seed: int, *shape: int, impossible: float = 0.1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    energies = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return energies.masked_fill(torch.rand(*shape, generator=generator) < impossible, math.inf)


def random_chain(seed: int, states: int, classes: int) -> Graph:
    """Left to right, with some of all moves missing and several initial and final states."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, states)
    arcs = [
        (v - move, v, labels[v])
        for v in range(states)
        for move in range(3)
        if v >= move and rng.random() < (0.9, 0.9, 0.5)[move]
    ]
    order = rng.permutation(len(arcs))
    source, destination, label = np.array(arcs, np.int32).reshape(-1, 3)[order].T
    ends = np.where(rng.random((2, states)) < 2 / states, rng.normal(size=(2, states)), math.inf)
    ends[0, 0] = ends[1, -1] = 0.0
    return Graph(
        Structure(source, destination, label, states=states),
        torch.from_numpy(rng.normal(size=len(arcs))),
        *map(torch.from_numpy, ends),
    )


def check(emissions: torch.Tensor, graph: Graph) -> None:
    """Item 0's best path is that of the composition, and is what it says."""
    expected = best_path_of_graph(compose(emissions_lattice(emissions), graph))
    (found,) = best_path(emissions[None], None, graph)
    assert (found is None) == (expected is None)
    if found is None or expected is None:
        assert minimum_energy(emissions[None], None, graph).item() == math.inf
        return
    assert found.energy.item() == pytest.approx(expected.energy.item(), abs=1e-9)
    assert len(found.input_labels) == len(emissions)
    assert found.input_labels == [x for x in graph.input_labels[found.arcs].tolist() if x != EPSILON]
    assert found.output_labels == [x for x in graph.output_labels[found.arcs].tolist() if x != EPSILON]
    assert (graph.source[found.arcs][1:] == graph.destination[found.arcs][:-1]).all()
    along = emissions[range(len(emissions)), found.input_labels].sum() + graph.energies[found.arcs].sum()
    firsts = graph.initial if len(found.arcs) == 0 else graph.initial[graph.source[found.arcs[0]]]
    lasts = graph.final if len(found.arcs) == 0 else graph.final[graph.destination[found.arcs[-1]]]
    assert found.energy.item() == pytest.approx((along + (firsts + lasts).min()).item(), abs=1e-9)


@given(graphs(acyclic=False), st.integers(0, 6), st.integers(0, 1000), st.booleans())
@settings(deadline=None, max_examples=400)
def test_any_graph_as_by_composition(graph: Graph, frames: int, seed: int, in_blocks: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if in_blocks:
            patch.setattr(module, "MOST_BYTES", 0)
        with contextlib.suppress(CycleError):  # of epsilons, of negative energy
            check(random_emissions(seed, frames, 2), graph)


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(0, 14), st.integers(1, 5))
@settings(deadline=None, max_examples=300)
def test_chains_as_by_composition(seed: int, states: int, frames: int, block: int) -> None:
    graph, emissions = random_chain(seed, states, 3), random_emissions(seed, frames, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "frames_at_a_time", lambda frames, states: block)
        check(emissions, graph)


@pytest.mark.parametrize("states", [chain_paths.TILE - 1, chain_paths.TILE, 2 * chain_paths.TILE + 1])
def test_chains_of_several_tiles(states: int) -> None:
    graph = random_chain(0, states, 5)
    emissions = random_emissions(0, states * 2 // 3, 5, impossible=0.0)
    energy = np.where(np.arange(states) == 0, 0.0, math.inf)
    for frame in emissions.numpy():
        paid = energy[graph.source] + graph.energies.numpy() + frame[graph.input_labels]
        energy = np.full(states, math.inf)
        np.minimum.at(energy, graph.destination, paid)
    only_ends = graph.with_energies(
        graph.energies,
        torch.where(torch.arange(states) == 0, 0.0, math.inf).double(),
        torch.where(torch.arange(states) == states - 1, 0.0, math.inf).double(),
    )
    assert minimum_energy(emissions[None], None, only_ends).item() == pytest.approx(energy[-1], abs=1e-9)


def test_batch_of_ragged_lengths_and_what_lies_beyond_them() -> None:
    lengths = [0, 3, 7, 5]
    each = [random_chain(seed, 4, 3) for seed in range(4)]
    emissions = random_emissions(1, 4, 7, 3)
    for item, length in enumerate(lengths):
        emissions[item, length:] = math.nan
    whole = minimum_energy(emissions, torch.tensor(lengths), each)
    alone = [
        minimum_energy(emissions[k : k + 1, :length], None, graph)
        for k, (length, graph) in enumerate(zip(lengths, each, strict=True))
    ]
    assert torch.equal(whole, torch.cat(alone))


@given(graphs(acyclic=False, energies=FINITE_ENERGIES), st.integers(0, 4), st.integers(0, 100))
@settings(deadline=None, max_examples=50)
def test_derivative_is_the_best_path(graph: Graph, frames: int, seed: int) -> None:
    emissions = random_emissions(seed, 1, frames, 2).requires_grad_()
    parts = requiring_grad(graph)
    try:
        (path,) = best_path(emissions, None, graph)
    except CycleError:
        return
    energy = minimum_energy(emissions, None, graph.with_energies(*parts))
    gradients = torch.autograd.grad(energy.sum(), [emissions, *parts])
    read = torch.zeros(frames, 2, dtype=torch.float64)
    uses = torch.zeros(graph.arcs, dtype=torch.float64)
    if path is not None:
        read[range(frames), path.input_labels] = 1.0
        uses.index_add_(0, torch.from_numpy(path.arcs), torch.ones(len(path.arcs), dtype=torch.float64))
    assert torch.equal(gradients[0][0], read)
    assert torch.equal(gradients[1], uses)
    for gradient, part in zip(gradients[2:], ("initial", "final"), strict=True):
        assert gradient.sum().item() == (path is not None)
        assert not gradient[~finite_part(graph, part)].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_emissions_of_any_dtype_and_stride(dtype: torch.dtype) -> None:
    graph = random_chain(3, 5, 4).to(torch.float32)
    emissions = random_emissions(3, 4, 9, 2, impossible=0.0).to(dtype).permute(2, 1, 0)
    assert not emissions.is_contiguous()
    energy = minimum_energy(emissions, None, graph)
    assert energy.dtype == dtype
    exact = minimum_energy(emissions.double().contiguous(), None, graph)
    assert torch.allclose(energy.double(), exact, rtol=torch.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda e, g: (e.index_put((torch.tensor(0),) * 3, torch.tensor(math.nan)), g),
            "frame 0 and class 0",
        ),
        (lambda e, g: (e - math.inf, g), "item 0"),
        (lambda e, g: (e, g.with_energies(g.energies * math.nan)), "arc 0"),
        (lambda e, g: (e[..., :1], g), "classes 0 to 0"),
        (lambda e, g: (e[0], g), "batch, frames, classes"),
        (lambda e, g: (e, [g, g]), "2 graphs for 1 items"),
    ],
)
def test_bad_input(change, message: str) -> None:
    emissions, graph = change(torch.zeros(1, 2, 2), Graph.linear([0, 1]))
    with pytest.raises(GraphError, match=message):
        best_path(emissions, None, graph)


@pytest.mark.parametrize("function", [best_path, minimum_energy])
def test_what_is_no_graph_is_refused_in_the_name_of_what_was_called(function) -> None:
    for graphs_given, message in (
        (None, "graphs must be a Graph or"),
        ([None], r"graphs\[0\] must be a Graph"),
    ):
        with pytest.raises(GraphError, match=f"^{function.__name__}: {message}"):
            function(torch.zeros(1, 2, 2), None, graphs_given)


def test_no_items_and_no_states() -> None:
    assert best_path(torch.zeros(0, 3, 2), None, []) == []
    assert minimum_energy(torch.zeros(0, 3, 2), None, []).shape == (0,)
    assert best_path(torch.zeros(1, 3, 2), None, Graph(Structure([], [], []))) == [None]
