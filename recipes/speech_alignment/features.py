"""What the acoustic models see of a sound: logarithms of its energy in bands of frequencies, frame by frame.

Frame t stands for the time from t · HOP to (t + 1) · HOP, and its window is centred there, so that where a
path changes between two frames there is the boundary, and nothing has to be shifted afterwards.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

HOP = 0.005
"""Seconds from one frame to the next. Half of what recognisers take: a boundary falls between frames."""

WINDOW = 0.015
"""Seconds that a frame sees where nothing else is said."""

VIEWS = ((0.010, 1), (0.015, 2), (0.020, 4), (0.030, 6))
"""Windows, in seconds, and how many frames on either side slopes are taken over: from what is sharp in time
to what is sure of the sound. Together they place boundaries better than any one."""

BANDS = 40
CEPSTRA = 13
FEATURES = 3 * CEPSTRA * len(VIEWS)

PREEMPHASIS = 0.97
LOWEST = 60.0
"""Hertz where the lowest band begins."""

LEAST_SPREAD = 0.3
"""Of the logarithm of a band's energy over time."""

CHANGE, LEAST_CHANGE = 3, 0.01
"""Frames before and after a boundary that are compared, and the least difference that is told from none."""

FLOOR = 0.003
"""Energy added to every band, as a share of its mean: what is fainter than that differs from one recording to
the next as their noise does, and a logarithm would make much of it."""

QUIET = 4.0
"""How far a quiet frame is below the loudest: of the mean over bands of logarithms of energy."""

MOST_QUIET = 1.0
"""Quiet frames that count in what is standard, for each other one: a recording is to look the same however
long it is silent."""

NOTHING = 7.0
"""How far below the loudest sound so far, in the logarithm of energy, there is none."""

LEAST_ENERGY = 1e-9
"""Far below that of a quiet room in samples between −1 and 1."""


def seen(samples: Tensor, rate: int) -> Tensor:
    """Samples [N] → what a model sees of them: cepstra of all views, standardised, [T, FEATURES]."""
    bands = [log_mel(samples, rate, window) for window, _ in VIEWS]
    values = [cepstra(each, reach) for each, (_, reach) in zip(bands, VIEWS, strict=True)]
    return standardised(torch.cat(values, 1), frame_weights(bands[0]))


def frame_weights(bands: Tensor) -> Tensor:
    """How much each frame counts in what is standard, [T], from log energies of bands [T, BANDS]."""
    loudness = functional.avg_pool1d(bands.mean(1)[None], 9, 1, 4, count_include_pad=False)[0]
    quiet = loudness < loudness.max() - QUIET
    many = int(quiet.sum())
    return torch.where(quiet, min(1.0, MOST_QUIET * (len(quiet) - many) / max(1, many)), 1.0)


def loudest(samples: Tensor, rate: int) -> float:
    """The logarithm of the energy, over a tenth of a second, that a fiftieth of the time is louder than."""
    energies = (spectra(samples, rate, WINDOW).mean(1) + LEAST_ENERGY).log()
    return float(functional.avg_pool1d(energies[None], 21, 1, 10, count_include_pad=False).quantile(0.98))


def log_mel(samples: Tensor, rate: int, window: float = WINDOW) -> Tensor:
    """Samples [N] → logarithms of the energies of bands, with a floor, [T, BANDS], T = ⌈N / hop⌉."""
    power = spectra(samples, rate, window)
    energies = power @ mel_bands(rate, power.shape[1], BANDS)
    return (energies + FLOOR * energies.mean(0) + LEAST_ENERGY).log()


def spectra(samples: Tensor, rate: int, window: float) -> Tensor:
    """Samples [N] → the power of each frequency in each frame, [T, frequencies]."""
    hop, width = round(HOP * rate), round(window * rate)
    frames = -(-len(samples) // hop)
    before = (width - hop) // 2
    after = (frames - 1) * hop + width - before - len(samples)
    padded = functional.pad(samples, (before + 1, max(after, 0)))
    emphasised = padded[1:] - PREEMPHASIS * padded[:-1]
    windows = emphasised.unfold(0, width, hop)[:frames] * torch.hann_window(width, periodic=False)
    found = torch.fft.rfft(windows, 1 << (width - 1).bit_length())
    return found.real.square() + found.imag.square()  # a third of the time of the square of ``abs``


def cepstra(bands: Tensor, reach: int) -> Tensor:
    """Log energies of bands [T, BANDS] → cepstral coefficients and their first and second differences,
    [T, 3 · CEPSTRA]."""
    static = bands @ _cosines()
    first = differences(static, reach)
    return torch.cat([static, first, differences(first, reach)], 1)


def change(samples: Tensor, rate: int) -> Tensor:
    """How much the sound of samples [N] changes between each frame and the one before, [T]: the mean square,
    over bands, of the difference between the means of CHANGE frames before and after."""
    bands = functional.pad(log_mel(samples, rate).T[None], (CHANGE, CHANGE - 1), mode="replicate")
    means = functional.avg_pool1d(bands, CHANGE, 1)[0]
    return (means[:, CHANGE:] - means[:, :-CHANGE]).square().mean(0).clamp(min=LEAST_CHANGE)


def is_silent(bands: Tensor) -> bool:
    """Whether hardly anything changes in a sound, by its ``log_mel`` [T, BANDS]: silence, or a hum."""
    return float(bands.std(0).max()) < LEAST_SPREAD


def standardised(values: Tensor, weights: Tensor) -> Tensor:
    """Less their mean over the frames, which a microphone and a voice add to all of them, and in units of
    their spread, which noise makes smaller, [T, D], from values [T, D] and how much each frame counts [T]."""
    shares = weights / weights.sum()
    apart = values - shares @ values
    return apart / (shares @ apart.square()).sqrt().clamp(min=1e-3)


def differences(values: Tensor, reach: int) -> Tensor:
    """The slope of the straight line through each frame and ``reach`` on either side, [T, D]."""
    steps = torch.arange(-reach, reach + 1, dtype=values.dtype)
    weights = steps / steps.square().sum()
    padded = functional.pad(values.T[None], (reach, reach), mode="replicate")[0]
    return functional.conv1d(padded[:, None], weights[None, None])[:, 0].T


@cache
def mel_bands(rate: int, frequencies: int, count: int) -> Tensor:
    """Triangles on the mel scale over frequencies from 0 to half the rate, [frequencies, count]."""

    def mel(hertz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hertz / 700.0)

    bins = mel(torch.linspace(0, rate / 2, frequencies))[:, None]
    ends = mel(torch.tensor([LOWEST, rate / 2]))
    corners = torch.linspace(float(ends[0]), float(ends[1]), count + 2)
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0.0)


@cache
def _cosines() -> Tensor:
    """The discrete cosine transform, orthonormal, [BANDS, CEPSTRA]."""
    band, coefficient = torch.arange(BANDS), torch.arange(CEPSTRA)
    matrix = torch.cos(math.pi / BANDS * (band[:, None] + 0.5) * coefficient) * math.sqrt(2 / BANDS)
    matrix[:, 0] /= math.sqrt(2)
    return matrix
