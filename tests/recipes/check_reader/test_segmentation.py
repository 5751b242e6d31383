import csv
import itertools
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm.errors import DataError
from recipes.check_reader.segmentation import (
    HEIGHT,
    INKED,
    MAX_ATOMS,
    MAX_WIDTH,
    Segmentation,
    normalise,
    right_path,
    segment,
)


def paper(height: int = HEIGHT, width: int = 150) -> np.ndarray:
    """A sheet with a printed pattern of fine waves and a shade from left to right."""
    y, x = np.mgrid[:height, :width]
    return (200 + 8 * np.sin(y + np.sin(x / 9)) - 30 * x / width).astype(np.uint8)


def written(text: str, width: int = 150) -> np.ndarray:
    sheet = paper(width=width)
    cv2.putText(sheet, text, (8, 38), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 60, 2, cv2.LINE_AA)
    return sheet


def line(sheet: np.ndarray, start: tuple[int, int], end: tuple[int, int], thickness: int = 3) -> None:
    cv2.line(sheet, start, end, 50, thickness, cv2.LINE_AA)


def arc_index(segmentation: Segmentation, source: int, destination: int) -> int:
    return int(np.flatnonzero((segmentation.arcs == [source, destination]).all(axis=1))[0])


class TestNormalise:
    def test_flattens_the_background_and_keeps_grey_levels(self):
        ink = normalise(written("207"))
        assert ink.dtype == np.float32
        assert ink.shape == (HEIGHT, 150)
        assert ink.min() == 0
        assert ink.max() == 1
        assert np.mean(ink == 0) > 0.5
        assert np.mean((ink > 0.05) & (ink < 0.95)) > 0.03
        assert ink[:, 120:].max() < 0.2  # no digit there, only pattern and shade

    def test_keeps_the_aspect_up_to_the_greatest_width(self):
        tall = cv2.resize(written("207"), (300, 96))
        assert normalise(tall).shape == (HEIGHT, 150)
        wide = cv2.resize(written("207"), (3000, HEIGHT))
        assert normalise(wide).shape == (HEIGHT, MAX_WIDTH)

    def test_takes_a_printed_rule_away_but_not_the_stroke_across(self):
        sheet = paper()
        line(sheet, (60, 4), (60, 46))
        plain = normalise(sheet)
        cv2.line(sheet, (0, 40), (149, 41), 60, 1)
        ruled = normalise(sheet)
        assert ruled[36:45, 5:50].max() < 0.2
        assert ruled[36:45, 60].min() > 0.8 * plain[36:45, 60].min() > 0

    def test_takes_faint_specks_away_but_not_the_faint_end_of_a_stroke(self):
        sheet = paper()
        line(sheet, (20, 10), (20, 40))
        cv2.line(sheet, (21, 25), (40, 25), 145, 3)
        cv2.line(sheet, (80, 25), (90, 25), 145, 3)
        ink = normalise(sheet)
        assert 0.15 < ink[25, 26:38].min() < ink[25, 26:38].max() < 0.5
        assert ink[:, 75:].max() < 0.15

    def test_keeps_a_written_dash(self):
        sheet = paper()
        line(sheet, (80, 25), (110, 25))
        assert normalise(sheet)[25, 84:106].min() > 0.8

    @pytest.mark.parametrize(
        "image",
        [
            np.full((50, 100), 255, np.uint8),
            np.zeros((50, 100), np.uint8),
            np.zeros((1, 1), np.uint8),
            np.zeros((0, 7), np.uint8),
            np.zeros((7, 0), np.uint8),
            paper(),
        ],
        ids=["white", "black", "one pixel", "no rows", "no columns", "pattern only"],
    )
    def test_says_that_there_is_no_ink(self, image):
        with pytest.raises(DataError, match="no ink"):
            normalise(image)

    @pytest.mark.parametrize(
        "image", [np.zeros((5, 5, 3), np.uint8), np.zeros((5, 5)), np.zeros(5, np.uint8)]
    )
    def test_wants_grey_bytes(self, image):
        with pytest.raises(DataError, match="uint8 \\[h, w\\]"):
            normalise(image)


class TestSegment:
    def test_a_rule_alone_is_no_ink(self):
        sheet = np.full((HEIGHT, 150), 220, np.uint8)
        sheet[30] = 40
        with pytest.raises(DataError, match="no ink"):
            segment(sheet)

    @settings(max_examples=40, deadline=None)
    @given(st.text("0123456789.,-/ ", max_size=12).map(lambda text: "1" + text), st.integers(60, 260))
    def test_is_a_graph_over_disjoint_atoms(self, text, width):
        found = segment(written(text, width))
        count, (_, columns) = len(found.left), found.ink.shape
        assert found.left.shape == found.right.shape == (count, HEIGHT)
        assert found.left.min() >= 0
        assert found.right.max() <= columns
        assert (found.left <= found.right).all()
        assert (found.right[:-1] <= found.left[1:]).all()  # seams do not cross

        arcs = [tuple(arc) for arc in found.arcs.tolist()]
        assert arcs == sorted(set(arcs))
        assert all(0 < j - i <= MAX_ATOMS for i, j in arcs)
        assert {(k, k + 1) for k in range(count)} <= set(arcs)
        for array, dtype in (
            (found.ink, np.float32),
            (found.left, np.float32),
            (found.right, np.float32),
            (found.arcs, np.int32),
            (found.boxes, np.float32),
        ):
            assert array.dtype == dtype

    @settings(max_examples=20, deadline=None)
    @given(st.text("0123456789.-", min_size=1, max_size=6).map(lambda text: "4" + text))
    def test_the_box_of_an_atom_bounds_its_ink(self, text):
        found = segment(written(text))
        for k, left in enumerate(found.left):
            arc = arc_index(found, k, k + 1)
            x0, y0, x1, y1 = (found.boxes[arc] - [left.min(), 0] * 2).astype(int)
            region = found.region(arc)
            inside = region[y0:y1, x0:x1].copy()
            region[y0:y1, x0:x1] = 0
            assert region.max() < INKED
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert edge.max() >= INKED

    @settings(max_examples=20, deadline=None)
    @given(st.text("0123456789.-", min_size=1, max_size=6).map(lambda text: "4" + text))
    def test_an_arc_merges_its_atoms(self, text):
        found = segment(written(text))
        atoms = [arc_index(found, k, k + 1) for k in range(len(found.left))]
        for arc, (i, j) in enumerate(found.arcs):
            boxes = found.boxes[atoms[i:j]]
            assert found.boxes[arc].tolist() == [*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)]
            if (found.right[i : j - 1] == found.left[i + 1 : j]).all():  # else there is paper between
                pieces = sum(found.region(atom).sum() for atom in atoms[i:j])
                assert found.region(arc).sum() == pytest.approx(pieces, rel=1e-5)

    def test_almost_all_ink_is_in_an_atom(self):
        found = segment(written("38251"))
        whole = sum(found.region(arc_index(found, k, k + 1)).sum() for k in range(len(found.left)))
        assert whole > 0.98 * found.ink.sum()

    def test_seams_lean_between_slanted_strokes_that_overlap(self):
        sheet = paper()
        line(sheet, (20, 44), (50, 4))
        line(sheet, (34, 44), (64, 4))
        found = segment(sheet)
        best = right_path(found, [(19, 3, 33, 42), (33, 3, 33, 42)], overlap=0.8)
        assert best is not None
        first, second = (found.region(arc) for arc in best)
        assert first.sum() == pytest.approx(second.sum(), rel=0.15)
        assert (found.boxes[best[0]][[1, 3]] == found.boxes[best[1]][[1, 3]]).all()  # neither lost an end

    def test_touching_circles_are_cut_and_a_broken_stroke_is_merged(self):
        sheet = paper()
        for x in (30, 52):
            cv2.circle(sheet, (x, 25), 11, 50, 2, cv2.LINE_AA)
        for start in (80, 90, 100):
            line(sheet, (start, 12), (start + 5, 12))
        line(sheet, (104, 12), (90, 44))
        found = segment(sheet)
        boxes = [(18, 13, 24, 24), (41, 13, 24, 24), (79, 11, 27, 34)]
        assert right_path(found, boxes, overlap=0.8) is not None

    def test_a_larger_picture_of_the_same_has_the_same_digits(self):
        sheet = written("4073")
        ends = [8 + cv2.getTextSize("4073"[:k], cv2.FONT_HERSHEY_SIMPLEX, 1.0, 2)[0][0] for k in range(5)]
        boxes = [(x0, 16, x1 - x0, 23) for x0, x1 in itertools.pairwise(ends)]
        larger = cv2.resize(sheet, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
        for image, factor in ((sheet, 1), (larger, 3)):
            found = segment(image)
            assert found.scale == pytest.approx(1 / factor)
            scaled = [tuple(factor * value for value in box) for box in boxes]
            assert right_path(found, scaled, overlap=0.7) is not None

    @pytest.mark.parametrize("shape", [(12, 3000), (200, 100)], ids=["wide", "tall"])
    def test_takes_any_aspect(self, shape):
        found = segment(cv2.resize(written("207"), shape[::-1], interpolation=cv2.INTER_AREA))
        assert found.ink.shape[0] == HEIGHT
        assert found.scale == found.ink.shape[1] / shape[1]
        assert len(found.left) >= 2


class TestRightPath:
    @pytest.fixture
    def spans(self) -> Segmentation:
        """Four atoms of ten columns each, and the arcs of one and of two atoms."""
        left = np.repeat(10 * np.arange(4, dtype=np.float32)[:, None], HEIGHT, axis=1)
        arcs = np.array([[i, j] for i in range(4) for j in range(i + 1, min(i + 3, 5))], np.int32)
        zeros, full = np.zeros(len(arcs)), np.full(len(arcs), HEIGHT)
        boxes = np.stack([10 * arcs[:, 0], zeros, 10 * arcs[:, 1], full], axis=1).astype(np.float32)
        return Segmentation(np.ones((HEIGHT, 40), np.float32), left, left + 10, arcs, boxes, scale=2.0)

    def test_names_the_arcs_of_the_digits_only(self, spans):
        path = right_path(spans, [(0, 0, 10, 24), (15, 0, 5, 24)])  # original pixels: columns 0-20 and 30-40
        assert path is not None
        assert spans.arcs[path].tolist() == [[0, 2], [3, 4]]

    def test_takes_the_greatest_overlap(self, spans):
        path = right_path(spans, [(0, 0, 6, 24)])  # 0-12: 10 / 12 with one atom, 12 / 20 with two
        assert path is not None
        assert spans.arcs[path].tolist() == [[0, 1]]

    def test_prefers_the_arc_with_the_whole_digit(self, spans):
        boxes = spans.boxes.copy()
        boxes[arc_index(spans, 0, 2), 1] = HEIGHT / 2
        path = right_path(replace(spans, boxes=boxes), [(0, 0, 8, 24)])
        assert path is not None
        assert spans.arcs[path].tolist() == [[0, 1]]  # though two atoms span it better

    def test_two_digits_cannot_share_an_atom(self, spans):
        assert right_path(spans, [(5, 0, 5, 24), (5, 0, 5, 24)]) is None

    def test_gives_way_to_the_neighbour(self, spans):
        # Each likes atoms 1 and 2 best, and together they can have one each.
        path = right_path(spans, [(5, 0, 9, 24), (6, 0, 9, 24)])
        assert path is not None
        assert spans.arcs[path].tolist() == [[1, 2], [2, 3]]

    def test_order_matters(self, spans):
        assert right_path(spans, [(15, 0, 5, 24), (0, 0, 5, 24)]) is None

    def test_overlap_is_the_least_that_counts(self, spans):
        boxes = [(0, 0, 7, 24)]  # 0-14: 10 / 14 with one atom, 14 / 20 with two
        assert right_path(spans, boxes, overlap=0.71) is not None
        assert right_path(spans, boxes, overlap=0.72) is None

    def test_no_digits_need_no_arcs(self, spans):
        assert right_path(spans, []) == []

    def test_is_the_best_of_all_choices(self, spans):
        random = np.random.default_rng(1)
        found = 0
        for _ in range(200):
            start = np.sort(random.uniform(0, 18, 2))
            boxes = [(x, 0.0, w, 24.0) for x, w in zip(start, random.uniform(3, 12, 2), strict=True)]
            best = -1.0
            for a in range(len(spans.arcs)):
                for b in range(len(spans.arcs)):
                    gains = [span_overlap(spans, *pair) for pair in zip((a, b), boxes, strict=True)]
                    if spans.arcs[a, 1] <= spans.arcs[b, 0] and min(gains) >= 0.5:
                        best = max(best, sum(gains))
            path = right_path(spans, boxes)
            assert (path is None) == (best < 0)
            if path is not None:
                found += 1
                gains = [span_overlap(spans, *pair) for pair in zip(path, boxes, strict=True)]
                assert sum(gains) == pytest.approx(best)
        assert 20 < found < 180


def span_overlap(found: Segmentation, arc: int, box: tuple[float, float, float, float]) -> float:
    x0, x1 = found.boxes[arc, 0] / found.scale, found.boxes[arc, 2] / found.scale
    shared = max(0.0, min(x1, box[0] + box[2]) - max(x0, box[0]))
    return shared / ((x1 - x0) + box[2] - shared)


@pytest.mark.data
def test_real_amounts_have_their_right_segmentation_in_a_small_graph(data_directory):
    folder = data_directory / "check_amounts"
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        names = [row["file"] for row in csv.DictReader(file)][::10]
    truth = json.loads((folder / "boxes.json").read_text(encoding="utf-8"))
    arcs, at_half, at_seven_tenths = [], 0, 0
    for name in names:
        found = segment(cv2.imread(str(folder / "images" / name), cv2.IMREAD_GRAYSCALE))
        boxes = [tuple(digit["bbox_xywh"]) for digit in truth[name]]
        arcs.append(len(found.arcs))
        at_half += right_path(found, boxes) is not None
        at_seven_tenths += right_path(found, boxes, overlap=0.7) is not None
    assert at_half >= 0.99 * len(names)
    assert at_seven_tenths >= 0.95 * len(names)
    assert np.median(arcs) <= 250
