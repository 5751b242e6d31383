"""What may have been said, as a graph over phones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gtn_ebm import EPSILON, Graph, GraphBuilder, Symbols
from recipes.speech_alignment.lexicon import Pronunciation

SILENCE = "sil"
STAR = "*"


class Token(NamedTuple):
    kind: str
    word: int
    phone: str


class Word(NamedTuple):
    label: str
    pronunciations: list[Pronunciation]
