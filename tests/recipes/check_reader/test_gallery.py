import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gtn_ebm import best_answers, compose
from recipes.check_reader import gallery
from recipes.check_reader.gallery import Rivalry
from recipes.check_reader.grammar import Grammar
from recipes.check_reader.recognition import recognise_places, recognise_regions
from tests.recipes.check_reader.small import small_material, small_reader
from tests.recipes.check_reader.test_objective import given, spelt_out, written_out


@pytest.mark.parametrize("fewest", [1, 16])
def test_the_most_offending_answer_is_that_of_all_paths_written_out(
    fewest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "FEWEST", fewest)
    for seed in range(12):
        evidence = given(seed)
        least: dict[str, float] = {}
        for reading in written_out(evidence):
            least[reading.answer] = min(reading.energy.item(), least.get(reading.answer, math.inf))
        spelt: dict[str, float] = {}
        for energy, answer in spelt_out(evidence):
            spelt[answer] = min(energy.item(), spelt.get(answer, math.inf))
        both = {answer: energy + spelt[answer] for answer, energy in least.items() if answer in spelt}
        digits = sorted(both, key=lambda answer: both[answer])[seed % 3]
        (interpretation,), (places,) = recognise_regions(evidence), recognise_places(evidence)
        amount = compose(interpretation, Grammar.read().graph)
        with torch.inference_mode():
            graphs = (graph.detach().to(torch.float64) for graph in (amount, places))
            found, proven = gallery._most_offending(*graphs, digits)
        assert proven
        assert len(best_answers(amount, 100, math.inf)) > 4
        assert found == pytest.approx(
            min(energy for answer, energy in both.items() if answer != digits), abs=1e-4
        )


def test_a_reader_s_images_are_measured_and_shown(tmp_path: Path) -> None:
    found = gallery.rivalry(small_reader(), small_material().validation)
    assert len(found.gaps) + found.unreachable == 4
    assert np.isfinite(found.gaps).all()
    page = gallery.write({"nll": found, "energy": found}, tmp_path / "gallery")
    text = page.read_text("utf-8")
    for loss in ("nll", "energy"):
        assert (page.parent / f"{loss}.png").read_bytes().startswith(b"\x89PNG")
        assert f'src="{loss}.png"' in text
    assert "Collapse: yes, unless the architecture" in text
    assert text.count("given normalised energies") == 1
    assert gallery.measured(found) in text


def test_what_came_of_a_training_is_said() -> None:
    gaps = np.array([-1.0, 2.0, 3.0])
    said = gallery.measured(Rivalry(np.zeros(3), gaps, unreachable=2, unproven=1))
    assert said.startswith("The right answer is the best in 2 of 3 images; the gap is 2 nats at the median")
    assert "Of 2 more images" in said
    assert "In 1 images" in said
    assert "Collapsed" in gallery.measured(Rivalry(np.zeros(3), gaps / 100, 0, 0))
    nothing = Rivalry(np.zeros(0), np.zeros(0), 3, 0)
    assert gallery.measured(nothing) == "No right answer is in the graphs."
    assert gallery.picture("nll", nothing)
