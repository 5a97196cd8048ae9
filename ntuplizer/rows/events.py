"""The rows of the product `events`: the leading objects of each event in fixed slots."""

from typing import Any

import numpy as np

from ntuplizer.batch import Collection, EventBatch
from ntuplizer.counts import Counts
from ntuplizer.object_slots import Objects, fill_slots, merge
from ntuplizer.products.events import AGAIN, EventOptions

# Neither Delphes nor the selection of collisions stores the mass of leptons, GeV.
LEPTON_MASS = {"Electron": 0.000511, "Muon": 0.10566}
# The first bit is the (only) working point of the cards.
B_TAG_BIT = 1


def make_events(batch: EventBatch, options: EventOptions, counts: Counts) -> dict[str, Any]:
    """Return the columns of the events that have the objects asked for."""
    filled = fill_slots(*event_objects(batch, options), options)
    counts.steps.update({f"events_after_{step}": n for step, n in filled.steps.items()})
    if not options.again:
        return {**batch.identify(filled.events), **filled.columns(options)}
    other = fill_slots(*event_objects(batch, options, AGAIN), options)
    events, here, there = np.intersect1d(filled.events, other.events, return_indices=True)
    counts.steps["events_after_both"] += len(events)
    second = other.columns(options, AGAIN)
    return {
        **batch.identify(events),
        **{name: values[here] for name, values in filled.columns(options).items()},
        **{name: values[there] for name, values in second.items()},
    }


def event_objects(
    batch: EventBatch, options: EventOptions, ending: str = ""
) -> tuple[Objects, Objects, Objects, np.ndarray]:
    """Return leptons, missing momentum, jets and the b-tag of each, as `fill_slots` takes them.

    Names of the branches have the ending given.
    """
    electrons, muons = (
        _objects(batch[f"{name}{ending}"], mass) for name, mass in LEPTON_MASS.items()
    )
    met, jets = batch[f"{options.met_branch}{ending}"], batch[f"{options.jet_branch}{ending}"]
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
