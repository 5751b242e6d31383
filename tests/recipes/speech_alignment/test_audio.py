from pathlib import Path

import numpy as np
import pytest
import soundfile

from gtn_ebm import DataError
from recipes.speech_alignment.audio import (
    Passing,
    blocks,
    rate_and_duration,
    read,
    resampled,
    resampled_blocks,
    was_copied_as_text,
)


@pytest.mark.parametrize(
    ("original", "rate"), [(44_100, 16_000), (96_000, 16_000), (8_000, 16_000), (11_111, 16_000)]
)
def test_blocks_are_resampled_as_the_whole_is(original: int, rate: int) -> None:
    random = np.random.default_rng(0)
    samples = random.normal(size=3 * original).astype(np.float32)
    cuts = np.sort(random.integers(0, len(samples), 6))
    found = list(resampled_blocks(np.split(samples, cuts), original, rate))
    np.testing.assert_allclose(np.concatenate(found), resampled(samples, original, rate), atol=1e-6)


def test_a_recording_bit_by_bit_is_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.speech_alignment.audio.BLOCK", 10_000)
    samples = np.random.default_rng(0).normal(0, 0.1, (50_000, 2))
    soundfile.write(tmp_path / "a.wav", samples, 24_000, "PCM_24")
    found = list(blocks(tmp_path / "a.wav", 16_000))
    assert max(map(len, found)) < 10_000
    np.testing.assert_allclose(np.concatenate(found), read(tmp_path / "a.wav", 16_000).samples, atol=1e-6)


def test_what_is_no_number_is_found_in_any_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.speech_alignment.audio.BLOCK", 1000)
    samples = np.zeros(5000, np.float32)
    samples[4321] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 8000, "FLOAT")
    with pytest.raises(DataError, match="no numbers"):
        list(blocks(tmp_path / "a.wav", 8000))


def test_windows_of_what_passes_by() -> None:
    samples = np.arange(1000, dtype=np.float32)
    sound = Passing(np.split(samples, [1, 100, 450]))
    for begin, width in ((0, 50), (0, 120), (30, 100), (500, 400)):
        window, last = sound.window(begin, width)
        assert window.tolist() == samples[begin : begin + width].tolist()
        assert not last
    window, last = sound.window(900, 100)
    assert last
    assert window.tolist() == samples[900:].tolist()
    assert sound.passed == 1000


def test_a_copy_as_text_is_found_without_reading_it_all(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 20_000)
    soundfile.write(tmp_path / "a.wav", samples, 8000, "PCM_16")
    soundfile.write(tmp_path / "two.wav", np.stack([samples, samples], 1), 8000, "PCM_16")
    for name in ("a.wav", "two.wav"):
        assert not was_copied_as_text(tmp_path / name)
    whole = (tmp_path / "a.wav").read_bytes()
    head, data = whole[:44], whole[44:]
    (tmp_path / "copy.wav").write_bytes(head + data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
    assert was_copied_as_text(tmp_path / "copy.wav")


def test_a_recording_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, (8000, 2)), 8000, "PCM_24")
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"ends 0\.5\d s before its header says"):
        rate_and_duration(tmp_path / "cut.wav")
    streamed = whole[:40].replace(whole[4:8], b"\xff" * 4) + b"\xff" * 4 + whole[44:]  # of no told length
    (tmp_path / "streamed.wav").write_bytes(streamed)
    assert rate_and_duration(tmp_path / "streamed.wav") == (8000, 1.0)
