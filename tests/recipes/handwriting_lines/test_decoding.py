"""The decoder against all strings there are, with and without a language model."""

import itertools
import math

import pytest
import torch
from torch.nn import functional

from gtn_ebm import Graph, GraphError, Symbols, compose, minimum_energy
from gtn_ebm.dense.topologies import correct_ctc
from recipes.handwriting_lines.criteria import CTC
from recipes.handwriting_lines.decoding import LineDecoder, Weights
from recipes.handwriting_lines.language_model import character_model, word_model

FRAMES = 4


@pytest.fixture
def emissions() -> torch.Tensor:
    scores = torch.randn(FRAMES, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return -(2 * scores).log_softmax(-1)


def loss(emissions: torch.Tensor, text: str) -> float:
    labels = torch.tensor([[" ab".index(character) + 1 for character in text]], dtype=torch.long)
    found = functional.ctc_loss(
        -emissions[:, None], labels, [FRAMES], [len(text)], reduction="none", zero_infinity=False
    )
    return float(found)


def strings() -> list[str]:
    return ["".join(some) for length in range(FRAMES + 1) for some in itertools.product(" ab", repeat=length)]


def test_answers_and_confidences_are_exact_where_nothing_is_pruned(
    emissions: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recipes.handwriting_lines.decoding.LATTICE_BEAM", 100.0)
    decoder = LineDecoder(CTC(" ab").topology(), beam=math.inf)
    found = decoder.answers(emissions, count=1000)
    expected = {text: loss(emissions, text) for text in strings()}
    assert {answer.text for answer in found} == {text for text, paid in expected.items() if paid < math.inf}
    for answer in found:
        assert answer.energy == pytest.approx(expected[answer.text], rel=1e-6)
        assert answer.confidence == pytest.approx(math.exp(-expected[answer.text]), rel=1e-5)
    assert [answer.energy for answer in found] == sorted(answer.energy for answer in found)
    assert sum(answer.confidence for answer in found) == pytest.approx(1)


def test_a_model_is_weighed_against_the_frames(emissions: torch.Tensor) -> None:
    topology = CTC(" ab").topology()
    characters = topology.output_symbols
    assert characters is not None
    model = character_model(["aaa", "a a"], characters, order=2)
    weights = Weights(model=1.5, frame=0.25)
    decoder = LineDecoder(topology, model, weights=weights, beam=math.inf)
    path = decoder.decode(emissions).path
    assert path is not None

    def energy(text: str) -> float:
        line = Graph.linear(characters.labels(text)).with_symbols(characters, characters)
        of_model = float(minimum_energy(compose(line, model)))
        ways = compose(correct_ctc(4), Graph.linear([label + 1 for label in characters.labels(text)]))
        frames = torch.arange(FRAMES).repeat_interleave(4)
        labels = torch.arange(4).repeat(FRAMES)
        matrix = Graph.linear([0]) if FRAMES == 0 else _matrix(frames, labels, emissions)
        of_frames = float(minimum_energy(compose(matrix, ways.to(torch.float64))))
        return of_frames + weights.model * of_model + weights.frame * (FRAMES - len(text))

    best = min(strings(), key=energy)
    assert "".join(map(characters.name, path.output_labels)) == best
    assert float(path.energy) == pytest.approx(energy(best), rel=1e-5)


def _matrix(frames: torch.Tensor, labels: torch.Tensor, emissions: torch.Tensor) -> Graph:
    from gtn_ebm import Structure

    structure = Structure(frames.numpy(), frames.numpy() + 1, labels.numpy())
    return Graph(structure, emissions.reshape(-1), initial=[0], final=[FRAMES])


def test_a_model_mends_what_the_network_reads_wrong() -> None:
    criterion = CTC(" abc")
    seen = [1 + " abc".index(character) for character in "ab cb"]
    scores = torch.full((10, 5), -4.0)
    scores[torch.arange(0, 10, 2), seen] = 2.0
    scores[torch.arange(1, 10, 2), 0] = 2.0
    scores[6, [4, 2]] = torch.tensor([1.0, 0.9])  # c, a little likelier than a
    emissions = criterion.energies(scores)
    texts = ["ab ab", "ab ab ab"]
    assert LineDecoder(criterion.topology()).answers(emissions)[0].text == "ab cb"
    for model in (character_model(texts, criterion.characters), word_model(texts, criterion.characters)):
        first, second = LineDecoder(criterion.topology(), model).answers(emissions, 2)
        assert first.text == "ab ab"
        assert second.text == "ab cb"
        assert 1 >= first.confidence > second.confidence > 0
    # A lexicon that has none of the words spells them.
    none = word_model(["cc bbb"], criterion.characters)
    assert LineDecoder(criterion.topology(), none).answers(emissions)[0].text == "ab cb"


def test_no_frames_say_nothing() -> None:
    decoder = LineDecoder(CTC(" ab").topology(), character_model(["ab"], Symbols(" ab")))
    (answer,) = decoder.answers(torch.zeros(0, 4))
    assert answer.text == ""
    assert answer.confidence == pytest.approx(1)
    assert decoder.answers(torch.full((2, 4), torch.inf)) == []


def test_a_topology_needs_names() -> None:
    with pytest.raises(GraphError, match="output symbols"):
        LineDecoder(correct_ctc(4))
