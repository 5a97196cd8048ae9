"""What a jet of the product `energy` looks like."""

import numpy as np

from ntuplizer.display import Marks, Row, View
from ntuplizer.display.jets import KINDS, constituent_marks, jet_panel, relative

NEUTRAL = {name: KINDS[name] for name in ("isPhoton", "isNeutralHadron")}
CHARGED = {name: kind for name, kind in KINDS.items() if name not in NEUTRAL}


def view_energy_jet(row: Row, radius: float) -> View:
    """Return the view of a row of the product `energy`; collisions have no GEN-jet.

    Parameters
    ----------
    row
        Column name → value.
    radius
        Of the jet.
    """
    marks = [
        *constituent_marks(row, "charged_", CHARGED),
        *constituent_marks(row, "neutral_", NEUTRAL),
    ]
    if row.get("sv_deta"):
        place = np.array(row["sv_deta"], float), np.array(row["sv_dphi"], float)
        marks.append(Marks("secondary vertex", *place))
    facts = [
        f"$p_T$ {row['jet_pt']:.1f} GeV, $\\eta$ {row['jet_eta']:.2f}, mass "
        f"{row['jet_mass']:.1f} GeV, {len(row.get('sv_pt') or ())} secondary vertices",
    ]
    short = f"$p_T$ {row['jet_pt']:.0f} GeV"
    if row.get("genjet_pt"):
        place = relative(row, np.array([row["genjet_eta"]]), np.array([row["genjet_phi"]]))
        marks.append(Marks("GEN-jet", *place))
        response = row["jet_pt"] / row["genjet_pt"]
        facts.append(f"GEN-jet: $p_T$ {row['genjet_pt']:.1f} GeV, response {response:.3f}")
        short += f", GEN {row['genjet_pt']:.0f} GeV"
    if "jet_hadronflavour" in row:
        facts.append(
            f"hadron flavour {row['jet_hadronflavour']}, parton flavour {row['jet_partonflavour']}"
        )
    if "event_nvertices" in row:
        facts.append(
            f"{row['event_nvertices']} reconstructed vertices, "
            f"$\\rho$ {row['event_rho']:.1f} GeV where the jet lies"
        )
    return View(short, (jet_panel("Reconstructed jet", tuple(marks), radius),), tuple(facts))
