import json
from pathlib import Path

import pytest

from recipes.handwriting_lines import training
from recipes.handwriting_lines.__main__ import main
from tests.recipes.handwriting_lines.small import small_folder, small_network, small_reader


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_folder(tmp_path / "data")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    small_reader().save(tmp_path / "model")
    return tmp_path / "model"


def call(*arguments: object) -> int:
    """The exit code."""
    with pytest.raises(SystemExit) as exit:
        main([str(argument) for argument in arguments])
    return int(exit.value.code or 0)


def test_train_evaluate_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "LineNetwork", small_network)
    model = tmp_path / "trained"
    assert call("train", "--data", folder, "--out", model, "--epochs", 1) == 0
    report = tmp_path / "report.json"
    capsys.readouterr()
    assert call("evaluate", "--model", model, "--data", folder, "--json", report) == 0
    shown = json.loads(capsys.readouterr().out)
    written = json.loads(report.read_text())
    assert written.pop("errors")
    assert written == shown
    assert (shown["lines"], shown["characters"]) == (4, 14)
    assert shown["word_span_error"] >= 0
    for level in ("character", "word"):
        with_model = ("--lm", model / "texts.txt", "--level", level)
        assert call("evaluate", "--model", model, "--data", folder, *with_model) == 0


def test_one_bad_image_does_not_keep_the_others_from_being_read(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = sorted((folder / "line_images_normalized").iterdir())
    assert call("read", "--model", model, images[0], folder / "none.png", images[1], "--json") == 2
    output, error = capsys.readouterr()
    read = [json.loads(row) for row in output.splitlines()]
    assert [row["file"] for row in read] == [str(images[0]), str(images[1])]
    assert all(0 <= row["confidence"] <= 1 for row in read)
    assert "none.png: no such file" in error


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("train", "--data", "{folder}/none", "--out", "{folder}/x"), "no such folder"),
        (("train", "--data", "{folder}", "--out", "{folder}/train.txt"), "is a file"),
        (("train", "--data", "{folder}", "--out", "{folder}/x", "--loss", "none"), "no loss 'none'"),
        (("evaluate", "--model", "{folder}", "--data", "{folder}"), "model.json: no such file"),
        (("evaluate", "--model", "{model}", "--data", "{folder}", "--part", "test"), "has no part 'test'"),
        (("evaluate", "--model", "{model}", "--data", "{folder}", "--json", "{folder}"), "is a folder"),
        (("evaluate", "--model", "{model}", "--data", "{folder}", "--errors", "{folder}/n/e"), "no folder"),
        (
            ("read", "--model", "{model}", "a/x.png", "b/x.png", "--svg", "{folder}"),
            "2 images are named x.png",
        ),
        (("align", "--model", "{model}"), "give either --data, or --image and --text"),
        (("align", "--model", "{model}", "--data", "{folder}", "--out", "{folder}/a.txt"), ".json or .csv"),
        (
            (
                "evaluate",
                "--model",
                "{model}",
                "--data",
                "{folder}",
                "--lm",
                "{folder}/train.txt",
                "--level",
                "x",
            ),
            "no level 'x'",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: tuple[str, ...], problem: str, folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*(argument.format(folder=folder, model=model) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1


def test_read_gives_several_answers_and_draws(
    folder: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = sorted((folder / "line_images_normalized").iterdir())[0]
    (tmp_path / "text.txt").write_text("ab a\nba ab\n")
    drawn = tmp_path / "drawn"
    options = ("--best", 3, "--lm", tmp_path / "text.txt", "--svg", drawn)
    assert call("read", "--model", model, image, *options) == 0
    rows = [row.split("\t") for row in capsys.readouterr().out.splitlines()]
    assert 1 <= len(rows) <= 3
    assert {row[0] for row in rows} == {str(image)}
    confidences = [float(row[2].removeprefix("confidence ")) for row in rows]
    assert confidences == sorted(confidences, reverse=True)
    assert {file.name for file in drawn.iterdir()} == {
        f"{image.name}.alignment.svg",
        f"{image.name}.lattice.svg",
    }
    assert call("read", "--model", model, image, "--best", 2, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["others"]) == 1
    assert "".join(letter["text"] for letter in answer["letters"]) == answer["text"].replace(" ", "")


def test_align_writes_tables_and_objects(
    folder: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, drawn = tmp_path / "words.csv", tmp_path / "drawn"
    assert call("align", "--model", model, "--data", folder, "--out", table, "--svg", drawn) == 0
    rows = table.read_text().splitlines()
    assert rows[0] == "line,kind,text,start,end"
    assert sum(row.split(",")[1] == "word" for row in rows[1:]) == 6
    assert len(list(drawn.iterdir())) == 4
    image = sorted((folder / "line_images_normalized").iterdir())[0]
    assert call("align", "--model", model, "--image", image, "--text", "a b") == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert [word["text"] for word in line["words"]] == ["a", "b"]


def test_errors_are_shown_on_a_page(folder: Path, model: Path, tmp_path: Path) -> None:
    page = tmp_path / "errors.html"
    assert call("evaluate", "--model", model, "--data", folder, "--errors", page) == 0
    assert "of 4 lines were read wrong" in page.read_text(encoding="utf-8")
