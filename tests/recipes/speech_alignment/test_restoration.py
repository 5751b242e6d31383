from pathlib import Path

import numpy as np
import pytest

from recipes.speech_alignment.restoration import FEED, RETURN, Bytes, restored


def speechlike(count: int = 40_000, seed: int = 0) -> Bytes:
    """16-bit samples of a sum of slow waves, as bytes."""
    random = np.random.default_rng(seed)
    time = np.arange(count)
    waves = sum(
        random.uniform(800, 3000) * np.sin(time * random.uniform(0.005, 0.08) + random.uniform(0, 6))
        for _ in range(6)
    )
    return np.asarray(waves, "<i2").view(np.uint8)


def copied_as_text(data: Bytes) -> Bytes:
    text = data.tobytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return np.frombuffer(text, np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_bytes_lost_in_a_copy_as_text_are_found(seed: int) -> None:
    data = speechlike(seed=seed)
    lost = data.tobytes().count(b"\r\n")
    assert lost > 0
    found, count = restored(copied_as_text(data))
    assert count == lost
    assert len(found) == len(data)
    errors = np.abs(found.view("<i2").astype(int) - data.view("<i2"))
    assert np.mean(errors > 3) < 0.001  # a low byte that was a carriage return is off by 3


def test_sound_with_its_carriage_returns_is_left_alone() -> None:
    data = speechlike()
    assert restored(data)[0] is data


def test_silence_is_left_alone() -> None:
    data = np.full(20_000, FEED, np.uint8)
    assert RETURN not in data
    assert restored(data)[1] == 0


def test_sound_of_eight_bits_in_sixteen_is_left_alone() -> None:
    high = speechlike()[1::2].astype(np.int8)
    data = np.asarray(high[(high != RETURN)], "<i2") * 256
    data[::50] = FEED * 256
    assert restored(data.view(np.uint8))[1] == 0


@pytest.mark.data
def test_real_recordings_have_the_length_that_their_texts_say(data_directory: Path) -> None:
    folder = data_directory / "timit_sample" / "dr1-fvmh0"
    for path in sorted(folder.glob("*.wav")):
        data = np.frombuffer(path.read_bytes()[44:], np.uint8)
        samples = len(restored(data)[0]) // 2
        said = int(path.with_suffix(".txt").read_text().split()[1])
        assert said - 1 <= samples <= said
