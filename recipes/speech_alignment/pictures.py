"""A picture of an aligned recording: waveform, spectrogram, words, phones and confidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gtn_ebm import DataError
from gtn_ebm.io.files import write_beside
from recipes.speech_alignment.intervals import FileAlignment, Interval

Samples = NDArray[np.float32]

SECONDS_A_ROW = 6.0
MOST_ROWS = 10
"""In a picture; of a longer recording it shows the beginning, and says so."""

WINDOW, HOP = 0.02, 0.004
"""Seconds of the spectrogram's windows, and from one to the next."""

FLOOR = -80.0
"""Decibels below the loudest at which the spectrogram's scale ends."""

HIGHEST = 8000.0
"""Hertz."""

PLAIN, FLAGGED = "#dbe7f3", "#f6c3bd"
STYLE: Any = {"font.size": 9, "font.family": "DejaVu Sans", "svg.fonttype": "none", "svg.hashsalt": "gtn_ebm"}
TEXT: Any = {"ha": "center", "va": "center", "parse_math": False, "clip_on": True}


def write_picture(path: Path, alignment: FileAlignment, samples: Samples, rate: int) -> None:
    """Writes a PNG or an SVG, as the suffix says; complete or not at all.

    Args:
        path: of the picture; its folder is made.
        alignment: of the recording; a flagged word or phone is red, and a word says why; a skipped word is a
            red mark, and of several at one place only the number is written.
        samples: the recording, [N] in [−1, 1].
        rate: samples a second.

    Raises:
        DataError: another suffix.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg"):
        raise DataError(f"{path}: pictures are .png or .svg")
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        drawn = picture(alignment, samples, rate)
        dated = {"Date": None} if kind == "svg" else {}
        write_beside(path, lambda beside: drawn.savefig(beside, format=kind, metadata=dated))


def picture(alignment: FileAlignment, samples: Samples, rate: int) -> Figure:
    """The same as a matplotlib figure, in rows of SECONDS_A_ROW."""
    duration = max(alignment.duration, len(samples) / rate, 1e-3)
    rows = min(MOST_ROWS, max(1, int(np.ceil(duration / SECONDS_A_ROW - 1e-9))))
    end = duration if rows == 1 else rows * SECONDS_A_ROW
    figure = Figure(figsize=(12, 3.4 * rows + 0.4), dpi=110, layout="constrained")
    for row, part in enumerate(figure.subfigures(rows, 1, squeeze=False)[:, 0]):
        span = (row * end / rows, (row + 1) * end / rows)
        waves, sounds, tiers, sure = part.subplots(
            4, 1, sharex=True, gridspec_kw={"height_ratios": [1, 2, 1.1, 0.7], "hspace": 0.03}
        )
        _draw_waveform(waves, samples, rate, span)
        _draw_spectrogram(sounds, samples, rate, span)
        _draw_tiers(tiers, alignment, span)
        _draw_confidence(sure, alignment.words, span)
        for boundary in {time for word in alignment.words for time in (word.start, word.end)}:
            for axis in (waves, sounds, sure) if span[0] <= boundary <= span[1] else ():
                axis.axvline(boundary, color="black", linewidth=0.4, alpha=0.5)
        sure.set_xlim(*span)
    _write_title(figure, alignment, duration, rows)
    return figure


def _write_title(figure: Figure, alignment: FileAlignment, duration: float, rows: int) -> None:
    shown = rows * SECONDS_A_ROW
    part = f" (the first {shown:g} of {duration:.0f} s)" if duration > shown else ""
    flags = f": {', '.join(alignment.flags)}" if alignment.flags else ""
    figure.suptitle(f"{alignment.name}{part}{flags}", parse_math=False)


def _draw_waveform(axis: Axes, samples: Samples, rate: int, span: tuple[float, float]) -> None:
    """The least and the greatest sample of each of 2,000 parts, so that a vector file stays small."""
    begin, end = int(span[0] * rate), min(int(span[1] * rate) + 1, len(samples))
    part = samples[begin:end]
    size = max(1, len(part) // 2000)
    blocks = part[: len(part) // size * size].reshape(-1, size)
    times = (begin + size * (np.arange(len(blocks)) + 0.5)) / rate
    if len(blocks):
        axis.fill_between(times, blocks.min(1), blocks.max(1), color="#30507a", linewidth=0.3)
    loudest = float(np.abs(samples).max(initial=0.0)) or 1.0
    axis.set(ylim=(-1.05 * loudest, 1.05 * loudest), yticks=[], ylabel="wave")


def _draw_spectrogram(axis: Axes, samples: Samples, rate: int, span: tuple[float, float]) -> None:
    window, hop = max(8, round(WINDOW * rate)), max(1, round(HOP * rate))
    begin, end = int(span[0] * rate), int(span[1] * rate)
    part = samples[max(0, begin - window // 2) : end + window // 2]
    before = max(0, window // 2 - begin)
    padded = np.pad(part, (before, window + end - begin - len(part) - before))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    size = 1 << (2 * window - 1).bit_length()
    power = np.abs(np.fft.rfft(frames * np.hanning(window), size)) ** 2
    power = power[:, : int(HIGHEST / rate * size) + 1]
    levels = 10 * np.log10(np.maximum(power / max(power.max(initial=0.0), 1e-12), 10 ** (FLOOR / 10)))
    top = min(HIGHEST, rate / 2) / 1000
    extent = (span[0] - hop / rate / 2, span[0] + (len(frames) - 0.5) * hop / rate, 0.0, top)
    axis.imshow(levels.T, "magma", origin="lower", aspect="auto", extent=extent, vmin=FLOOR, vmax=0)
    axis.set(ylabel="kHz", ylim=(0, top))


def _draw_tiers(axis: Axes, alignment: FileAlignment, span: tuple[float, float]) -> None:
    """Words above, phones below; above the words a mark where some were skipped."""
    for intervals, tier, size in ((alignment.phones, 0.0, 7.5), (alignment.words, 1.0, 9.5)):
        for each in intervals:
            if each.end <= each.start or not (span[0] <= each.end and each.start <= span[1]):
                continue
            colour = FLAGGED if each.flags else PLAIN
            axis.broken_barh(
                [(each.start, each.end - each.start)], (tier, 1), color=colour, ec="black", lw=0.4
            )
            flagged = bool(each.flags) and tier == 1.0
            label = f"{each.label}\n{', '.join(each.flags)}" if flagged else each.label
            place = (each.start + each.end) / 2
            axis.text(place, tier + 0.45, label, fontsize=size - 2 * flagged, color="black", **TEXT)
    skipped = _skipped(alignment.words)
    for time, labels in skipped.items():
        if span[0] <= time <= span[1]:
            axis.plot([time], [2.0], "v", color="tab:red", markersize=5)
            label = labels[0] if len(labels) == 1 else f"{len(labels)} skipped"
            axis.text(time, 2.5, label, fontsize=9.5, color="tab:red", **TEXT)
    axis.set(ylim=(0, 3 if skipped else 2), yticks=[0.5, 1.5], yticklabels=["phones", "words"])
    axis.tick_params("y", length=0)


def _skipped(words: Sequence[Interval]) -> dict[float, list[str]]:
    """The words that take no time, by where they are: many may be at one place, as in a text of another
    recording."""
    skipped: dict[float, list[str]] = defaultdict(list)
    for word in words:
        if word.end <= word.start:
            skipped[word.start].append(word.label)
    return skipped


def _draw_confidence(axis: Axes, words: Sequence[Interval], span: tuple[float, float]) -> None:
    for word in words:
        if word.end > word.start and span[0] <= word.end and word.start <= span[1]:
            colour = "tab:red" if word.flags else "tab:green"
            axis.broken_barh([(word.start, word.end - word.start)], (0, word.confidence), color=colour)
    axis.set(ylim=(0, 1.05), yticks=[0, 1], ylabel="sure", xlabel="seconds")
