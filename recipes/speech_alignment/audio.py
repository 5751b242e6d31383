"""Recordings as samples: any format that libsndfile reads, mixed to one channel, at the rate one asks for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import resample_poly

from gtn_ebm import DataError
from recipes.speech_alignment.restoration import restored

Samples = NDArray[np.float32]

SHORTEST = 0.05
"""Seconds of sound that anything can be found in."""

BLOCK = 1 << 20
"""Samples read at once."""


def rate_and_duration(path: Path) -> tuple[int, float]:
    """Samples a second and seconds of a recording, without reading it all.

    Raises:
        DataError: the file is missing, empty or no sound, or holds less than ``SHORTEST``.
    """
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty")
        with soundfile.SoundFile(path) as sound:
            rate, frames = sound.samplerate, sound.frames
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"{path}: cannot be read as sound ({_reason(error)})") from error
    if frames < SHORTEST * rate:
        raise DataError(
            f"{path}: holds {1000 * frames / rate:.0f} ms of sound; {1000 * SHORTEST:.0f} are needed at least"
        )
    return rate, frames / rate


class Sound(NamedTuple):
    """The samples of a recording, between −1 and 1, [N], and how many bytes were lost of the file."""

    samples: Samples
    lost: int


def read(path: Path, rate: int) -> Sound:
    """A recording, its channels' mean, at this rate.

    A file that ends before its header says is read as far as it goes; one that was copied as text is mended
    (see ``restoration``).

    Raises:
        DataError: as of ``rate_and_duration``; a sample that is not finite.
    """
    rate_and_duration(path)
    try:
        with soundfile.SoundFile(path) as sound:
            original = sound.samplerate
            if sound.subtype == "PCM_16" and sound.channels == 1:
                data, lost = restored(sound.read(dtype="int16").astype("<i2").view(np.uint8))
                samples = data.view("<i2").astype(np.float32) / np.float32(2**15)
            else:
                blocks = sound.blocks(BLOCK, dtype="float32", always_2d=True)
                samples, lost = np.concatenate([block.mean(1) for block in blocks]), 0
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"{path}: cannot be read as sound ({_reason(error)})") from error
    if not np.isfinite(samples).all():
        raise DataError(f"{path}: holds samples that are no numbers; convert it anew")
    return Sound(resampled(samples.astype(np.float32, copy=False), original, rate), lost)


def resampled(samples: Samples, original: int, rate: int) -> Samples:
    """The same sound at another rate."""
    if original == rate:
        return samples
    common = math.gcd(original, rate)
    result: Samples = resample_poly(samples, rate // common, original // common).astype(np.float32)
    return result


def _reason(error: Exception) -> str:
    return str(error).rstrip(".").rpartition(": ")[2]
