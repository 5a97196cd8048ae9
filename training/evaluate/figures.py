"""Figures of an evaluation, each as PNG and PDF.

`draw_…` writes a file, `plot_…` fills axes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import mplhep
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

from provenance.files import atomic_output
from training.data.reader import SamplingScheme

# Name → signal efficiency, background efficiency, area.
Curves = Mapping[str, tuple[np.ndarray, np.ndarray, float | None]]


@contextmanager
def figure(path: Path, size: tuple[float, float] = (8, 7)) -> Iterator[Axes]:
    """Give axes in the style of the field and save them as `path` with .png and .pdf."""
    with style():
        canvas, axes = plt.subplots(figsize=size, layout="constrained")
        yield axes
        save(canvas, path)


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of the field, without a display, and close what was drawn."""
    mpl.use("Agg")
    with plt.style.context([mplhep.style.CMS, {"font.size": 18, "pdf.fonttype": 42}]):
        try:
            yield
        finally:
            plt.close("all")


def save(canvas: Figure, path: Path) -> None:
    """Save a figure as `path` with .png and .pdf."""
    for suffix in (".png", ".pdf"):
        metadata = {"CreationDate": None} if suffix == ".pdf" else None
        with atomic_output(path.with_name(path.name + suffix)) as temporary:
            canvas.savefig(temporary, dpi=120, metadata=metadata)


def draw_history(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Draw what a training watched over its steps: a panel for the loss and each other number."""
    names = [name.removeprefix("val_") for name in history[-1] if name.startswith("val_")]
    columns = 2 if len(names) == 4 else min(len(names), 3)
    rows = -(-len(names) // columns)
    with style():
        canvas, panels = plt.subplots(
            rows, columns, figsize=(8 * columns, 6 * rows), layout="constrained", squeeze=False
        )
        for axes, name in zip(panels.ravel(), names, strict=False):
            plot_history(axes, history, name)
        for axes in panels.ravel()[len(names) :]:
            axes.set_axis_off()
        save(canvas, path)


def plot_history(axes: Axes, history: Sequence[Mapping[str, float]], name: str) -> None:
    """Plot a number of the training and validation splits over the steps."""
    steps = [row["step"] for row in history]
    for kind, marker, label in (("train", "o-", "training"), ("val", "s-", "validation")):
        if f"{kind}_{name}" in history[-1]:
            values = [row.get(f"{kind}_{name}", np.nan) for row in history]
            axes.plot(steps, values, marker, label=label)
    axes.set(xlabel="Step", ylabel=name.replace("_", " ").capitalize())
    axes.legend()


def draw_roc(path: Path, curves: Curves) -> None:
    """Draw background against signal efficiency."""
    with figure(path) as axes:
        plot_roc(axes, curves)


def plot_roc(axes: Axes, curves: Curves) -> None:
    """Plot background against signal efficiency."""
    grid = np.linspace(0, 1, 200)
    axes.plot(grid, grid, ":", color="0.6", label="chance")
    for name, (signal, background, area) in curves.items():
        visible = background > 0
        label = name if area is None else f"{name} (AUC {area:.3f})"
        axes.plot(signal[visible], background[visible], label=label)
    axes.set(xlabel="Signal efficiency", ylabel="Background efficiency")
    lowest = [curve[1][curve[1] > 0].min(initial=1.0) for curve in curves.values()]
    axes.set(yscale="log", xlim=(0, 1), ylim=(min(lowest, default=1e-3), 1))
    axes.legend(loc="best", fontsize=15, framealpha=0.9, frameon=True, edgecolor="none")


def draw_confusion(path: Path, counts: np.ndarray, names: Sequence[str], kind: str) -> None:
    """Draw a confusion matrix, each row (truth) normalised to one; `kind` of class is named."""
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    with figure(path, (10, 9)) as axes:
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        ticks = np.arange(len(names))
        size = 20 if len(names) <= 5 else 14
        axes.set_xticks(ticks, names, rotation=45, ha="right", fontsize=size)
        axes.set_yticks(ticks, names, fontsize=size)
        axes.minorticks_off()
        axes.tick_params(length=0)
        axes.set(xlabel=f"Predicted {kind}", ylabel=f"True {kind}")
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.005:
                color = "white" if share > 0.5 else "black"
                text = f"{share:.2f}"
                axes.text(
                    column, row, text, ha="center", va="center", fontsize=0.8 * size, color=color
                )
        plt.colorbar(image, ax=axes, label=f"Share of the true {kind}", shrink=0.8)


def draw_calibration(
    path: Path, counts: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray
) -> None:
    """Draw accuracy against confidence, (n_bins,) each, with binomial intervals of 68 %."""
    with figure(path) as axes:
        plot_calibration(axes, counts, confidence, accuracy)


def plot_calibration(
    axes: Axes, counts: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray
) -> None:
    """Plot accuracy against confidence where there are rows, with binomial intervals of 68 %."""
    filled = counts > 0
    counts, confidence, accuracy = (
        values[filled].astype(float) for values in (counts, confidence, accuracy)
    )
    # Of a bin with few rows, all of them right or wrong, the accuracy is not known exactly.
    right = np.rint(accuracy * counts).astype(int)
    tests = (binomtest(k, int(n)) for k, n in zip(right.tolist(), counts, strict=True))
    limits = np.array([test.proportion_ci(0.68, method="wilson") for test in tests]).reshape(-1, 2)
    spread = np.maximum(np.abs(limits - accuracy[:, None]).T, 0)
    error = np.average(np.abs(confidence - accuracy), weights=counts)
    axes.plot([0, 1], [0, 1], ":", color="0.6", label="perfect")
    axes.errorbar(confidence, accuracy, spread, fmt="o-", label=f"network (ECE {error:.3f})")
    axes.set(xlabel="Confidence", ylabel="Accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(loc="upper left")


def draw_spectra(
    path: Path, scheme: SamplingScheme, counts: np.ndarray, drawn: np.ndarray, noun: str
) -> None:
    """Draw what sampling weights do to the largest groups.

    Parameters
    ----------
    path
        Of the figure, without suffix.
    scheme
        Its axes are those of the counts after the first.
    counts, drawn
        (n_groups, n_bins of each axis) rows before and after.
    noun
        What a row is called.
    """
    names = list(scheme.shares)
    largest = np.argsort(-counts.reshape(len(names), -1).sum(axis=1))[:6]
    with style():
        size = (7 * len(scheme.axes), 11)
        canvas, panels = plt.subplots(
            2, len(scheme.axes), figsize=size, layout="constrained", squeeze=False
        )
        for row, (title, content) in enumerate((("as stored", counts), ("as drawn", drawn))):
            for column, axis in enumerate(scheme.axes.values()):
                panel, edges = panels[row, column], np.array(axis.edges, float)
                others = tuple(i for i in range(content.ndim - 1) if i != column)
                for group in largest:
                    rows = content[group].sum(axis=others)
                    if rows.sum():
                        density = rows / rows.sum() / np.diff(edges)
                        mplhep.histplot(density, edges, ax=panel, label=names[group])
                panel.set(xlabel=axis.title, ylabel=f"Share of {noun}s per unit", title=title)
                panel.set(xlim=(edges[0], edges[-1]), yscale="log")
                if axis.logarithmic:
                    panel.set_xscale("log")
        panels[0, -1].legend(fontsize=14)
        save(canvas, path)
