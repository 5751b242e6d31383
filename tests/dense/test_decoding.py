"""Beam search against explicit composition: what it finds, its lattice, and what it says that it left out."""

import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks import decoding as handwriting
from gtn_ebm import (
    CycleError,
    Graph,
    GraphError,
    Structure,
    best_path,
    best_paths,
    compose,
    connect,
    determinize,
    project,
    relabel,
)
from gtn_ebm.dense import Decoder, Decoding, decode, free_energy, prefix_search, topologies
from gtn_ebm.dense import decoding as module
from gtn_ebm.dense.batch import frame_arcs
from gtn_ebm.io import Pronunciation, lexicon_graph
from tests.dense.test_least_energy import emissions_lattice, random_emissions
from tests.enumeration import graphs, language, same_language, walks


def energy_of(found: Decoding) -> float:
    return math.inf if found.path is None else found.path.energy.item()


def energy_along(found: Decoding) -> float:
    """Of the path in the lattice, where it has an arc."""
    if found.path is None or not len(found.path.arcs):
        return energy_of(found)
    lattice, arcs = found.lattice, found.path.arcs
    first, last = lattice.source[arcs], lattice.destination[arcs]
    assert (last[:-1] == first[1:]).all()
    return (lattice.initial[first[0]] + lattice.energies[arcs].sum() + lattice.final[last[-1]]).item()


def without_epsilon_cycles(graph: Graph) -> bool:
    try:
        frame_arcs(graph.structure)
    except CycleError:
        return False
    return True


SEEDS = st.integers(0, 10_000)


@given(graphs(acyclic=False).filter(without_epsilon_cycles), st.integers(0, 4), SEEDS)
@settings(deadline=None, max_examples=200)
def test_lattice_without_a_beam_is_the_composition(graph: Graph, frames: int, seed: int) -> None:
    emissions = random_emissions(seed, frames, 2)
    composed = compose(emissions_lattice(emissions), graph)
    assume(composed.arcs < 40)
    (found,) = decode(emissions[None], None, graph, beam=math.inf, lattice_beam=math.inf)
    assert same_language(language(walks(found.lattice)), language(walks(composed)))
    expected = best_path(composed)
    assert energy_of(found) == pytest.approx(math.inf if expected is None else expected.energy.item())
    assert found.pruning.exact
    assert not found.pruning.pruned.any()
    assert energy_along(found) == pytest.approx(energy_of(found))
    frame, arcs = found.lattice.attributes["frame"], found.lattice.arc_maps[0]
    assert (found.lattice.input_labels == graph.input_labels[arcs]).all()
    for walk in walks(found.lattice):
        read = [arc for arc in walk.arcs if found.lattice.input_labels[arc] >= 0]
        assert frame[read].tolist() == list(range(frames))


@given(
    graphs(acyclic=False, most_states=8, most_arcs=24).filter(without_epsilon_cycles),
    st.integers(0, 12),
    SEEDS,
    st.sampled_from([0.0, 0.5, 2.0]),
    st.integers(1, 4),
    st.sampled_from([0.0, 1.0]),
)
@settings(deadline=None, max_examples=300)
def test_what_a_beam_leaves_out_is_bounded(
    graph: Graph, frames: int, seed: int, beam: float, most: int, lattice_beam: float
) -> None:
    emissions = random_emissions(seed, frames, 2)
    expected = best_path(compose(emissions_lattice(emissions), graph))
    least = math.inf if expected is None else expected.energy.item()
    (found,) = decode(emissions[None], None, graph, beam, most, lattice_beam)
    assert energy_along(found) == pytest.approx(energy_of(found))
    pruning = found.pruning
    assert pruning.active.shape == (frames + 1,)
    assert pruning.active.max() <= most
    assert energy_of(found) >= least - 1e-9
    assert min(energy_of(found), pruning.bound.min()) <= least + 1e-9
    assert pruning.exact == (pruning.bound.min() >= energy_of(found))
    assert ((pruning.gap < math.inf) == (pruning.pruned > 0)).all()
    if pruning.exact:
        assert energy_of(found) == pytest.approx(least, abs=1e-9)


@given(
    graphs(acyclic=False, most_states=8, most_arcs=24).filter(without_epsilon_cycles),
    st.lists(st.integers(0, 5), max_size=6),
    SEEDS,
    st.booleans(),
)
@settings(deadline=None, max_examples=150)
def test_pieces_give_what_the_whole_gives(graph: Graph, pieces: list[int], seed: int, roomy: bool) -> None:
    emissions = random_emissions(seed, sum(pieces), 2)
    limits = {"beam": 3.0, "max_active": 5, "lattice_beam": 2.0}
    (whole,) = decode(emissions[None], None, graph, **limits)
    with pytest.MonkeyPatch.context() as patch:
        if not roomy:
            patch.setattr(module, "SMALLEST_LATTICE", 0)
        decoder = Decoder(graph, **limits)
        for piece in emissions.split(pieces):
            decoder.feed(piece)
            decoder.so_far()
        found = decoder.result()
    assert energy_of(found) == energy_of(whole)
    assert found.spans == whole.spans or any(math.isnan(span.confidence) for span in whole.spans)
    assert np.array_equal(found.lattice.source, whole.lattice.source)
    assert np.array_equal(found.lattice.destination, whole.lattice.destination)
    assert np.array_equal(found.lattice.arc_maps[0], whole.lattice.arc_maps[0])
    assert torch.equal(found.lattice.energies, whole.lattice.energies)
    for ours, theirs in zip(found.pruning, whole.pruning, strict=True):
        assert np.array_equal(ours, theirs)


def two_words() -> Graph:
    """Any number of "ab" (label 5) and "b" (6), with blanks (0) before, between and after letters."""
    source, destination = [0, 0, 1, 1, 1, 2, 2, 0, 3, 3, 3], [0, 1, 1, 4, 2, 2, 0, 3, 3, 0, 1]
    read, written = [0, 1, 1, 0, 2, 2, 0, 2, 2, 0, 1], [-1, 5, -1, -1, -1, -1, -1, 6, -1, -1, 5]
    arcs = [*zip(source, destination, read, written, strict=True), (4, 4, 0, -1), (4, 2, 2, -1)]
    return Graph(Structure(*zip(*arcs, strict=True)), final=[0, 2, 3])


def spoken(labels: list[int]) -> torch.Tensor:
    emissions = torch.full((1, len(labels), 3), 3.0)
    emissions[0, range(len(labels)), labels] = 0.25
    return emissions


def test_words_and_when_they_are() -> None:
    (found,) = decode(spoken([0, 1, 0, 2, 2, 0, 2, 0]), None, two_words())
    assert found.path is not None
    assert found.path.output_labels == [5, 6]
    assert found.path.input_labels == [0, 1, 0, 2, 2, 0, 2, 0]
    assert [span[:4] for span in found.spans] == [(5, 1, 5, 1.0), (6, 6, 7, 0.25)]
    assert found.pruning.exact


def test_best_answers_are_those_of_the_composition() -> None:
    emissions = random_emissions(0, 6, 3, impossible=0.0)
    (found,) = decode(emissions[None], None, two_words(), beam=math.inf, lattice_beam=6.0)
    composed = compose(emissions_lattice(emissions), two_words().to(torch.float64))
    expected = best_paths(project(composed, "output"), 4, unique=True)
    answers = found.best(4)
    assert [path.output_labels for path in answers] == [path.output_labels for path in expected]
    for ours, theirs in zip(answers, expected, strict=True):
        assert ours.energy.item() == pytest.approx(theirs.energy.item(), abs=1e-9)
        assert len(ours.input_labels) == 6


def test_an_unfinished_answer_may_be_asked_for() -> None:
    decoder = Decoder(two_words())
    decoder.feed(torch.tensor([[math.inf, 0.25, math.inf]]))
    assert decoder.result().path is None
    assert decoder.so_far().path.output_labels == [5]


def test_where_all_ways_end_it_says_whether_that_is_proven() -> None:
    one_frame = Graph.linear([1])
    (found,) = decode(torch.zeros(1, 3, 2), None, one_frame)
    assert found.path is None
    assert found.pruning.exact
    assert found.lattice.states == 0
    late = Graph(Structure([0, 0, 1, 2], [1, 2, 1, 3], [0, 1, 0, 0]), final=[3])
    emissions = torch.tensor([[[0.0, 9.0], [0.0, 0.0]]])
    (found,) = decode(emissions, None, late, beam=1.0)  # the better way leads nowhere in the end
    assert found.path is None
    assert not found.pruning.exact
    assert found.pruning.bound.min() == 9.0
    (found,) = decode(emissions, None, late, beam=10.0)
    assert found.path is not None
    assert found.path.input_labels == [1, 0]


def test_energies_are_differentiable() -> None:
    emissions = random_emissions(0, 1, 6, 3, impossible=0.0).requires_grad_()
    graph = two_words().to(torch.float64)
    energies = graph.energies.clone().requires_grad_()
    graph = graph.with_energies(energies)
    (found,) = decode(emissions, None, graph, lattice_beam=3.0)
    (plain,) = decode(emissions.detach(), None, graph.detach(), lattice_beam=3.0)
    assert torch.allclose(found.lattice.energies, plain.lattice.energies)
    assert found.path is not None
    gradients = torch.autograd.grad(found.path.energy, [emissions, energies])
    assert gradients[0][0].nonzero()[:, 1].tolist() == found.path.input_labels
    assert gradients[1].sum() == len(found.path.arcs)


def test_energies_of_a_stream_have_no_gradients() -> None:
    initial = torch.tensor([0.5, math.inf], requires_grad=True)
    decoder = Decoder(Graph(Structure([0], [1], [1]), initial=initial))
    decoder.feed(torch.zeros(1, 2))
    path = decoder.result().path
    assert path is not None
    assert path.energy.item() == 0.5
    assert not path.energy.requires_grad


def test_energies_may_be_changed_in_place() -> None:
    graph = Graph(Structure([0, 0], [1, 1], [1, 2]), torch.tensor([0.0, 1.0]))
    assert decode(torch.zeros(1, 1, 3), None, graph)[0].path.output_labels == [1]
    graph.energies[0] = 2.0
    assert decode(torch.zeros(1, 1, 3), None, graph)[0].path.output_labels == [2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": -1.0}, "beam"),
        ({"max_active": 0}, "max_active"),
        ({"max_active": 2.5}, "max_active must be a whole number, not 2.5"),
        ({"lattice_beam": math.nan}, "lattice_beam"),
        ({"blank": 17}, "item 0: the blank must be a class from 0 to 1, not 17"),
        ({"blank": -5}, "the blank must be a class ≥ 0, not -5"),
    ],
)
def test_limits_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        decode(torch.zeros(1, 2, 2), None, Graph.linear([0, 1]), **options)


def test_bad_pieces() -> None:
    decoder = Decoder(Graph.linear([0, 1]))
    with pytest.raises(GraphError, match="label 1, but there are 1 classes"):
        decoder.feed(torch.zeros(2, 1))
    with pytest.raises(GraphError, match="frames, classes"):
        decoder.feed(torch.zeros(2))
    with pytest.raises(GraphError, match="must be a tensor, not NoneType"):
        decoder.feed(None)
    with pytest.raises(GraphError, match="sparse"):
        decoder.feed(torch.zeros(2, 2).to_sparse())
    with pytest.raises(GraphError, match="frame 1 and class 0 is nan"):
        decoder.feed(torch.tensor([[0.0, 0.0], [math.nan, 0.0]]))
    decoder.feed(torch.zeros(1, 4))
    with pytest.raises(GraphError, match="emissions must have 4 classes as before, not 9"):
        decoder.feed(torch.zeros(1, 9))
    decoder.feed(torch.zeros(1, 4))
    assert decoder.result().path is not None


@pytest.mark.parametrize("name", ["beam", "lattice_beam"])
def test_a_beam_must_be_a_number(name: str) -> None:
    for value in ("a", None, math.nan):
        with pytest.raises(GraphError, match=f"{name} must be a number"):
            Decoder(Graph.linear([0]), **{name: value})


def test_more_states_than_there_are_may_be_active() -> None:
    emissions, graph = random_emissions(0, 1, 4, 3, impossible=0.0), topologies.correct_ctc(3)
    every, most = (decode(emissions, None, graph, math.inf, count)[0] for count in (graph.states, 10**30))
    assert energy_of(most) == energy_of(every)
    np.testing.assert_array_equal(most.pruning.active, every.pruning.active)


def test_cycles_of_epsilons_are_named() -> None:
    ring = Graph(Structure([0, 1], [1, 0], [-1, -1]), torch.tensor([-1.0, -1.0]))
    for refused in (lambda: Decoder(ring), lambda: decode(torch.zeros(1, 2, 2), None, ring)):
        with pytest.raises(CycleError, match=r"epsilon arcs: (0 → 1 → 0|1 → 0 → 1)"):
            refused()


def test_a_negative_cycle_of_a_large_graph_delays_nothing() -> None:
    states = np.arange(50_000)
    source, destination = np.tile(states, 2), np.append(states, np.roll(states, -1))
    energies = torch.zeros(100_000)
    energies[7] = -0.01  # a loop
    graph = Graph(Structure(source, destination, np.zeros(100_000, int)), energies)
    decode(torch.zeros(1, 2, 1), None, Graph.linear([0, 0]))  # compiled
    before = time.thread_time()
    (found,) = decode(torch.zeros(1, 3, 1), None, graph)
    assert found.path is None
    assert time.thread_time() - before < 10.0  # as many rounds as states would take an hour


def test_negative_cycles_leave_nothing_proven() -> None:
    graph = Graph(Structure([0, 0, 1], [0, 1, 1], [0, 1, 0]), torch.tensor([-1.0, 0.0, 0.0]))
    (found,) = decode(torch.zeros(1, 5, 2), None, graph, beam=0.5)
    assert found.path is None
    assert found.pruning.bound.min() == -math.inf
    assert not found.pruning.exact


def test_connected_lattice_of_long_input_stays_small() -> None:
    (found,) = decode(spoken([0, 1, 0, 2, 2, 0, 2, 0] * 500), None, two_words())
    assert found.lattice.arcs == 4000
    assert connect(found.lattice).arcs == 4000
    assert len(found.spans) == 1000


def word_pairs(words: list[str], corpus: str) -> Graph:
    """The acceptor of words with a space between; a word costs −ln of its smoothed probability after the word
    before in the corpus, stops aside."""
    plain = [word.strip(".,") for word in words]
    sequence = [plain.index(word.strip(".,")) for word in corpus.split() if word.strip(".,") in plain]
    pairs = np.full((len(words) + 1, len(words)), 0.01)  # the last row at the beginning
    np.add.at(pairs, ([len(words), *sequence[:-1]], sequence), 1.0)
    energies = -np.log(pairs / pairs.sum(1, keepdims=True))
    space, after = len(words), len(words) + 1  # states: ready after a word; behind it
    arcs = [(p, after + q, q, energies[p, q]) for p in range(len(words) + 1) for q in range(len(words))]
    arcs += [(after + q, q, space, 0.0) for q in range(len(words))]
    source, destination, label, energy = zip(*arcs, strict=True)
    grammar = Structure(source, destination, label)
    return Graph(grammar, torch.tensor(energy).float(), [len(words)], range(grammar.states))


def words_of(lexicon: str, corpus: str, characters: str) -> Graph:
    """Frames to words."""
    words = list(dict.fromkeys(lexicon.split()))
    spelled = lexicon_graph([Pronunciation(word, tuple(word)) for word in [*words, " "]], disambiguate=False)
    single = determinize(compose(spelled, word_pairs(words, corpus)), math.inf)
    names = enumerate(spelled.input_symbols or [])
    read = relabel(single, {label: characters.index(name) for label, name in names})
    spelling = topologies.correct_ctc(len(characters) + 1, len(characters))
    return compose(spelling, read.with_symbols(None, spelled.output_symbols))


@pytest.mark.data
def test_handwriting_is_read_as_what_it_says(data_directory: Path) -> None:
    line_words = data_directory / "ctc_emissions/CTCDecoder/data/line/corpus.txt"
    for item in handwriting.read_handwriting(data_directory):
        lexicon = line_words.read_text(encoding="utf-8") if item.name == "IAM line" else item.corpus
        graph = words_of(lexicon, item.corpus, item.characters)
        (found,) = decode(item.emissions[None], None, graph, blank=len(item.characters))
        assert found.path is not None
        text = "".join(map(graph.output_symbols.name, found.path.output_labels))
        if item.name == "Bentham 2":  # the lexicon has the word without a comma only
            text = text.replace("submitt ", "submitt, ")
        assert text == item.text
        assert found.spans[-1].end <= len(item.emissions)


@pytest.mark.data
def test_prefix_search_finds_what_is_at_least_as_likely_as_the_text(data_directory: Path) -> None:
    for item in handwriting.read_handwriting(data_directory):
        blank, emissions = len(item.characters), item.emissions[None]
        ((best,),) = prefix_search(emissions, blank=blank)
        labels = [item.characters.index(character) for character in item.text]
        strings = [topologies.ctc(np.array(string), blank) for string in (best.labels, labels)]
        ours, text = (free_energy(emissions, None, graph).item() for graph in strings)
        assert ours - 1e-4 <= best.energy <= text + 1e-4
