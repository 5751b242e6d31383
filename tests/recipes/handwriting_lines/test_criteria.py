import itertools
from collections.abc import Sequence

import pytest
import torch
from torch.nn import functional

from gtn_ebm import GraphError
from gtn_ebm.dense import best_path
from recipes.handwriting_lines.criteria import ASG, CRITERIA, CTC, Criterion, Piece, WordPieces
from recipes.handwriting_lines.ink import ink_of
from recipes.handwriting_lines.reader import batch
from recipes.handwriting_lines.synthetic import SyntheticLines
from tests.recipes.handwriting_lines.small import small_network


@pytest.fixture
def scores() -> torch.Tensor:
    return torch.randn(2, 12, 4, generator=torch.Generator().manual_seed(0))


def test_loss_is_that_of_connectionist_temporal_classification(scores: torch.Tensor) -> None:
    texts, lengths = ["abba", "a b"], [12, 9]
    criterion = CTC([" ", "a", "b"])
    labels = torch.tensor([[2, 3, 3, 2], [2, 1, 3, 0]])
    log_probs = scores.log_softmax(2).transpose(0, 1)
    expected = functional.ctc_loss(
        log_probs, labels, torch.tensor(lengths), torch.tensor([4, 3]), reduction="none"
    )
    torch.testing.assert_close(criterion(scores, lengths, texts), expected)


def test_a_text_with_too_few_frames_has_no_finite_loss(scores: torch.Tensor) -> None:
    scores.requires_grad_()
    loss = CTC([" ", "a", "b"])(scores, [12, 3], ["ab", "aa a"])
    assert loss.isinf().tolist() == [False, True]
    loss.sum().backward()
    assert scores.grad is not None
    assert (scores.grad[1] == 0).all()


def test_the_empty_text_is_one(scores: torch.Tensor) -> None:
    criterion = CTC([" ", "a", "b"])
    expected = -scores[0].log_softmax(1)[:, 0].sum()
    assert criterion(scores, [12, 12], ["", ""])[0].item() == pytest.approx(expected.item(), rel=1e-5)
    assert criterion.align(criterion.energies(scores[0]), "") == []


def energies(read: str) -> torch.Tensor:
    """Frames that are sure of their classes, "-" of none."""
    return 5 - 5 * functional.one_hot(torch.tensor(["- ab".index(c) for c in read]), 4).float()


def test_greedy_reading_joins_equal_frames_and_skips_blanks() -> None:
    pieces = CTC([" ", "a", "b"]).greedy(energies("-aa-a b--"))
    assert pieces == [Piece("a", 1, 3), Piece("a", 4, 5), Piece(" ", 5, 6), Piece("b", 6, 7)]
    assert CTC([" ", "a", "b"]).greedy(energies("---")) == []


def test_alignment_follows_the_text_and_not_what_is_read() -> None:
    pieces = CTC([" ", "a", "b"]).align(energies("aa-bb"), "a")
    assert pieces == [Piece("a", 0, 2)]


def test_a_character_that_training_never_saw_is_what_fits_between_the_others() -> None:
    pieces = CTC([" ", "a", "b"]).align(energies("-aa-b--a"), "aka")
    assert pieces == [Piece("a", 1, 3), Piece("k", 4, 5), Piece("a", 7, 8)]


def test_alignment_says_that_frames_are_missing() -> None:
    with pytest.raises(GraphError, match="frames"):
        CTC([" ", "a", "b"]).align(energies("ab"), "aba")


def all_ways(energies: torch.Tensor, classes: int) -> list[tuple[tuple[int, ...], torch.Tensor]]:
    """Each sequence of classes of the frames, and the energy of its frames."""
    sequences = itertools.product(range(classes), repeat=len(energies))
    return [(some, energies[range(len(energies)), some].sum()) for some in sequences]


def collapsed(labels: Sequence[int]) -> list[int]:
    return [label for label, _ in itertools.groupby(labels)]


def free(energies: list[torch.Tensor]) -> torch.Tensor:
    return -torch.logsumexp(-torch.stack(energies), 0)


def test_auto_segmentation_sums_over_all_ways_to_write_a_text() -> None:
    scores = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    criterion = ASG("ab")
    with torch.no_grad():
        criterion.loss.transitions.copy_(torch.randn(3, 3, generator=torch.Generator().manual_seed(2)))
    transitions = criterion.loss.transitions.detach().double()
    ways = {}
    for labels, energy in all_ways(criterion.energies(scores).double(), 3):
        moves = sum(transitions[pair] for pair in itertools.pairwise(labels))
        ways[labels] = energy + moves
    for text, spelt in (("ab", [0, 1]), ("aab", [0, 2, 1]), ("aaa", [0, 2, 0]), ("b", [1])):
        desired = free([energy for labels, energy in ways.items() if collapsed(labels) == spelt])
        expected = desired - free(list(ways.values()))
        found = criterion(scores[None], [5], [text])
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    best = min(ways, key=lambda labels: float(ways[labels]))
    assert len(criterion.greedy(criterion.energies(scores))) == len(collapsed(best))


def test_word_pieces_sum_over_all_decompositions_of_a_text() -> None:
    criterion = WordPieces(["a", "b", "ab", "ba"])
    scores = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    pieces = ["", *criterion.vocabulary]
    ways = all_ways(criterion.energies(scores).double(), 5)
    for text in ("ab", "aba", "", "bb", "abab"):
        spelt = [energy for labels, energy in ways if "".join(pieces[k] for k in collapsed(labels)) == text]
        found = criterion(scores[None], [4], [text])
        assert found.item() == pytest.approx(free(spelt).item(), rel=1e-5)


def test_pieces_are_frequent_in_the_texts_and_within_words() -> None:
    texts = ["abcab abd", "ab cd"] * 5
    vocabulary = WordPieces.vocabulary_of(texts)
    assert vocabulary[:5] == [" ", "a", "b", "c", "d"]
    assert vocabulary[5] == "ab"  # 20 times
    assert {"abc", "cab", "bca", "abca", "bcab", "abd", "cd"} <= set(vocabulary)
    assert not any(" " in piece for piece in vocabulary[1:])
    assert "bcd" not in vocabulary
    assert WordPieces.vocabulary_of(["abc"]) == ["a", "b", "c"]  # too rare


@pytest.mark.parametrize("kind", CRITERIA.values())
def test_each_criterion_learns_lines(kind: type[Criterion]) -> None:
    lines = SyntheticLines(5).lines(6)
    texts = [str(line.text) for line in lines]
    torch.manual_seed(0)
    criterion = kind(kind.vocabulary_of(texts * 5))
    network = small_network(len(criterion.classes))
    ink, lengths = batch([ink_of(line.load()) for line in lines])
    optimiser = torch.optim.Adam([*network.parameters(), *criterion.parameters()], 0.01)
    losses = []
    for _ in range(10):
        loss = criterion(network(ink).scores, lengths, texts).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.85 * losses[0]
    assert all(weight.grad is not None and weight.grad.any() for weight in criterion.parameters())
    energies = criterion.energies(network(ink).scores[0, : lengths[0]]).detach()
    assert "".join(piece.text for piece in criterion.align(energies, texts[0])) == texts[0]
    # What the topology's best path writes is what is read without it.
    (path,) = best_path(energies[None], None, criterion.topology())
    assert path is not None
    read = "".join(map(criterion.characters.name, path.output_labels))
    assert read == "".join(piece.text for piece in criterion.greedy(energies))


@pytest.mark.parametrize("kind", CRITERIA.values())
def test_any_criterion_takes_texts_that_are_empty_or_have_other_characters(kind: type[Criterion]) -> None:
    criterion = kind(["a", "b"])
    scores = torch.randn(1, 9, len(criterion.classes), generator=torch.Generator().manual_seed(1))
    energies = criterion.energies(scores[0])
    pieces = criterion.align(energies, "aéb")
    assert "".join(piece.text for piece in pieces) == "aéb"
    assert [piece.start for piece in pieces] == sorted(piece.start for piece in pieces)
    assert criterion(scores, [9], ["ab"]).isfinite().all()
    assert criterion(scores, [1], ["abab"]).isinf().all()
    empty = criterion(scores, [9], [""])  # without a blank no frame can say nothing
    assert empty.isinf().all() if criterion.blank is None else empty.isfinite().all()
