"""The kernels for GPUs against those for the CPU: tiny cases in numba's simulator, larger ones on a GPU if
there is one.

The simulator must be asked for before numba's CUDA target is imported, so its tests run in a process of
their own: ``test_in_the_simulator`` runs those of this file that need it.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import CycleError, Graph, GraphError, GtnEbmError, Structure, dense
from gtn_ebm.dense import cuda, topologies
from tests.enumeration import graphs, requiring_grad

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
in_simulator = pytest.mark.skipif(not SIMULATED, reason="runs in test_in_the_simulator's process")
on_gpu = pytest.mark.skipif(SIMULATED or not torch.cuda.is_available(), reason="there is no GPU")
PROPERTY = settings(deadline=None, max_examples=100, database=None)


@pytest.mark.skipif(SIMULATED, reason="is what started this process")
def test_in_the_simulator():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.skipif(SIMULATED, reason="the simulator is part of the CUDA target")
def test_the_library_does_not_import_the_cuda_target():
    code = "import sys, gtn_ebm.dense.cuda; assert 'numba.cuda' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(SIMULATED or torch.cuda.is_available(), reason="there is a GPU, or the simulator")
def test_without_a_gpu_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(cuda, "takes", lambda emissions: True)
    with pytest.raises(GtnEbmError, match=r"install gtn-ebm\[cuda\]"):
        dense.free_energy(torch.zeros(1, 1, 1), None, Graph.linear([0]))


def simulated(function, *arguments):
    """Few threads and blocks, so that some have several states and some none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "takes", lambda emissions: True)
        patch.setattr(cuda, "THREADS", 3)
        patch.setattr(cuda, "PARTS", 2)
        sys.setswitchinterval(1e-5)  # the simulator waits for its threads in a busy loop
        return function(*arguments)


def random_emissions(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Peaked at times, impossible at others."""
    generator = torch.Generator().manual_seed(seed)
    energies = torch.randn(*shape, generator=generator, dtype=torch.float64)
    energies *= 10.0 ** float(torch.randint(-1, 4, (), generator=generator))
    return energies.masked_fill(torch.rand(*shape, generator=generator) < 0.1, torch.inf).to(dtype)


def derivatives(emissions, lengths, each, beta):
    """Free energies and the gradients of a weighted sum of them in emissions, arcs and ends."""
    emissions, parts = emissions.detach().requires_grad_(), [requiring_grad(graph) for graph in each]
    own = [graph.with_energies(*of_graph) for graph, of_graph in zip(each, parts, strict=True)]
    free = dense.free_energy(emissions, lengths, [*own, own[0]], beta)
    factors = torch.linspace(1, 2, len(free), dtype=free.dtype, device=free.device)
    total = torch.where(free < torch.inf, free * factors, 0.0).sum()
    return free, torch.autograd.grad(total, [emissions, *(part for of_graph in parts for part in of_graph)])


def assert_close(ours, theirs, tolerance=1e-9):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            one.numpy(force=True), other.numpy(force=True), rtol=tolerance, atol=tolerance
        )


@in_simulator
@PROPERTY
@given(st.lists(graphs(acyclic=False), min_size=1, max_size=2), st.integers(0, 999), st.data())
def test_free_energies_and_gradients_of_any_graphs(each, seed, data):
    frames = data.draw(st.integers(0, 3))
    emissions = random_emissions(seed, len(each) + 1, frames, 2)
    lengths = [data.draw(st.integers(0, frames)) for _ in range(len(each) + 1)]
    beta = data.draw(st.sampled_from([0.5, 1.0, 3.0]))
    try:
        free, gradients = derivatives(emissions, lengths, each, beta)
    except CycleError:
        return
    ours, our_gradients = simulated(derivatives, emissions, lengths, each, beta)
    assert_close([ours, *our_gradients], [free, *gradients])


def as_written(paths):
    return [None if path is None else (path.arcs.tolist(), path.energy.item()) for path in paths]


@in_simulator
@PROPERTY
@given(st.lists(graphs(acyclic=False), min_size=1, max_size=2), st.integers(0, 999), st.data())
def test_best_paths_of_any_graphs(each, seed, data):
    frames = data.draw(st.integers(0, 3))
    emissions = random_emissions(seed, len(each), frames, 2)
    lengths = [data.draw(st.integers(0, frames)) for _ in each]
    try:
        paths = dense.best_path(emissions, lengths, each)
    except CycleError:
        return
    ours = simulated(dense.best_path, emissions, lengths, each)
    for path, our, graph in zip(paths, ours, each, strict=True):
        assert (path is None) == (our is None)
        if path is not None:
            # Of several best paths either may be given.
            assert our.energy.item() == pytest.approx(path.energy.item(), abs=1e-9)
            assert (graph.source[our.arcs][1:] == graph.destination[our.arcs][:-1]).all()
            assert len(our.input_labels) == len(path.input_labels)


def silent_and_branching(states: int, seed: int = 0) -> Graph:
    """Epsilons several levels deep, arcs in no order, several initial and final states."""
    rng = np.random.default_rng(seed)
    up = [(s, t, -1) for s in range(states) for t in (s + 1, s + 3) if t < states]
    arcs = [
        *up,
        *((s, int(rng.integers(states)), int(rng.integers(4))) for s in range(states) for _ in range(2)),
    ]
    source, destination, label = np.array(arcs)[rng.permutation(len(arcs))].T
    ends = np.where(rng.random((2, states)) < 0.6, rng.normal(size=(2, states)), np.inf)
    return Graph(
        Structure(source, destination, label, states=states),
        *map(torch.from_numpy, (rng.normal(size=len(arcs)), *ends)),
    )


def batch(frames: int, states: int, dtype: torch.dtype, device: str = "cpu"):
    """Emissions, ragged lengths and graphs: chains and others, one with no path, one of no frame."""
    each = [
        topologies.ctc([1, 2, 2]),
        silent_and_branching(states),
        topologies.ctc([3] * (frames + 1)),
        silent_and_branching(states, 1),
    ]
    emissions = random_emissions(3, 5, frames, 4, dtype=dtype).to(device)
    return emissions, [frames, frames, frames, frames - 1, 0], [graph.to(dtype).to(device) for graph in each]


@in_simulator
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
def test_a_batch_of_graphs_of_every_kind(dtype, tolerance):
    given_batch = batch(5, 6, dtype)
    free, gradients = derivatives(*given_batch, 1.0)
    ours, our_gradients = simulated(derivatives, *given_batch, 1.0)
    assert torch.isfinite(free).tolist() == [True, True, False, True, False]
    assert_close([ours, *our_gradients], [free, *gradients], tolerance)


@in_simulator
def test_posteriors_and_second_derivatives():
    def found(emissions, graph):
        emissions = emissions.detach().requires_grad_()
        (first,) = torch.autograd.grad(
            dense.free_energy(emissions, None, graph).sum(), emissions, create_graph=True
        )
        (second,) = torch.autograd.grad((first**2).sum(), emissions)
        classes, of_graphs = dense.posteriors(emissions.detach(), None, graph)
        return [classes, *of_graphs[0], first.detach(), second]

    emissions, graph = torch.randn(1, 3, 4, dtype=torch.float64), silent_and_branching(5)
    assert_close(simulated(found, emissions, graph), found(emissions, graph))


@in_simulator
def test_peaked_inputs_neither_underflow_nor_overflow():
    generator = torch.Generator().manual_seed(5)
    emissions = 3000.0 * torch.randn(1, 24, 4, generator=generator, dtype=torch.float64)
    graph = topologies.ctc([1, 2])
    ours = simulated(derivatives, emissions.repeat(2, 1, 1), None, [graph], 1.0)
    free, gradients = derivatives(emissions.repeat(2, 1, 1), None, [graph], 1.0)
    assert torch.isfinite(free).all()
    assert free.abs().min() > 1000  # exp of it is no float64
    assert_close([ours[0], *ours[1]], [free, *gradients], 1e-7)


@in_simulator
def test_the_ctc_loss():
    def found(log_probs):
        log_probs = log_probs.detach().requires_grad_()
        loss = dense.CTCLoss(zero_infinity=True)(log_probs, torch.tensor([[1, 1], [2, 3]]), [4, 2], [2, 2])
        return loss.detach(), *torch.autograd.grad(loss, log_probs)

    log_probs = torch.randn(4, 2, 4).log_softmax(-1)  # as torch has them: the frames first
    assert_close(simulated(found, log_probs), found(log_probs), 1e-6)


@in_simulator
@pytest.mark.parametrize("wrong", [float("nan"), -torch.inf, 1e30])
def test_the_same_error_for_an_unusable_emission(wrong):
    emissions = torch.zeros(2, 3, 2)
    emissions[1, 2, 0] = wrong
    graph = Graph.linear([1, 1, 0])
    for function in (dense.free_energy, *([] if wrong == 1e30 else [dense.best_path])):
        with pytest.raises(GraphError) as expected:
            function(emissions, None, graph)
        with pytest.raises(GraphError) as error:
            simulated(function, emissions, None, graph)
        assert str(error.value) == str(expected.value)
        simulated(function, emissions, [3, 2], [graph, Graph.linear([1, 1])])  # beyond its frames


@in_simulator
def test_emissions_of_any_strides():
    def found(emissions):
        emissions = emissions.detach().requires_grad_()
        free = dense.free_energy(emissions, None, graph)
        paths = dense.best_path(emissions, None, graph)
        arcs = [torch.from_numpy(path.arcs) for path in paths]
        return [free.detach(), *torch.autograd.grad(free.sum(), emissions), *arcs]

    graph = silent_and_branching(4)
    wide = torch.randn(8, 3, 6, generator=torch.Generator().manual_seed(1))
    for emissions in (wide.permute(2, 1, 0)[::3, :, ::2], wide[:1, :, :4].expand(2, 3, 4)):
        ours, theirs = simulated(found, emissions), found(emissions.contiguous())
        assert_close(ours, theirs, 1e-6)


@in_simulator
def test_nothing_to_do():
    graph = Graph.linear([])
    assert simulated(dense.free_energy, torch.zeros(0, 2, 1), None, graph).shape == (0,)
    assert simulated(dense.best_path, torch.zeros(0, 2, 1), None, graph) == []
    assert simulated(dense.free_energy, torch.zeros(2, 0, 1), None, graph).tolist() == [0.0, 0.0]
    assert simulated(dense.best_path, torch.zeros(1, 0, 1), None, graph)[0].arcs.tolist() == []


@on_gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_on_a_gpu(dtype, tolerance):
    on_cpu, there = batch(200, 400, dtype), batch(200, 400, dtype, "cuda")
    free, gradients = derivatives(*on_cpu, 1.0)
    ours, our_gradients = derivatives(*there, 1.0)
    assert ours.is_cuda
    assert_close([ours, *our_gradients], [free, *gradients], tolerance)
    emissions, lengths, each = there
    again, gradients_again = derivatives(*there, 1.0)
    assert torch.equal(again, ours)
    assert all(torch.equal(one, other) for one, other in zip(gradients_again, our_gradients, strict=True))
    paths = dense.best_path(on_cpu[0], on_cpu[1], [*on_cpu[2], on_cpu[2][0]])
    our_paths = dense.best_path(emissions, lengths, [*each, each[0]])
    for path, our in zip(paths, our_paths, strict=True):
        assert (path is None) == (our is None)
        if path is not None:
            assert our.energy.item() == pytest.approx(path.energy.item(), rel=tolerance)


@on_gpu
def test_the_ctc_loss_on_a_gpu_is_that_of_torch():
    log_probs = torch.randn(300, 8, 40, device="cuda").log_softmax(-1).requires_grad_()
    targets = torch.randint(1, 40, (8, 60))
    lengths = torch.full((8,), 300), torch.randint(20, 60, (8,))
    loss = dense.CTCLoss(reduction="none")(log_probs, targets, *lengths)
    exact = torch.nn.functional.ctc_loss(log_probs.double().cpu(), targets, *lengths, reduction="none")
    assert_close([loss], [exact], 1e-5)
