"""Figures of an evaluation of jet energy corrections, from what `evaluate_response` returns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.jec.response import CLOSURE, DISTRIBUTION_EDGES

_SIZE = (8, 7)
_MARKERS = "osDv^P"
# Jets that the highest bin of a distribution should have.
_PEAK = 20
_PT_LABEL = r"GEN-jet $p_\mathrm{T}$ (GeV)"


def response_figures(result: Mapping) -> Iterator[tuple[str, str, Figure]]:
    """Yield all figures of an evaluation: file name without suffix, caption, figure.

    Parameters
    ----------
    result
        From `training.jec.response.evaluate_response`, also after a trip through JSON.
    """
    for region, content in result["regions"].items():
        # Too few jets for a single median would fill pages with empty axes.
        if not _any_known(content["median"]["all"]):
            continue
        where = f"|η| {region.replace('-', ' to ')}"
        stem = region.replace(".", "p")
        yield (
            f"median_response_{stem}",
            f"Median response by flavour, {where}; the band is 1 %",
            _median(result, content["median"]),
        )
        yield (
            f"resolution_{stem}",
            f"Resolution, IQR over median of the response, and its ratio to the standard, {where}",
            _resolution(result, content["resolution"]["all"]),
        )
        yield (
            f"improvement_{stem}",
            f"Improvement of the resolution by flavour, {where}",
            _improvement(result, content["improvement"]),
        )
        if _any_known(content["flavour_dependence"]):
            yield (
                f"flavour_dependence_{stem}",
                f"Spread of the median response over flavours, {where}",
                _dependence(result, content["flavour_dependence"]),
            )
        if _any_known(content["residual"]):
            yield (
                f"residual_response_{stem}",
                f"Difference of the median response between flavours, {where}",
                _residual(result, content["residual"]),
            )
        yield (
            f"response_distributions_{stem}",
            f"Response of jets of three flavours in bins of pT, {where}",
            _distributions(result, content["distributions"]),
        )


def _any_known(content: Any) -> bool:
    """Return whether there is a number among nested values, `None` where one is not known."""
    if isinstance(content, Mapping):
        return any(_any_known(value) for key, value in content.items() if key != "error")
    if isinstance(content, list):
        return any(map(_any_known, content))
    return content is not None and bool(np.isfinite(content))


def _known_only(content: Mapping[str, Mapping]) -> dict[str, Mapping]:
    """Return what has a number to draw; all of it where nothing has."""
    known = {name: own for name, own in content.items() if _any_known(own)}
    return known or dict(content)


def _panels(number: int, share_x: bool = True) -> tuple[Figure, list[Axes]]:
    """Return a figure of a number of panels, three beside each other, so that they can be read."""
    columns = min(number, 3)
    rows = -(-number // columns)
    canvas = Figure(figsize=(_SIZE[0] * columns, _SIZE[1] * rows), layout="constrained")
    panels = canvas.subplots(rows, columns, sharex=share_x, sharey=True, squeeze=False).ravel()
    for axes in panels[number:]:
        axes.set_axis_off()
    return canvas, list(panels[:number])


def _centres(result: Mapping) -> np.ndarray:
    edges = np.array(result["pt_edges"])
    return np.sqrt(edges[1:] * edges[:-1])


def _points(curve: Mapping[str, Sequence]) -> tuple[np.ndarray, np.ndarray]:
    """Return values and errors, NaN where a bin is empty."""
    value, error = (np.array(curve[key], np.float64) for key in ("value", "error"))
    return value, error


def _plot_curves(axes: Axes, result: Mapping, curves: Mapping[str, Mapping]) -> None:
    """Plot a quantity of each correction against pT."""
    for number, name in enumerate(result["corrections"]):
        value, error = _points(curves[name])
        marker = _MARKERS[number % len(_MARKERS)]
        axes.errorbar(_centres(result), value, error, fmt=marker, ms=6, label=name, capsize=2)
    edges = result["pt_edges"]
    axes.set(xscale="log", xlabel=_PT_LABEL, xlim=(edges[0], edges[-1]))


def _median(result: Mapping, curves: Mapping[str, Mapping]) -> Figure:
    curves = _known_only(curves)
    canvas, panels = _panels(len(curves), share_x=False)
    for axes, (flavour, own) in zip(panels, curves.items(), strict=True):
        axes.axhspan(1 - CLOSURE, 1 + CLOSURE, color="0.9", zorder=0)
        axes.axhline(1, color="0.6", lw=1, zorder=0)
        _plot_curves(axes, result, own)
        axes.set(title=flavour)
    panels[0].set(ylabel="Median response")
    panels[0].legend()
    return canvas


def _resolution(result: Mapping, curves: Mapping[str, Mapping]) -> Figure:
    canvas = Figure(figsize=(_SIZE[0], 1.3 * _SIZE[1]), layout="constrained")
    upper, lower = canvas.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    _plot_curves(upper, result, curves)
    upper.set(ylabel="IQR / median", xlabel="", ylim=(0, None))
    upper.legend()
    baseline, _ = _points(curves[result["baseline"]])
    for number, name in enumerate(result["corrections"]):
        value, _ = _points(curves[name])
        lower.plot(_centres(result), value / baseline, _MARKERS[number % len(_MARKERS)], ms=6)
    lower.axhline(1, color="0.6", lw=1, zorder=0)
    lower.set(xlabel=_PT_LABEL, ylabel=f"/ {result['baseline']}")
    return canvas


def _grouped(
    axes: Axes,
    result: Mapping,
    names: Sequence[str],
    numbers: Callable[[str, str], Mapping],
) -> None:
    """Plot a number and error for each correction, beside each other in each wide bin."""
    bins = result["wide_bins"]
    for number, name in enumerate(names):
        shift = (number - (len(names) - 1) / 2) * 0.8 / len(names)
        summaries = [numbers(name, wide) for wide in bins]
        value, error = (
            np.array([summary[key] for summary in summaries], np.float64)
            for key in ("value", "error")
        )
        marker = _MARKERS[number % len(_MARKERS)]
        axes.errorbar(
            np.arange(len(bins)) + shift, value, error, fmt=marker, ms=7, label=name, capsize=2
        )
    axes.set_xticks(np.arange(len(bins)), [name.replace("-inf", "+") for name in bins], rotation=30)
    axes.set(xlabel=_PT_LABEL, xlim=(-0.5, len(bins) - 0.5))
    axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    axes.axhline(0, color="0.6", lw=1, zorder=0)


def _of_flavour(own: Mapping[str, Mapping], name: str, wide: str) -> Any:
    return own[name][wide]


def _improvement(result: Mapping, improvement: Mapping[str, Mapping]) -> Figure:
    improvement = _known_only(improvement)
    canvas, panels = _panels(len(improvement), share_x=False)
    names = [name for name in result["corrections"] if name != result["baseline"]]
    for axes, (flavour, own) in zip(panels, improvement.items(), strict=True):
        _grouped(axes, result, names, partial(_of_flavour, own))
        axes.set(title=flavour)
    panels[0].set(ylabel="Better resolution (%)")
    if names:
        panels[0].legend()
    return canvas


def _dependence(result: Mapping, dependence: Mapping[str, Mapping]) -> Figure:
    canvas = Figure(figsize=_SIZE, layout="constrained")
    axes = canvas.subplots()
    _grouped(axes, result, result["corrections"], lambda name, wide: dependence[name][wide])
    axes.set(ylabel="Sum of |median − mean| over flavours", ylim=(0, None))
    axes.legend()
    return canvas


def _residual(result: Mapping, residual: Mapping[str, Mapping]) -> Figure:
    residual = _known_only(residual)
    canvas, panels = _panels(len(residual))
    for axes, (pair, curves) in zip(panels, residual.items(), strict=True):
        axes.axhline(0, color="0.6", lw=1, zorder=0)
        _plot_curves(axes, result, curves)
        axes.set(title=pair.replace("-", " − "))
    panels[0].set(ylabel="Difference of medians")
    panels[0].legend()
    return canvas


def _coarser(counts: Mapping[str, Sequence[int]], names: Sequence[str]) -> int:
    """Return how many bins of some histograms to take as one, so that few jets make a shape."""
    for factor in (1, 2, 5):
        peaks = [np.array(counts[name]).reshape(-1, factor).sum(axis=1).max() for name in names]
        if min(peaks) >= _PEAK:
            return factor
    return 10


def _distributions(result: Mapping, distributions: Mapping[str, Mapping]) -> Figure:
    # Bins of pT without a jet of any flavour are left out.
    distributions = {
        wide: flavours
        for wide, flavours in distributions.items()
        if any(np.any(counts[result["baseline"]]) for counts in flavours.values())
    } or distributions
    rows, columns = len(distributions), len(next(iter(distributions.values())))
    canvas = Figure(figsize=(_SIZE[0] * columns, _SIZE[1] * rows), layout="constrained")
    panels = canvas.subplots(rows, columns, sharex=True, squeeze=False)
    for line, (wide, flavours) in zip(panels, distributions.items(), strict=True):
        for axes, (flavour, counts) in zip(line, flavours.items(), strict=True):
            factor = _coarser(counts, result["corrections"])
            for name in result["corrections"]:
                joined = np.array(counts[name]).reshape(-1, factor).sum(axis=1)
                axes.stairs(joined, DISTRIBUTION_EDGES[::factor], label=name, lw=1.5)
            axes.set(title=f"{flavour}, {wide} GeV", xlabel="Response", ylabel="Jets")
    panels[0, 0].legend()
    return canvas
