"""How numbers, amounts, times and abbreviations in English texts may be spoken."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator

from num2words import num2words

Reading = tuple[str, ...]

MOST = 12
"""Readings of one token."""

LONGEST_NUMBER = 15
"""Digits; longer rows of them are read digit by digit."""

ABBREVIATIONS = {
    "dr.": "doctor/drive", "mr.": "mister", "mrs.": "missus/misses", "ms.": "miz", "st.": "saint/street",
    "prof.": "professor", "jr.": "junior", "sr.": "senior", "vs.": "versus", "etc.": "et cetera",
    "e.g.": "for example/e g", "i.e.": "that is/i e", "mt.": "mount", "ave.": "avenue",
    "blvd.": "boulevard", "rd.": "road", "co.": "company", "corp.": "corporation",
    "inc.": "incorporated/inc", "ltd.": "limited", "gen.": "general/gen", "col.": "colonel",
    "capt.": "captain", "lt.": "lieutenant", "sgt.": "sergeant", "rev.": "reverend/rev",
    "gov.": "governor", "sen.": "senator",
    "rep.": "representative/rep", "dept.": "department", "approx.": "approximately", "no.": "number/no",
    "nos.": "numbers", "vol.": "volume", "fig.": "figure/fig", "jan.": "january", "feb.": "february",
    "mar.": "march/mar", "apr.": "april", "aug.": "august", "sept.": "september", "oct.": "october",
    "nov.": "november", "dec.": "december", "ft.": "feet/foot/fort", "lb.": "pound/pounds",
    "lbs.": "pounds", "oz.": "ounces/ounce", "hr.": "hour", "hrs.": "hours", "min.": "minutes/minute",
    "a.m.": "a m", "p.m.": "p m", "&": "and", "@": "at", "=": "equals", "+": "plus",
    "%": "percent/per cent", "#": "number/hash", "°": "degrees/degree",
}  # fmt: skip
"""What is spoken for them, alternatives between slashes."""

UNITS = {
    "%": "percent/per cent", "°": "degrees/degree", "°c": "degrees celsius/degrees",
    "°f": "degrees fahrenheit/degrees", "km": "kilometres/kilometre", "m": "metres/metre",
    "cm": "centimetres/centimetre", "mm": "millimetres/millimetre", "kg": "kilograms/kilogram/kilos",
    "g": "grams/gram", "mg": "milligrams/milligram", "l": "litres/litre", "ml": "millilitres/millilitre",
    "ft": "feet/foot", "in": "inches/inch", "lb": "pounds/pound", "lbs": "pounds", "oz": "ounces/ounce",
    "mph": "miles an hour/miles per hour", "h": "hours/hour", "min": "minutes/minute",
    "s": "seconds/second", "ms": "milliseconds/millisecond", "hz": "hertz", "khz": "kilohertz",
    "mhz": "megahertz", "k": "thousand/k", "am": "a m", "pm": "p m", "x": "times",
}  # fmt: skip
"""What is spoken for signs that follow a number at once, alternatives between slashes."""

CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "sen", "sen"),
}

SCALES = {"k": "thousand", "m": "million", "bn": "billion"}

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+"
_AROUND = re.compile(r"^[^\w$£€¥&@=+%#°.-]+|[^\w%°&@=+#.]+$")


def readings(token: str) -> list[Reading]:
    """The ways in which a token of a text may be spoken, the most usual first; MOST of them at most.

    A word reads as itself, in lower case and without the marks around it. Nothing is said for marks alone.

    >>> readings("1998")[:2]
    [('nineteen', 'ninety', 'eight'), ('one', 'thousand', 'nine', 'hundred', 'and', 'ninety', 'eight')]
    >>> readings("$5"), readings("Dr."), readings("“Hello,”"), readings("—")
    ([('five', 'dollars')], [('doctor',), ('drive',)], [('hello',)], [])
    """
    text = _AROUND.sub("", token).lower().replace("’", "'").replace("−", "-")
    found = _first_of(text) or _first_of(text.strip(".-")) or _word(token)
    return list(itertools.islice(dict.fromkeys(found), MOST))


def _first_of(text: str) -> list[Reading]:
    """The readings by the first of the rules that fits."""
    if text in ABBREVIATIONS:
        return _alternatives(ABBREVIATIONS[text])
    matches = ((rule, re.fullmatch(pattern, text)) for pattern, rule in _RULES)
    return next((list(rule(*match.groups(""))) for rule, match in matches if match), [])


def _word(token: str) -> list[Reading]:
    """A word as it is; capitals and letters with stops may be spelt out, too."""
    plain = re.sub(r"^[\W_]+|[\W_]+$", "", token).replace("’", "'")
    if re.fullmatch(r"(?:[^\W\d_]\.)+[^\W\d_]?", plain):
        return [tuple(plain.lower().replace(".", ""))]
    parts = re.findall(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)*|[&@%+=]", plain)
    if any(part.isdecimal() or part in ABBREVIATIONS for part in parts):
        return _joined(*(readings(part) for part in parts))
    whole: list[Reading] = [(plain.lower(),)] if plain else []
    if plain.isalpha() and plain.isupper() and 1 < len(plain) <= 5:
        whole.append(tuple(plain.lower()))
    return [*whole, tuple(part.lower() for part in parts)] if len(parts) > 1 and "-" in plain else whole


def _alternatives(text: str) -> list[Reading]:
    return [tuple(each.split()) for each in text.split("/")]


def _joined(*parts: Iterable[Reading]) -> list[Reading]:
    """Every reading of the first followed by every one of the second, and so on, the usual ones first."""
    ways = itertools.product(*(list(part)[:MOST] for part in parts))
    return [tuple(itertools.chain(*way)) for way in itertools.islice(ways, MOST)]


def _spoken(number: int | str, form: str = "cardinal") -> Reading:
    return tuple(re.sub("[-,]", " ", num2words(number, to=form)).split())


def _without_and(ways: Iterable[Reading]) -> Iterator[Reading]:
    for way in ways:
        yield way
        yield tuple(word for word in way if word != "and")


def _digits(digits: str) -> list[Reading]:
    """One by one; 0 is zero or oh."""
    zero = tuple(_spoken(int(digit))[0] for digit in digits)
    return list(dict.fromkeys([zero, tuple("oh" if word == "zero" else word for word in zero)]))


def _cardinal(number: str) -> list[Reading]:
    """Whole numbers, as quantity, as year, and digit by digit."""
    digits = number.replace(",", "")
    if len(digits) > LONGEST_NUMBER or (digits[0] == "0" and len(digits) > 1):
        return _digits(digits)
    quantity = list(_without_and([_spoken(int(digits))]))
    if "," in number or len(digits) < 3:
        return list(dict.fromkeys(quantity))
    in_pairs = _in_pairs(digits) if len(digits) in (3, 4) else []
    usual = [*in_pairs, *quantity] if 1100 <= int(digits) < 2000 else [*quantity, *in_pairs]
    return list(dict.fromkeys([*usual, *_digits(digits)]))


def _in_pairs(digits: str) -> list[Reading]:
    """As years and rooms are read: nineteen ninety eight, nineteen oh five, nineteen hundred, five fifty."""
    hundreds, rest = _spoken(int(digits[:-2])), int(digits[-2:])
    if rest == 0:
        return [(*hundreds, "hundred")]
    if rest < 10:
        few = _spoken(rest)
        return [(*hundreds, "oh", *few), *_without_and([(*hundreds, "hundred", "and", *few)])]
    return [(*hundreds, *_spoken(rest))]


def _decimal(whole: str, after: str) -> list[Reading]:
    before = _cardinal(whole)[:2] if whole else []
    return _joined([*before, *([()] if whole in ("", "0") else [])], [("point",)], _digits(after))


def _number(number: str) -> list[Reading]:
    whole, point, after = number.partition(".")
    return _decimal(whole, after) if point else _cardinal(whole)


def _signed(sign: str, number: str) -> list[Reading]:
    return _joined([("plus",)] if sign == "+" else [("minus",), ("negative",), ()], _number(number))


def _ordinal(number: str, _: str) -> Iterable[Reading]:
    return _without_and([_spoken(int(number.replace(",", "")[:LONGEST_NUMBER]), "ordinal")])


def _plural(number: str) -> list[Reading]:
    """As in the 1990s."""
    return [(*way[:-1], _several(way[-1])) for way in _cardinal(number)]


def _several(word: str) -> str:
    if word.endswith("y"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith("x") else "s")


def _amount(sign: str, number: str, scale: str) -> list[Reading]:
    one, many, small, smalls = CURRENCIES[sign]
    whole, _, after = number.partition(".")
    name = (one if whole == "1" and not scale else many,)
    if scale or len(after) != 2:
        return _joined(_number(number), [(SCALES[scale],) if scale else ()], [name])
    if after == "00":
        return _joined(_cardinal(whole), [name])
    cents = _cardinal(after.lstrip("0"))
    named = _joined(cents, [(small if after == "01" else smalls,)])
    if whole in ("", "0"):
        return named
    together = _joined(_cardinal(whole), [name], [()], named)[:2]
    return [
        *together,
        *_joined(_cardinal(whole)[:2], [(*name, "and")], named),
        *_joined(_cardinal(whole)[:2], cents),
    ]


def _time(hour: str, minute: str, half: str) -> list[Reading]:
    minutes = [(), ("o'clock",)] if minute == "00" else _cardinal(minute.lstrip("0"))
    if minute[0] == "0" and minute != "00":
        minutes = _joined([("oh",), ()], minutes)
    return _joined(_cardinal(str(int(hour))), minutes, _alternatives(UNITS[half]) if half else [()])


def _fraction(above: str, below: str) -> list[Reading]:
    number, name = _cardinal(above)[:2], ("half",) if below == "2" else _spoken(int(below[:3]), "ordinal")
    if above != "1":
        name = (*name[:-1], "halves" if below == "2" else _several(name[-1]))
    named = _joined(number, [name])
    if below == "4":
        named += _joined(number, [("quarter" if above == "1" else "quarters",)])
    return [*named, *_joined(number, [("over",), ()], _cardinal(below))]


def _range(one: str, other: str) -> list[Reading]:
    """From one to the other, or two numbers in a row, as of a telephone."""
    between = _joined(_number(one)[:2], [("to",), ()], _number(other)[:2])
    return (
        [*between, *_joined(_digits(one)[:1], _digits(other)[:1])] if (one + other).isdecimal() else between
    )


def _measure(number: str, unit: str) -> list[Reading]:
    return _joined(_number(number), _alternatives(UNITS[unit]))


_UNIT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_RULES: list[tuple[str, Callable[..., Iterable[Reading]]]] = [
    (rf"({_NUMBER})", _number),
    (rf"([-+])({_NUMBER})", _signed),
    (r"([\d,]*\d)(st|nd|rd|th)", _ordinal),
    (r"'?(\d+0)'?s", _plural),
    (rf"([$£€¥])({_NUMBER})(k|m|bn)?", _amount),
    (r"([01]?\d|2[0-4]):([0-5]\d)(am|pm)?", _time),
    (r"(\d+)/(\d*[1-9]\d*)", _fraction),
    (rf"({_NUMBER})[-–]({_NUMBER})", _range),
    (rf"({_NUMBER})({_UNIT})", _measure),
    (rf"#({_NUMBER})", lambda number: _joined([("number",), ("hash",)], _number(number))),
]
"""What a token looks like, and what it then reads as, of its groups; the first that fits counts."""
