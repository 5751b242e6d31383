import os
import sys
from functools import partial
from pathlib import Path

import pytest

from gtn_ebm import DataError
from recipes.speech_alignment.cluster import LOCAL, spread
from tests.recipes.speech_alignment.tasks import leave_a_mark


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DataError, match=r"gtn-ebm\[cluster\]"):
        next(spread(str.upper, ["a"], LOCAL))


@pytest.mark.slow  # a cluster takes half a minute to start on a busy machine
def test_two_workers_share_the_work_and_survive(tmp_path: Path) -> None:
    names = [*(f"r{number:02d}" for number in range(20)), "bad", "deadly", "last"]
    found = list(spread(partial(leave_a_mark, str(tmp_path)), names, LOCAL, workers=2))
    assert [name for name, _ in found] == names
    results = dict(found)
    assert "this one is bad" in results["bad"]
    for name in set(names) - {"bad"}:
        assert results[name][0] == name
        assert int(results[name][1]) != os.getpid()
    assert 2 <= len({results[name][1] for name in set(names) - {"bad"}}) <= 4


def test_nobody_answers() -> None:
    with pytest.raises(DataError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'"):
        next(spread(str.upper, ["a"], "127.0.0.1:1"))
