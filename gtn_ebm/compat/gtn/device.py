"""Devices by gtn's names. Graphs live on the CPU here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class DeviceType(Enum):
    """The kinds of device that gtn knows."""

    CPU = 0
    CUDA = 1


CPU = DeviceType.CPU
CUDA = DeviceType.CUDA


@dataclass(frozen=True)
class Device:
    """A device: its kind, and its index among those of its kind.

    >>> Device(CUDA, 0) == Device(CUDA), Device(CPU) == Device(CUDA)
    (True, False)
    """

    type: DeviceType
    index: int = 0
