r"""What the momentum error of tracks changes: the published fat-jet card and `_v2` compared.

Reads event files of the same generator events through either card, made by Delphes or by fastsim:

    python -m generation simulate --process qcd --events 400 --seed 1 --output v1.root
    python -m generation simulate --process qcd --events 400 --seed 1 --output v2.root \
        --card delphes_cards/jetclass2_fatjet_v2.tcl
    python -m benchmarks.track_momentum_error --published v1.root --corrected v2.root \
        --figure docs/images/track_momentum_error.png
"""

import argparse
import json
from pathlib import Path

import awkward as ak
import matplotlib.pyplot as plt
import numpy as np
import uproot

RADIUS = 0.8
JET_PT = 300.0
TRACK_ETA = 2.4
# A charged candidate is made of the stable particle of its charge that lies nearest, within this.
MATCH_RADIUS = 0.01
CHARGED_HADRONS = (211, 321, 2212, 3112, 3222, 3312, 3334)
PT_EDGES = np.array([0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0])
SOFT = (1.0, 2.0)
BRANCHES = {
    "Particle": ("PID", "Status", "Charge", "PT", "Eta", "Phi"),
    "ParticleFlowCandidate": ("PID", "Charge", "PT", "CtgTheta", "Phi"),
    "JetPUPPIAK8": ("PT", "Eta", "Phi", "Mass"),
    "GenJetAK8": ("PT", "Eta", "Phi", "Mass"),
}


def read(paths: list[Path]) -> dict[str, ak.Array]:
    """Return the branches of several files, events one after the other."""
    names = [f"{branch}.{leaf}" for branch, leaves in BRANCHES.items() for leaf in leaves]
    arrays = [uproot.open(path)["Delphes"].arrays(names) for path in paths]
    events = ak.concatenate(arrays)
    objects = {
        branch: ak.zip({leaf: events[f"{branch}.{leaf}"] for leaf in leaves})
        for branch, leaves in BRANCHES.items()
    }
    # Delphes 3.5.0 has the place in the calorimeter under `Eta`.
    candidates = objects["ParticleFlowCandidate"]
    objects["ParticleFlowCandidate"] = ak.with_field(
        candidates, np.arcsinh(candidates.CtgTheta), "Eta"
    )
    return objects


def distance(first: ak.Array, second: ak.Array) -> ak.Array:
    """Return ΔR of all pairs, (events, first, second)."""
    pairs = ak.cartesian([first, second], nested=True)
    one, two = ak.unzip(pairs)
    dphi = (one.Phi - two.Phi + np.pi) % (2 * np.pi) - np.pi
    return np.hypot(one.Eta - two.Eta, dphi)


def charged_hadrons(particles: ak.Array) -> ak.Array:
    """Return those among particles or candidates."""
    pid = abs(particles.PID)
    is_one = pid == CHARGED_HADRONS[0]
    for code in CHARGED_HADRONS[1:]:
        is_one = is_one | (pid == code)
    return particles[is_one & (particles.PT > 0) & (abs(particles.Eta) < TRACK_ETA)]


def measure(paths: list[Path]) -> dict[str, np.ndarray]:
    """Return what is compared.

    Returns
    -------
    dict
        `multiplicity` (n_jets,): charged hadrons in each jet; `gen_pt` and `ratio` (n_tracks,):
        generated pT in GeV, and reconstructed over generated, of charged hadrons in jets; `mass`
        (n_jets,): mass over that of the generator's jet.
    """
    events = read(paths)
    jets = events["JetPUPPIAK8"]
    jets = jets[(jets.PT > JET_PT) & (abs(jets.Eta) < TRACK_ETA - RADIUS)]
    reconstructed = charged_hadrons(events["ParticleFlowCandidate"])
    inside = distance(jets, reconstructed) < RADIUS
    multiplicity = _flat(ak.sum(inside, axis=2))

    reconstructed = reconstructed[ak.any(inside, axis=1)]
    generated = events["Particle"]
    generated = charged_hadrons(generated[generated.Status == 1])
    apart = distance(reconstructed, generated)
    other_charge = reconstructed.Charge[:, :, None] != generated.Charge[:, None, :]
    apart = ak.where(other_charge, np.inf, apart)
    nearest = ak.argmin(apart, axis=2)
    matched = ak.fill_none(ak.min(apart, axis=2) < MATCH_RADIUS, False)
    gen_pt = generated.PT[nearest[matched]]
    ratio = reconstructed.PT[matched] / gen_pt

    gen_jets = events["GenJetAK8"]
    to_gen = distance(jets, gen_jets)
    jet_matched = ak.fill_none(ak.min(to_gen, axis=2) < RADIUS / 2, False)
    gen_mass = gen_jets.Mass[ak.argmin(to_gen, axis=2)[jet_matched]]
    return {
        "multiplicity": multiplicity,
        "gen_pt": _flat(gen_pt),
        "ratio": _flat(ratio),
        "mass": _flat(jets.Mass[jet_matched] / gen_mass),
    }


def _flat(values: ak.Array) -> np.ndarray:
    return ak.to_numpy(ak.drop_none(ak.flatten(values)))


def summary(values: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the numbers that the documentation gives."""
    soft = (values["gen_pt"] > SOFT[0]) & (values["gen_pt"] < SOFT[1])
    low, median, high = np.quantile(values["mass"], [0.16, 0.5, 0.84])
    return {
        "jets": len(values["multiplicity"]),
        "charged_hadrons_per_jet": round(float(values["multiplicity"].mean()), 2),
        "median_ratio_1_to_2_gev": round(float(np.median(values["ratio"][soft])), 3),
        "median_mass_ratio": round(float(median), 3),
        "mass_resolution": round(float((high - low) / 2 / median), 3),
    }


def draw(cards: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Draw the three comparisons, one curve a card."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for name, values in cards.items():
        axes[0].hist(
            values["multiplicity"], np.arange(0, 81, 4), histtype="step", density=True, label=name
        )
        of_bin = np.digitize(values["gen_pt"], PT_EDGES) - 1
        quantiles = np.array(
            [
                np.quantile(values["ratio"][of_bin == i], [0.16, 0.5, 0.84])
                for i in range(len(PT_EDGES) - 1)
            ]
        )
        centres = np.sqrt(PT_EDGES[1:] * PT_EDGES[:-1])
        (line,) = axes[1].plot(centres, quantiles[:, 1], "o-", markersize=4)
        axes[1].fill_between(
            centres, quantiles[:, 0], quantiles[:, 2], alpha=0.2, color=line.get_color()
        )
        axes[2].hist(values["mass"], np.arange(0, 2.01, 0.08), histtype="step", density=True)
    axes[0].set(xlabel="charged hadrons per AK8 jet", ylabel="fraction per hadron")
    axes[1].set(
        xlabel=r"generated $p_\mathrm{T}$ (GeV)", ylabel="reconstructed / generated",
        xscale="log", ylim=(0, 3.2),
    )  # fmt: skip
    axes[1].axhline(1, color="grey", linewidth=0.8)
    axes[2].set(xlabel="jet mass, reconstructed / generated", ylabel="density")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Compare, print the numbers, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", type=Path, nargs="+", required=True)
    parser.add_argument("--corrected", type=Path, nargs="+", required=True)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    cards = {
        "as published": measure(options.published),
        r"momentum error $10^{-4}$": measure(options.corrected),
    }
    print(json.dumps({name: summary(values) for name, values in cards.items()}, indent=1))
    if options.figure is not None:
        draw(cards, options.figure)


if __name__ == "__main__":
    main()
