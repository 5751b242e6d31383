import pytest
import torch
from torch.nn import functional

from gtn_ebm import GraphError
from recipes.handwriting_lines.criteria import CTC, Piece


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
