"""Strings of spoken digits: where their words begin and end, of which the truth is known, and which they are.

A model is learnt from strings of the training part of the Free Spoken Digit Dataset, from their texts alone.
It aligns strings of the test part with their texts, and recognises them without: any digits, as many as there
may be.
"""

import json as json_text
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from gtn_ebm import Symbols
from gtn_ebm.io.files import write_whole
from recipes.speech_alignment import Corpus, FileAlignment, SpeechAligner
from recipes.speech_alignment.digits import LEXICON, TEST, TRAINING, WORDS, write_strings
from recipes.speech_alignment.recognition import loop, recognise_recording
from recipes.speech_alignment.scoring import edits, score

FIELDS = ("boundaries", "mean_ms", "median_ms", "within_10_ms", "within_20_ms", "within_50_ms")


def aligned(aligner: SpeechAligner, corpus: Corpus) -> dict[str, Any]:
    """How far boundaries of words are from the edges of the recordings that were joined, in all and of each
    speaker; and how many words are flagged, of all."""
    reference = {name: corpus[name].reference for name in corpus.names}
    found: dict[str, FileAlignment] = {name: aligner.align(corpus[name]) for name in corpus.names}
    report = {"all": score(reference, found)["words"]}
    for speaker, names in by_speaker(corpus).items():
        report[speaker] = score({n: reference[n] for n in names}, {n: found[n] for n in names})["words"]
    flagged = sum(bool(word.flags) for one in found.values() for word in one.words)
    return {**report, "flagged": flagged}


def recognised(aligner: SpeechAligner, corpus: Corpus) -> dict[str, Any]:
    """Words, and the edits that make what is recognised what was said, in all and of each speaker."""
    words = Symbols(WORDS)
    grammar = loop(aligner.model, aligner.lexicon, words)
    report: dict[str, Any] = {}
    for speaker, names in by_speaker(corpus).items():
        texts = {name: corpus[name].text.split() for name in names}
        found = {name: recognise_recording(aligner.model, corpus[name], grammar, words) for name in names}
        counts = {"words": sum(map(len, texts.values())), "edits": 0}
        counts["edits"] = sum(edits(text, found[name]) for name, text in texts.items())
        report[speaker] = counts
    total = {key: sum(counts[key] for counts in report.values()) for key in ("words", "edits")}
    return {"all": {**total, "word_errors": total["edits"] / total["words"]}, **report}


def by_speaker(corpus: Corpus) -> dict[str, list[str]]:
    """The names of recordings, by the folders that these are in."""
    names: dict[str, list[str]] = defaultdict(list)
    for name in corpus.names:
        names[name.partition("/")[0]].append(name)
    return names


def main(
    recordings: Annotated[Path, typer.Option(help="Folder of DIGIT_SPEAKER_TAKE.wav.")] = Path(
        "../shared/data/fsdd/recordings"
    ),
    out: Annotated[Path | None, typer.Option(help="Folder for strings and model, kept.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often test recordings are used.")] = 2,
    json: Annotated[Path | None, typer.Option(help="A file to keep the figures in.")] = None,
) -> None:
    """Makes strings, learns, aligns and recognises."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary)
        write_strings(recordings, folder / "training", TRAINING, seed=0)
        write_strings(recordings, folder / "test", TEST, rounds, seed=1)
        start = time.process_time()
        aligner = SpeechAligner.train(Corpus(folder / "training"), LEXICON, folder / "model", print)
        report: dict[str, Any] = {"training_seconds": time.process_time() - start}
        corpus = Corpus(folder / "test")
        report |= {"aligned": aligned(aligner, corpus), "recognised": recognised(aligner, corpus)}
    print(f"{len(corpus)} strings; {report['training_seconds']:.0f} s of processor time to learn")
    for speaker, figures in report["recognised"].items():
        shown = "  ".join(f"{field} {report['aligned'][speaker][field]:.3g}" for field in FIELDS)
        print(f"{speaker:10} {shown}  edits {figures['edits']} of {figures['words']}")
    if json:
        write_whole(json, json_text.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
