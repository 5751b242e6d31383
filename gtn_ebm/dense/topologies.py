"""Topologies: which sequences of frame classes spell which labels, as graphs.

Three kinds, which fit together:

- **Token topologies**, such as ``correct_ctc``, read the classes of frames and write labels, any number of
  them. Composed with a graph over labels (a transcript, a lexicon ∘ grammar, an n-gram) they give a graph
  over frames, which ``dense`` takes as it is: ``compose(correct_ctc(28), Graph.linear(target))``.
- **Transcripts** say which labels may be written: ``Graph.linear(target)`` exactly these; the functions here
  also allow silence, or that the transcript is not what was said.
- **Target graphs**, ``ctc`` and ``stc``, are the two composed, for one target, written down at once.

A label is the class that stands for it, but in ``hmm``. Energies are 0 unless said otherwise.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gtn_ebm.dense.checks import as_labels, check_class, check_count, check_floating, check_label
from gtn_ebm.errors import GraphError
from gtn_ebm.graph import Graph, Structure
from gtn_ebm.symbols import EPSILON


def ctc(target: ArrayLike, blank: int = 0, *, keep_repeats_apart: bool = True) -> Graph:
    """The alignments of a target by the rules of connectionist temporal classification.

    Every label is read for one frame or more, with any number of blanks before, between and after. A path
    reads a class for each frame, and writes each label of the target where it begins to read it.

    Args:
        target: labels, [L] integers ≥ 0, none of them the blank.
        blank: the class of no label.
        keep_repeats_apart: whether there must be a blank between two equal labels. Without it the same frames
            can stand for one label or for two, and a sum counts each way to divide them.

    Returns:
        A graph of 2 L + 1 states, blank, label, blank, …, blank, all energies 0; it begins in the first state
        and ends in one of the last two. It is a ``dense.batch.Chain``.

    Raises:
        GraphError: the target is not a row of labels ≥ 0, the blank is below 0, or it is in the target.

    Source: Graves, Fernández, Gomez and Schmidhuber, "Connectionist temporal classification" (2006),
    section 4.1.

    >>> ctc([3, 3])
    Graph(5 states, 9 arcs, transducer)
    >>> ctc([3, 3], keep_repeats_apart=False)
    Graph(5 states, 10 arcs, transducer)
    """
    labels = as_labels(target)
    check_label(blank, "the blank")
    _check_no_blank(labels, blank)
    states = 2 * len(labels) + 1
    read, written = np.full(states, blank), np.full(states, EPSILON)
    read[1::2] = written[1::2] = labels
    state = np.arange(states)
    # Into a label directly from the label before, unless it is the same.
    skips = state[3::2]
    if keep_repeats_apart:
        skips = skips[labels[1:] != labels[:-1]]
    destination = np.concatenate([state, state[1:], skips])
    source = np.concatenate([state, state[:-1], skips - 2])
    order = np.lexsort((destination, source))
    source, destination = source[order], destination[order]
    stays = source == destination
    structure = Structure(
        source, destination, read[destination], np.where(stays, EPSILON, written[destination]), states
    )
    return Graph(structure, initial=[0], final=range(max(states - 2, 0), states))


def correct_ctc(classes: int, blank: int = 0) -> Graph:
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
    >>> compose(correct_ctc(3), Graph.linear([1, 1]))  # blank? 1+ blank+ 1+ blank?
    Graph(5 states, 9 arcs, transducer)
    """
    check_class(blank, classes, "the blank")
    before, read = _grid(classes)
    written = np.where((read == blank) | (read == before), EPSILON, read)
    return Graph(Structure(before, read, read, written), initial=[blank], final=range(classes))


def compact_ctc(classes: int, blank: int = 0) -> Graph:
    """CTC without the rule for equal labels: a blank may, but need not stand between them.

    State c follows class c, and an epsilon leads from it back to the blank's, where labels begin: C states
    and 3C − 2 arcs, where ``correct_ctc`` has C².

    Args and errors as of ``correct_ctc``.

    Source: Laptev, Majumdar and Ginsburg, "CTC variations through new WFST topologies" (2022): compact-CTC.

    >>> from gtn_ebm import compose
    >>> compose(compact_ctc(3), Graph.linear([1, 1]))
    Graph(5 states, 9 arcs, transducer)
    """
    check_class(blank, classes, "the blank")
    labels = np.delete(np.arange(classes, dtype=np.int32), blank)
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


def minimal_ctc(classes: int, blank: int = 0) -> Graph:
    """CTC in which a label takes exactly one frame, and the blank all others: a single state.

    Args and errors as of ``correct_ctc``.

    Source: Laptev, Majumdar and Ginsburg (2022): minimal-CTC.
    """
    check_class(blank, classes, "the blank")
    read = np.arange(classes, dtype=np.int32)
    nowhere = np.zeros(classes, np.int32)
    return Graph(Structure(nowhere, nowhere, read, np.where(read == blank, EPSILON, read), states=1))


def asg(transitions: Tensor) -> Graph:
    """Auto segmentation: no blank, and an energy for every pair of classes in a row.

    Reading a class writes its label, unless it was the class of the frame before; equal labels in a row
    cannot be told apart, and need a class of their own that means "again". State 0 is the start, state 1 + c
    follows class c.

    Args:
        transitions: [C, C], the energy of class j after class i, j ≠ i or the same again. Gradients flow to
            it.

    Source: Collobert, Puhrsch and Synnaeve, "Wav2Letter: an end-to-end ConvNet-based speech recognition
    system" (2016), section 2.3.

    >>> asg(torch.zeros(3, 3))
    Graph(4 states, 12 arcs, transducer)
    """
    check_floating(transitions, "transitions", "classes", "classes")
    if len(transitions) != transitions.shape[1]:
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


def hmm(labels: int, states: int = 3) -> Graph:
    """Hidden Markov models from left to right: each label passes through its states, a frame or more in each.

    Class ``states`` · label + k is state k of the label. State 0 of the graph stands between labels; reading
    a label's first class writes the label, and from its last an epsilon leads back to state 0. One state
    makes the simplest topology: labels of any length, one after the other. Transition energies are 0; give
    others with ``with_energies``.

    Args:
        labels: how many.
        states: of each label, ≥ 1.

    Raises:
        GraphError: fewer than one state, or than no labels.

    Source: Rabiner, "A tutorial on hidden Markov models and selected applications in speech recognition"
    (1989), as a transducer.

    >>> hmm(2, states=3)
    Graph(7 states, 14 arcs, transducer)
    """
    check_count(labels, "labels", least=0)
    check_count(states, "states")
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


def optional_silence(target: ArrayLike, silence: int) -> Graph:
    """The transcript of labels [L] that may have silence before, between and after them, once in each place.

    It reads labels and silence, and writes the labels alone: a transducer to stand between a token topology
    and the transcript. State 2k follows k labels, state 2k + 1 the silence after them. GraphError where the
    target is no row of labels, or the silence no label.

    >>> optional_silence([4, 2], silence=0)
    Graph(6 states, 7 arcs, transducer)
    """
    labels = as_labels(target)
    check_label(silence, "the silence")
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
    target: ArrayLike,
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

    Raises:
        GraphError: the target is no row of labels, the star no label, an energy NaN.

    Source: Gao and others, "Learning from flawed data: weakly supervised automatic speech recognition"
    (2023), with its self-loop arcs (``missing``) and bypass arcs (``wrong``).

    >>> uncertain_transcript([4, 2], star=9, missing=1.0, superfluous=3.0)
    Graph(3 states, 7 arcs, acceptor)
    """
    labels = as_labels(target)
    check_label(star, "the star")
    if any(math.isnan(energy) for energy in (missing, wrong, superfluous)):
        raise GraphError(
            f"what errors cost must not be NaN: missing {missing}, wrong {wrong}, superfluous {superfluous}"
        )
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


def stc(target: ArrayLike, classes: int, blank: int = 0, penalty: float = 0.0) -> Graph:
    """The target graph of star temporal classification: a transcript of which labels may be missing anywhere.

    Each label takes one frame. Before, between and after them any number of frames are blank, or a star: any
    label but the one that comes next. It is ``minimal_ctc`` composed with such a transcript: state k
    follows k labels, and L + 1 states are all. It reads the classes that ``star_emissions`` makes.

    Args:
        target: labels [L], none of them the blank.
        classes: C, before stars are added.
        blank: its class.
        penalty: the energy of each star; the more likely it is that labels are missing, the less.

    Raises:
        GraphError: the blank or a label is no class, or the blank is in the target.

    Source: Pratap, Hannun, Synnaeve and Collobert, "Star temporal classification: sequence classification
    with partially labeled data" (2022).

    >>> stc([1, 2], classes=3, penalty=0.5)
    Graph(3 states, 8 arcs, acceptor)
    """
    labels = as_labels(target)
    for label in (blank, *labels.tolist()):
        check_class(label, classes, f"the label {label}")
    _check_no_blank(labels, blank)
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


def _check_no_blank(labels: NDArray[np.int32], blank: int) -> None:
    if blank in labels:
        raise GraphError(f"the blank is in the target, {labels.tolist()}; only labels can be")


def _grid(classes: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Every pair of the class before and the class read, [C²] each."""
    every = np.arange(classes, dtype=np.int32)
    return np.repeat(every, classes), np.tile(every, classes)
