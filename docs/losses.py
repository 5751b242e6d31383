"""Writes the table of docs/losses.md anew from the docstrings of the losses; `make reference` calls it.

With ``--comparison OUT`` it also writes what ``python -m recipes.check_reader compare --out OUT`` measured.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
from pathlib import Path
from typing import Any

from gtn_ebm.io.files import write_whole
from gtn_ebm.losses import ALIASES, LOSSES

PAGE = Path(__file__).parent / "losses.md"
BEGIN, END = "<!-- the table, by docs/losses.py -->\n", "<!-- end of the table -->"
MEASURED, MEASURED_END = "<!-- the comparison, by docs/losses.py -->\n", "<!-- end of the comparison -->"
DATA = "--data ../shared/data/check_amounts --digits ../shared/data/mnist --out out/compare"
SECTIONS = ("Margin", "Collapse", "Pushed up", "Source")


def row(name: str) -> list[str]:
    """Name, other names, energies needed, formula, and what the docstring says in its sections."""
    loss, doc = LOSSES[name], inspect.getdoc(LOSSES[name].function) or ""
    others = "".join(f", `{alias}`" for alias, of in ALIASES.items() if of == name)
    formula = re.split(r": |\.$", _joined(doc.split("\n\n")[0]))[0]
    energies = ", ".join(f"`{need}`" for need in loss.needs)
    sections = (loss.says(title).removesuffix(".") for title in SECTIONS)
    return [f"`{name}`{others}", formula, energies, *sections]


def _joined(lines: str) -> str:
    return re.sub(r"\s+", " ", lines)


def table() -> str:
    """All losses in Markdown."""
    head = ["loss", "formula", "energies", *map(str.lower, SECTIONS)]
    rows = [head, ["---"] * len(head), *map(row, LOSSES)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def page(text: str) -> str:
    """The page with its table as it is now."""
    return _between(text, BEGIN, table(), END)


def _between(text: str, begin: str, content: str, end: str) -> str:
    before, rest = text.split(begin)
    return f"{before}{begin}{content}{end}{rest.split(end)[1]}"


def compared(text: str, folder: Path) -> str:
    """The page with the table of a comparison, its budget and its command."""
    from recipes.check_reader.compare import table as measured

    rows = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    return _between(text, MEASURED, f"{_budget(rows, folder)}\n{measured(rows)}", MEASURED_END)


def _budget(rows: list[dict[str, Any]], folder: Path) -> str:
    seeds = list(dict.fromkeys(row["seed"] for row in rows))
    ((epochs, images),) = {(row["epochs"], row["images"]) for row in rows}
    metrics = (folder / f"seed-{seeds[0]}" / "pretraining" / "metrics.csv").read_text(encoding="utf-8")
    pretraining = metrics.count("\n") - 1
    options = " ".join(f"--seed {seed}" for seed in seeds)
    budget = f"--epochs {epochs} --images {images} --pretraining {pretraining}"
    return (
        f"{_number(epochs, 'epoch')} with each loss on {images} images of the training part, after "
        f"{_number(pretraining, 'epoch')} of pretraining; {_number(len(seeds), 'seed')}. Shares of the "
        "validation part, the mean over seeds and from the least to the greatest:\n\n"
        f"```sh\npython -m recipes.check_reader compare {DATA} \\\n    {budget} {options}\n```\n"
    )


def _number(count: int, of: str) -> str:
    return f"{count} {of}" if count == 1 else f"{count} {of}s"


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the tables of docs/losses.md.")
    parser.add_argument("--comparison", type=Path, metavar="OUT", help="the folder that compare wrote")
    folder = parser.parse_args().comparison
    text = page(PAGE.read_text(encoding="utf-8"))
    write_whole(PAGE, text if folder is None else compared(text, folder))


if __name__ == "__main__":
    main()
