"""Figures of a dataset: what its jets look like."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hist
import matplotlib as mpl
import mplhep
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from ntuplizer.products import Axis
from provenance.files import atomic_output


def style() -> None:
    """Set the look of all figures."""
    mpl.use("agg")
    mplhep.style.use("CMS")
    mpl.rcParams.update({"font.size": 15, "savefig.dpi": 110})


# Distributions are drawn from at most this many shards of each part: the figure of a dataset of
# 200 million jets looks no different, and takes a minute.
SHARDS_PER_PART = 10

CONSTITUENTS = {
    "charged hadron": ("part_isChargedHadron", "#3f90da"),
    "neutral hadron": ("part_isNeutralHadron", "#92dadd"),
    "photon": ("part_isPhoton", "#ffa90e"),
    "electron": ("part_isElectron", "#bd1f01"),
    "muon": ("part_isMuon", "#832db6"),
}
# The largest marker, in points squared, stands for the hardest constituent.
MARKER_AREA = 900


def read_rows(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Stream columns of a shard, checking the page checksums."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        yield from file.iter_batches(columns=columns)


def fill_rows(files: list[tuple[str, Path]], axes: Sequence[Axis]) -> dict[str, hist.Hist]:
    """Fill the distribution of some columns for each part.

    Parameters
    ----------
    files
        (part, path of the shard).
    axes
        The columns and their bins, as a product names them.

    Returns
    -------
    dict
        For each column a histogram with the axes `part` and the column.
    """
    parts = list(dict.fromkeys(part for part, _ in files))
    filled: dict[str, hist.Hist] = {
        axis.column: hist.Hist(
            hist.axis.StrCategory(parts, name="part"),
            hist.axis.Regular(axis.bins, axis.low, axis.high, name=axis.column, label=axis.title),
        )
        for axis in axes
    }
    for part, path in files:
        for rows in read_rows(path, list(filled)):
            for name, histogram in filled.items():
                histogram.fill(part=part, **{name: rows[name].to_numpy()})
    return filled


def plot_distribution(histogram: hist.Hist) -> Figure:
    """Draw one quantity, each part normalised to unit area."""
    figure = Figure(figsize=(7, 5.4), layout="constrained")
    axes = figure.subplots()
    for part in histogram.axes["part"]:
        mplhep.histplot(histogram[part, :], ax=axes, label=part, density=True, yerr=False, lw=2)
    axes.set_xlabel(histogram.axes[1].label)
    axes.set_ylabel("Rows (normalised)")
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def plot_label_counts(counts: dict[str, int]) -> Figure:
    """Draw the number of jets of each label that occurs, most frequent first.

    Parameters
    ----------
    counts
        Jets per label name.
    """
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    figure = Figure(figsize=(14, 4.6), layout="constrained")
    axes = figure.subplots()
    colours = {"X_YY": "#e42536", "QCD": "#7a7d81"}
    axes.bar(
        range(len(ordered)),
        [count for _, count in ordered],
        width=1.0,
        color=[
            next((c for prefix, c in colours.items() if name.startswith(prefix)), "#3f90da")
            for name, _ in ordered
        ],
    )
    # Names of 188 labels cannot be read on one axis; the table below the figure holds them all.
    step = max(1, len(ordered) // 48)
    axes.set_xticks(range(0, len(ordered), step), [name for name, _ in ordered[::step]])
    axes.tick_params(axis="x", labelrotation=90, labelsize=9, which="both", top=False)
    axes.minorticks_off()
    axes.set_yscale("log")
    axes.set_ylabel("Jets")
    axes.margins(x=0.005)
    axes.legend(
        handles=[
            Line2D([], [], color=colour, lw=6, label=label)
            for label, colour in (
                ("X → 2 prongs", "#3f90da"),
                ("X → YY", colours["X_YY"]),
                ("QCD", colours["QCD"]),
            )
        ]
    )
    return figure


def plot_jets(jets: list[tuple[str, dict[str, Any]]]) -> Figure:
    """Draw jets as their constituents in (Δη, Δφ); the marker's area is proportional to pT.

    Parameters
    ----------
    jets
        (label name, row of the jet file) of each jet.
    """
    reach = [np.hypot(jet["part_deta"], jet["part_dphi"]).max() for _, jet in jets]
    radius = max(0.8, *reach)
    figure = Figure(figsize=(4.6 * len(jets), 5.8), layout="constrained")
    for axes, (label, jet) in zip(
        figure.subplots(1, len(jets), squeeze=False)[0], jets, strict=True
    ):
        pt = np.hypot(jet["part_px"], jet["part_py"])
        for column, colour in CONSTITUENTS.values():
            chosen = np.asarray(jet[column], dtype=bool)
            axes.scatter(
                np.asarray(jet["part_deta"])[chosen],
                np.asarray(jet["part_dphi"])[chosen],
                s=MARKER_AREA * pt[chosen] / pt.max() + 4,
                color=colour,
                alpha=0.7,
                linewidths=0,
            )
        axes.add_patch(Circle((0, 0), radius, fill=False, color="0.7", linestyle="--"))
        axes.set(xlim=(-1.1 * radius, 1.1 * radius), ylim=(-1.1 * radius, 1.1 * radius))
        axes.set_aspect("equal")
        axes.set_xlabel(r"$\Delta\eta$")
        axes.set_ylabel(r"$\Delta\phi$")
        axes.set_title(
            f"{label}\n$p_T$ {jet['jet_pt']:.0f} GeV, $m_{{SD}}$ {jet['jet_sdmass']:.0f} GeV",
            fontsize=14,
            pad=10,
        )
    figure.legend(
        handles=[
            Line2D([], [], color=colour, marker="o", linestyle="", label=name)
            for name, (_, colour) in CONSTITUENTS.items()
        ],
        loc="outside lower center",
        ncols=len(CONSTITUENTS),
        fontsize=13,
    )
    return figure


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
    style()
    panels = 1 if study["baseline"] is None else 2
    figure = Figure(figsize=(8, 3.2 + 2.6 * panels), layout="constrained")
    ratios = {"height_ratios": [2, 1][:panels]}
    all_axes = figure.subplots(panels, 1, squeeze=False, sharex=True, gridspec_kw=ratios)[:, 0]
    ways = list(dict.fromkeys(row["way"] for row in results))
    panel = [("mean", "error", study["metric"].replace("_", " "))]
    panel += [("gain", "gain_error", f"gain over {study['baseline']}")][: panels - 1]
    for axes, (value, error, title) in zip(all_axes, panel, strict=True):
        for way in ways:
            rows = [row for row in results if row["way"] == way and value in row]
            if rows:
                at = [_place(row, ways) for row in rows]
                errors = [row[error] or 0.0 for row in rows]
                colour = f"C{ways.index(way)}"
                axes.errorbar(
                    at, [row[value] for row in rows], errors, fmt="o-", capsize=4, label=way,
                    color=colour,
                )  # fmt: skip
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
    if study["note"] is not None:
        all_axes[0].set_title(study["note"], fontsize=13)
    if len(all_axes) > 1:
        all_axes[1].axhline(0, color="0.4", lw=1)
    if study["size_key"] is None:
        all_axes[-1].set_xticks(range(len(ways)), ways, rotation=20, ha="right")
        all_axes[-1].minorticks_off()
    else:
        all_axes[-1].set_xscale("log")
        all_axes[-1].set_xlabel(study["size_key"])
        all_axes[0].legend()
    for suffix in (".png", ".pdf"):
        with atomic_output(stem.with_suffix(suffix)) as temporary:
            # Without the date, which would change every time.
            metadata = {"Software": None} if suffix == ".png" else {"CreationDate": None}
            figure.savefig(temporary, metadata=metadata)


def _place(row: Mapping[str, Any], ways: list[str]) -> float:
    return ways.index(row["way"]) if row["size"] is None else row["size"]
