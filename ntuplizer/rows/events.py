"""The rows of the product `events`: the leading objects of each event in fixed slots."""

from typing import Any

import numpy as np

from ntuplizer.batch import Collection, EventBatch
from ntuplizer.counts import Counts
from ntuplizer.object_slots import Objects, fill_slots, merge
from ntuplizer.products.events import EventOptions

# Neither Delphes nor the selection of collisions stores the mass of leptons, GeV.
LEPTON_MASS = {"Electron": 0.000511, "Muon": 0.10566}
# The first bit is the (only) working point of the cards.
B_TAG_BIT = 1


def make_events(batch: EventBatch, options: EventOptions, counts: Counts) -> dict[str, Any]:
    """Return the columns of the events that have the objects asked for."""
    filled = fill_slots(*event_objects(batch, options), options)
    counts.steps.update({f"events_after_{step}": n for step, n in filled.steps.items()})
    return {**batch.identify(filled.events), **filled.columns(options)}


def event_objects(
    batch: EventBatch, options: EventOptions
) -> tuple[Objects, Objects, Objects, np.ndarray]:
    """Return leptons, missing momentum, jets and the b-tag of each, as `fill_slots` takes them."""
    electrons, muons = (_objects(batch[name], mass) for name, mass in LEPTON_MASS.items())
    met, jets = batch[options.met_branch], batch[options.jet_branch]
    # A transverse vector, its pseudorapidity and mass without meaning.
    nothing = np.zeros(len(met["MET"]))
    missing = Objects(
        met.offsets,
        met["MET"].astype(np.float64),
        nothing,
        met["Phi"].astype(np.float64),
        nothing,
    )
    tagged = (jets["BTag"] & B_TAG_BIT) != 0
    return merge(electrons, muons), missing, _objects(jets, jets["Mass"]), tagged


def _objects(collection: Collection, mass: float | np.ndarray) -> Objects:
    pt, eta, phi = (collection[leaf].astype(np.float64) for leaf in ("PT", "Eta", "Phi"))
    return Objects(collection.offsets, pt, eta, phi, np.broadcast_to(mass, pt.shape))
