from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from gtn_ebm import DataError
from recipes.speech_alignment import pictures
from recipes.speech_alignment.intervals import FileAlignment, Interval
from recipes.speech_alignment.pictures import picture, write_picture

RATE = 8000
ALIGNMENT = FileAlignment(
    "a$1$",
    2.0,
    (
        Interval(0.25, 0.5, "$x$<b>", 0.25, ("too long",)),
        Interval(0.5, 0.5, "gone", 0.5, ("skipped",)),
        Interval(1.0, 1.75, "had", 1.0),
    ),
    (Interval(1.0, 1.25, "hh"), Interval(1.25, 1.75, "ae")),
    ("noisy",),
)


def tone(seconds: float, frequency: float) -> np.ndarray:
    return (np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE) / 2).astype(np.float32)


def test_svg_holds_every_word_and_phone_as_text(tmp_path: Path) -> None:
    write_picture(tmp_path / "new" / "a.svg", ALIGNMENT, tone(2, 1000), RATE)
    texts = [each.text for each in ElementTree.parse(tmp_path / "new" / "a.svg").iter() if each.text]
    for word in ("$x$<b>", "gone", "had", "hh", "ae", "a$1$: noisy"):
        assert word in texts
    first = (tmp_path / "new" / "a.svg").read_bytes()
    write_picture(tmp_path / "new" / "a.svg", ALIGNMENT, tone(2, 1000), RATE)
    assert (tmp_path / "new" / "a.svg").read_bytes() == first


def test_words_skipped_at_one_place_are_counted() -> None:
    skipped = [Interval(time, time, word, 0.0, ("skipped",)) for time in (0.25, 1.0) for word in "abcdef"]
    words = (*skipped[:6], Interval(0.25, 1.0, "x"), *skipped[6:7], Interval(1.0, 2.0, "y"))
    axis = picture(FileAlignment("a", 2.0, words), tone(2, 100), RATE).subfigs[0].axes[2]
    assert sorted(text.get_text() for text in axis.texts) == ["6 skipped", "a", "x", "y"]


def test_png_shows_the_tone_and_what_is_flagged(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", ALIGNMENT, tone(2, 1000), RATE)
    colours = (imread(tmp_path / "a.png")[:, :, :3] * 255).round().astype(int)
    for wanted in (pictures.PLAIN, pictures.FLAGGED):
        rgb = [int(wanted[k : k + 2], 16) for k in (1, 3, 5)]
        assert (np.abs(colours - rgb).max(-1) <= 1).sum() > 500


def test_the_tone_is_at_its_place_in_the_spectrogram() -> None:
    samples = np.concatenate([np.zeros(RATE, np.float32), tone(1, 1000)])
    axis = picture(FileAlignment("a", 2.0, ()), samples, RATE).subfigs[0].axes[1]
    (image,) = axis.images
    levels = np.asarray(image.get_array())
    left, right, bottom, top = image.get_extent()
    assert (left, right) == pytest.approx((0.0, 2.0), abs=0.003)
    assert (bottom, top) == (0.0, 4.0)
    quiet, loud = levels[:, : levels.shape[1] // 2 - 5], levels[:, levels.shape[1] // 2 + 5 : -5]
    assert quiet.max() < -40
    assert (loud.argmax(0) + 0.5) * top / len(levels) == pytest.approx(1.0, abs=0.03)


def test_long_recordings_are_in_rows_and_end_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "SECONDS_A_ROW", 1.0)
    monkeypatch.setattr(pictures, "MOST_ROWS", 3)
    assert len(picture(ALIGNMENT, tone(2, 100), RATE).subfigs) == 2
    long = picture(FileAlignment("a", 7.0, ()), tone(7, 100), RATE)
    assert [part.axes[0].get_xlim() for part in long.subfigs] == [(0, 1), (1, 2), (2, 3)]
    assert long.get_suptitle() == "a (the first 3 of 7 s)"


def test_nothing_to_hear(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", FileAlignment("a", 0.0, ()), np.zeros(0, np.float32), RATE)
    assert imread(tmp_path / "a.png").ndim == 3


def test_other_kinds_of_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.gif: pictures are \.png or \.svg"):
        write_picture(tmp_path / "a.gif", ALIGNMENT, tone(2, 100), RATE)
