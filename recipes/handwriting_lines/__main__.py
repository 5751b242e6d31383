"""The commands of the reader of lines: train, evaluate, read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import torch
import typer

from gtn_ebm import DataError, GtnEbmError
from gtn_ebm.io.files import write_whole
from gtn_ebm.losses import LOSSES
from recipes.commands import complain, printable, run, stoppable
from recipes.handwriting_lines.criteria import CRITERIA
from recipes.handwriting_lines.data import PARTS, load
from recipes.handwriting_lines.decoding import LineDecoder
from recipes.handwriting_lines.evaluation import Read
from recipes.handwriting_lines.evaluation import evaluate as evaluate_lines
from recipes.handwriting_lines.language_model import LEVELS, character_model, read_text, word_model
from recipes.handwriting_lines.reader import LineReader, Reading
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
Epochs = Annotated[int, typer.Option(min=1, help="Times that each line is seen.")]
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
Images = Annotated[list[Path], typer.Argument(help="Image files, each of one line.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")]


@app.command()
def train(
    data: Data,
    out: ModelOut,
    criterion: CriterionName = Settings.criterion,
    loss: Loss = Settings.loss,
    epochs: Epochs = Settings.epochs,
    hold_out: HoldOut = 0,
    seed: Seed = Settings.seed,
) -> None:
    """Trains a model on the training part of some data."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file; give the name of a folder")
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
) -> None:
    """Reads lines whose texts are known and prints how well."""
    if json_file is not None and (json_file.is_dir() or not json_file.parent.is_dir()):
        raise DataError(f"{json_file}: cannot be written; give the name of a file in a folder that there is")
    torch.set_num_threads(1)
    reader = LineReader.load(model)
    report = evaluate_lines(reader, load(data, part), _read_with(reader, lm, level))
    if json_file is not None:
        write_whole(json_file, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    typer.echo(json.dumps({name: value for name, value in report.items() if name != "errors"}, indent=1))


@app.command()
def read(
    model: ModelFolder,
    images: Images,
    as_json: AsJson = False,
) -> None:
    """Prints the text of each image with its confidence."""
    reader = LineReader.load(model)
    failed = False
    for image in images:
        try:
            reading = reader.read(image)
        except GtnEbmError as error:
            complain(str(error))
            failed = True
            continue
        typer.echo(_line(image, reading, as_json))
    if failed:
        raise typer.Exit(2)


def _read_with(reader: LineReader, lm: Path | None, level: str) -> Read | None:
    """Reads with a language model of the text in a file; None where there is none."""
    if lm is None:
        return None
    if level not in LEVELS:
        raise DataError(f"no level {level!r} of language models; there are {', '.join(LEVELS)}")
    make = character_model if level == "character" else word_model
    criterion = reader.criterion
    decoder = LineDecoder(criterion.topology(), make(read_text(lm), criterion.characters), criterion.blank)

    def read(image):
        answers = decoder.answers(reader.emissions([image]).energies[0])
        return answers[0].text if answers else ""

    return read


def _line(image: Path, reading: Reading, as_json: bool) -> str:
    if not as_json:
        return f"{printable(str(image))}\t{reading.text}\tconfidence {reading.confidence:.4f}"
    letters = [letter._asdict() for letter in reading.letters]
    answer = {"file": str(image), "text": reading.text, "confidence": reading.confidence, "letters": letters}
    return json.dumps(answer, ensure_ascii=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command; what is wrong with its input becomes one line and exit code 2.

    Args:
        arguments: the command and its options; those of the command line where None.
    """
    cv2.setNumThreads(1)
    run(app, arguments)


if __name__ == "__main__":
    main()
