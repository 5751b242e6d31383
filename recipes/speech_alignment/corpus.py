"""A folder of recordings and their texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gtn_ebm import DataError
from recipes.speech_alignment import audio
from recipes.speech_alignment.audio import Sound
from recipes.speech_alignment.formats import has_times, read_alignment
from recipes.speech_alignment.intervals import FileAlignment

SOUNDS = (".wav", ".flac")
TEXTS = (".txt", ".lab")
TIMES = (".wrd", ".TextGrid", ".lab")
_SPAN = re.compile(r"\s*0\s+\d{3,}\s+(?=\D)")
"""The samples of a recording, which TIMIT's texts begin with."""


@dataclass(frozen=True)
class Recording:
    """One sound file.

    Attributes:
        name: its path in the corpus, without suffix, with "/" between folders.
        audio: where it is.
        transcript: what is said; None where there is no text beside it.
        reference: the times of its words and phones; None where there are none beside it.
        source: the file that the transcript was read from; None where it was given.
    """

    name: str
    audio: Path
    transcript: str | None = None
    reference: FileAlignment | None = None
    source: Path | None = None

    def sound(self, rate: int) -> Sound:
        """See ``audio.read``."""
        return audio.read(self.audio, rate)

    @property
    def text(self) -> str:
        """The transcript.

        Raises:
            DataError: there is none, or nothing in it.
        """
        if self.transcript is None:
            raise DataError(f"{self.audio}: there is no text beside it; write {self.audio.stem}.txt")
        if not self.transcript.strip():
            what = f"{self.audio}: the given text" if self.source is None else f"{self.source}: the text"
            raise DataError(f"{what} is empty")
        return self.transcript.strip()


class Corpus:
    """The recordings of a folder and of those within it: ``ID.wav`` or ``ID.flac`` with ``ID.txt``,
    ``ID.lab`` or ``ID.TextGrid`` beside it; ``ID.wrd`` and ``ID.phn`` are times to compare with.

    What is wrong with one recording is said when that is asked for, not here.

    Args:
        directory: the folder.

    Raises:
        DataError: there is no such folder, or no recording in it.
    """

    def __init__(self, directory: Path | str):
        self.directory = directory = Path(directory)
        if not directory.is_dir():
            raise DataError(f"{directory}: no such folder; give one of recordings and their texts")
        sounds = (path for path in directory.rglob("*") if path.suffix.lower() in SOUNDS)
        found = sorted(path for path in sounds if not path.is_dir())
        self.paths: dict[str, Path] = {}
        self._twins: dict[str, Path] = {}
        for path in found:
            name = path.relative_to(directory).with_suffix("").as_posix()
            if self.paths.setdefault(name, path) != path:
                self._twins[name] = path
        if not self.paths:
            raise DataError(f"{directory}: holds no {' or '.join(SOUNDS)}")

    @property
    def names(self) -> list[str]:
        """Of the recordings, in order."""
        return list(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Recording]:
        return (self[name] for name in self.paths)

    def __getitem__(self, name: str) -> Recording:
        """The recording of this name, with what stands beside it.

        Raises:
            DataError: a text or its times cannot be read, or there are two recordings or texts of this name.
        """
        path = self.paths[name]
        if name in self._twins:
            raise DataError(f"{path} and {self._twins[name].name} have one name; rename one of them")
        times = _times(path)
        reference = None if times is None else read_alignment(times, name)
        text, source = _transcript(path)
        if text is None and reference is not None:
            text, source = " ".join(word.label for word in reference.words), times
        return Recording(name, path, text, reference, source)


def _transcript(sound: Path) -> tuple[str, Path] | tuple[None, None]:
    """The text beside a sound, and the file that it is in."""
    paths = [sound.with_suffix(suffix) for suffix in TEXTS]
    paths = [path for path in paths if path.exists() and not (path.suffix == ".lab" and has_times(path))]
    texts = [read_text(path) for path in paths]
    if len({" ".join(text.split()) for text in texts}) > 1:
        raise DataError(f"{paths[0]} and {paths[1].name} say different things; remove one of them")
    return (texts[0], paths[0]) if texts else (None, None)


def _times(sound: Path) -> Path | None:
    """The file beside a sound that its words' times are in."""
    paths = [sound.with_suffix(suffix) for suffix in TIMES]
    return next(
        (path for path in paths if path.exists() and (path.suffix != ".lab" or has_times(path))), None
    )


def read_text(path: Path) -> str:
    """A transcript, without the span of samples that TIMIT's begin with.

    Raises:
        DataError: it is no text in UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not in UTF-8 (byte {error.start}); convert it") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return _SPAN.sub("", text, count=1)
