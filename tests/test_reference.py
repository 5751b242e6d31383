"""The pages of docs/reference are those that the code makes today."""

import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import gtn_ebm

DOCS = Path(__file__).parent.parent / "docs"
SPECIFICATION = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
reference = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(reference)
EXAMPLES = {name: example for section in reference.SECTIONS.values() for name, example in section.items()}


def test_every_operation_has_a_page() -> None:
    public = [name for module in (gtn_ebm.ops, gtn_ebm.inference) for name in module.__all__]
    functions = {name for name in public if inspect.isfunction(getattr(gtn_ebm, name))}
    assert functions <= EXAMPLES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_operation_says_its_cost(name: str) -> None:
    said = [
        part for part in inspect.getdoc(getattr(gtn_ebm, name)).split("\n\n") if part.startswith("Cost: ")
    ]
    assert len(said) == 1
    assert re.search(r"time|memory|that of|shortest distance", said[0])


def test_the_index_is_up_to_date() -> None:
    assert (reference.PAGES / "README.md").read_text(encoding="utf-8") == reference.index()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_page_is_up_to_date(name: str) -> None:
    """`make reference` writes them."""
    text, pictures = reference.page(name, EXAMPLES[name])
    assert (reference.PAGES / f"{name}.md").read_text(encoding="utf-8") == text
    for file in pictures:
        assert (reference.PAGES / file).read_text(encoding="utf-8").startswith("<")
