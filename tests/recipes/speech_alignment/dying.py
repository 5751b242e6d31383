"""What processes are given to do in tests, without what takes long to import."""

import os
from pathlib import Path


def die_or_not(folder: str, name: str) -> str | None:
    """What is wrong with it; "deadly" takes its process down, "once" the first time only."""
    if name == "bad":
        return "is bad"
    mark = Path(folder) / name
    if name == "deadly" or (name == "once" and not mark.exists()):
        mark.touch()
        os._exit(1)
    mark.touch()
    return None
