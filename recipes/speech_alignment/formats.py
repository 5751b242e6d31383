"""Alignments as files: TextGrid, CTM, JSON, SRT, WebVTT and CSV; TIMIT's and HTK's labels are read, too.

JSON and CSV hold everything, with times to the microsecond. A TextGrid has no confidence, and keeps flags
in a tier of their own, for the eye; of a word without length, such as a skipped one, it has nothing but
the flag. CTM has flags in comments, for the eye, too. Subtitles (SRT and WebVTT) have only the words, a cue
each, flagged ones in red, WebVTT with a note of what it is. These three count in milliseconds and end where
the last word does.
"""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from gtn_ebm import DataError
from gtn_ebm.io.files import write_whole
from recipes.speech_alignment.intervals import FileAlignment, Interval

TIMIT_RATE = 16_000
"""Samples a second of TIMIT's recordings, in which its labels count."""

TIMIT_SILENCES = frozenset({"h#", "pau", "epi"})

HTK_UNIT = 1e-7
"""Seconds of a time in HTK's label files."""

RED = "#ff8a80"
"""Of flagged words in subtitles, which are read on dark ground."""

MARKED_SILENCES = frozenset({"", "sil", "sp", "<eps>", "<sil>"})
"""Labels of intervals where nothing is said, as aligners write them in TextGrids."""


class Source(NamedTuple):
    """A file and what it holds."""

    path: Path
    text: str


class Format(NamedTuple):
    """How alignments are kept.

    Attributes:
        suffixes: of the files that hold one alignment; the first is there for each recording.
        read: the alignment of the given name in its files, as many of the suffixes as there are.
        write: the text for each suffix; None where the format is only read.
    """

    suffixes: tuple[str, ...]
    read: Callable[[str, Sequence[Source]], FileAlignment]
    write: Callable[[FileAlignment], Sequence[str]] | None = None


def format_by_name(name: str) -> Format:
    """One of FORMATS that can be written; DataError for any other name."""
    found = FORMATS.get(name.strip().lower())
    if found is None or found.write is None:
        known = ", ".join(known for known, each in FORMATS.items() if each.write)
        raise DataError(f"there is no format {name!r} to write; known are {known}")
    return found


def write_alignment(alignment: FileAlignment, folder: Path, format_name: str) -> Path:
    """Writes ``folder/NAME.SUFFIX``, with the folders of the name; complete or not at all.

    Returns:
        The path of the file, the first where a format has two.

    Raises:
        DataError: an unknown format, or a label that it cannot hold.
    """
    format_ = format_by_name(format_name)
    assert format_.write is not None
    texts = format_.write(alignment)
    paths = [folder / f"{alignment.name}{suffix}" for suffix in format_.suffixes]
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    for path, text in reversed(list(zip(paths, texts, strict=True))):  # with the first, all are there
        write_whole(path, text)
    return paths[0]


def read_alignment(path: Path, name: str | None = None) -> FileAlignment:
    """Reads an alignment in any of FORMATS, told by the suffix, and the second file of those that have two.

    Args:
        path: of the first file; ``.wrd`` of TIMIT, whose ``.phn`` lies beside it.
        name: of the recording; the file's without suffix where omitted.

    Raises:
        DataError: with the line, whatever is wrong with the file.
    """
    suffix = _suffix(path)
    format_ = next((each for each in FORMATS.values() if suffix == each.suffixes[0]), None)
    if suffix is None or format_ is None:
        known = ", ".join(each.suffixes[0] for each in FORMATS.values())
        raise DataError(f"{path}: no alignment by its name; it should end in one of {known}")
    stem, capitals = path.name[: -len(suffix)], path.name.endswith(suffix.upper())
    others = (path.with_name(stem + (each.upper() if capitals else each)) for each in format_.suffixes[1:])
    sources = [Source(each, _text(each)) for each in (path, *filter(Path.is_file, others))]
    return format_.read(name or stem, sources)


def alignment_files(folder: Path) -> dict[str, Path]:
    """The alignments in a folder and those in it: name with "/" between folders → first file.

    Of several formats the first in FORMATS counts. Transcripts named ``.lab`` are none.
    """
    order = [format_.suffixes[0] for format_ in FORMATS.values()]
    found: dict[str, tuple[int, Path]] = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        suffix = _suffix(path)
        if suffix in order and (suffix != ".lab" or has_times(path)):
            name = path.relative_to(folder).as_posix()[: -len(suffix)]
            found[name] = min(found.get(name, (len(order), path)), (order.index(suffix), path))
    return {name: path for name, (_, path) in sorted(found.items())}


def has_times(path: Path) -> bool:
    """Whether a ``.lab`` file is of HTK's kind, a start and an end on each line, and no transcript."""
    lines = [line.split() for line in _text(path).splitlines() if line.strip()]
    return bool(lines) and all(
        len(fields) >= 3 and fields[0].isdecimal() and fields[1].isdecimal() for fields in lines
    )


def _suffix(path: Path) -> str | None:
    """Which of the suffixes of FORMATS a file has, in capitals or not."""
    suffixes = (suffix for format_ in FORMATS.values() for suffix in format_.suffixes)
    return max((each for each in suffixes if path.name.lower().endswith(each.lower())), key=len, default=None)


def _text(path: Path) -> str:
    """UTF-8 or, as Praat writes it, UTF-16."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no text in UTF-8 or UTF-16, see byte {error.start}") from error


@contextmanager
def _at(source: Source, line: int) -> Iterator[None]:
    """Whatever is wrong in here is wrong in that line."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise DataError(f"{source.path}, line {line}: {error}") from error


def _interval(start: object, end: object, label: str, confidence: object = 1.0, flags: str = "") -> Interval:
    """Checked; ValueError where it is none."""
    begin, stop, sure = (float(str(value)) for value in (start, end, confidence))
    if not 0 <= begin <= stop < math.inf or not 0 <= sure <= 1:
        raise ValueError(f"{label!r} from {start} to {end} s with confidence {confidence} is no interval")
    if not label:
        raise ValueError("an interval without a label")
    return Interval(begin, stop, label, sure, tuple(flag for flag in flags.split("; ") if flag))


def _numbered(source: Source) -> Iterator[tuple[int, list[str]]]:
    """The fields of each line that has any."""
    lines = enumerate(source.text.splitlines(), 1)
    return ((number, line.split()) for number, line in lines if line.strip())


def _ends(*tiers: Iterable[Interval]) -> float:
    return max((interval.end for tier in tiers for interval in tier), default=0.0)


def _in_order(source: Source, intervals: list[Interval]) -> tuple[Interval, ...]:
    """The intervals, each of which must not begin before the last one; TIMIT's words overlap at times."""
    for one, next_ in pairwise(intervals):
        if next_.start < one.start:
            raise DataError(
                f"{source.path}: {next_.label!r} begins at {next_.start:g} s, before {one.label!r} "
                "which it follows"
            )
    return tuple(intervals)


def _round(seconds: float) -> float:
    return round(seconds, 6)


# TextGrid


def _write_textgrid(alignment: FileAlignment) -> list[str]:
    """Praat's long text format; silences are intervals without a label."""
    end = max(alignment.duration, _ends(alignment.words, alignment.phones))
    words, phones = (_intervals_tier(tier, end) for tier in (alignment.words, alignment.phones))
    tiers = [("IntervalTier", "words", words), ("IntervalTier", "phones", phones)]
    if points := _flag_points(alignment):
        tiers.append(("TextTier", "flags", points))
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += [f"xmin = 0\nxmax = {_round(end)}\ntiers? <exists>\nsize = {len(tiers)}\nitem []:"]
    for number, (kind, name, content) in enumerate(tiers, 1):
        unit = "intervals" if kind == "IntervalTier" else "points"
        lines += [f'    item [{number}]:\n        class = "{kind}"\n        name = "{name}"']
        lines += [f"        xmin = 0\n        xmax = {_round(end)}\n        {unit}: size = {len(content)}"]
        for place, fields in enumerate(content, 1):
            lines += [f"        {unit} [{place}]:", *(f"            {field}" for field in fields)]
    return ["\n".join(lines) + "\n"]


def _intervals_tier(intervals: Sequence[Interval], end: float) -> list[list[str]]:
    """From 0 to the end without gaps; what has no length is left out, as Praat knows no such interval."""
    cells, last = [], 0.0
    for interval in intervals:
        start, stop = max(last, _round(interval.start)), _round(interval.end)
        if stop > start:
            cells += [(last, start, ""), (start, stop, interval.label)]
            last = stop
    cells.append((last, _round(end), ""))
    return [
        [f"xmin = {start}", f"xmax = {stop}", f"text = {_quoted(label)}"]
        for start, stop, label in cells
        if stop > start or end == 0
    ]


def _flag_points(alignment: FileAlignment) -> list[list[str]]:
    """A point where each flagged word or phone begins; Praat knows no two points at one time."""
    points: dict[float, list[str]] = {}
    if alignment.flags:
        points[0.0] = [", ".join(alignment.flags)]
    for interval in (*alignment.words, *alignment.phones):
        if interval.flags:
            points.setdefault(_round(interval.start), []).append(
                f"{interval.label}: {', '.join(interval.flags)}"
            )
    return [[f"number = {time}", f"mark = {_quoted('; '.join(points[time]))}"] for time in sorted(points)]


def _quoted(label: str) -> str:
    return '"' + label.replace('"', '""') + '"'


_TEXTGRID_TOKEN = re.compile(
    r'"((?:[^"]|"")*)"|(?<!\S)([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\S)|(<exists>|<absent>)'
)
"""What Praat itself reads of a text file: strings, free-standing numbers and flags."""


def _read_textgrid(name: str, sources: Sequence[Source]) -> FileAlignment:
    """Both of Praat's text formats. The tiers "words" and "phones", also with a speaker's name before them;
    where none is called so, the first is the words."""
    source = sources[0]
    tokens = _Tokens(source)
    if tokens.string().removesuffix(" short") != "ooTextFile" or tokens.string() != "TextGrid":
        raise DataError(f"{source.path}, line 1: no TextGrid in one of Praat's text formats")
    tokens.number()
    duration = tokens.number()
    tiers: dict[str, list[Interval]] = {}
    for _ in range(tokens.count() if tokens.exists() else 0):
        kind, tier = tokens.string(), tokens.string()
        tokens.number(), tokens.number()
        if kind == "IntervalTier":
            found = [tokens.interval() for _ in range(tokens.count())]
            tiers[tier] = [each for each in found if each is not None]
        else:
            for _ in range(tokens.count()):
                tokens.number(), tokens.string()
    named = {name.lower().split(" - ")[-1].rstrip("s"): tier for name, tier in tiers.items()}
    words = named["word"] if "word" in named else next(iter(tiers.values()), [])
    phones = named.get("phone", [])
    return FileAlignment(name, duration, _in_order(source, words), _in_order(source, phones))


class _Tokens:
    """The values in a TextGrid one after the other; DataError with the line where another is expected."""

    def __init__(self, source: Source):
        self._source = source
        self._matches = _TEXTGRID_TOKEN.finditer(source.text)
        self._place = 0

    def _next(self, group: int, wanted: str) -> str:
        match = next(self._matches, None)
        if match is not None:
            self._place = match.start()
        if match is None or match[group] is None:
            got = "ends" if match is None else f"has {match[0]!r:.40}"
            raise DataError(f"{self._source.path}, line {self._line}: {got} where {wanted} should be")
        return match[group]

    @property
    def _line(self) -> int:
        return self._source.text.count("\n", 0, self._place) + 1

    def string(self) -> str:
        return self._next(1, "a string").replace('""', '"')

    def number(self) -> float:
        return float(self._next(2, "a number"))

    def count(self) -> int:
        with _at(self._source, self._line):
            return int(self.number())

    def exists(self) -> bool:
        return self._next(3, "<exists>") == "<exists>"

    def interval(self) -> Interval | None:
        start, end, label = self.number(), self.number(), " ".join(self.string().split())
        with _at(self._source, self._line):
            return None if label in MARKED_SILENCES else _interval(start, end, label)


# CTM


def _write_ctm(alignment: FileAlignment) -> list[str]:
    """NIST's lines ``recording channel start duration label confidence``, words and phones in a file each."""
    recording = "_".join(alignment.name.split())
    whole = f";; {', '.join(alignment.flags)}\n" if alignment.flags else ""
    return [whole + _ctm_lines(recording, tier) for tier in (alignment.words, alignment.phones)]


def _ctm_lines(recording: str, intervals: Iterable[Interval]) -> str:
    lines = []
    for interval in intervals:
        if interval.label.split() != [interval.label]:
            raise DataError(f"{recording}: CTM cannot hold {interval.label!r}, which has a space in it")
        start, end = round(interval.start, 3), round(interval.end, 3)
        if interval.flags:
            lines.append(f";; {start:.3f} {interval.label}: {', '.join(interval.flags)}\n")
        lines.append(
            f"{recording} 1 {start:.3f} {end - start:.3f} {interval.label} {interval.confidence:.4f}\n"
        )
    return "".join(lines)


def _read_ctm(name: str, sources: Sequence[Source]) -> FileAlignment:
    tiers = [_ctm_intervals(source) for source in sources]
    words, phones = [*tiers, ()][:2]
    return FileAlignment(name, _ends(*tiers), words, phones)


def _ctm_intervals(source: Source) -> tuple[Interval, ...]:
    intervals, recordings = [], set()
    for number, fields in _numbered(source):
        if fields[0].startswith(";;"):
            continue
        with _at(source, number):
            if len(fields) not in (5, 6):
                raise ValueError("should be: recording channel start duration label [confidence]")
            recordings.add(fields[0])
            start = float(fields[2])
            end = round(start + float(fields[3]), 9)
            intervals.append(_interval(start, end, fields[4], *fields[5:]))
    if len(recordings) > 1:
        raise DataError(f"{source.path}: holds {len(recordings)} recordings; give each a file of its own")
    return _in_order(source, intervals)


# JSON


def _write_json(alignment: FileAlignment) -> list[str]:
    tiers = {"words": alignment.words, "phones": alignment.phones}
    content: dict[str, Any] = {
        "name": alignment.name,
        "duration": _round(alignment.duration),
        "flags": list(alignment.flags),
        **{tier: [_as_json(interval) for interval in intervals] for tier, intervals in tiers.items()},
    }
    return [json.dumps(content, ensure_ascii=False, indent=1) + "\n"]


def _as_json(interval: Interval) -> dict[str, Any]:
    return {
        "start": _round(interval.start),
        "end": _round(interval.end),
        "label": interval.label,
        "confidence": round(interval.confidence, 6),
        "flags": list(interval.flags),
    }


def _read_json(name: str, sources: Sequence[Source]) -> FileAlignment:
    source = sources[0]
    try:
        content = json.loads(source.text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{source.path}, line {getattr(error, 'lineno', 1)}: no JSON: {error}") from error
    try:
        tiers = [
            _in_order(source, [_of_json(each) for each in content[tier]]) for tier in ("words", "phones")
        ]
        duration = float(content["duration"])
        return FileAlignment(name, duration, tiers[0], tiers[1], tuple(map(str, content["flags"])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        wrong = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{source.path}: no alignment: {wrong}") from error


def _of_json(each: dict[str, Any]) -> Interval:
    interval = _interval(each["start"], each["end"], str(each["label"]), each.get("confidence", 1.0))
    return replace(interval, flags=tuple(map(str, each.get("flags", ()))))


# SRT and WebVTT


def _write_srt(alignment: FileAlignment) -> list[str]:
    cues = []
    for number, word in enumerate(_spoken(alignment), 1):
        label = f'<font color="{RED}">{word.label}</font>' if word.flags else word.label
        cues.append(f"{number}\n{_cue(word, ',')}\n{label}\n\n")
    return ["".join(cues)]


def _write_vtt(alignment: FileAlignment) -> list[str]:
    head = f"WEBVTT\n\nSTYLE\n::cue(.flagged) {{ color: {RED}; }}\n\n"
    if alignment.flags:
        head += f"NOTE {_note(', '.join(alignment.flags))}\n\n"
    cues = []
    for word in alignment.words:
        label = html.escape(word.label, quote=False)
        if word.flags:
            cues.append(f"NOTE {_note(f'{word.start:.3f} {word.label}: ' + ', '.join(word.flags))}\n\n")
            label = f"<c.flagged>{label}</c>"
        if _is_shown(word):
            cues.append(f"{_cue(word, '.')}\n{label}\n\n")
    return [head + "".join(cues)]


def _note(text: str) -> str:
    """Without what would end a comment or make it a cue."""
    return " ".join(text.replace("-->", "→").split())


def _spoken(alignment: FileAlignment) -> list[Interval]:
    """The words that subtitles can show."""
    return [word for word in alignment.words if _is_shown(word)]


def _is_shown(word: Interval) -> bool:
    """Whether it has a millisecond or more."""
    return round(word.end, 3) > round(word.start, 3)


def _cue(word: Interval, point: str) -> str:
    return f"{_clock(word.start, point)} --> {_clock(word.end, point)}"


def _clock(seconds: float, point: str) -> str:
    total = round(seconds * 1000)
    hours, minutes = divmod(total // 60_000, 60)
    return f"{hours:02d}:{minutes:02d}:{total // 1000 % 60:02d}{point}{total % 1000:03d}"


_CLOCK = r"(?:(\d+):)?(\d\d):(\d\d)[.,](\d{3})"
_CUE = re.compile(rf"\s*{_CLOCK}\s+-->\s+{_CLOCK}(?:\s.*)?")


def _read_subtitles(name: str, sources: Sequence[Source]) -> FileAlignment:
    """The text of each cue is an interval; its tags and everything outside of cues are left out."""
    source = sources[0]
    lines = source.text.splitlines()
    if source.path.suffix.lower() == ".vtt" and not source.text.startswith("WEBVTT"):
        raise DataError(f"{source.path}, line 1: a WebVTT file begins with WEBVTT")
    words, number = [], 0
    while number < len(lines):
        number += 1
        if "-->" not in lines[number - 1]:
            continue
        with _at(source, number):
            match = _CUE.fullmatch(lines[number - 1])
            if match is None:
                raise ValueError("should be a cue's times, as 00:00:01.000 --> 00:00:02.000")
            text = []
            while number < len(lines) and lines[number].strip():
                text.append(lines[number])
                number += 1
            words.append(
                _interval(_seconds(match.groups()[:4]), _seconds(match.groups()[4:]), _plain(source, text))
            )
    return FileAlignment(name, _ends(words), _in_order(source, words))


def _plain(source: Source, text: list[str]) -> str:
    joined = " ".join(" ".join(text).split())
    if source.path.suffix.lower() == ".vtt":
        return html.unescape(re.sub(r"<[^>]*>", "", joined))
    return re.sub(r"</?font\b[^>]*>", "", joined)


def _seconds(clock: Sequence[str | None]) -> float:
    hours, minutes, seconds, thousandths = (int(part or 0) for part in clock)
    return (hours * 3600 + minutes * 60 + seconds) + thousandths / 1000


# CSV

_COLUMNS = ["tier", "start", "end", "label", "confidence", "flags"]


def _write_csv(alignment: FileAlignment) -> list[str]:
    """A row for the recording, then one for each word and each phone; flags are joined by "; "."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    whole = Interval(0.0, alignment.duration, alignment.name, flags=alignment.flags)
    for tier, intervals in (("recording", (whole,)), ("word", alignment.words), ("phone", alignment.phones)):
        for each in intervals:
            times = _round(each.start), _round(each.end)
            rows.writerow([tier, *times, each.label, round(each.confidence, 6), "; ".join(each.flags)])
    return [text.getvalue()]


def _read_csv(name: str, sources: Sequence[Source]) -> FileAlignment:
    source = sources[0]
    rows = csv.reader(io.StringIO(source.text))
    tiers: dict[str, list[Interval]] = {"recording": [], "word": [], "phone": []}
    try:
        for row in rows:
            with _at(source, rows.line_num):
                if rows.line_num == 1 or len(row) != len(_COLUMNS):
                    if row == _COLUMNS:
                        continue
                    raise ValueError(f"the columns should be {', '.join(_COLUMNS)}")
                if row[0] not in tiers:
                    raise ValueError(f"the tier {row[0]!r} is none of {', '.join(tiers)}")
                tiers[row[0]].append(_interval(*row[1:]))
    except csv.Error as error:
        raise DataError(f"{source.path}, line {rows.line_num}: {error}") from error
    words, phones = (_in_order(source, tiers[tier]) for tier in ("word", "phone"))
    whole = tiers["recording"][0] if tiers["recording"] else Interval(0.0, _ends(words, phones), name)
    return FileAlignment(name, whole.end, words, phones, whole.flags)


# TIMIT and HTK


def _read_timit(name: str, sources: Sequence[Source]) -> FileAlignment:
    """Words and phones in files of lines ``start end label``, counted in samples."""
    tiers = [_label_lines(source, 1 / TIMIT_RATE) for source in sources]
    spoken = [
        _in_order(source, [each for each in tier if each.label not in TIMIT_SILENCES])
        for source, tier in zip(sources, tiers, strict=True)
    ]
    words, phones = [*spoken, ()][:2]
    return FileAlignment(name, _ends(*tiers), words, phones)


def _read_htk(name: str, sources: Sequence[Source]) -> FileAlignment:
    """Lines ``start end label`` in units of 100 ns; the labels are taken as words."""
    source = sources[0]
    if not has_times(source.path):
        raise DataError(
            f"{source.path}: a transcript without times; they should be HTK's, in units of 100 ns"
        )
    labels = _label_lines(source, HTK_UNIT)
    words = [each for each in labels if each.label not in MARKED_SILENCES]
    return FileAlignment(name, _ends(labels), _in_order(source, words))


def _label_lines(source: Source, unit: float) -> list[Interval]:
    intervals = []
    for number, fields in _numbered(source):
        with _at(source, number):
            if len(fields) < 3:
                raise ValueError("should be: start end label")
            intervals.append(_interval(int(fields[0]) * unit, int(fields[1]) * unit, fields[2]))
    return intervals


FORMATS: dict[str, Format] = {
    "textgrid": Format((".TextGrid",), _read_textgrid, _write_textgrid),
    "json": Format((".json",), _read_json, _write_json),
    "csv": Format((".csv",), _read_csv, _write_csv),
    "ctm": Format((".ctm", ".phones.ctm"), _read_ctm, _write_ctm),
    "vtt": Format((".vtt",), _read_subtitles, _write_vtt),
    "srt": Format((".srt",), _read_subtitles, _write_srt),
    "timit": Format((".wrd", ".phn"), _read_timit),
    "htk": Format((".lab",), _read_htk),
}
"""Every format by its name."""
