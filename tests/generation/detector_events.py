"""Events, minimum-bias libraries and cards made by hand for the tests of the detector."""

from pathlib import Path

import numpy as np

from generation.fastsim.card import read_card
from generation.fastsim.engine import Detector
from generation.fastsim.module import EventStore
from generation.pileup import PileupLibrary
from generation.record import GeneratorRecord

CARDS = Path(__file__).parents[2] / "delphes_cards"
FAT_JETS = CARDS / "jetclass2_fatjet.tcl"

# PDG code: charge, mass in GeV.
SPECIES = {
    211: (1, 0.13957), -211: (-1, 0.13957), 22: (0, 0.0), 130: (0, 0.49761), 2212: (1, 0.93827),
    11: (-1, 0.000511), -11: (1, 0.000511), -13: (1, 0.10566), 12: (0, 0.0), 310: (0, 0.49761),
}  # fmt: skip


def make_record(counts, pid, pt, eta, phi, x=0.0, y=0.0, z=0.0, t=0.0, **columns):
    """Return a record of stable particles; scalars are spread over all of them."""
    n = int(np.sum(counts))
    pid = np.broadcast_to(pid, n)
    charge = np.array([SPECIES.get(int(code), (-999, 0.0))[0] for code in pid])
    mass = np.array([SPECIES.get(int(code), (0, 0.0))[1] for code in pid])
    pt, eta, phi, x, y, z, t = (np.broadcast_to(v, n) for v in (pt, eta, phi, x, y, z, t))
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    nobody = np.full(n, -1)
    values = {
        "pid": pid, "status": np.ones(n), "m1": nobody, "m2": nobody, "d1": nobody, "d2": nobody,
        "charge": charge, "mass": mass, "e": np.sqrt(px**2 + py**2 + pz**2 + mass**2),
        "px": px, "py": py, "pz": pz, "x": x, "y": y, "z": z, "t": t,
    }  # fmt: skip
    return GeneratorRecord(offsets=np.concatenate(([0], np.cumsum(counts))), **(values | columns))


def random_record(rng, counts, eta_max=4.0, jet=False):
    """Return events of soft particles, and of a jet when asked for."""
    n = int(np.sum(counts))
    pid = rng.choice([211, -211, 22, 22, 130, 2212, 11, -13, 12, 310], n)
    pt, eta = rng.exponential(1.0, n) + 0.05, rng.uniform(-eta_max, eta_max, n)
    phi = rng.uniform(-np.pi, np.pi, n)
    if jet:
        inside = rng.random(n) < 0.5
        pt = np.where(inside, 12 * pt, pt)
        eta = np.where(inside, rng.normal(0.3, 0.15, n), eta)
        phi = np.where(inside, rng.normal(1.0, 0.15, n), phi)
    displaced = rng.random(n) < 0.1
    x, y = (np.where(displaced, rng.normal(0, 3, n), 0.0) for _ in range(2))
    return make_record(counts, pid, pt, eta, phi, x=x, y=y)


def minimum_bias(rng, events=200, mean=120):
    """Return a library of soft events."""
    record = random_record(rng, rng.poisson(mean, events), eta_max=6.0)
    names = ("pid", "charge", "mass", "px", "py", "pz", "e", "x", "y", "z", "t")
    return PileupLibrary(
        offsets=record.offsets,
        metadata={},
        **{
            name: getattr(record, name).astype(
                np.int32 if name in ("pid", "charge") else np.float32
            )
            for name in names
        },
    )


def write_card(folder, *modules, branches=""):
    """Write a card with modules given as (class, name, body), executed in this order."""
    names = " ".join(name for _, name, _ in modules)
    text = f"set ExecutionPath {{ {names} }}\n"
    text += "".join(f"module {kind} {name} {{\n{body}\n}}\n" for kind, name, body in modules)
    path = folder / "card.tcl"
    path.write_text(text)
    return path


def run_modules(path, record, seed=1, pileup=None):
    """Run the modules of a card on a record in one go; return the arrays of the event store."""
    detector = Detector(read_card(path), pileup)
    store = detector.start(record, np.random.default_rng(seed))
    assert isinstance(store, EventStore)
    for module in detector.modules:
        module.run(store)
    return store.arrays
