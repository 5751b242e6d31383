import numpy as np
import pytest

from gtn_ebm import DataError
from gtn_ebm.dense import Span
from recipes.speech_alignment.alignment import misfits
from recipes.speech_alignment.flags import DOUBTFUL, Limits, as_alignment, check_fits
from recipes.speech_alignment.pieces import Sounding, pieces_of
from recipes.speech_alignment.transcript import Token, Word

WORDS = [Word("one", (("a", "b"),)), Word("two", (("c",),))]
LIMITS = Limits(word=1.0, phone=3, confidence=0.5, misfit=9.0)


def test_misfits_are_the_greatest_sums_over_stretches_that_end_in_a_token() -> None:
    chance = np.random.default_rng(0)
    for _ in range(50):
        ends = np.cumsum(chance.integers(1, 6, 6))
        spans = [Span(0, int(a), int(b), 0.0, 0.0) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        tokens = [
            Token(kind, word, "a") for kind, word in [("word", 0)] * 3 + [("silence", 1)] + [("word", 1)] * 2
        ]
        better = chance.normal(size=ends[-1])
        begins = [0, 0, 0, ends[2], ends[3], ends[3]]
        wanted = [
            max([0.0, *(better[i:j].sum() for j in range(s.start + 1, s.end + 1) for i in range(begin, j))])
            for s, begin in zip(spans, begins, strict=True)
        ]
        assert misfits(better.tolist(), tokens, spans) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("of_first", "flags"),
    [({}, ()), ({"confidence": 0.1}, ("low confidence",)), ({"misfit": 9.5}, ("poor fit",)),
     ({"end": 1.5}, ("too long",))],
)  # fmt: skip
def test_what_is_not_plausible_is_flagged(of_first: dict[str, float], flags: tuple[str, ...]) -> None:
    first = Sounding(Token("word", 0, "a"), 0.0, 0.2, 20, 0.9)._replace(**of_first)
    second = Sounding(Token("word", 1, "c"), 1.6, 1.615, 3, 0.9)
    found = as_alignment("x", 2.0, WORDS, pieces_of([first, second]), LIMITS)
    assert [word.flags for word in found.words] == [flags, ()]
    assert found.phones[1].flags == ("too short",)


def test_texts_that_are_far_too_long_are_refused() -> None:
    check_fits(WORDS * 20, 10.0)
    with pytest.raises(DataError, match="nobody says 200 words in it"):
        check_fits(WORDS * 100, 10.0)


def test_a_recording_of_which_most_words_are_flagged_is_doubtful() -> None:
    first = Sounding(Token("word", 0, "a"), 0.0, 0.2, 20, 0.1)
    second = Sounding(Token("word", 1, "c"), 0.2, 0.4, 20, 0.9)
    for confidence, flags in ((0.9, ()), (0.1, (DOUBTFUL,))):
        pieces = pieces_of([first, second._replace(confidence=confidence)])
        assert as_alignment("x", 2.0, WORDS, pieces, LIMITS).flags == flags
