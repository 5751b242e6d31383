"""Word boundaries of human labellers beside ours and pocketsphinx's, on the same recordings in one process.

Ours learns the corpus from its texts first; pocketsphinx has a model of its own, made of far more speech.
"""

import json as json_text
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from gtn_ebm import GtnEbmError
from gtn_ebm.io.files import write_whole
from recipes.speech_alignment import Corpus, FileAlignment, Interval, Lexicon, Recording, SpeechAligner
from recipes.speech_alignment.scoring import score

RATE = 16_000
HOP = 0.01
"""Seconds from one frame of pocketsphinx to the next."""

FIELDS = ("matched", "mean_ms", "median_ms", "within_10_ms", "within_20_ms", "within_50_ms")


def by_pocketsphinx(recording: Recording) -> FileAlignment:
    """Two passes: the words, and then, with their pronunciations known, the phones."""
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=RATE, loglevel="FATAL")
    samples = (recording.sound(RATE).samples * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)
    text = "".join(c for c in recording.text.lower().replace("-", " ") if c.isalpha() or c in " '")
    words = [word for word in text.split() if decoder.lookup_word(word) is not None]
    decoder.set_align_text(" ".join(words))
    for second in (False, True):
        if second:
            decoder.set_alignment()
        decoder.start_utt()
        decoder.process_raw(samples.tobytes(), full_utt=True)
        decoder.end_utt()
    alignment = decoder.get_alignment()
    if alignment is None:
        raise RuntimeError("pocketsphinx finds no way to align it")
    found = [
        Interval(word.start * HOP, (word.start + word.duration) * HOP, word.name.partition("(")[0])
        for word in alignment
        if not word.name.startswith(("<", "["))
    ]
    return FileAlignment(recording.name, len(samples) / RATE, tuple(found))


def aligned(
    corpus: Corpus, align: Callable[[Recording], FileAlignment]
) -> tuple[dict[str, FileAlignment], float]:
    """Of each recording that can be aligned, and the seconds it took."""
    found, start = {}, time.perf_counter()
    for recording in corpus:
        try:
            found[recording.name] = align(recording)
        except (GtnEbmError, RuntimeError) as error:
            print(f"{recording.name}: {error}")
    return found, time.perf_counter() - start


def main(
    corpus: Annotated[
        Path, typer.Option(help="Folder as of recipes.speech_alignment, with .wrd and .phn.")
    ] = Path("../shared/data/timit_sample"),
    lexicon: Annotated[Path | None, typer.Option(help="timitdic.txt in the corpus where omitted.")] = None,
    model: Annotated[Path | None, typer.Option(help="Folder of a trained model, to go on from.")] = None,
    json: Annotated[Path | None, typer.Option(help="A file to keep the figures in.")] = None,
) -> None:
    """Trains, aligns, and compares with the labels of the corpus."""
    torch.set_num_threads(1)
    given, words = Corpus(corpus), Lexicon.read(lexicon or corpus / "timitdic.txt")
    start = time.perf_counter()
    aligner = SpeechAligner.train(given, words, model, print)
    report: dict[str, Any] = {"training_seconds": time.perf_counter() - start}
    reference = {recording.name: recording.reference for recording in given if recording.reference}
    for name, align in {"gtn_ebm": aligner.align, "pocketsphinx": by_pocketsphinx}.items():
        found, seconds = aligned(given, align)
        sound = sum(one.duration for one in found.values())
        report[name] = {"times_real_time": sound / seconds, **score(reference, found)}
        for kind in ("words", "phones"):
            figures = report[name][kind]
            if figures["boundaries"]:
                shown = "  ".join(f"{field} {figures[field]:.3g}" for field in FIELDS)
                print(f"{name:13} {kind:7} {shown}")
        print(f"{name:13} {len(found)} of {len(given)} recordings, {sound / seconds:.0f} × real time")
    if json:
        write_whole(json, json_text.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
