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
PROPERTY = settings(deadline=None, max_examples=25, database=None)


@pytest.mark.skipif(SIMULATED, reason="is what started this process")
def test_in_the_simulator():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_the_library_does_not_import_the_cuda_target():
    code = (
        "import sys, torch, gtn_ebm, gtn_ebm.dense as dense\n"
        "dense.free_energy(torch.zeros(1, 1, 1), None, gtn_ebm.Graph.linear([0]))\n"
        "assert 'numba.cuda' not in sys.modules"
    )
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
