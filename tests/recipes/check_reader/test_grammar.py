import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm import DataError, Graph, GraphError, GraphFormatError, compose
from recipes.check_reader.data import read_digits
from recipes.check_reader.grammar import CLASSES, DEFAULT, DIGITS, NO_CHARACTER, Grammar
from recipes.check_reader.synthetic import Amounts
from tests.enumeration import Weighted, language, same_language, walks

GRAMMAR = Grammar.read()

DRAWINGS = st.text(st.sampled_from("0012345.,-=≠/*$#o~"), max_size=10)
"""Zeros and marks come often, so that many a drawing is accepted."""

ACCEPTED = re.compile(
    r"[~$*#.=-]*"  # currency, stars, fences
    r"[0-9][0-9~.,-]*"  # the amount, whatever separates its digits
    r"((?:[.,]~*[0-9]~*[0-9]"  # cents
    r"|0~*0~*/~*1~*0~*0"
    r"|[o=≠/.,-])"
    r"[~o=≠/.,-]*)?"  # what closes the field
)
"""The strings that the grammar accepts, said in another way."""


def reading_of(drawn: str) -> Graph:
    return Graph.linear(CLASSES.labels(drawn), input_symbols=CLASSES)


def meant(drawn: str, grammar: Graph = GRAMMAR.graph) -> Weighted:
    return language(walks(compose(reading_of(drawn), grammar)))


def meanings(drawn: str, grammar: Graph = GRAMMAR.graph) -> dict[str, float]:
    """The least energy of each thing that a drawing may mean."""
    return {
        "".join(DIGITS.name(label) for label in output): energies[0]
        for (_, output), energies in meant(drawn, grammar).items()
    }


class TestMeaning:
    @pytest.mark.parametrize(
        ("drawn", "expected"),
        [
            ("12345", {"12345": 0.0}),
            ("12.345", {"12345": 0.0}),
            ("12,345,678", {"12345678": 0.0}),
            ("$12.345,-", {"12345": 0.0}),
            ("**#1.000.-", {"1000": 0.0}),
            ("5.000≠", {"5000": 0.0}),
            ("007", {"007": 0.0}),
            ("12oo", {"12": 0.0}),
            ("1200/100", {"12": 0.0}),
            ("12.00", {"12": 3.0, "1200": 4.0}),
            ("1.000,00", {"1000": 3.0, "100000": 4.0}),
            ("12,50", {"1250": 3.0}),
            ("1.000,05-", {"100005": 3.0}),
            ("12-34", {"1234": 4.0}),
            ("12.3", {"123": 4.0}),
            ("", {}),
            ("~", {}),
            ("$", {}),
            ("1/2", {}),
            ("12$", {}),
        ],
    )
    def test_of(self, drawn: str, expected: dict[str, float]) -> None:
        assert meanings(drawn) == expected

    @settings(deadline=None, max_examples=200)
    @given(DRAWINGS)
    def test_every_other_drawing_has_none(self, drawn: str) -> None:
        assert bool(meanings(drawn)) == bool(ACCEPTED.fullmatch(drawn))

    @pytest.mark.parametrize("drawn", ["$12.345,-", "1200/100", "1.000,00", "12,50", "12oo"])
    def test_no_character_may_stand_anywhere(self, drawn: str) -> None:
        for place in range(len(drawn) + 1):
            assert meanings(f"{drawn[:place]}~~{drawn[place:]}") == meanings(drawn)

    def test_of_synthetic_amounts_is_their_answer(self) -> None:
        amounts = Amounts(read_digits(), seed=3)
        for index in range(300):
            amount = amounts.render(index)
            energy_of = meanings(amount.drawn.replace(" ", ""))
            assert min(energy_of, key=energy_of.__getitem__) == amount.digits
            assert sorted(energy_of.values())[:2].count(energy_of[amount.digits]) == 1

    def test_what_is_no_class_cannot_be_asked_for(self) -> None:
        with pytest.raises(GraphError, match="'x'"):
            GRAMMAR.of_drawing("12x")
        with pytest.raises(GraphError, match=r"'\.'"):
            GRAMMAR.of_answer("1.2")


class TestParts:
    """Each path of the grammar is in the parts of its answer and of its drawing, once, with its energy."""

    @settings(deadline=None, max_examples=100)
    @given(DRAWINGS)
    def test_of_answer(self, drawn: str) -> None:
        whole = meant(drawn)
        for read, written in whole:
            part = GRAMMAR.of_answer("".join(map(DIGITS.name, written)))
            assert same_language(meant(drawn, part), {(read, written): whole[read, written]})
        assert meant(drawn, GRAMMAR.of_answer("98765")) == {}

    @settings(deadline=None, max_examples=100)
    @given(DRAWINGS)
    def test_of_drawing(self, drawn: str) -> None:
        part = GRAMMAR.of_drawing(drawn.replace(NO_CHARACTER, ""))
        assert same_language(meant(drawn, part), meant(drawn))
        assert meant(f"{drawn}5", part) == {}


class TestReplacement:
    def test_by_the_users_file(self, tmp_path: Path) -> None:
        path = tmp_path / "grammar.txt"
        path.write_text("# one digit, and a point that doubles it\n0 1 7 7\n1 2 . 7 0.5\n1\n2 1\n", "utf-8")
        grammar = Grammar.read(path)
        assert meanings("7", grammar.graph) == {"7": 0.0}
        assert meanings("7.", grammar.graph) == {"77": 1.5}
        assert grammar.text == path.read_text("utf-8")

    def test_may_write_without_reading(self, tmp_path: Path) -> None:
        path = tmp_path / "grammar.txt"
        path.write_text("0 1 1 1\n1 2 <eps> 0 0.25\n2\n", "utf-8")
        assert meanings("1", Grammar.read(path).graph) == {"10": 0.25}

    @pytest.mark.parametrize(
        ("text", "error", "message"),
        [
            ("", GraphFormatError, "no arc"),
            ("0 1 7\n1\n", GraphFormatError, "line 1"),
            ("0 1 7 7\n1 2 x 7\n2\n", GraphFormatError, "line 2: 'x'"),
            ("0 1 7 .\n1\n", GraphFormatError, r"line 1: '\.'"),
            ("0 1 7 7 nan\n1\n", GraphFormatError, "line 1: 'nan'"),
            ("0 -1 7 7\n", GraphFormatError, "line 1: '-1'"),
            ("0 1 7 7\n2\n", DataError, "final state"),
            ("0 1 7 7\n", DataError, "final state"),
            ("0 1 7 7 Infinity\n1\n", DataError, "final state"),
            ("0\n", DataError, "final state"),
            ("0 1 7 7\n1 2 <eps> 0\n2 1 <eps> <eps>\n2\n", DataError, "<eps>"),
            ("0 0 <eps> 0\n0 1 7 7\n1\n", DataError, "<eps>"),
        ],
    )
    def test_a_bad_file_is_refused(
        self, tmp_path: Path, text: str, error: type[Exception], message: str
    ) -> None:
        path = tmp_path / "bad.txt"
        path.write_text(text, "utf-8")
        with pytest.raises(error, match=message) as raised:
            Grammar.read(path)
        assert str(raised.value).startswith(str(path))

    def test_no_file_is_refused(self, tmp_path: Path) -> None:
        for path in (tmp_path, tmp_path / "absent"):
            with pytest.raises(GraphFormatError, match=str(path)):
                Grammar.read(path)
        (tmp_path / "bytes").write_bytes(b"0 1 7 7\n\xff\xfe\n")
        with pytest.raises(GraphFormatError, match="line 2"):
            Grammar.read(tmp_path / "bytes")

    def test_the_grammar_that_comes_along_is_the_default(self) -> None:
        assert Grammar.read(DEFAULT).text == GRAMMAR.text
