import pytest

from recipes.handwriting_lines.reader import Letter
from recipes.handwriting_lines.words import word_spans
from tests.recipes.handwriting_lines.small import GLYPH, spans, written


@pytest.mark.parametrize("text", ["ab", "a b", "ab ba a", "b ab bba"])
@pytest.mark.parametrize("shift", [-5, 0, 5])
@pytest.mark.parametrize("scale", [1, 2])
def test_words_are_parted_by_the_paper_between_them(text: str, shift: int, scale: int) -> None:
    """Wherever in its cell the network was sure of a letter."""
    letters = [
        Letter(character, scale * (place * GLYPH + shift), scale * ((place + 1) * GLYPH + shift))
        for place, character in enumerate(text)
    ]
    assert word_spans(written(text, 48 * scale), letters) == spans(text, scale)


def test_words_that_touch_are_parted_somewhere_between() -> None:
    image = written("aba")
    image[20:24] = 0  # a stroke through all
    letters = [Letter("a", 0, GLYPH), Letter(" ", GLYPH, 2 * GLYPH), Letter("a", 2 * GLYPH, 3 * GLYPH)]
    first, second = word_spans(image, letters)
    assert first[1] == second[0] == pytest.approx(1.5 * GLYPH, abs=1)
    assert (first[0], second[1]) == (0, 3 * GLYPH)


def test_no_letters_are_no_words() -> None:
    assert word_spans(written("a"), []) == word_spans(written("a"), [Letter(" ", 0, GLYPH)]) == []
