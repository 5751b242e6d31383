import math

import pytest
import torch

from gtn_ebm.losses import LOSSES
from recipes.energy_landscape.__main__ import main
from recipes.energy_landscape.gallery import Theory, measured
from recipes.energy_landscape.problem import RADIUS, SURELY_WRONG, circle, energies
from recipes.energy_landscape.training import train

STEPS = 120


def test_right_answers_are_on_the_circle_and_wrong_ones_away_from_it():
    problem = circle()
    assert torch.equal(problem.answers[problem.desired], problem.y)
    off = (torch.hypot(problem.x, problem.y) - RADIUS).abs()
    assert off.max() < SURELY_WRONG / 2  # the grid's doing
    assert not problem.wrong.gather(1, problem.desired[:, None]).any()
    assert problem.wrong.any(1).all()
    torch.testing.assert_close(problem.costs.gather(1, problem.desired[:, None])[:, 0], off)


@pytest.mark.parametrize("beta", [1.0, math.inf])
def test_energies_are_sums_over_what_is_latent(beta):
    problem = circle(columns=3, grid=9)
    of_paths = torch.rand(6, 9, 2, dtype=torch.float64)
    found = energies(problem, of_paths, beta)
    for k in range(6):
        paths = -beta * of_paths[k] if beta < math.inf else -of_paths[k]
        total = (lambda e: -e.flatten().logsumexp(0) / beta) if beta < math.inf else lambda e: -e.max()
        assert found["desired"][k].item() == pytest.approx(total(paths[problem.desired[k]]).item())
        assert found["everything"][k].item() == pytest.approx(total(paths).item())
        assert found["wrong"][k].item() == pytest.approx(total(paths[problem.wrong[k]]).item())


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_theory_is_what_the_loss_documents(name):
    theory = Theory.of(name)
    assert "not said." not in theory
    assert theory.collapse.startswith(("yes", "no", "as of"))


def test_losses_without_a_margin_collapse_where_they_can_and_others_do_not():
    problem = circle()
    landscapes = {
        (loss, architecture): train(problem, loss, architecture, STEPS, 0)
        for loss, architecture in [
            ("energy", "flexible"), ("energy", "rigid"), ("perceptron", "flexible"), ("hinge", "flexible")
        ]
    }  # fmt: skip
    collapsed = {of for of, landscape in landscapes.items() if landscape.collapsed}
    assert collapsed == {("energy", "flexible"), ("perceptron", "flexible")}
    assert landscapes["hinge", "flexible"].right > 0.95
    assert landscapes["hinge", "flexible"].gaps.median() > 0.9
    assert "collapsed" in measured(landscapes["energy", "flexible"])
    assert landscapes["energy", "flexible"].surface.max() < 0.2


def test_trainings_of_one_seed_are_the_same():
    one, same, other = (train(circle(), "nll", "flexible", 5, seed) for seed in (0, 0, 1))
    assert torch.equal(one.surface, same.surface)
    assert not torch.equal(one.surface, other.surface)


def test_command_writes_a_picture_a_loss_and_a_page(tmp_path, capsys):
    main_and_exit(["--out", str(tmp_path / "new"), "--loss", "mmi", "--loss", "energy", "--steps", "2"], 0)
    page = (tmp_path / "new" / "index.html").read_text(encoding="utf-8")
    pictures = {path.name for path in (tmp_path / "new").glob("*.png")}
    assert pictures == {"nll_flexible.png", "energy_flexible.png", "energy_rigid.png"}
    assert all(f'src="{picture}"' in page for picture in pictures)
    assert f"open {tmp_path / 'new' / 'index.html'}" in capsys.readouterr().out
    first = (tmp_path / "new" / "nll_flexible.png").read_bytes()
    main_and_exit(["--out", str(tmp_path / "new"), "--loss", "nll", "--steps", "2"], 0)
    assert (tmp_path / "new" / "nll_flexible.png").read_bytes() == first


def main_and_exit(arguments, code):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert (stopped.value.code or 0) == code


def test_what_is_wrong_with_the_input_is_one_line_and_exit_code_2(tmp_path, capsys):
    main_and_exit(["--out", str(tmp_path), "--loss", "nil"], 2)
    assert "error: no loss 'nil'; there are energy" in capsys.readouterr().err
    file = tmp_path / "file"
    file.touch()
    main_and_exit(["--out", str(file), "--loss", "nll"], 2)
    assert "is a file" in capsys.readouterr().err
    main_and_exit(["--out", str(file / "below"), "--loss", "energy", "--steps", "1"], 2)
    assert "error: " in capsys.readouterr().err
    main_and_exit(["--out", str(tmp_path), "--steps", "0"], 2)
