"""Answers: the strings that paths write, each with the free energy of all its paths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from gtn_ebm.arguments import takes_graphs
from gtn_ebm.distance import check_beta, shortest_distance, walk
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, as_array
from gtn_ebm.inference.best_paths import best_paths
from gtn_ebm.inference.free_energy import free_energy
from gtn_ebm.inference.sampling import at_unit_beta, random_paths
from gtn_ebm.kernels import answers as kernels
from gtn_ebm.ops.composition import compose
from gtn_ebm.ops.epsilons import remove_epsilons
from gtn_ebm.ops.labels import project

MOST_PREFIXES = 1_000_000
SWEEPS = 20
"""Over the states of a graph with cycles, to bound what follows on each."""


def bare(graph: Graph) -> Graph:
    """Without attributes and names, so that any string of labels can be matched."""
    return Graph(graph.structure, graph.energies, graph.initial, graph.final)


def selector(labels: Sequence[int], graph: Graph) -> Graph:
    """The path selector of one answer, to compose ``graph`` with.

    Raises:
        GraphError: something that is no label, or one below 0.
    """
    answer = Graph.linear(list(labels))
    if answer.input_labels.min(initial=0) < 0:
        raise GraphError(f"an answer is made of labels ≥ 0, not {answer.input_labels.min()}")
    return answer.to(graph.energies.device, graph.dtype)


class Answer(NamedTuple):
    """A string that paths of a graph write.

    Its probability is exp(−β (energy − F_β)) with the free energy F_β of the graph.

    Attributes:
        labels: the string, without epsilons.
        energy: F_β over the paths that write it (the least energy at β = ∞); a scalar, differentiable.
    """

    labels: list[int]
    energy: Tensor


@takes_graphs
def answer_energies(graph: Graph, answers: Sequence[Sequence[int]], beta: float = 1.0) -> Tensor:
    """F_β over the paths that write each of these strings: latent paths summed, or minimised at β = ∞.

    Args:
        graph: any graph; its output labels count, epsilons left out.
        answers: N strings of labels ≥ 0.
        beta: inverse temperature, > 0.

    Returns:
        [N] in the dtype of the energies; +inf, with a gradient of 0, for what no path writes. Differentiable
        as often as wanted.

    Raises:
        GraphError: β ≤ 0, or a label below 0.
        CycleError: as ``free_energy``.

    Cost: that of ``compose`` with the string and of ``free_energy``, for each.

    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0, 0], [1, 1, 1], [0, 1, 2], [5, 5, 6]), torch.ones(3))
    >>> answer_energies(graph, [[5], [6], [7]])
    tensor([0.3069, 1.0000,    inf])
    """
    check_beta(beta)
    if not len(answers):
        return graph.energies[:0]
    written = bare(project(graph, "output"))
    selectors = [selector(labels, graph) for labels in answers]
    return free_energy(compose(written, selectors), beta)


@takes_graphs
def best_answers(
    graph: Graph, count: int, beta: float = 1.0, *, max_prefixes: int = MOST_PREFIXES
) -> list[Answer]:
    """The ``count`` answers of least energy, exactly, best first: the most probable strings.

    At a finite β all paths that write a string are summed. The search goes from beginnings of strings to
    longer ones, best first: by the free energy of the paths that write the beginning, and a bound of what any
    one string can add. At β = ∞ a string has the least energy of its paths, as ``best_paths(unique=True)``.

    Args:
        graph: any graph, with cycles, too.
        count: how many; fewer where the graph writes no more.
        beta: inverse temperature, > 0.
        max_prefixes: at a finite β, how many beginnings of strings may be gone on from.

    Returns:
        The answers, their energies ascending and differentiable (as of ``answer_energies``). Of answers whose
        energies differ by rounding any may come first.

    Raises:
        GraphError: more than ``max_prefixes`` beginnings; count < 0; β ≤ 0.
        CycleError: as ``free_energy``.

    The bound takes the best label at each step, and all paths that write it: where a string has one path, it
    is what the best string costs, and the search goes straight to it. With latent paths more beginnings must
    be tried, but only such as are as probable as the last answer found: if its probability is p, at most 1/p
    of each length. Where no answer is likely that may be hopeless, as to find the best is NP-hard
    (Casacuberta and de la Higuera 2000). Then prune the graph, raise β, or take β = ∞.

    Cost: O(S + A) time and memory for each beginning of a string that is gone on from; that is one for each
    label of the answers where a string has one path, and at most 1/p of each length with latent paths, if p
    is the probability of the last answer found.

    >>> from gtn_ebm import Structure
    >>> graph = Graph(
    ...     Structure([0, 0, 0], [1, 1, 1], [0, 1, 2], [5, 5, 6]), torch.tensor([1.0, 1.0, 0.5])
    ... )
    >>> best_answers(graph, 2)
    [Answer(labels=[5], energy=tensor(0.3069)), Answer(labels=[6], energy=tensor(0.5000))]
    >>> best_answers(graph, 1, math.inf)
    [Answer(labels=[6], energy=tensor(0.5000))]
    """
    check_beta(beta)
    if count < 0:
        raise GraphError(f"cannot find {count} answers")
    written = bare(project(graph, "output"))
    if math.isinf(beta):
        best = best_paths(written, count, unique=True)
        return [Answer(path.output_labels, path.energy) for path in best]
    strings = _best_strings(at_unit_beta(written, beta), count, max_prefixes)
    energies = answer_energies(written, strings, beta).unbind()
    answers = [Answer(*pair) for pair in zip(strings, energies, strict=True)]
    return sorted(answers, key=lambda answer: answer.energy.item())


def _best_strings(graph: Graph, count: int, most: int) -> list[list[int]]:
    """Of an acceptor at β = 1."""
    single = remove_epsilons(graph)
    offsets, order = single.structure.out_by_input
    arcs = offsets, single.input_labels[order], single.destination[order], as_array(single.energies)[order]
    initial, final = as_array(single.initial), as_array(single.final)
    # All strings together are a bound of each.
    bound = as_array(shortest_distance(single, direction="to")).copy()
    sweeps = 1 if single.structure.is_acyclic else SWEEPS
    kernels.raise_bounds(walk(single.structure, "from").order, *arcs, final, bound, sweeps)
    (labels, begins), is_too_many = kernels.best_strings(*arcs, initial, final, bound, count, most)
    if is_too_many:
        raise GraphError(
            f"stopped after {most} beginnings of strings, as max_prefixes says, with {len(begins) - 1} of "
            f"{count} answers found: none of the others is likely; raise it, prune the graph, or take β = ∞"
        )
    return [labels[begin:end].tolist() for begin, end in pairwise(begins)]


@takes_graphs
def random_answers(
    graph: Graph, count: int, beta: float = 1.0, generator: torch.Generator | None = None
) -> list[Answer]:
    """Independent exact samples of answers: what exact samples of paths write.

    An answer is drawn with probability exp(−β (energy − F_β)), its latent paths summed out.

    Args:
        graph, count, generator: as of ``random_paths``.
        beta: inverse temperature, finite and > 0.

    Returns:
        ``count`` answers, their energies differentiable; or none where the graph has no path of finite
        energy. Energies are worked out once for each different answer, as by ``answer_energies``.

    Raises:
        CycleError, GraphError: as ``random_paths``.

    Cost: that of ``random_paths``, and of ``answer_energies`` for each different answer.

    >>> from gtn_ebm import Structure
    >>> graph = Graph(Structure([0, 0], [1, 1], [7, 8], [5, 5]), torch.zeros(2))
    >>> random_answers(graph, 1)
    [Answer(labels=[5], energy=tensor(-0.6931))]
    """
    check_beta(beta)
    drawn = [tuple(path.output_labels) for path in random_paths(bare(graph), count, beta, generator)]
    different = list(dict.fromkeys(drawn))
    energies = dict(zip(different, answer_energies(graph, different, beta).unbind(), strict=True))
    return [Answer(list(labels), energies[labels]) for labels in drawn]
