from functools import partial
from pathlib import Path

import pytest

from recipes.speech_alignment.pool import DIED, side_by_side
from tests.recipes.speech_alignment.dying import die_or_not

NAMES = ["a", "bad", "once", "b", "deadly", *"cdefgh"]


def test_a_process_that_dies_costs_one_recording(tmp_path: Path) -> None:
    found = list(side_by_side(partial(die_or_not, str(tmp_path)), NAMES, 2))
    assert [name for name, _ in found] == NAMES
    assert {name: wrong for name, wrong in found if wrong} == {"bad": "is bad", "deadly": DIED}
    assert {path.name for path in tmp_path.iterdir()} >= set(NAMES) - {"bad", "deadly"}


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_are_in_order(tmp_path: Path, jobs: int) -> None:
    found = list(side_by_side(partial(die_or_not, str(tmp_path)), ["x", "bad", "y"], jobs))
    assert found == [("x", None), ("bad", "is bad"), ("y", None)]
