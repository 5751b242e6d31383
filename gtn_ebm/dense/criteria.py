"""Criteria: what training minimizes, as torch modules on the free energy of emissions × graph.

Most are one idea, LeCun's: the free energy of the desired answers minus that of all answers. They differ in
the graph of all answers. Where the network's own normalisation makes that difference 0, only the desired
remain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from gtn_ebm.arguments import check_graph, takes_graphs
from gtn_ebm.dense.checks import as_labels, check_count, check_floating, lengths_of
from gtn_ebm.dense.emissions import star_emissions
from gtn_ebm.dense.free_energy import free_energy
from gtn_ebm.dense.reduction import check_reduction, reduced
from gtn_ebm.dense.topologies import asg, stc
from gtn_ebm.distance import check_beta
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph
from gtn_ebm.inference import expected_cost
from gtn_ebm.kernels import edit_distance as kernels
from gtn_ebm.ops import compose, edit_distance, project
from gtn_ebm.symbols import EPSILON

Labels = Sequence[int] | Tensor
Targets = Sequence[Labels | Graph]
Lengths = Tensor | ArrayLike | None


@takes_graphs
def desired_and_all(
    emissions: Tensor,
    lengths: Lengths,
    graph: Graph,
    targets: Targets,
    beta: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """F of the paths that write the target, and F of all paths: what discriminative losses are made of.

    Args:
        emissions: energies, [B, T, C], such as −log_softmax of a network; they need not be normalised.
        lengths: frames of each item, [B]; T for all where None.
        graph: a transducer from the classes of frames to labels: a token topology, alone or composed with a
            lexicon, a grammar or an n-gram.
        targets: for each item labels [L], or an acceptor of all answers that are as good.
        beta: inverse temperature.

    Returns:
        F of ``compose(graph, target)`` and F of ``graph``, [B] each; +inf where there is no path. The graph's
        own energies count in both.

    Raises:
        GraphError: not as many targets as items; one that is no row of labels ≥ 0; and as
            ``dense.free_energy``.
    """
    check_floating(emissions, "emissions", "batch", "frames", "classes")
    _check_one_for_each(targets, len(emissions), "targets")
    acceptors = [target if isinstance(target, Graph) else _linear(target, graph) for target in targets]
    desired = compose(graph, acceptors) if acceptors else []
    return free_energy(emissions, lengths, desired, beta), free_energy(emissions, lengths, graph, beta)


def _linear(labels: Labels, beside: Graph) -> Graph:
    return Graph.linear(as_labels(labels)).to(beside.energies.detach())


def _check_one_for_each(values: object, items: int, what: str) -> None:
    if not isinstance(values, Sequence | Tensor) or isinstance(values, str) or len(values) != items:
        count = len(values) if isinstance(values, Sequence | Tensor) else values
        raise GraphError(f"{items} items need a list of as many {what}, not {count!r:.40}")


def _wide(emissions: Tensor) -> Tensor:
    """In a precision that leaves something of the differences between energies of all frames."""
    check_floating(emissions, "emissions", "batch", "frames", "classes")
    return emissions if emissions.dtype == torch.float64 else emissions.float()


class Criterion(nn.Module):
    """What the criteria have in common.

    Args:
        reduction: "mean" over the items, "sum", or "none" for the loss of each, [B].
        zero_infinity: whether a loss of +inf is put to 0: that of an item with too few frames for its target,
            or with a target that the graph cannot write. Its gradient is 0 in any case.
    """

    def __init__(self, reduction: str = "mean", zero_infinity: bool = False):
        super().__init__()
        check_reduction(reduction)
        self.reduction, self.zero_infinity = reduction, zero_infinity

    def reduced(self, losses: Tensor) -> Tensor:
        return reduced(losses, self.reduction, self.zero_infinity)


def _nll(
    emissions: Tensor,
    lengths: Lengths,
    graph: Graph,
    targets: Targets,
    beta: float = 1.0,
) -> Tensor:
    """F(desired) − F(all), [B]."""
    desired, everything = desired_and_all(_wide(emissions), lengths, graph, targets, beta)
    # Without a desired answer there may be none at all, and inf − inf is no number.
    return torch.where(desired == torch.inf, torch.inf, desired - everything).to(emissions.dtype)


class NLLLoss(Criterion):
    """−log p(target | emissions) among all that a graph can write: the negative log-likelihood.

    F_β(desired) − F_β(all), as ``desired_and_all`` gives them. β = ∞ makes it the perceptron loss.

    Args:
        graph: as of ``desired_and_all``. Its energies get gradients, but are no parameters of the module.
        beta: inverse temperature.
        reduction, zero_infinity: as of ``Criterion``.

    Called with emissions, lengths and targets, as ``desired_and_all`` is; raises as that.

    Source: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition"
    (1998), section VI: discriminative forward training.

    >>> from gtn_ebm.dense.topologies import minimal_ctc
    >>> loss = NLLLoss(minimal_ctc(3))
    >>> loss(torch.zeros(1, 2, 3), None, [[1]])  # 2 of 9 sequences of classes write the label
    tensor(1.5041)
    """

    def __init__(self, graph: Graph, beta: float = 1.0, reduction: str = "mean", zero_infinity: bool = False):
        super().__init__(reduction, zero_infinity)
        check_graph(graph, "NLLLoss: graph")
        check_beta(beta)
        self.graph, self.beta = graph, beta

    def forward(self, emissions: Tensor, lengths: Lengths, targets: Targets) -> Tensor:
        return self.reduced(_nll(emissions, lengths, self.graph, targets, self.beta))


class LFMMILoss(NLLLoss):
    """Lattice-free maximum mutual information: the NLL among all that a topology and an n-gram can write.

    Numerator and denominator are sums over the same graph, topology ∘ n-gram, which is made once; the
    numerator keeps the paths that write the transcript.

    Args:
        topology: a token topology, such as ``hmm`` gives.
        language_model: an acceptor of labels, such as ``ngram`` gives.
        reduction, zero_infinity: as of ``Criterion``.

    Called as ``NLLLoss`` is.

    Source: Povey and others, "Purely sequence-trained neural networks for ASR based on lattice-free MMI"
    (2016); without its leaky states, on whole sequences.
    """

    def __init__(
        self,
        topology: Graph,
        language_model: Graph,
        reduction: str = "mean",
        zero_infinity: bool = False,
    ):
        check_graph(topology, "LFMMILoss: topology")
        check_graph(language_model, "LFMMILoss: language_model")
        graph = compose(topology.detach(), language_model.detach())
        super().__init__(graph, 1.0, reduction, zero_infinity)


class ASGLoss(Criterion):
    """Auto segmentation: the NLL among all label sequences, with a trained energy for each pair of classes.

    The graph is ``topologies.asg(transitions)``. Equal labels in a row need a class of their own that stands
    for "again": a target that has them as they are has no path.

    Args:
        classes: C.
        reduction, zero_infinity: as of ``Criterion``.

    Attributes:
        transitions: the energies [C, C] of class j after class i, a parameter; 0 to begin with.

    Called as ``NLLLoss`` is; the emissions are energies of any size, not normalised.

    Source: Collobert, Puhrsch and Synnaeve, "Wav2Letter: an end-to-end ConvNet-based speech recognition
    system" (2016).
    """

    def __init__(self, classes: int, reduction: str = "mean", zero_infinity: bool = False):
        super().__init__(reduction, zero_infinity)
        check_count(classes, "classes", least=0)
        self.transitions = nn.Parameter(torch.zeros(classes, classes))

    def forward(self, emissions: Tensor, lengths: Lengths, targets: Targets) -> Tensor:
        return self.reduced(_nll(emissions, lengths, asg(self.transitions), targets))


class STCLoss(Criterion):
    """Star temporal classification: the transcript's labels occur in their order, among any others.

    F of ``topologies.stc(target)`` with ``star_emissions``: −log of the sum over all such sequences.

    Args:
        blank: its class.
        penalty: the energy of each frame that is read as something the transcript lacks. It may be changed
            between calls: training begins with much, so that the labels given are learnt, and goes to less.
        reduction, zero_infinity: as of ``Criterion``.

    Called with emissions, lengths and targets [L], as ``NLLLoss`` is; the emissions must be −log p,
    normalised over the classes.

    Source: Pratap, Hannun, Synnaeve and Collobert, "Star temporal classification: sequence classification
    with partially labeled data" (2022).

    >>> loss = STCLoss(penalty=0.0)
    >>> emissions = -torch.zeros(1, 2, 3).log_softmax(-1)
    >>> loss(emissions, None, [[1]])  # −log of 5/9: 10, 12, 01, 21 and 11
    tensor(0.5878)
    """

    def __init__(
        self, blank: int = 0, penalty: float = 1.0, reduction: str = "mean", zero_infinity: bool = False
    ):
        super().__init__(reduction, zero_infinity)
        self.blank, self.penalty = blank, penalty

    def forward(self, emissions: Tensor, lengths: Lengths, targets: Sequence[Labels]) -> Tensor:
        wide, classes = _wide(emissions), emissions.shape[-1]
        _check_one_for_each(targets, len(emissions), "targets")
        graphs = [stc(target, classes, self.blank, self.penalty) for target in targets]
        losses = free_energy(star_emissions(wide, self.blank), lengths, graphs)
        return self.reduced(losses.to(emissions.dtype))


class MWERLoss(Criterion):
    """The expected number of wrong labels over the n best answers: minimum word error rate training.

    Σ_k p_k (d_k − mean d), with d_k the edit distance of hypothesis k to the target and p_k its probability
    among the n, ∝ exp(−β F_β of all its paths). The mean is a constant: the loss is below 0 where the better
    half is the likelier, and its gradient is that of the expected distance. The n best come from any decoder,
    and need not hold the target.

    Args:
        graph: as of ``NLLLoss``.
        beta: inverse temperature, finite.
        reduction, zero_infinity: as of ``Criterion``.

    Called with emissions and lengths as ``NLLLoss`` is, targets [L], and the hypotheses of each item, labels
    each; one that is given twice counts once.

    Raises:
        GraphError: not as many targets, or lists of hypotheses, as items; an item without hypotheses.

    Source: Prabhavalkar and others, "Minimum word error rate training for attention-based
    sequence-to-sequence models" (2018).
    """

    def __init__(self, graph: Graph, beta: float = 1.0, reduction: str = "mean", zero_infinity: bool = False):
        super().__init__(reduction, zero_infinity)
        check_graph(graph, "MWERLoss: graph")
        _check_finite(beta)
        self.graph, self.beta = graph, beta

    def forward(
        self,
        emissions: Tensor,
        lengths: Lengths,
        targets: Sequence[Labels],
        hypotheses: Sequence[Sequence[Labels]],
    ) -> Tensor:
        wide = _wide(emissions)
        _check_one_for_each(targets, len(wide), "targets")
        _check_one_for_each(hypotheses, len(wide), "lists of hypotheses")
        given = [list(dict.fromkeys(map(_as_tuple, of_item))) for of_item in hypotheses]
        counts = [len(of_item) for of_item in given]
        if 0 in counts:
            raise GraphError(f"item {counts.index(0)} has no hypotheses; it needs one or more")
        item = torch.arange(len(given)).repeat_interleave(torch.tensor(counts, dtype=torch.long))
        each = torch.tensor(lengths_of(lengths, *wide.shape[:2]), dtype=torch.long)[item]
        acceptors = [_linear(one, self.graph) for of_item in given for one in of_item]
        graphs = compose(self.graph, acceptors) if acceptors else []
        energies = free_energy(wide[item], each, graphs, self.beta)
        risks = [
            _relative_risk(of_item, _distances(_as_tuple(target), answers), self.beta)
            for of_item, target, answers in zip(energies.split(counts), targets, given, strict=True)
        ]
        return self.reduced(torch.stack(risks).to(emissions.dtype) if risks else emissions.new_zeros(0))


class LatticeMWERLoss(Criterion):
    """The expected number of wrong labels over all paths of a lattice: minimum word error rate training,
    exactly.

    Σ p(path) d(path), with p ∝ exp(−β E) over the paths of the lattice and d the edit distance of what a path
    writes to the target: ``inference.expected_cost`` with ``edit_distance``. The lattice is that of a decoder
    that was given emissions to be differentiated (``Decoding.lattice``), or any other graph.

    Args:
        beta: inverse temperature, finite.
        at_most: what any larger distance counts as. Without a bound the distance to a target of n labels may
            take 3ⁿ states; with one, O(n).
        reduction, zero_infinity: as of ``Criterion``; a lattice without a path has a loss of +inf.

    Called with lattices, a list of B graphs, and for each a target, [L].

    Raises:
        GraphError: not as many targets as lattices; what is no lattice or no row of labels; and as
            ``edit_distance`` where the target needs a bound.

    Source: Povey, "Discriminative training for large vocabulary speech recognition" (2003), chapter 6, with
    the distance in the place of its approximation; Heigold and others, "Modified MMI/MPE" (2008).

    >>> from gtn_ebm.dense import decode
    >>> from gtn_ebm.dense.topologies import minimal_ctc
    >>> emissions = torch.zeros(1, 2, 3).log_softmax(-1).neg().requires_grad_()
    >>> (found,) = decode(emissions, None, minimal_ctc(3), lattice_beam=9.0)
    >>> LatticeMWERLoss()([found.lattice], [[1]])  # of 9 sequences 2 write it, 6 are wrong once, 1 twice
    tensor(0.8889, dtype=torch.float64, grad_fn=<MeanBackward0>)
    """

    def __init__(
        self,
        beta: float = 1.0,
        at_most: int | None = None,
        reduction: str = "mean",
        zero_infinity: bool = False,
    ):
        super().__init__(reduction, zero_infinity)
        _check_finite(beta)
        self.beta, self.at_most = beta, at_most

    @takes_graphs
    def forward(self, lattices: Sequence[Graph], targets: Sequence[Labels]) -> Tensor:
        _check_one_for_each(targets, len(lattices), "targets")
        answers = [project(lattice, "output") for lattice in lattices]
        costs = [
            edit_distance(_linear(target, answer), _labels_of(answer, target), at_most=self.at_most)
            for target, answer in zip(targets, answers, strict=True)
        ]
        return self.reduced(expected_cost(answers, costs, self.beta))


def _labels_of(answers: Graph, target: Labels) -> set[int]:
    return {*np.unique(answers.input_labels).tolist(), *as_labels(target).tolist()} - {EPSILON}


def _check_finite(beta: float) -> None:
    check_beta(beta)
    if math.isinf(beta):
        raise GraphError("an expected number of wrong labels needs a finite β")


def _relative_risk(energies: Tensor, distances: Tensor, beta: float) -> Tensor:
    if bool(energies.isinf().all()):
        return energies.new_full((), torch.inf)
    distances = distances.to(energies)
    return ((-beta * energies).softmax(0) * (distances - distances.mean())).sum()


def _distances(target: tuple[int, ...], answers: Sequence[tuple[int, ...]]) -> Tensor:
    def distance(answer: tuple[int, ...]) -> int:
        begins = np.cumsum([0, len(target), len(answer)])
        return int(kernels.between(np.array(target + answer, np.int64), begins)[0, 1])

    return torch.tensor([distance(answer) for answer in answers])


def _as_tuple(labels: Labels) -> tuple[int, ...]:
    return tuple(as_labels(labels, "a target or hypothesis").tolist())
