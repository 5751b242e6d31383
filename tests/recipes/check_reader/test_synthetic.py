import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from gtn_ebm.errors import DataError
from recipes.check_reader.data import Digits, load_image, read_boxes, read_digits, read_folder
from recipes.check_reader.synthetic import Amounts, SyntheticAmount, write_folder

COUNT = 400


@pytest.fixture(scope="module")
def digits() -> Digits:
    return read_digits()


@pytest.fixture(scope="module")
def amounts(digits: Digits) -> list[SyntheticAmount]:
    return [Amounts(digits, seed=7).render(index) for index in range(COUNT)]


def checksum(index: int) -> int:
    return int(Amounts(read_digits(), seed=7).render(index).image.astype(int).sum())


class TestDeterminism:
    def test_an_amount_does_not_depend_on_those_before_it(
        self, digits: Digits, amounts: list[SyntheticAmount]
    ) -> None:
        again = Amounts(digits, seed=7).render(17)
        np.testing.assert_array_equal(again.image, amounts[17].image)
        assert (again.digits, again.drawn, again.boxes) == (
            amounts[17].digits,
            amounts[17].drawn,
            amounts[17].boxes,
        )

    def test_another_process_draws_the_same(self, amounts: list[SyntheticAmount]) -> None:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.map(checksum, [3, 1]) == [int(amounts[i].image.astype(int).sum()) for i in (3, 1)]

    def test_seeds_and_indices_make_a_difference(
        self, digits: Digits, amounts: list[SyntheticAmount]
    ) -> None:
        other = Amounts(digits, seed=8)
        assert [other.render(i).drawn for i in range(20)] != [amount.drawn for amount in amounts[:20]]
        assert len({amount.image.tobytes() for amount in amounts}) == COUNT


class TestAnswer:
    def test_it_is_the_integer_amount_and_cents_that_are_not_zero(
        self, amounts: list[SyntheticAmount]
    ) -> None:
        for amount in amounts:
            written = amount.drawn.rstrip(".,-=≠")
            for zero_cents in ("00/100", "oo"):
                written = written.removesuffix(zero_cents)
            if written[-3:] in (",00", ".00"):
                written = written[:-3]
            assert amount.digits == "".join(filter(str.isdigit, written))

    def test_amounts_vary_as_real_ones_do(self, amounts: list[SyntheticAmount]) -> None:
        lengths = np.bincount([len(amount.digits) for amount in amounts], minlength=9) / COUNT
        assert 0.04 < lengths[3] < 0.18
        assert lengths[4] + lengths[5] > 0.65
        assert not any(amount.digits.startswith("0") for amount in amounts)
        assert all(any(mark in amount.drawn for amount in amounts) for mark in ".,- =$")


class TestImage:
    def test_it_has_the_size_of_a_real_one(self, amounts: list[SyntheticAmount]) -> None:
        heights = [amount.image.shape[0] for amount in amounts]
        assert all(amount.image.dtype == np.uint8 and amount.image.ndim == 2 for amount in amounts)
        assert min(heights) >= 24
        assert 45 < np.median(heights) < 62
        assert np.percentile(heights, 90) < 85

    def test_each_digit_of_the_answer_has_a_box_in_the_image(self, amounts: list[SyntheticAmount]) -> None:
        for amount in amounts:
            height, width = amount.image.shape
            assert len(amount.boxes) == len(amount.digits)
            assert all(x >= 0 and y >= 0 and w > 0 and h > 0 for x, y, w, h in amount.boxes)
            assert all(x + w <= width and y + h <= height for x, y, w, h in amount.boxes)
            centres = [x + w / 2 for x, _, w, _ in amount.boxes]
            assert centres == sorted(centres)

    def test_boxes_are_where_the_ink_is(self, amounts: list[SyntheticAmount]) -> None:
        darker = 0
        for amount in amounts:
            inside = np.zeros(amount.image.shape, bool)
            for x, y, w, h in amount.boxes:
                inside[int(y) : int(y + h), int(x) : int(x + w)] = True
            darkest = amount.image <= np.percentile(amount.image, 5)
            darker += inside[darkest].mean() > inside.mean()
        assert darker > 0.9 * COUNT

    def test_ink_is_darker_than_paper(self, amounts: list[SyntheticAmount]) -> None:
        contrast = [np.percentile(amount.image, 70) - np.percentile(amount.image, 3) for amount in amounts]
        assert 80 < np.median(contrast) < 140
        assert min(contrast) > 15


class TestWriteFolder:
    def test_it_reads_back(self, tmp_path: Path, digits: Digits, amounts: list[SyntheticAmount]) -> None:
        write_folder(tmp_path / "set", 5, digits, seed=7)
        examples, boxes = read_folder(tmp_path / "set"), read_boxes(tmp_path / "set")
        assert [example.digits for example in examples] == [amount.digits for amount in amounts[:5]]
        for example, amount in zip(examples, amounts, strict=False):
            np.testing.assert_array_equal(load_image(example.path), amount.image)
            assert boxes[example.file] == amount.boxes
        assert [path.name for path in tmp_path.iterdir()] == ["set"]

    def test_an_existing_folder_is_left_alone(self, tmp_path: Path, digits: Digits) -> None:
        (tmp_path / "note.txt").write_text("mine")
        with pytest.raises(DataError, match="exists already"):
            write_folder(tmp_path, 1, digits)
        assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]

    def test_nothing_is_left_of_a_failed_run(
        self, tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cv2.imwrite", lambda *_: False)
        with pytest.raises(DataError, match="could not be written"):
            write_folder(tmp_path / "set", 1, digits)
        assert list(tmp_path.iterdir()) == []


def test_digits_that_are_missing(digits: Digits) -> None:
    with pytest.raises(DataError, match=r"digits \[3\]"):
        Amounts(Digits(digits.images[digits.labels != 3], digits.labels[digits.labels != 3]))


def test_negative_numbers(digits: Digits) -> None:
    with pytest.raises(DataError, match="seed -1"):
        Amounts(digits, seed=-1)
    with pytest.raises(IndexError, match="amount -1"):
        Amounts(digits).render(-1)


@pytest.mark.data
def test_mnist_digits(data_directory: Path) -> None:
    amounts = Amounts(read_digits(data_directory / "mnist"), seed=1)
    heights = [amounts.render(index).image.shape[0] for index in range(200)]
    assert 45 < np.median(heights) < 62
