"""What the reader saw, as pictures: the three graphs of a reading, and a page of readings."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from gtn_ebm import Graph, best_path, draw
from recipes.check_reader.reader import Reading

MOST_ARCS = 40
"""Arcs in a drawing of a graph; of a larger one the most probable are drawn."""


def pictures(reading: Reading) -> dict[str, str]:
    """SVG of each graph of a reading, by name: ``segmentation``, ``interpretation`` and ``amount``.

    Every arc has its piece of ink on it and is as thick as it is probable; the best path is red. Of a large
    graph, the MOST_ARCS most probable arcs are drawn.
    """
    graphs = {
        "segmentation": reading.segmentation_graph,
        "interpretation": reading.interpretation,
        "amount": reading.amount,
    }
    return {name: _svg(graph, reading) for name, graph in graphs.items()}


def _svg(graph: Graph, reading: Reading) -> str:
    if graph.arcs > MOST_ARCS and best_path(graph) is not None:
        graph = draw.most_probable(graph, MOST_ARCS)
    # An arc on which a grammar reads nothing has no region, −1.
    regions = [int(region) for region in graph.attributes["region"]]
    ink = [None if region < 0 else reading.segmentation.region(region) for region in regions]
    return draw.svg(graph.with_attributes(ink=ink), regions="ink", best_path=True, posteriors=True)


class Exhibit(NamedTuple):
    """A reading to show: its image's name and grey levels, uint8 [h, w], and the right answer if known."""

    name: str
    image: NDArray[np.uint8]
    reading: Reading
    truth: str | None


def page(title: str, introduction: str, exhibits: Sequence[Exhibit]) -> str:
    """An HTML page, complete in itself, of images with their answers, confidences and graphs.

    All given text is escaped.
    """
    sections = "".join(map(_section, exhibits))
    return _PAGE.format(title=html.escape(title), introduction=html.escape(introduction), sections=sections)


def _section(exhibit: Exhibit) -> str:
    reading = exhibit.reading
    graphs = "".join(_drawing(name, svg) for name, svg in pictures(reading).items())
    right = "" if exhibit.truth is None else f" <small>(written: {html.escape(exhibit.truth)})</small>"
    verdict = "accepted" if reading.accepted else "rejected"
    wrong = exhibit.truth not in (None, reading.digits)
    figures = f"{verdict}, confidence {reading.confidence:.4f}, energy {reading.energy:.2f}"
    image = _data("png", _png(exhibit.image))
    return (
        f'<section><img class="amount" alt="{html.escape(exhibit.name)}" src="{image}">'
        f'<p class="{"wrong" if wrong else verdict}">{html.escape(reading.digits or "nothing")}{right} '
        f"<small>{figures}</small></p>{graphs}</section>"
    )


def _drawing(name: str, svg: str) -> str:
    return (
        f"<details{' open' if name == 'segmentation' else ''}><summary>{name} graph</summary>"
        f'<div class="scroll"><img alt="{name} graph" src="{_data("svg+xml", svg.encode())}"></div></details>'
    )


def _png(image: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def _data(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; }}
body {{ margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }}
section {{ border-top: 1px solid #ccc; padding: 1rem 0; }}
.amount {{ height: 5rem; max-width: 100%; }}
p {{ font-size: 1.3rem; margin: .3rem 0; }}
small {{ font-size: .9rem; color: #555; }}
.rejected {{ color: #777; }}
.wrong {{ color: #a40000; }}
.scroll {{ overflow-x: auto; }}
summary {{ cursor: pointer; }}
</style></head><body><h1>{title}</h1>
<p><small>{introduction} An arc shows its piece of ink, its label and its energy; the thicker it is, the
more probable; the best path is red. Wrong answers are red, right ones that are not sure enough
grey.</small></p>
{sections}</body></html>
"""
