"""The commands of the speech aligner: train, align, score."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from tqdm import tqdm

from gtn_ebm import DataError, GtnEbmError
from gtn_ebm.io.files import write_whole
from recipes.commands import complain, run, stoppable
from recipes.speech_alignment.aligner import SpeechAligner
from recipes.speech_alignment.corpus import Corpus
from recipes.speech_alignment.formats import alignment_files, format_by_name, read_alignment, write_alignment
from recipes.speech_alignment.lexicon import Lexicon
from recipes.speech_alignment.scoring import score as score_alignments

app = typer.Typer(
    help="Finds the times of words and phones in recordings of which the text is known.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

CorpusFolder = Annotated[
    Path,
    typer.Option("--corpus", help="Folder of ID.wav or ID.flac, each with ID.txt, ID.lab or ID.TextGrid."),
]
LexiconFile = Annotated[Path, typer.Option("--lexicon", help="Lines of a word and its phones.")]
OtherLexicon = Annotated[Path | None, typer.Option("--lexicon", help="Another than the one trained with.")]
ModelOut = Annotated[Path, typer.Option("--out", help="Folder for the model; goes on where it stopped.")]
ModelFolder = Annotated[Path, typer.Option("--model", help="Folder that train made.")]
AlignmentsOut = Annotated[Path, typer.Option("--out", help="Folder for the alignments.")]
Formats = Annotated[str, typer.Option("--format", help="textgrid, ctm, json, srt, vtt, csv, commas between.")]
Jobs = Annotated[int, typer.Option(min=1, help="Processes that align at the same time.")]
Reference = Annotated[Path, typer.Option("--ref", help="Folder of alignments that are right.")]
Hypothesis = Annotated[Path, typer.Option("--hyp", help="Folder of alignments to compare with them.")]
Report = Annotated[Path | None, typer.Option("--json", help="Write the whole report here.")]


@app.command()
def train(corpus: CorpusFolder, lexicon: LexiconFile, out: ModelOut) -> None:
    """Learns the sounds of a corpus from its recordings, texts and lexicon alone."""
    _check_is_folder(out)
    failed: list[str] = []

    def note(message: str) -> None:
        failed.append(message)
        complain(message)

    with stoppable(), tqdm(unit="recording", desc="training", mininterval=1) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        SpeechAligner.train(Corpus(corpus), Lexicon.read(lexicon), out, note, progress)
    _end("learnt from", len(Corpus(corpus)), failed)


@app.command()
def align(
    model: ModelFolder,
    corpus: CorpusFolder,
    out: AlignmentsOut,
    formats: Formats = "textgrid",
    jobs: Jobs = 1,
    lexicon: OtherLexicon = None,
) -> None:
    """Aligns every recording of a corpus with its text; one that is done already is left as it is."""
    _check_is_folder(out)
    names = [name.strip() for name in formats.split(",")]
    for name in names:
        format_by_name(name)
    one = partial(
        _align_one, str(model), None if lexicon is None else str(lexicon), str(corpus), str(out), names
    )
    _aligner(str(model), None if lexicon is None else str(lexicon))  # what is wrong with it is wrong at once
    recordings = Corpus(corpus).names
    failed = []
    with stoppable():
        for name, error in tqdm(
            _map(one, recordings, jobs), total=len(recordings), unit="recording", desc="aligning"
        ):
            if error is not None:
                complain(f"{name}: {error}")
                failed.append(name)
    _end("aligned", len(recordings), failed)


@app.command()
def score(ref: Reference, hyp: Hypothesis, json_file: Report = None) -> None:
    """Compares the boundaries of words and phones with those of a reference."""
    for folder in (ref, hyp):
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder")
    reference = {name: read_alignment(path, name) for name, path in alignment_files(ref).items()}
    found = {
        name: read_alignment(path, name) for name, path in alignment_files(hyp).items() if name in reference
    }
    if not reference:
        raise DataError(f"{ref}: holds no alignment")
    report = score_alignments(reference, found)
    if json_file is not None:
        write_whole(json_file, json.dumps(report, indent=1) + "\n")
    typer.echo(json.dumps({name: value for name, value in report.items() if name != "files"}, indent=1))


@cache
def _aligner(model: str, lexicon: str | None) -> SpeechAligner:
    return SpeechAligner.load(Path(model), None if lexicon is None else Lexicon.read(Path(lexicon)))


@cache
def _corpus(folder: str) -> Corpus:
    return Corpus(Path(folder))


def _align_one(
    model: str, lexicon: str | None, corpus: str, out: str, formats: Sequence[str], name: str
) -> tuple[str, str | None]:
    """The name, and what is wrong with the recording."""
    torch.set_num_threads(1)
    try:
        recording = _corpus(corpus)[name]
        digest = _digest(Path(model), lexicon, recording.audio, recording.text, formats)
        mark = Path(out) / ".done" / f"{name}.sha256"
        files = [
            Path(out) / f"{name}{suffix}" for each in formats for suffix in format_by_name(each).suffixes
        ]
        if mark.exists() and mark.read_text() == digest and all(file.exists() for file in files):
            return name, None
        alignment = _aligner(model, lexicon).align(recording)
        for format_name in formats:
            write_alignment(alignment, Path(out), format_name)
        mark.parent.mkdir(parents=True, exist_ok=True)
        write_whole(mark, digest)
    except GtnEbmError as error:
        return name, str(error)
    return name, None


def _digest(model: Path, lexicon: str | None, audio: Path, text: str, formats: Sequence[str]) -> str:
    """Tells one input of an alignment from another."""
    stamps = [(path.stat().st_size, path.stat().st_mtime_ns) for path in (audio, model / "model.safetensors")]
    content = [stamps, lexicon, text, sorted(formats)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _map(function: Any, names: Sequence[str], jobs: int) -> Iterator[tuple[str, str | None]]:
    if jobs == 1:
        yield from map(function, names)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from pool.map(function, names, chunksize=4)


def _end(what: str, recordings: int, failed: Sequence[str]) -> None:
    typer.echo(f"{what} {recordings - len(failed)} of {recordings} recordings", err=True)
    if failed:
        raise typer.Exit(1)


def _check_is_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file; give the name of a folder")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command; what is wrong with its input becomes one line and exit code 2, with some of the
    recordings a line each and exit code 1.

    Args:
        arguments: the command and its options; those of the command line where None.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(os.cpu_count() or 1)
    run(app, arguments)


if __name__ == "__main__":
    main()
