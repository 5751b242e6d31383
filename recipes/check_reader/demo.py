"""The whole path on amounts written on the spot, as a lesson and as a test that all works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gtn_ebm.io.files import write_whole
from recipes.check_reader.data import Example, load_image, read_digits, read_folder
from recipes.check_reader.evaluation import Case, evaluate
from recipes.check_reader.grammar import Grammar
from recipes.check_reader.material import SYNTHETIC, TEST_SEED, train_and_held_out, training_material
from recipes.check_reader.pictures import Exhibit, page
from recipes.check_reader.reader import CheckReader
from recipes.check_reader.synthetic import write_folder
from recipes.check_reader.training import Settings, Training

ENOUGH = 5
"""Epochs of the whole demo: some minutes."""

AMOUNTS = 100
"""Written to evaluate on."""

SHOWN = 10
"""Of these, on the page."""


def run(out: Path, epochs: int) -> Path:
    """Writes amounts with scikit-learn's digits, trains, evaluates on digits held out, and shows it all.

    Args:
        out: folder for ``amounts/``, ``model/``, ``report.json`` and ``index.html``; amounts and a training
            that it holds already are used.
        epochs: of synthetic amounts to train on.

    Returns:
        The path of the HTML page.

    Raises:
        DataError: the folder holds something else under these names.
    """
    data = out / "amounts"
    if not data.exists():
        print(f"writing {AMOUNTS} amounts to {data}")
        write_folder(data, AMOUNTS, train_and_held_out(read_digits())[1], TEST_SEED)
    print(f"training for {epochs} epochs of synthetic amounts")
    settings = Settings(pretraining=epochs, epochs=0)
    reader = Training(settings, training_material(SYNTHETIC, None), Grammar.read(), out / "model").run()
    examples = read_folder(data)
    report = evaluate(reader, (Case(e.file, e.path, e.digits, None) for e in examples))
    write_whole(out / "report.json", json.dumps(report, indent=1) + "\n")
    introduction = _introduction(report, epochs)
    print(introduction)
    exhibits = [_exhibit(reader, example) for example in examples[:SHOWN]]
    write_whole(out / "index.html", page("Handwritten amounts, read", introduction, exhibits))
    return out / "index.html"


def _introduction(report: dict[str, Any], epochs: int) -> str:
    accepted = report["at_1pct_error"]
    return (
        f"After {epochs} of the {ENOUGH} epochs of training that the whole demo takes, "
        f"of {report['n']} amounts written with digits not trained on "
        f"{report['string_rate']:.0%} read right as a whole; with rejection {accepted['correct']:.0%} right, "
        f"{accepted['reject']:.0%} rejected, {accepted['error']:.0%} wrong."
    )


def _exhibit(reader: CheckReader, example: Example) -> Exhibit:
    image = load_image(example.path)
    reading = reader.read(image)
    print(f"{example.path}\t{reading}\tconfidence {reading.confidence:.4f}\twritten {example.digits}")
    return Exhibit(example.file, image, reading, example.digits)
