"""Pictures: sound XML with all that is to be seen, and nothing of what is given as code."""

import math
from xml.etree.ElementTree import Element

import numpy as np
import pytest
import torch
from defusedxml.ElementTree import fromstring

from gtn_ebm import free_energy
from recipes.handwriting_lines import pictures
from recipes.handwriting_lines.criteria import CTC
from recipes.handwriting_lines.decoding import LineDecoder
from recipes.handwriting_lines.pictures import Exhibit
from recipes.handwriting_lines.reader import Letter

SVG = "{http://www.w3.org/2000/svg}"


def texts(picture: str) -> list[str]:
    root: Element = fromstring(picture)
    return ["".join(text.itertext()).strip() for text in root.iter(f"{SVG}text")]


def test_an_alignment_has_the_line_its_words_and_its_letters_in_place() -> None:
    image = np.full((32, 100), 255, np.uint8)
    letters = [Letter("a", 0, 10), Letter(" ", 10, 20), Letter("<", 20, 40)]
    root = fromstring(pictures.alignment(image, letters, [(0, 10), (20.0, 40.0)]))
    scale = pictures.SHOWN_HEIGHT / 32
    shown = {text.text: float(text.get("x")) for text in root.iter(f"{SVG}text")}
    assert shown == {"a": 5 * scale, "<": 30 * scale}
    bars = [(float(bar.get("x")), float(bar.get("width"))) for bar in root.iter(f"{SVG}rect") if bar.get("x")]
    assert bars == [(0, 10 * scale), (20 * scale, 20 * scale)]
    (drawn,) = root.iter(f"{SVG}image")
    assert float(drawn.get("width")) == 100 * scale
    assert drawn.get("href").startswith("data:image/png;base64,")


@pytest.fixture
def decoder() -> LineDecoder:
    return LineDecoder(CTC(" ab").topology())


def emissions(*frames: dict[int, float]) -> torch.Tensor:
    """Probabilities of some classes of each frame: 0 for none, 1 a blank between words, 2 a, 3 b."""
    energies = torch.full((len(frames), 4), 30.0)
    for row, probabilities in zip(energies, frames, strict=True):
        for label, probability in probabilities.items():
            row[label] = -math.log(probability)
    return energies


def test_a_lattice_shows_where_answers_differ_and_goes_by_words_where_they_agree(
    decoder: LineDecoder,
) -> None:
    sure = [{3: 1.0}, {2: 1.0}, {3: 1.0}, {1: 1.0}]
    found = decoder.decode(emissions(*sure, {2: 0.6, 3: 0.4}, {0: 1.0}, {2: 1.0}))
    shown = texts(pictures.lattice(found.lattice))
    assert "bab·" in shown
    assert f"b/{math.log(0.6 / 0.4):.2f}" in shown
    assert shown.count("a") == 2  # the likelier of the two, and what follows both


def test_a_lattice_of_one_answer_and_one_of_none_written(decoder: LineDecoder) -> None:
    assert "ab" in texts(pictures.lattice(decoder.decode(emissions({2: 1.0}, {3: 1.0})).lattice))
    assert pictures.lattice(decoder.decode(emissions({0: 1.0})).lattice).startswith("<svg")


def test_a_large_lattice_is_drawn_in_part(decoder: LineDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_ARCS", 8)
    some = [frame for _ in range(6) for frame in ({2: 0.55, 3: 0.45}, {0: 1.0})]
    lattice = decoder.decode(emissions(*some)).lattice
    assert float(free_energy(lattice)) == pytest.approx(0, abs=1e-6)
    shown = texts(pictures.lattice(lattice))
    assert shown.count("a") == 6  # the best path is always there
    assert sum(text.startswith("b") for text in shown) == 2


def test_errors_are_marked_and_nothing_given_is_code() -> None:
    image = np.full((8, 9), 255, np.uint8)
    bad = "<script>alert(1)</script>"
    page = pictures.errors(
        "T & <t>", bad, [Exhibit(bad, image, f"ab {bad}", "abd"), Exhibit("n", image, "a", "")]
    )
    assert "<script" not in page
    assert "T &amp; &lt;t&gt;" in page
    assert "<ins>d</ins>" in page
    assert "<del>␣&lt;script" in page
    assert "<i>nothing</i>" in page
    assert page.count("data:image/png;base64,") == 2
