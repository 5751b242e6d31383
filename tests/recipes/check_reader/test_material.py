import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from gtn_ebm import DataError
from recipes.check_reader import material
from recipes.check_reader.data import Digits, read_boxes, read_folder, split
from recipes.check_reader.material import SYNTHETIC, cases, train_and_held_out, training_material


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "HELD_OUT_AMOUNTS", 3)


class TestTrainingMaterial:
    def test_is_the_training_part_and_validates_on_another(self, folder: Path) -> None:
        found, parts = training_material(str(folder), None), split(read_folder(folder))
        for labelled, part in ((found.images, "train"), (found.validation, "validation")):
            assert [(item.file, item.digits) for item in labelled] == [
                (example.file, example.digits) for example in parts[part]
            ]
        written = cv2.imread(str(parts["train"][0].path), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(found.images[0].image, written)

    def test_leaves_out_and_names_images_without_ink(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = shutil.copytree(folder, tmp_path / "data")
        blank = split(read_folder(data))["train"][2]
        cv2.imwrite(str(blank.path), np.full((50, 200), 255, np.uint8))
        found = training_material(str(data), None)
        assert len(found.images) == len(split(read_folder(data))["train"]) - 1
        assert blank.file not in [labelled.file for labelled in found.images]
        assert f"left out: {blank.path}: no ink" in capsys.readouterr().out

    def test_of_synthetic_amounts_validates_on_digits_held_out(self) -> None:
        found = training_material(SYNTHETIC, None)
        assert found.images == []
        assert len(found.validation) == 3

    def test_digest_tells_it_from_another(self, folder: Path) -> None:
        found, again = (training_material(str(folder), None) for _ in range(2))
        assert found.digest() == again.digest() != training_material(SYNTHETIC, None).digest()


class TestHeldOut:
    def test_digits_are_not_trained_on(self, digits: Digits) -> None:
        for_training, held_out = train_and_held_out(digits)
        assert len(for_training.labels) + len(held_out.labels) == len(digits.labels)
        assert len(held_out.labels) == pytest.approx(len(digits.labels) / 5, abs=1)
        assert not {image.tobytes() for image in for_training.images} & {
            image.tobytes() for image in held_out.images
        }
        assert set(held_out.labels) == set(range(10))


class TestCases:
    def test_are_a_folder_or_a_part_of_it(self, folder: Path) -> None:
        examples, boxes = read_folder(folder), read_boxes(folder)
        parts = split(examples)
        for part, chosen in (("all", examples), *parts.items()):
            found = list(cases(str(folder), part, None))
            assert [case.file for case in found] == [example.file for example in chosen]
            assert [case.digits for case in found] == [example.digits for example in chosen]
            assert [case.boxes for case in found] == [boxes[example.file] for example in chosen]

    def test_of_synthetic_amounts_are_none_that_training_validates_on(self) -> None:
        found = list(cases(SYNTHETIC, "all", None))
        assert [len(case.boxes) for case in found] == [len(case.digits) for case in found]
        validation = training_material(SYNTHETIC, None).validation
        assert not {case.image.tobytes() for case in found} & {item.image.tobytes() for item in validation}

    def test_of_what_is_not_there_are_refused_at_once(self, folder: Path, tmp_path: Path) -> None:
        for data, part, digits in (
            (str(folder), "half", None),
            (str(tmp_path / "absent"), "all", None),
        ):
            with pytest.raises(DataError):
                cases(data, part, digits)
        with pytest.raises(DataError):
            list(cases(SYNTHETIC, "all", str(tmp_path)))
