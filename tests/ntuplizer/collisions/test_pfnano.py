"""Jets of PFNano: sums, substructure and impact parameters against what the file says itself."""

from collections import Counter

import awkward as ak
import numpy as np
import pyarrow as pa
import pytest
import uproot

from ntuplizer.collisions.era import load_era
from ntuplizer.collisions.files import RemoteFile
from ntuplizer.collisions.pfnano import PFNanoOptions, iterate_jets, jets_of
from ntuplizer.products.jets import COLUMNS
from ntuplizer.quality import finite_rows
from ntuplizer.schema import arrow_schema
from provenance.errors import UserError

PFNANO = "cms/pfnano.root"
EVERYTHING = PFNanoOptions(pt_min=0, eta_max=10, identified=False)


@pytest.fixture
def path(reference):
    return reference(PFNANO)


def table(path, options=EVERYTHING):
    return jets_of(RemoteFile(str(path)), options, Counter())


def branches(path, *patterns) -> ak.Array:
    with uproot.open(path) as file:
        return file["Events"].arrays(filter_name=list(patterns))


def by_raw_pt(jets: ak.Array, name: str, values: ak.Array) -> np.ndarray:
    """Return values of jets, flat, in the order of the rows: by event and falling raw pT."""
    raw = jets[f"{name}_pt"] * (1 - jets[f"{name}_rawFactor"])
    return ak.to_numpy(ak.flatten(values[ak.argsort(raw, ascending=False, stable=True)]))


def sums(rows, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Return pT and mass of the sum of each jet's constituents."""
    px, py, pz, energy = (
        np.array([sum(values) for values in rows[f"{prefix}_{q}"].to_pylist()])
        for q in ("px", "py", "pz", "energy")
    )
    return np.hypot(px, py), np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0))


@pytest.mark.parametrize(
    ("jets", "name", "most", "typical"), [("ak8", "FatJet", 3e-3, 1e-3), ("ak4", "Jet", 3e-3, 3e-4)]
)
def test_constituents_add_up_to_the_raw_jet(path, jets, name, most, typical):
    """PUPPI weights scale those of large jets, not those of CHS jets; the file rounds numbers."""
    rows = table(path, EVERYTHING.model_copy(update={"jets": jets}))
    assert rows.schema.equals(arrow_schema(COLUMNS))
    found = branches(path, f"{name}_pt", f"{name}_mass", f"{name}_rawFactor")
    raw = 1 - found[f"{name}_rawFactor"]
    pt, mass = sums(rows, "part")
    # A jet file keeps no constituents beyond |η| = 5.
    whole = np.abs(rows["jet_eta"].to_numpy()) < 4.2
    for own, quantity in ((pt, "pt"), (mass, "mass")):
        expected = by_raw_pt(found, name, found[f"{name}_{quantity}"] * raw)
        deviation = np.abs(own / expected - 1)[whole]
        assert deviation.max() < most
        assert np.median(deviation) < typical
    np.testing.assert_allclose(
        rows["jet_pt"].to_numpy(), by_raw_pt(found, name, found[f"{name}_pt"] * raw), rtol=1e-6
    )


def test_substructure_is_that_of_the_file(path):
    """τ_N of CMS (one-pass kT axes, R = 0.8), and the sum of its two uncorrected subjets."""
    rows = table(path)
    found = branches(path, "FatJet_*", "SubJet_*")
    expected, own = (
        np.concatenate(values)
        for values in (
            [by_raw_pt(found, "FatJet", found[f"FatJet_tau{n}"]) for n in range(1, 5)],
            [rows[f"jet_tau{n}"].to_numpy() for n in range(1, 5)],
        )
    )
    # Rounded momenta may lead the axes of a jet to another minimum.
    deviation = np.abs(own - expected) / np.maximum(expected, 0.01)
    assert deviation.max() < 0.1
    assert np.quantile(deviation, 0.95) < 0.01

    masses = []
    for event in found:
        raw = [pt * (1 - f) for pt, f in zip(event.FatJet_pt, event.FatJet_rawFactor, strict=True)]
        for jet in np.argsort(-np.array(raw), kind="stable"):
            total = np.zeros(4)
            for index in (event.FatJet_subJetIdx1[jet], event.FatJet_subJetIdx2[jet]):
                if index >= 0:
                    pt, eta, phi, mass, factor = (
                        float(event[f"SubJet_{q}"][index])
                        for q in ("pt", "eta", "phi", "mass", "rawFactor")
                    )
                    momentum = pt * np.cosh(eta)
                    p = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]
                    total += (1 - factor) * np.array([*p, np.hypot(momentum, mass)])
            masses.append(np.sqrt(max(total[3] ** 2 - (total[:3] ** 2).sum(), 0)))
    masses, own = np.array(masses), rows["jet_sdmass"].to_numpy()
    # A subjet of a small mass loses it to the rounding of its energy.
    heavy = masses > 10
    assert heavy.sum() > 10
    np.testing.assert_allclose(own[heavy], masses[heavy], rtol=0.01)
    assert (own[~heavy] < 12).all()


def test_impact_parameters_and_types_are_those_of_the_candidates(path):
    """One constituent after the other: cm → mm, CMS' sign of d0 turned, tracks without details."""
    rows = table(path)
    names = ("pt", "eta", "phi", "puppiWeight", "d0", "d0Err", "dz", "dzErr", "charge", "pdgId")
    found = branches(path, "FatJet_pt", "FatJet_rawFactor", "FatJetPFCands_*", "PFCands_*")
    flags = ("isElectron", "isMuon", "isPhoton", "isChargedHadron", "isNeutralHadron")
    row = without_details = 0
    for event in found:
        raw = np.array(event.FatJet_pt) * (1 - np.array(event.FatJet_rawFactor))
        candidates = {q: event[f"PFCands_{q}"].to_list() for q in names}
        links = list(zip(event.FatJetPFCands_jetIdx, event.FatJetPFCands_pFCandsIdx, strict=True))
        for jet in np.argsort(-raw, kind="stable"):
            own = [{q: candidates[q][i] for q in names} for j, i in links if j == jet]
            own.sort(key=lambda c: -np.float32(c["pt"]) * np.float32(c["puppiWeight"]))
            stored = {
                q: rows[f"part_{q}"][row].as_py()
                for q in ("px", "py", "d0val", "d0err", "dzval", "dzerr", "charge", *flags)
            }
            assert len(own) == len(stored["px"]) == rows["jet_nparticles"][row].as_py()
            for i, c in enumerate(own):
                scale = c["pt"] * c["puppiWeight"]
                assert stored["px"][i] == pytest.approx(scale * np.cos(c["phi"]), abs=1e-4)
                track = c["charge"] != 0 and c["d0Err"] > 0
                without_details += c["charge"] != 0 and not track
                expected = [-10 * c["d0"], 10 * c["d0Err"], 10 * c["dz"], 10 * c["dzErr"]]
                got = [stored[q][i] for q in ("d0val", "d0err", "dzval", "dzerr")]
                assert got == pytest.approx(expected if track else [0] * 4, rel=1e-6)
                assert stored["charge"][i] == c["charge"]
                kind = {11: "isElectron", 13: "isMuon", 22: "isPhoton", 211: "isChargedHadron",
                        130: "isNeutralHadron", 1: "isNeutralHadron"}[abs(c["pdgId"])]  # fmt: skip
                assert [flag for flag in flags if stored[flag][i]] == [kind]
            row += 1
    assert row == rows.num_rows == 24
    assert without_details > 0
    # Tracks of jets come from the primary vertex within fractions of a millimetre.
    d0 = np.array(rows["part_d0val"].combine_chunks().flatten())
    assert 0.005 < np.median(np.abs(d0[d0 != 0])) < 0.1


def test_simulation_has_gen_jets_and_no_truth(path):
    rows = table(path)
    gen_pt, pt = rows["genjet_pt"].to_numpy(), rows["jet_pt"].to_numpy()
    matched = gen_pt > 0
    assert matched.sum() == 23
    # Before corrections jets lack some energy.
    assert 0.8 < np.median(pt[matched] / gen_pt[matched]) < 1
    pt_sum, _ = sums(rows, "genpart")
    np.testing.assert_allclose(pt_sum[matched], gen_pt[matched], rtol=1e-3)
    assert (pt_sum[~matched] == 0).all()
    codes = np.abs(np.array(rows["genpart_pid"].combine_chunks().flatten()))
    assert {211, 22} <= set(codes)
    assert not set(codes) & {12, 14, 16}
    assert set(rows["jet_label"].to_pylist()) == {-1}
    for column in COLUMNS:
        values = rows[column.name].combine_chunks()
        if column.name.startswith("aux_"):
            assert len(values.flatten()) == 0
        numbers = np.asarray(values.flatten() if column.per_particle else values, np.float64)
        assert np.isfinite(numbers).all()


def test_without_generated_particles_gen_columns_are_empty(path, tmp_path):
    """The same file without its simulation, as collisions come."""
    copy = tmp_path / "collisions.root"
    write_copy(path, copy)
    rows, full = table(copy), table(path)
    gen = [column.name for column in COLUMNS if column.name.startswith("gen")]
    assert rows.drop_columns(gen).equals(full.drop_columns(gen))
    for name in gen:
        values = rows[name].combine_chunks()
        if name.startswith("genpart_"):
            assert len(values.flatten()) == 0
        else:
            assert (values.to_numpy() == 0).all()


def write_copy(path, copy, change=lambda name, values: values) -> None:
    """Write the branches of jets, without those of generated particles."""
    with uproot.open(path) as file:
        tree = file["Events"]
        columns = {name: tree[name].array() for name in ("run", "luminosityBlock", "event")}
        for kind in ("FatJet", "FatJetPFCands", "PFCands"):
            names = tree.keys(filter_name=f"{kind}_*")
            columns[kind] = ak.zip(
                {name.removeprefix(f"{kind}_"): change(name, tree[name].array()) for name in names}
            )
    with uproot.recreate(copy) as file:
        tree = file.mktree("Events", {name: values.type for name, values in columns.items()})
        tree.extend(columns)


def test_jets_are_selected_before_corrections(path):
    rows = table(path, PFNanoOptions())
    assert rows["jet_pt"].to_numpy().min() >= 200
    found = branches(path, "FatJet_pt", "FatJet_rawFactor", "FatJet_eta")
    raw = ak.flatten(found.FatJet_pt * (1 - found.FatJet_rawFactor))
    expected = ak.sum((raw >= 200) & (abs(ak.flatten(found.FatJet_eta)) <= 2.5))
    assert rows.num_rows == expected < ak.count(found.FatJet_pt)


def test_events_can_be_asked_for_triggers(path):
    era = load_era("2018").model_copy(update={"triggers": ("PFJet500", "IsoMu24"), "filters": ()})
    steps: Counter[str] = Counter()
    rows = jets_of(RemoteFile(str(path)), PFNanoOptions(), steps, era)
    with uproot.open(path) as file:
        fired = file["Events"]["HLT_PFJet500"].array() | file["Events"]["HLT_IsoMu24"].array()
    assert 0 < steps["triggered"] == ak.sum(fired) <= steps["read"] == 10
    assert steps["jets"] == rows.num_rows > 0


def test_links_to_nowhere_are_damage(path, tmp_path):
    copy = tmp_path / "damaged.root"
    write_copy(path, copy, lambda name, v: v + 10_000 if name.endswith("pFCandsIdx") else v)
    with pytest.raises(UserError, match="FatJetPFCands points to what is not there"):
        table(copy)


def test_numbers_that_are_none_cost_their_jet_alone(path, tmp_path):
    """Of a track it is the impact parameter that is not known, where its covariance is infinite."""
    damaged = {"PFCands_eta": np.nan, "PFCands_d0Err": np.inf}

    def change(name, values):
        if name not in damaged:
            return values
        flat = ak.to_numpy(ak.flatten(values)).copy()
        # The candidates of a first event, and all tracks of the others.
        flat[slice(0, 60) if name == "PFCands_eta" else slice(60, None)] = damaged[name]
        return ak.unflatten(flat, ak.num(values))

    write_copy(path, tmp_path / "whole.root")
    write_copy(path, tmp_path / "damaged.root", change)
    steps: Counter[str] = Counter()
    rows = jets_of(RemoteFile(str(tmp_path / "damaged.root")), EVERYTHING, steps)
    whole = table(tmp_path / "whole.root")
    assert 0 < rows.num_rows == steps["jets_finite"] < steps["jets"] == whole.num_rows
    assert finite_rows(rows).all()
    kept = np.isin(whole["jet_pt"].to_numpy(), rows["jet_pt"].to_numpy())
    charges = whole.filter(pa.array(kept))["part_charge"]
    assert rows["part_charge"].combine_chunks().equals(charges.combine_chunks())


def test_nanoaod_without_constituents_is_refused(reference):
    with pytest.raises(UserError, match="so it is not PFNano"):
        list(iterate_jets(RemoteFile(str(reference("cms/nano_dy.root"))), EVERYTHING, Counter()))
