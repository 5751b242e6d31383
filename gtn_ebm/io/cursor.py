"""A binary file read from front to back: no length in it is believed before its bytes are there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gtn_ebm.errors import GraphFormatError
from gtn_ebm.io.files import File, read_whole


class Cursor:
    """All bytes of a file, and the place read next; errors are GraphFormatError with file and byte."""

    def __init__(self, file: File):
        self.data, self.name = read_whole(file)
        self.offset = 0

    @property
    def remaining(self) -> int:
        """How many bytes are still to be read."""
        return len(self.data) - self.offset

    def error(self, message: str, offset: int | None = None) -> GraphFormatError:
        """An error that names the file and a byte, the next one where ``offset`` is omitted."""
        return GraphFormatError(f"{self.name}, byte {self.offset if offset is None else offset}: {message}")

    def skip(self, size: int, what: str) -> int:
        """Passes over ``size`` bytes and returns where they begin."""
        if not 0 <= size <= self.remaining:
            raise self.error(f"{what} should take {size} bytes here, but {self.remaining} are left")
        self.offset += size
        return self.offset - size

    def array(self, dtype: DTypeLike, count: int, what: str) -> NDArray[Any]:
        """The next ``count`` values, [count], not copied."""
        start = self.skip(count * np.dtype(dtype).itemsize, what)
        return np.frombuffer(self.data, dtype, count, start)

    def integer(self, size: int, what: str) -> int:
        """A signed integer of ``size`` bytes, little end first."""
        start = self.skip(size, what)
        return int.from_bytes(self.data[start : start + size], "little", signed=True)

    def text(self, what: str) -> str:
        """A text in UTF-8 behind its length, as OpenFst writes them."""
        size = self.integer(4, f"the length of {what}")
        start = self.skip(size, what)
        try:
            return self.data[start : start + size].decode("utf-8")
        except UnicodeDecodeError as error:
            found = f"byte {self.data[start + error.start]:#x} is not UTF-8"
            raise self.error(f"{found} in {what}", start + error.start) from None

    def end(self) -> None:
        """Raises where bytes are left."""
        if self.remaining:
            raise self.error(f"the file should end here, but {self.remaining} bytes are left")
