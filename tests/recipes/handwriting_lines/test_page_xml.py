"""PAGE and ALTO: lines are cut out by their polygons, and files that are amiss are refused by name."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gtn_ebm import DataError
from recipes.handwriting_lines import page_xml
from recipes.handwriting_lines.data import load

PAGE = """<?xml version="1.0" encoding="UTF-8"?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2013-07-15">
 <Page imageFilename="{image}" imageWidth="200" imageHeight="100"><TextRegion id="r">
  <Coords points="0,0 199,0 199,99 0,99"/>
  <TextLine id="one"><Coords points="20,10 120,10 120,40 20,40"/>{baseline}
   <Word><Coords points="20,10 60,10 60,40 20,40"/><TextEquiv><Unicode>first</Unicode></TextEquiv></Word>
   <TextEquiv index="1"><Unicode>worse</Unicode></TextEquiv>
   <TextEquiv index="0"><Unicode>first  line &amp; more</Unicode></TextEquiv></TextLine>
  <TextLine id="two"><Coords points="{points}"/>
   <Word id="w"><TextEquiv><Unicode>of</Unicode></TextEquiv></Word>
   <Word id="v"><TextEquiv><Unicode>words</Unicode></TextEquiv></Word></TextLine>
  <TextLine id="empty"><Coords points="0,0 9,0 9,9"/></TextLine>
 </TextRegion></Page></PcGts>
"""

OLD_PAGE = """<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2010-03-19">
 <Page imageFilename="a.png" imageWidth="200" imageHeight="100"><TextLine id="old">
 <Coords><Point x="20" y="10"/><Point x="120" y="10"/><Point x="120" y="40"/></Coords>
 <TextEquiv><Unicode>points</Unicode></TextEquiv></TextLine></Page></PcGts>
"""

ALTO = """<?xml version="1.0"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#">
 <Description><MeasurementUnit>{unit}</MeasurementUnit>
 <sourceImageInformation><fileName>C:\\scans\\a.png</fileName></sourceImageInformation></Description>
 <Layout><Page WIDTH="200" HEIGHT="100"><PrintSpace><TextBlock>
  <TextLine ID="box" HPOS="20" VPOS="10" WIDTH="100" HEIGHT="30" BASELINE="35">
   <String CONTENT="first"/><SP/><String CONTENT="li"/><HYP CONTENT="-"/></TextLine>
  <TextLine ID="poly" BASELINE="20 60 120 70"><Shape><Polygon POINTS="20 50 120 60 120 80 20 70"/></Shape>
   <String CONTENT="other"/><String CONTENT="line"/></TextLine>
 </TextBlock></PrintSpace></Page></Layout></alto>
"""


def page(**given: str) -> str:
    values = {"image": "a.png", "points": "20,50 120,50 20,90", "baseline": ""}
    return PAGE.format(**values | given)


@pytest.fixture
def image(tmp_path: Path) -> NDArray[np.uint8]:
    pixels = np.full((100, 200), 230, np.uint8)
    pixels[20:30, 30:110] = 10
    pixels[60:85, 30:40] = 20
    pixels[60:85, 100:118] = 30  # beyond the triangle of the second line
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    return pixels


def test_page_lines_are_cut_out_by_their_polygons(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    (tmp_path / "a.xml").write_text(page(), encoding="utf-8")
    one, two = load(str(tmp_path), "train")
    assert (one.name, one.text) == ("a/one", "first line & more")
    assert (two.name, two.text) == ("a/two", "of words")
    np.testing.assert_array_equal(one.load(), image[10:41, 20:121])
    cut = two.load()
    assert cut.shape == (41, 101)
    assert (cut == 20).any()
    assert not (cut == 30).any()
    assert (cut[-1, 20:] == 230).all()


def test_older_page_and_alto_are_read_too(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    (tmp_path / "alto").mkdir()
    (tmp_path / "alto" / "b.xml").write_text(ALTO.format(unit="pixel"))
    assert page_xml.is_layout(tmp_path)
    box, polygon = load(str(tmp_path), "train")
    assert (box.text, polygon.text) == ("first li-", "other line")
    np.testing.assert_array_equal(box.load(), image[10:41, 20:121])
    assert polygon.load().shape[1] == 101
    (tmp_path / "old.xml").write_text(OLD_PAGE)
    (old,) = load(str(tmp_path), "train")  # the folder itself comes first
    assert old.text == "points"
    assert old.load().shape == (31, 101)


def test_a_sloping_baseline_is_made_level(tmp_path: Path) -> None:
    pixels = np.full((100, 200), 230, np.uint8)
    for x in range(20, 121):
        pixels[20 + (x - 20) // 10 : 24 + (x - 20) // 10, x] = 10
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    (tmp_path / "a.xml").write_text(page(baseline='<Baseline points="20,24 120,34"/>'), encoding="utf-8")
    line = load(str(tmp_path), "train")[0].load()
    rows = np.flatnonzero((line == 10).any(1))
    assert line.shape[1] == 101
    assert len(rows) <= 5
    assert (line == 10).sum() == (pixels == 10).sum()


def test_lists_of_pages_make_the_parts(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    for name in "abc":
        (tmp_path / f"{name}.xml").write_text(page(), encoding="utf-8")
    without = [load(str(tmp_path), part) for part in ("train", "valid")]
    assert [len(lines) for lines in without] == [6, 0]  # every tenth of six
    (tmp_path / "train.txt").write_text("c a\n")
    (tmp_path / "valid.txt").write_text("b\n")
    assert [line.name for line in load(str(tmp_path), "train")] == ["c/one", "c/two", "a/one", "a/two"]
    (tmp_path / "valid.txt").write_text("d\n")
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"train\.txt: cannot be read"):
        load(str(tmp_path), "train")
    (tmp_path / "train.txt").write_text("d\n")
    with pytest.raises(DataError, match=r"no page d\.xml"):
        load(str(tmp_path), "train")


ENTITIES = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><PcGts>&b;</PcGts>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><PcGts>&a;</PcGts>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ENTITIES, "declares entities or a document type"),
        (OUTSIDE, "declares entities or a document type"),
        ("<PcGts><Page>", "not sound XML"),
        ('<?xml version="1.0" encoding="nosuch"?><PcGts/>', "not sound XML"),
        ("<html/>", "neither PAGE nor ALTO, but begins with 'html'"),
        ("<PcGts/>", "no <Page imageFilename"),
        (page(image="../../../etc/hostname"), "no image 'hostname'; looked in"),
        (page(image="b.png"), r"no image 'b.png'; looked in"),
        (page(points="20,50 320,50 20,90"), "'two': the point 320,50 lies outside the page of 200 × 100"),
        (page(points="20,50 -99,50 20,90"), "'two': the point -99,50 lies outside"),
        (page(points="20,50 60,50"), "'two': its outline has no area"),
        (page(points="20,50 60,50 100,50"), "'two': its outline has no area"),
        (page(points="20,50 nan,50 1,1"), "'two': '20,50 nan,50 1,1' are no points"),
        (page(points=""), "'two': '' are no points"),
        (page().replace('imageWidth="200"', 'imageWidth="wide"'), "imageWidth of <Page> is 'wide'"),
        (ALTO.format(unit="mm10"), "coordinates in pixels"),
        (ALTO.format(unit="pixel").replace('HPOS="20"', ""), "HPOS of <TextLine> is 'missing'"),
    ],
)
def test_a_file_that_is_amiss_is_refused_by_name(
    tmp_path: Path, image: NDArray[np.uint8], text: str, message: str
) -> None:
    (tmp_path / "bad.xml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as raised:
        load(str(tmp_path), "train")
    assert "bad.xml" in str(raised.value)


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((50, 100), np.uint8))
    (tmp_path / "a.xml").write_text(page(), encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.png: has 100 × 50 pixels, but .*a\.xml says 200 × 100"):
        load(str(tmp_path), "train")[0].load()


def test_points_a_little_outside_are_moved_to_the_border(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    (tmp_path / "a.xml").write_text(page(points="-2,50 203,50 203,102 -2,102"), encoding="utf-8")
    (line,) = page_xml.read_page(tmp_path / "a.xml")[1:]
    np.testing.assert_array_equal(line.load(), image[50:])
