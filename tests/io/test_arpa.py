import copy
import io
import itertools
import math
import random

import pytest

from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.graph import Graph
from gtn_ebm.io import read_arpa
from gtn_ebm.io.back_off import BackOffModel
from gtn_ebm.symbols import EPSILON, Symbols
from tests.io.samples import ARPA

PROBABILITIES = {  # of the sample, in log10
    "a": -0.5,
    "b": -0.6,
    "</s>": -1.2,
    "<unk>": -2.0,
    "<s> a": -0.2,
    "a b": -0.4,
    "b </s>": -0.3,
    "a a": -0.7,
    "<s> a b": -0.1,
}
BACK_OFF = {"a": -0.3, "b": -0.2, "<s>": -0.1, "<s> a": -0.15, "a b": -0.25}


def read(text: str = ARPA, **options) -> Graph:
    return read_arpa(io.BytesIO(text.encode()), **options)


def formula(history: tuple[str, ...], word: str) -> float:
    """log10 p(word | history) of the sample, as the format's manual page defines it."""
    found = PROBABILITIES.get(" ".join((*history, word)))
    if found is not None:
        return found
    return BACK_OFF.get(" ".join(history), 0.0) + formula(history[1:], word)


def sentence_energy(words: tuple[str, ...]) -> float:
    said = ("<s>", *words, "</s>")
    return -math.log(10) * sum(formula(said[max(0, k - 2) : k], said[k]) for k in range(1, len(said)))


def energies(graph: Graph, words: tuple[str, ...]) -> list[float]:
    """Of all paths that read the words."""
    found = []

    def follow(state: int, left: list[int], energy: float) -> None:
        if not left and graph.final[state] < math.inf:
            found.append(energy + float(graph.final[state]))
        for arc in range(graph.arcs):
            label = int(graph.input_labels[arc])
            if graph.source[arc] == state and (label == EPSILON or left[:1] == [label]):
                follow(
                    int(graph.destination[arc]),
                    left[label != EPSILON :],
                    energy + float(graph.energies[arc]),
                )

    for state in range(graph.states):
        if graph.initial[state] == 0:
            follow(state, graph.input_symbols.labels(words), 0.0)
    return found


def test_sums_by_hand() -> None:
    graph = read()
    assert list(graph.input_symbols) == ["a", "b", "<unk>"]
    # <s> a, then <s> a b, then from "a b" by its back-off weight to b </s>.
    assert min(energies(graph, ("a", "b"))) == pytest.approx((0.2 + 0.1 + 0.25 + 0.3) * math.log(10))
    # From <s> by its back-off weight to the unigram b, then b </s>.
    assert min(energies(graph, ("b",))) == pytest.approx((0.1 + 0.6 + 0.3) * math.log(10))
    # From <s> by its back-off weight to the unigram </s>.
    assert min(energies(graph, ())) == pytest.approx((0.1 + 1.2) * math.log(10))


def test_least_energy_is_the_models_and_other_paths_only_back_off_early() -> None:
    graph = read()
    for length in range(5):
        for words in itertools.product(["a", "b", "<unk>"], repeat=length):
            found = energies(graph, words)
            assert min(found) == pytest.approx(sentence_energy(words), rel=1e-6)


def test_a_detour_can_be_cheaper_than_the_model() -> None:
    # p(b | a) is explicit, but smaller than what backing off gives.
    graph = read(ARPA.replace("-0.4\ta b", "-3.0\ta b").replace("-0.1\t<s> a b", "-3.0\t<s> a b"))
    assert min(energies(graph, ("a", "b"))) == pytest.approx((0.2 + 0.15 + 0.3 + 0.6 + 0.3) * math.log(10))


def test_label_of_back_off_arcs() -> None:
    graph = read(back_off="#0")
    assert list(graph.input_symbols) == ["a", "b", "<unk>", "#0"]
    assert EPSILON not in graph.input_labels
    assert graph.is_acceptor
    plain = read()
    assert (graph.input_labels == 3).tolist() == (plain.input_labels == EPSILON).tolist()


def test_words_of_a_table() -> None:
    table = Symbols(["b", "new", "newer", "#0"])
    graph = read(symbols=table, back_off="#0")
    assert graph.input_symbols == table
    readings = {int(label): energy for label, energy in zip(graph.input_labels, graph.energies, strict=True)}
    assert readings[1] == readings[2] == pytest.approx(2.0 * math.log(10))
    assert set(readings) == {0, 1, 2, 3}
    without = read(ARPA.replace("<unk>", "c"), symbols=table, back_off="#0")
    assert set(without.input_labels.tolist()) == {0, 3}


def test_impossible_words_and_other_details() -> None:
    graph = read(ARPA.replace("-2.0\t<unk>", "-99\t<unk>"))
    assert 2 not in graph.input_labels
    assert read(ARPA.replace("-0.1\t<s> a b", "-0.1\t<s> a b\t-5.0")).arcs == read().arcs
    no_start = read("\\data\\\nngram 1=2\n\\1-grams:\n-0.5 a\n-0.25 </s>\n\\end\\\nthe rest is not read\n")
    assert (no_start.states, no_start.arcs, no_start.initial.tolist()) == (1, 1, [0.0])


@pytest.mark.parametrize(
    ("old", "new", "line", "found"),
    [
        ("\\data\\", "", None, "ends before its line"),
        ("\\end\\", "", None, "ends before its line"),
        ("ngram 1=5", "ngram 1=x", 4, "ngram 1=COUNT"),
        ("ngram 2=4", "ngram 3=4", 5, "ngram 2=COUNT"),
        ("ngram 1=5", "ngram 1=6", 15, "6 n-grams of length 1 are announced, but 5 are here"),
        ("\\2-grams:", "\\3-grams:", 15, "'\\\\2-grams:' should be"),
        ("\\3-grams:", "\\end\\", 21, "should be"),
        ("-0.5\ta\t-0.3", "0.5\ta\t-0.3", 9, "above 1"),
        ("-0.5\ta\t-0.3", "-0.5\ta\tinf", 9, "above 99"),
        ("-0.5\ta\t-0.3", "-0.5\ta\t1e307", 9, "above 99"),
        ("-0.5\ta\t-0.3", "-0.5\ta\t-0.3\t1", 9, "4 columns"),
        ("-0.5\ta\t-0.3", "nan\ta\t-0.3", 9, "not a logarithm"),
        ("-0.6\tb", "-0.6\ta", 10, "a second time"),
        ("-0.4\ta b", "-0.4\ta c", 17, "'c' has no unigram"),
        ("</s>", "<end>", None, "no '</s>'"),
    ],
)
def test_wrong_line_is_named(old: str, new: str, line: int | None, found: str) -> None:
    with pytest.raises(GraphFormatError) as raised:
        read(ARPA.replace(old, new))
    assert found in str(raised.value)
    assert (f"line {line}:" in str(raised.value)) == (line is not None)


def random_model(seed: int) -> BackOffModel:
    """A bigram model whose probabilities sum to one in every history, over three words and the ends."""
    draw = random.Random(seed)
    words = ["x", "y", "z", "</s>", "<s>"]
    weights = [draw.random() + 0.1 for _ in range(4)]
    unigrams = [weight / sum(weights) for weight in weights]
    energies = {(word,): -math.log(unigrams[word]) for word in range(4)} | {(4,): math.inf}
    back_off = {}
    for history in (0, 1, 2, 4):
        followers = draw.sample(range(4), draw.randint(1, 3))
        shares = [draw.random() * 0.3 for _ in followers]
        energies |= {(history, word): -math.log(share) for word, share in zip(followers, shares, strict=True)}
        below = 1 - sum(unigrams[word] for word in followers)
        back_off[history,] = -math.log((1 - sum(shares)) / below)
    return BackOffModel(words, 2, energies, back_off, start=4, end=3)


def distribution(model: BackOffModel, history: int) -> list[float]:
    return [math.exp(-model.energy((history,), word)) for word in range(4)]


def without(model: BackOffModel, gram: tuple[int, int]) -> BackOffModel:
    """The model less one bigram, its history normalised again."""
    result = copy.deepcopy(model)
    del result.energies[gram]
    kept = [word for word in range(4) if (gram[0], word) in result.energies]
    left = 1 - sum(math.exp(-result.energies[gram[0], word]) for word in kept)
    below = 1 - sum(math.exp(-result.energies[word,]) for word in kept)
    result.back_off[gram[0],] = -math.log(left / below)
    return result


@pytest.mark.parametrize("seed", range(20))
def test_pruning_drops_what_relative_entropy_says(seed: int) -> None:
    model, threshold = random_model(seed), 0.01
    expected = set()
    for gram in [gram for gram in model.energies if len(gram) == 2]:
        before, after = distribution(model, gram[0]), distribution(without(model, gram), gram[0])
        weight = math.exp(-model.energies[(3,) if gram[0] == 4 else (gram[0],)])
        entropy = weight * sum(p * math.log(p / q) for p, q in zip(before, after, strict=True))
        if math.exp(entropy) - 1 < threshold:
            expected.add(gram)
    pruned = copy.deepcopy(model)
    pruned.prune(threshold)
    assert set(model.energies) - set(pruned.energies) == expected
    for history in (0, 1, 2, 4):
        assert sum(distribution(pruned, history)) == pytest.approx(1.0)


def test_pruning_keeps_the_beginnings_of_what_stays() -> None:
    small = read(threshold=1e9)
    assert small.states == 1  # the empty history: all that is longer is gone
    assert small.arcs == 3
    assert small.final.tolist() == pytest.approx([1.2 * math.log(10)])
    assert read(threshold=1e-12).arcs == read().arcs
    with pytest.raises(GraphError, match="threshold is nan"):
        read(threshold=math.nan)


def test_pruning_what_is_no_distribution() -> None:
    # p(b | a) = 10⁹⁸·4 by its back-off weight: nothing can be said of the loss of the trigram.
    text = ARPA.replace("ngram 2=4", "ngram 2=3").replace("-0.4\ta b\t-0.25\n", "")
    text = text.replace("-0.5\ta\t-0.3", "-0.5\ta\t99")
    assert read(text, threshold=1e9).states == 3  # the empty history, <s>, and <s> a, which begins it
    # p(x | y) = e⁹⁹⁸: as a share of histories it counts as 1.
    unigrams = {(word,): 1.5 for word in range(3)}
    energies = unigrams | {(0, 1): 1.0, (1, 0, 1): 0.5}
    model = BackOffModel(["x", "y", "</s>"], 3, energies, {(1,): -1000.0}, start=None, end=2)
    model.prune(1e9)
    assert model.energies == unigrams
