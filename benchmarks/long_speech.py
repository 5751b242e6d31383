"""A recording of hours with its text: memory, speed, and what is lost against its sentences one by one.

It is joined from the recordings of a corpus in random order, with pauses of 0.1 to 1 s between them, so that
the place of every word is known.
"""

import json as json_text
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import torch
import typer

from benchmarks.timing import resident
from gtn_ebm.io.files import write_whole
from recipes.speech_alignment import Corpus, FileAlignment, Interval, Lexicon, SpeechAligner
from recipes.speech_alignment.audio import Samples
from recipes.speech_alignment.scoring import score

NOISE = 2e-4
"""Of pauses, the root of the mean square."""


def joined(
    corpus: Corpus, names: Sequence[str], rate: int, hours: float, path: Path
) -> list[tuple[str, float]]:
    """Writes a recording of so many hours; gives the names of its parts and where each begins, in seconds."""
    sounds: dict[str, Samples] = {name: corpus[name].sound(rate).samples for name in names}
    order, noise = random.Random(0), np.random.default_rng(0)
    parts, waiting, here = list[tuple[str, float]](), list[str](), 0
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as sound:
        while here < 3600 * hours * rate:
            waiting = waiting or order.sample(names, len(names))
            parts.append((waiting.pop(), here / rate))
            pause = noise.normal(0, NOISE, round(order.uniform(0.1, 1.0) * rate)).astype(np.float32)
            for samples in (sounds[parts[-1][0]], pause):
                sound.write(samples)
                here += len(samples)
    return parts


def moved(parts: Sequence[tuple[str, float]], of: dict[str, FileAlignment]) -> FileAlignment:
    """What is known of the parts, as one."""
    words = [
        Interval(word.start + time, word.end + time, word.label)
        for name, time in parts
        for word in of[name].words
        if not {"inserted", "repeated", "skipped"} & set(word.flags)
    ]
    return FileAlignment("joined", words[-1].end, tuple(words))


def main(
    corpus: Annotated[
        Path, typer.Option(help="Folder as of recipes.speech_alignment, with .wrd or .TextGrid.")
    ] = Path("../shared/data/timit_sample"),
    lexicon: Annotated[Path | None, typer.Option(help="timitdic.txt in the corpus where omitted.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Folder of a trained model; learnt anew where omitted.")
    ] = None,
    hours: Annotated[float, typer.Option(help="Of the recording.")] = 2.0,
    json: Annotated[Path | None, typer.Option(help="A file to keep the figures in.")] = None,
) -> None:
    """Joins a long recording, aligns it, and compares."""
    torch.set_num_threads(1)
    given, words = Corpus(corpus), Lexicon.read(lexicon or corpus / "timitdic.txt")
    aligner = SpeechAligner.load(model) if model else SpeechAligner.train(given, words, None, print)
    single = {name: aligner.align(given[name]) for name in given.names}
    people = {name: given[name].reference for name in given.names}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "joined.wav"
        parts = joined(given, given.names, aligner.model.rate, hours, path)
        text, before = "\n".join(given[name].text for name, _ in parts), resident("VmHWM")
        start = time.process_time()
        found = aligner.align(path, text)
        seconds = time.process_time() - start
    report: dict[str, Any] = {
        "seconds": found.duration,
        "words": len(found.words),
        "times_real_time": found.duration / seconds,
        "megabytes_before": before / 2**20,
        "megabytes": resident("VmHWM") / 2**20,
    }
    for name, known in (("one by one", single), ("people", people)):
        if all(known.values()):
            right = moved(parts, {part: one for part, one in known.items() if one})
            report[name] = score({"joined": right}, {"joined": found})["words"]
    print(json_text.dumps(report, indent=1))
    if json:
        write_whole(json, json_text.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
