"""RunPUPPI against a plain transcription of the algorithm, one particle at a time."""

import math

import numpy as np
import pytest
from detector_events import minimum_bias, random_record, run_modules, write_card
from scipy.stats import chi2

from generation.fastsim.puppi import chi2_probability
from provenance.errors import UserError

VERTICES = """
  set ZVertexSpread 0.25
  set TVertexSpread 800E-12
  set VertexDistributionFormula {exp(-(t^2/160e-12^2/2))*exp(-(z^2/0.053^2/2))}
"""
PUPPI = """
  set TrackInputArray Fly/chargedHadrons
  set NeutralInputArray Fly/neutralParticles
  set PVInputArray Mix/vertices
  set MinPuppiWeight 0.05
"""
# Columns: eta ranges, the algorithms in each of them.
TWO_REGIONS = {
    "EtaMinBin": (0.0, 2.5), "EtaMaxBin": (2.5, 10.0), "PtMinBin": (0.0, 0.0),
    "ConeSizeBin": (0.4, 0.4), "RMSPtMinBin": (0.1, 0.5), "RMSScaleFactorBin": (1.0, 1.0),
    "NeutralMinEBin": (0.2, 0.2), "NeutralPtSlope": (0.006, 0.013),
    "UseCharged": ("true", "true"), "ApplyLowPUCorr": ("true", "true"),
    "MetricId": (5, 5), "CombId": (0, 0),
}  # fmt: skip


def simulate(folder, algorithms, pileup=8, seed=1):
    library = minimum_bias(np.random.default_rng(1))
    record = random_record(np.random.default_rng(seed), [80, 0, 120], eta_max=3.5, jet=True)
    body = PUPPI + "".join(
        f"  add {name} {' '.join(map(str, values))}\n" for name, values in algorithms.items()
    )
    card = write_card(
        folder,
        ("PileUpMerger", "Mix", f"set MeanPileUp {pileup}\n{VERTICES}"),
        ("ParticlePropagator", "Fly", "set InputArray Mix/stableParticles\nset Radius 1.29\n"
         "set HalfLength 3.0\nset Bz 3.8"),
        ("TrackPileUpSubtractor", "Chs", "add InputArray Fly/chargedHadrons kept\n"
         "set VertexInputArray Mix/vertices\nset ZVertexResolution {0.0001}"),
        ("RunPUPPI", "Puppi", body),
    )  # fmt: skip
    return run_modules(card, record, seed, library)


def shape(metric, cone, i, particles, sources):
    """The metric of one particle: eta serves as rapidity, and the rebuilt one as angle."""
    total = 0.0
    for j in sources:
        dphi = abs(particles["phi"][i] - particles["phi"][j])
        dphi = min(dphi, 2 * math.pi - dphi)
        if (particles["y"][i] - particles["y"][j]) ** 2 + dphi**2 > cone**2:
            continue
        dr2 = (particles["eta"][i] - particles["eta"][j]) ** 2 + dphi**2
        if dr2 < 0.0001:
            continue
        pt = particles["pt"][j]
        total += {0: pt / dr2, 1: pt, 2: 1 / dr2, 3: 1 / dr2, 4: pt, 5: pt**2 / dr2}[metric]
    if metric == 1:
        total += particles["pt"][i]
    return math.log(total) if metric in (0, 3, 5) and total else total


def weights_of_event(particles, kind, n_vertices, algorithms):
    """Weights of one event: kind 0 neutral, 1 from the vertex, 2 from pile-up."""
    n = len(kind)
    regions = list(zip(algorithms["EtaMinBin"], algorithms["EtaMaxBin"], strict=True))

    def region(eta):
        for number, (low, high) in enumerate(regions):
            if low <= abs(eta) <= high:
                return number
        return -1

    metrics = np.zeros(n)
    sample = {number: [] for number in range(len(regions))}
    for i in range(n):
        number = region(particles["eta"][i])
        if number < 0:
            metrics[i] = -1
            continue
        charged = algorithms["UseCharged"][number] == "true"
        sources = np.flatnonzero(kind == 1) if charged else range(n)
        cone, metric = algorithms["ConeSizeBin"][number], algorithms["MetricId"][number]
        metrics[i] = shape(metric, cone, i, particles, sources)
        if particles["pt"][i] >= algorithms["RMSPtMinBin"][number] and (kind[i] or not charged):
            sample[number].append(metrics[i])
    result = np.zeros(n)
    for i in range(n):
        number = region(particles["y"][i])
        if number < 0:
            continue
        weight = 1.0
        values = sorted(sample[number])
        if values:
            zeros = [k for k, value in enumerate(values) if value == 0.0]
            last = zeros[-1] if zeros else 0
            median = values[last + int((len(values) - last) * 0.5)]
            low = algorithms["ApplyLowPUCorr"][number] == "true"
            used = [v for v in values if v != 0.0 and not (low and v > median)]
            square = np.mean([(v - median) ** 2 for v in used]) if used else 0.0
            spread = math.sqrt(square or 1e-5) * algorithms["RMSScaleFactorBin"][number]
            value = metrics[i]
            if value == 0.0 and algorithms["MetricId"][number] in (0, 3, 5):
                value = median
            distance = (value - median) * abs(value - median) / spread**2
            weight = chi2.cdf(distance, 1) if distance > 0 else 0.0
        if kind[i]:
            weight = float(kind[i] == 1)
        elif weight < 0.05:
            weight = 0.0
        threshold = algorithms["NeutralMinEBin"][number]
        threshold += n_vertices * algorithms["NeutralPtSlope"][number]
        if kind[i] == 0 and weight * particles["pt"][i] < threshold:
            weight = 0.0
        result[i] = weight
    return result


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"MetricId": (0, 2), "ConeSizeBin": (0.3, 0.7)},
        {"UseCharged": ("false", "true"), "ApplyLowPUCorr": ("false", "true")},
        {"MetricId": (3, 1), "RMSScaleFactorBin": (0.7, 1.2)},
        {"ConeSizeBin": (2.5, 0.2), "MetricId": (4, 5)},
    ],
)
def test_weights_are_those_of_the_plain_algorithm(tmp_path, changes):
    algorithms = TWO_REGIONS | changes
    arrays = simulate(tmp_path, algorithms)
    tracks, neutrals = arrays["Fly/chargedHadrons"], arrays["Fly/neutralParticles"]
    result = arrays["Puppi/puppiParticles"]
    n_vertices = arrays["Mix/vertices"].counts
    for event in range(3):
        rows = [slice(*part.offsets[event : event + 2]) for part in (tracks, neutrals)]
        given = {
            name: np.concatenate(
                [part[name][row] for part, row in zip((tracks, neutrals), rows, strict=True)]
            ).astype(np.float32).astype(float)
            for name in ("pt", "eta", "phi", "m")
        }  # fmt: skip
        transverse = np.hypot(given["pt"], given["m"])
        pz = transverse * np.sinh(given["eta"])
        particles = given | {"y": given["eta"], "eta": np.arcsinh(pz / given["pt"])}
        marks = np.where(tracks["is_reco_pu"][rows[0]] == 1, 2, 1)
        kind = np.concatenate([marks, np.zeros(len(given["pt"]) - len(marks), int)])
        seen = max(int(0.7 * n_vertices[event]), 1) if np.any(kind == 2) else 1
        expected = weights_of_event(particles, kind, seen, algorithms)
        here = slice(*result.offsets[event : event + 2])
        assert result["puppi_weight"][here] == pytest.approx(expected[expected > 0], rel=1e-6)
        assert result["pt"][here] == pytest.approx((expected * given["pt"])[expected > 0])
        assert result["pz"][here] == pytest.approx((expected * pz)[expected > 0])


def test_without_pile_up_tracks_are_kept_and_neutrals_compared_with_them(tmp_path):
    arrays = simulate(tmp_path, TWO_REGIONS, pileup=0)
    tracks, result = arrays["Fly/chargedHadrons"], arrays["Puppi/puppiTracks"]
    inside = np.abs(tracks["eta"]) < 10.0
    assert result.counts.tolist() == tracks.sum_by_event(inside).tolist()
    assert 0 < len(arrays["Puppi/puppiNeutrals"]) < len(arrays["Fly/neutralParticles"])


def test_algorithms_of_one_range_are_combined(tmp_path):
    """With the same algorithm twice, χ² adds up with two degrees of freedom."""
    single = {name: values[:1] for name, values in TWO_REGIONS.items()} | {"EtaMaxBin": (10.0,)}
    double = {name: values * 2 for name, values in single.items()}
    once = simulate(tmp_path, single)["Puppi/puppiNeutrals"]
    twice = simulate(tmp_path, double)["Puppi/puppiNeutrals"]
    value = chi2.ppf(once["puppi_weight"], 1)
    expected = chi2.cdf(2 * value, 2)
    pairs = {round(e, 9): w for e, w in zip(once["phi"], expected, strict=True)}
    common = [(w, pairs[round(p, 9)]) for p, w in zip(twice["phi"], twice["puppi_weight"],
              strict=True) if round(p, 9) in pairs and pairs[round(p, 9)] < 1.0]  # fmt: skip
    assert len(common) > 10
    assert [w for w, _ in common] == pytest.approx([w for _, w in common], rel=1e-4)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7])
def test_chi2_probability(degrees):
    x = np.array([-1.0, 0.0, 1e-3, 0.5, 2.0, 10.0, 80.0])
    expected = chi2.cdf(x, degrees)
    assert chi2_probability(x, np.full(7, degrees)) == pytest.approx(expected, abs=1e-12)


def test_lists_of_different_length_are_refused(tmp_path):
    with pytest.raises(UserError, match="'ConeSizeBin' of module 'Puppi'"):
        simulate(tmp_path, TWO_REGIONS | {"ConeSizeBin": (0.4,)})
    with pytest.raises(UserError, match="'MetricId' of module 'Puppi'"):
        simulate(tmp_path, TWO_REGIONS | {"MetricId": (5, 9)})
