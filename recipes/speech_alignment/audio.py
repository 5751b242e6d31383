"""Recordings as samples: any format that libsndfile reads, mixed to one channel, at the rate one asks for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from gtn_ebm import DataError
from recipes.speech_alignment.restoration import Bytes, is_damaged, restored

Samples = NDArray[np.float32]

SHORTEST = 0.05
"""Seconds of sound that anything can be found in."""

LONG = 60.0
"""Seconds from which on a recording is not held as a whole."""

BLOCK = 1 << 20
"""Samples read at once."""

STREAMED = 0x7FFF_0000
"""Bytes from which on a header tells of no length that anybody counted."""

REACH = 10
"""Samples of the lower rate on either side that one of another rate depends on."""

_CUT_OFF = re.compile(r"^data : ([0-9]+) \(should be ([0-9]+)\)", re.MULTILINE)
"""What libsndfile says of a WAV file whose header tells of more than it holds, or of less."""


def rate_and_duration(path: Path) -> tuple[int, float]:
    """Samples a second and seconds of a recording, without reading it all.

    Raises:
        DataError: the file is missing, empty, cut off or no sound, or holds less than ``SHORTEST``.
    """
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty")
        with soundfile.SoundFile(path) as sound:
            rate, frames, missing = sound.samplerate, sound.frames, _missing(sound)
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"{path}: cannot be read as sound ({_reason(error)})") from error
    if missing >= SHORTEST:
        raise DataError(f"{path}: ends {missing:.2f} s before its header says; copy it again, or convert it")
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

    One that was copied as text is mended (see ``restoration``).

    Raises:
        DataError: as of ``rate_and_duration``; a sample that is not finite.
    """
    rate_and_duration(path)
    try:
        with soundfile.SoundFile(path) as sound:
            original = sound.samplerate
            if (found := _bytes(sound)) is not None:
                data, lost = restored(found)
                samples = data.view("<i2").astype(np.float32) / np.float32(2**15)
            else:
                blocks = sound.blocks(BLOCK, dtype="float32", always_2d=True)
                samples, lost = np.concatenate([block.mean(1) for block in blocks]), 0
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"{path}: cannot be read as sound ({_reason(error)})") from error
    _check_finite(path, samples)
    return Sound(resampled(samples.astype(np.float32, copy=False), original, rate), lost)


def blocks(path: Path, rate: int) -> Iterator[Samples]:
    """A recording bit by bit, its channels' mean, at this rate; one that was copied as text is not mended
    (see ``was_copied_as_text``).

    Raises:
        DataError: as of ``read``.
    """
    rate_and_duration(path)
    try:
        with soundfile.SoundFile(path) as sound:
            read = sound.blocks(BLOCK, dtype="float32", always_2d=True)
            checked = (_check_finite(path, block.mean(1)) for block in read)
            yield from resampled_blocks(checked, sound.samplerate, rate)
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"{path}: cannot be read as sound ({_reason(error)})") from error


def was_copied_as_text(path: Path) -> bool:
    """Whether bytes of a recording were lost so (see ``restoration``), by its first BLOCK; DataError as of
    ``read``."""
    rate_and_duration(path)
    with soundfile.SoundFile(path) as sound:
        found = _bytes(sound, BLOCK)
    return found is not None and is_damaged(found)


def resampled(samples: Samples, original: int, rate: int) -> Samples:
    """The same sound at another rate."""
    if original == rate:
        return samples
    from scipy.signal import resample_poly  # takes as long to import as some recordings to align

    common = math.gcd(original, rate)
    result: Samples = resample_poly(samples, rate // common, original // common).astype(np.float32)
    return result


def resampled_blocks(blocks: Iterable[Samples], original: int, rate: int) -> Iterator[Samples]:
    """The same of a sound in blocks: what ``resampled`` makes of the whole, but for rounding."""
    if original == rate:
        yield from blocks
        return
    up, down = (each // math.gcd(original, rate) for each in (rate, original))
    around = down * (REACH * max(up, down) // (up * down) + 2)
    held, before = np.zeros(0, np.float32), 0
    for block in blocks:
        held = np.concatenate([held, block])
        until = (len(held) - around) // down * down
        if until > before:
            yield resampled(held, original, rate)[before * up // down : until * up // down]
            held, before = held[max(0, until - around) :], min(until, around)
    yield resampled(held, original, rate)[before * up // down :]


class Passing:
    """A sound that is looked at from its beginning on, of which no more is held than what is looked at; or
    rows of anything else in place of samples.

    Attributes:
        passed: samples that were read so far.
    """

    def __init__(self, blocks: Iterable[Samples]):
        self._blocks, self._held, self.passed = iter(blocks), np.zeros(0, np.float32), 0

    def window(self, begin: int, width: int) -> tuple[Samples, bool]:
        """Samples from ``begin`` on, which never falls, and whether they are the last."""
        while self.passed <= begin + width and (block := next(self._blocks, None)) is not None:
            held = self._from(begin)
            self._held = np.concatenate([held, block]) if len(held) else block
            self.passed += len(block)
        self._held = self._from(begin)
        return self._held[:width], len(self._held) <= width

    def _from(self, begin: int) -> Samples:
        return self._held[max(0, begin - self.passed + len(self._held)) :]


def _missing(sound: soundfile.SoundFile) -> float:
    """Seconds that the header of a WAV file tells of and that are not there; 0 for streams, which cannot know
    their length when it is written."""
    found = _CUT_OFF.search(sound.extra_info)
    if found is None:
        return 0.0
    told, held = map(int, found.groups())
    return 0.0 if told >= STREAMED else max(0.0, (told / max(held, 1) - 1) * sound.frames / sound.samplerate)


def _bytes(sound: soundfile.SoundFile, count: int = -1) -> Bytes | None:
    """Those of the next samples, or of all, if these have 16 bits and one channel."""
    if sound.subtype != "PCM_16" or sound.channels != 1:
        return None
    found: Bytes = sound.read(count, dtype="int16").astype("<i2").view(np.uint8)
    return found


def _check_finite(path: Path, samples: Samples) -> Samples:
    if not np.isfinite(samples).all():
        raise DataError(f"{path}: holds samples that are no numbers; convert it anew")
    return samples


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).rstrip(".").rpartition(": ")[2]
