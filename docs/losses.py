"""Writes the table of docs/losses.md anew from the docstrings of the losses; `make reference` calls it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from gtn_ebm.io.files import write_whole
from gtn_ebm.losses import ALIASES, LOSSES

PAGE = Path(__file__).parent / "losses.md"
BEGIN, END = "<!-- the table, by docs/losses.py -->\n", "<!-- end of the table -->"
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
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    write_whole(PAGE, page(PAGE.read_text(encoding="utf-8")))
