"""What the workers of a cluster are given to do in tests."""

import os
from pathlib import Path

from gtn_ebm import DataError


def leave_a_mark(folder: str, name: str) -> tuple[str, str | None]:
    """Says which process it ran in; fails, or takes its process down, where the name says so."""
    if name == "bad":
        raise DataError("this one is bad")
    mark = Path(folder) / name
    if name == "deadly" and not mark.exists():
        mark.touch()
        os._exit(1)
    return name, str(os.getpid())
