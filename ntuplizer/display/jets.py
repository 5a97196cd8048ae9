"""What a jet looks like: constituents by type around its axis, truth, the GEN-jet beside."""

import numpy as np

from ntuplizer.display import Kind, Marks, Panel, Row, View

AXES = (r"$\Delta\eta$", r"$\Delta\phi$")
KINDS: dict[str, Kind] = {
    "isChargedHadron": "charged hadron",
    "isNeutralHadron": "neutral hadron",
    "isPhoton": "photon",
    "isElectron": "electron",
    "isMuon": "muon",
}
# Stable particles that leave a track, by |PDG code|; all others but the photon are neutral hadrons.
CHARGED_HADRONS = (211, 321, 2212, 3112, 3222, 3312, 3334)
KIND_OF_CODE: dict[int, Kind] = {22: "photon", 11: "electron", 13: "muon"}
NAMES = {
    1: "d", 2: "u", 3: "s", 4: "c", 5: "b", 6: "t", 11: "e", 12: r"\nu_e", 13: r"\mu",
    14: r"\nu_\mu", 15: r"\tau", 16: r"\nu_\tau", 21: "g", 22: r"\gamma", 23: "Z", 24: "W",
    25: "H", 35: "H", 36: "A", 37: r"H^\pm",
}  # fmt: skip


def view_jet(row: Row, radius: float) -> View:
    """Return the view of a row with the columns of the product `jets`, or some of them.

    Parameters
    ----------
    row
        Column name → value.
    radius
        Of the jet.
    """
    truth = truth_marks(row)
    seen = constituent_marks(row, "part_", KINDS)
    panels = [jet_panel("Reconstructed jet", (*seen, *truth), radius)]
    facts = [
        f"$p_T$ {row['jet_pt']:.0f} GeV, $\\eta$ {row['jet_eta']:.2f}, "
        f"soft-drop mass {row['jet_sdmass']:.0f} GeV, {row['jet_nparticles']} constituents"
    ]
    if row.get("genjet_pt"):
        panels.append(jet_panel("GEN-jet", (*gen_marks(row), *truth), radius))
        facts.append(
            f"GEN-jet: $p_T$ {row['genjet_pt']:.0f} GeV, soft-drop mass "
            f"{row['genjet_sdmass']:.0f} GeV, {row['genjet_nparticles']} particles"
        )
    elif "genjet_pt" in row:
        facts.append("no GEN-jet is matched")
    short = f"$p_T$ {row['jet_pt']:.0f} GeV, $m_{{SD}}$ {row['jet_sdmass']:.0f} GeV"
    return View(short, tuple(panels), tuple(facts))


def jet_panel(title: str, marks: tuple[Marks, ...], radius: float) -> Panel:
    """Return a panel around a jet axis, wide enough for the jet's cone."""
    reach = 1.12 * radius
    limits = (-reach, reach)
    return Panel(title, marks, AXES, limits, limits, circles=((0.0, 0.0, radius),))


def constituent_marks(row: Row, prefix: str, kinds: dict[str, Kind]) -> tuple[Marks, ...]:
    """Return the constituents under a prefix by type, as far as the row tells types."""
    deta, dphi = (np.array(row[f"{prefix}{name}"], float) for name in ("deta", "dphi"))
    pt = np.hypot(row[f"{prefix}px"], row[f"{prefix}py"])
    marks = []
    for flag, kind in kinds.items():
        chosen = np.array(row.get(f"{prefix}{flag}", np.zeros(len(pt))), bool)
        if chosen.any():
            marks.append(Marks(kind, deta[chosen], dphi[chosen], pt[chosen]))
    if not any(f"{prefix}{flag}" in row for flag in kinds):
        marks.append(Marks("charged hadron", deta, dphi, pt))
    return tuple(marks)


def gen_marks(row: Row) -> tuple[Marks, ...]:
    """Return the constituents of the GEN-jet by type."""
    code = np.abs(np.array(row["genpart_pid"], int))
    deta, dphi = (np.array(row[f"genpart_jet_{name}"], float) for name in ("deta", "dphi"))
    pt = np.hypot(row["genpart_px"], row["genpart_py"])
    charged = np.isin(code, CHARGED_HADRONS)
    chosen: dict[Kind, np.ndarray] = {kind: code == own for own, kind in KIND_OF_CODE.items()}
    chosen["charged hadron"] = charged
    chosen["neutral hadron"] = ~charged & ~np.isin(code, list(KIND_OF_CODE))
    return tuple(
        Marks(kind, deta[chosen[kind]], dphi[chosen[kind]], pt[chosen[kind]])
        for kind in KINDS.values()
        if chosen[kind].any()
    )


def truth_marks(row: Row) -> tuple[Marks, ...]:
    """Return the generator particles behind the label, but for neutrinos.

    Decay products of a τ lie on top of each other: they have no names.
    """
    code = np.array(row.get("aux_genpart_pid", ()), int)
    visible = ~np.isin(np.abs(code), (12, 14, 16))
    if not visible.any():
        return ()
    deta, dphi = relative(
        row, np.array(row["aux_genpart_eta"], float), np.array(row["aux_genpart_phi"], float)
    )
    roles = {"X": "aux_genpart_isResX", "Y": "aux_genpart_isResY"}
    names = []
    for place in map(int, np.flatnonzero(visible)):
        role = next((name for name, column in roles.items() if _flag(row, column, place)), None)
        of_tau = _flag(row, "aux_genpart_isTauDecayProd", place)
        names.append("" if of_tau else role or particle_name(int(code[place])))
    return (Marks("truth", deta[visible], dphi[visible], names=tuple(names)),)


def relative(row: Row, eta: np.ndarray, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return directions relative to the jet axis, with the sign that the columns have."""
    sign = 1.0 if row["jet_eta"] > 0 else -1.0
    deta = sign * (eta - row["jet_eta"])
    return deta, (phi - row["jet_phi"] + np.pi) % (2 * np.pi) - np.pi


def particle_name(code: int) -> str:
    """Return the name of a particle as mathtext, or its PDG code if it has none here."""
    name = NAMES.get(abs(code))
    if name is None:
        return str(code)
    if abs(code) in {11, 13, 15}:
        return f"${name}^{'+' if code < 0 else '-'}$"
    if abs(code) == 24:
        return f"$W^{'-' if code < 0 else '+'}$"
    return f"$\\bar{{{name}}}$" if code < 0 and abs(code) < 17 else f"${name}$"


def _flag(row: Row, column: str, place: int) -> bool:
    return column in row and bool(row[column][place])
