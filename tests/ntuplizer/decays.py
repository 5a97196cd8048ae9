"""Generator records built by hand: decay trees laid out as Delphes stores them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ntuplizer.batch import Collection

INSIDE, OUTSIDE = 0.1, 2.0
DTYPES = {"PID": "i4", "Status": "i4", "D1": "i4", "D2": "i4"}


@dataclass
class Particle:
    """One particle and its daughters; `eta` alone decides whether a jet at η = 0 contains it."""

    pid: int
    daughters: tuple[Particle, ...] = ()
    eta: float = INSIDE
    pt: float = 100.0
    status: int = 62


def record(events: list[list[Particle]]) -> Collection:
    """Flatten the trees of each event, daughters of one mother side by side."""
    rows: dict[str, list] = {name: [] for name in ("PID", "Status", "D1", "D2", "PT", "Eta")}
    counts = []
    for roots in events:
        queue = list(roots)
        for particle in queue:
            first = len(queue) if particle.daughters else -1
            queue.extend(particle.daughters)
            rows["D1"].append(first)
            rows["D2"].append(len(queue) - 1 if particle.daughters else -1)
            rows["PID"].append(particle.pid)
            rows["Status"].append(particle.status)
            rows["PT"].append(particle.pt)
            rows["Eta"].append(particle.eta)
        counts.append(len(queue))
    columns = {name: np.array(rows[name], DTYPES.get(name, "f4")) for name in rows}
    columns["Phi"] = np.zeros(sum(counts), "f4")
    columns["Mass"] = np.zeros(sum(counts), "f4")
    return Collection(np.concatenate(([0], np.cumsum(counts))), columns)


def tau(mode: str, lost: bool, charge: int = 1) -> Particle:
    """Return a τ that decays to `e`, `m` or `h`, and whose matched object is inside or not.

    A hadronic τ is matched by itself, a leptonic one by the first of its products, the neutrino:
    everything else lies on the other side of the jet's edge.
    """
    matched, other = (OUTSIDE, INSIDE) if lost else (INSIDE, OUTSIDE)
    if mode == "h":
        products = (Particle(16 * charge, eta=other), Particle(-211 * charge, eta=other))
        return Particle(15 * charge, products, eta=matched)
    lepton = {"e": 11, "m": 13}[mode]
    products = (
        Particle(16 * charge, eta=matched),
        Particle(lepton * charge, eta=other),
        Particle(-(lepton + 1) * charge, eta=other),
    )
    return Particle(15 * charge, products, eta=other)
