import importlib
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from numba.core import event
from numba.core.dispatcher import Dispatcher

from gtn_ebm import (
    EPSILON,
    Graph,
    Structure,
    best_path,
    best_paths,
    compose,
    connect,
    dense,
    determinize,
    equivalent,
    free_energy,
    minimize,
    posteriors,
    project,
    push,
    random_paths,
    remove_epsilons,
    shortest_distance,
    topological_sort,
)
from gtn_ebm.crf import linear_chain_crf
from gtn_ebm.dense import topologies
from gtn_ebm.warmup import warmup
from tests.dense.test_callers import ANSWERS, answer


class Compiled(event.Listener):
    """Names the functions of ours that are compiled while it listens."""

    def __init__(self):
        self.names = []

    def on_start(self, happened):
        function = happened.data["dispatcher"].py_func
        if function.__module__.startswith("gtn_ebm"):
            self.names.append(function.__name__)

    def on_end(self, happened):
        pass


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("ordered", [True, False])
def test_nothing_is_left_to_compile(dtype, ordered):
    warmup()
    rng = np.random.default_rng(0)
    source = rng.integers(0, 20, 100)
    structure = Structure(source, source + rng.integers(1, 5, 100), rng.integers(-1, 3, 100))
    energies = torch.from_numpy(rng.standard_normal(100)).to(dtype).requires_grad_()
    graph = Graph(structure, energies)
    if ordered:
        graph = topological_sort(graph)
    with event.install_listener("numba:compile", Compiled()) as compiled:
        composed = compose(connect(graph), graph)
        free_energy([composed, graph]).sum().backward(retain_graph=True)
        best_path([composed, graph])
        posteriors(graph)
        best_paths(graph, 3)
        random_paths(graph, 3)
        shortest_distance(push(remove_epsilons(graph)))
        minimize(determinize(project(graph, "input")))
        equivalent(graph.detach(), graph.detach())
        linear_chain_crf(
            energies.reshape(5, 10, 2), energies[:4].reshape(2, 2)
        ).free_energy().sum().backward()
        emissions = torch.zeros(1, 9, 3, dtype=dtype, requires_grad=True)
        trained = graph.with_energies(graph.energies.detach().requires_grad_())
        for of_items in (trained, topologies.ctc([1, 1])):
            dense.free_energy(emissions, None, of_items).sum().backward()
            dense.best_path(emissions, None, of_items)
        dense.ctc_loss(emissions.transpose(0, 1), torch.tensor([[1, 2]]), [9], [2]).backward()
        dense.forced_align(emissions, None, [[1, 2]], beta=1.0)
        dense.decode(emissions, None, topologies.correct_ctc(3), lattice_beam=2.0)
        dense.prefix_search(emissions)
        logits = emissions[:, :, None].expand(-1, -1, 3, -1)
        for fused in (True, False):
            dense.transducer_loss(logits, [[1, 2]], [9], [2], fused_log_softmax=fused).backward()
        answers = [[[1], [2, 1]]]
        dense.MWERLoss(topologies.correct_ctc(3))(emissions, None, [[1]], answers).backward()
    assert compiled.names == []


def signatures():
    """What this process has of each kernel: compiled, or loaded from the cache on disk."""
    modules = [
        importlib.import_module(f"gtn_ebm.kernels.{module.name}")
        for module in pkgutil.iter_modules(importlib.import_module("gtn_ebm.kernels").__path__)
        if module.name != "dense_cuda"
    ]
    kernels = [one for module in modules for one in vars(module).values() if isinstance(one, Dispatcher)]
    return {(one.py_func.__name__, str(types)) for one in kernels for types in one.signatures}


def use_dense(emissions):
    for name in ANSWERS:
        answer(name, emissions)
    emissions = emissions.detach().requires_grad_()
    arcs = [0, 1, 0, 1, 1], [1, 2, 1, 1, 2], [EPSILON, EPSILON, 1, 2, 3]
    energies = torch.ones(5).to(emissions.dtype).requires_grad_()
    cyclic = Structure(arcs[0], [1, 0, *arcs[1][2:]], arcs[2], states=3)
    for graph in (Graph(Structure(*arcs), energies), Graph(cyclic, energies), topologies.hmm(1)):
        free = dense.free_energy(emissions, None, graph).sum()
        (gradient,) = torch.autograd.grad(free, emissions, create_graph=True)
        (gradient**2).sum().backward()
        dense.best_path(emissions, None, graph)
        dense.posteriors(emissions, None, graph)
        dense.fewest_frames(graph)
    decoder = dense.Decoder(topologies.minimal_ctc(3), lattice_beam=3.0)
    decoder.feed(emissions[0].detach())
    decoder.so_far().best(2)
    dense.transducer_graph(emissions.detach()[:, :3], [1, 2])
    dense.prefix_search(emissions, None, dense.ngram([[1, 2], [3]], 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense.target_paths, "LARGEST_PLAIN", 0)
        dense.forced_align(emissions.detach(), None, [[1, 2]] * len(emissions))


IN_A_NEW_PROCESS = """
import torch
from tests.dense.test_callers import problem
from tests.test_warmup import signatures, use_dense, warmup
warmup()
before = signatures()
for dtype in (torch.float64, torch.float32, torch.bfloat16):
    use_dense(problem().to(dtype))
print(sorted(signatures() - before))
"""


def test_a_new_process_needs_no_kernel_of_dense_besides():
    ran = subprocess.run([sys.executable, "-c", IN_A_NEW_PROCESS], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
