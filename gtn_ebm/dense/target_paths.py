"""The best alignment of frames with a row of labels: exact, a chunk at a time, for hours of frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gtn_ebm.dense.least_energy import frames_at_a_time
from gtn_ebm.kernels import target_paths as kernels

CHUNK = 1 << 28
"""Frames times places of one kernel call; between calls a search can be interrupted."""

LARGEST_PLAIN = 1 << 28
"""Frames times places up to which all of them are worked out, whatever they cost."""

FIRST_SHARE = 1 / 256
"""Of what the classes' mean costs more than the least: how much the first search may."""

FORWARD_SHARE = 0.9
"""Of a search, what passes forward are counted as."""

Notify = Callable[[float], None]


class TargetSearch:
    """Frames [T, C] and a target [L], and the search for its best alignment.

    A pass leaves out what costs more than a given energy. If it finds a path of at most that, this is the
    best of all, for what was left out is worse. Otherwise the next pass may cost more. Emissions of a network
    that is mostly right leave little to work out; in the worst case all is.

    Args:
        notify: called with the share of a pass that is done, 0 to 1, from time to time; what it raises ends
            the search.
    """

    def __init__(self, frames: NDArray[Any], labels: NDArray[np.int32], blank: int, notify: Notify):
        self.frames, self.notify = np.ascontiguousarray(frames), notify
        self.length, self.places = len(frames), len(labels) + 1
        self.fewest = kernels.fewest_frames(labels)
        of_places = np.append(np.int32(blank), labels)
        apart = np.where(np.append(True, of_places[1:] == of_places[:-1]), np.inf, 0.0)
        self.target = of_places.view(np.uint32), apart, blank
        self.block = frames_at_a_time(self.length, 2 * self.places - 1)
        blocks = -(-self.length // self.block)
        self.kept = np.empty((blocks, 2, self.places))  # what is never written takes no memory
        self.bands = np.empty((blocks, 2), np.int64)

    def best(self) -> NDArray[np.int32] | None:
        """The states before each frame and at the end, numbered as in ``topologies.ctc``, [T + 1]; None where
        there is no path of finite energy."""
        if self.length < self.fewest[-1]:
            return None
        if self.length * self.places <= LARGEST_PLAIN:
            energies, _ = self._forward(math.inf, np.zeros(self.length + 1))
            return self._backward(energies)
        to_come, spread = kernels.least_to_come(self.frames, *self.target[::2])
        if to_come[0] == math.inf:
            return None
        rounding = np.finfo(float).eps * self.length * (np.abs(np.diff(to_come)).sum() + spread)
        gap = FIRST_SHARE * spread
        while True:
            most = to_come[0] + gap + rounding
            energies, reached = self._forward(most, to_come)
            least = energies[:, -1].min()
            if least <= most:
                return self._backward(energies)
            if least < math.inf:
                gap = least - to_come[0]
            else:
                gap = max(1.1 * gap * self.length / reached, 1.5 * gap)
                gap = gap if 0.0 < gap < spread else math.inf

    def _forward(self, most: float, to_come: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
        """Least energies after the frames, [2, L + 1], and how many frames were gone through until there was
        no way of at most ``most``."""
        energies = np.full((2, self.places), np.inf)
        energies[kernels.BLANK, 0] = 0.0
        step, least, done = max(CHUNK // self.places, kernels.STRIDE), 0.0, 0
        while done < self.length and least < math.inf:
            end = min(done + step, self.length)
            least = kernels.forward(
                self.frames, done, end, self.block, self.target, self.fewest, to_come, most, energies,
                self.kept, self.bands,
            )  # fmt: skip
            done = end
            self.notify(FORWARD_SHARE * done / self.length)
        return energies, done

    def _backward(self, energies: NDArray[np.float64]) -> NDArray[np.int32] | None:
        """The path of these least energies after the frames."""
        blank, label = energies[:, -1]
        if min(blank, label) == math.inf:
            return None
        path = np.empty(self.length + 1, np.int32)
        path[-1] = 2 * self.places - 2 - (label <= blank)
        last, each = len(self.bands), max(1, CHUNK // self.block**2)
        while last:
            first = max(last - each, 0)
            kernels.backward(self.frames, first, last, self.block, self.target, self.kept, self.bands, path)
            last = first
            self.notify(1.0 - (1.0 - FORWARD_SHARE) * last / len(self.bands))
        return path
