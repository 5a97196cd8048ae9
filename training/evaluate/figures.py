"""Figures of an evaluation, each as PNG and PDF."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import mplhep
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from provenance.files import atomic_output


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
    for suffix, metadata in ((".png", {}), (".pdf", {"CreationDate": None})):
        with atomic_output(path.with_suffix(suffix)) as temporary:
            canvas.savefig(temporary, dpi=120, metadata=metadata)


def draw_loss(path: Path, history: list[dict[str, float]]) -> None:
    """Draw training and validation loss, and accuracy, over the epochs."""
    epochs = [row["epoch"] + 1 for row in history]
    with figure(path) as axes:
        axes.plot(epochs, [row["train_loss"] for row in history], "o-", label="training")
        axes.plot(epochs, [row["val_loss"] for row in history], "s-", label="validation (EMA)")
        axes.set(xlabel="Epoch", ylabel="Cross-entropy")
        accuracy = axes.twinx()
        values = [row["val_accuracy"] for row in history]
        accuracy.plot(epochs, values, "^--", color="0.5", label="accuracy (EMA)")
        accuracy.set_ylabel("Validation accuracy")
        lines, names = (
            mine + other
            for mine, other in zip(
                axes.get_legend_handles_labels(), accuracy.get_legend_handles_labels(), strict=True
            )
        )
        axes.legend(lines, names, loc="upper center")
        for one in (axes, accuracy):
            low, high = one.get_ylim()
            one.set_ylim(low, high + 0.35 * (high - low))
        axes.xaxis.get_major_locator().set_params(integer=True)


def draw_roc(path: Path, curves: dict[str, tuple[np.ndarray, np.ndarray, float | None]]) -> None:
    """Draw background against signal efficiency; curves are name → (signal, background, AUC)."""
    with figure(path) as axes:
        grid = np.linspace(0, 1, 200)
        axes.plot(grid, grid, ":", color="0.6", label="chance")
        for name, (signal, background, area) in curves.items():
            visible = background > 0
            label = name if area is None else f"{name} (AUC {area:.3f})"
            axes.plot(signal[visible], background[visible], label=label)
        axes.set(xlabel="Signal efficiency", ylabel="Background efficiency")
        axes.set(yscale="log", xlim=(0, 1), ylim=(None, 1))
        # Room for the legend below the curves.
        axes.set_ylim(bottom=axes.get_ylim()[0] / 10)
        axes.legend(loc="lower right")


def draw_confusion(path: Path, counts: np.ndarray, names: list[str], kind: str) -> None:
    """Draw a confusion matrix, each row (truth) normalised to one; `kind` of class is named."""
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    with figure(path, (10, 9)) as axes:
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        ticks = np.arange(len(names))
        axes.set_xticks(ticks, names, rotation=45, ha="right", fontsize=14)
        axes.set_yticks(ticks, names, fontsize=14)
        axes.minorticks_off()
        axes.tick_params(length=0)
        axes.set(xlabel=f"Predicted {kind}", ylabel=f"True {kind}")
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.005:
                color = "white" if share > 0.5 else "black"
                text = f"{share:.2f}"
                axes.text(column, row, text, ha="center", va="center", fontsize=11, color=color)
        axes.figure.colorbar(image, ax=axes, label=f"Share of the true {kind}", shrink=0.8)


def draw_calibration(path: Path, bins: dict[str, list]) -> None:
    """Draw accuracy against confidence, with binomial errors."""
    filled = [i for i, jets in enumerate(bins["jets"]) if jets]
    accuracy = np.array([bins["accuracy"][i] for i in filled])
    spread = np.sqrt(accuracy * (1 - accuracy) / np.array(bins["jets"])[filled])
    with figure(path) as axes:
        axes.plot([0, 1], [0, 1], ":", color="0.6", label="perfect")
        axes.errorbar(
            [bins["confidence"][i] for i in filled],
            accuracy,
            spread,
            fmt="o-",
            label=f"network (ECE {bins['ece']:.3f})",
        )
        axes.set(xlabel="Confidence", ylabel="Accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
        axes.legend(loc="upper left")


def draw_sculpting(path: Path, edges: np.ndarray, results: dict[str, dict], kept: float) -> None:
    """Draw the soft-drop mass of QCD jets before and after cuts that keep the same share."""
    with figure(path) as axes:
        drawn = [result for result in results.values() if result["all"] is not None]
        if drawn:
            mplhep.histplot(drawn[0]["all"], edges, ax=axes, color="black", label="all QCD jets")
        for name, result in results.items():
            if result["passed"] is not None:
                label = f"{kept:.0%} highest {name}"
                mplhep.histplot(result["passed"], edges, ax=axes, label=label)
        axes.set(xlabel="Soft-drop mass (GeV)", ylabel="Share of jets per bin")
        axes.set(xlim=(edges[0], edges[-1]), ylim=(0, None))
        if drawn:
            axes.legend()
        else:
            axes.text(0.5, 0.5, "too few QCD jets", ha="center", transform=axes.transAxes)


def draw_spectra(
    path: Path,
    edges: dict[str, tuple[float, ...]],
    names: list[str],
    counts: np.ndarray,
    drawn: np.ndarray,
) -> None:
    """Draw what sampling weights do to the largest groups.

    Parameters
    ----------
    path
        Of the figure, without suffix.
    edges
        Axis label → bin edges, for the last two axes of the counts.
    names
        Of the groups.
    counts, drawn
        (n_groups, n_pt, n_sdmass) jets before and after.
    """
    with style():
        canvas, axes = plt.subplots(2, 2, figsize=(14, 11), layout="constrained")
        largest = np.argsort(-counts.sum(axis=(1, 2)))[:6]
        for row, (title, content) in enumerate((("as stored", counts), ("as drawn", drawn))):
            for column, (label, steps) in enumerate(edges.items()):
                panel = axes[row, column]
                for group in largest:
                    jets = content[group].sum(axis=1 - column)
                    if jets.sum():
                        density = jets / jets.sum() / np.diff(steps)
                        mplhep.histplot(density, steps, ax=panel, label=names[group])
                panel.set(xlabel=label, ylabel="Share of jets per GeV", title=title)
                panel.set(xlim=(steps[0], steps[-1]), yscale="log")
                if column == 0:
                    panel.set_xscale("log")
        axes[0, 1].legend(fontsize=14)
        save(canvas, path)


def draw_few_shot(path: Path, results: dict[str, dict[str, dict[str, list[float]]]]) -> None:
    """Draw accuracy and AUC by the number of training jets.

    Parameters
    ----------
    path
        Of the figure, without suffix.
    results
        Way → number of jets → `accuracy` and `auc`, a value per seed: the mean is drawn, and the
        standard deviation as a band.
    """
    names = {"accuracy": "Accuracy", "auc": "AUC, mean over classes"}
    with style():
        canvas, panels = plt.subplots(1, 2, figsize=(14, 6.5), layout="constrained")
        for panel, (quantity, name) in zip(panels, names.items(), strict=True):
            for (way, by_size), marker in zip(results.items(), "osD", strict=True):
                sizes = [int(size) for size in by_size]
                values = [np.array(numbers[quantity], float) for numbers in by_size.values()]
                mean = np.array([value.mean() for value in values])
                spread = np.array([value.std(ddof=min(len(value) - 1, 1)) for value in values])
                (line,) = panel.plot(sizes, mean, marker=marker, label=way)
                panel.fill_between(
                    sizes, mean - spread, mean + spread, color=line.get_color(), alpha=0.2, lw=0
                )
            panel.set(xlabel="Training jets", ylabel=name, xscale="log")
        panels[0].legend()
        save(canvas, path)
