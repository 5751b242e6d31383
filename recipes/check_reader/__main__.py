"""The commands of the check reader: train, compare, evaluate, read, demo."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cv2
import torch
import typer

from gtn_ebm import GtnEbmError
from gtn_ebm.io.files import write_whole
from gtn_ebm.losses import LOSSES, by_name
from recipes.check_reader import compare as comparison
from recipes.check_reader.evaluation import evaluate as evaluate_cases
from recipes.check_reader.grammar import DEFAULT, Grammar
from recipes.check_reader.material import PARTS, SYNTHETIC, cases, training_material
from recipes.check_reader.pictures import pictures
from recipes.check_reader.reader import CheckReader, Reading
from recipes.check_reader.training import AMOUNTS_PER_EPOCH, Settings, Training
from recipes.commands import (
    check_can_be_made,
    check_is_folder,
    check_names_differ,
    complain,
    printable,
    run,
    stoppable,
)

app = typer.Typer(
    help="Reads handwritten cheque amounts with a graph transformer network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

PRIMITIVES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""How much torch's convolutions keep of shapes that they have met: nearly every batch has one of its
own, and a thousand of each, as they are by default, would be gigabytes that are never used again."""

MOST_PRIMITIVES = 16

ModelFolder = Annotated[Path, typer.Option("--model", help="Folder that train made.")]
DigitsFolder = Annotated[
    str | None,
    typer.Option(
        help="Folder with MNIST's training files, to write synthetic amounts with; else scikit-learn's."
    ),
]
Data = Annotated[str, typer.Option(help=f"Folder with images/ and labels.csv, or '{SYNTHETIC}'.")]
GrammarFile = Annotated[
    Path | None, typer.Option(help="Another grammar, in AT&T text form; see grammar.txt.")
]
ModelOut = Annotated[
    Path, typer.Option(help="Folder for the model, its checkpoint and metrics.csv; goes on where it stopped.")
]
Loss = Annotated[str, typer.Option(help=f"To learn the data by: {', '.join(LOSSES)}.")]
Losses = Annotated[list[str] | None, typer.Option("--loss", help="As often as wanted; all where omitted.")]
Seeds = Annotated[list[int], typer.Option("--seed", min=0, help="As often as wanted.")]
SomeEpochs = Annotated[int, typer.Option(min=1, help="On the data, after pretraining, with each loss.")]
SomeImages = Annotated[int | None, typer.Option(min=1, help="Of the training part; all if omitted.")]
ComparisonOut = Annotated[
    Path, typer.Option(help="Folder for the trainings, comparison.md and gallery/; goes on where it stopped.")
]
Epochs = Annotated[int, typer.Option(min=0, help="On the data, after pretraining.")]
Pretraining = Annotated[
    int, typer.Option(min=0, help=f"Epochs of {AMOUNTS_PER_EPOCH} synthetic amounts first.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of weights, order and augmentation.")]
Part = Annotated[str, typer.Option(help=f"{', '.join(PARTS)}: as train splits the folder.")]
Report = Annotated[Path | None, typer.Option("--json", help="Write the whole report here.")]
Images = Annotated[list[Path], typer.Argument(help="Image files.")]
Svg = Annotated[Path | None, typer.Option(help="Folder for the graphs of each image.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")]
DemoOut = Annotated[
    Path | None, typer.Option(help="Folder for the amounts, the model and the page; out, or out/short.")
]
Short = Annotated[bool, typer.Option("--short", help="Train for a minute only, to see that all works.")]


@app.command()
def train(
    data: Data,
    out: ModelOut,
    digits: DigitsFolder = None,
    loss: Loss = Settings.loss,
    epochs: Epochs = Settings.epochs,
    pretraining: Pretraining = Settings.pretraining,
    grammar: GrammarFile = None,
    seed: Seed = Settings.seed,
) -> None:
    """Trains a model: on synthetic amounts, then on the training part (80 %) of a folder."""
    _leave_a_core()
    check_is_folder(out)
    settings = Settings(loss=loss, pretraining=pretraining, epochs=epochs, seed=seed)
    amounts = Grammar.read(grammar or DEFAULT)
    training = Training(settings, training_material(data, digits), amounts, out)
    with stoppable():
        training.run()


@app.command()
def compare(
    data: Data,
    out: ComparisonOut,
    digits: DigitsFolder = None,
    loss: Losses = None,
    seed: Seeds = [0, 1, 2],  # noqa: B006 - typer copies it
    epochs: SomeEpochs = 5,
    images: SomeImages = None,
    pretraining: Pretraining = Settings.pretraining,
) -> None:
    """Trains with each loss from one pretraining: how well each reads the validation part, and a gallery."""
    _leave_a_core()
    check_is_folder(out)
    names = list(dict.fromkeys(by_name(name).name for name in loss or LOSSES))
    material = training_material(data, digits)
    arguments = names, seed, pretraining, epochs, images, material, Grammar.read(), out
    with stoppable():
        typer.echo(comparison.compare(*arguments), nl=False)


@app.command()
def evaluate(
    model: ModelFolder,
    data: Data,
    part: Part = "all",
    json_file: Report = None,
    digits: DigitsFolder = None,
    grammar: GrammarFile = None,
) -> None:
    """Reads labelled amounts and prints how well."""
    check_can_be_made(json_file)
    torch.set_num_threads(1)
    report = evaluate_cases(_load(model, grammar), cases(data, part, digits))
    if json_file is not None:
        write_whole(json_file, json.dumps(report, indent=1) + "\n")
    typer.echo(json.dumps({name: value for name, value in report.items() if name != "images"}, indent=1))


@app.command()
def read(
    model: ModelFolder,
    images: Images,
    svg: Svg = None,
    as_json: AsJson = False,
    grammar: GrammarFile = None,
) -> None:
    """Prints the amount on each image with its energy and confidence, or REJECT."""
    check_is_folder(svg)
    if svg is not None:
        check_names_differ(images)
    reader = _load(model, grammar)
    failed = False
    for image in images:
        try:
            reading = reader.read(image)
        except GtnEbmError as error:
            complain(str(error))
            failed = True
            continue
        typer.echo(_line(image, reading, as_json))
        if svg is not None:
            _draw(reading, svg, image.name)
    if failed:
        raise typer.Exit(2)


@app.command()
def demo(
    out: DemoOut = None,
    short: Short = False,
) -> None:
    """Writes amounts, trains on them, evaluates, reads ten images and makes an HTML page of it all."""
    from recipes.check_reader.demo import ENOUGH, run

    _leave_a_core()
    check_is_folder(out)
    page = run(out or Path("out/short"), epochs=1) if short else run(out or Path("out"), epochs=ENOUGH)
    typer.echo(f"open {page}")


def _leave_a_core() -> None:
    """One core is for the worker that segments the next images; threads that wait for it would cost more."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))


def _load(model: Path, grammar: Path | None) -> CheckReader:
    reader = CheckReader.load(model)
    if grammar is not None:
        reader.grammar = Grammar.read(grammar)
    return reader


def _line(image: Path, reading: Reading, as_json: bool) -> str:
    if not as_json:
        figures = f"energy {reading.energy:.3f}\tconfidence {reading.confidence:.4f}"
        return f"{printable(str(image))}\t{reading}\t{figures}"
    return json.dumps(
        {
            "file": str(image),
            "answer": str(reading),
            "digits": reading.digits,
            "energy": reading.energy if math.isfinite(reading.energy) else None,  # JSON has no infinity
            "confidence": reading.confidence,
        }
    )


def _draw(reading: Reading, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, picture in pictures(reading).items():
        write_whole(folder / f"{name}.{kind}.svg", picture)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command; what is wrong with its input becomes one line and exit code 2.

    Args:
        arguments: the command and its options; those of the command line where None.
    """
    cv2.setNumThreads(1)
    for capacity in PRIMITIVES:
        os.environ.setdefault(capacity, str(MOST_PRIMITIVES))
    run(app, arguments)


if __name__ == "__main__":
    main()
