"""How a cut on a score changes the mass spectrum of background jets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mplhep
import numpy as np
from matplotlib.axes import Axes

from training.evaluate.figures import figure
from training.evaluate.metrics import MIN_ROWS


@dataclass(frozen=True)
class Sculpting:
    """Normalised mass spectra before and after a cut, and how far they are apart."""

    kept: float  # share of the jets that pass
    divergence: float  # Jensen-Shannon, in bits: 0 for equal shapes, 1 for disjoint ones
    all: list[float]
    passed: list[float]


def sculpting(
    sdmass: np.ndarray, score: np.ndarray, kept: float, edges: np.ndarray
) -> Sculpting | None:
    """Compare the spectra of all jets and of those with the highest scores.

    Parameters
    ----------
    sdmass, score
        Of background jets, (n,).
    kept
        Share of the jets that pass the cut.
    edges
        Of the mass bins, GeV.

    Returns
    -------
    Sculpting
        None for a small sample.
    """
    passed = score >= np.quantile(score, 1 - kept) if len(score) else np.zeros(0, bool)
    spectra = [np.histogram(jets, edges)[0].astype(float) for jets in (sdmass, sdmass[passed])]
    if min(spectrum.sum() for spectrum in spectra) < MIN_ROWS:
        return None
    before, after = (spectrum / spectrum.sum() for spectrum in spectra)
    middle = (before + after) / 2
    divergence = sum(
        0.5 * float(np.sum(p[p > 0] * np.log2(p[p > 0] / middle[p > 0]))) for p in (before, after)
    )
    return Sculpting(kept, divergence, before.tolist(), after.tolist())


def draw_sculpting(
    path: Path, edges: np.ndarray, results: Mapping[str, Sculpting | None], background: str
) -> None:
    """Draw the soft-drop mass of background jets before and after cuts on several scores."""
    with figure(path) as axes:
        plot_sculpting(axes, edges, results, background)


def plot_sculpting(
    axes: Axes, edges: np.ndarray, results: Mapping[str, Sculpting | None], background: str
) -> None:
    """Plot the soft-drop mass of background jets before and after cuts on several scores."""
    known: Sequence[tuple[str, Sculpting]] = [
        (name, result) for name, result in results.items() if result is not None
    ]
    axes.set(xlabel="Soft-drop mass (GeV)", ylabel="Share of jets per bin")
    if not known:
        axes.text(0.5, 0.5, f"too few {background} jets", ha="center", transform=axes.transAxes)
        return
    before = np.array(known[0][1].all)
    mplhep.histplot(before, edges, ax=axes, color="black", label=f"all {background} jets")
    for name, result in known:
        label = f"{result.kept:.0%} highest {name}"
        mplhep.histplot(np.array(result.passed), edges, ax=axes, label=label)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, None))
    axes.legend()
