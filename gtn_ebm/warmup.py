"""Compilation ahead of use."""

from __future__ import annotations

import numpy as np
import torch

from gtn_ebm import dense
from gtn_ebm.crf import linear_chain_crf
from gtn_ebm.distance import all_pairs_distance, shortest_distance
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.inference import (
    PathChains,
    best_path,
    best_paths,
    equivalent,
    free_energy,
    minimum_risk_answer,
    posteriors,
    random_paths,
)
from gtn_ebm.kernels import target_paths
from gtn_ebm.ops import (
    Encoder,
    closure,
    complement,
    compose,
    connect,
    determinize,
    difference,
    disambiguate,
    edit_distance,
    encode,
    epsilon_normalize,
    minimize,
    project,
    prune,
    push,
    push_labels,
    relabel,
    remove_epsilons,
    synchronize,
    topological_sort,
)
from gtn_ebm.symbols import EPSILON

DTYPES = (torch.float32, torch.float64)


def warmup(dtypes: tuple[torch.dtype, ...] = DTYPES) -> None:
    """Compiles the kernels for energies of these dtypes, or loads them from numba's cache on disk.

    Kernels are compiled when first called, which takes a second or more each, and kept in the folder that
    numba's NUMBA_CACHE_DIR names, else in ``__pycache__`` beside the code. Call this where the first answer
    must not wait: at the start of a service, or when building a container image.
    """
    for dtype in dtypes:
        # Arcs neither in the order of their states nor of their labels.
        structure = Structure([1, 0, 0], [2, 2, 1], [0, 1, 0], [1, -1, 0])
        graph = Graph(structure, torch.zeros(3, dtype=dtype, requires_grad=True))
        _warm_sums_and_paths(graph)
        _warm_operations(graph)
        _warm_dense(graph)


def _warm_sums_and_paths(graph: Graph) -> None:
    plain = graph.detach()
    cyclic = closure(plain.with_energies(plain.energies + 2))  # on which sums converge
    energy = free_energy(compose(connect(graph), project(graph, "input")))
    (gradient,) = torch.autograd.grad(energy, graph.energies, create_graph=True)
    gradient.sum().backward()
    for one in (plain, cyclic):
        posteriors(one)
        best_path(one)
        best_paths(one, 2)
        best_paths(one, 2, unique=True)
        random_paths(one, 1)
        shortest_distance(one)
        all_pairs_distance(one)
        compose(one, project(one, "input"))
    compose(topological_sort(plain), project(plain, "input"))
    PathChains(plain, random_paths(plain, 1)).move(plain, 1)
    minimum_risk_answer(plain, 2)
    emissions = graph.energies.detach()[:, None, None].requires_grad_()
    linear_chain_crf(emissions, emissions[0]).free_energy().sum().backward()


def _warm_operations(graph: Graph) -> None:
    acceptor = project(graph, "input")
    for beta in (1.0, torch.inf):
        single = determinize(acceptor, beta)
        minimize(single, beta).energies.sum().backward()
        remove_epsilons(graph, beta).energies.sum().backward()
        push(graph, beta=beta).energies.sum().backward()
        epsilon_normalize(graph, "input", beta)
        disambiguate(acceptor, beta)
        equivalent(acceptor.detach(), single.detach(), beta)
    complement(acceptor)
    difference(acceptor, acceptor)
    edit_distance(acceptor, [0, 1], at_most=1)
    prune(graph, 1.0, 2)
    push_labels(graph)
    synchronize(graph)
    encode(graph.detach(), Encoder())


def _warm_dense(graph: Graph) -> None:
    emissions = torch.ones(1, 3, 2, dtype=graph.dtype, requires_grad=True)
    dense.ctc_loss(emissions.transpose(0, 1), torch.tensor([[1]]), [3], [1]).backward()
    silent = relabel(graph.with_energies(graph.energies + 2), {1: EPSILON})
    # Arcs that need gradients, a chain, and epsilons, also in a cycle.
    for of_items in (graph, dense.topologies.ctc([1]), silent, closure(silent)):
        free = dense.free_energy(emissions, None, of_items).sum()
        free.backward(retain_graph=True)
        (gradient,) = torch.autograd.grad(free, emissions, create_graph=True)
        gradient.sum().backward()
        dense.best_path(emissions.detach(), None, of_items)
        dense.posteriors(emissions.detach(), None, of_items)
    frames = emissions[0].detach()
    dense.forced_align(emissions.detach(), None, [[1]])
    target_paths.least_to_come(frames.numpy(), np.array([0, 1], np.uint32), 0)  # of long recordings
    dense.decode(emissions.detach(), None, dense.topologies.ctc([1]), lattice_beam=1.0)
    dense.prefix_search(emissions.detach())
    logits = emissions[:, :, None].expand(-1, -1, 2, -1)
    dense.transducer_loss(logits, [[0]], [3], [1]).backward()
    dense.MWERLoss(dense.topologies.ctc([1]))(emissions, None, [[1]], [[[1], []]]).backward()
