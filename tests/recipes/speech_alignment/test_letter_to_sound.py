import itertools
import math
import random
from pathlib import Path

import pytest
import torch

from gtn_ebm import DataError, Graph, compose, free_energy
from recipes.speech_alignment import letter_to_sound
from recipes.speech_alignment.letter_to_sound import Graphone, LetterToSound

SOUNDS = {
    "a": "æ",
    "e": "ɛ",
    "i": "ɪ",
    "o": "ɒ",
    "u": "ʌ",
    "k": "k",
    "b": "b",
    "d": "d",
    "t": "t",
    "n": "n",
    "x": "k s",
}
Lexicon = dict[str, list[tuple[str, ...]]]


def pronounced(word: str) -> tuple[str, ...]:
    """In a small language: x is two phones, e at the end none, and c is s before e and i, else k."""
    phones: list[str] = []
    for place, letter in enumerate(word):
        after = word[place + 1 : place + 2]
        if letter == "c":
            phones.append("s" if after in ("e", "i") else "k")
        elif not (letter == "e" and not after):
            phones += SOUNDS[letter].split()
    return tuple(phones)


@pytest.fixture(scope="module")
def words() -> list[str]:
    chance = random.Random(0)
    syllables = ["".join(parts) for parts in itertools.product("cbdtkn", "aeiou", ["", "x", "n", "ce", "te"])]
    return sorted({"".join(chance.choices(syllables, k=chance.randint(1, 3))) for _ in range(400)})


@pytest.fixture(scope="module")
def model(words: list[str]) -> LetterToSound:
    return LetterToSound.train({word: [pronounced(word)] for word in words[::2]})


def test_rules_are_learnt_from_examples(model: LetterToSound, words: list[str]) -> None:
    unseen = words[1::2]
    right = [model(word, 1)[0][0] == pronounced(word) for word in unseen]
    assert len(unseen) > 100
    assert sum(right) > 0.9 * len(unseen)


def test_letters_are_cut_where_they_sound(model: LetterToSound) -> None:
    graphones = {graphone for cut in model.cuts for graphone in cut}
    assert {Graphone("x", ("k", "s")), Graphone("c", ("s",)), Graphone("e", ())} <= graphones


def test_probabilities_are_those_of_all_cuts_together(model: LetterToSound) -> None:
    found = model("cexe", count=50)
    probabilities = [probability for _, probability in found]
    assert probabilities == sorted(probabilities, reverse=True)
    assert len({phones for phones, _ in found}) == len(found)
    assert 0.9 < sum(probabilities) <= 1 + 1e-9
    spelt = compose(
        Graph.linear(model.letters.labels("cexe")).to(torch.float64), model.transducer.with_symbols(None)
    )
    phones, probability = found[0]
    selected = compose(spelt, Graph.linear(model.phones.labels(phones)).to(torch.float64))
    assert probability == pytest.approx(math.exp(free_energy(spelt) - free_energy(selected)))


def test_where_no_answer_is_likely_the_best_paths_decide(
    model: LetterToSound, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = model("cexetabonice", 2)
    monkeypatch.setattr(letter_to_sound, "MOST_PREFIXES", 1)
    assert model("cexetabonice", 2)[0] == exact[0]


def test_several_pronunciations_of_a_word() -> None:
    lexicon: Lexicon = {"ab": [("æ", "b")], "ba": [("b", "æ"), ("b", "eɪ")], "bab": [("b", "æ", "b")]}
    found = dict(LetterToSound.train(lexicon)("ba", 10))
    assert {("b", "æ"), ("b", "eɪ")} <= set(found)


def test_saved_and_loaded_it_is_the_same(model: LetterToSound, tmp_path: Path) -> None:
    model.save(tmp_path / "model.json")
    loaded = LetterToSound.load(tmp_path / "model.json")
    for word in ("cexe", "babble".replace("l", "n"), "TIX"):
        assert loaded(word) == model(word)


def test_marks_and_accents_that_are_unknown_are_left_out(model: LetterToSound) -> None:
    assert model("Té-xa'", 1) == model("texa", 1)


@pytest.mark.parametrize("word", ["дом", "taz", "b2"])
def test_letters_never_seen(model: LetterToSound, word: str) -> None:
    with pytest.raises(
        DataError, match=rf"the word '{word}' has a letter '[дz2]'.*add the word to the lexicon"
    ):
        model(word)


def test_no_letters(model: LetterToSound) -> None:
    with pytest.raises(DataError, match="has no letters"):
        model("--")


@pytest.mark.parametrize("lexicon", [{}, {"w": [("d", "ʌ", "b", "l")]}, {"a": [()]}])
def test_nothing_to_learn_from(lexicon: Lexicon) -> None:
    with pytest.raises(DataError, match="words to learn from"):
        LetterToSound.train(lexicon)


def test_an_abbreviation_teaches_nothing(words: list[str]) -> None:
    entries: Lexicon = {"bad": [("b", "æ", "d")], "dr": [("d", "ɒ", "k", "t", "ɒ")]}
    assert len(LetterToSound.train(entries).cuts) == 1


@pytest.mark.parametrize(
    "content", ["", "[]", '{"cuts": [[[]]]}', '{"cuts": 3}', '{"cuts": []}', '{"cuts": [["a"']
)
def test_a_file_of_something_else(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(DataError):
        LetterToSound.load(tmp_path / "model.json")
    with pytest.raises(DataError, match="cannot be read"):
        LetterToSound.load(tmp_path / "none.json")


def wrong_phones(found: tuple[str, ...], right: tuple[str, ...]) -> int:
    """The edit distance."""
    row = list(range(len(right) + 1))
    for place, phone in enumerate(found, 1):
        before, row[0] = row[0], place
        for k, wanted in enumerate(right, 1):
            before, row[k] = row[k], min(row[k] + 1, row[k - 1] + 1, before + (phone != wanted))
    return row[-1]


@pytest.mark.data
def test_phone_errors_on_words_held_out_of_timits_lexicon(data_directory: Path) -> None:
    """600 words do not teach English spelling, but three phones in four are right."""
    lexicon: Lexicon = {}
    for line in (data_directory / "timit_sample" / "timitdic.txt").read_text().splitlines():
        if line.strip() and not line.startswith(";"):
            word, *phones = line.replace("/", " ").split()
            lexicon.setdefault(word.split("~")[0], []).append(tuple(phone.rstrip("012") for phone in phones))
    held_out = random.Random(0).sample(sorted(lexicon), len(lexicon) // 10)
    model = LetterToSound.train({word: each for word, each in lexicon.items() if word not in held_out})
    wrong = total = 0
    for word in held_out:
        errors = {phones: wrong_phones(model(word, 1)[0][0], phones) for phones in lexicon[word]}
        closest = min(errors, key=errors.__getitem__)
        wrong, total = wrong + errors[closest], total + len(closest)
    print(f"{wrong / total:.1%} of {total} phones wrong")
    assert wrong / total < 0.32
