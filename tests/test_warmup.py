import numpy as np
import pytest
import torch
from numba.core import event

from gtn_ebm import (
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
