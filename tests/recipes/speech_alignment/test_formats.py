import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from praatio import textgrid
from praatio.utilities.constants import Interval as PraatInterval

from gtn_ebm import DataError
from recipes.speech_alignment.formats import (
    FORMATS,
    MARKED_SILENCES,
    alignment_files,
    read_alignment,
    write_alignment,
)
from recipes.speech_alignment.intervals import FileAlignment, Interval

WRITTEN = [name for name, format_ in FORMATS.items() if format_.write]
EVERYTHING = ["json", "csv"]

ALIGNMENT = FileAlignment(
    "speaker one/s1",
    2.5,
    (
        Interval(0.25, 0.5, 'a"b', 0.9),
        Interval(0.5, 0.75, "she's", 0.25, ("low confidence", "too long")),
        Interval(0.75, 0.75, "gone", 0.5, ("skipped",)),
        Interval(1.125, 2.25, "<i>é&", 1.0),
    ),
    (
        Interval(0.25, 0.375, "sh", 0.75),
        Interval(0.375, 0.5, "iy", 0.5, ("too short",)),
        Interval(1.125, 2.25, "ax"),
    ),
    ("noisy",),
)


@st.composite
def alignments(draw: st.DrawFn) -> FileAlignment:
    """Times in whole milliseconds and labels without spaces, which every format can hold."""
    labels = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=8)
    label = labels.filter(lambda label: label not in MARKED_SILENCES)
    times = sorted(draw(st.lists(st.integers(0, 9_000_000), max_size=12, unique=True)))

    def tier(spans: int) -> tuple[Interval, ...]:
        pairs = list(zip(times[::2], times[1::2], strict=False))[:spans]
        confidence = st.integers(0, 100).map(lambda hundredths: hundredths / 100)
        return tuple(Interval(a / 1000, b / 1000, draw(label), draw(confidence)) for a, b in pairs)

    return FileAlignment("a/b", 9_000.5, tier(6), tier(2))


def assert_same(found: tuple[Interval, ...], wanted: tuple[Interval, ...], confident: bool) -> None:
    assert [each.label for each in found] == [each.label for each in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert (one.start, one.end) == pytest.approx((other.start, other.end), abs=1e-9)
        assert one.confidence == (other.confidence if confident else 1.0)


class TestRoundTrip:
    @pytest.mark.parametrize("name", EVERYTHING)
    def test_json_and_csv_keep_everything(self, tmp_path: Path, name: str) -> None:
        path = write_alignment(ALIGNMENT, tmp_path, name)
        assert path == tmp_path / f"speaker one/s1{FORMATS[name].suffixes[0]}"
        assert read_alignment(path, ALIGNMENT.name) == ALIGNMENT

    @pytest.mark.parametrize("name", WRITTEN)
    @settings(max_examples=40, deadline=None)
    @given(alignment=alignments())
    def test_of_any_alignment(
        self, tmp_path_factory: pytest.TempPathFactory, name: str, alignment: FileAlignment
    ) -> None:
        back = read_alignment(write_alignment(alignment, tmp_path_factory.mktemp("any"), name))
        confident = name in ("ctm", *EVERYTHING)

        assert_same(back.words, alignment.words, confident)
        if name not in ("srt", "vtt"):
            assert_same(back.phones, alignment.phones, confident)
        if name in ("textgrid", *EVERYTHING):
            assert back.duration == alignment.duration

    @pytest.mark.parametrize("name", WRITTEN)
    def test_of_nothing_said(self, tmp_path: Path, name: str) -> None:
        silence = FileAlignment("s", 0.0 if name in ("ctm", "srt", "vtt") else 2.0, ())
        assert read_alignment(write_alignment(silence, tmp_path, name)) == silence

    @pytest.mark.parametrize("name", WRITTEN)
    def test_flags_are_to_be_seen_in_every_format(self, tmp_path: Path, name: str) -> None:
        text = write_alignment(ALIGNMENT, tmp_path, name).read_text()
        if name == "srt":  # which has no place for what is wrong, but red
            assert text.count("<font color=") == 1
            assert ">she's</font>" in text
        else:
            for flag in ("low confidence", "too long", "skipped", "noisy"):
                assert flag in text

    def test_a_suffix_in_capitals(self, tmp_path: Path) -> None:
        (tmp_path / "A.WRD").write_text("0 16000 she\n")
        (tmp_path / "A.PHN").write_text("0 1600 h#\n1600 8000 sh\n8000 16000 iy\n")
        read = read_alignment(tmp_path / "A.WRD")
        assert read.name == "A"
        assert read.phones == (Interval(0.1, 0.5, "sh"), Interval(0.5, 1.0, "iy"))


class TestTextGrid:
    def test_praatio_reads_ours(self, tmp_path: Path) -> None:
        path = write_alignment(ALIGNMENT, tmp_path, "textgrid")
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
        assert grid.maxTimestamp == 2.5
        assert [tuple(each) for each in grid.getTier("words").entries] == [
            (0.0, 0.25, ""),
            (0.25, 0.5, 'a"b'),
            (0.5, 0.75, "she's"),
            (0.75, 1.125, ""),
            (1.125, 2.25, "<i>é&"),
            (2.25, 2.5, ""),
        ]
        assert [tuple(each) for each in grid.getTier("flags").entries] == [
            (0.0, "noisy"),
            (0.375, "iy: too short"),
            (0.5, "she's: low confidence, too long"),
            (0.75, "gone: skipped"),
        ]

    @pytest.mark.parametrize("layout", ["long_textgrid", "short_textgrid"])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    def test_ours_reads_praatios(self, tmp_path: Path, layout: str, encoding: str) -> None:
        grid = textgrid.Textgrid()
        for tier, label in (("Anna - words", 'é"1 2'), ("Anna - phones", "eh")):
            grid.addTier(textgrid.IntervalTier(tier, [PraatInterval(0.5, 1.25, label)], 0, 3))
        grid.addTier(textgrid.PointTier("notes", [(1.0, "here"), (2.0, "there")], 0, 3))
        path = tmp_path / "a.TextGrid"
        grid.save(str(path), layout, includeBlankSpaces=True)  # type: ignore[arg-type]
        path.write_text(path.read_text(encoding="utf-8"), encoding=encoding)
        read = read_alignment(path)
        assert read == FileAlignment("a", 3.0, (Interval(0.5, 1.25, 'é"1 2'),), (Interval(0.5, 1.25, "eh"),))

    def test_the_first_tier_where_none_is_called_words(self, tmp_path: Path) -> None:
        grid = textgrid.Textgrid()
        grid.addTier(textgrid.IntervalTier("Anna", [PraatInterval(0.5, 1.25, "hello there")], 0, 3))
        grid.save(str(tmp_path / "a.TextGrid"), "long_textgrid", includeBlankSpaces=True)
        assert read_alignment(tmp_path / "a.TextGrid").words == (Interval(0.5, 1.25, "hello there"),)


class TestWhatAFormatCannotHold:
    @pytest.mark.parametrize("name", ["srt", "vtt"])
    def test_a_word_without_length_is_no_cue(self, tmp_path: Path, name: str) -> None:
        path = write_alignment(ALIGNMENT, tmp_path, name)
        assert path.read_text().count("-->") == 3
        assert "gone" not in [word.label for word in read_alignment(path).words]

    def test_markup_is_escaped_in_vtt(self, tmp_path: Path) -> None:
        assert "&lt;i&gt;é&amp;" in write_alignment(ALIGNMENT, tmp_path, "vtt").read_text()

    def test_spaces_in_ctm(self, tmp_path: Path) -> None:
        two = replace(ALIGNMENT, words=(Interval(0, 1, "New York"),))
        with pytest.raises(DataError, match="CTM cannot hold 'New York'"):
            write_alignment(two, tmp_path, "ctm")
        assert list(tmp_path.rglob("*.ctm")) == []

    def test_a_recording_in_ctm_has_no_spaces(self, tmp_path: Path) -> None:
        line = write_alignment(ALIGNMENT, tmp_path, "ctm").read_text().splitlines()[1]
        assert line == 'speaker_one/s1 1 0.250 0.250 a"b 0.9000'

    def test_long_recordings_in_srt(self, tmp_path: Path) -> None:
        late = FileAlignment("a", 8000, (Interval(3 * 3600 + 61.0015, 3 * 3600 + 62, "late"),))
        assert write_alignment(late, tmp_path, "srt").read_text() == (
            "1\n03:01:01,002 --> 03:01:02,000\nlate\n\n"
        )


class TestFolders:
    def test_of_several_formats_the_first_counts(self, tmp_path: Path) -> None:
        for name in WRITTEN:
            write_alignment(ALIGNMENT, tmp_path, name)
        write_alignment(replace(ALIGNMENT, name="b.c"), tmp_path, "ctm")
        (tmp_path / "read.lab").write_text("she had your dark suit")
        (tmp_path / "timed.lab").write_text("0 2500000 sil\n2500000 5000000 she\n")
        assert alignment_files(tmp_path) == {
            "b.c": tmp_path / "b.c.ctm",
            "speaker one/s1": tmp_path / "speaker one/s1.TextGrid",
            "timed": tmp_path / "timed.lab",
        }
        assert read_alignment(tmp_path / "timed.lab").words == (Interval(0.25, 0.5, "she"),)
        assert not list(tmp_path.rglob("*.partial"))

    @pytest.mark.data
    def test_timit(self, data_directory: Path) -> None:
        files = alignment_files(data_directory / "timit_sample")
        assert len(files) == 100
        for name, path in files.items():
            read = read_alignment(path, name)
            assert path.suffix == ".wrd"
            assert read.words
            assert {"h#", "pau", "epi"}.isdisjoint(each.label for each in read.phones)
            assert read.words[-1].end <= read.duration


def refused(path: Path, content: str | bytes, *said: str) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as raised:
        read_alignment(path)
    for word in (path.name, *said):
        assert word in str(raised.value)


class TestRefused:
    def test_unknown_format(self, tmp_path: Path) -> None:
        for name in ("timit", "pdf"):
            with pytest.raises(DataError, match="known are textgrid, json, csv, ctm, vtt, srt"):
                write_alignment(ALIGNMENT, tmp_path, name)
        refused(tmp_path / "a.pdf", "", "no alignment by its name")
        refused(tmp_path / "a.phn", "0 1 a", "no alignment by its name")

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"a\.json: cannot be read: No such file"):
            read_alignment(tmp_path / "a.json")

    def test_no_text(self, tmp_path: Path) -> None:
        refused(tmp_path / "a.json", b'{"\xff', "byte 2")

    @pytest.mark.parametrize(
        ("suffix", "content", "said"),
        [
            (".ctm", "a 1 0.0 0.5 she\na 1 0.5 x had\n", "line 2"),
            (".ctm", "a 1 0.0 0.5\n", "line 1"),
            (".ctm", "a 1 0.0 -0.5 she\n", "is no interval"),
            (".ctm", "a 1 nan 0.5 she\n", "is no interval"),
            (".ctm", "a 1 0.0 0.5 she 1.5\n", "is no interval"),
            (".ctm", "a 1 0.0 0.5 she\nb 1 0.0 0.5 had\n", "2 recordings"),
            (".ctm", "a 1 1.0 0.5 she\na 1 0.0 0.5 had\n", "'had' begins at 0 s, before 'she'"),
            (".json", '{"words": [],\n "phones": ]}', "line 2"),
            (".json", '{"words": []}', "there is no 'phones'"),
            (".json", "[" * 100_000, "no JSON"),
            (".json", "[]", "no alignment"),
            (".json", '{"words": [1], "phones": [], "duration": 1, "flags": []}', "no alignment"),
            (".csv", "start,end,label\n", "line 1"),
            (".csv", "tier,start,end,label,confidence,flags\nword,0,1\n", "line 2"),
            (".csv", "tier,start,end,label,confidence,flags\nsyllable,0,1,a,1,\n", "'syllable'"),
            (".csv", "tier,start,end,label,confidence,flags\nword,0,one,a,1,\n", "line 2"),
            (".srt", "1\n00:00:01,000 --> 00:00:0\nshe\n", "line 2"),
            (".srt", "1\n00:00:01,000 --> 00:00:02,000\n\n", "without a label"),
            (".vtt", "00:01.000 --> 00:02.000\nshe\n", "line 1"),
            (".wrd", "0 16000 she\n16000 had\n", "line 2"),
            (".wrd", "0 x she\n", "line 1"),
            (".lab", "she had your dark suit\n", "a transcript without times"),
            (".TextGrid", "", "line 1"),
            (".TextGrid", 'File type = "ooTextFile"\nObject class = "Pitch 1"\n', "no TextGrid"),
        ],
    )
    def test_contents(self, tmp_path: Path, suffix: str, content: str, said: str) -> None:
        refused(tmp_path / f"a{suffix}", content, said)

    def test_any_textgrid_cut_short(self, tmp_path: Path) -> None:
        whole = write_alignment(ALIGNMENT, tmp_path, "textgrid").read_text()
        for end in range(0, len(whole) - 20, 37):
            refused(tmp_path / "a.TextGrid", whole[:end], "line ")

    def test_a_textgrid_of_endless_size(self, tmp_path: Path) -> None:
        whole = write_alignment(ALIGNMENT, tmp_path, "textgrid").read_text()
        for size in ("1e300", "1e999", "-1e999"):
            refused(
                tmp_path / "a.TextGrid",
                whole.replace("intervals: size = 6", f"intervals: size = {size}"),
                "line ",
            )

    def test_json_of_one_that_is_no_number(self, tmp_path: Path) -> None:
        content = json.loads(write_alignment(ALIGNMENT, tmp_path, "json").read_text())
        content["words"][0]["start"] = None
        refused(tmp_path / "a.json", json.dumps(content), "no alignment", "None")
