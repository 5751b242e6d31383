"""A page to listen to an aligned recording: a click on a word plays it."""

from __future__ import annotations

import base64
import html
import io
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import numpy as np
import soundfile
from numpy.typing import NDArray

from gtn_ebm.io.files import write_whole
from recipes.speech_alignment.intervals import FileAlignment, Interval

LONGEST_INSIDE = 300.0
"""Seconds of sound that a page holds itself; a longer recording is played from its own file."""

PAUSE = 0.6
"""Seconds between words at which a new line begins."""


def write_player(
    path: Path, alignment: FileAlignment, samples: NDArray[np.float32], rate: int, audio: Path | None = None
) -> None:
    """Writes the page, complete or not at all.

    Args:
        path: of the page; its folder is made.
        alignment: of the recording; flagged words are coloured, and say why under the pointer.
        samples: the recording, [N] in [−1, 1], which the page holds itself, as FLAC.
        rate: samples a second.
        audio: file of the recording, played in place of ``samples`` where it is longer than LONGEST_INSIDE.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if audio is not None and len(samples) > LONGEST_INSIDE * rate:
        source = quote(os.path.relpath(audio.resolve(), path.parent.resolve()).replace(os.sep, "/"))
    else:
        sound = io.BytesIO()
        soundfile.write(sound, samples, rate, format="FLAC", subtype="PCM_16")
        source = f"data:audio/flac;base64,{base64.b64encode(sound.getvalue()).decode()}"
    write_whole(path, page(alignment, source))


def page(alignment: FileAlignment, source: str) -> str:
    """The page as HTML. Every text is escaped.

    Args:
        alignment: of the recording.
        source: address of the sound, from the page.
    """
    lines = "".join(f"<p>{''.join(map(_word, line))}</p>\n" for line in _lines(alignment))
    flagged = sum(bool(word.flags) for word in alignment.words)
    summary = f"{len(alignment.words)} words, {flagged} flagged, {alignment.duration:.1f} s"
    if alignment.flags:
        summary += f": {', '.join(alignment.flags)}"
    texts = (html.escape(text) for text in (alignment.name, summary, source))
    return _PAGE.format(*texts, lines=lines)


def _lines(alignment: FileAlignment) -> Iterator[list[tuple[Interval, list[Interval]]]]:
    """Each word with its phones, in lines that end where a pause is."""
    words = alignment.words
    breaks = [
        0,
        *(k + 1 for k, (one, other) in enumerate(pairwise(words)) if other.start - one.end > PAUSE),
        len(words),
    ]
    middles = [(phone.start + phone.end) / 2 for phone in alignment.phones]
    here = 0
    for begin, end in pairwise(breaks):
        line = []
        for word in words[begin:end]:
            first, here = here, max(here, bisect_left(middles, word.end))
            own = [alignment.phones[k] for k in range(first, here) if middles[k] >= word.start]
            line.append((word, own))
        yield line


def _word(item: tuple[Interval, Sequence[Interval]]) -> str:
    word, phones = item
    why = f"{word.start:.3f} to {word.end:.3f} s, confidence {word.confidence:.2f}"
    if word.flags:
        why += f": {', '.join(word.flags)}"
    kind = "skipped" if word.end <= word.start else "flagged" if word.flags else ""
    spoken = " ".join(phone.label for phone in phones)
    return (
        f'<button class="{kind}" title="{html.escape(why)}" data-start="{word.start:.4f}" '
        f'data-end="{word.end:.4f}">{html.escape(word.label)}<small>{html.escape(spoken)}</small></button>'
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{0}</title>
<style>
body {{ font: 16px/1.4 system-ui, sans-serif; color: #222; }}
body {{ margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }}
h1 {{ font-size: 1.2rem; overflow-wrap: anywhere; }}
audio {{ width: 100%; position: sticky; top: .5rem; }}
p {{ margin: .8rem 0; content-visibility: auto; contain-intrinsic-height: auto 4rem; }}
button {{ font: inherit; background: #eef3f8; border: 1px solid #c6d3e0; border-radius: .3rem; }}
button {{ margin: .15rem; padding: .15rem .4rem; cursor: pointer; vertical-align: top; }}
button small {{ display: block; color: #556; font-size: .7rem; min-height: 1em; }}
button.flagged {{ background: #f9d5d0; border-color: #b3261e; }}
button.skipped {{ background: none; border: 1px dashed #b3261e; }}
button.skipped {{ color: #b3261e; text-decoration: line-through; }}
button.playing {{ background: #ffe08a; }}
</style></head><body>
<h1>{0}</h1>
<p>{1}. A click on a word plays it, with the shift key from there on; red ones are to be looked at.</p>
<audio controls preload="auto" src="{2}"></audio>
{lines}<script>
const audio = document.querySelector("audio"), words = [...document.querySelectorAll("button")];
const starts = words.map(word => Number(word.dataset.start));
let end = Infinity, playing = null;
function spoken(time) {{  // the last word that has begun, unless it has ended
  let low = 0, high = starts.length;
  while (low < high) {{
    const middle = (low + high) >> 1;
    if (starts[middle] <= time) low = middle + 1; else high = middle;
  }}
  return low && time < words[low - 1].dataset.end ? words[low - 1] : null;
}}
for (const word of words) word.onclick = event => {{
  audio.currentTime = word.dataset.start;
  end = event.shiftKey || word.className === "skipped" ? Infinity : Number(word.dataset.end);
  audio.play();
}};
audio.onseeking = () => {{ if (audio.currentTime > end) end = Infinity; }};
(function follow() {{
  const now = audio.currentTime;
  if (now >= end) {{ audio.pause(); end = Infinity; }}
  const word = audio.paused ? null : spoken(now);
  if (word !== playing) {{
    playing?.classList.remove("playing");
    word?.classList.add("playing");
    playing = word;
  }}
  requestAnimationFrame(follow);
}})();
</script></body></html>
"""
