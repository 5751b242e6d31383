import base64
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from gtn_ebm import Graph, draw
from recipes.check_reader.grammar import Grammar
from recipes.check_reader.pictures import MOST_ARCS, Exhibit, page, pictures
from recipes.check_reader.reader import CheckReader, Reading
from recipes.check_reader.synthetic import SyntheticAmount

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def reading(reader: CheckReader, twelve: list[SyntheticAmount]) -> Reading:
    return reader.read(twelve[0].image)


@pytest.fixture
def unread(reader: CheckReader, twelve: list[SyntheticAmount], tmp_path: Path) -> Reading:
    """What no path of the grammar explains."""
    (tmp_path / "grammar.txt").write_text("".join(f"{k} {k + 1} 1 1\n" for k in range(300)) + "300\n")
    demanding = CheckReader(reader.network, Grammar.read(tmp_path / "grammar.txt"), 0.0)
    return demanding.read(twelve[0].image)


def ink_of(svg: ElementTree.Element) -> list[np.ndarray]:
    """The pictures in a drawing, each decoded."""
    references = [
        value
        for image in svg.iter(f"{SVG}image")
        for name, value in image.attrib.items()
        if name.endswith("href")
    ]
    return [decoded(reference) for reference in references]


def decoded(reference: str) -> np.ndarray:
    kind, _, content = reference.partition(",")
    assert kind == "data:image/png;base64"
    image = cv2.imdecode(
        np.frombuffer(base64.b64decode(content, validate=True), np.uint8), cv2.IMREAD_GRAYSCALE
    )
    assert image is not None
    return image


class TestPictures:
    def test_are_svg_of_the_three_graphs_with_ink_on_their_arcs(self, reading: Reading) -> None:
        drawings = pictures(reading)
        assert list(drawings) == ["segmentation", "interpretation", "amount"]
        for name, drawing in drawings.items():
            root = ElementTree.fromstring(drawing)
            assert root.tag == f"{SVG}svg"
            found = ink_of(root)
            assert 0 < len(found) <= MOST_ARCS, name
            assert all(ink.size and ink.min() < ink.max() for ink in found), name

    def test_of_what_was_not_read_are_svg_all_the_same(self, unread: Reading) -> None:
        assert unread.digits == ""
        for drawing in pictures(unread).values():
            assert ElementTree.fromstring(drawing).tag == f"{SVG}svg"

    def test_leave_arcs_on_which_nothing_is_read_without_ink(
        self,
        reader: CheckReader,
        twelve: list[SyntheticAmount],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (tmp_path / "grammar.txt").write_text("0 0 ~ <eps>\n0 1 7 7\n1 1 ~ <eps>\n1 2 <eps> 0\n2\n")
        writing = CheckReader(reader.network, Grammar.read(tmp_path / "grammar.txt"), 0.0)
        reading = writing.read(twelve[0].image)
        assert reading.digits == "70"
        drawn: list[Graph] = []
        monkeypatch.setattr(draw, "svg", lambda graph, **_: drawn.append(graph) or "")
        pictures(reading)
        regions, ink = drawn[-1].attributes["region"].tolist(), drawn[-1].attributes["ink"]
        assert regions.count(-1) == 1
        for region, piece in zip(regions, ink, strict=True):
            if region < 0:
                assert piece is None
            else:
                np.testing.assert_array_equal(piece, reading.segmentation.region(region))


class Outline(HTMLParser):
    """Checks that tags close in order; keeps attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


class TestPage:
    def test_has_every_image_with_its_answer_and_graphs(
        self, reading: Reading, unread: Reading, twelve: list[SyntheticAmount]
    ) -> None:
        image = twelve[0].image
        exhibits = [Exhibit("one.png", image, reading, "123"), Exhibit("two.png", image, unread, None)]
        outline = read_page(page("Amounts", "All of them.", exhibits))
        assert "Amounts" in outline.text
        assert "All of them." in outline.text
        assert f"{reading.digits} (written: 123)" in outline.text
        assert f"accepted, confidence {reading.confidence:.4f}" in outline.text
        assert "nothing rejected, confidence 0.0000" in outline.text
        amounts = [shown for shown in outline.images if shown.get("class") == "amount"]
        assert [shown["alt"] for shown in amounts] == ["one.png", "two.png"]
        for shown in amounts:
            np.testing.assert_array_equal(decoded(shown["src"]), image)
        graphs = [shown for shown in outline.images if shown.get("class") != "amount"]
        assert len(graphs) == 6
        for shown in graphs:
            kind, _, content = shown["src"].partition(",")
            assert kind == "data:image/svg+xml;base64"
            assert ElementTree.fromstring(base64.b64decode(content)).tag == f"{SVG}svg"

    def test_escapes_all_text(self, reading: Reading, twelve: list[SyntheticAmount]) -> None:
        evil = "\"><script>alert('{0}')</script>&amp;{title}.png"
        exhibits = [Exhibit(evil, twelve[0].image, reading, evil)]
        outline = read_page(page(evil, evil, exhibits))
        assert outline.images[0]["alt"] == evil
        assert outline.text.count(evil) == 4  # in the tab, as the title, the introduction and the truth

    def test_stands_alone(self, reading: Reading, twelve: list[SyntheticAmount]) -> None:
        content = page("A", "B", [Exhibit("one.png", twelve[0].image, reading, None)])
        assert all(reference.startswith("data:") for reference in references(content))

    def test_of_nothing_is_a_page(self) -> None:
        assert "Nothing" in read_page(page("Nothing", "at all", [])).text


def references(content: str) -> Iterator[str]:
    yield from re.findall(r"""(?:src|href)=["']([^"']*)""", content)


def read_page(content: str) -> Outline:
    outline = Outline()
    outline.feed(content)
    outline.close()
    assert content.startswith("<!doctype html>")
    assert outline.open == []
    return outline
