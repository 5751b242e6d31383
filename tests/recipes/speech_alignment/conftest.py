"""A demo of a few sentences, which several tests look at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from recipes.speech_alignment import demo

SENTENCES = 8


@pytest.fixture(scope="session")
def demonstrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the demo made of SENTENCES, one of them shown, and one with a wrong text."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "SHOWN", 1)
        demo.run(folder, SENTENCES)
        yield folder
