import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from recipes.check_reader import __main__ as commands
from recipes.check_reader.reader import CheckReader


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], small: None) -> Run:
    """Runs a command in this process, as its entry point does."""

    def one(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as raised:
            commands.main([str(argument) for argument in arguments])
        return Outcome(int(raised.value.code or 0), *capfd.readouterr())

    return one


def assert_refused(outcome: Outcome, *words: str) -> None:
    """Exit code 2, one line that says what and where, and no answer."""
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    for word in words:
        assert word in outcome.err
    assert outcome.out == ""


def everything(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def images(folder: Path) -> list[Path]:
    return sorted((folder / "images").iterdir())


class TestHelp:
    def test_names_the_commands(self) -> None:
        """In a process of its own, as a user starts it."""
        done = subprocess.run(
            [sys.executable, "-m", "recipes.check_reader", "--help"],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=True,
        )
        assert done.stderr == ""
        for command in ("train", "compare", "evaluate", "read", "demo"):
            assert command in done.stdout

    @pytest.mark.parametrize("command", ["train", "compare", "evaluate", "read", "demo"])
    def test_of_each_command(self, run: Run, command: str) -> None:
        outcome = run(command, "--help")
        assert outcome.code == 0
        assert "Usage" in outcome.out

    @pytest.mark.parametrize(
        "arguments",
        [
            ("sing",),
            ("read",),
            ("train", "--out", "x"),
            ("train", "--data", "x", "--out", "y", "--seed", "-1"),
        ],
    )
    def test_wrong_usage_has_exit_code_2(self, run: Run, arguments: tuple[str, ...]) -> None:
        outcome = run(*arguments)
        assert outcome.code == 2
        assert "Traceback" not in outcome.err


class TestAllCommands:
    def test_train_evaluate_and_read(
        self, run: Run, folder: Path, images: list[Path], tmp_path: Path
    ) -> None:
        model, before = tmp_path / "model", everything(folder)
        outcome = run("train", "--data", folder, "--out", model, "--pretraining", 1, "--epochs", 1)
        assert outcome.code == 0
        assert (model / "metrics.csv").read_text().count("\n") == 3

        outcome = run("evaluate", "--model", model, "--data", folder, "--json", tmp_path / "report.json")
        assert outcome.code == 0
        report = json.loads((tmp_path / "report.json").read_text())
        assert len(report["images"]) == report["n"] == 12
        assert 0 <= report["segmentation_recall"] <= 1
        assert json.loads(outcome.out) == {name: report[name] for name in report if name != "images"}

        outcome = run("read", "--model", model, "--svg", tmp_path / "svg", "--json", *images[:2])
        assert outcome.code == 0
        reader = CheckReader.load(model)
        for image, line in zip(images[:2], outcome.out.splitlines(), strict=True):
            reading = reader.read(image)
            assert json.loads(line) == {
                "file": str(image),
                "answer": str(reading),
                "digits": reading.digits,
                "energy": pytest.approx(reading.energy),
                "confidence": pytest.approx(reading.confidence),
            }
            for kind in ("segmentation", "interpretation", "amount"):
                assert ElementTree.parse(tmp_path / "svg" / f"{image.name}.{kind}.svg")
        assert len(list((tmp_path / "svg").iterdir())) == 6
        assert everything(folder) == before

        outcome = run("read", "--model", model, images[0])
        name, answer, energy, confidence = outcome.out.rstrip("\n").split("\t")
        assert name == str(images[0])
        assert answer == str(reader.read(images[0]))
        assert energy.startswith("energy ")
        assert confidence.startswith("confidence ")

    @pytest.mark.parametrize("part", ["train", "validation", "test"])
    def test_evaluate_a_part(self, run: Run, model: Path, folder: Path, part: str) -> None:
        outcome = run("evaluate", "--model", model, "--data", folder, "--part", part)
        assert outcome.code == 0
        assert json.loads(outcome.out)["n"] == {"train": 10, "validation": 1, "test": 1}[part]

    def test_on_synthetic_amounts(self, run: Run, tmp_path: Path) -> None:
        model = tmp_path / "model"
        arguments = ("--data", "synthetic", "--out", model, "--pretraining", 1, "--epochs", 1)
        assert run("train", *arguments).code == 0
        outcome = run("evaluate", "--model", model, "--data", "synthetic")
        assert outcome.code == 0
        assert json.loads(outcome.out)["n"] == 6

    def test_with_another_grammar(
        self, run: Run, model: Path, folder: Path, images: list[Path], tmp_path: Path
    ) -> None:
        grammar = tmp_path / "grammar.txt"
        grammar.write_text("0 0 ~ <eps>\n0 1 7 7\n1 1 ~ <eps>\n1\n")
        outcome = run("read", "--model", model, "--grammar", grammar, "--json", images[0])
        assert json.loads(outcome.out)["digits"] == "7"
        outcome = run("evaluate", "--model", model, "--data", folder, "--grammar", grammar)
        assert json.loads(outcome.out)["n"] == 12

    def test_demo_makes_a_page(self, run: Run, tmp_path: Path) -> None:
        outcome = run("demo", "--short", "--out", tmp_path / "out")
        assert outcome.code == 0
        page = (tmp_path / "out" / "index.html").read_text("utf-8")
        assert page.count('class="amount"') == 2
        assert json.loads((tmp_path / "out" / "report.json").read_text())["n"] == 6
        again = run("demo", "--short", "--out", tmp_path / "out")
        assert again.code == 0
        assert (tmp_path / "out" / "index.html").read_text("utf-8") == page


class TestTrainRefuses:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--loss", "regret"], ["regret", "energy, perceptron, hinge"]),
            (["--grammar", "absent.txt"], ["absent.txt"]),
            (["--digits", "absent"], ["absent"]),
        ],
    )
    def test_wrong_options(
        self, run: Run, folder: Path, tmp_path: Path, options: list[str], words: list[str]
    ) -> None:
        assert_refused(run("train", "--data", folder, "--out", tmp_path / "model", *options), *words)
        assert everything(tmp_path) == {}

    def test_a_missing_folder(self, run: Run, tmp_path: Path) -> None:
        assert_refused(run("train", "--data", tmp_path / "absent", "--out", tmp_path / "model"), "absent")
        assert everything(tmp_path) == {}

    def test_out_that_is_a_file(self, run: Run, folder: Path, tmp_path: Path) -> None:
        out = tmp_path / "file"
        out.write_text("mine")
        assert_refused(run("train", "--data", folder, "--out", out), str(out))
        assert everything(tmp_path) == {out: b"mine"}

    def test_another_trainings_folder(self, run: Run, folder: Path, tmp_path: Path) -> None:
        arguments = ("train", "--data", folder, "--out", tmp_path, "--pretraining", 0, "--epochs", 1)
        assert run(*arguments).code == 0
        before = everything(tmp_path)
        assert_refused(run(*arguments, "--seed", 1), "checkpoint.pt", "other data or settings")
        assert everything(tmp_path) == before

    @pytest.mark.parametrize(
        "name", ["../outside.png", "images/../../outside.png", "/etc/hostname", "..", "a\\b.png", "C:x.png"]
    )
    def test_labels_that_lead_out_of_the_folder(
        self, run: Run, folder: Path, tmp_path: Path, name: str
    ) -> None:
        data, out = shutil.copytree(folder, tmp_path / "data"), tmp_path / "model"
        shutil.copy(next((folder / "images").iterdir()), tmp_path / "outside.png")
        with (data / "labels.csv").open("a") as labels:
            labels.write(f"{name},123\n")
        before = everything(tmp_path)
        assert_refused(run("train", "--data", data, "--out", out), "labels.csv, line 14", "plain file name")
        assert everything(tmp_path) == before

    def test_images_without_any_ink(self, run: Run, tmp_path: Path) -> None:
        data = tmp_path / "data"
        (data / "images").mkdir(parents=True)
        for k in range(3):
            cv2.imwrite(str(data / "images" / f"{k}.png"), np.full((50, 200), 255, np.uint8))
        (data / "labels.csv").write_text("file,digits\n0.png,1\n1.png,2\n2.png,3\n")
        outcome = run("train", "--data", data, "--out", tmp_path / "model")
        assert outcome.code == 2
        assert "Traceback" not in outcome.err
        assert "has ink" in outcome.err
        assert not (tmp_path / "model").exists()


class TestEvaluateRefuses:
    def test_wrong_options(self, run: Run, model: Path, folder: Path, tmp_path: Path) -> None:
        good = {"--model": model, "--data": folder, "--json": tmp_path / "report.json"}
        for option, value, word in (
            ("--model", tmp_path / "absent", "absent"),
            ("--data", tmp_path / "absent", "absent"),
            ("--part", "half", "half"),
            ("--grammar", tmp_path / "absent", "absent"),
            ("--json", tmp_path / "absent" / "report.json", "absent"),
        ):
            options = {**good, option: value}
            assert_refused(run("evaluate", *(part for pair in options.items() for part in pair)), word)
            assert everything(tmp_path) == {}

    def test_a_report_that_is_a_folder(self, run: Run, model: Path, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "report").mkdir()
        outcome = run("evaluate", "--model", model, "--data", folder, "--json", tmp_path / "report")
        assert_refused(outcome, f"{tmp_path / 'report'}: is a folder")
        assert everything(tmp_path) == {tmp_path / "report": None}


class TestReadRefuses:
    def test_each_bad_image_and_reads_the_others(
        self, run: Run, model: Path, images: list[Path], tmp_path: Path
    ) -> None:
        (tmp_path / "text.png").write_text("12")
        (tmp_path / "empty.png").touch()
        cv2.imwrite(str(tmp_path / "grey.png"), np.full((50, 200), 128, np.uint8))
        bad = [tmp_path / name for name in ("text.png", "empty.png", "grey.png", "absent.png", "")]
        svg = tmp_path / "svg"
        outcome = run("read", "--model", model, "--svg", svg, images[0], *bad, images[1])
        assert outcome.code == 2
        errors, answers = outcome.err.splitlines(), outcome.out.splitlines()
        assert [line.startswith(f"error: {path}") for line, path in zip(errors, bad, strict=True)] == [
            True
        ] * 5
        assert [line.split("\t")[0] for line in answers] == [str(images[0]), str(images[1])]
        assert {path.name.partition(".png")[0] for path in svg.iterdir()} == {images[0].stem, images[1].stem}

    def test_bad_models_and_grammars(self, run: Run, model: Path, images: list[Path], tmp_path: Path) -> None:
        assert_refused(run("read", "--model", tmp_path, images[0]), "model.json")
        broken = shutil.copytree(model, tmp_path / "broken")
        (broken / "model.safetensors").write_bytes(b"\x80\x04.")
        assert_refused(run("read", "--model", broken, images[0]), "model.safetensors")
        grammar = tmp_path / "grammar.txt"
        grammar.write_text("0 1 7\n")
        assert_refused(run("read", "--model", model, "--grammar", grammar, images[0]), "grammar.txt, line 1")

    def test_images_whose_graphs_would_have_one_name(
        self, run: Run, model: Path, images: list[Path], tmp_path: Path
    ) -> None:
        (tmp_path / "other").mkdir()
        other = shutil.copy(images[1], tmp_path / "other" / images[0].name)
        svg = tmp_path / "svg"
        assert_refused(run("read", "--model", model, "--svg", svg, images[0], other), images[0].name)
        assert not svg.exists()
        assert run("read", "--model", model, images[0], other).code == 0

    def test_a_folder_for_graphs_that_is_a_file(
        self, run: Run, model: Path, images: list[Path], tmp_path: Path
    ) -> None:
        svg = tmp_path / "svg"
        svg.write_text("mine")
        outcome = run("read", "--model", model, "--svg", svg, images[0])
        assert outcome.code == 2
        assert outcome.err == f"error: {svg}: is a file; give the name of a folder\n"
        assert everything(tmp_path) == {svg: b"mine"}


class TestOddNames:
    @pytest.mark.parametrize(
        "name", ["a b.png", "è'\"&<>.png", "-svg.png", "a\tb\nc.png", b"\xff.png", "%s{0}.png"]
    )
    def test_stay_on_one_line_and_in_the_folder(
        self, run: Run, model: Path, images: list[Path], tmp_path: Path, name: str | bytes
    ) -> None:
        folder, svg = tmp_path / "images", tmp_path / "svg"
        folder.mkdir()
        image = folder / os.fsdecode(name)
        shutil.copy(images[0], image)
        outcome = run("read", "--model", model, "--svg", svg, image)
        assert outcome.code == 0
        assert outcome.out.count("\n") == 1
        assert outcome.out.count("\t") == 3
        assert {path.name for path in svg.iterdir()} == {
            f"{image.name}.{kind}.svg" for kind in ("segmentation", "interpretation", "amount")
        }
        assert {path.name for path in tmp_path.iterdir()} == {"images", "svg"}
        outcome = run("read", "--model", model, "--json", image)
        assert outcome.out.count("\n") == 1
        assert json.loads(outcome.out)["file"] == str(image)
        image.write_text("no image")
        assert_refused(run("read", "--model", model, image), "not an image of a format")

    def test_an_energy_without_a_path_is_null(
        self, run: Run, model: Path, images: list[Path], tmp_path: Path
    ) -> None:
        grammar = tmp_path / "grammar.txt"
        grammar.write_text("".join(f"{k} {k + 1} 1 1\n" for k in range(300)) + "300\n")
        outcome = run("read", "--model", model, "--grammar", grammar, "--json", images[0])
        assert outcome.code == 0
        assert json.loads(outcome.out, parse_constant=pytest.fail) == {
            "file": str(images[0]),
            "answer": "REJECT",
            "digits": "",
            "energy": None,
            "confidence": 0.0,
        }
