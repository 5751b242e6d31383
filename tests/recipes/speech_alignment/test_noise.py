import numpy as np
import pytest

from recipes.speech_alignment.noise import murmur, noisy, white

RATE = 8000


@pytest.fixture
def samples() -> np.ndarray:
    """A hum that grows."""
    times = np.arange(RATE) / RATE
    return (np.sin(2 * np.pi * 200 * times) * times).astype(np.float32)


@pytest.mark.parametrize("decibels", [20.0, 10.0, 0.0])
def test_noise_is_so_far_below_the_sound(samples: np.ndarray, decibels: float) -> None:
    for noise in (white(RATE, np.random.default_rng(0)), murmur(samples, np.random.default_rng(0))):
        added = noisy(samples, noise, decibels) - samples
        assert 10 * np.log10(np.mean(samples**2) / np.mean(added**2)) == pytest.approx(decibels, abs=1e-3)


def test_a_murmur_has_the_frequencies_of_the_voice(samples: np.ndarray) -> None:
    power = np.abs(np.fft.rfft(murmur(samples, np.random.default_rng(0)))) ** 2
    assert power[190:210].sum() > 0.95 * power.sum()


def test_noise_in_silence_is_none() -> None:
    silence = np.zeros(RATE, np.float32)
    assert not noisy(silence, murmur(silence, np.random.default_rng(0)), 10.0).any()
