"""The loader of the IAM database, on a folder of the same layout that the tests write."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from gtn_ebm import DataError
from recipes.handwriting_lines import iam
from recipes.handwriting_lines.data import load

TRANSCRIPTIONS = """#--- lines.txt ---#
#
# a01-000u-00 ok 154 19 408 746 1661 89 A|MOVE|to|stop|Mr.|Gaitskell|from
a01-000u-00 ok 154 19 408 746 1661 89 A|MOVE|to|stop|Mr.|Gaitskell|from
a01-000u-01 err 156 17 395 932 1850 105 nominating|any  more|Labour

b02-017-00 ok 160 20 1 2 3 4 life|"|Peers|"
c03-003a-00 ok 160 20 1 2 3 4 &|<|é
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ascii").mkdir()
    (tmp_path / "ascii" / "lines.txt").write_text(TRANSCRIPTIONS, encoding="utf-8")
    for grey, name in enumerate(("a01-000u-00", "a01-000u-01", "b02-017-00", "c03-003a-00")):
        form = name.rpartition("-")[0]
        (tmp_path / "lines" / form[:3] / form).mkdir(parents=True, exist_ok=True)
        image = np.full((20, 60 + grey), 200 + grey, np.uint8)
        cv2.imwrite(str(tmp_path / "lines" / form[:3] / form / f"{name}.png"), image)
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "trainset.txt").write_text("a01-000u\n")
    (tmp_path / "task" / "validationset1.txt").write_text("b02-017-00\n")
    (tmp_path / "task" / "validationset2.txt").write_text("b02-017-00\nc03-003a-00\n")
    (tmp_path / "task" / "LargeWriterIndependentTextLineRecognitionTask.txt").write_text("a read me\n")
    return tmp_path


def test_lines_are_those_of_their_lists(folder: Path) -> None:
    train, valid = load(str(folder), "train"), load(str(folder), "valid")
    assert [(line.name, line.text) for line in train] == [
        ("a01-000u-00", "A MOVE to stop Mr. Gaitskell from"),
        ("a01-000u-01", "nominating any more Labour"),
    ]
    assert [line.text for line in valid] == ['life " Peers "', "& < é"]
    assert train[1].load().shape == (20, 61)
    assert train[1].load()[0, 0] == 201
    assert train[0].words is None
    with pytest.raises(DataError, match=r"no part 'test'.*train, valid"):
        load(str(folder), "test")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("ascii/lines.txt", "a01-000u-00 ok 154 19\n", "lines.txt, line 1: .* is no transcription"),
        ("ascii/lines.txt", "a01-000u-00 so 1 2 3 4 5 6 A\n", "line 1: .* is no transcription"),
        ("ascii/lines.txt", "../../etc-00 ok 1 2 3 4 5 6 A\n", "line 1: .* is no transcription"),
        ("ascii/lines.txt", TRANSCRIPTIONS + "b02-017-00 ok 1 2 3 4 5 6 A\n", "line 9: .* a second time"),
        ("ascii/lines.txt", "# nothing\n", "no transcriptions"),
        ("task/trainset.txt", "a01-000u\nz99-999\n", "trainset.txt, line 2: 'z99-999' is no line or form"),
    ],
)
def test_a_file_of_another_form_is_refused_by_file_and_line(
    folder: Path, file: str, text: str, message: str
) -> None:
    (folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(str(folder), "train")


def test_what_is_missing_is_named(folder: Path) -> None:
    (folder / "lines" / "a01" / "a01-000u" / "a01-000u-00.png").unlink()
    with pytest.raises(DataError, match=r"a01-000u-00\.png: no such file"):
        load(str(folder), "train")[0].load()
    (folder / "ascii" / "lines.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"lines\.txt: cannot be read"):
        load(str(folder), "train")
    (folder / "lines").rename(folder / "other")
    (folder / "ascii" / "lines.txt").write_text(TRANSCRIPTIONS, encoding="utf-8")
    with pytest.raises(DataError, match="lines: no such folder"):
        load(str(folder), "train")


def test_a_folder_without_lists_says_what_was_looked_for(folder: Path) -> None:
    (folder / "task" / "trainset.txt").unlink()
    with pytest.raises(DataError, match=r"looked for train\*\.txt"):
        load(str(folder), "train")
    (folder / "ascii" / "lines.txt").unlink()
    assert not iam.is_layout(folder)
    with pytest.raises(DataError, match=r"ascii/lines\.txt \(IAM\).*PAGE or ALTO"):
        load(str(folder), "train")
