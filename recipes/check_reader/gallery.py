"""What each loss makes of the energies of right and of wrong amounts: a picture a loss, and all on a page."""

from __future__ import annotations

import html
import io
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tqdm import tqdm

from gtn_ebm import Graph, best_answers, minimum_energy
from gtn_ebm.io.files import write_beside, write_whole
from gtn_ebm.losses import by_name
from recipes.check_reader.grammar import DIGITS
from recipes.check_reader.objective import ReaderLoss
from recipes.check_reader.reader import CheckReader, answer_energies
from recipes.check_reader.training import Labelled

FEWEST, MOST = 16, 1024
"""Answers of the amount graph to look at: doubled until no other can be better, up to the most."""

STEEPEST = 100.0
"""Of the axis of gaps, linear up to 1 and logarithmic beyond."""

FLAT = 0.1
"""Of a gap between wrong and right answers: less is none to speak of, where margins are 1."""


class Rivalry(NamedTuple):
    """Energies of the right and of the most offending wrong answer of N images: of each answer that of its
    best path in the amount graph and of its best spelling in that of places, whatever the loss summed.

    Attributes:
        right, wrong: [N].
        unreachable: images whose right answer, or any wrong one, is not in the graphs; they are left out.
        unproven: images of the N where a wrong answer beyond the MOST looked at might be better.
    """

    right: NDArray[np.float64]
    wrong: NDArray[np.float64]
    unreachable: int
    unproven: int

    @property
    def gaps(self) -> NDArray[np.float64]:
        """E(best wrong) − E(right), [N]; above 0 the image is read right."""
        return self.wrong - self.right


@torch.inference_mode()
def rivalry(reader: CheckReader, images: Sequence[Labelled], name: str | None = None) -> Rivalry:
    """Measures on images with their digits; ``name`` is that of a progress bar."""
    pairs, unreachable, unproven = [], 0, 0
    for labelled in tqdm(images, name, disable=name is None, unit="image", leave=False):
        reading = reader.read(labelled.image)
        amount, places = reading.amount.to(torch.float64), reading.places.to(torch.float64)
        right = float(answer_energies(amount, places, [labelled.digits], math.inf)[0])
        wrong, proven = _most_offending(amount, places, labelled.digits)
        if max(right, wrong) < math.inf:
            pairs.append((right, wrong))
            unproven += not proven
        else:
            unreachable += 1
    right_ones, wrong_ones = np.array(pairs, np.float64).reshape(-1, 2).T
    return Rivalry(right_ones, wrong_ones, unreachable, unproven)


def _most_offending(amount: Graph, places: Graph, digits: str) -> tuple[float, bool]:
    """The least energy of a wrong answer in both graphs, and whether that is proven.

    Answers come as the amount graph orders them. One that is not looked at has no less energy there than the
    last that is, and in the other graph no less than the least of all.
    """
    least, count = float(minimum_energy(places)), FEWEST
    while True:
        found = best_answers(amount, count, math.inf)
        answers = ["".join(map(DIGITS.name, answer.labels)) for answer in found]
        wrong = [answer for answer in answers if answer != digits]
        best = min(answer_energies(amount, places, wrong, math.inf).tolist(), default=math.inf)
        proven = len(found) < count or found[-1].energy.item() + least >= best
        if proven or count >= MOST:
            return best, proven
        count *= 2


def measured(of_loss: Rivalry) -> str:
    """What came of a training, in a sentence or two."""
    gaps = of_loss.gaps
    if not len(gaps):
        return "No right answer is in the graphs."
    low, median, high = np.quantile(gaps, [0.05, 0.5, 0.95])
    said = (
        f"The right answer is the best in {int((gaps > 0).sum())} of {len(gaps)} images; the gap is "
        f"{_number(median)} nats at the median, 90 % from {_number(low)} to {_number(high)}."
    )
    if abs(median) < FLAT:
        said += " Collapsed: that is next to nothing."
    if of_loss.unreachable:
        said += (
            f" Of {of_loss.unreachable} more images the right answer, or any wrong one, is not in the graphs."
        )
    if of_loss.unproven:
        said += f" In {of_loss.unproven} images a wrong answer beyond the best {MOST} might be better."
    return said


def picture(loss: str, of_loss: Rivalry) -> bytes:
    """PNG: energies of right and of most offending answers against each other, and the gaps between them."""
    with matplotlib.rc_context({"font.size": 9, "axes.titlesize": 10, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(11.0, 4.0), dpi=100, layout="constrained")
        energies, gaps = figure.subplots(1, 2, width_ratios=[1.0, 1.6])
        _draw_energies(energies, of_loss)
        _draw_gaps(gaps, of_loss)
        figure.suptitle(loss, fontsize=13, fontweight="bold")
        figure.supxlabel(_wrapped(measured(of_loss)), fontsize=9, x=0.02, ha="left")
        content = io.BytesIO()
        figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _draw_energies(axes: Axes, of_loss: Rivalry) -> None:
    is_right = of_loss.gaps > 0
    for chosen, colour, name in ((is_right, "tab:blue", "read right"), (~is_right, "tab:red", "read wrong")):
        axes.plot(of_loss.right[chosen], of_loss.wrong[chosen], ".", color=colour, label=name, alpha=0.7)
    if len(is_right):
        ends = [min(of_loss.right.min(), of_loss.wrong.min()), max(of_loss.right.max(), of_loss.wrong.max())]
        axes.plot(ends, ends, color="grey", linewidth=0.8)
    axes.set(title="energies of an image", xlabel="E(right answer)", ylabel="E(best wrong answer)")
    axes.legend(loc="upper left", frameon=False)


def _draw_gaps(axes: Axes, of_loss: Rivalry) -> None:
    """A histogram, and the share of images with a smaller gap."""
    positive = np.concatenate([np.linspace(0, 1, 6), np.logspace(0, 2, 17)[1:]])
    edges = np.concatenate([-positive[:0:-1], positive])
    gaps = np.sort(of_loss.gaps.clip(-STEEPEST, STEEPEST))
    if len(gaps):
        share = 100 / len(gaps)
        axes.hist(gaps, edges.tolist(), weights=np.full(len(gaps), share), color="tab:blue", alpha=0.4)
        steps = np.concatenate([[-STEEPEST], gaps, [STEEPEST]])
        below = np.append(np.arange(len(gaps) + 1), len(gaps))
        axes.step(steps, share * below, where="post", color="tab:blue")
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_xscale("symlog", linthresh=1, linscale=0.7)
    ticks = [0, *(sign * size for sign in (-1, 1) for size in (1, 10, 100))]
    axes.set_xticks(sorted(ticks), [f"{tick:g}".replace("-", "−") for tick in sorted(ticks)])
    axes.set(
        title="gap E(best wrong) − E(right): bars, and the share below as a line",
        xlabel="nats",
        ylabel="% of images",
        xlim=(-STEEPEST, STEEPEST),
        ylim=(0, 100),
    )


def _wrapped(said: str) -> str:
    return said.replace(". ", ".\n")


def _number(value: float) -> str:
    text = f"{value:.3f}" if abs(value) < 1 else f"{value:.3g}"
    return text.replace("-", "−")


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; }
body { margin: 2rem auto; max-width: 1110px; padding: 0 1rem; }
img { max-width: 100%; height: auto; border: 1px solid #ddd; }
figure { margin: 2.5rem 0; }
"""


def write(of_losses: Mapping[str, Rivalry], out: Path) -> Path:
    """Writes ``LOSS.png`` for each and ``index.html``, which is returned."""
    out.mkdir(parents=True, exist_ok=True)
    for loss, of_loss in of_losses.items():
        content = picture(loss, of_loss)
        write_beside(out / f"{loss}.png", partial(_save, content))
    figures = "\n".join(_figure(loss, of_loss) for loss, of_loss in of_losses.items())
    write_whole(
        out / "index.html",
        f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Energies of amounts</title>
<style>{STYLE}</style></head><body>
<h1>Energies of amounts</h1>
<p>What each loss makes of the energies of validation images, from one pretraining and in the same number of
epochs: of the right answer, and of the wrong answer of least energy. An answer's energy is that of its
best path in the amount graph and of its best spelling in the graph of places, whatever the loss summed.</p>
{figures}
</body></html>
""",
    )
    return out / "index.html"


def _save(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _fitted(loss: str) -> str:
    """What was done in training against what theory says."""
    fitted = ReaderLoss(loss)
    if fitted.normalised:
        return " Here it was given normalised energies, −log p, none of which can fall without others rising."
    return " Here it was given energies with noise, which rules that out." if fitted.perturbed else ""


def _figure(loss: str, of_loss: Rivalry) -> str:
    theory = by_name(loss)
    said = f"Collapse: {theory.says('Collapse')} Margin: {theory.says('Margin')}{_fitted(loss)}"
    return (
        f'<figure id="{loss}"><h2>{loss}</h2>\n<img src="{loss}.png" alt="{loss}" loading="lazy">\n'
        f"<figcaption><b>Theory.</b> {html.escape(said)}<br>\n"
        f"<b>Measured.</b> {html.escape(measured(of_loss))}</figcaption></figure>"
    )
