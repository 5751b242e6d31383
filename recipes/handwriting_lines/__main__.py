"""The commands of the reader of lines: train, evaluate, read, align."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray

from gtn_ebm import DataError, GtnEbmError
from gtn_ebm.io.files import write_whole
from gtn_ebm.losses import LOSSES
from recipes.commands import (
    check_can_be_made,
    check_is_folder,
    check_names_differ,
    complain,
    printable,
    run,
    stoppable,
)
from recipes.handwriting_lines import pictures
from recipes.handwriting_lines.alignment import align as align_line
from recipes.handwriting_lines.alignment import as_csv, as_json
from recipes.handwriting_lines.criteria import CRITERIA
from recipes.handwriting_lines.data import PARTS, SYNTHETIC, SYNTHETIC_EPOCHS, load
from recipes.handwriting_lines.decoding import Answer, LineDecoder
from recipes.handwriting_lines.evaluation import Read
from recipes.handwriting_lines.evaluation import evaluate as evaluate_lines
from recipes.handwriting_lines.language_model import LEVELS, character_model, read_text, word_model
from recipes.handwriting_lines.line import Line
from recipes.handwriting_lines.reader import Letter, LineReader, loaded
from recipes.handwriting_lines.training import Material, Settings, Training

app = typer.Typer(
    help="Reads lines of handwriting, whole.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ModelFolder = Annotated[Path, typer.Option("--model", help="Folder that train made.")]
Data = Annotated[str, typer.Option(help="Folder of lines: Saint Gall, IAM, PAGE or ALTO; or 'synthetic'.")]
ModelOut = Annotated[
    Path, typer.Option(help="Folder for the model, its checkpoint and metrics.csv; goes on where it stopped.")
]
CriterionName = Annotated[str, typer.Option("--criterion", help=f"{', '.join(CRITERIA)}.")]
Loss = Annotated[str, typer.Option(help=f"Of the criterion ctc: {', '.join(LOSSES)}.")]
Epochs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Times that each line is seen.",
        show_default=f"{Settings.epochs}; {SYNTHETIC_EPOCHS} for '{SYNTHETIC}'",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Of weights, order and augmentation.")]
HoldOut = Annotated[
    int, typer.Option(min=0, help="Hold out every so many-th line and measure progress by it; 0 for none.")
]
Part = Annotated[str, typer.Option(help=f"{', '.join(PARTS)}.")]
ModelText = Annotated[
    Path | None,
    typer.Option("--lm", help="Text to make a language model of, such as texts.txt in the model's folder."),
]
Level = Annotated[str, typer.Option(help=f"Of the language model: {', '.join(LEVELS)}.")]
Report = Annotated[Path | None, typer.Option("--json", help="Write the whole report here.")]
ErrorPage = Annotated[
    Path | None, typer.Option("--errors", help="Write an HTML page of the lines read wrong here.")
]
Best = Annotated[int, typer.Option(min=1, help="How many answers to each image, best first.")]
Svg = Annotated[Path | None, typer.Option(help="Folder for pictures of each line and its answers.")]
SomeData = Annotated[str | None, typer.Option("--data", help="As of train; or give --image and --text.")]
OneImage = Annotated[Path | None, typer.Option("--image", help="Image file of one line.")]
OneText = Annotated[str | None, typer.Option("--text", help="What it says.")]
AlignmentOut = Annotated[
    Path | None, typer.Option("--out", help="A .json or .csv file; printed as JSON where omitted.")
]
Images = Annotated[list[Path], typer.Argument(help="Image files, each of one line.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")]


@app.command()
def train(
    data: Data,
    out: ModelOut,
    criterion: CriterionName = Settings.criterion,
    loss: Loss = Settings.loss,
    epochs: Epochs = None,
    hold_out: HoldOut = 0,
    seed: Seed = Settings.seed,
) -> None:
    """Trains a model on the training part of some data."""
    check_is_folder(out)
    epochs = epochs or (SYNTHETIC_EPOCHS if data == SYNTHETIC else Settings.epochs)
    settings = Settings(criterion=criterion, loss=loss, epochs=epochs, seed=seed)
    training = Training(settings, Material.of(load(data, "train"), hold_out), out)
    with stoppable():
        training.run()


@app.command()
def evaluate(
    model: ModelFolder,
    data: Data,
    part: Part = "valid",
    lm: ModelText = None,
    level: Level = LEVELS[0],
    json_file: Report = None,
    errors: ErrorPage = None,
) -> None:
    """Reads lines whose texts are known and prints how well."""
    check_can_be_made(json_file, errors)
    torch.set_num_threads(1)
    reader, lines = LineReader.load(model), load(data, part)
    report = evaluate_lines(reader, lines, _read_with(reader, lm, level))
    if json_file is not None:
        write_whole(json_file, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    if errors is not None:
        write_whole(errors, _error_page(report, lines))
    typer.echo(json.dumps({name: value for name, value in report.items() if name != "errors"}, indent=1))


@app.command()
def read(
    model: ModelFolder,
    images: Images,
    lm: ModelText = None,
    level: Level = LEVELS[0],
    best: Best = 1,
    svg: Svg = None,
    in_json: AsJson = False,
) -> None:
    """Prints the text of each image with its confidence."""
    check_is_folder(svg)
    if svg is not None:
        check_names_differ(images)
    torch.set_num_threads(1)
    reader = LineReader.load(model)
    decoder = _decoder(reader, lm, level)
    failed = False
    for image in images:
        try:
            answers, letters = _answers(reader, decoder, image, best, svg)
        except GtnEbmError as error:
            complain(str(error))
            failed = True
            continue
        typer.echo(_described(image, answers, letters, in_json))
    if failed:
        raise typer.Exit(2)


@app.command()
def align(
    model: ModelFolder,
    data: SomeData = None,
    part: Part = "valid",
    image: OneImage = None,
    text: OneText = None,
    out: AlignmentOut = None,
    svg: Svg = None,
) -> None:
    """Finds the columns of every character and word of known texts."""
    if out is not None and out.suffix not in (".json", ".csv"):
        raise DataError(f"{out}: give the name of a .json or .csv file")
    check_can_be_made(out)
    check_is_folder(svg)
    torch.set_num_threads(1)
    reader, aligned = LineReader.load(model), []
    for line in _known_lines(data, part, image, text):
        pixels = line.load()
        aligned.append(align_line(reader, line.name, pixels, " ".join((line.text or "").split())))
        if svg is not None:
            _draw(svg, line.name, aligned[-1].characters, pixels, aligned[-1].words)
    if out is None:
        typer.echo(as_json(aligned), nl=False)
    else:
        write_whole(out, as_csv(aligned) if out.suffix == ".csv" else as_json(aligned))


def _known_lines(data: str | None, part: str, image: Path | None, text: str | None) -> list[Line]:
    if data is not None and image is None and text is None:
        return [line for line in load(data, part) if line.text]
    if data is None and image is not None and text is not None:
        return [Line(str(image), text, lambda: loaded(image))]
    raise DataError("give either --data, or --image and --text")


def _decoder(reader: LineReader, lm: Path | None, level: str) -> LineDecoder:
    """With a language model of the text in a file; any text is as likely where there is none."""
    if level not in LEVELS:
        raise DataError(f"no level {level!r} of language models; there are {', '.join(LEVELS)}")
    criterion = reader.criterion
    make = character_model if level == "character" else word_model
    model = None if lm is None else make(read_text(lm), criterion.characters)
    return LineDecoder(criterion.topology(), model, criterion.blank)


def _read_with(reader: LineReader, lm: Path | None, level: str) -> Read | None:
    """Reads with a language model of the text in a file; None where there is none."""
    if lm is None:
        return None
    decoder = _decoder(reader, lm, level)

    def read(image: NDArray[np.uint8]) -> str:
        answers = decoder.answers(reader.emissions([image]).energies[0])
        return answers[0].text if answers else ""

    return read


def _answers(
    reader: LineReader, decoder: LineDecoder, image: Path, best: int, svg: Path | None
) -> tuple[list[Answer], Sequence[Letter]]:
    """The best answers, and where the characters of the best are."""
    pixels = loaded(image)
    found = decoder.decode(reader.emissions([image]).energies[0])
    answers = decoder.answers_of(found, best) or [Answer("", 0.0, 0.0)]
    letters = align_line(reader, str(image), pixels, answers[0].text)
    if svg is not None:
        _draw(svg, image.name, letters.characters, pixels, letters.words)
        write_whole(svg / f"{image.name}.lattice.svg", pictures.lattice(found.lattice))
    return answers, letters.characters


def _described(image: Path, answers: Sequence[Answer], letters: Sequence[Letter], in_json: bool) -> str:
    if not in_json:
        return "\n".join(
            f"{printable(str(image))}\t{text}\tconfidence {confidence:.4f}" for text, _, confidence in answers
        )
    first, *others = [{"text": text, "confidence": confidence} for text, _, confidence in answers]
    found = [letter._asdict() for letter in letters]
    return json.dumps({"file": str(image), **first, "letters": found, "others": others}, ensure_ascii=False)


def _draw(
    folder: Path,
    name: str,
    letters: Sequence[Letter],
    image: NDArray[np.uint8],
    words: Sequence[Letter],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    spans = [(word.start, word.end) for word in words]
    write_whole(folder / f"{name.replace('/', '-')}.alignment.svg", pictures.alignment(image, letters, spans))


def _error_page(report: dict[str, Any], lines: Sequence[Line]) -> str:
    of_name = {line.name: line for line in lines}
    exhibits = [
        pictures.Exhibit(wrong["line"], of_name[wrong["line"]].load(), wrong["text"], wrong["read"])
        for wrong in report["errors"]
    ]
    introduction = (
        f"{len(exhibits)} of {report['lines']} lines were read wrong: {report['character_error']:.2%} of the "
        f"{report['characters']} characters and {report['word_error']:.2%} of the {report['words']} words."
    )
    return pictures.errors("Lines read wrong", introduction, exhibits)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command; what is wrong with its input becomes one line and exit code 2.

    Args:
        arguments: the command and its options; those of the command line where None.
    """
    cv2.setNumThreads(1)
    run(app, arguments)


if __name__ == "__main__":
    main()
