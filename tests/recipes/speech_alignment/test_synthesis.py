from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gtn_ebm import DataError
from recipes.speech_alignment.formats import alignment_files, read_alignment
from recipes.speech_alignment.synthesis import VOICES, Voice, sentences, speak, write_corpus

TEXT = "A young farmer sold seven yellow apples, and nobody asked why."


def test_words_and_phones_have_their_times() -> None:
    speech = speak(TEXT, VOICES[0], "a/b")
    words, phones = speech.alignment.words, speech.alignment.phones
    assert speech.alignment.name == "a/b"
    assert [word.label for word in words] == TEXT.lower().replace(",", "").replace(".", "").split()
    assert speech.alignment.duration == len(speech.samples) / speech.rate
    assert all(one.end <= other.start for one, other in pairwise(words))
    assert all(one.start < one.end <= other.start for one, other in pairwise(phones))
    rest = list(phones)
    for word, pronunciation in zip(words, speech.pronunciations, strict=True):
        spoken, rest = rest[: len(pronunciation)], rest[len(pronunciation) :]
        assert tuple(phone.label for phone in spoken) == pronunciation
        assert (spoken[0].start, spoken[-1].end) == (word.start, word.end)
    assert rest == []


def test_it_is_loud_in_words_and_quiet_in_the_pause() -> None:
    speech = speak(TEXT)

    def loudness(start: float, end: float) -> float:
        part = speech.samples[int(start * speech.rate) : int(end * speech.rate)]
        return float(np.sqrt(np.mean(part**2)))

    words = speech.alignment.words
    quiet = loudness(words[6].end + 0.05, words[7].start - 0.02)
    assert words[7].start - words[6].end > 0.1
    assert all(loudness(word.start, word.end) > 10 * quiet for word in words)


def test_speakers_differ() -> None:
    durations = {speak(TEXT, voice).alignment.duration for voice in VOICES}
    assert len(durations) == len(VOICES)


@pytest.mark.parametrize("text", ["he sat in the boat", "hello --- there", ""])
def test_what_cannot_be_told_apart_is_refused(text: str) -> None:
    if not text:
        assert speak(text).alignment.words == ()
    else:
        with pytest.raises(DataError, match="together"):
            speak(text)


def test_unknown_voice() -> None:
    with pytest.raises(DataError, match="no voice 'nobody-speaks-so'"):
        speak("hello", Voice("nobody-speaks-so", 150, 50))


def test_sentences_are_those_of_the_seed() -> None:
    assert list(islice(sentences(1), 5)) == list(islice(sentences(1), 5)) != list(islice(sentences(2), 5))


def test_corpus(tmp_path: Path) -> None:
    write_corpus(tmp_path, 7, seed=3, voices=VOICES[:2])
    lexicon = [line.split() for line in (tmp_path / "lexicon.txt").read_text().splitlines()]
    references = alignment_files(tmp_path / "reference")
    sounds = sorted((tmp_path / "corpus").rglob("*.wav"))
    assert len(sounds) == 7
    assert {sound.parent.name for sound in sounds} == {"speaker1", "speaker2"}
    for sound in sounds:
        name = sound.relative_to(tmp_path / "corpus").with_suffix("").as_posix()
        reference = read_alignment(references[name])
        assert reference.duration == pytest.approx(soundfile.info(sound).duration, abs=1e-6)
        text = sound.with_suffix(".txt").read_text().lower().replace(",", "").replace(".", "").split()
        assert [word.label for word in reference.words] == text
        for word in reference.words:
            phones = [p.label for p in reference.phones if word.start <= p.start < word.end]
            assert [word.label, *phones] in lexicon
