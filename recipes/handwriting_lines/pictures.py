"""Pictures: a line with what was read where, the answers that compete, and a page of errors."""

from __future__ import annotations

import base64
import html
import math
from collections import defaultdict
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from gtn_ebm import Graph, GraphBuilder, GraphError, Symbols, draw
from gtn_ebm.ops import connect, determinize, minimize, project, prune, remove_epsilons
from recipes.handwriting_lines.reader import Letter

SHOWN_HEIGHT = 64.0
"""Of lines in pictures of alignments, in pixels of the screen."""

MOST_ARCS = 150
"""Of a lattice that is drawn."""

MOST_STATES = 1000
"""Of one that is looked at to be drawn."""

LATTICE_BEAM = 3.0
"""How much worse than the best answer those in a drawing of a lattice may be."""

_FONT = "system-ui, sans-serif"
_WORDS_AT, _LETTERS_AT, _FOOT = 10.0, 26.0, 36.0  # below the line


def alignment(
    image: NDArray[np.uint8], letters: Sequence[Letter], words: Sequence[tuple[float, float]] = ()
) -> str:
    """SVG of a line: below it a bar from the begin to the end of each word, and each character where it was
    read, with a tick at its begin.

    Args:
        image: of the line, grey.
        letters: its characters, in pixels of the image.
        words: x-spans of words.
    """
    scale = SHOWN_HEIGHT / len(image)
    width = image.shape[1] * scale
    bars = "".join(
        f'<rect x="{start * scale:.1f}" y="{SHOWN_HEIGHT + _WORDS_AT - 6:.1f}" '
        f'width="{(end - start) * scale:.1f}" height="3" fill="#1b4965"/>'
        for start, end in words
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{SHOWN_HEIGHT + _FOOT:.0f}" '
        f'viewBox="0 0 {width:.1f} {SHOWN_HEIGHT + _FOOT:.1f}" font-family="{_FONT}" font-size="15">'
        f'<rect width="100%" height="100%" fill="white"/>'
        f'<image width="{width:.1f}" height="{SHOWN_HEIGHT}" href="{_png(image)}"/>{bars}'
        f"{''.join(_letter(letter, scale) for letter in letters)}</svg>"
    )


def _letter(letter: Letter, scale: float) -> str:
    start, middle = letter.start * scale, (letter.start + letter.end) / 2 * scale
    top = SHOWN_HEIGHT + _WORDS_AT
    tick = f'<path d="M{start:.1f} {top:.1f}v4" stroke="#bbbbbb"/>'
    if letter.text.isspace():
        return tick
    at = SHOWN_HEIGHT + _LETTERS_AT
    return f'{tick}<text x="{middle:.1f}" y="{at:.1f}" text-anchor="middle">{html.escape(letter.text)}</text>'


def lattice(found: Graph) -> str:
    """SVG of the answers in a lattice, the best in red, an arc as thick as it is probable.

    Frames, blanks, and ways to write an answer other than the best are left out, energies are relative to the
    best answer, and where all answers agree an arc goes on to the end of a word, whose blank is a dot. Of a
    large lattice the most probable part is drawn.

    Args:
        found: that of a ``dense.Decoding`` that found an answer; its output symbols are characters.
    """
    words = _by_words(_answers(found))
    if words.arcs > MOST_ARCS:
        words = draw.most_probable(words, MOST_ARCS)
    return draw.svg(words, best_path=True, posteriors=True, max_arcs=max(MOST_ARCS, words.arcs))


def _answers(found: Graph) -> Graph:
    """The least acceptor of the answers near the best; nearer than LATTICE_BEAM where there are too many."""
    beam = LATTICE_BEAM
    while True:
        near = remove_epsilons(project(prune(found, beam), "output").with_arc_maps(), math.inf)
        try:
            answers = determinize(near, math.inf, max_states=MOST_STATES)
        except GraphError:
            beam /= 2
        else:
            return minimize(connect(answers), math.inf)


def _by_words(answers: Graph) -> Graph:
    """A deterministic acceptor of characters, its arcs put together where no other way leads in or out, up to
    the end of a word; without the energy that all answers have."""
    assert answers.input_symbols is not None
    names = [answers.input_symbols.name(label).replace(" ", "·") for label in answers.input_labels.tolist()]
    source, destination = answers.source.tolist(), answers.destination.tolist()
    leaving: dict[int, list[int]] = defaultdict(list)
    for arc, state in enumerate(source):
        leaving[state].append(arc)
    is_end = (answers.initial < math.inf) | (answers.final < math.inf)
    stops = {
        state
        for state in range(answers.states)
        if is_end[state] or destination.count(state) != 1 or len(leaving[state]) != 1
    }
    stops.update(end for end, name in zip(destination, names, strict=True) if name == "·")
    chains = []
    for first in (arc for arc in range(answers.arcs) if source[arc] in stops):
        chain = [first]
        while destination[chain[-1]] not in stops:
            chain += leaving[destination[chain[-1]]]
        chains.append(chain)
    return _of_chains(answers, chains, ["".join(names[arc] for arc in chain) for chain in chains])


def _of_chains(answers: Graph, chains: Sequence[Sequence[int]], names: Sequence[str]) -> Graph:
    """With an arc of the name for each chain of arcs; energies to two places, for they are to be drawn."""
    build = GraphBuilder(torch.float64, Symbols(dict.fromkeys(names)))
    numbers: dict[int, int] = {}

    def state(old: int) -> int:
        if old not in numbers:
            start = 0.0 if answers.initial[old] < math.inf else math.inf
            numbers[old] = build.state(start, round(float(answers.final[old]), 2))
        return numbers[old]

    for chain, name in zip(chains, names, strict=True):
        ends = state(int(answers.source[chain[0]])), state(int(answers.destination[chain[-1]]))
        energy = math.fsum(answers.energies[list(chain)].tolist())
        build.arc(*ends, name, energy=round(energy, 2) + 0.0)
    return build.graph()


class Exhibit(NamedTuple):
    """A line that was read: its name, image, what it says, and the reading."""

    name: str
    image: NDArray[np.uint8]
    text: str
    read: str


def errors(title: str, introduction: str, exhibits: Sequence[Exhibit]) -> str:
    """An HTML page, complete in itself, of lines with what they say and how they were read.

    What was left out is struck through in the text, and what was put in is underlined in the reading. All
    given text is escaped.
    """
    sections = "".join(map(_section, exhibits))
    return _PAGE.format(title=html.escape(title), introduction=html.escape(introduction), sections=sections)


def _section(exhibit: Exhibit) -> str:
    text, read = _marked(exhibit.text, exhibit.read)
    name = html.escape(exhibit.name)
    return (
        f'<section><h2>{name}</h2><img alt="{name}" src="{_png(exhibit.image)}">'
        f"<dl><dt>says</dt><dd>{text}</dd><dt>read</dt><dd>{read or '<i>nothing</i>'}</dd></dl></section>"
    )


def _marked(text: str, read: str) -> tuple[str, str]:
    """Both as HTML, their differences marked.

    >>> _marked("manuscript", "manscribt")
    ('man<del>u</del>scri<del>p</del>t', 'manscri<ins>b</ins>t')
    """
    said, heard = "", ""
    for kind, begin, end, first, last in SequenceMatcher(None, text, read, autojunk=False).get_opcodes():
        same = kind == "equal"
        said += _with_tag("" if same else "del", text[begin:end])
        heard += _with_tag("" if same else "ins", read[first:last])
    return said, heard


def _with_tag(tag: str, text: str) -> str:
    shown = html.escape(text if not tag else text.replace(" ", "␣"))
    return f"<{tag}>{shown}</{tag}>" if tag and text else shown


def _png(image: NDArray[np.uint8]) -> str:
    content = cv2.imencode(".png", image)[1].tobytes()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; }}
body {{ margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }}
section {{ border-top: 1px solid #ccc; padding: .8rem 0; }}
h2 {{ font-size: .9rem; font-weight: normal; color: #555; margin: 0; }}
img {{ height: 4rem; max-width: 100%; object-fit: contain; object-position: left; }}
dl {{ display: grid; grid-template-columns: 3rem 1fr; margin: .3rem 0; font-size: 1.15rem; }}
dt {{ color: #555; font-size: .9rem; align-self: center; }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
del {{ background: #ffd9d9; color: #a40000; }}
ins {{ background: #dcebff; color: #003d99; }}
</style></head><body><h1>{title}</h1>
<p>{introduction}</p>
{sections}</body></html>
"""
