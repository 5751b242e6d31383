"""Where the tests marked `data` find real data."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_directory() -> Path:
    """The folder of real data; a test that asks for it is skipped where there is none."""
    beside = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    directory = Path(os.environ.get("GTN_EBM_DATA", beside)).resolve()
    if not directory.is_dir():
        pytest.skip(f"no real data at {directory}; set GTN_EBM_DATA to the folder that holds it")
    return directory


collect_ignore = ["fuzz_readers.py"]
"""A program, which needs atheris."""
