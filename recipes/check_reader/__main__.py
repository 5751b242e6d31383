"""The commands of the check reader: train, evaluate, read, demo."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import cv2
import torch
import typer

from gtn_ebm import GtnEbmError
from gtn_ebm.io.files import write_whole
from recipes.check_reader.evaluation import evaluate as evaluate_cases
from recipes.check_reader.grammar import DEFAULT, Grammar
from recipes.check_reader.material import PARTS, SYNTHETIC, cases, training_material
from recipes.check_reader.pictures import pictures
from recipes.check_reader.reader import CheckReader, Reading
from recipes.check_reader.training import INVERSE_TEMPERATURE, Settings, Training

app = typer.Typer(
    help="Reads handwritten cheque amounts with a graph transformer network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ModelFolder = Annotated[Path, typer.Option("--model", help="Folder that train made.")]
DigitsFolder = Annotated[
    str | None,
    typer.Option(help="Folder with MNIST's training files, to write synthetic amounts with; scikit-learn's digits if omitted."),
]
Data = Annotated[str, typer.Option(help=f"Folder with images/ and labels.csv, or '{SYNTHETIC}'.")]
GrammarFile = Annotated[Path | None, typer.Option(help="Another grammar, in AT&T text form; see grammar.txt.")]


@app.command()
def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the model, checkpoints and metrics.csv; goes on where it stopped.")],
    digits: DigitsFolder = None,
    loss: Annotated[str, typer.Option(help=" or ".join(INVERSE_TEMPERATURE) + ".")] = Settings.loss,
    epochs: Annotated[int | None, typer.Option(min=0, help="On the data, after pretraining.")] = None,
    pretraining: Annotated[int, typer.Option(min=0, help="Epochs of 1,000 synthetic amounts first.")] = Settings.pretraining,
    grammar: GrammarFile = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and augmentation.")] = Settings.seed,
) -> None:
    """Trains a model: on synthetic amounts, then on the training part (80 %) of a folder."""
    on_data = 0 if data == SYNTHETIC else Settings.epochs
    if data == SYNTHETIC and epochs is not None:
        pretraining = epochs
    elif epochs is not None:
        on_data = epochs
    settings = Settings(loss=loss, pretraining=pretraining, epochs=on_data, seed=seed)
    Training(settings, training_material(data, digits), Grammar.read(grammar or DEFAULT), out).run()


@app.command()
def evaluate(
    model: ModelFolder,
    data: Data,
    part: Annotated[str, typer.Option(help=f"{', '.join(PARTS)}: as train splits the folder.")] = "all",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the whole report here.")] = None,
    digits: DigitsFolder = None,
    grammar: GrammarFile = None,
) -> None:
    """Reads labelled amounts and prints how well."""
    torch.set_num_threads(1)
    report = evaluate_cases(_load(model, grammar), cases(data, part, digits))
    if json_file is not None:
        write_whole(json_file, json.dumps(report, indent=1) + "\n")
    typer.echo(json.dumps({name: value for name, value in report.items() if name != "images"}, indent=1))


@app.command()
def read(
    model: ModelFolder,
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    svg: Annotated[Path | None, typer.Option(help="Folder for the graphs of each image.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
    grammar: GrammarFile = None,
) -> None:
    """Prints the amount on each image with its energy and confidence, or REJECT."""
    reader = _load(model, grammar)
    failed = False
    for image in images:
        try:
            reading = reader.read(image)
        except GtnEbmError as error:
            typer.echo(f"error: {error}", err=True)
            failed = True
            continue
        typer.echo(_line(image, reading, as_json))
        if svg is not None:
            _draw(reading, svg, image.name)
    if failed:
        raise typer.Exit(2)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the amounts, the model and the page.")] = Path("out"),
    short: Annotated[bool, typer.Option("--short", help="Train for a minute only, to see that all works.")] = False,
) -> None:
    """Writes amounts, trains on them, evaluates, reads ten images and makes an HTML page of it all."""
    from recipes.check_reader.demo import run

    page = run(out, epochs=1 if short else 5)
    typer.echo(f"open {page}")


def _load(model: Path, grammar: Path | None) -> CheckReader:
    reader = CheckReader.load(model)
    return reader if grammar is None else CheckReader(reader.network, Grammar.read(grammar), reader.threshold)


def _line(image: Path, reading: Reading, as_json: bool) -> str:
    if not as_json:
        return f"{image}\t{reading}\tenergy {reading.energy:.3f}\tconfidence {reading.confidence:.4f}"
    return json.dumps(
        {
            "file": str(image),
            "answer": str(reading),
            "digits": reading.digits,
            "energy": reading.energy,
            "confidence": reading.confidence,
        }
    )


def _draw(reading: Reading, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, picture in pictures(reading).items():
        write_whole(folder / f"{name}.{kind}.svg", picture)


def main() -> None:
    """Runs a command; what is wrong with its input becomes one line and exit code 2."""
    cv2.setNumThreads(1)
    try:
        app()
    except GtnEbmError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        typer.echo(f"error: {error.filename}: {error.strerror}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
