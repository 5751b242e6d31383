"""The examples of docs/queries.md run, in order, and it names every query."""

import re
from pathlib import Path

import pytest
import torch

import gtn_ebm
from gtn_ebm.losses import approximate

TEXT = (Path(__file__).parent.parent / "docs" / "queries.md").read_text(encoding="utf-8")
OF_OTHER_PAGES = {
    "equal",
    "equivalent",
    "isomorphic",
    "random_equivalent",
    "minimum_energy",
    "incorrect_free_energy",
}


def test_its_examples_run() -> None:
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(block, names)
    assert [answer.labels for answer in names["answers"]] == [[0, 1], [0, 2]]
    assert names["decision"].labels == [0, 1]
    assert names["decision"].covered.item() == pytest.approx(1.0)
    assert names["decision"].risk.item() == pytest.approx(
        gtn_ebm.expected_edit_distance(names["graph"], [0, 1]).item()
    )
    assert names["product"].shape == (5,)
    assert bool(torch.isfinite(names["energies"].grad).all())


def test_it_names_every_query() -> None:
    queries = {name for name in gtn_ebm.inference.__all__ if not name[0].isupper()} - OF_OTHER_PAGES
    losses = {
        name
        for name, value in vars(approximate).items()
        if getattr(value, "__module__", "") == approximate.__name__
    }
    for name in queries | {name for name in losses if not name.startswith("_")}:
        assert f"`{name}" in TEXT or f"{name}(" in TEXT, name
