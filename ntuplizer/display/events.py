"""What an event of objects looks like: in η and φ, and transverse to the beam."""

import numpy as np

from ntuplizer.display import Kind, Marks, Panel, Row, View
from ntuplizer.slots import B_JET, EMPTY, LEPTON, LIGHT_JET, MISSING, SlotOptions

KINDS: dict[int, Kind] = {
    LEPTON: "lepton",
    B_JET: "b-jet",
    LIGHT_JET: "light jet",
    MISSING: "missing momentum",
}
# Jets of the published events are anti-kT jets of this radius.
RADIUS = 0.4
ETA_REACH = 3.0


def view_event(row: Row, options: SlotOptions) -> View:
    """Return the view of a row of the product `events`.

    Parameters
    ----------
    row
        Column name → value.
    options
        Which slots the row has.
    """
    slots = [slot for slot in options.slots if row[f"{slot}_type"] != EMPTY]
    code, pt, eta, phi = (
        np.array([row[f"{slot}_{name}"] for slot in slots]) for name in ("type", "pt", "eta", "phi")
    )
    phi = (phi + np.pi) % (2 * np.pi) - np.pi
    places, arrows = [], []
    for own, kind in KINDS.items():
        chosen = code == own
        if not chosen.any():
            continue
        names = tuple(f"{value:.0f}" for value in pt[chosen])
        arrows.append(
            Marks(kind, pt[chosen] * np.cos(phi[chosen]), pt[chosen] * np.sin(phi[chosen]))
        )
        if own != MISSING:
            places.append(Marks(kind, eta[chosen], phi[chosen], pt[chosen], names))
    reach = max(ETA_REACH, 1.1 * float(np.abs(eta).max(initial=0)))
    jets = np.isin(code, (B_JET, LIGHT_JET))
    plane = Panel(
        "Objects with their $p_T$ in GeV",
        tuple(places),
        (r"$\eta$", r"$\phi$"),
        (-reach, reach),
        (-np.pi, np.pi),
        circles=tuple(
            (float(x), float(y), RADIUS) for x, y in zip(eta[jets], phi[jets], strict=True)
        ),
        levels=tuple(("missing momentum", float(angle)) for angle in phi[code == MISSING]),
    )
    span = 1.1 * float(pt.max(initial=1.0))
    transverse = Panel(
        "Transverse to the beam",
        tuple(arrows),
        (r"$p_x$ (GeV)", r"$p_y$ (GeV)"),
        (-span, span),
        (-span, span),
        from_origin=True,
    )
    facts = tuple(
        f"{slot}: {KINDS[int(own)]}, $p_T$ {row[f'{slot}_pt']:.1f} GeV"
        + ("" if own == MISSING else f", $\\eta$ {row[f'{slot}_eta']:.2f}")
        + f", $\\phi$ {row[f'{slot}_phi']:.2f}"
        for slot, own in zip(slots, code, strict=True)
    )
    missing = pt[code == MISSING].sum()
    return View(f"$p_T^{{miss}}$ {missing:.0f} GeV", (plane, transverse), facts)
