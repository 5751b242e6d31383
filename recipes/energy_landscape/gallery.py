"""A picture for each training and a page of them all: what theory says, and what came of it."""

from __future__ import annotations

import html
import inspect
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from gtn_ebm.io.files import write_beside, write_whole
from gtn_ebm.losses import by_name
from recipes.energy_landscape.problem import RADIUS, Problem
from recipes.energy_landscape.training import Landscape

LOWEST, HIGHEST = 0.01, 100.0
"""Of the colours."""

WALL = 3.0
"""The height at which surfaces are cut off."""

STEEPEST = 100.0
"""Of the axis of gaps, linear up to 1 and logarithmic beyond."""


class Theory(NamedTuple):
    """What the documentation of a loss says of it."""

    does: str
    margin: str
    collapse: str
    pushed_up: str

    @classmethod
    def of(cls, loss: str) -> Theory:
        text = inspect.getdoc(by_name(loss).function) or ""
        summary = " ".join(text.partition("\n\n")[0].split())
        said = (by_name(loss).says(title) or "not said." for title in ("Margin", "Collapse", "Pushed up"))
        return cls(summary, *said)

    @property
    def may_collapse(self) -> bool:
        return self.collapse.startswith("yes")


def measured(landscape: Landscape) -> str:
    """What came of a training, in a sentence or two."""
    low, median, high = landscape.history[-1].tolist()
    gaps = f"Gap {_number(median)}, 90 % from {_number(low)} to {_number(high)}"
    right = f"Right answer best at {100 * landscape.right:.0f} % of points"
    if landscape.collapsed:
        return f"{gaps}: collapsed. {right}, by next to nothing."
    return f"{gaps}. {right}."


def _number(value: float) -> str:
    text = f"{value:.3f}" if abs(value) < 1 else f"{value:.3g}"
    return text.replace("-", "−")


def title(landscape: Landscape) -> str:
    return f"{landscape.loss}, {landscape.architecture} architecture"


def picture(landscape: Landscape, problem: Problem) -> bytes:
    """PNG: the surface from above, as a landscape, and the gap between right and best wrong answers."""
    with matplotlib.rc_context({"font.size": 9, "axes.titlesize": 10, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(13.5, 4.3), dpi=100, layout="constrained")
        grid = figure.add_gridspec(2, 3, width_ratios=[1.15, 1.2, 1.25])
        _draw_colours(figure, figure.add_subplot(grid[:, 0]), landscape, problem)
        _draw_relief(figure.add_subplot(grid[:, 1], projection="3d"), landscape)
        _draw_history(figure.add_subplot(grid[0, 2]), landscape)
        _draw_gaps(figure.add_subplot(grid[1, 2]), landscape)
        figure.suptitle(title(landscape), fontsize=13, fontweight="bold")
        figure.supxlabel(_caption(landscape), fontsize=9, x=0.02, ha="left")
        content = io.BytesIO()
        figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _caption(landscape: Landscape) -> str:
    theory = Theory.of(landscape.loss)
    return f"Theory: margin {theory.margin} Collapse: {theory.collapse}\nMeasured: {measured(landscape)}"


def _draw_colours(figure: Figure, axes: Axes, landscape: Landscape, problem: Problem) -> None:
    above = landscape.surface - landscape.surface.amin(0)
    image = axes.imshow(
        above.clamp(LOWEST, HIGHEST).numpy(),
        norm=LogNorm(LOWEST, HIGHEST),
        cmap="viridis",
        origin="lower",
        extent=(-RADIUS, RADIUS, -1, 1),
    )
    axes.plot(problem.x, problem.y, ".", color="white", markersize=3)
    axes.set(title="E(x, y) − min over y; dots: right answers", xlabel="x", ylabel="y")
    axes.set_xticks([-0.5, 0, 0.5])
    axes.set_yticks([-1, 0, 1])
    figure.colorbar(image, ax=axes, shrink=0.8, extend="both")


def _draw_relief(axes: Any, landscape: Landscape) -> None:
    surface = landscape.surface.clamp(max=WALL).numpy()[::2, ::2]
    places = np.linspace(-1, 1, len(surface))
    x, y = np.meshgrid(RADIUS * places, places)
    axes.plot_surface(
        x, y, surface, cmap="viridis", vmin=0, vmax=WALL, rcount=60, ccount=60, linewidth=0, antialiased=False
    )
    axes.set(title=f"E(x, y), cut off at {WALL:g}", xlabel="x", ylabel="y", zlim=(0, WALL))
    axes.set_xticks([-0.5, 0, 0.5])
    axes.set_yticks([-1, 0, 1])
    axes.set_zticks(range(round(WALL) + 1))
    axes.view_init(elev=42, azim=-60)


def _scale_of_gaps(axes: Axes, which: str) -> None:
    getattr(axes, f"set_{which}scale")("symlog", linthresh=1.0)
    getattr(axes, f"set_{which}lim")(-STEEPEST, STEEPEST)
    ticks = [-100, -10, -1, 0, 1, 10, 100]
    getattr(axes, f"set_{which}ticks")(ticks, [str(tick).replace("-", "−") for tick in ticks])


def _draw_history(axes: Axes, landscape: Landscape) -> None:
    low, median, high = landscape.history.T.numpy()
    axes.fill_between(landscape.steps, low, high, color="tab:blue", alpha=0.2, linewidth=0)
    axes.plot(landscape.steps, median, color="tab:blue")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(title="gap E(best wrong) − E(right) in training: median, 90 %", xlabel="step")
    axes.set_xlim(0, landscape.steps[-1])
    _scale_of_gaps(axes, "y")


def _draw_gaps(axes: Axes, landscape: Landscape) -> None:
    positive = np.concatenate([np.linspace(0, 1, 11), np.logspace(0, 2, 21)[1:]])
    edges = np.concatenate([-positive[:0:-1], positive])
    gaps = landscape.gaps.clamp(-STEEPEST, STEEPEST).numpy()
    axes.hist(gaps, edges.tolist(), weights=np.full(len(gaps), 100 / len(gaps)), color="tab:blue")
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set(title="gaps in the end", ylabel="% of points", ylim=(0, 100))
    _scale_of_gaps(axes, "x")


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; }
body { margin: 2rem auto; max-width: 1360px; padding: 0 1rem; }
img { max-width: 100%; height: auto; border: 1px solid #ddd; }
table { border-collapse: collapse; }
td, th { padding: 0.15rem 0.9rem 0.15rem 0; text-align: left; vertical-align: top; }
td.number { text-align: right; }
figure { margin: 2.5rem 0; }
.collapsed { color: #b00; font-weight: bold; }
"""


def write(landscapes: Sequence[Landscape], problem: Problem, out: Path) -> Path:
    """Writes a picture for each and ``index.html``, which is returned."""
    out.mkdir(parents=True, exist_ok=True)
    for landscape in landscapes:
        write_beside(out / _file(landscape), partial(_save, picture(landscape, problem)))
    page = out / "index.html"
    write_whole(page, _page(landscapes))
    return page


def _save(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _file(landscape: Landscape) -> str:
    return f"{landscape.loss}_{landscape.architecture}.png"


def _page(landscapes: Sequence[Landscape]) -> str:
    rows = "\n".join(map(_row, landscapes))
    figures = "\n".join(map(_figure, landscapes))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Energy landscapes</title>
<style>{STYLE}</style></head><body>
<h1>Energy landscapes</h1>
<p>Given x, what is y? The right answers lie on a circle; a latent variable z tells its upper half from its
lower, and E(x, y) = min<sub>z</sub> E(x, y, z). Each picture shows what a loss makes of the energies: how
much worse each answer is than the best at its x, the energies themselves, and the <b>gap</b> E(best wrong
answer) − E(right answer). Colours and axes are the same in all.</p>
<p><b>Flexible</b>: E = ‖g(x)<sub>z</sub> − h(y)‖², both sides learned, so that all energies can become 0.
<b>Rigid</b>: E = (4 (g(x)<sub>z</sub> − y))²; here no energy falls without others rising. Losses that may
collapse are shown on both.</p>
<table><tr><th>loss</th><th>architecture</th><th>gap, median</th><th>right is best</th><th>theory: margin</th>
<th>theory: collapse</th></tr>
{rows}
</table>
{figures}
</body></html>
"""


def _row(landscape: Landscape) -> str:
    theory = Theory.of(landscape.loss)
    note = ' <span class="collapsed">collapsed</span>' if landscape.collapsed else ""
    return (
        f'<tr><td><a href="#{_file(landscape)}">{landscape.loss}</a></td><td>{landscape.architecture}</td>'
        f'<td class="number">{_number(landscape.gaps.median().item())}</td>'
        f"<td>{100 * landscape.right:.0f} %{note}</td>"
        f"<td>{html.escape(theory.margin)}</td><td>{html.escape(theory.collapse)}</td></tr>"
    )


def _figure(landscape: Landscape) -> str:
    theory = Theory.of(landscape.loss)
    return (
        f'<figure id="{_file(landscape)}"><h2>{title(landscape)}</h2><p>{html.escape(theory.does)}</p>\n'
        f'<img src="{_file(landscape)}" alt="{title(landscape)}" loading="lazy">\n'
        f"<figcaption><b>Theory.</b> Margin: {html.escape(theory.margin)} Collapse: "
        f"{html.escape(theory.collapse)} Pushed up: {html.escape(theory.pushed_up)}<br>\n"
        f"<b>Measured.</b> {html.escape(measured(landscape))}</figcaption></figure>"
    )
