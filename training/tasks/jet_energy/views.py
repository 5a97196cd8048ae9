"""Figures of the jets that energies are learned from, before anything is trained."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from training.evaluate.figures import figure, save, style
from training.tasks.jet_energy.features import SUMMARY
from training.tasks.jet_energy.reader import EnergyJets, flavour_of

# Where quark and gluon jets are compared, as jec-gnn does: pT in GeV, |η|.
SHAPE_PT, SHAPE_ETA = (80.0, 100.0), 1.3
SHAPES = {
    "multiplicity": ("Constituents with pT > 1 GeV", np.linspace(0, 80, 41)),
    "ptd": (r"$p_\mathrm{T}D$", np.linspace(0, 1, 41)),
    "axis2": (r"Minor axis $\sigma_2$", np.linspace(0, 0.2, 41)),
}
FLAVOUR_NAMES = {0: "none", 1: "d", 2: "u", 3: "s", 4: "c", 5: "b", 21: "g"}
COLOURS = {"charged": "tab:blue", "neutral": "tab:orange", "vertices": "tab:red"}
LABELS = {"charged": "charged", "neutral": "neutral", "vertices": "secondary vertices"}
# The jet that is shown is the one nearest to this pT, GeV.
SHOWN_PT = 300.0
PT_LABEL = r"GEN-jet $p_\mathrm{T}$ (GeV)"


def draw_jets(rows: EnergyJets, chosen: np.ndarray, folder: Path) -> dict[str, str]:
    """Draw the chosen jets into a folder; return captions by the names of the files."""
    scalars = {name: values[chosen] for name, values in rows.scalars.items()}
    flavour = flavour_of(scalars)
    summary = dict(zip(SUMMARY, rows.summary[chosen].T, strict=True))
    jet = int(np.argmin(np.abs(np.log(scalars["jet_pt"] / SHOWN_PT))))
    _draw_plane(scalars, folder / "pt_eta")
    _draw_target(scalars, flavour, folder / "target")
    _draw_flavours(flavour, folder / "flavours")
    _draw_shapes(scalars, flavour, summary, folder / "quark_gluon_shapes")
    _draw_cloud(rows, int(chosen[jet]), folder / "jet_discs")
    _draw_momenta(rows, int(chosen[jet]), folder / "jet_momenta")
    low, high = SHAPE_PT
    return {
        "pt_eta": "Jets in pT of their GEN-jet and η.",
        "target": "Target log(pT of the GEN-jet / pT) by flavour.",
        "flavours": "Jets by flavour: that of the hadrons, else that of the hardest parton.",
        "quark_gluon_shapes": f"Shapes of quark (u, d, s) and gluon jets of {low:g} to {high:g} "
        f"GeV, |η| < {SHAPE_ETA:g}.",
        "jet_discs": "A jet: discs of an area that grows with pT.",
        "jet_momenta": "The same jet: height is pT over that of the jet.",
    }


def _draw_plane(scalars: Mapping[str, np.ndarray], path: Path) -> None:
    pt, eta = scalars["genjet_pt"], scalars["jet_eta"]
    edges = np.geomspace(pt.min(), pt.max() * 1.001, 51), np.linspace(-5, 5, 51)
    counts, *_ = np.histogram2d(pt, eta, edges)
    with figure(path) as axes:
        mesh = axes.pcolormesh(
            *edges, np.ma.masked_equal(counts.T, 0), norm=LogNorm(), rasterized=True
        )
        axes.figure.colorbar(mesh, ax=axes, label="Jets")
        axes.set(xscale="log", xlabel=PT_LABEL, ylabel=r"Jet $\eta$")


def _draw_target(scalars: Mapping[str, np.ndarray], flavour: np.ndarray, path: Path) -> None:
    target = np.log(scalars["genjet_pt"] / scalars["jet_pt"])
    with figure(path) as axes:
        for name, codes in {"uds": (1, 2, 3), "c": (4,), "b": (5,), "g": (21,)}.items():
            own = target[np.isin(flavour, codes)]
            if len(own):
                axes.hist(
                    own, np.linspace(-1, 1, 81).tolist(), density=True, histtype="step", label=name
                )
        axes.set(xlabel=r"$\log(p_\mathrm{T}^\mathrm{gen} / p_\mathrm{T})$", ylabel="Density")
        axes.legend()


def _draw_flavours(flavour: np.ndarray, path: Path) -> None:
    jets = [np.count_nonzero(flavour == code) for code in FLAVOUR_NAMES]
    with figure(path) as axes:
        axes.bar(list(FLAVOUR_NAMES.values()), jets)
        axes.set(xlabel="Flavour", ylabel="Jets")


def _draw_shapes(
    scalars: Mapping[str, np.ndarray],
    flavour: np.ndarray,
    summary: Mapping[str, np.ndarray],
    path: Path,
) -> None:
    pt = scalars["jet_pt"]
    inside = (pt > SHAPE_PT[0]) & (pt < SHAPE_PT[1]) & (np.abs(scalars["jet_eta"]) < SHAPE_ETA)
    with style():
        canvas, panels = plt.subplots(1, 3, figsize=(24, 7), layout="constrained")
        for axes, (name, (label, edges)) in zip(panels, SHAPES.items(), strict=True):
            for kind, codes in (("quarks", (1, 2, 3)), ("gluons", (21,))):
                own = summary[name][inside & np.isin(flavour, codes)]
                if len(own):
                    axes.hist(own, edges.tolist(), density=True, histtype="step", lw=2, label=kind)
            axes.set(xlabel=label, ylabel="Density")
        if panels[0].get_legend_handles_labels()[0]:
            panels[0].legend()
        save(canvas, path)


def _constituents(rows: EnergyJets, jet: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return positions (n, 2) and pT (n,) of the constituents, by collection that has any."""
    found = {}
    for name, own in rows.constituents.items():
        begin, end = own.offsets[jet], own.offsets[jet + 1]
        if begin < end:
            found[name] = own.positions[begin:end], own.pt[begin:end]
    return found


def _draw_cloud(rows: EnergyJets, jet: int, path: Path) -> None:
    with figure(path) as axes:
        for name, (positions, pt) in _constituents(rows, jet).items():
            area = 3000 * pt / rows.scalars["jet_pt"][jet]
            axes.scatter(
                positions[:, 0],
                positions[:, 1],
                area,
                color=COLOURS[name],
                alpha=0.5,
                label=LABELS[name],
                lw=0,
            )
        _label(axes)
        axes.set_aspect("equal")
        axes.legend(markerscale=0.5)


def _draw_momenta(rows: EnergyJets, jet: int, path: Path) -> None:
    with style():
        canvas = plt.figure(figsize=(9, 8))
        axes = canvas.add_subplot(projection="3d")
        for name, (positions, pt) in _constituents(rows, jet).items():
            height = pt / rows.scalars["jet_pt"][jet]
            foot = np.zeros(len(pt))
            axes.bar3d(
                positions[:, 0], positions[:, 1], foot, 0.02, 0.02, height,
                color=COLOURS[name], alpha=0.7,
            )  # fmt: skip
        _label(axes)
        axes.set_zlabel(r"$p_\mathrm{T}$ / jet $p_\mathrm{T}$", labelpad=15)
        save(canvas, path)


def _label(axes: Axes) -> None:
    axes.set_xlabel(r"$\Delta\eta$", labelpad=12)
    axes.set_ylabel(r"$\Delta\phi$", labelpad=12)
