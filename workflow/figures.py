"""Figures of datasets and studies, in the style that all pictures of rows have."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import mplhep
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

from ntuplizer.display import Panel
from ntuplizer.display.draw import draw_panel, legend_handles, style
from ntuplizer.products import Axis
from provenance.files import atomic_output

# Parts are told apart in print and without colours, too.
LINES = ("-", "--", "-.", ":")
MARKERS = "osD^vP"
# Of all rows, what may lie beyond the ends of an axis.
TAIL = 0.001
# Fewer values than this in a bin are too few for a median.
MIN_VALUES = 10
# Examples: how many beside each other, and inches: a panel, the room above it for title and ticks,
# beside it, left of all and below all.
COLUMNS_OF_EXAMPLES = 4
PANEL, ABOVE, GAP, LEFT, BELOW = 2.75, 0.85, 0.3, 0.75, 1.0
# The label chart is shown at its own size: lines that one column takes, and inches of each.
LABELS_PER_COLUMN, LABEL_HEIGHT, LABEL_WIDTH = 52, 0.145, 2.5
# Counts that differ by more than this are drawn on a logarithmic axis.
LOGARITHMIC = 30

Pairs = Mapping[str, tuple[np.ndarray, np.ndarray]]


def plot_distribution(
    parts: Mapping[str, np.ndarray], axis: Axis
) -> tuple[Figure, dict[str, Any], float]:
    """Draw one quantity, the bins of each part summing to one, over the range that has rows.

    Parameters
    ----------
    parts
        Values by part, (n,) each.
    axis
        Title and bins.

    Returns
    -------
    figure : Figure
    data : dict
        `edges`, and counts by part.
    outside : float
        Share of the rows that are not shown.
    """
    space = np.geomspace if axis.logarithmic else np.linspace
    edges = space(axis.low, axis.high, axis.bins + 1)
    counts = {part: np.histogram(values, edges)[0] for part, values in parts.items()}
    summed = sum(counts.values(), np.zeros(axis.bins, int))
    first, last = _filled(summed)
    edges = edges[first : last + 1]
    counts = {part: own[first:last] for part, own in counts.items()}
    rows = sum(len(values) for values in parts.values())
    shown = sum(int(own.sum()) for own in counts.values())
    figure = Figure(figsize=(7, 5.2), layout="constrained")
    axes = figure.subplots()
    for number, (part, own) in enumerate(counts.items()):
        share = own / max(len(parts[part]), 1)
        line = LINES[number % len(LINES)]
        mplhep.histplot(share, edges, ax=axes, label=part, yerr=False, lw=2, linestyle=line)
    axes.set(xlim=(edges[0], edges[-1]), xscale="log" if axis.logarithmic else "linear")
    axes.set_xlabel(axis.title)
    axes.set_ylabel("Share of rows per bin")
    # Room for the legend above the highest bin.
    axes.set_ylim(0, 1.25 * max(axes.get_ylim()[1] / 1.05, 1e-9))
    axes.legend(ncols=2 if len(counts) > 2 else 1)
    if axis.logarithmic:
        _plain_decades(axes)
    data = {"column": axis.column, "edges": edges.tolist()}
    data["rows"] = {part: own.tolist() for part, own in counts.items()}
    return figure, data, (rows - shown) / max(rows, 1)


def _filled(counts: np.ndarray) -> tuple[int, int]:
    """Return the first and one past the last bin between the tails; all bins without rows."""
    total = counts.sum()
    if not total:
        return 0, len(counts)
    below = np.cumsum(counts) / total
    first = int(np.searchsorted(below, TAIL, side="right"))
    last = int(np.searchsorted(below, 1 - TAIL, side="left")) + 1
    return first, min(max(last, first + 1), len(counts))


def _plain_decades(axes: Axes) -> None:
    """Write 20, 50, 100 on a logarithmic axis: it may span less than a decade."""
    low, high = axes.get_xlim()
    ticks = [
        factor * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for factor in (1, 2, 5)
    ]
    inside = [tick for tick in ticks if low <= tick <= high]
    axes.set_xticks(inside, [f"{tick:g}" for tick in inside])
    axes.set_xticks([], minor=True)


def plot_label_counts(groups: Mapping[str, Mapping[str, int]]) -> Figure:
    """Draw the rows of each label that occurs as bars, group by group in several columns.

    Parameters
    ----------
    groups
        Rows by label name, by group.
    """
    lines: list[tuple[str, int | None, int]] = []
    for number, (group, members) in enumerate(groups.items()):
        if len(groups) > 1:
            lines.append((group, None, number))
        lines += [(name, count, number) for name, count in members.items()]
    n_columns = max(1, math.ceil(len(lines) / LABELS_PER_COLUMN))
    per_column = math.ceil(len(lines) / n_columns)
    counts = [count for _, count, _ in lines if count is not None]
    logarithmic = max(counts) > LOGARITHMIC * min(counts)
    height = 1.0 + LABEL_HEIGHT * max(per_column, 6)
    figure = Figure(figsize=(max(LABEL_WIDTH * n_columns, 5.0), height), layout="constrained")
    for column, axes in enumerate(figure.subplots(1, n_columns, squeeze=False, sharex=True)[0]):
        own = lines[column * per_column : (column + 1) * per_column]
        for place, (_, count, number) in enumerate(own):
            if count is not None:
                # Two tints in turn: headings beside the bars say which group it is.
                axes.barh(place, count, height=0.8, color=("#5790fc", "#f89c20")[number % 2])
        axes.set_yticks(range(len(own)), [name for name, _, _ in own], fontsize=7)
        for tick, (_, count, _) in zip(axes.get_yticklabels(), own, strict=True):
            if count is None:
                tick.set_fontweight("bold")
        axes.set_ylim(per_column - 0.4, -0.6)
        axes.tick_params(axis="y", which="both", length=0, pad=2, right=False)
        axes.tick_params(axis="x", labelsize=7, which="both", top=False, length=3, pad=2)
        if logarithmic:
            axes.set_xscale("log")
            axes.set_xlim(0.7 * min(counts), 1.3 * max(counts))
        else:
            axes.set_xlim(0, 1.05 * max(counts))
            axes.locator_params(axis="x", nbins=4)
        axes.minorticks_off()
        axes.set_xlabel("Rows", fontsize=8)
        axes.grid(axis="x", alpha=0.4, lw=0.6)
        axes.set_axisbelow(True)
        for side in axes.spines.values():
            side.set_linewidth(0.8)
    return figure


def plot_examples(panels: Sequence[tuple[str, Panel]]) -> Figure:
    """Draw rows beside each other, each with its title."""
    n_columns = min(COLUMNS_OF_EXAMPLES, len(panels))
    n_rows = math.ceil(len(panels) / n_columns)
    # Layouts that are computed do not settle with square panels: all is given in inches.
    width = LEFT + n_columns * (PANEL + GAP)
    height = BELOW + n_rows * (PANEL + ABOVE)
    figure = Figure(figsize=(width, height))
    alike = len({(panel.x_limits, panel.y_limits) for _, panel in panels}) == 1
    for number, (title, panel) in enumerate(panels):
        row, column = divmod(number, n_columns)
        left, top = LEFT + column * (PANEL + GAP), ABOVE + row * (PANEL + ABOVE)
        place = (left / width, 1 - (top + PANEL) / height, PANEL / width, PANEL / height)
        axes = figure.add_axes(place)
        draw_panel(axes, panel, 0.6)
        axes.minorticks_off()
        axes.set_title(title, fontsize=12, pad=5)
        if column:
            axes.set_ylabel("")
            axes.tick_params(axis="y", labelleft=not alike)
        if number + n_columns < len(panels):
            axes.set_xlabel("")
    handles = legend_handles(set().union(*(panel.kinds for _, panel in panels)))
    columns = len(handles) if n_columns > 2 else 2
    figure.legend(handles=handles, loc="lower center", ncols=columns, fontsize=12)
    return figure


def plot_matching(pairs: Pairs) -> tuple[Figure, dict[str, Any]]:
    """Draw the share of jets with a GEN-jet against pT, with intervals of 68 %.

    Parameters
    ----------
    pairs
        pT of jet and GEN-jet by part, (n,) each; 0 without a match.
    """
    figure = Figure(figsize=(7, 5.2), layout="constrained")
    axes = figure.subplots()
    edges = _pt_edges([pt for pt, _ in pairs.values()], 12)
    data: dict[str, Any] = {"edges": edges.tolist(), "parts": {}}
    lowest = 0.99
    for number, (part, (pt, gen)) in enumerate(pairs.items()):
        jets = np.histogram(pt, edges)[0]
        found = np.histogram(pt[gen > 0], edges)[0]
        data["parts"][part] = {"jets": jets.tolist(), "matched": found.tolist()}
        filled = jets >= MIN_VALUES
        share = found[filled] / jets[filled]
        low, high = _wilson(found[filled], jets[filled])
        centre = _shifted(edges, number, len(pairs))[filled]
        bars = np.maximum([share - low, high - share], 0)
        marker = MARKERS[number % len(MARKERS)]
        axes.errorbar(centre, share, bars, fmt=marker, ms=6, capsize=2, label=part)
        lowest = min(lowest, *low) if len(low) else lowest
    axes.axhline(1, color="0.6", lw=1, zorder=0)
    axes.set(xscale="log", xlim=(edges[0], edges[-1]))
    axes.set_ylim(lowest - 0.15 * (1 - lowest), 1 + 0.15 * (1 - lowest))
    axes.set_xlabel(r"Jet $p_\mathrm{T}$ (GeV)")
    axes.set_ylabel("Share with a GEN-jet")
    _plain_decades(axes)
    axes.legend()
    return figure, data


def plot_response(responses: Pairs) -> tuple[Figure, dict[str, Any]]:
    """Draw the distribution of the response, and its median against the pT of the GEN-jet.

    Parameters
    ----------
    responses
        Response and pT of the GEN-jet by part, (n,) each.
    """
    figure = Figure(figsize=(14, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    pooled = np.concatenate([response for response, _ in responses.values()])
    low, high = np.quantile(pooled, (0.003, 0.997)) if len(pooled) else (0.5, 1.5)
    bins = np.linspace(math.floor(20 * low) / 20, math.ceil(20 * high) / 20, 61)
    edges = _pt_edges([gen for _, gen in responses.values()], 12)
    data: dict[str, Any] = {"response": bins.tolist(), "gen_pt": edges.tolist(), "parts": {}}
    for number, (part, (response, gen)) in enumerate(responses.items()):
        counts = np.histogram(response, bins)[0]
        line, marker = LINES[number % len(LINES)], MARKERS[number % len(MARKERS)]
        share = counts / max(len(response), 1)
        mplhep.histplot(share, bins, ax=left, yerr=False, lw=2, linestyle=line, label=part)
        place = np.digitize(gen, edges) - 1
        centres = _shifted(edges, number, len(responses))
        rows = []
        for index, centre in enumerate(centres):
            own = response[place == index]
            if len(own) >= MIN_VALUES:
                rows.append((centre, *np.quantile(own, (0.16, 0.5, 0.84))))
        if rows:
            at, lower, middle, upper = np.array(rows).T
            bars = [middle - lower, upper - middle]
            right.errorbar(at, middle, bars, fmt=marker, ms=6, capsize=2, label=part)
        data["parts"][part] = {"rows": counts.tolist(), "quantiles": np.array(rows).tolist()}
    left.set_xlim(bins[0], bins[-1])
    left.set_ylim(bottom=0)
    left.set_xlabel("Response")
    left.set_ylabel("Share of jets per bin")
    left.legend()
    right.axhline(1, color="0.6", lw=1, zorder=0)
    right.set(xscale="log", xlim=(edges[0], edges[-1]))
    right.set_xlabel(r"GEN-jet $p_\mathrm{T}$ (GeV)")
    right.set_ylabel("Median response")
    _plain_decades(right)
    return figure, data


def _pt_edges(samples: Sequence[np.ndarray], bins: int) -> np.ndarray:
    """Return edges of equal ratio over the range of some positive samples."""
    pooled = np.concatenate([sample[sample > 0] for sample in samples])
    if not len(pooled):
        return np.geomspace(10, 1000, bins + 1)
    low, high = np.quantile(pooled, (TAIL, 1 - TAIL))
    return np.geomspace(low, max(high, 1.01 * low), bins + 1)


def _shifted(edges: np.ndarray, number: int, total: int) -> np.ndarray:
    """Return a place in each bin, another for each part, so that bars do not cover each other."""
    share = (number + 1) / (total + 1)
    return edges[:-1] ** (1 - share) * edges[1:] ** share


def _wilson(passed: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's intervals of 68 % for shares, (n,) each: within 0 and 1."""
    tests = [binomtest(int(k), int(n)) for k, n in zip(passed, total, strict=True)]
    found = [test.proportion_ci(0.68, method="wilson") for test in tests]
    return np.array([one.low for one in found]), np.array([one.high for one in found])


def draw_study(stem: Path, results: list[dict[str, Any]], study: Mapping[str, Any]) -> None:
    """Draw a study: its metric against the size for each way, with standard errors.

    Without sizes the ways stand side by side. With a baseline a second panel has the gain over it,
    paired by seed.

    Parameters
    ----------
    stem
        Path of the figure without its suffix; PNG and PDF are written.
    results, study
        From `workflow.jobs.study`.
    """
    with style():
        figure = plot_study(results, study)
        for suffix in (".png", ".pdf"):
            with atomic_output(stem.with_suffix(suffix)) as temporary:
                # Without the date, which would change every time.
                metadata = {"Software": None} if suffix == ".png" else {"CreationDate": None}
                figure.savefig(temporary, dpi=110, metadata=metadata)


def plot_study(results: list[dict[str, Any]], study: Mapping[str, Any]) -> Figure:
    """Return the figure of a study; see `draw_study`."""
    panels = 1 if study["baseline"] is None else 2
    ways = list(dict.fromkeys(row["way"] for row in results))
    width = 8.0 if study["size_key"] is not None else max(8.0, 1.1 * len(ways))
    figure = Figure(figsize=(width, 3.4 + 2.6 * panels), layout="constrained")
    ratios = {"height_ratios": [2, 1][:panels]}
    all_axes = figure.subplots(panels, 1, squeeze=False, sharex=True, gridspec_kw=ratios)[:, 0]
    panel = [("mean", "error", study["metric"].replace("_", " "))]
    panel += [("gain", "gain_error", f"Gain over {study['baseline']}")][: panels - 1]
    for axes, (value, error, title) in zip(all_axes, panel, strict=True):
        for number, way in enumerate(ways):
            rows = [row for row in results if row["way"] == way and value in row]
            if rows:
                at = [_place(row, ways) for row in rows]
                errors = [row[error] or 0.0 for row in rows]
                axes.errorbar(
                    at, [row[value] for row in rows], errors, capsize=4, label=way,
                    color=f"C{number}", marker=MARKERS[number % len(MARKERS)],
                    linestyle=LINES[number % len(LINES)],
                )  # fmt: skip
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
    if study["note"] is not None:
        all_axes[0].set_title("\n".join(wrap(study["note"], 80)), fontsize=13)
    if len(all_axes) > 1:
        all_axes[1].axhline(0, color="0.4", lw=1)
    last = all_axes[-1]
    if study["size_key"] is None:
        last.set_xticks(range(len(ways)), ways, rotation=20, ha="right")
        last.set_xlim(-0.5, len(ways) - 0.5)
        last.minorticks_off()
    else:
        sizes = sorted({row["size"] for row in results})
        if sizes[0] > 0:
            last.set_xscale("log")
        else:
            # Without registers, say: logarithmic beyond the first size that is not 0.
            positive = next((size for size in sizes if size > 0), 1)
            last.set_xscale("symlog", linthresh=positive, linscale=0.5)
        last.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=20)
        last.set_xticks([], minor=True)
        last.set_xlabel(study["size_key"])
        all_axes[0].legend()
    return figure


def _place(row: Mapping[str, Any], ways: list[str]) -> float:
    return ways.index(row["way"]) if row["size"] is None else row["size"]
