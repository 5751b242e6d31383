"""n-gram models of label sequences as graphs: what a denominator is made of."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import torch

from gtn_ebm.dense.checks import as_labels
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, GraphBuilder
from gtn_ebm.ops import connect
from gtn_ebm.symbols import EPSILON

History = tuple[int, ...]

_START, _END = -2, -3


def ngram(
    sequences: Iterable[Sequence[int]],
    order: int,
    discount: float = 0.5,
    dtype: torch.dtype = torch.float32,
) -> Graph:
    """The n-gram model of sequences of labels, an acceptor whose energies are −log probabilities.

    States are the histories seen. The probability of label w after history h is counted, and some of it left
    for shorter histories: (c(h w) − d) / c(h) is the arc's, and an epsilon leads on to h without its first
    label with what is left, d · (number of different w seen after h) / c(h). What is said of a label holds
    for the end of a sequence. So the probabilities out of each state add up to 1, and those of all paths,
    too: a sum over paths, as of a denominator, counts nothing twice, which it would if epsilons stood for "no
    other arc", as in back-off models read by a decoder.

    With d = 0 there are no epsilons: a full n-gram of maximum likelihood, which accepts what consists of
    n-grams that were seen.

    Args:
        sequences: of labels ≥ 0, for training.
        order: n ≥ 1; 2 is a bigram.
        discount: d, at least 0 and below 1.
        dtype: of the energies.

    Raises:
        GraphError: no sequences, an order or discount out of range, a sequence that is no row of labels ≥ 0.

    Source: Ney, Essen and Kneser, "On structuring probabilistic dependences in stochastic language modelling"
    (1994): absolute discounting, interpolated; Povey and others, "Purely sequence-trained neural networks for
    ASR based on lattice-free MMI" (2016) for what it serves.

    >>> ngram([[0, 1], [0, 2]], order=2, discount=0.0).energies.exp()  # 1 / p
    tensor([1., 2., 2.])
    """
    if order < 1 or not 0 <= discount < 1:
        raise GraphError(
            f"an n-gram needs an order of at least 1 and a discount of at least 0 and below 1, "
            f"not {order} and {discount}"
        )
    counts = _counts(sequences, order)
    build = GraphBuilder(dtype)
    start: History = (_START,) if order > 1 else ()
    state = {}
    for history, followers in counts.items():
        initial = 0.0 if history == start else math.inf
        final = _energy(followers[_END] - (discount if history else 0.0), followers.total())
        state[history] = build.state(initial, final)
    for history, followers in counts.items():
        total, held_back = followers.total(), discount if history else 0.0
        for label, count in followers.items():
            if label != _END:
                longest = (*history, label)[max(0, len(history) + 2 - order) :]
                build.arc(state[history], state[longest], label, energy=_energy(count - held_back, total))
        if held_back:
            left = _energy(held_back * len(followers), total)
            build.arc(state[history], state[history[1:]], EPSILON, energy=left)
    return connect(build.graph()).with_arc_maps()


def _counts(sequences: Iterable[Sequence[int]], order: int) -> dict[History, Counter[int]]:
    """How often each label, or the end, followed each history of less than ``order`` labels."""
    counts: dict[History, Counter[int]] = defaultdict(Counter)
    for number, sequence in enumerate(sequences):
        padded = [_START, *as_labels(sequence, f"sequence {number}").tolist(), _END]
        for place in range(1, len(padded)):
            for length in range(min(order, place + 1)):
                counts[tuple(padded[place - length : place])][padded[place]] += 1
    if not counts:
        raise GraphError("an n-gram needs sequences to count")
    return counts


def _energy(count: float, total: int) -> float:
    return -math.log(count / total) if count > 0 else math.inf
