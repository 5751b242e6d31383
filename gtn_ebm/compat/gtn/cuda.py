"""gtn's CUDA functions, which answer as those of a gtn built without CUDA: graphs live on the CPU here."""

from __future__ import annotations

from typing import NoReturn

from gtn_ebm.errors import GraphError


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """Raises ValueError, for there is no CUDA device."""
    unavailable("device_count")


def get_device() -> int:
    """Raises ValueError, for there is no CUDA device."""
    unavailable("get_device")


def set_device(device: int) -> None:
    """Raises ValueError, for there is no CUDA device."""
    unavailable("set_device")


def unavailable(what: str) -> NoReturn:
    """Says so for the function named ``what``."""
    raise GraphError(f"{what}: CUDA is not available here; keep graphs on the CPU (the default)")
