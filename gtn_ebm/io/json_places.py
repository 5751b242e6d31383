"""Where in a JSON text something is: looked for only when an error is to say so."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence

_SPACE = re.compile("[ \t\n\r]*")
_STRING = r'"(?:[^"\\]++|\\.)*+"'
_TOKEN = re.compile(rf"{_STRING}|[\[{{\]}}]|-?(?:NaN|Infinity)|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.DOTALL)


def shown(text: str, place: int) -> str:
    """Line, column and byte of a place."""
    before = text[:place]
    line, column = before.count("\n") + 1, place - before.rfind("\n")
    return f"line {line}, column {column}, byte {len(before.encode())}"


def of_value(text: str, keys: Sequence[str | int]) -> int:
    """Where the value begins to which these keys lead from outside in, or the last there is on the way."""
    begin = _past_space(text, 0)
    try:
        for key in keys:
            found = [place for other, place in _entries(text, begin) if other == key]
            if not found:
                break
            begin = found[-1]  # of two members of one name the last counts
    except RecursionError:
        pass
    return begin


def _entries(text: str, begin: int) -> Iterator[tuple[str | int, int]]:
    """The key of each entry of the object or list that begins here, and where its value begins."""
    decode = json.JSONDecoder().raw_decode
    if text[begin] not in "[{":
        return
    key: str | int = -1
    at = _past_space(text, begin + 1)
    while text[at] not in "]}":
        if text[begin] == "{":
            key, at = decode(text, at)
            at = _past_space(text, _past_space(text, at) + 1)  # behind the colon
        else:
            key = int(key) + 1
        yield key, at
        at = _past_space(text, decode(text, at)[1])
        at = _past_space(text, at + (text[at] == ","))


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def of_what_is_no_number(text: str) -> int:
    """Where the first constant is that only some know, such as NaN, or integer of too many digits."""
    most = sys.get_int_max_str_digits() or len(text)
    for token in _TOKEN.finditer(text):
        digits = token[0].lstrip("-")
        if digits in ("NaN", "Infinity") or (digits.isdigit() and len(digits) > most):
            return token.start()
    return 0


def of_deepest(text: str) -> int:
    """Where the bracket is that most others are open around."""
    depth = most = place = 0
    for token in _TOKEN.finditer(text):
        depth += (token[0] in "[{") - (token[0] in "]}")
        if depth > most:
            most, place = depth, token.start()
    return place
