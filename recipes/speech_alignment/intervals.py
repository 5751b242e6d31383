"""What an alignment is: words and phones with their times."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """One word or phone.

    Attributes:
        start: seconds from the beginning of the recording.
        end: seconds, not before ``start``.
        label: the word as the transcript writes it, or the phone.
        confidence: posterior probability in [0, 1]; 1 where it is given, as in a reference.
        flags: what is to be looked at, such as "skipped", "inserted", "too long"; none where all is well.
    """

    start: float
    end: float
    label: str
    confidence: float = 1.0
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileAlignment:
    """The words and phones of one recording, each in order of time, silences left out.

    Attributes:
        name: path of the recording in its corpus, without suffix, with "/" between folders.
        duration: seconds.
        words: those of the transcript; one that was not spoken has no length and the flag "skipped".
        phones: those of the words, as they were spoken.
        flags: of the recording as a whole.
    """

    name: str
    duration: float
    words: tuple[Interval, ...]
    phones: tuple[Interval, ...] = ()
    flags: tuple[str, ...] = ()
