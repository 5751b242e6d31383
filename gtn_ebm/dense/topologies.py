"""Topologies: which sequences of frame classes spell which labels, as graphs.

Three kinds, that fit together:

- **Token topologies** (``..._topology``) read the classes of frames and write labels, any number of them. Composed
  with a graph over labels (a transcript, a lexicon ∘ grammar, an n-gram) they give a graph over frames, which
  ``dense`` takes as it is: ``compose(ctc_topology(28), Graph.linear(target))``.
- **Transcripts** say which labels may be written: ``Graph.linear(target)`` exactly these; the functions here
  also allow silence, or that the transcript is not what was said.
- **Target graphs** (``ctc``, ``star_target``) are the two composed, for one target, written down at once.

A label is the class that stands for it, but in ``hmm_topology``. Energies are 0 unless said otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.symbols import EPSILON


def ctc_topology(classes: int, blank: int = 0) -> Graph:
    """Connectionist temporal classification: a label takes one frame or more, blanks may stand between.

    Reading a class writes its label, unless it is the blank or was the class of the frame before. So between
    two equal labels there must be a blank. State c means that class c came last; there are C states and C²
    arcs.

    Args:
        classes: C, the blank counted in.
        blank: the class that writes nothing.

    Raises:
        GraphError: the blank is no class.

    Source: Graves, Fernández, Gomez and Schmidhuber, "Connectionist temporal classification" (ICML 2006).

    >>> from gtn_ebm import compose
    >>> compose(ctc_topology(3), Graph.linear([1, 1]))  # blank? 1+ blank+ 1+ blank?
    Graph(5 states, 9 arcs, transducer)
    """
    _check_class(blank, classes, "the blank")
    before, read = _grid(classes)
    written = np.where((read == blank) | (read == before), EPSILON, read)
    return Graph(Structure(before, read, read, written), initial=[blank], final=range(classes))


def compact_ctc_topology(classes: int, blank: int = 0) -> Graph:
    """CTC without the rule for equal labels: a blank may, but need not stand between them.

    State c follows class c, and an epsilon leads from it back to the blank's, where labels begin: C states
    and 3C − 2 arcs, where ``ctc_topology`` has C².

    Args and errors as of ``ctc_topology``.

    Source: Laptev, Majumdar and Ginsburg, "CTC variations through new WFST topologies" (2022): compact-CTC.

    >>> from gtn_ebm import compose
    >>> compose(compact_ctc_topology(3), Graph.linear([1, 1]))
    Graph(5 states, 9 arcs, transducer)
    """
    _check_class(blank, classes, "the blank")
    labels = _without(classes, blank)
    none = np.full(len(labels), EPSILON, np.int32)
    between = np.full(len(labels), blank, np.int32)
    return Graph(
        Structure(
            np.concatenate([[blank], between, labels, labels]),
            np.concatenate([[blank], labels, labels, between]),
            np.concatenate([[blank], labels, labels, none]),
            np.concatenate([[EPSILON], labels, none, none]),
            states=classes,
        ),
        initial=[blank],
        final=[blank],
    )


def minimal_ctc_topology(classes: int, blank: int = 0) -> Graph:
    """CTC in which a label takes exactly one frame, and the blank all others: a single state.

    Args and errors as of ``ctc_topology``.

    Source: Laptev, Majumdar and Ginsburg (2022): minimal-CTC.
    """
    _check_class(blank, classes, "the blank")
    read = np.arange(classes, dtype=np.int32)
    nowhere = np.zeros(classes, np.int32)
    return Graph(Structure(nowhere, nowhere, read, np.where(read == blank, EPSILON, read), states=1))


def asg_topology(transitions: Tensor) -> Graph:
    """Auto segmentation: no blank, and an energy for every pair of classes in a row.

    Reading a class writes its label, unless it was the class of the frame before; equal labels in a row
    cannot be told apart, and need a class of their own that means "again". State 0 is the start, state 1 + c
    follows class c.

    Args:
        transitions: [C, C], the energy of class j after class i, j ≠ i or the same again. Gradients flow to it.

    Source: Collobert, Puhrsch and Synnaeve, "Wav2Letter: an end-to-end ConvNet-based speech recognition
    system" (2016), section 2.3.

    >>> asg_topology(torch.zeros(3, 3))
    Graph(4 states, 12 arcs, transducer)
    """
    if transitions.ndim != 2 or len(transitions) != transitions.shape[-1]:
        raise GraphError(
            f"transitions need a row and a column for each class, not shape {list(transitions.shape)}"
        )
    classes = len(transitions)
    before, read = _grid(classes)
    first = np.arange(classes, dtype=np.int32)
    structure = Structure(
        np.concatenate([np.zeros_like(first), before + 1]),
        np.concatenate([first, read]) + 1,
        np.concatenate([first, read]),
        np.concatenate([first, np.where(read == before, EPSILON, read)]),
        states=classes + 1,
    )
    energies = torch.cat([transitions.new_zeros(classes), transitions.reshape(-1)])
    return Graph(structure, energies, final=range(classes + 1))


def hmm_topology(labels: int, states: int = 3) -> Graph:
    """Hidden Markov models from left to right: each label passes through its states, a frame or more in each.

    Class ``states`` · label + k is state k of the label. State 0 of the graph stands between labels; reading a
    label's first class writes the label, and from its last an epsilon leads back to state 0. One state makes
    the simplest topology: labels of any length, one after the other. Transition energies are 0; give others
    with ``with_energies``.

    Args:
        labels: how many.
        states: of each label, ≥ 1.

    Raises:
        GraphError: fewer than one state.

    Source: Rabiner, "A tutorial on hidden Markov models and selected applications in speech recognition"
    (1989), as a transducer.

    >>> hmm_topology(2, states=3)
    Graph(7 states, 14 arcs, transducer)
    """
    if states < 1:
        raise GraphError(f"a label needs a state or more, not {states}")
    each = np.arange(labels * states, dtype=np.int32)
    first, last = each[::states], each[states - 1 :: states]
    within = np.setdiff1d(each, last)
    none = np.full(labels, EPSILON, np.int32)
    read = np.concatenate([first, each, within + 1, none])
    written = np.full(len(read), EPSILON, np.int32)
    written[:labels] = np.arange(labels)
    return Graph(
        Structure(
            np.concatenate([np.zeros_like(first), each + 1, within + 1, last + 1]),
            np.concatenate([first + 1, each + 1, within + 2, np.zeros_like(last)]),
            read,
            written,
            states=labels * states + 1,
        ),
        final=[0],
    )


def optional_silence(target: Sequence[int], silence: int) -> Graph:
    """The transcript of labels [L] that may have silence before, between and after them, once in each place.

    It reads labels and silence, and writes the labels alone: a transducer to stand between a token topology
    and the transcript. State 2k follows k labels, state 2k + 1 the silence after them.

    >>> optional_silence([4, 2], silence=0)
    Graph(6 states, 7 arcs, transducer)
    """
    labels = np.asarray(target, np.int32).reshape(-1)
    places = 2 * np.arange(len(labels) + 1, dtype=np.int32)
    here, there = places[:-1], places[1:]
    silences = np.full(len(places), silence, np.int32)
    return Graph(
        Structure(
            np.concatenate([places, here, here + 1]),
            np.concatenate([places + 1, there, there]),
            np.concatenate([silences, labels, labels]),
            np.concatenate([np.full_like(silences, EPSILON), labels, labels]),
        ),
        final=[places[-1], places[-1] + 1],
    )


def uncertain_transcript(
    target: Sequence[int],
    star: int,
    missing: float = math.inf,
    wrong: float = math.inf,
    superfluous: float = math.inf,
) -> Graph:
    """The transcript of labels [L] that may err; where, is for the training to find out.

    A star is a class that stands for anything, such as ``star_emissions`` gives. State k follows k labels.

    Args:
        target: the labels, as transcribed.
        star: the label of what may be anything.
        missing: the energy of each star that is read on top of the labels, anywhere: something was said that
            the transcript lacks. +inf, here as below, allows none.
        wrong: of a star in a label's place: something else was said.
        superfluous: of an epsilon in a label's place: nothing was said.

    Source: Gao and others, "Learning from flawed data: weakly supervised automatic speech recognition" (2023),
    with its self-loop arcs (``missing``) and bypass arcs (``wrong``).

    >>> uncertain_transcript([4, 2], star=9, missing=1.0, superfluous=3.0)
    Graph(3 states, 7 arcs, acceptor)
    """
    labels = np.asarray(target, np.int32).reshape(-1)
    places = np.arange(len(labels) + 1, dtype=np.int32)
    here, there = places[:-1], places[1:]
    arcs = [
        (here, there, labels, 0.0),
        (places, places, np.full_like(places, star), missing),
        (here, there, np.full_like(labels, star), wrong),
        (here, there, np.full_like(labels, EPSILON), superfluous),
    ]
    chosen = [arc for arc in arcs if arc[3] < math.inf]
    source, destination, read = (np.concatenate([arc[k] for arc in chosen]) for k in range(3))
    energies = torch.cat([torch.full((len(arc[0]),), float(arc[3])) for arc in chosen])
    return Graph(Structure(source, destination, read, states=len(places)), energies)


def star_target(target: Sequence[int], classes: int, blank: int = 0, penalty: float = 0.0) -> Graph:
    """The target graph of star temporal classification: a transcript of which labels may be missing anywhere.

    Each label takes one frame. Before, between and after them any number of frames are blank, or a star: any
    label but the one that comes next. It is ``minimal_ctc_topology`` composed with such a transcript: state k
    follows k labels, and L + 1 states are all. It reads the classes that ``star_emissions`` makes.

    Args:
        target: labels [L], none of them the blank.
        classes: C, before stars are added.
        blank: its class.
        penalty: the energy of each star; the more likely it is that labels are missing, the less.

    Raises:
        GraphError: the blank or a label is no class, or the blank is in the target.

    Source: Pratap, Hannun, Synnaeve and Collobert, "Star temporal classification: sequence classification with
    partially labeled data" (2022).

    >>> star_target([1, 2], classes=3, penalty=0.5)
    Graph(3 states, 8 arcs, acceptor)
    """
    labels = np.asarray(target, np.int32).reshape(-1)
    for label in (blank, *labels.tolist()):
        _check_class(label, classes, f"the label {label}")
    if blank in labels:
        raise GraphError(f"the blank is in the target, {labels.tolist()}; only labels can be")
    places = np.arange(len(labels) + 1, dtype=np.int32)
    structure = Structure(
        np.concatenate([places[:-1], places, places]),
        np.concatenate([places[1:], places, places]),
        np.concatenate([labels, np.full_like(places, blank), classes + np.append(labels, np.int32(blank))]),
        states=len(places),
    )
    energies = torch.zeros(structure.arcs)
    energies[-len(places) :] = penalty
    return Graph(structure, energies)


def star_emissions(emissions: Tensor, blank: int = 0) -> Tensor:
    """Emissions [..., C] with stars beside them, [..., 2C]: class C + k is any label but label k.

    The energy of a star is −log Σ exp(−E) over all classes but the blank and k; class C + ``blank`` is any
    label at all. Differentiable as often as wanted; free of cancellation.

    >>> energies = -torch.tensor([0.5, 0.3, 0.2]).log()
    >>> torch.exp(-star_emissions(energies))
    tensor([0.5000, 0.3000, 0.2000, 0.5000, 0.2000, 0.3000])
    """
    classes = emissions.shape[-1]
    _check_class(blank, classes, "the blank")
    is_blank = torch.arange(classes, device=emissions.device) == blank
    scores = (-emissions).masked_fill(is_blank, -torch.inf)
    # All but the likeliest have probability 1/2 at most, and can be taken from the sum without loss.
    likeliest = scores.argmax(-1, keepdim=True)
    every = _log_sum(scores)
    probabilities = (scores - every.masked_fill(every.isneginf(), 0.0)).exp()
    others = torch.log1p(-probabilities.scatter(-1, likeliest, 0.0)) + every
    of_likeliest = _log_sum(scores.scatter(-1, likeliest, -torch.inf))
    return torch.cat([emissions, -others.scatter(-1, likeliest, of_likeliest)], -1)


def subtract_prior(emissions: Tensor, log_prior: Tensor, scale: float = 1.0) -> Tensor:
    """Emissions [..., C] of posteriors, −log p(class | frame), as those of likelihoods up to a constant.

    E + scale · log p(class): a class that is frequent anyway, such as the blank, has to be seen to be believed
    (Bayes' rule). Alignments get wider and more exact by it.

    Args:
        emissions: energies, [..., C].
        log_prior: of each class, [C], such as the mean of the network's own probabilities over the frames.
        scale: 1 for Bayes' rule; less for priors trusted less.

    Source: Bourlard and Morgan, "Connectionist speech recognition" (1994); Huang and others, "Less
    peaky and more accurate CTC forced alignment by label priors" (2024).
    """
    return emissions + scale * log_prior


def _log_sum(scores: Tensor) -> Tensor:
    """log Σ exp over the last dimension, kept; −inf with a gradient of 0 where all are −inf."""
    impossible = scores.isneginf().all(-1, keepdim=True)
    total = scores.masked_fill(impossible, 0.0).logsumexp(-1, keepdim=True)
    return total.masked_fill(impossible, -torch.inf)


def _grid(classes: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Every pair of the class before and the class read, [C²] each."""
    every = np.arange(classes, dtype=np.int32)
    return np.repeat(every, classes), np.tile(every, classes)


def _without(classes: int, blank: int) -> NDArray[np.int32]:
    return np.delete(np.arange(classes, dtype=np.int32), blank)


def _check_class(label: int, classes: int, what: str) -> None:
    if not 0 <= label < classes:
        raise GraphError(f"{what} must be a class from 0 to {classes - 1}, not {label}")
