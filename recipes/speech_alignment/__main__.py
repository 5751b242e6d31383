"""The commands of the speech aligner: train, align, score, recognise, demo."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from tqdm import tqdm

from gtn_ebm import DataError
from gtn_ebm.io.files import write_whole
from recipes.commands import check_can_be_made, check_is_folder, complain, run, stoppable
from recipes.speech_alignment.aligner import SpeechAligner
from recipes.speech_alignment.cluster import LOCAL, spread
from recipes.speech_alignment.corpus import Corpus
from recipes.speech_alignment.formats import alignment_files, read_alignment
from recipes.speech_alignment.intervals import FileAlignment
from recipes.speech_alignment.jobs import Job, Source
from recipes.speech_alignment.lexicon import Lexicon
from recipes.speech_alignment.pool import side_by_side
from recipes.speech_alignment.recognition import loop, read_words, recognise_recording
from recipes.speech_alignment.scoring import edits, plain
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
ModelFolder = Annotated[Path | None, typer.Option("--model", help="Folder that train made.")]
Model = Annotated[Path, typer.Option("--model", help="Folder that train made.")]
Words = Annotated[Path, typer.Option("--words", help="The words that may occur, blanks or lines between.")]
AlignmentsOut = Annotated[Path, typer.Option("--out", help="Folder for the alignments.")]
Formats = Annotated[str, typer.Option("--format", help="textgrid, ctm, json, srt, vtt, csv, commas between.")]
Jobs = Annotated[int, typer.Option(min=1, help="Processes that align at the same time.")]
Pictures = Annotated[str | None, typer.Option(help="png or svg: a picture of each recording, too.")]
Player = Annotated[bool, typer.Option("--player", help="A page to listen to for each recording, too.")]
Cluster = Annotated[
    str | None,
    typer.Option(help=f"Address of a Ray cluster that shares the folders and does the work, or '{LOCAL}'."),
]
Pretrained = Annotated[
    str | None, typer.Option(help="In place of a model: a network of torchaudio.pipelines, such as MMS_FA.")
]
Weights = Annotated[Path | None, typer.Option(help="File of its weights; else they are downloaded.")]
EmissionsFolder = Annotated[
    Path | None,
    typer.Option("--emissions", help="In place of a model: a folder of ID.npy or ID.pt, frames × tokens."),
]
Tokens = Annotated[Path | None, typer.Option(help="The name of each column of the emissions, one a line.")]
DemoOut = Annotated[
    Path | None, typer.Option("--out", help="Folder for all of it; out/speech where omitted.")
]
Short = Annotated[bool, typer.Option("--short", help="A minute only, to see that all works.")]
Reference = Annotated[Path, typer.Option("--ref", help="Folder of alignments that are right.")]
Hypothesis = Annotated[Path, typer.Option("--hyp", help="Folder of alignments to compare with them.")]
Report = Annotated[Path | None, typer.Option("--json", help="Write the whole report here.")]


@app.command()
def train(corpus: CorpusFolder, lexicon: LexiconFile, out: ModelOut) -> None:
    """Learns the sounds of a corpus from its recordings, texts and lexicon alone."""
    check_is_folder(out)
    recordings, words = Corpus(corpus), Lexicon.read(lexicon)
    failed: list[str] = []

    def note(message: str) -> None:
        failed.append(message)
        _complain(message)

    with (
        stoppable("from the last whole sweep"),
        tqdm(unit=" recordings", desc="training", mininterval=1) as bar,
    ):

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        SpeechAligner.train(recordings, words, out, note, progress)
    _end("learnt from", len(recordings), failed)


@app.command()
def align(
    corpus: CorpusFolder,
    out: AlignmentsOut,
    model: ModelFolder = None,
    formats: Formats = "textgrid",
    jobs: Jobs = 1,
    lexicon: OtherLexicon = None,
    pictures: Pictures = None,
    player: Player = False,
    cluster: Cluster = None,
    pretrained: Pretrained = None,
    weights: Weights = None,
    emissions: EmissionsFolder = None,
    tokens: Tokens = None,
) -> None:
    """Aligns every recording of a corpus with its text; one that is done already is left as it is."""
    check_is_folder(out)
    files = (
        None if path is None else str(path.resolve()) for path in (model, lexicon, weights, emissions, tokens)
    )
    of_model, of_lexicon, of_weights, scores, of_tokens = files
    source = Source(of_model, of_lexicon, pretrained, of_weights, scores, of_tokens)
    names = tuple(name.strip() for name in formats.split(","))
    job = Job(source, str(corpus.resolve()), str(out.resolve()), names, pictures, player)
    job.check()  # what is wrong with it is wrong at once
    recordings = Corpus(corpus).names
    failed = []
    done = side_by_side(job, recordings, jobs) if cluster is None else spread(job, recordings, cluster)
    with stoppable("with the recordings that are left"):
        for name, error in tqdm(done, total=len(recordings), unit=" recordings", desc="aligning"):
            if error is not None:
                _complain(f"{name}: {error}")
                failed.append(name)
    aligned = set(recordings).difference(failed)
    flagged = [count for name in aligned if (count := job.flagged(name))]
    if flagged:
        typer.echo(f"{sum(flagged)} words are flagged, in {len(flagged)} recordings: look at these", err=True)
    _end("aligned", len(recordings), failed)


@app.command()
def score(ref: Reference, hyp: Hypothesis, json_file: Report = None) -> None:
    """Compares the boundaries of words and phones with those of a reference."""
    check_can_be_made(json_file)
    files, others = _alignments(ref), _alignments(hyp)
    failed: list[str] = []
    reference = _read_all(files, failed)
    found = _read_all({name: others[name] for name in reference if name in others}, failed)
    if not found:
        raise DataError(f"{hyp}: holds no alignment of a recording of {ref} that can be read")
    report = score_alignments(reference, found)
    if json_file is not None:
        write_whole(json_file, json.dumps(report, indent=1) + "\n")
    typer.echo(json.dumps({name: value for name, value in report.items() if name != "files"}, indent=1))
    if failed:
        raise typer.Exit(1)


def _alignments(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    files = alignment_files(folder)
    if not files:
        raise DataError(f"{folder}: holds no alignment")
    return files


def _read_all(files: Mapping[str, Path], failed: list[str]) -> dict[str, FileAlignment]:
    """The alignments by their names, without those that cannot be read."""
    alignments = {}
    for name, path in files.items():
        try:
            alignments[name] = read_alignment(path, name)
        except DataError as error:
            complain(str(error))
            failed.append(name)
    return alignments


@app.command()
def recognise(corpus: CorpusFolder, model: Model, words: Words) -> None:
    """Says which of a few words are spoken in each recording, in any order; with the words of those that have
    a text, how many edits make one the other."""
    recordings, aligner, vocabulary = Corpus(corpus), SpeechAligner.load(model), read_words(words)
    grammar = loop(aligner.model, aligner.lexicon, vocabulary)
    failed, wrong, expected = list[str](), 0, 0
    for name in recordings.names:
        try:
            recording = recordings[name]
            found = recognise_recording(aligner.model, recording, grammar, vocabulary)
        except DataError as error:
            complain(f"{name}: {error}")
            failed.append(name)
            continue
        typer.echo(f"{name}\t{' '.join(found)}")
        text = list(filter(None, map(plain, (recording.transcript or "").split())))
        if text:
            wrong, expected = wrong + edits(text, list(map(plain, found))), expected + len(text)
    if expected:
        typer.echo(f"{wrong} edits for {expected} words: {wrong / expected:.2%}", err=True)
    _end("recognised", len(recordings), failed)


@app.command()
def demo(out: DemoOut = None, short: Short = False) -> None:
    """Synthesises speech, trains on it, aligns it, scores it, and makes a page to look at and listen to."""
    from recipes.speech_alignment.demo import ENOUGH, FEW
    from recipes.speech_alignment.demo import run as run_demo

    folder = out or Path("out/speech/short" if short else "out/speech")
    check_is_folder(folder)
    with stoppable():
        page = run_demo(folder, FEW if short else ENOUGH)
    typer.echo(f"open {page}")


def _complain(message: str) -> None:
    """On a line of its own, not behind a bar."""
    with tqdm.external_write_mode():
        complain(message)


def _end(what: str, recordings: int, failed: Sequence[str]) -> None:
    typer.echo(f"{what} {recordings - len(failed)} of {recordings} recordings", err=True)
    if failed:
        raise typer.Exit(1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command; what is wrong with its input becomes one line and exit code 2, what is wrong with some
    of the recordings a line each and exit code 1.

    Args:
        arguments: the command and its options; those of the command line where None.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(os.cpu_count() or 1)
    run(app, arguments)


if __name__ == "__main__":
    main()
