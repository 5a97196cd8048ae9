"""What a trained network is adjusted by, on jets that it was not trained on.

A network of least absolute error draws jets to where most of them are, and its quantiles are too
narrow where it knows its training jets by heart. Jets that it was validated on tell both: their
median response is closed in |η| and pT, as the standard correction closes it, and each quantile is
moved to where as many of them lie below it as it says.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.jec.standard import FEWEST_JETS, StandardCorrection, fit_standard, lowest_gen

# Levels of the head of quantiles, and the share of jets between the first and the last.
QUANTILES = (0.16, 0.5, 0.84)
# Regions of |η|, fewer than the standard correction has: validation jets are a fifth of all.
ETA_EDGES = (0.0, 1.3, 2.5, 3.2, 5.0)
# Masses of GEN-jets below this, GeV, are not those of decays: no correction is fitted to them.
GEN_MASS_MIN = 20.0
# Validation jets of a bin in pT in which quantiles are moved alike.
JETS_PER_BIN = 400
MOST_BINS = 12
# Half of an interval is taken to be at least this, in log pT.
SMALLEST_HALF = 1e-3

Columns = Mapping[str, np.ndarray]
# Name of a factor among what a network says → what it multiplies, and log of the true factor.
FACTORS = {
    "factor": ("pt", "target"),
    "factor_with_neutrinos": ("pt", "target_neutrinos"),
    "mass_factor": ("mass", "target_mass"),
}
# Targets beyond this are mismatches, not responses: left out, as jec-gnn does.
LARGEST_TARGET = 1.0


@dataclass(frozen=True)
class QuantileShift:
    """How far quantiles are moved, in halves of the interval that they span.

    Attributes
    ----------
    log_pt
        float64 (n_bins - 1,): inner edges of the bins in log pT, GeV, as the median corrects it.
    shift
        float64 (n_bins, levels).
    """

    log_pt: np.ndarray
    shift: np.ndarray

    def apply(self, quantiles: np.ndarray, pt: np.ndarray) -> np.ndarray:
        """Return moved quantiles of the factor, float64 (n_jets, levels), rising.

        Parameters
        ----------
        quantiles
            (n_jets, levels): of the factor, rising.
        pt
            (n_jets,): uncorrected pT, GeV.
        """
        log = np.log(quantiles.astype(np.float64))
        row = np.searchsorted(self.log_pt, _log_pt(log, pt), side="right")
        return np.exp(np.sort(log + self.shift[row] * _half(log), axis=1))


def fit_quantiles(quantiles: np.ndarray, pt: np.ndarray, target: np.ndarray) -> QuantileShift:
    """Move quantiles to where they have the right share of jets below them.

    Parameters
    ----------
    quantiles, pt
        As `QuantileShift.apply` takes them, of jets that were not trained on.
    target
        (n_jets,): log of the true factor.
    """
    log = np.log(quantiles.astype(np.float64))
    distance = (target.astype(np.float64)[:, None] - log) / _half(log)
    log_pt = _log_pt(log, pt)
    n_bins = int(np.clip(len(log) // JETS_PER_BIN, 1, MOST_BINS))
    edges = np.unique(np.quantile(log_pt, np.arange(1, n_bins) / n_bins))
    # Jets of one pT are in one bin.
    edges = edges[edges > log_pt.min()]
    row = np.searchsorted(edges, log_pt, side="right")
    shift = [
        [
            np.quantile(own, level)
            for own, level in zip(distance[row == place].T, QUANTILES, strict=True)
        ]
        for place in range(len(edges) + 1)
    ]
    return QuantileShift(edges, np.array(shift))


def _log_pt(log_quantiles: np.ndarray, pt: np.ndarray) -> np.ndarray:
    return np.log(pt.astype(np.float64)) + log_quantiles[:, 1]


def _half(log_quantiles: np.ndarray) -> np.ndarray:
    return np.maximum((log_quantiles[:, -1:] - log_quantiles[:, :1]) / 2, SMALLEST_HALF)


@dataclass(frozen=True)
class Calibration:
    """What is done to what a network says of jets.

    Attributes
    ----------
    closing
        By name of the factor: what closes the median of the quantity that it multiplies.
    quantiles
        How quantiles are moved; None where the network has none.
    """

    closing: Mapping[str, StandardCorrection]
    quantiles: QuantileShift | None

    @classmethod
    def fit(cls, jets: Columns, said: Columns) -> "Calibration | None":
        """Fit to jets that a network was not trained on; None where they are too few.

        Parameters
        ----------
        jets
            `pt`, `mass` (GeV), `eta`, and the targets of what was said, (n_jets,) each.
        said
            What the network says: some of `FACTORS` (n_jets,), `quantiles` (n_jets, levels).
        """
        closing = {}
        for name, (quantity, target) in FACTORS.items():
            if name not in said:
                continue
            true = jets[quantity] * np.exp(jets[target].astype(np.float64))
            corrected = jets[quantity] * said[name].astype(np.float64)
            used = (np.abs(jets[target]) < LARGEST_TARGET) & (corrected > 0)
            lowest = GEN_MASS_MIN if quantity == "mass" else lowest_gen(jets["pt"])
            used &= true > lowest
            if used.sum() < FEWEST_JETS:
                return None
            closing[name] = fit_standard(
                corrected[used],
                jets["eta"][used],
                true[used],
                eta_edges=ETA_EDGES,
                pt_gen_min=lowest,
            )
        quantiles = None
        if "quantiles" in said:
            quantiles = fit_quantiles(said["quantiles"], jets["pt"], jets["target"])
        return cls(closing, quantiles)

    def apply(self, jets: Columns, said: Columns) -> dict[str, np.ndarray]:
        """Return what was said, float32, adjusted; arguments as for `fit`, without targets."""
        adjusted = {}
        for name, closing in self.closing.items():
            corrected = jets[FACTORS[name][0]] * said[name].astype(np.float64)
            adjusted[name] = said[name] * closing.factor(corrected, jets["eta"])
        if self.quantiles is not None:
            adjusted["quantiles"] = self.quantiles.apply(said["quantiles"], jets["pt"])
        return {name: values.astype(np.float32) for name, values in adjusted.items()}

    def as_dict(self) -> dict:
        """Return plain JSON values."""
        moved = self.quantiles
        return {
            "closing": {name: own.as_dict() for name, own in self.closing.items()},
            "quantiles": None
            if moved is None
            else {"log_pt": moved.log_pt.tolist(), "shift": moved.shift.tolist()},
        }

    @classmethod
    def from_dict(cls, content: Mapping) -> "Calibration":
        """Return what `as_dict` described."""
        moved = content["quantiles"]
        return cls(
            {name: StandardCorrection.from_dict(own) for name, own in content["closing"].items()},
            None
            if moved is None
            else QuantileShift(np.array(moved["log_pt"]), np.array(moved["shift"])),
        )
