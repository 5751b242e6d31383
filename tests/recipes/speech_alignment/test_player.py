import html
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recipes.speech_alignment import player
from recipes.speech_alignment.intervals import FileAlignment, Interval
from recipes.speech_alignment.player import page, write_player
from tests.recipes.speech_alignment.browser import Page, installed

RATE = 8000
INJECTION = "</button><script>document.title='broken'</script><b title=\"'"
ALIGNMENT = FileAlignment(
    "a/<b>",
    3.0,
    (
        Interval(0.25, 0.5, "she", 0.9),
        Interval(0.5, 0.75, INJECTION, 0.25, ("too long", "<i>low")),
        Interval(0.75, 0.75, "gone", 0.5, ("skipped",)),
        Interval(2.0, 2.5, "had", 1.0),
    ),
    (
        Interval(0.25, 0.35, "sh"),
        Interval(0.35, 0.5, "iy"),
        Interval(2.0, 2.25, "hh"),
        Interval(2.25, 2.5, "<ae>"),
    ),
)
SAMPLES = np.sin(np.arange(3 * RATE) / 3).astype(np.float32) / 4


def test_all_texts_are_escaped() -> None:
    written = page(ALIGNMENT, 'x"onerror="y')
    assert INJECTION not in written
    assert html.escape(INJECTION) in written
    for text in ("<b>", "<i>low", "<ae>", 'x"onerror'):
        assert text not in written.partition("</style>")[2]


def test_words_have_times_phones_and_reasons() -> None:
    written = page(ALIGNMENT, "a.wav")
    assert 'data-start="0.2500" data-end="0.5000">she<small>sh iy</small>' in written
    assert 'title="0.500 to 0.750 s, confidence 0.25: too long, &lt;i&gt;low"' in written
    assert 'class="skipped"' in written
    assert "4 words, 2 flagged, 3.0 s" in written
    assert written.count("<p><button") == 2  # a line ends at the pause


def test_a_long_recording_is_not_put_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(player, "LONGEST_INSIDE", 2.0)
    audio = tmp_path / "sound s" / "ä#1.wav"
    audio.parent.mkdir()
    soundfile.write(audio, SAMPLES, RATE)
    write_player(tmp_path / "pages" / "a.html", ALIGNMENT, SAMPLES, RATE, audio)
    assert 'src="../sound%20s/%C3%A4%231.wav"' in (tmp_path / "pages" / "a.html").read_text()


def test_nothing_said() -> None:
    assert "0 words" in page(FileAlignment("a", 1.0, ()), "a.wav")


@pytest.mark.skipif(installed() is None, reason="needs Chromium or Chrome")
class TestInABrowser:
    @pytest.mark.parametrize("inside", [True, False])
    def test_a_click_on_a_word_plays_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: bool
    ) -> None:
        audio = tmp_path / "a b.wav"
        soundfile.write(audio, SAMPLES, RATE)
        if not inside:
            monkeypatch.setattr(player, "LONGEST_INSIDE", 0.0)
        write_player(tmp_path / "a.html", ALIGNMENT, SAMPLES, RATE, audio)
        with Page(tmp_path / "a.html", tmp_path / "profile") as shown:
            shown.wait_for("audio.readyState >= 2")
            assert shown.value("audio.duration") == pytest.approx(3.0, abs=0.05)
            assert shown.value("document.title") == "a/<b>"
            assert shown.value("words.length") == 4
            assert shown.value("document.querySelectorAll('script').length") == 1
            shown.value("audio.onplay = () => audio.from = audio.currentTime")
            shown.click("button", 3)
            shown.wait_for("audio.from !== undefined && audio.paused")
            assert shown.value("audio.from") == pytest.approx(2.0, abs=0.1)
            assert 2.0 <= shown.value("audio.currentTime") < 2.9

    def test_what_is_played_is_marked(self, tmp_path: Path) -> None:
        long = replace(ALIGNMENT, words=(Interval(0.5, 2.9, "looong"),), phones=())
        write_player(tmp_path / "a.html", long, SAMPLES, RATE)
        with Page(tmp_path / "a.html", tmp_path / "profile") as shown:
            shown.wait_for("audio.readyState >= 2")
            shown.click("button")
            shown.wait_for("words[0].className === 'playing'")
