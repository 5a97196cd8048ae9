"""Sophon's sampling weights: every class group flat in (pT, soft-drop mass).

The 30 groups, their shares, and the bins are those of Sophon's public configuration.
"""

import re

import numpy as np

from ntuplizer.labels import LABELS
from training.data.reader import Axis, SamplingScheme

# fmt: off
PT_EDGES = (200, 240, 287, 344, 412, 493, 590, 707, 847, 1014, 1215, 1455, 1743, 2087, 2500)
# fmt: on
SDMASS_EDGES = tuple(range(20, 501, 10))

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
    prefix = "X_YY_" if label.startswith("X_YY_") else "X_"
    partons, rest = re.findall(r"^([bcsqg]*)(.*)$", label.removeprefix(prefix))[0]
    quarks = len(partons.replace("g", ""))
    return prefix + "Q" * quarks + "g" * (len(partons) - quarks) + re.sub("[em]", "l", rest)


def sampling_scheme(label: str) -> SamplingScheme:
    """Return the scheme for labels in the column `label`."""
    names = list(GROUP_SHARES)
    group_of_label = np.array([names.index(label_group(name)) for name in LABELS])
    return SamplingScheme(
        axes={
            "jet_pt": Axis("Jet $p_T$ (GeV)", PT_EDGES, logarithmic=True),
            "jet_sdmass": Axis("Soft-drop mass (GeV)", SDMASS_EDGES),
        },
        shares=GROUP_SHARES,
        group=lambda scalars: group_of_label[scalars[label]],
    )
