import io

import pynini
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtn_ebm.errors import GraphError, GraphFormatError
from gtn_ebm.io import read_binary_symbols, write_binary_symbols
from gtn_ebm.symbols import Symbols


def written(symbols: Symbols) -> bytes:
    file = io.BytesIO()
    write_binary_symbols(symbols, file)
    return file.getvalue()


@settings(max_examples=50, deadline=None)
@given(names=st.lists(st.text("ab €ε<>\u2028\n", min_size=1, max_size=3), unique=True))
def test_binary_round_trip(names: list[str]) -> None:
    assert list(read_binary_symbols(io.BytesIO(written(Symbols(names))))) == names


def test_openfst_reads_our_table_and_we_read_theirs(tmp_path) -> None:
    write_binary_symbols(Symbols(["x", "yy", "ß"]), tmp_path / "ours")
    table = pynini.SymbolTable.read(str(tmp_path / "ours"))
    assert dict(table) == {0: "<eps>", 1: "x", 2: "yy", 3: "ß"}
    table.add_symbol("far", 99)
    table.add_symbol("near", 50)
    table.write(str(tmp_path / "theirs"))
    assert list(read_binary_symbols(tmp_path / "theirs")) == ["x", "yy", "ß", "near", "far"]


@pytest.mark.parametrize("name", ["<eps>", "\ud800"])
def test_names_without_a_place(name: str) -> None:
    with pytest.raises(GraphError, match="rename"):
        written(Symbols([name]))


TABLE = written(Symbols("ab"))
FIRST = len(TABLE) - 2 * (4 + 1 + 8) - (4 + 5 + 8)  # where the entry of epsilon begins


@pytest.mark.parametrize(
    ("data", "byte", "found"),
    [
        (TABLE[1:], 0, "should begin a symbol table"),
        (TABLE + b"!", len(TABLE), "should end here"),
        (TABLE[: FIRST - 8] + b"\xff" * 8 + TABLE[FIRST:], FIRST - 8, "-1 symbols are announced"),
        (TABLE[: FIRST - 8] + b"\xff" * 7 + b"\x7f" + TABLE[FIRST:], FIRST - 8, "are announced for"),
        (TABLE[:FIRST] + b"\xff\xff\xff\x7f" + TABLE[FIRST + 4 :], FIRST + 4, "should take 2147483647 bytes"),
        (TABLE.replace(b"a", b"\xff"), FIRST + 17 + 4, "not UTF-8"),
        (TABLE.replace(b"a", b"b"), 0, "twice"),
        (TABLE[:-8] + TABLE[-21:-13], 0, "one number"),
        (TABLE[:-8] + b"\xff" * 8, len(TABLE) - 8, "has the number -1"),
    ],
)
def test_byte_of_the_fault_is_named(data: bytes, byte: int, found: str) -> None:
    with pytest.raises(GraphFormatError) as raised:
        read_binary_symbols(io.BytesIO(data))
    assert found in str(raised.value)
    assert str(raised.value).startswith(f"the input, byte {byte}: ")


def test_cut_off_anywhere() -> None:
    for length in range(len(TABLE)):
        with pytest.raises(GraphFormatError):
            read_binary_symbols(io.BytesIO(TABLE[:length]))
