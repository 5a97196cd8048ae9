"""Tags jets by tracks from a displaced vertex (Delphes: TrackCountingBTagging)."""

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.cones import pairs_within
from generation.fastsim.module import EventStore, Module


class TrackCountingBTagging(Module):
    """Tags jets with at least `Ntracks` tracks of large signed impact parameter significance.

    The sign is that of the jet's momentum times the point of closest approach; with `Use3D` the
    longitudinal significance is added in quadrature.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.tracks = config.text("TrackInputArray", "Calorimeter/eflowTracks")
        self.jets = config.text("JetInputArray", "FastJetFinder/jets")
        self.marks = {self.jets: ("b_tag",)}
        self.bit = config.bit("BitNumber")
        self.pt_min = config.number("TrackPtMin", 1.0)
        self.radius = config.number("DeltaR", 0.3)
        self.impact_max = config.number("TrackIPMax", 2.0)
        self.significance_min = config.number("SigMin", 6.5)
        self.n_tracks = config.integer("Ntracks", 3)
        self.use_3d = config.flag("Use3D", False)
        # So written in Delphes' cards, but Delphes does not read it.
        config.ignore("TrackPTMin")

    def run(self, store: EventStore) -> None:
        """Set this module's bit in the tag of the jets."""
        jets, tracks = self.array(store, self.jets), self.array(store, self.tracks)
        d0 = np.abs(tracks["d0"])
        chosen = (tracks["pt"] >= self.pt_min) & (d0 <= self.impact_max)
        tracks = tracks.select(chosen)
        significance2 = _squared_ratio(tracks["d0"], tracks["error_d0"])
        if self.use_3d:
            significance2 += _squared_ratio(tracks["dz"], tracks["error_dz"])

        pairs = pairs_within(jets, tracks, self.radius)
        axes = (("px", "xd"), ("py", "yd"), ("pz", "zd"))[: 3 if self.use_3d else 2]
        along = sum(jets[p][pairs.first] * tracks[d][pairs.second] for p, d in axes)
        sign = np.where(np.asarray(along) > 0.0, 1.0, -1.0)
        displaced = sign * np.sqrt(significance2[pairs.second]) > self.significance_min
        count = np.bincount(pairs.first[displaced], minlength=len(jets))
        tagged = (count >= self.n_tracks).astype(np.int32)
        jets.mark("b_tag", jets["b_tag"].astype(np.int32) | (tagged << self.bit))


def _squared_ratio(value: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Return (value / error)²; without an error infinite, and 0 without either, as in Delphes."""
    ratio = np.divide(value, error, out=np.where(value != 0.0, np.inf, 0.0), where=error != 0.0)
    return ratio**2
