"""The work on many recordings, spread over the machines of a Ray cluster."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from gtn_ebm import DataError

LOCAL = "local"
"""In place of an address: a cluster of one's own on this machine, for as long as it is needed."""

AHEAD = 4
"""Tasks for each core that are handed out before their turn."""

PATIENCE = 10.0
"""Seconds in which a cluster is to answer."""

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_raylet_start_wait_time_s": "300",
}
"""Of Ray, where the environment has no others: its processes may take minutes to start on a busy machine."""

Result = TypeVar("Result")


def spread(
    function: Callable[[str], Result], names: Sequence[str], address: str, workers: int | None = None
) -> Iterator[tuple[str, Result | str]]:
    """Calls a function with each of the names, on all cores of a cluster, and gives its results in order.

    The folders that the function reads and writes must be there on all machines under the same path, and this
    package installed. A task whose worker dies is tried again.

    Args:
        function: that can be pickled.
        names: of recordings.
        address: of a running cluster, such as "10.0.0.1:6379" or "auto"; or LOCAL.
        workers: of a LOCAL cluster; one a core where omitted.

    Yields:
        Each name with its result, or with what went wrong on the cluster, as text.

    Raises:
        DataError: Ray is not installed, or nothing answers at the address.
    """
    with _connected(address, workers) as ray:
        task, given = ray.remote(max_retries=2)(_called), ray.put(function)
        window = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting: deque[tuple[str, Any]] = deque()
        for name in [*names, *[None] * window]:
            if name is not None:
                waiting.append((name, task.remote(given, name)))
            if waiting and (name is None or len(waiting) > window):
                first, result = waiting.popleft()
                try:
                    yield first, ray.get(result)
                except ray.exceptions.RayError as error:
                    yield first, f"failed on the cluster: {str(error).strip().splitlines()[-1]}"


def _called(function: Callable[[str], Result], name: str) -> Result:
    return function(name)


def _check_answers(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except (OSError, ValueError, OverflowError) as error:
        raise DataError(f"no Ray cluster answers at {address!r}: {error}") from error


@contextmanager
def _connected(address: str, workers: int | None) -> Iterator[Any]:
    for setting, value in SETTINGS.items():
        os.environ.setdefault(setting, value)
    try:
        import ray
    except ImportError as error:
        raise DataError(f"Ray does not import ({error}); pip install 'gtn-ebm[cluster]'") from error
    where: dict[str, Any] = {"address": address}
    if address == LOCAL:
        path = os.pathsep.join([str(Path.cwd()), *filter(None, sys.path)])
        where = {"address": "local", "num_cpus": workers, "include_dashboard": False}
        where["runtime_env"] = {"env_vars": {"PYTHONPATH": path}}
    elif ":" in address and "/" not in address:
        _check_answers(address)
    try:
        ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # of any kind, bare ones among them
        raise DataError(
            f"no Ray cluster answers at {address!r}: {str(error).strip().splitlines()[0]}"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
