import io
import itertools
import math

import pynini
import pytest

from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Graph
from gtn_ebm.io import (
    Pronunciation,
    lexicon_graph,
    read_lexicon,
    read_lexicon_with_probabilities,
    to_pynini,
)
from gtn_ebm.symbols import EPSILON
from tests.io.samples import LEXICON, LEXICON_WITH_PROBABILITIES


def lexicon() -> list[Pronunciation]:
    return read_lexicon(io.BytesIO(LEXICON.encode()))


def readings(graph: Graph, phones: str) -> list[tuple[str, float]]:
    """The words of each path that reads the phones, apart from symbols that begin with #, and its energy."""
    found = []
    names = [*graph.input_symbols]

    def follow(state: int, left: list[str], said: tuple[str, ...], energy: float) -> None:
        if not left and graph.final[state] < math.inf:
            found.append((" ".join(said), energy + float(graph.final[state])))
        for arc in range(graph.arcs):
            label, word = int(graph.input_labels[arc]), int(graph.output_labels[arc])
            free = label == EPSILON or names[label].startswith("#")
            if graph.source[arc] == state and (free or left[:1] == [names[label]]):
                spoken = said if word == EPSILON else (*said, graph.output_symbols.name(word))
                follow(
                    int(graph.destination[arc]), left[not free :], spoken, energy + float(graph.energies[arc])
                )

    for state in range(graph.states):
        if graph.initial[state] < math.inf:
            follow(state, phones.split(), (), float(graph.initial[state]))
    return sorted(found)


def test_lines() -> None:
    assert lexicon()[:2] == [Pronunciation("read", ("r", "eh", "d")), Pronunciation("red", ("r", "eh", "d"))]
    weighted = read_lexicon_with_probabilities(io.BytesIO(LEXICON_WITH_PROBABILITIES.encode()))
    assert [math.exp(-entry.energy) for entry in weighted] == pytest.approx([0.25, 0.75, 1.0])
    assert weighted[2] == Pronunciation("a", ("ah",), 0.0)


@pytest.mark.parametrize("disambiguate", [True, False])
def test_words_are_read(disambiguate: bool) -> None:
    graph = lexicon_graph(lexicon(), disambiguate=disambiguate)
    assert [words for words, _ in readings(graph, "r eh d")] == ["read", "red"]
    assert [words for words, _ in readings(graph, "r eh d z ah")] == ["reads a"]
    assert [words for words, _ in readings(graph, "r iy d r eh d")] == ["read read", "read red"]
    assert readings(graph, "r eh") == []
    assert readings(graph, "") == [("", 0.0)]


def test_probabilities_are_energies() -> None:
    graph = lexicon_graph(read_lexicon_with_probabilities(io.BytesIO(LEXICON_WITH_PROBABILITIES.encode())))
    assert readings(graph, "r iy d ah") == [("read a", pytest.approx(-math.log(0.75)))]


def test_symbols_tell_apart_what_sounds_alike_or_begins_alike() -> None:
    graph = lexicon_graph(lexicon(), silence="sil", loop="#0")
    assert list(graph.input_symbols) == ["r", "eh", "d", "iy", "z", "ah", "sil", "#0", "#1", "#2", "#3"]
    assert list(graph.output_symbols) == ["read", "red", "reads", "a", "#0"]
    ends = {
        graph.input_symbols.name(int(label))
        for label, state in zip(graph.input_labels, graph.destination, strict=True)
        if graph.initial[state] < math.inf
    }
    # read and red sound alike and begin reads; the other pronunciations end in their last phone.
    assert ends == {"#1", "#2", "d", "z", "ah"}


def test_silence_stands_between_words_and_at_the_ends() -> None:
    graph = lexicon_graph([Pronunciation("a", ("ah",))], silence="sil", silence_probability=0.25)
    for pattern in itertools.product([False, True], repeat=3):
        phones = ["sil" if silent else "" for silent in pattern]
        text = f"{phones[0]} ah {phones[1]} ah {phones[2]}"
        energy = -sum(math.log(0.25 if silent else 0.75) for silent in pattern)
        assert readings(graph, text) == [("a a", pytest.approx(energy))]
    assert readings(graph, "sil sil") == []


def test_loop_symbol_is_read_and_written_between_words() -> None:
    graph = lexicon_graph([Pronunciation("ha", ("h", "ah"))], loop="#0")
    arc = int((graph.source == graph.destination).nonzero()[0][0])
    assert graph.input_symbols.name(int(graph.input_labels[arc])) == "#0"
    assert graph.output_symbols.name(int(graph.output_labels[arc])) == "#0"


@pytest.mark.parametrize("silence", [None, "sil"])
def test_openfst_determinizes_it(silence: str | None) -> None:
    fst = to_pynini(lexicon_graph(lexicon(), silence=silence)).rmepsilon()
    small = pynini.determinize(fst)
    assert 0 < small.num_states() <= 2 * fst.num_states()
    assert small.properties(pynini.I_DETERMINISTIC, True) == pynini.I_DETERMINISTIC


@pytest.mark.parametrize(
    ("read", "text", "line", "found"),
    [
        (read_lexicon, "a ah\nb\n", 2, "'b' has no phones"),
        (read_lexicon, "a ah\n\na ah\n", 3, "these phones already"),
        (read_lexicon_with_probabilities, "a\n", 1, "its probability"),
        (read_lexicon_with_probabilities, "a 0.5\n", 1, "no phones"),
        (read_lexicon_with_probabilities, "a ah\n", 1, "not a probability"),
        (read_lexicon_with_probabilities, "a 0 ah\n", 1, "its probability"),
        (read_lexicon_with_probabilities, "a 1.5 ah\n", 1, "its probability"),
    ],
)
def test_wrong_line_is_named(read, text: str, line: int, found: str) -> None:
    with pytest.raises(GraphFormatError) as raised:
        read(io.BytesIO(text.encode()))
    assert f"line {line}: " in str(raised.value)
    assert found in str(raised.value)


@pytest.mark.parametrize(
    ("entries", "options", "found"),
    [
        ([], {}, "no words"),
        ([Pronunciation("a", ())], {}, "no phones"),
        ([Pronunciation("a", ("ah",))] * 2, {}, "the same twice"),
        ([Pronunciation("a", ("#0",))], {"loop": "#0"}, "'#0' stands twice"),
        (
            [Pronunciation("a", ("ah",))],
            {"silence": "sil", "silence_probability": 1.0},
            "probability of silence",
        ),
    ],
)
def test_lexicons_without_a_graph(entries, options, found: str) -> None:
    with pytest.raises(GraphError, match=found):
        lexicon_graph(entries, **options)
