from pathlib import Path

import pytest

from gtn_ebm import DataError
from recipes.handwriting_lines.data import load
from recipes.handwriting_lines.saint_gall import is_layout, read_folder
from tests.recipes.handwriting_lines.small import TEXTS, small_folder, spans, written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_folder(tmp_path / "data")


def write(folder: Path, file: str, content: str) -> None:
    (folder / file).write_text(content, encoding="utf-8")


def test_lines_of_each_part(folder: Path) -> None:
    assert is_layout(folder)
    parts = read_folder(folder)
    assert {part: [line.text for line in lines] for part, lines in parts.items()} == {
        "train": list(TEXTS[:4]),
        "valid": list(TEXTS[4:]),
    }
    first = parts["valid"][3]
    assert first.name == "csg-002-04"
    assert list(first.words or ()) == spans(TEXTS[7], 2)
    assert (first.load() == written(TEXTS[7], 96)).all()
    assert parts["train"][0].words is None


def test_marks_and_the_sign_for_et_are_one_character_each(folder: Path) -> None:
    write(folder, "transcription.txt", "csg-001-01 S-et|a-b-pt|et saet|ab|et\n")
    assert [line.text for line in load(str(folder), "train")] == ["S& ab. &"]


def test_a_line_without_an_image_is_left_out(folder: Path) -> None:
    (folder / "line_images_normalized" / "csg-001-02.png").unlink()
    assert [line.name[-2:] for line in load(str(folder), "train")] == ["01", "03", "04"]


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("transcription.txt", "\n", "no transcriptions"),
        ("transcription.txt", "csg-001-01\n", "line 1: 'csg-001-01' is no transcription"),
        ("transcription.txt", "csg-001-01 a-b ab\ncsg-001-01 a-b ab\n", "line 2: csg-001-01 .* second time"),
        ("transcription.txt", "csg-001-01 a-qu-a x\n", "line 1: 'qu' .* is no character"),
        ("word_location.txt", "csg-001-01 99 5\n", "word_location.txt, line 1: .* holds no x-spans"),
        ("word_location.txt", "csg-001-01 99 9-5\n", "holds no x-spans"),
        ("word_location.txt", "csg-001-01 99 1-5|6-7\n", "2 spans, but csg-001-01 has 1 words"),
        ("train.txt", "csg-009\n", "no part 'train'; it has valid"),
    ],
)
def test_what_is_amiss_is_named(folder: Path, file: str, content: str, problem: str) -> None:
    write(folder, file, content)
    with pytest.raises(DataError, match=problem):
        load(str(folder), "train")


def test_a_folder_without_images_is_refused(folder: Path) -> None:
    for image in (folder / "line_images_normalized").iterdir():
        image.unlink()
    with pytest.raises(DataError, match="no line of the listed pages"):
        load(str(folder), "train")


def test_what_is_no_utf8_is_refused(folder: Path) -> None:
    (folder / "transcription.txt").write_bytes(b"csg-001-01 \xff")
    with pytest.raises(DataError, match="UTF-8"):
        load(str(folder), "train")


def test_a_folder_without_lists_of_pages_is_refused(folder: Path) -> None:
    for part in ("train", "valid"):
        (folder / f"{part}.txt").unlink()
    with pytest.raises(DataError, match="no list of pages"):
        load(str(folder), "train")


@pytest.mark.data
def test_the_real_one(data_directory: Path) -> None:
    parts = read_folder(data_directory / "saint_gall")
    assert {part: len(lines) for part, lines in parts.items()} == {"train": 466, "valid": 235}
    assert parts["train"][0].text == "r& amorem. sicuti de eo priusquam nascer&ur provisum ee"
    assert all(len(line.words or ()) == len((line.text or "").split()) for line in parts["valid"])
    assert parts["train"][0].load().shape[0] == 120
