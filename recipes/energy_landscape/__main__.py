"""`python -m recipes.energy_landscape --out DIR`: trains with each loss and writes a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from tqdm import tqdm

from gtn_ebm import DataError
from gtn_ebm.losses import LOSSES, by_name
from recipes.commands import run
from recipes.energy_landscape.gallery import Theory, write
from recipes.energy_landscape.model import ARCHITECTURES
from recipes.energy_landscape.problem import circle
from recipes.energy_landscape.training import train

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def gallery(
    out: Annotated[Path, typer.Option(help="Folder for the pictures and index.html.")],
    loss: Annotated[
        list[str] | None, typer.Option(help=f"Any of {', '.join(LOSSES)}; all if omitted.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Of training.")] = 250,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights.")] = 0,
) -> None:
    """Trains a small energy-based model with each loss and shows the energies it comes to."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file; give the name of a folder")
    out.mkdir(parents=True, exist_ok=True)  # what cannot be written is told before, not after the training
    torch.set_num_threads(1)
    trainings = [
        (name, architecture)
        for name in dict.fromkeys(by_name(name).name for name in loss or LOSSES)
        for architecture in ARCHITECTURES
        if architecture == "flexible" or Theory.of(name).may_collapse
    ]
    problem = circle()
    with tqdm(total=steps * len(trainings), unit="step") as bar:
        landscapes = []
        for name, architecture in trainings:
            bar.set_description(f"{name}, {architecture}")
            landscapes.append(train(problem, name, architecture, steps, seed, bar.update))
    typer.echo(f"open {write(landscapes, problem, out)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs it; what is wrong with the input becomes one line and exit code 2.

    Args:
        arguments: those of the command line where None.
    """
    run(app, arguments)


if __name__ == "__main__":
    main()
