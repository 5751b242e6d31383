"""Which phones spell which word."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from gtn_ebm import DataError
from gtn_ebm.io.files import write_whole

Pronunciation = tuple[str, ...]

_VARIANT = re.compile(r"(.+?)(?:\(\d+\)|~\w+)$")
_STRESS = re.compile(r"(?<=[A-Za-z])[012]$")


class Lexicon:
    """Words and their pronunciations.

    Args:
        entries: of each word its pronunciations, one at least.
        letter_to_sound: gives pronunciations to a word that is not among them; none where it cannot.

    Raises:
        DataError: there are no words, or a word has a pronunciation without phones.

    >>> lexicon = Lexicon({"a": [("ax",), ("ey",)]})
    >>> lexicon.pronunciations("A")
    [('ax',), ('ey',)]
    >>> "b" in lexicon, lexicon.pronunciations("b")
    (False, [])
    """

    def __init__(
        self,
        entries: Mapping[str, Iterable[Pronunciation]],
        letter_to_sound: Callable[[str], list[Pronunciation]] | None = None,
    ):
        self.entries = {word.lower(): list(dict.fromkeys(each)) for word, each in entries.items()}
        self.letter_to_sound = letter_to_sound
        wrong = [word for word, each in self.entries.items() if not each or () in each]
        if wrong:
            raise DataError(f"the word {wrong[0]!r} has no phones")
        if not self.entries:
            raise DataError("the lexicon has no words")

    @property
    def phones(self) -> list[str]:
        """That occur, each once, in order."""
        return sorted({phone for each in self.entries.values() for phones in each for phone in phones})

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and word.lower() in self.entries

    def __len__(self) -> int:
        return len(self.entries)

    def pronunciations(self, word: str) -> list[Pronunciation]:
        """Those of the entry, or else what letter-to-sound gives; none where that knows none either."""
        known = self.entries.get(word.lower())
        if known:
            return list(known)
        return [] if self.letter_to_sound is None else self.letter_to_sound(word.lower())

    @classmethod
    def read(
        cls, path: Path | str, letter_to_sound: Callable[[str], list[Pronunciation]] | None = None
    ) -> Lexicon:
        """A lexicon of one entry a line: the word, blanks, its phones, perhaps between slashes.

        Lines that begin with ";" are comments. A word may stand in several lines, and be numbered or named
        there, as in ``read(2)`` or ``read~past``. Marks of stress, 0 to 2 behind a phone, are left out: they
        would divide what little speech there is to learn a vowel from.

        Raises:
            DataError: the file cannot be read as text, or a line has no phones; the message says which.
        """
        path = Path(path)
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not in UTF-8"
            raise DataError(f"{path}: cannot be read as a lexicon ({reason})") from error
        entries: dict[str, list[Pronunciation]] = {}
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.startswith((";", "#")):
                word, *phones = line.replace("/", " ").split()
                if not phones:
                    raise DataError(f"{path}, line {number}: the word {word!r} has no phones")
                variant = _VARIANT.match(word)
                name = (variant[1] if variant else word).lower()
                entries.setdefault(name, []).append(tuple(_STRESS.sub("", phone) for phone in phones))
        if not entries:
            raise DataError(f"{path}: holds no word; write lines of a word and its phones")
        return cls(entries, letter_to_sound)

    def write(self, path: Path) -> None:
        """One line a pronunciation, as ``read`` takes it."""
        lines = [f"{word}  {' '.join(phones)}\n" for word, each in self.entries.items() for phones in each]
        write_whole(path, "".join(lines))
