"""Draw views: the same look for all products."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl
import mplhep
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from ntuplizer.display import Kind, Marks, Panel, View

# The largest marker, in points squared, stands for the hardest object of a panel.
LARGEST, SMALLEST = 700.0, 6.0
# Missing momentum has no place in η.
LINE = ""
# Told apart by shape as well as by colour (Petroff's sequence, arXiv:2107.02270).
STYLES: dict[Kind, tuple[str, str]] = {
    "charged hadron": ("#3f90da", "o"),
    "neutral hadron": ("#717581", "s"),
    "photon": ("#ffa90e", "D"),
    "electron": ("#bd1f01", "^"),
    "muon": ("#832db6", "v"),
    "lepton": ("#832db6", "^"),
    "b-jet": ("#bd1f01", "o"),
    "light jet": ("#3f90da", "o"),
    "missing momentum": ("#717581", LINE),
    "secondary vertex": ("#a96b59", "*"),
    "GEN-jet": ("#000000", "+"),
    "truth": ("#000000", "x"),
}
SIZE_WITHOUT_PT = 150.0


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of the field, without a display, the same bytes every time."""
    mpl.use("agg")
    options = {"font.size": 15, "pdf.fonttype": 42, "svg.hashsalt": "jetclass"}
    with plt.style.context([mplhep.style.CMS, options]):
        try:
            yield
        finally:
            plt.close("all")


@dataclass(frozen=True)
class Score:
    """What a network gives a label: its probability, and whether it is the true one."""

    name: str
    probability: float
    true: bool


def draw_view(
    view: View, title: str, facts: Sequence[str] = (), scores: Sequence[Score] = ()
) -> Figure:
    """Draw all panels of a view beside each other, with what is known below.

    Parameters
    ----------
    view
        Of a row.
    title
        Above the figure.
    facts
        What is known beyond the view's own.
    scores
        The most probable labels; a panel of their own.
    """
    lines = [*view.facts, *facts]
    widths = [*(1.0 for _ in view.panels), *([0.62] if scores else [])]
    height = 6.6 + 0.34 * len(lines)
    figure = Figure(figsize=(max(5.9 * sum(widths), 8.0), height), layout="constrained")
    figure.suptitle(title, fontsize=17)
    upper = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
    for axes, panel in zip(upper, view.panels, strict=False):
        draw_panel(axes, panel)
        axes.set_title(panel.title, fontsize=14, pad=8)
    if scores:
        _draw_scores(upper[-1], scores)
    kinds = set().union(*(panel.kinds for panel in view.panels))
    figure.legend(
        handles=legend_handles(kinds),
        loc="outside lower center",
        ncols=5,
        fontsize=12,
        title="\n".join(lines),
        title_fontsize=13,
        handletextpad=0.2,
    )
    return figure


def draw_panel(axes: Axes, panel: Panel, scale: float = 1.0) -> None:
    """Draw a panel into axes; its title is the caller's.

    Parameters
    ----------
    axes
        Where.
    panel
        What.
    scale
        Of the markers' areas.
    """
    largest = max((float(np.max(m.pt)) for m in panel.marks if m.pt is not None), default=1.0)
    for x, y, radius in panel.circles:
        axes.add_patch(Circle((x, y), radius, fill=False, color="0.6", linestyle="--", lw=1))
    for kind, y in panel.levels:
        axes.axhline(y, color=STYLES[kind][0], linestyle="--", lw=2, zorder=1)
    for marks in panel.marks:
        colour, shape = STYLES[marks.kind]
        if panel.from_origin:
            _draw_arrows(axes, marks, colour)
            continue
        hollow = marks.pt is None
        area = (
            np.full(len(marks.x), SIZE_WITHOUT_PT)
            if marks.pt is None
            else SMALLEST + LARGEST * marks.pt / largest
        )
        axes.scatter(
            marks.x,
            marks.y,
            s=scale * area,
            c=colour,
            marker=shape,
            alpha=None if hollow else 0.65,
            linewidths=1.8 if hollow else 0,
            zorder=3 if hollow else 2,
        )
        for name, x, y in zip(marks.names, marks.x, marks.y, strict=bool(marks.names)):
            if name and _within(x, panel.x_limits) and _within(y, panel.y_limits):
                # Beside the mark, towards the middle of the panel.
                side, level = (-1 if x > np.mean(panel.x_limits) else 1), (-1 if y > 0 else 1)
                axes.annotate(
                    name,
                    (x, y),
                    (7 * side, 6 * level),
                    textcoords="offset points",
                    ha="left" if side > 0 else "right",
                    va="bottom" if level > 0 else "top",
                    fontsize=13 if scale == 1 else 11,
                    zorder=4,
                )
    axes.set(xlim=panel.x_limits, ylim=panel.y_limits)
    axes.set_xlabel(panel.axes[0], fontsize=15)
    axes.set_ylabel(panel.axes[1], fontsize=15)
    axes.tick_params(labelsize=12)
    axes.set_aspect("equal", adjustable="box")


def legend_handles(kinds: Collection[Kind]) -> list[Line2D]:
    """Return an entry for each kind that occurs, in the order of `STYLES`."""
    handles = []
    for kind, (colour, shape) in STYLES.items():
        if kind in kinds:
            entry = Line2D([], [], color=colour, marker=shape, markersize=9, lw=2, label=kind)
            entry.set_linestyle("--" if shape == LINE else "")
            handles.append(entry)
    return handles


def _draw_arrows(axes: Axes, marks: Marks, colour: str) -> None:
    line = "--" if STYLES[marks.kind][1] == LINE else "-"
    for x, y in zip(marks.x, marks.y, strict=True):
        arrow = {"arrowstyle": "-|>", "color": colour, "lw": 2.5, "linestyle": line}
        axes.annotate("", (x, y), (0, 0), arrowprops=arrow | {"shrinkA": 0, "shrinkB": 0})


def _draw_scores(axes: Axes, scores: Sequence[Score]) -> None:
    """Draw probabilities as bars, the most probable label on top."""
    places = np.arange(len(scores))[::-1]
    colours = ["#bd1f01" if score.true else "#94a4a2" for score in scores]
    axes.barh(places, [score.probability for score in scores], color=colours, height=0.45)
    for place, score in zip(places, scores, strict=True):
        truth = " (true)" if score.true else ""
        text = f"{score.name}{truth}: {score.probability:.3f}"
        axes.annotate(
            text, (0, place + 0.27), (4, 0), textcoords="offset points", fontsize=12, va="bottom"
        )
    axes.set(xlim=(0, 1), ylim=(-0.5, len(scores) - 0.2), yticks=[])
    axes.set_title("Most probable labels", fontsize=14, pad=8)
    axes.set_xlabel("Probability", fontsize=15)
    axes.tick_params(labelsize=12)
    axes.minorticks_off()


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]
