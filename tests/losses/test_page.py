"""The table of docs/losses.md is that of the docstrings, and its examples run."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gtn_ebm.losses import LOSSES
from tests.losses.formulas import FORMULAS

DOCS = Path(__file__).parents[2] / "docs"
SPECIFICATION = importlib.util.spec_from_file_location("losses_page", DOCS / "losses.py")
page = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(page)
TEXT = (DOCS / "losses.md").read_text(encoding="utf-8")


def test_the_table_is_up_to_date() -> None:
    """`make reference` writes it."""
    assert page.page(TEXT) == TEXT
    assert page.table().count("\n") == len(LOSSES) + 2


def test_a_comparison_is_put_on_the_page_with_its_budget(tmp_path: Path) -> None:
    figures = {"validation_string_rate": 0.75, "validation_correct_at_1pct_error": 0.5, "unreachable": 0}
    rows = [{"loss": "nll", "seed": seed, "epochs": 2, "images": 500, **figures} for seed in (0, 3)]
    (tmp_path / "comparison.json").write_text(json.dumps(rows))
    (tmp_path / "seed-0" / "pretraining").mkdir(parents=True)
    (tmp_path / "seed-0" / "pretraining" / "metrics.csv").write_text("epoch,stage\n1,p\n2,p\n3,p\n")
    once = page.compared(TEXT, tmp_path)
    assert "--epochs 2 --images 500 --pretraining 3 --seed 0 --seed 3\n" in once
    assert "| `nll` | 2 | 75.0% (75.0% to 75.0%) | 50.0% (50.0% to 50.0%) |" in once
    assert page.compared(once, tmp_path) == once
    assert page.page(once) == once


def test_every_loss_says_what_the_table_asks() -> None:
    for one in LOSSES.values():
        assert all(one.says(title) for title in page.SECTIONS), one.name
    assert LOSSES["energy"].says("Temper") == ""


def test_its_examples_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gtn_ebm.losses.registry.LOSSES", dict(LOSSES))  # one of them adds to it
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(block, names)
    losses, everything, desired = (names[name] for name in ("losses", "everything", "desired"))
    assert torch.isclose(losses.GraphLoss("hinge", margin=0.25)(everything, desired), torch.tensor([0.75]))
    assert names["energies"].grad is not None
    nll = losses.GraphLoss("nll")(everything, desired)
    focal = losses.GraphLoss("focal", focus=1.0)(everything, desired)
    assert torch.isclose(focal, (1 - torch.exp(-nll)) * nll)


def loss_at(name: str, desired: Tensor, wrong: Tensor) -> Tensor:
    """Of one desired answer and two wrong ones of equal energy."""
    every = torch.stack([desired, wrong, wrong], -1)
    costs = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)
    beta = LOSSES[name].beta
    energies = {
        "desired": desired,
        "everything": every.amin(-1) if beta == torch.inf else -torch.logsumexp(-beta * every, -1) / beta,
        "wrong": wrong,
        "wrong_answers": every[..., 1:],
        "answers": every,
        "costs": costs,
        "expected_cost": torch.softmax(-every, -1) @ costs,
    }
    loss = LOSSES[name]
    return FORMULAS[name](*(energies[need] for need in loss.needs), **loss.options)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_collapses_where_the_page_says_so(name: str) -> None:
    # Equal energies are among the best of all, or they are not.
    grid = torch.linspace(-10.0, 10.0, 101, dtype=torch.float64)
    best_equal = loss_at(name, grid, grid).min()
    best = loss_at(name, grid[:, None].expand(101, 101), grid.expand(101, 101)).min()
    says = {"yes": True, "no,": False, "no:": False, "as": False}
    collapse = page.row(name)[4]
    assert (best_equal <= best + 1e-9) == next(says[word] for word in says if collapse.startswith(word))
