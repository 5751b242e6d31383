import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.speech_alignment.readings import MOST, readings


def spoken(token: str) -> list[str]:
    return [" ".join(reading) for reading in readings(token)]


@pytest.mark.parametrize(
    ("token", "usual"),
    [
        ("hello,", "hello"),
        ("“don’t”", "don't"),
        ("Café", "café"),
        ("1998", "nineteen ninety eight"),
        ("1905", "nineteen oh five"),
        ("2005", "two thousand and five"),
        ("(550).", "five hundred and fifty"),
        ("007", "zero zero seven"),
        ("10,000", "ten thousand"),
        ("3.14", "three point one four"),
        ("-5", "minus five"),
        ("21st", "twenty first"),
        ("1990s", "nineteen nineties"),
        ("$1", "one dollar"),
        ("$5.50", "five dollars fifty cents"),
        ("£3m", "three million pounds"),
        ("5:00", "five"),
        ("5:05pm", "five oh five p m"),
        ("1/2", "one half"),
        ("50%", "fifty percent"),
        ("5km", "five kilometres"),
        ("#5", "number five"),
        ("&", "and"),
        ("Mr.", "mister"),
        ("U.S.", "u s"),
        ("MP3", "mp three"),
        ("B2B", "b two b"),
        ("well-known", "well-known"),
    ],
)
def test_the_usual_reading_comes_first(token: str, usual: str) -> None:
    assert spoken(token)[0] == usual


@pytest.mark.parametrize(
    ("token", "also"),
    [
        ("1998", ["one thousand nine hundred ninety eight", "one nine nine eight"]),
        ("2015", ["twenty fifteen", "two thousand fifteen"]),
        ("550", ["five fifty", "five five oh"]),
        ("0.5", ["point five"]),
        ("$5.50", ["five fifty"]),
        ("5:00", ["five o'clock"]),
        ("9/11", ["nine eleven"]),
        ("3/4", ["three quarters"]),
        ("1998-2000", ["nineteen ninety eight two thousand"]),
        ("555-1234", ["five five five one two three four"]),
        ("Dr.", ["doctor", "drive"]),
        ("No.", ["number", "no"]),
        ("NASA", ["nasa", "n a s a"]),
        ("well-known", ["well known"]),
    ],
)
def test_others_are_there_too(token: str, also: list[str]) -> None:
    assert set(also) <= set(spoken(token))


@pytest.mark.parametrize("token", ["", "—", "...", "“"])
def test_nothing_is_said_for_marks(token: str) -> None:
    assert readings(token) == []


@given(st.text(max_size=20) | st.from_regex(r"[$£#'-]?[0-9.,:/–-]{1,30}[a-z%°]{0,4}", fullmatch=True))
def test_any_text_has_a_few_readings_of_words(token: str) -> None:
    found = readings(token)
    assert len(found) <= MOST
    assert len(set(found)) == len(found)
    assert all(word and word == word.strip() for reading in found for word in reading)
    assert all(found)
    if any(c in "123456789" for c in token) and token.isascii():
        assert not any(c.isdigit() for reading in found for word in reading for c in word)
