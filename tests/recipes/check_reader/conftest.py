"""Amounts to test on, and a model too small and too little trained to read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.check_reader.data import Digits, read_digits
from recipes.check_reader.reader import CheckReader
from recipes.check_reader.synthetic import Amounts, SyntheticAmount, write_folder
from tests.recipes.check_reader.small import small_reader, small_trainings


@pytest.fixture(scope="session")
def digits() -> Digits:
    return read_digits()


@pytest.fixture(scope="session")
def twelve(digits: Digits) -> list[SyntheticAmount]:
    """Synthetic amounts of many widths."""
    return [Amounts(digits, seed=11).render(index) for index in range(12)]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """The same amounts as images/, labels.csv and boxes.json; to be read only."""
    path = tmp_path_factory.mktemp("data") / "amounts"
    write_folder(path, 12, digits, seed=11)
    return path


@pytest.fixture(scope="session")
def reader() -> CheckReader:
    """With weights as they are before training."""
    return small_reader()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, reader: CheckReader) -> Path:
    """The folder of the same model; to be read only."""
    path = tmp_path_factory.mktemp("models") / "model"
    reader.save(path)
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes trainings small while a test runs."""
    small_trainings(monkeypatch.setattr)
