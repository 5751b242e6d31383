"""The whole path on speech synthesised on the spot, as a lesson and as a test that all works."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import soundfile
from tqdm import tqdm

from gtn_ebm.io.files import write_whole
from recipes.speech_alignment.aligner import SpeechAligner
from recipes.speech_alignment.corpus import Corpus
from recipes.speech_alignment.formats import alignment_files, read_alignment, write_alignment
from recipes.speech_alignment.intervals import FileAlignment
from recipes.speech_alignment.lexicon import Lexicon
from recipes.speech_alignment.pictures import write_picture
from recipes.speech_alignment.player import write_player
from recipes.speech_alignment.scoring import score
from recipes.speech_alignment.synthesis import write_corpus

ENOUGH, FEW = 100, 30
"""Sentences of the whole demo, and of the short one."""

SHOWN = 3
"""Of these, with pictures and players."""


def run(out: Path, sentences: int) -> Path:
    """Synthesises speech, trains on texts alone, aligns, compares with the synthesiser's own times, and
    shows some of it, also with texts that are wrong.

    Args:
        out: folder for ``corpus/``, ``reference/``, ``lexicon.txt``, ``model/``, ``alignments/``,
            ``report.json`` and ``index.html``; a corpus that it holds already is used.
        sentences: to synthesise.

    Returns:
        The path of the HTML page.
    """
    if not (out / "lexicon.txt").exists():
        print(f"synthesising {sentences} sentences to {out}")
        write_corpus(out, sentences)
    corpus = Corpus(out / "corpus")
    aligner = _trained(corpus, Lexicon.read(out / "lexicon.txt"), out / "model")
    found = {recording.name: aligner.align(recording) for recording in tqdm(corpus, "aligning", len(corpus))}
    for alignment in found.values():
        write_alignment(alignment, out / "alignments", "textgrid")
    files = alignment_files(out / "reference")
    report = score({name: read_alignment(path, name) for name, path in files.items()}, found)
    write_whole(out / "report.json", json.dumps(report, indent=1) + "\n")
    words = report["words"]
    summary = (
        f"{len(found)} sentences by synthetic voices, trained on their texts alone: the boundaries of words "
        f"are {words['mean_ms']:.1f} ms off in the mean, {words['within_20_ms']:.0%} of them within 20 ms."
    )
    print(summary)
    shown = [
        *list(found.values())[:SHOWN],
        *_with_wrong_texts(aligner, corpus, corpus.names[SHOWN : 2 * SHOWN]),
    ]
    return _write_page(out, summary, corpus, shown)


def _trained(corpus: Corpus, lexicon: Lexicon, folder: Path) -> SpeechAligner:
    with tqdm(desc="training", unit=" recordings", mininterval=1) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return SpeechAligner.train(corpus, lexicon, folder, print, progress)


def _with_wrong_texts(aligner: SpeechAligner, corpus: Corpus, names: Iterable[str]) -> list[FileAlignment]:
    """Aligned with a word that was not spoken in place of the second, and without the last but one."""
    alignments = []
    for name in names:
        words = corpus[name].text.split()
        wrong = [words[0], "yellow" if words[1] != "yellow" else "quiet", *words[2:-2], words[-1]]
        alignments.append(aligner.align(replace(corpus[name], transcript=" ".join(wrong))))
    return alignments


def _write_page(out: Path, summary: str, corpus: Corpus, alignments: Sequence[FileAlignment]) -> Path:
    sections = []
    for number, alignment in enumerate(alignments):
        name = alignment.name
        samples, rate = soundfile.read(corpus[name].audio, dtype="float32")
        write_picture(out / f"picture{number}.png", alignment, samples, rate)
        write_player(out / f"player{number}.html", alignment, samples, rate)
        flags = [f"{word.label}: {', '.join(word.flags)}" for word in alignment.words if word.flags]
        note = f"flagged: {'; '.join(flags)}" if flags else "nothing flagged"
        sections.append(_SECTION.format(number=number, name=html.escape(name), note=html.escape(note)))
    write_whole(out / "index.html", _PAGE.format(summary=html.escape(summary), sections="".join(sections)))
    return out / "index.html"


_SECTION = """<section><h2>{name}</h2><p>{note}; <a href="player{number}.html">listen</a></p>
<img src="picture{number}.png" alt="waveform, spectrogram, words, phones and confidence of {name}"></section>
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Speech, aligned</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; }}
body {{ margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }}
section {{ border-top: 1px solid #ccc; }}
h2 {{ font-size: 1.1rem; }}
img {{ max-width: 100%; }}
</style></head><body><h1>Speech, aligned</h1><p>{summary} The last few were aligned with texts in which the
second word is wrong and the last but one is missing.</p>
{sections}</body></html>
"""
