import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gtn_ebm import DataError
from recipes.handwriting_lines import training
from recipes.handwriting_lines.evaluation import evaluate
from recipes.handwriting_lines.network import LineNetwork
from recipes.handwriting_lines.reader import LineReader
from recipes.handwriting_lines.training import Material, Settings, Training
from tests.recipes.handwriting_lines.small import TEXTS, small_lines, small_network

SETTINGS = Settings(epochs=3, batch=3)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "LineNetwork", small_network)
    monkeypatch.setattr(training, "WARM_UP_STEPS", 2)


def train(out: Path, settings: Settings = SETTINGS, hold_out: int = 4) -> LineReader:
    return Training(settings, Material.of(small_lines(), hold_out), out).run(progress=False)


def rows(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "metrics.csv").open(encoding="utf-8")))


def test_learns_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        training, "LineNetwork", lambda classes: LineNetwork(classes, (16, 32, 48, 64), 48, 0.0)
    )
    monkeypatch.setattr(training, "WARM_UP_STEPS", 10)
    settings = Settings(epochs=30, batch=4, rate=4e-3, averaging=0.8)
    reader = Training(settings, Material(small_lines(TEXTS * 3)), tmp_path).run(progress=False)
    assert evaluate(reader, small_lines())["character_error"] < 0.5  # 1 where all is blank
    assert float(rows(tmp_path)[-1]["loss"]) < 0.15 * float(rows(tmp_path)[0]["loss"])


def test_folder_has_what_it_takes_to_read(tmp_path: Path) -> None:
    reader = train(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"model.safetensors", "model.json", "checkpoint.pt", "metrics.csv", "texts.txt"}
    assert LineReader.load(tmp_path).alphabet == reader.alphabet
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2", "3"]
    assert all(float(row["held_out_character_error"]) >= 0 for row in rows(tmp_path))
    assert (tmp_path / "texts.txt").read_text().splitlines() == ["ba", "a b", "b a", "bab", "ab a", "b ab"]


def test_a_training_that_was_stopped_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "whole")
    update = Training._update

    def stop(self: Training) -> None:
        if self.step == 3:  # in the second of three epochs
            raise KeyboardInterrupt
        update(self)

    monkeypatch.setattr(Training, "_update", stop)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped")
    monkeypatch.setattr(Training, "_update", update)
    train(tmp_path / "stopped")
    whole, stopped = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_another_training_does_not_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    train(tmp_path)
    with pytest.raises(DataError, match="other data or settings"):
        train(tmp_path, replace(SETTINGS, seed=1))
    with pytest.raises(DataError, match="other data or settings"):
        train(tmp_path, hold_out=2)
    (tmp_path / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(DataError, match="not a checkpoint"):
        train(tmp_path)


@pytest.mark.parametrize("loss", ["hinge", "expected_risk"])
def test_any_loss_trains_after_some_epochs_of_nll(tmp_path: Path, loss: str) -> None:
    train(tmp_path, Settings(loss=loss, pretraining=1, epochs=2, batch=6))
    first, second = rows(tmp_path)
    assert float(second["loss"]) != float(first["loss"])
    assert second["unreachable"] == "0"


def test_lines_too_short_for_their_texts_are_counted_and_left_out(tmp_path: Path) -> None:
    lines = small_lines()
    lines[0] = replace(lines[0], text="ab" * 40)
    Training(SETTINGS, Material(lines), tmp_path).run(progress=False)
    assert [row["unreachable"] for row in rows(tmp_path)] == ["1"] * 3


def test_what_cannot_be_learned_from_is_named(tmp_path: Path) -> None:
    line = small_lines()[0]

    def damaged() -> None:
        raise DataError("it is damaged")

    for wrong, problem in (
        (replace(line, text=""), "nothing is known"),
        (replace(line, load=damaged), "damaged"),
    ):
        with pytest.raises(DataError, match=f"line-0: .*{problem}"):
            Training(SETTINGS, Material([wrong]), tmp_path)
    with pytest.raises(DataError, match="no lines"):
        Training(SETTINGS, Material([]), tmp_path)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"criterion": "none"}, "no criterion"),
        ({"loss": "none"}, "no loss"),
        ({"loss": "hinge", "criterion": "asg"}, "needs the criterion 'ctc'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch": 0}, "batch is 0"),
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        replace(SETTINGS, **changes)
