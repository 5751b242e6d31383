"""Names for labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gtn_ebm.errors import GraphError

EPSILON = -1
"""The label that stands for no symbol at all."""

EPSILON_NAME = "ε"


class Symbols:
    """A table of symbols: label k is the name at place k. Epsilon (−1) has no place in it.

    >>> letters = Symbols("abc")
    >>> letters.label("b"), letters.name(1), letters.name(EPSILON)
    (1, 'b', 'ε')
    >>> letters.labels("cab")
    [2, 0, 1]

    Raises:
        GraphError: two symbols have the same name, or a name is empty.
    """

    def __init__(self, names: Iterable[str]):
        self._names = tuple(names)
        self._labels = {name: label for label, name in enumerate(self._names)}
        if len(self._labels) < len(self._names):
            twice = next(name for k, name in enumerate(self._names) if self._labels[name] != k)
            raise GraphError(f"the symbol {twice!r} stands twice in the table; names must differ")
        if "" in self._labels:
            raise GraphError(f"symbol {self._labels['']} has an empty name")

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._labels

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Symbols) and self._names == other._names

    def __hash__(self) -> int:
        return hash(self._names)

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self._names[:8])) + (", …" if len(self) > 8 else "")
        return f"Symbols([{shown}])"

    def label(self, name: str) -> int:
        """The label of ``name``. Raises GraphError if it is not in the table."""
        try:
            return self._labels[name]
        except KeyError:
            raise GraphError(f"no symbol {name!r} in this table of {len(self)}: {self!r}") from None

    def labels(self, names: Iterable[str]) -> list[int]:
        """The labels of several names; of a string, those of its characters."""
        return [self.label(name) for name in names]

    def name(self, label: int) -> str:
        """The name of ``label``, ``"ε"`` for epsilon. Raises GraphError if there is none."""
        if label == EPSILON:
            return EPSILON_NAME
        if not 0 <= label < len(self):
            raise GraphError(f"no label {label} in this table of {len(self)} symbols")
        return self._names[label]
