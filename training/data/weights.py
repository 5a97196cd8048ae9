"""Sampling weights that make every class group flat in (pT, soft-drop mass).

The 30 groups, their shares, and the bins are those of Sophon's public configuration: within a group
the jets become flat over the bins, as far as statistics allow; between groups the shares hold.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from provenance.errors import UserError
from provenance.files import read_json
from training.config import Selection
from training.data.shards import Jets

# fmt: off
PT_EDGES = (200, 240, 287, 344, 412, 493, 590, 707, 847, 1014, 1215, 1455, 1743, 2087, 2500)
# fmt: on
SDMASS_EDGES = tuple(range(20, 501, 10))
# A group is flattened to the content of its bins at this percentile.
REFERENCE_PERCENTILE = 10

# Q is any quark, l an electron or muon.
GROUP_SHARES = {
    "X_QQ": 0.4,
    "X_gg": 0.05,
    "X_ll": 0.08,
    "X_tauhtaul": 0.01,
    "X_tauhtauh": 0.015,
    "X_YY_QQQQ": 0.32,
    "X_YY_QQgg": 0.06,
    "X_YY_gggg": 0.0075,
    "X_YY_QQQ": 0.05,
    "X_YY_QQg": 0.005,
    "X_YY_Qgg": 0.005,
    "X_YY_ggg": 0.0015,
    "X_YY_QQll": 0.16,
    "X_YY_QQl": 0.01,
    "X_YY_Qll": 0.012,
    "X_YY_QQtauhtaul": 0.04,
    "X_YY_QQtauhtauh": 0.04,
    "X_YY_Qtauhtaul": 0.0018,
    "X_YY_Qtauhtauh": 0.0024,
    "X_YY_ggll": 0.04,
    "X_YY_ggl": 0.0025,
    "X_YY_gll": 0.003,
    "X_YY_ggtauhtaul": 0.01,
    "X_YY_ggtauhtauh": 0.01,
    "X_YY_gtauhtaul": 0.00045,
    "X_YY_gtauhtauh": 0.0006,
    "X_YY_QQlv": 0.08,
    "X_YY_QQtaulv": 0.015,
    "X_YY_QQtauhv": 0.05,
    "QCD": 0.25,
}


def label_group(label: str) -> str:
    """Return the group of a label: `X_YY_bcev` is of `X_YY_QQlv`.

    Quarks lose their flavour and stand before gluons, electrons and muons become l.
    """
    if label.startswith("QCD_"):
        return "QCD"
    prefix, content = re.fullmatch(r"(X_(?:YY_)?)(\w+)", label).groups()
    partons, rest = re.fullmatch(r"([bcsqg]*)(.*)", content).groups()
    quarks = len(partons.replace("g", ""))
    return prefix + "Q" * quarks + "g" * (len(partons) - quarks) + re.sub("[em]", "l", rest)


@dataclass(frozen=True)
class SamplingWeights:
    """How often a jet is drawn, by group and bin."""

    pt_edges: np.ndarray  # (n_pt + 1,) GeV
    sdmass_edges: np.ndarray  # (n_sdmass + 1,) GeV
    group: np.ndarray  # (n_labels,) group of each label
    acceptance: np.ndarray  # (n_groups, n_pt, n_sdmass) in [0, 1]
    mean_acceptance: float  # over the jets the weights were made from
    selection: Selection  # of these jets

    @classmethod
    def load(cls, path: str | Path) -> "SamplingWeights":
        """Read what `write_weights` wrote.

        Raises
        ------
        UserError
            When the file is missing or holds something else.
        """
        content = read_json(path)
        try:
            return cls(
                np.array(content["jet_pt_edges"], float),
                np.array(content["jet_sdmass_edges"], float),
                np.array(content["group_of_label"]),
                np.array([group["acceptance"] for group in content["groups"].values()]),
                float(content["mean_acceptance"]),
                Selection.model_validate(content["selection"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UserError(f"{path}: not a file of `python -m training weights`") from None

    def check(self, selection: Selection, path: Path) -> None:
        """Refuse a training that selects other jets than the weights were made from.

        Raises
        ------
        UserError
            Names the file and both selections.
        """
        if self.selection != selection:
            raise UserError(
                f"{path}: was made for {self.selection} but the training selects {selection}: make "
                "it anew with `python -m training weights --config`"
            )

    def copies(
        self, jets: Jets, chosen: np.ndarray, max_resample: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw how often each jet is used in this pass.

        The acceptance is scaled up so that a pass gives about as many jets as it reads, with at
        most `max_resample` copies of one: a pass then costs no more decoding than it must.

        Parameters
        ----------
        jets
            Where the jets are.
        chosen
            (n,) indices into `jets`.
        max_resample
            Largest scale.
        rng
            Rounds the expectation up or down.

        Returns
        -------
        numpy.ndarray
            (n,) int64.
        """
        pt_bin = np.digitize(jets.pt[chosen], self.pt_edges) - 1
        sdmass_bin = np.digitize(jets.sdmass[chosen], self.sdmass_edges) - 1
        shape = self.acceptance.shape[1:]
        inside = (pt_bin >= 0) & (pt_bin < shape[0]) & (sdmass_bin >= 0) & (sdmass_bin < shape[1])
        group = self.group[jets.label[chosen]]
        pt_bin, sdmass_bin = np.where(inside, pt_bin, 0), np.where(inside, sdmass_bin, 0)
        acceptance = self.acceptance[group, pt_bin, sdmass_bin] * inside
        scale = min(float(max_resample), 1 / self.mean_acceptance)
        return (acceptance * scale + rng.random(len(chosen))).astype(np.int64)


def acceptance_of(counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Turn counts into acceptances that flatten each group and set the groups' shares.

    Parameters
    ----------
    counts
        (n_groups, n_pt, n_sdmass) jets.
    shares
        (n_groups,) relative share of each group among the drawn jets.

    Returns
    -------
    numpy.ndarray
        Like `counts`, in [0, 1]. Within a group bins fuller than the `REFERENCE_PERCENTILE` of its
        bins come down to that one; emptier bins are kept whole, as nothing can fill them. A group
        without jets is left out.
    """
    acceptance = np.zeros(counts.shape)
    expected = np.zeros(len(counts))
    for i, count in enumerate(counts):
        filled = count[count > 0]
        if len(filled):
            # Bins that are empty by accident must not set the scale.
            typical = filled[filled > 0.01 * np.median(filled)]
            reference = np.percentile(typical, REFERENCE_PERCENTILE)
            np.divide(reference, count, out=acceptance[i], where=count > 0)
            acceptance[i] = np.minimum(acceptance[i], 1)
            expected[i] = (acceptance[i] * count).sum() / shares[i]
    if expected.any():
        scarcest = expected[expected > 0].min()
        acceptance *= np.divide(
            scarcest, expected, out=np.zeros_like(expected), where=expected > 0
        )[:, None, None]
    return acceptance
