"""The ntuplizer against the ntuples that the public reference ntuplizer made of the same files."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ntuplizer.ntuplize import ntuplize
from ntuplizer.products import get_product
from ntuplizer.sources import delphes

JETS = get_product("jets")
SCHEMA = JETS.schema(JETS.Options())

EXAMPLE = "published/events_delphes_higgs2p_example"
CASES = [
    *(
        (f"delphes/{name}", f"delphes/{name}", {"qcd_labels": name == "qcd_3"})
        for name in ("qcd_3", "res2p_1", "res2pm_1", "res34p_1", "res34p_4", "res34p_5")
    ),
    (EXAMPLE, f"{EXAMPLE}.ak8", {"qcd_labels": True}),
    (EXAMPLE, f"{EXAMPLE}.ak15", {"jet_radius": 1.5, "qcd_labels": True}),
]
# Differences of two float32 angles: one step of the float32 grid at |η| < 4.
ANGLES = ("part_deta", "part_dphi", "genpart_jet_deta", "genpart_jet_dphi")


def flat(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths of the lists (all 1 for a scalar column) and the values."""
    array = column.combine_chunks()
    if not hasattr(array, "offsets"):
        return np.ones(len(array)), array.to_numpy(zero_copy_only=False)
    return np.diff(array.offsets), array.values.to_numpy(zero_copy_only=False)


@pytest.mark.parametrize(("events", "ntuple", "options"), CASES, ids=[case[1] for case in CASES])
def test_equals_the_reference(reference, events, ntuple, options):
    theirs = pq.read_table(reference(f"{ntuple}.ntuple.parquet"))
    ours, counts = ntuplize(reference(f"{events}.root"), "jets", options)
    assert ours.num_rows == theirs.num_rows == counts.rows
    assert counts.events_skipped == {}
    for name in SCHEMA.names:
        (our_lengths, got), (their_lengths, wanted) = flat(ours[name]), flat(theirs[name])
        np.testing.assert_array_equal(our_lengths, their_lengths, name)
        if got.dtype.kind != "f":
            np.testing.assert_array_equal(got, wanted, name)
            continue
        # The file keeps candidates as float32, where Delphes clustered float64: that limits
        # angles and the masses of nearly massless jets.
        absolute = 3e-7 if name in ANGLES else 2e-5 if name.endswith("sdmass") else 1e-12
        relative = 1e-3 if "tau" in name else 1e-5
        np.testing.assert_allclose(got, wanted, rtol=relative, atol=absolute, err_msg=name)


def test_steps_of_reading_do_not_matter(reference, monkeypatch):
    path = reference(f"{EXAMPLE}.root")
    whole, _ = ntuplize(path, "jets", {"qcd_labels": True})
    monkeypatch.setattr(delphes, "EVENTS_PER_STEP", 3)
    stepwise, counts = ntuplize(path, "jets", {"qcd_labels": True})
    assert stepwise.equals(whole)
    assert counts.events == 10


def test_schema_is_the_published_one(reference):
    published = pq.read_schema(reference("published/JetClassII_example.parquet"))
    assert published.remove_metadata().equals(SCHEMA)


def test_lowest_momentum_is_what_was_asked(reference):
    table, _ = ntuplize(reference("delphes/qcd_3.root"), "quark_gluon_jets", {"jet_pt_min": 40})
    pt = table["jet_pt"].to_numpy()
    assert 40 <= pt.min() < 60
    higher, _ = ntuplize(reference("delphes/qcd_3.root"), "quark_gluon_jets")
    assert np.array_equal(np.sort(pt[pt >= 200]), np.sort(higher["jet_pt"].to_numpy()))
