import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from gtn_ebm import DataError
from recipes.handwriting_lines.reader import LineReader
from tests.recipes.handwriting_lines.small import small_reader, written


@pytest.fixture(scope="module")
def reader() -> LineReader:
    return small_reader()


@pytest.fixture
def saved(tmp_path: Path, reader: LineReader) -> Path:
    reader.save(tmp_path / "model")
    return tmp_path / "model"


def test_what_is_loaded_reads_as_what_was_saved(saved: Path, reader: LineReader) -> None:
    again = LineReader.load(saved)
    image = written("ab ba")
    assert again.alphabet == reader.alphabet
    assert torch.equal(again.emissions([image]).energies, reader.emissions([image]).energies)


def test_energies_of_a_line_do_not_depend_on_the_others(reader: LineReader) -> None:
    short, long = written("a"), written("ab ba")
    energies, lengths = reader.emissions([short, long])
    assert energies.dtype == torch.float32
    assert lengths.tolist() == [(24 + 32) // 4, (120 + 32) // 4]
    torch.testing.assert_close(energies[0, : lengths[0]], reader.emissions([short]).energies[0])
    assert energies.exp().isfinite().all()
    torch.testing.assert_close(energies[1].neg().exp().sum(1), torch.ones(int(lengths[1])))


def test_confidence_is_the_posterior_of_the_text(reader: LineReader) -> None:
    reading = reader.read(written("ab"))
    energies = reader.emissions([written("ab")]).energies[0]
    assert 0 <= reading.confidence <= 1
    assert reading.confidence == pytest.approx(np.exp(-reader.criterion.text_energy(energies, reading.text)))


def test_letters_share_the_columns_of_the_image(reader: LineReader) -> None:
    image = written("ab ba", 96)
    letters = reader.align(image, "ab ba")
    assert "".join(letter.text for letter in letters) == "ab ba"
    assert (letters[0].start, letters[-1].end) == (0, image.shape[1])
    assert all(0 <= letter.start <= letter.end for letter in letters)
    assert [letter.end for letter in letters[:-1]] == [letter.start for letter in letters[1:]]


def test_frames_are_in_pixels_of_the_image(reader: LineReader) -> None:
    assert [reader.x_of(frame, 96) for frame in (4, 5)] == [0, 8]


def test_the_text_of_another_line_is_refused(reader: LineReader) -> None:
    with pytest.raises(DataError, match="does not hold"):
        reader.align(written("a"), "abababababababababab")


def test_an_empty_text_has_no_letters(reader: LineReader) -> None:
    assert reader.align(written("a"), "") == ()


def test_a_line_of_10000_pixels(reader: LineReader) -> None:
    image = np.tile(written("ab ba"), (1, 84))[:, :10_000]
    assert reader.emissions([image]).energies.shape[1] == (10_000 + 32) // 4


def test_files_are_named_where_they_are_no_lines(tmp_path: Path, reader: LineReader) -> None:
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((40, 300), 255, np.uint8))
    (tmp_path / "text.png").write_text("no image")
    for name, problem in (
        ("blank.png", "no ink"),
        ("text.png", "not an image"),
        ("none.png", "no such file"),
    ):
        with pytest.raises(DataError, match=f"{name}.*{problem}"):
            reader.read(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"format": "other"}, "not a model of this recipe"),
        ({"criterion": "none"}, "no criterion 'none'"),
        ({"vocabulary": "ab"}, "no list of strings"),
        ({"vocabulary": ["a", "a"]}, "vocabulary is amiss"),
        ({"vocabulary": ["a"]}, "not the weights"),
        ({"channels": [1, 2]}, "not four numbers"),
        ({"channels": [1, 2, 3, 10**9]}, "whole numbers"),
        ({"hidden": "many"}, "whole numbers"),
    ],
)
def test_a_description_that_is_amiss(saved: Path, change: dict[str, object], problem: str) -> None:
    path = saved / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=problem):
        LineReader.load(saved)


@pytest.mark.parametrize("content", ["", "{", "[1]", "\0"])
def test_a_description_that_is_none(saved: Path, content: str) -> None:
    (saved / "model.json").write_text(content)
    with pytest.raises(DataError, match=r"model\.json"):
        LineReader.load(saved)


def test_weights_that_are_cut_short_or_no_numbers(saved: Path) -> None:
    path = saved / "model.safetensors"
    whole = path.read_bytes()
    weights = load(whole)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        LineReader.load(saved)
    nothing = torch.full_like(weights["network.last.bias"], torch.nan)
    path.write_bytes(save(weights | {"network.last.bias": nothing}))
    with pytest.raises(DataError, match="no finite number"):
        LineReader.load(saved)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        LineReader.load(saved)
