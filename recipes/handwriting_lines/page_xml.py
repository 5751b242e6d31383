"""Pages with the outline and text of each line, in PAGE or ALTO XML, beside their images.

A line is what lies within its polygon, the paper of the rest made up. Where it has a baseline, its columns
are moved up or down so that the baseline is level, which leaves the x of everything in it.

Sources: Pletschacher and Antonacopoulos, "The PAGE (page analysis and ground-truth elements) format
framework" (2010); Library of Congress, ALTO XML schema, version 4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path, PureWindowsPath
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

import cv2
import numpy as np
from numpy.typing import NDArray

from gtn_ebm.errors import DataError
from recipes.handwriting_lines.line import Line
from recipes.images import read_grey

Points = NDArray[np.float64]
"""x, y in pixels of the page, [P, 2]."""

LAYOUT = "*.xml, page/*.xml or alto/*.xml (PAGE or ALTO)"

LARGEST_FILE = 64 * 2**20
"""Bytes of XML."""

ROUNDING = 5.0
"""Pixels by which a point may lie outside its page."""

HELD_OUT_EVERY = 10
"""Without lists of pages, each line of so many is for validation."""

_PAGES_KEPT = 4  # in memory
_NUMBER = re.compile(r"[-+]?[0-9]{1,9}(?:\.[0-9]{1,9})?")


class _Outline(NamedTuple):
    """Of a line, in pixels of the page.

    Attributes:
        polygon: around it.
        baseline: from left to right; empty where not known.
    """

    polygon: Points
    baseline: Points


class _Page(NamedTuple):
    """A page's image, its width and height as the XML has them (0 where it does not), and what that is."""

    image: str
    size: tuple[float, float]
    where: str


def is_layout(directory: Path) -> bool:
    """Whether there is an XML file of pages in it, or in its folder ``page`` or ``alto``."""
    return bool(_files(directory))


def read_folder(directory: Path) -> dict[str, list[Line]]:
    """The lines for "train", "valid" and "test", page by page, in the order of the files.

    ``train.txt``, ``valid.txt`` and ``test.txt`` list the pages of each part by the names of their files
    without ending; without them every tenth line is for validation and the others for training. Lines
    without a text are left out.

    Raises:
        DataError: a file that is neither PAGE nor ALTO, or not sound XML, or declares entities; a page
            without an image; a line without an outline, or with one outside its page; a page in a list that
            is not there.
    """
    pages = {path.stem: list(_lines(directory, path)) for path in _files(directory)}
    lists = {part: directory / f"{part}.txt" for part in ("train", "valid", "test")}
    given = {part: path for part, path in lists.items() if path.is_file()}
    if not given:
        lines = [line for of_page in pages.values() for line in of_page]
        held_out = lines[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
        kept = [line for place, line in enumerate(lines, 1) if place % HELD_OUT_EVERY]
        return {"train": kept, "valid": held_out}
    parts = {}
    for part, path in given.items():
        try:
            names = path.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read as a list of pages ({error})") from error
        missing = next((name for name in names if name not in pages), None)
        if missing is not None:
            raise DataError(f"{path}: there is no page {missing}.xml in {directory}")
        parts[part] = [line for name in names for line in pages[name]]
    return parts


def read_page(path: Path, directory: Path | None = None) -> list[Line]:
    """The lines of one page that have a text, in the order of the file; errors as of ``read_folder``.

    Args:
        path: a PAGE or ALTO XML file.
        directory: where its image is looked for, too.
    """
    return list(_lines(path.parent if directory is None else directory, path))


def _files(directory: Path) -> list[Path]:
    for place in (directory, directory / "page", directory / "alto"):
        if files := sorted(path for path in place.glob("*.xml") if path.name != "METS.xml"):
            return files
    return []


def _lines(directory: Path, path: Path) -> Iterator[Line]:
    root = _root(path)
    kind = _local(root)
    if kind not in ("PcGts", "alto"):
        raise DataError(f"{path}: is neither PAGE nor ALTO, but begins with {kind!r:.40}")
    page = _page_of_page(root, path) if kind == "PcGts" else _page_of_alto(root, path)
    image = _image(directory, path, page.image)
    for number, element in enumerate(_all(root, "TextLine"), 1):
        name = element.get("id") or element.get("ID") or f"line {number}"
        where = f"{path}, {name!r:.40}"
        text = _text_of_page(element) if kind == "PcGts" else _text_of_alto(element)
        if text:
            outline = (
                _outline_of_page(element, where) if kind == "PcGts" else _outline_of_alto(element, where)
            )
            _check_inside(outline, page.size, where)
            yield Line(f"{path.stem}/{name}", text, partial(_cut, image, outline, page))


def _root(path: Path) -> Element:
    try:
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import parse
    except ImportError as error:
        raise DataError("PAGE and ALTO need the package defusedxml: pip install defusedxml") from error
    if path.stat().st_size > LARGEST_FILE:
        raise DataError(f"{path}: is larger than {LARGEST_FILE >> 20} MiB, which no page of text needs")
    try:
        root: Element = parse(path, forbid_dtd=True).getroot()
    except DefusedXmlException as error:
        raise DataError(
            f"{path}: declares entities or a document type, which is refused ({error})"
        ) from error
    except (ParseError, ValueError, LookupError) as error:  # also an encoding that does not exist
        raise DataError(f"{path}: is not sound XML ({error})") from error
    return root


def _local(element: Element) -> str:
    """The name without its namespace, of which each version of the formats has another."""
    return element.tag.rpartition("}")[2]


def _all(element: Element, name: str) -> Iterator[Element]:
    return (found for found in element.iter() if _local(found) == name)


def _children(element: Element, name: str) -> list[Element]:
    return [child for child in element if _local(child) == name]


def _page_of_page(root: Element, path: Path) -> _Page:
    page = next(_all(root, "Page"), None)
    if page is None or not page.get("imageFilename"):
        raise DataError(f"{path}: no <Page imageFilename=…> that names the image of the page")
    size = _number(page, "imageWidth", str(path)), _number(page, "imageHeight", str(path))
    return _Page(page.get("imageFilename", ""), size, str(path))


def _page_of_alto(root: Element, path: Path) -> _Page:
    page, name = next(_all(root, "Page"), None), next(_all(root, "fileName"), None)
    if page is None or name is None or not (name.text or "").strip():
        raise DataError(f"{path}: no <Page>, or no <fileName> that names the image of the page")
    unit = next(_all(root, "MeasurementUnit"), None)
    if unit is not None and (unit.text or "").strip() != "pixel":
        raise DataError(f"{path}: its <MeasurementUnit> is {unit.text!r:.20}; write coordinates in pixels")
    size = _number(page, "WIDTH", str(path)), _number(page, "HEIGHT", str(path))
    return _Page((name.text or "").strip(), size, str(path))


def _image(directory: Path, path: Path, name: str) -> Path:
    """The image that an XML file names, whatever folder it was in on the machine of its author."""
    plain = PureWindowsPath(name).name  # takes / and \
    places = [path.parent, directory, directory / "images"]
    found = next((place / plain for place in places if plain and (place / plain).is_file()), None)
    if found is None:
        looked = ", ".join(dict.fromkeys(map(str, places)))
        raise DataError(f"{path}: there is no image {plain!r:.60}; looked in {looked}")
    return found


def _text_of_page(line: Element) -> str:
    """Its own text, the first of several, else those of its words."""

    def of(element: Element) -> str:
        texts = sorted(_children(element, "TextEquiv"), key=lambda text: text.get("index") or "0")
        found = (content.text or "" for text in texts for content in _children(text, "Unicode"))
        return next(found, "")

    return " ".join((of(line) or " ".join(map(of, _children(line, "Word")))).split())


def _text_of_alto(line: Element) -> str:
    pieces = [" " if _local(child) == "SP" else child.get("CONTENT") or "" for child in line]
    is_spaced = any(_local(child) == "SP" for child in line)
    return " ".join(("" if is_spaced else " ").join(pieces).split())


def _outline_of_page(line: Element, where: str) -> _Outline:
    coordinates = next(iter(_children(line, "Coords")), None)
    if coordinates is None:
        raise DataError(f"{where}: has no <Coords>, the polygon around the line")
    baseline = next(iter(_children(line, "Baseline")), None)
    return _outline(_points_of_page(coordinates, where), baseline, where)


def _points_of_page(element: Element, where: str) -> Points:
    if element.get("points") is not None:
        return _points(element.get("points", ""), where)
    corners = [
        (_number(point, "x", where), _number(point, "y", where)) for point in _children(element, "Point")
    ]
    return np.array(corners, np.float64).reshape(-1, 2)


def _outline_of_alto(line: Element, where: str) -> _Outline:
    polygon = next(
        (shape for shapes in _children(line, "Shape") for shape in _children(shapes, "Polygon")), None
    )
    if polygon is not None:
        points = _points(polygon.get("POINTS", ""), where)
    else:
        left, top = _number(line, "HPOS", where), _number(line, "VPOS", where)
        right, bottom = left + _number(line, "WIDTH", where), top + _number(line, "HEIGHT", where)
        points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    return _outline(points, line if " " in line.get("BASELINE", "").strip() else None, where)


def _outline(polygon: Points, baseline: Element | None, where: str) -> _Outline:
    if len(polygon) < 3 or not all(np.ptp(polygon, axis=0) >= 1):
        raise DataError(f"{where}: its outline has no area; give three points or more around the line")
    if baseline is None:
        return _Outline(polygon, np.zeros((0, 2)))
    points = _points(baseline.get("points") or baseline.get("BASELINE") or "", where)
    return _Outline(polygon, points[np.argsort(points[:, 0], kind="stable")])


def _points(text: str, where: str) -> Points:
    """``x,y x,y …`` of PAGE, or ``x y x y …``, which ALTO allows, too."""
    fields = re.split(r"[\s,]+", text.strip())
    if len(fields) % 2 or not all(map(_NUMBER.fullmatch, fields)):
        raise DataError(f"{where}: {text[:40]!r} are no points; write 'x,y x,y …'")
    return np.array(fields, np.float64).reshape(-1, 2)


def _number(element: Element, name: str, where: str) -> float:
    text = element.get(name) or "missing"
    if not _NUMBER.fullmatch(text):
        raise DataError(f"{where}: {name} of <{_local(element)}> is {text[:20]!r}; it must be a number")
    return float(text)


def _check_inside(outline: _Outline, size: Sequence[float], where: str) -> None:
    points = np.concatenate([outline.polygon, outline.baseline])
    outside = (points < -ROUNDING) | (points > np.array(size) + ROUNDING)
    if outside.any():
        x, y = points[outside.any(1)][0]
        raise DataError(
            f"{where}: the point {x:g},{y:g} lies outside the page of {size[0]:g} × {size[1]:g} pixels"
        )


@lru_cache(maxsize=_PAGES_KEPT)
def _loaded(path: Path) -> NDArray[np.uint8]:
    return read_grey(path)


def _cut(path: Path, outline: _Outline, page: _Page) -> NDArray[np.uint8]:
    """The line, as wide and high as its polygon, or higher where its baseline is not straight."""
    image = _loaded(path)
    height, width = image.shape
    if (width, height) != page.size:
        raise DataError(
            f"{path}: has {width} × {height} pixels, but {page.where} says {page.size[0]:g} × "
            f"{page.size[1]:g}; put the image there that the outlines were drawn on"
        )
    corners = np.rint(outline.polygon).astype(np.int32).clip(0, [width - 1, height - 1])
    left, top, columns, rows = cv2.boundingRect(corners)
    inside = np.zeros((rows, columns), np.uint8)
    cv2.fillPoly(inside, [corners - (left, top)], 1)
    piece = image[top : top + rows, left : left + columns]
    paper = np.uint8(np.median(piece[inside == 1]))
    line = np.where(inside == 1, piece, paper)
    return _levelled(line, outline.baseline - (left, top), paper) if len(outline.baseline) > 1 else line


def _levelled(line: NDArray[np.uint8], baseline: Points, paper: np.uint8) -> NDArray[np.uint8]:
    """Its columns moved so that the baseline is in one row."""
    rows, columns = line.shape
    down = np.interp(np.arange(columns), baseline[:, 0], baseline[:, 1])
    down = np.rint(down - np.median(down)).astype(np.int64).clip(-rows, rows)
    above, below = max(0, down.max()), max(0, -down.min())
    padded = np.pad(line, ((above, below), (0, 0)), constant_values=paper)
    place = np.arange(rows + above + below)[:, None] + down[None]
    filled = np.pad(padded, ((0, 1), (0, 0)), constant_values=paper)
    last = len(padded)
    return np.take_along_axis(filled, np.where((place >= 0) & (place < last), place, last), 0)
