"""Lines of invented words: the same for a seed, and with ink where their words are said to be."""

import numpy as np
import pytest

from gtn_ebm import DataError
from recipes.handwriting_lines.data import load
from recipes.handwriting_lines.synthetic import HEIGHT, SyntheticLines, vocabulary


def test_a_line_depends_on_its_seed_and_number_alone() -> None:
    line, same, other = (
        SyntheticLines(1).lines(4)[3],
        SyntheticLines(1).line(3),
        SyntheticLines(2).line(3),
    )
    assert line.text == same.text
    assert line.words == same.words
    np.testing.assert_array_equal(line.load(), same.load())
    np.testing.assert_array_equal(line.load(), line.load())
    assert line.text != other.text


def test_words_have_their_ink_and_none_lies_between_them() -> None:
    for line in SyntheticLines(3, words=(3, 5), fonts=("rowmans",)).lines(20):
        image = line.load()
        assert image.dtype == np.uint8
        assert image.shape[0] == HEIGHT
        assert line.text is not None
        assert line.words is not None
        assert len(line.words) == len(line.text.split(" ")) >= 3
        ink = image < (int(image.min()) + int(np.median(image))) // 2
        inked = np.zeros(image.shape[1], bool)
        for start, end in line.words:
            columns = np.flatnonzero(ink[:, start:end].any(0))
            assert columns[0] <= 3
            assert columns[-1] >= end - start - 4
            inked[start:end] = True
        assert not ink[:, ~inked].any()


def test_fonts_of_a_set_differ_and_all_letters_occur() -> None:
    lines = SyntheticLines(0).lines(300)
    assert set("".join(line.text or "" for line in lines)) == set("abcdefghilmnopqrstuvx. ")
    assert vocabulary()[0] == "et"
    whole = " ".join(line.text or "" for line in lines).replace(".", "").split()
    unseen = sum(word not in vocabulary() for word in whole) / len(whole)
    assert 0.03 < unseen < 0.2


def test_parts_of_the_synthetic_data_are_other_lines() -> None:
    train, valid = load("synthetic", "train"), load("synthetic", "valid")
    assert {line.name for line in train}.isdisjoint(line.name for line in valid)
    assert {line.text for line in train}.isdisjoint(line.text for line in valid)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"words": (0, 2)}, "word"),
        ({"words": (3, 2)}, "word"),
        ({"fonts": ("nosuch",)}, "no font 'nosuch'.*rowmans"),
    ],
)
def test_what_makes_no_lines_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        SyntheticLines(**arguments)


def test_lines_begin_at_number_0() -> None:
    with pytest.raises(IndexError):
        SyntheticLines().line(-1)
