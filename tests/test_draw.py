import base64
import io
import math
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gtn_ebm import draw
from gtn_ebm.errors import CycleError, GraphError
from gtn_ebm.graph import Graph, GraphBuilder, Structure
from gtn_ebm.inference import best_path, posteriors
from gtn_ebm.ops import connect
from gtn_ebm.symbols import EPSILON, Symbols

SVG = "{http://www.w3.org/2000/svg}"
BEST = "#c1121f"


def texts(svg: str) -> list[str]:
    return [(element.text or "").strip() for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def lines(svg: str) -> dict[str, list[dict[str, str]]]:
    """The attributes of the lines drawn from one node to another, by "source->destination"."""
    found: dict[str, list[dict[str, str]]] = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        if group.get("class") == "edge":
            title = group.findtext(f"{SVG}title") or ""
            path = group.find(f"{SVG}path")
            assert path is not None
            found.setdefault(title, []).append(path.attrib)
    return found


def width(line: dict[str, str]) -> float:
    return float(line.get("stroke-width", "1"))


@pytest.fixture
def diamond() -> Graph:
    """Two ways, each of two arcs; the upper one is better, and there is a worse arc beside its first."""
    ends = Structure([0, 0, 0, 1, 2], [1, 1, 2, 3, 3], [0, 1, 2, 0, 2])
    return Graph(ends, torch.tensor([0.5, 4.0, 2.0, 0.25, 1.0]), input_symbols=Symbols("abc"))


def test_states_show_whether_they_are_initial_and_final() -> None:
    build = GraphBuilder()
    first, second, third = build.state(initial=0.0), build.state(initial=1.25), build.state(final=0.5)
    build.arc(first, third, 3)
    build.arc(second, third, 4)
    svg = draw.svg(build.graph())
    assert {"0", "1", "2/0.5", "1.25"} <= set(texts(svg))
    nodes = {
        group.findtext(f"{SVG}title"): group.findall(f"{SVG}ellipse")
        for group in ElementTree.fromstring(svg).iter(f"{SVG}g")
        if group.get("class") == "node"
    }
    assert [len(nodes[state]) for state in "012"] == [1, 1, 2]
    assert [width(nodes[state][0].attrib) for state in "012"] == [2.5, 2.5, 1.0]
    assert "start1->1" in lines(svg)
    assert "start0->0" not in lines(svg)


def test_acceptor_shows_one_label_and_transducer_two() -> None:
    letters = Symbols(["a", " "])
    acceptor = Graph.linear([0, 1], energies=torch.tensor([0.125, 0.0]), input_symbols=letters)
    assert {"a/0.125", "␣"} <= set(texts(draw.svg(acceptor)))
    transducer = Graph.linear([0, EPSILON], [7, 8], torch.tensor([12.345, math.inf]), input_symbols=letters)
    assert {"a:7/12.3", "ε:8/∞"} <= set(texts(draw.svg(transducer)))
    assert {"a:7", "ε:8"} <= set(texts(draw.svg(transducer, energies=False)))


@settings(deadline=None)
@given(name=st.text(min_size=1, max_size=30))
def test_any_symbol_is_shown_as_it_is(name: str) -> None:
    svg = draw.svg(Graph.linear([0], input_symbols=Symbols([name])), title=name)
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    arc = "␣" if name.isspace() else shown.strip()
    assert sorted(texts(svg)) == sorted(["0", "1", arc, shown.strip()])


@pytest.mark.parametrize(
    "name", ["<b>bold</b>", "<", "\\", "\\N", '"', 'a"; b -> c; "', "&lt;", "</text>", "]]>"]
)
def test_symbol_with_a_meaning_in_dot_or_svg_is_shown_as_it_is(name: str) -> None:
    assert name in texts(draw.svg(Graph.linear([0], input_symbols=Symbols([name]))))


def test_long_symbol_is_cut() -> None:
    shown = texts(draw.svg(Graph.linear([0], input_symbols=Symbols(["x" * 1000]))))
    assert "x" * 29 + "…" in shown


def test_parallel_arcs_share_a_line_by_energy() -> None:
    graph = Graph(Structure([0] * 15, [1] * 15, range(15)), torch.arange(15.0).flip(0))
    svg = draw.svg(graph)
    assert len(lines(svg)["0->1"]) == 1
    shown = [text for text in texts(svg) if text not in ("0", "1")]
    assert shown[:3] == ["14", "13/1", "12/2"]
    assert shown[-1] == "… 3 more"


def test_best_path_has_a_colour_and_a_line_of_its_own(diamond: Graph) -> None:
    drawn = lines(draw.svg(diamond, best_path=True))
    assert {title for title, found in drawn.items() if BEST in [line["stroke"] for line in found]} == {
        "0->1",
        "1->3",
    }
    assert len(drawn["0->1"]) == 2
    assert BEST not in draw.svg(diamond)


def test_best_path_of_a_graph_without_one_is_not_drawn(diamond: Graph) -> None:
    nowhere = diamond.with_energies(diamond.energies, final=torch.full((4,), math.inf))
    assert BEST not in draw.svg(nowhere, best_path=True)


def test_width_grows_with_the_posterior(diamond: Graph) -> None:
    drawn = lines(draw.svg(diamond, posteriors=True))
    probability = posteriors(diamond).arcs.tolist()
    expected = {"0->1": probability[0] + probability[1], "0->2": probability[2], "2->3": probability[4]}
    for title, value in expected.items():
        assert width(drawn[title][0]) == pytest.approx(0.4 + 4 * value, abs=0.01)


def test_cycle_is_drawn_unless_an_option_asks_for_a_sum_that_diverges() -> None:
    free = Graph(Structure([0], [0], [0]))
    for options in ({}, {"best_path": True}):
        assert "0->0" in lines(draw.svg(free, **options))
    with pytest.raises(CycleError):
        draw.svg(free, posteriors=True)
    often = free.with_energies(torch.tensor([0.1]))  # used 9.5 times, as is expected
    always = Graph(Structure([0], [1], [0]))
    assert posteriors(often).arcs > 9
    widths = [
        re.findall(r'stroke-width="([^"]+)"', draw.svg(one, posteriors=True)) for one in (often, always)
    ]
    assert max(map(float, widths[0])) == max(map(float, widths[1]))


def pictures(svg: str) -> list[tuple[np.ndarray, ElementTree.Element, ElementTree.Element]]:
    """Grey values, image and frame of each picture in an SVG."""
    found = []
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        image, frame = group.find(f"{SVG}image"), group.find(f"{SVG}polygon")
        if image is not None and frame is not None:
            data = image.attrib["{http://www.w3.org/1999/xlink}href"].removeprefix("data:image/png;base64,")
            with Image.open(io.BytesIO(base64.b64decode(data))) as png:
                assert png.mode == "L"
                found.append((np.asarray(png), image, frame))
    return found


def test_regions_are_drawn_on_their_arcs(diamond: Graph) -> None:
    random = np.random.default_rng(1)
    regions = [random.integers(0, 256, (5 + k, 200 - 40 * k)).astype(np.uint8) for k in range(4)]
    found = pictures(draw.svg(diamond.with_attributes(ink=[*regions, None]), regions="ink"))
    assert len(found) == 4
    by_shape = {grey.shape: grey for grey, _, _ in found}
    for region in regions:
        assert np.array_equal(by_shape[region.shape], 255 - region)
    for grey, image, frame in found:
        x, y, w, h = (float(image.attrib[name]) for name in ("x", "y", "width", "height"))
        corners = np.array([corner.split(",") for corner in frame.attrib["points"].split()], float)
        assert (corners.min(0) <= (x + 0.02, y)).all()
        assert (corners.max(0) >= (x + w - 0.02, y + h)).all()
        assert w / h == pytest.approx(grey.shape[1] / grey.shape[0], rel=0.01)


def test_floating_regions_are_ink_from_0_to_1(diamond: Graph) -> None:
    regions = torch.tensor([[[0.0, 0.5, 1.0, 2.0, -1.0]]]).repeat(5, 1, 1)
    found = pictures(draw.svg(diamond.with_attributes(ink=regions), regions="ink"))
    assert [grey.tolist() for grey, _, _ in found] == [[[255, 127, 0, 0, 255]]] * 4


def test_parallel_arcs_with_the_same_picture_share_it(diamond: Graph) -> None:
    same = diamond.with_attributes(ink=torch.zeros(5, 3, 3))
    assert len(pictures(draw.svg(same, regions="ink"))) == 4
    different = diamond.with_attributes(ink=torch.linspace(0, 1, 5)[:, None, None].expand(5, 3, 3))
    assert len(pictures(draw.svg(different, regions="ink"))) == 5


@pytest.mark.parametrize(
    ("region", "found"),
    [
        (np.zeros((2, 2, 3)), r"wanted shape \[h, w\], found \[2, 2, 3\]"),
        (np.zeros((0, 4)), r"wanted shape \[h, w\], found \[0, 4\]"),
        (np.zeros((2, 2), np.int64), "found int64"),
        (np.full((2, 2), math.nan), "NaN"),
        ("picture.png", "found \\[\\]"),
    ],
)
def test_region_that_is_no_picture(diamond: Graph, region: object, found: str) -> None:
    graph = diamond.with_attributes(ink=[None, None, region, None, None])
    with pytest.raises(GraphError, match=f"'ink' of arc 2 is no grey picture: .*{found}"):
        draw.svg(graph, regions="ink")


def test_missing_attribute_is_named(diamond: Graph) -> None:
    with pytest.raises(GraphError, match=r"no arc attribute 'ink'; this graph has \['span'\]"):
        draw.svg(diamond.with_attributes(span=[0] * 5), regions="ink")


def test_large_graph_is_refused_and_a_way_out_named() -> None:
    with pytest.raises(GraphError, match=r"501 arcs are too many .* draw\.most_probable"):
        draw.svg(Graph.linear([0] * 501))
    with pytest.raises(GraphError, match="max_arcs is 1"):
        draw.dot(Graph.linear([0] * 2), max_arcs=1)
    with pytest.raises(GraphError, match="10000 states"):
        draw.dot(Graph(Structure([], [], [], states=10_000)))


def test_preview_draws_or_says_why_not() -> None:
    assert draw.preview(Graph.linear([7])) == draw.svg(Graph.linear([7]))
    assert "501 arcs are too many" in texts(draw.preview(Graph.linear([0] * 501)))[0]


def test_a_notebook_shows_the_preview() -> None:
    for graph in (Graph.linear([7]), Graph.linear([0] * 501)):
        assert graph._repr_svg_() == draw.preview(graph)


def test_unknown_option_is_an_error(diamond: Graph) -> None:
    with pytest.raises(TypeError, match="best"):
        draw.svg(diamond, best=True)  # type: ignore[call-arg]


def test_save_follows_the_ending(diamond: Graph, tmp_path: Path) -> None:
    draw.save(diamond, tmp_path / "graph.svg", title="Two ways")
    assert "Two ways" in texts((tmp_path / "graph.svg").read_text(encoding="utf-8"))
    draw.save(diamond, tmp_path / "graph.dot")
    assert (tmp_path / "graph.dot").read_text(encoding="utf-8") == draw.dot(diamond)
    with pytest.raises(GraphError, match=r"\.svg or \.dot"):
        draw.save(diamond, tmp_path / "graph.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph.dot", "graph.svg"]


@pytest.mark.skipif(shutil.which("dot") is None, reason="the program dot is not installed")
def test_both_renderers_show_the_same(diamond: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    options: draw.Options = {"regions": "ink", "best_path": True, "title": "<ε>"}
    graph = diamond.with_attributes(ink=torch.zeros(5, 3, 3))
    by_program = draw.svg(graph, **options)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    by_library = draw.svg(graph, **options)
    assert sorted(texts(by_program)) == sorted(texts(by_library))
    assert len(pictures(by_program)) == len(pictures(by_library)) == 5


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), wanted=st.integers(0, 40))
def test_most_probable_part(seed: int, wanted: int) -> None:
    random = np.random.default_rng(seed)
    ends = np.sort(random.integers(0, 8, (30, 2)), axis=1)
    ends = np.concatenate([ends[ends[:, 0] < ends[:, 1]], [[0, 7]]])
    energies = torch.from_numpy(random.gamma(2, 2, len(ends)))
    numbers = list(range(len(ends)))
    graph = Graph(Structure(*ends.T, numbers, states=8), energies, attributes={"number": numbers})
    part = draw.most_probable(graph, wanted)
    best = best_path(graph)
    assert best is not None
    assert set(best.arcs.tolist()) <= set(part.attributes["number"])
    assert part.arcs <= max(wanted, len(best.arcs))
    assert connect(part).arcs == part.arcs
    assert part.energies.tolist() == energies[part.attributes["number"]].tolist()
    if wanted >= len(ends):
        assert part.arcs == connect(graph).arcs


def test_most_probable_part_needs_a_path() -> None:
    with pytest.raises(GraphError, match="no path"):
        draw.most_probable(Graph(Structure([0], [1], [0]), torch.tensor([math.inf])))
    with pytest.raises(CycleError):
        draw.most_probable(Graph(Structure([0, 0], [0, 1], [0, 0])))


def test_dot_source_is_left_to_right_and_holds_no_picture(diamond: Graph) -> None:
    source = draw.dot(diamond.with_attributes(ink=torch.zeros(5, 3, 3)), regions="ink")
    assert "rankdir=LR" in source
    assert len(re.findall(r"^\s*region\d \[", source, re.MULTILINE)) == 4
    assert "base64" not in source
