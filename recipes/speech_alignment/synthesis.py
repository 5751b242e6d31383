"""Speech synthesised on the spot, with the times of its words and phones: material that needs no data.

The synthesiser is espeak-ng, as the package ``espeakng-loader`` ships it. It says itself when it begins each
word and phone, and with what phones it spoke a word.
"""

from __future__ import annotations

import ctypes
import random
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import espeakng_loader
import numpy as np
import soundfile
from numpy.typing import NDArray

from gtn_ebm import DataError
from gtn_ebm.io.files import write_beside, write_whole
from recipes.speech_alignment.formats import write_alignment
from recipes.speech_alignment.intervals import FileAlignment, Interval


class Voice(NamedTuple):
    """A speaker: a language and variant of espeak-ng, words a minute, and pitch from 0 to 99."""

    name: str
    speed: int
    pitch: int


VOICES = [
    Voice("en-us", 150, 45),
    Voice("en-us+f3", 170, 55),
    Voice("en-us+m3", 140, 35),
    Voice("en-us+f2", 160, 70),
    Voice("en-us+m7", 180, 50),
]


class Speech(NamedTuple):
    """What was spoken.

    Attributes:
        samples: [N] float32 in [−1, 1].
        rate: of the samples, in Hz.
        alignment: when; the phones without stress, see ARPABET.
        pronunciations: the phones of each word.
    """

    samples: NDArray[np.float32]
    rate: int
    alignment: FileAlignment
    pronunciations: list[tuple[str, ...]]


# The part of espeak-ng's speak_lib.h that is used here.

_SYNCHRONOUS, _PHONEME_EVENTS, _DO_NOT_EXIT = 2, 1, 0x8000
_BY_CHARACTER, _UTF8, _PAUSE_AT_END = 1, 0x1, 0x1000
_RATE, _PITCH = 1, 3
_NO_MORE, _WORD, _PHONEME = 0, 1, 7
ARPABET = {
    "D": "dh", "T": "th", "S": "sh", "Z": "zh", "N": "ng", "tS": "ch", "dZ": "jh", "j": "y", "h": "hh",
    "I": "ih", "i": "iy", "i:": "iy", "E": "eh", "a": "ae", "aa": "ae", "0": "aa", "A:": "aa", "O:": "ao",
    "V": "ah", "U": "uh", "u:": "uw", "@": "ax", "3": "er", "3:": "er", "@L": "el", "eI": "ey", "aI": "ay",
    "OI": "oy", "aU": "aw", "oU": "ow", "A@": "aar", "O@": "aor", "o@": "aor", "e@": "ehr", "i@3": "ihr",
    "aI@": "ayr", "aI3": "ayr",
}  # fmt: skip
"""The usual signs for those of espeak-ng's of American English that are others."""

_NO_SOUND = frozenset("_:;|-~")
"""Of which marks are made that stand for pauses and joints, and no phone."""


class _Identity(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Identity),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class _Mark(NamedTuple):
    """Where a word or a phone begins: sample, place in the text from 0, and the phone's sign."""

    sample: int
    place: int
    phone: str | None


class _Synthesiser:
    """The one espeak-ng of this process, which speaks one text at a time."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = str(espeakng_loader.get_data_path()).encode()
        self.rate: int = self._library.espeak_Initialize(
            _SYNCHRONOUS, 0, data, _PHONEME_EVENTS | _DO_NOT_EXIT
        )
        if self.rate <= 0:
            raise DataError("espeak-ng does not start; install espeakng-loader anew")
        self._callback = _Callback(self._take)
        self._library.espeak_SetSynthCallback(self._callback)
        self._lock = threading.Lock()
        self._sound: list[bytes] = []
        self._marks: list[_Mark] = []

    def speak(self, text: str, voice: Voice) -> tuple[NDArray[np.float32], list[_Mark]]:
        with self._lock:
            self._sound, self._marks = [], []
            if self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
                raise DataError(f"espeak-ng has no voice {voice.name!r}")
            self._library.espeak_SetParameter(_RATE, voice.speed, 0)
            self._library.espeak_SetParameter(_PITCH, voice.pitch, 0)
            content = text.encode() + b"\0"
            flags = _UTF8 | _PAUSE_AT_END
            said = self._library.espeak_Synth(content, len(content), 0, _BY_CHARACTER, 0, flags, None, None)
            self._library.espeak_Synchronize()
            if said != 0:
                raise DataError(f"espeak-ng could not speak {text!r:.60}: its error {said}")
            sound = np.frombuffer(b"".join(self._sound), np.int16)
            return (sound / np.float32(2**15)).astype(np.float32), self._marks

    def _take(self, sound: Any, count: int, events: Any) -> int:
        """Called by the library with what it has spoken since the last time."""
        if sound and count:
            self._sound.append(ctypes.string_at(sound, 2 * count))
        number = 0
        while events[number].type != _NO_MORE:
            event = events[number]
            if event.type in (_WORD, _PHONEME):
                phone = None if event.type == _WORD else event.id.string.decode()
                self._marks.append(_Mark(event.sample, event.text_position - 1, phone))
            number += 1
        return 0


_synthesiser = cache(_Synthesiser)


def speak(text: str, voice: Voice = VOICES[0], name: str = "speech") -> Speech:
    """Speaks a sentence of plain words.

    Raises:
        DataError: a voice that espeak-ng does not have; words or phones that it runs together, as it does
            "in the" and "of a", or does not speak, so that nobody knows where one begins.
    """
    samples, marks = _synthesiser().speak(text, voice)
    rate = _synthesiser().rate
    words, phones, pronunciations = [], [], []
    for label, marks_of_word, end in _by_word(text, marks, len(samples)):
        starts = [marks_of_word[0].sample, *(mark.sample for mark in marks_of_word[2:]), end]
        signs = [_sign(mark) for mark in marks_of_word[1:]]
        if any(one >= other for one, other in pairwise(starts)):
            raise DataError(
                f"espeak-ng runs phones of {label!r} in {text!r:.80} together; choose other words"
            )
        spoken = [
            Interval(start / rate, stop / rate, sign)
            for sign, (start, stop) in zip(signs, pairwise(starts), strict=True)
        ]
        words.append(Interval(spoken[0].start, spoken[-1].end, label))
        phones += spoken
        pronunciations.append(tuple(signs))
    alignment = FileAlignment(name, len(samples) / rate, tuple(words), tuple(phones))
    return Speech(samples, rate, alignment, pronunciations)


def _sign(mark: _Mark) -> str:
    """The phone without the marks of stress before it, and those of slight variants after it."""
    phone = (mark.phone or "").lstrip("',%=")
    phone = phone.rstrip("2#") or phone
    return ARPABET.get(phone, phone)


def _by_word(text: str, marks: Sequence[_Mark], end: int) -> Iterator[tuple[str, list[_Mark], int]]:
    """Each word in lower case with its own mark and those of its phones, and the sample where it ends."""
    groups: list[list[_Mark]] = []
    ends: list[int] = []
    for mark in marks:
        begins, pauses = mark.phone is None, _sign(mark).startswith("_")
        if (begins or pauses) and len(ends) < len(groups):
            ends.append(mark.sample)
        if begins:
            groups.append([mark])
        elif not _NO_SOUND.issuperset(_sign(mark)):
            groups[-1].append(mark)
    ends += [end] * (len(groups) - len(ends))
    labels = [word.strip(".,;:!?\"'").lower() for word in text.split()]
    if len(groups) != len(labels) or any(len(group) < 2 for group in groups):
        raise DataError(f"espeak-ng runs words of {text!r:.80} together, or is silent on some; choose others")
    yield from zip(labels, groups, ends, strict=True)


WORDS = {
    "who": "my sister/the farmer/a young doctor/nobody/every teacher/the old captain/our neighbour",
    "did": "found/carried/painted/followed/sold/washed/counted/remembered/dropped/lifted",
    "much": "seven/three/twenty/some/eleven/many/forty",
    "like": "green/yellow/heavy/broken/quiet/golden/square/wet/cheap/purple",
    "what": "apples/boxes/bicycles/mushrooms/letters/shoes/dogs/ships/candles/windows/jackets/horses",
    "where": "behind/above/near/beside/under/without",
    "thing": "garden/bridge/kitchen/church/village/mountain/station/ocean/table/judge",
    "when": "yesterday/this morning/last winter/before lunch/again/every Thursday/very slowly/with great joy",
}
PATTERNS = [
    "{who} {did} {much} {like} {what}",
    "{who} {did} {what} {where} the {thing}",
    "{when}, {who} {did} {much} {what} {where} the {like} {thing}",
    "{much} {like} {what}, {where} the {thing}, {did} {who}",
    "{who} {did} {like} {what} {when}",
    "{where} the {thing}, {who} {did} {much} {what}",
]


def sentences(seed: int = 0) -> Iterator[str]:
    """Sentences of plain words without end, some with a pause; always the same ones for a seed."""
    chance = random.Random(seed)
    while True:
        chosen = {kind: chance.choice(words.split("/")) for kind, words in WORDS.items()}
        sentence = chance.choice(PATTERNS).format(**chosen)
        yield f"{sentence[0].upper()}{sentence[1:]}."


def write_corpus(folder: Path, count: int, seed: int = 0, voices: Sequence[Voice] = VOICES) -> None:
    """Writes a corpus to train on, align and score, of short sentences by each of the voices in turn.

    ``folder/corpus/SPEAKER/NAME.wav`` with ``NAME.txt``, ``folder/reference/SPEAKER/NAME.TextGrid`` with the
    times of words and phones, and ``folder/lexicon.txt`` with every pronunciation that occurs.
    """
    lexicon: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for text, speech in _spoken(count, seed, voices):
        sound = folder / "corpus" / f"{speech.alignment.name}.wav"
        sound.parent.mkdir(parents=True, exist_ok=True)
        write_beside(
            sound, partial(soundfile.write, data=speech.samples, samplerate=speech.rate, format="WAV")
        )
        write_whole(sound.with_suffix(".txt"), text + "\n")
        write_alignment(speech.alignment, folder / "reference", "textgrid")
        for word, phones in zip(speech.alignment.words, speech.pronunciations, strict=True):
            lexicon[word.label].add(phones)
    lines = (f"{word}  {' '.join(phones)}\n" for word in sorted(lexicon) for phones in sorted(lexicon[word]))
    write_whole(folder / "lexicon.txt", "".join(lines))


def _spoken(count: int, seed: int, voices: Sequence[Voice]) -> Iterator[tuple[str, Speech]]:
    """Those of the sentences whose words are known apart."""
    number = 0
    for text in sentences(seed):
        if number == count:
            return
        speaker = number % len(voices)
        with suppress(DataError):
            yield text, speak(text, voices[speaker], f"speaker{speaker + 1}/s{number + 1:03d}")
            number += 1
