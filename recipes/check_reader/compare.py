"""Every loss beside the others: one start, one budget, the same images; a table, and a gallery."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gtn_ebm import GtnEbmError
from gtn_ebm.io.files import write_whole
from recipes.check_reader.grammar import Grammar
from recipes.check_reader.reader import CheckReader
from recipes.check_reader.training import Labelled, Material, Settings, Training

FIGURES = {
    "validation_string_rate": "string rate",
    "validation_correct_at_1pct_error": "correct at ≤ 1 % error",
}
"""Of the metrics of a training, those in the table, and what they are called there."""


def compare(
    losses: Sequence[str],
    seeds: Sequence[int],
    pretraining: int,
    epochs: int,
    images: int | None,
    material: Material,
    grammar: Grammar,
    out: Path,
) -> str:
    """Trains with each loss from the pretraining of each seed, and measures on the validation images.

    What is finished already is kept, and what was stopped goes on from its last whole epoch.

    Args:
        losses: names in ``gtn_ebm.losses``.
        seeds: of weights, order and augmentation; each has one pretraining, by "nll", for all losses.
        pretraining: its epochs on synthetic amounts.
        epochs: on the images, 1 or more, with each loss. The learning rate rises and falls within them.
        images: of the material, to learn from; all where None.
        out: folder for ``seed-N/pretraining`` and ``seed-N/LOSS``, ``comparison.json`` with a row a training,
            and ``comparison.md``. Both tables are written anew after each training; in the end ``gallery/``
            shows the energies that each loss came to from the first seed.

    Returns:
        The table, in Markdown.

    Raises:
        DataError: ``out`` holds trainings with other data or settings.
    """
    rows: list[dict[str, Any]] = []
    some = replace(material, images=material.images[:images])
    with tqdm(total=len(losses) * len(seeds), desc="trainings", unit="training") as bar:
        for seed in seeds:
            folder = out / f"seed-{seed}"
            first = Settings(pretraining=pretraining, epochs=0, seed=seed)
            start = _finished(Training(first, material, grammar, folder / "pretraining"))
            for loss in losses:
                settings = Settings(loss, pretraining=0, epochs=epochs, seed=seed)
                training = Training(settings, some, grammar, folder / loss, start)
                budget = {"epochs": epochs, "images": len(some.images)}
                rows.append({"loss": loss, "seed": seed, **budget, **_figures(training)})
                write_whole(out / "comparison.json", json.dumps(rows, indent=1) + "\n")
                write_whole(out / "comparison.md", table(rows))
                bar.update()
    trained = [row["loss"] for row in rows if row["seed"] == seeds[0] and "error" not in row]
    _show({loss: out / f"seed-{seeds[0]}" / loss for loss in trained}, material.validation, out / "gallery")
    return table(rows)


def _show(folders: Mapping[str, Path], images: Sequence[Labelled], out: Path) -> None:
    from recipes.check_reader import gallery  # it takes a while to load what draws

    gallery.write(
        {
            loss: gallery.rivalry(CheckReader.load(folder), images, f"energies of {loss}")
            for loss, folder in folders.items()
        },
        out,
    )


def _finished(training: Training) -> CheckReader:
    return CheckReader.load(training.out) if training.finished else training.run()


def _figures(training: Training) -> dict[str, Any]:
    """What the last epoch measured, or why there is no such thing."""
    try:
        _finished(training)
    except GtnEbmError as error:  # of this loss; the others are to be seen all the same
        return {"error": str(error)}
    last = training.metrics[-1]
    return {name: last[name] for name in (*FIGURES, "unreachable")}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A row a loss, the mean over seeds of each figure and from its least to its greatest, in Markdown."""
    lines = [["loss", "seeds", *FIGURES.values()], ["---"] * (2 + len(FIGURES))]
    for loss in dict.fromkeys(row["loss"] for row in rows):
        measured = [row for row in rows if row["loss"] == loss and "error" not in row]
        cells = [_share([row[name] for row in measured]) for name in FIGURES]
        lines.append([f"`{loss}`", str(len(measured)), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _share(values: Sequence[float]) -> str:
    if not values:
        return "failed"
    mean = f"{sum(values) / len(values):.1%}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.1%} to {max(values):.1%})"
