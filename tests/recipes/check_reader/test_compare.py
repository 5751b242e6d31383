import functools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from gtn_ebm import DataError, GraphError
from recipes.check_reader import compare as comparison
from recipes.check_reader.grammar import Grammar
from recipes.check_reader.reader import CheckReader
from recipes.check_reader.training import Settings, Training
from tests.recipes.check_reader.small import small_material

MATERIAL = replace(small_material(), validation=small_material().validation[:2])


def compare(out: Path, losses: list[str], seeds: list[int], images: int = 3) -> str:
    return comparison.compare(losses, seeds, 1, 1, images, MATERIAL, Grammar.read(), out)


@pytest.fixture(autouse=True)
def one_amount(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "Settings", functools.partial(Settings, synthetic=1))


LOSSES = ["hinge", "square_square", "bayes_risk"]


class TestCompare:
    def test_trains_with_each_loss_and_makes_a_table(self, tmp_path: Path) -> None:
        found = compare(tmp_path, LOSSES, [0])
        rows = json.loads((tmp_path / "comparison.json").read_text())
        assert [row["loss"] for row in rows] == LOSSES
        for row in rows:
            assert "error" not in row
            assert (row["seed"], row["epochs"], row["images"]) == (0, 1, 3)
            assert 0 <= row["validation_string_rate"] <= 1
            assert 0 <= row["validation_correct_at_1pct_error"] <= 1
            assert (tmp_path / "gallery" / f"{row['loss']}.png").exists()
        assert (tmp_path / "gallery" / "index.html").exists()
        assert (tmp_path / "comparison.md").read_text("utf-8") == found
        assert found.splitlines()[2:] == [
            f"| `{row['loss']}` | 1 | {row['validation_string_rate']:.1%} "
            f"| {row['validation_correct_at_1pct_error']:.1%} |"
            for row in rows
        ]

    def test_keeps_what_is_finished_and_goes_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compare(tmp_path, ["hinge"], [0])
        ran, run = [], Training.run

        def noted(self: Training) -> CheckReader:
            ran.append(f"{self.out.parent.name}/{self.out.name}")
            return run(self)

        monkeypatch.setattr(Training, "run", noted)
        compare(tmp_path, ["hinge", "nll"], [0, 1])
        assert ran == ["seed-0/nll", "seed-1/pretraining", "seed-1/hinge", "seed-1/nll"]
        assert len(json.loads((tmp_path / "comparison.json").read_text())) == 4
        with pytest.raises(DataError, match="other data or settings"):
            compare(tmp_path, ["hinge"], [0], images=2)

    def test_begins_each_loss_where_pretraining_ended(self, tmp_path: Path) -> None:
        compare(tmp_path, ["hinge"], [0])
        start = CheckReader.load(tmp_path / "seed-0" / "pretraining")
        training = Training(Settings("mce"), MATERIAL, Grammar.read(), tmp_path / "mce", start)
        for weights in (training.network.parameters(), training.average.parameters()):
            for one, begun in zip(start.network.parameters(), weights, strict=True):
                assert (one == begun).all()

    def test_shows_the_others_where_one_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run = Training.run

        def failing(self: Training) -> CheckReader:
            if self.settings.loss == "log":
                raise GraphError("too far apart")
            return run(self)

        monkeypatch.setattr(Training, "run", failing)
        found = compare(tmp_path, ["log", "hinge"], [0])
        assert "| `log` | 0 | failed | failed |" in found
        rows = json.loads((tmp_path / "comparison.json").read_text())
        assert rows[0]["error"] == "too far apart"
        assert "error" not in rows[1]


class TestTable:
    def test_has_means_and_ranges_over_seeds(self) -> None:
        rows = [
            {"loss": "nll", "validation_string_rate": rate, "validation_correct_at_1pct_error": rate / 2}
            for rate in (0.25, 0.5, 0.75)
        ]
        assert comparison.table(rows).splitlines() == [
            "| loss | seeds | string rate | correct at ≤ 1 % error |",
            "| --- | --- | --- | --- |",
            "| `nll` | 3 | 50.0% (25.0% to 75.0%) | 25.0% (12.5% to 37.5%) |",
        ]
