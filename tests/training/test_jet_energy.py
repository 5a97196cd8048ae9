"""Jet energies: ragged jets to batches, and the task from fit to predictions."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from conftest import CONFIGS, drawn_pixels

from ntuplizer.products import get_product
from ntuplizer.schema import tabulate
from provenance.errors import UserError
from training.checkpoint import load_task, make_task, write_checkpoint
from training.cli import main
from training.config import load_config
from training.data.shards import list_row_groups
from training.evaluate.evaluate import read_predictions
from training.jec.response import EventBootstrap
from training.tasks.jet_energy.evaluation import _compare, resampled
from training.tasks.jet_energy.features import COLLECTIONS, Members, relative_eta
from training.tasks.jet_energy.reader import event_number, flavour_group

LITE = {
    "deep_sets": CONFIGS / "jet-energy-pfn-lite.yaml",
    "particle_net": CONFIGS / "jet-energy-particle-net-lite.yaml",
    "particle_transformer": CONFIGS / "jet-energy-particle-transformer-lite.yaml",
}
PRODUCT = get_product("energy")
RNG_SEED = 5


def made_up_jets(n_events: int, seed: int = RNG_SEED) -> pa.Table:
    """Return jets whose pT is right but for what the share of neutral hadrons took away."""
    rng = np.random.default_rng(seed)
    event = np.repeat(np.arange(n_events), 2)
    n = len(event)
    pt_gen = np.exp(rng.uniform(np.log(20), np.log(400), n))
    lost = rng.uniform(0, 0.5, n)
    pt = pt_gen * (1 - lost) * np.exp(rng.normal(0, 0.02, n))
    eta, phi = rng.uniform(-2.4, 2.4, n), rng.uniform(-np.pi, np.pi, n)
    scalars = {
        "process": np.full(n, "made_up"), "batch": np.zeros(n), "event": event,
        "jet": np.arange(n) % 2,
        "jet_pt": pt, "jet_eta": eta, "jet_phi": phi, "jet_mass": 0.1 * pt,
        "jet_energy": pt * np.cosh(eta), "jet_area": np.full(n, 0.5), "jet_multiplicity": pt // 5,
        "jet_ptd": np.full(n, 0.4), "jet_axis2": np.full(n, 0.05),
        "jet_hadronflavour": rng.choice([0, 4, 5], n),
        "jet_partonflavour": rng.choice([1, -2, 21], n),
        "event_rho": rng.uniform(5, 30, n), "event_nvertices": rng.integers(1, 60, n),
        "event_ninteractions": np.full(n, 50), "genjet_pt": pt_gen, "genjet_eta": eta,
        "genjet_phi": phi, "genjet_mass": 0.12 * pt_gen, "genjet_energy": pt_gen * np.cosh(eta),
        "genjet_ptnu": 1.1 * pt_gen,
    }  # fmt: skip
    columns: dict = dict(scalars)
    # The first neutral constituent is a hadron that carries what tells the loss.
    counts = {"charged_": rng.poisson(4, n), "neutral_": 1 + rng.poisson(2, n)}
    counts["sv_"] = (rng.random(n) < 0.2).astype(int)
    for prefix, own in counts.items():
        offsets = np.concatenate(([0], np.cumsum(own)))
        jet = np.repeat(np.arange(n), own)
        total = len(jet)
        pt_member = pt[jet] * rng.uniform(0.02, 0.1, total)
        if prefix == "neutral_":
            pt_member[offsets[:-1]] = pt * lost
        deta, dphi = rng.normal(0, 0.15, (2, total))
        values = {
            "px": pt_member * np.cos(phi[jet]), "py": pt_member * np.sin(phi[jet]),
            "pz": pt_member * np.sinh(eta[jet]), "energy": pt_member * np.cosh(eta[jet]),
            "pt": pt_member, "eta": eta[jet] + deta, "phi": phi[jet], "deta": deta, "dphi": dphi,
            "d0err": np.full(total, 0.02), "d0val": rng.normal(0, 0.05, total),
            "dzerr": np.full(total, 0.05), "dzval": rng.normal(0, 0.1, total),
            "charge": rng.choice([-1, 1], total), "association": rng.integers(1, 6, total),
            "isChargedHadron": np.ones(total), "ndf": np.full(total, 3),
            "puppiweight": rng.uniform(0.2, 1, total),
        }  # fmt: skip
        first = np.isin(np.arange(total), offsets[:-1])
        values |= {"isNeutralHadron": first, "isPhoton": ~first, "hcalfrac": first}
        for column in PRODUCT.columns(PRODUCT.Options()):
            if column.per_particle and column.name.startswith(prefix):
                name = column.name.removeprefix(prefix)
                columns[column.name] = (offsets, values.get(name, np.ones(total)))
    return tabulate(columns, PRODUCT.schema(PRODUCT.Options()))


def write_dataset(folder, table: pa.Table) -> None:
    """Write six shards of whole events (train ×4, val, test) and their manifest."""
    folder.mkdir()
    files = []
    event = table["event"].to_numpy()
    for i in range(6):
        path = f"QCD_{i:04d}.parquet"
        rows = table.filter(pa.array(event % 6 == i))
        pq.write_table(rows, folder / path, row_group_size=400, write_page_checksum=True)
        split = "train" if i < 4 else ("val", "test")[i - 4]
        files.append({"path": path, "part": "QCD", "split": split, "rows": len(rows)})
    content = {"format": 2, "product": "energy", "dataset_sha256": "5eed" * 16, "files": files}
    (folder / "manifest.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def jets() -> pa.Table:
    return made_up_jets(1500)


@pytest.fixture(scope="module")
def manifest(jets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("energy") / "dataset"
    write_dataset(folder, jets)
    return folder / "manifest.json"


def groups_of(path, task):
    return list_row_groups([(path, "")], task.reader)


def task_of(model: str, *overrides: str):
    torch.manual_seed(1)
    config = load_config(
        LITE[model], ["heads.mass=true", "model.head.batch_norm=false", *overrides]
    )
    return make_task(config).eval()


def read(task, table: pa.Table, folder):
    path = folder / f"jets{len(table)}.parquet"
    pq.write_table(table, path)
    return task.reader.read(groups_of(path, task))


def predictions(task, rows, chosen) -> np.ndarray:
    with torch.inference_mode():
        out = task(task.reader.collate(rows, np.asarray(chosen)))
    return np.concatenate([x.reshape(len(chosen), -1).numpy() for x in out.values()], axis=1)


@pytest.mark.parametrize("model", LITE)
def test_what_is_said_of_a_jet_depends_on_that_jet_alone(model, jets, tmp_path):
    task = task_of(model)
    rows = read(task, jets.slice(0, 60), tmp_path)
    together = predictions(task, rows, np.arange(60))
    order = np.random.default_rng(1).permutation(60)
    np.testing.assert_allclose(predictions(task, rows, order), together[order], atol=1e-5)
    alone = np.concatenate([predictions(task, rows, [i]) for i in range(60)])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    assert together.std(axis=0).min() > 1e-4
    # Jets with nothing in a collection are among them.
    charged = np.diff(rows.constituents["charged"].offsets)
    assert charged.min() == 0
    assert np.all(np.isfinite(together))


@pytest.mark.parametrize("offset", [-500.0, 500.0])
def test_factors_are_finite_whatever_a_network_says(offset, jets, tmp_path):
    task = task_of("deep_sets")
    rows = read(task, jets.slice(0, 10), tmp_path)
    torch.nn.init.constant_(task.network.output.bias, offset)
    with torch.inference_mode():
        said = task.predict(task.reader.collate(rows, np.arange(10)))
    for values in said.values():
        assert values.isfinite().all()
        assert (values > 0).all()


@pytest.mark.parametrize("model", LITE)
def test_the_order_of_constituents_has_no_meaning(model, jets, tmp_path):
    task = task_of(model)
    table = jets.slice(0, 30)
    turned = table
    for place, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            reverse = [items[::-1] for items in table[field.name].to_pylist()]
            turned = turned.set_column(place, field, pa.array(reverse, field.type))
    own, other = (read(task, t, tmp_path) for t in (table, turned))
    first = own.constituents["charged"].values
    assert not np.array_equal(first, other.constituents["charged"].values)
    np.testing.assert_allclose(
        predictions(task, own, np.arange(30)), predictions(task, other, np.arange(30)), atol=1e-5
    )


def test_jets_are_mirrored_by_the_sign_of_eta_which_is_positive_at_zero():
    # The column has the sign −1 at η = 0.
    eta = np.array([1.0, 0.0, -1.0])
    absolute = np.array([0.1, 0.1, 0.1])
    stored = np.where(eta > 0, 1, -1) * absolute
    members = Members({"deta": stored}, {"jet_eta": eta}, np.arange(3))
    np.testing.assert_allclose(relative_eta(members), [0.1, 0.1, -0.1])


def test_features_are_what_they_are_called(jets, tmp_path):
    task = task_of("deep_sets")
    rows = read(task, jets, tmp_path)
    table = jets.to_pydict()
    charged, names = rows.constituents["charged"], task.reader.names["charged"]
    assert names == tuple(COLLECTIONS["charged"][2])
    jet = 7
    own = charged.values[charged.offsets[jet] : charged.offsets[jet + 1]]
    pt = np.hypot(table["charged_px"][jet], table["charged_py"][jet])
    np.testing.assert_allclose(own[:, names.index("log_pt")], np.log(pt), rtol=1e-5)
    np.testing.assert_allclose(own[:, names.index("rel_pt")], pt / table["jet_pt"][jet], rtol=1e-5)
    one_hot = own[:, names.index("is_marked_as_pileup") :]
    assert np.array_equal(one_hot.argmax(axis=1) + 1, table["charged_association"][jet])
    neutral, names = rows.constituents["neutral"], task.reader.names["neutral"]
    inside = slice(*neutral.offsets[jet : jet + 2])
    own, share = neutral.values[inside], neutral.share[inside]
    pt = np.hypot(table["neutral_px"][jet], table["neutral_py"][jet])
    measured = pt / np.array(table["neutral_puppiweight"][jet]) / table["jet_pt"][jet]
    assert np.any(measured > 1.5 * pt / table["jet_pt"][jet])
    np.testing.assert_allclose(own[:, names.index("measured_rel_pt")], measured, rtol=1e-5)
    np.testing.assert_allclose(share, measured, rtol=1e-5)
    own = dict(zip(task.config.data.jet, rows.features[jet], strict=True))
    whole = measured.sum() + charged.share[slice(*charged.offsets[jet : jet + 2])].sum()
    assert own["log_measured_rel_pt"] == pytest.approx(np.log(whole), abs=1e-5)
    assert own["n_neutral"] == pytest.approx(len(pt) / 30)
    target = np.log(np.array(table["genjet_pt"]) / np.array(table["jet_pt"]))
    np.testing.assert_allclose(rows.truth["target"], target, rtol=1e-5, atol=1e-6)


def test_events_have_numbers_of_their_own():
    process = np.repeat(["qcd", "ttbar"], 5000)
    batch, event = np.divmod(np.tile(np.arange(5000), 2), 50)
    number = event_number(process, batch, event)
    assert len(np.unique(number)) == 10_000
    np.testing.assert_array_equal(event_number(process[::2], batch[::2], event[::2]), number[::2])


def test_batches_are_resampled_where_there_are_many():
    event = np.arange(200)
    rows = {"event": event, "batch": event // 5}
    assert resampled(rows) is rows["batch"]
    few = {"event": event, "batch": event // 100}
    assert resampled(few) is few["event"]


def test_a_calibration_of_another_version_is_refused(tmp_path):
    task = task_of("deep_sets")
    content = {"description": task.describe(), "state_dict": task.state_dict()}
    write_checkpoint({**content, "calibration": {"closing": {}}}, tmp_path / "energy.ckpt")
    with pytest.raises(UserError, match=r"energy\.ckpt: made by another version \(its calibration"):
        load_task(tmp_path / "energy.ckpt")


def test_jets_that_are_alike_tell_no_gain():
    chosen = np.arange(3)
    bootstrap = EventBootstrap.of(np.array([0, 0, 1]))
    alike = _compare(np.array([0.9, 0.9, 0.9]), np.array([0.8, 0.8, 0.8]), chosen, bootstrap)
    assert (alike["improvement"], alike["uncertainty"]) == (None, None)
    # In some samples of two events all jets are alike.
    some = _compare(np.array([0.9, 0.9, 1.1]), np.array([0.8, 0.8, 1.2]), chosen, bootstrap)
    assert some["improvement"] == pytest.approx(100 * (1 - 0.1 / 0.9 / (0.2 / 0.8)))
    assert some["uncertainty"] < 1e-9


def test_groups_of_flavours_for_sampling():
    scalars = {
        "jet_hadronflavour": np.array([0, 0, 4, 5, 0, 0]),
        "jet_partonflavour": np.array([-2, 21, 21, 4, 0, 3]),
    }
    assert flavour_group(scalars).tolist() == [0, 3, 1, 2, 4, 0]


def test_published_sizes():
    # The features differ by little from the published ones: 25, 11, 10 and, chosen here, 11 of a
    # jet.
    jet = "data.jet=[pt,log_pt,eta,log_mass,area,rho,n_vertices,multiplicity,ptd,axis2,cos_phi]"
    sizes = {"pfn": 1_467_105, "particle-net": 1_188_673, "pfn-lite": 41_000}
    for name, published in sizes.items():
        network = make_task(load_config(CONFIGS / f"jet-energy-{name}.yaml", [jet])).network
        assert sum(p.numel() for p in network.parameters()) == pytest.approx(published, rel=0.01)


def joined_predictions_give_the_same_numbers(checkpoint, shard, manifest, folder, metrics):
    """Compare to the last bit."""
    said, output = folder / "test.parquet", folder / "joined"
    main(["predict", *checkpoint, "--input", str(shard), "--output", str(said)])
    # A shard without rows has nothing predicted.
    empty, nothing = folder / "empty.parquet", folder / "nothing.parquet"
    pq.write_table(pq.read_table(shard).slice(0, 0), empty)
    main(["predict", *checkpoint, "--input", str(empty), "--output", str(nothing)])
    joined = ["evaluate", *checkpoint, "--manifest", str(manifest), "--output", str(output)]
    main([*joined, "--predictions", str(nothing), str(said)])
    again = json.loads((output / "metrics.json").read_text())
    assert again.pop("wall_seconds") > 0
    assert again == {name: value for name, value in metrics.items() if name != "wall_seconds"}
    with pytest.raises(UserError, match=r"nothing\.parquet: predicts no row"):
        read_predictions([nothing])
    pq.write_table(pq.read_table(said).slice(1), said)
    with pytest.raises(UserError, match="jets are not among the predictions"):
        main([*joined, "--predictions", str(said)])


@pytest.mark.parametrize(
    "model",
    [
        "deep_sets",
        "particle_net",
        pytest.param("particle_transformer", marks=pytest.mark.slow),
    ],
)
def test_a_network_learns_what_the_standard_correction_cannot(model, manifest, tmp_path):
    output = tmp_path / "fit"
    epochs = {"deep_sets": 6, "particle_net": 15, "particle_transformer": 8}[model]
    overrides = ["--set", f"epochs={epochs}", "--set", "heads.mass=true"]
    main(["fit", "--config", str(LITE[model]), *overrides, "--manifest", str(manifest),
          "--output", str(output)])  # fmt: skip
    checkpoint = ["--checkpoint", str(output / "checkpoint.ckpt")]
    main(["evaluate", *checkpoint, "--manifest", str(manifest), "--output", str(tmp_path / "test")])
    metrics = json.loads((tmp_path / "test" / "metrics.json").read_text())
    summary = metrics["summary"]
    assert len(summary) <= 14
    assert set(summary) <= set(load_config(LITE[model]).numbers)
    assert summary["improvement"] > 30
    # The controls: trees are told the share of neutral hadrons, the small network is not.
    assert summary["improvement_trees"] > 30
    assert abs(summary["improvement_knowing_little"]) < 15
    assert 0.4 < summary["coverage"] < 0.95
    assert summary["improvement_mass"] > 20
    region = metrics["response"]["regions"]["0-2.5"]
    assert region["closure"]["network"]["filled_bins"] > 3
    for name in metrics["figures"]:
        assert (tmp_path / "test" / f"{name}.pdf").is_file()
        assert drawn_pixels(tmp_path / "test" / f"{name}.png") > 100

    shard = manifest.parent / "QCD_0005.parquet"
    if model == "deep_sets":
        joined_predictions_give_the_same_numbers(checkpoint, shard, manifest, tmp_path, metrics)
    # Collisions have no truth.
    plain = pq.read_table(shard)
    truth = [name for name in plain.column_names if name.startswith("genjet_")]
    pq.write_table(plain.drop_columns([*truth, "jet_hadronflavour"]), tmp_path / "plain.parquet")
    main(["predict", *checkpoint, "--input", str(tmp_path / "plain.parquet"),
          "--output", str(tmp_path / "factors.parquet")])  # fmt: skip
    factors = pq.read_table(tmp_path / "factors.parquet")
    for name in ("process", "batch", "event", "jet", "jet_pt"):
        assert factors[name].equals(plain[name])
    assert {"factor", "quantiles", "factor_with_neutrinos", "mass_factor"} <= set(
        factors.column_names
    )
    error = np.log(factors["factor"].to_numpy() * plain["jet_pt"] / plain["genjet_pt"])
    assert np.median(np.abs(error)) < 0.08


def test_shuffled_targets_are_those_of_other_jets_of_the_batch(jets, tmp_path):
    task = task_of("deep_sets", "data.shuffled_targets=true")
    rows = read(task, jets.slice(0, 200), tmp_path)
    chosen = np.arange(100, 200)
    plain, shuffled = task.reader.collate(rows, chosen), task.reader.draw(rows, chosen, 1)
    assert not torch.equal(plain["target"], shuffled["target"])
    assert torch.equal(plain["target"].sort().values, shuffled["target"].sort().values)
    assert torch.equal(plain["jets"], shuffled["jets"])
    # The targets of one jet stay together, another pass shuffles anew.
    place = {round(t, 6): i for i, t in enumerate(plain["target"].tolist())}
    order = [place[round(t, 6)] for t in shuffled["target"].tolist()]
    torch.testing.assert_close(plain["target_mass"][order], shuffled["target_mass"])
    assert not torch.equal(task.reader.draw(rows, chosen, 2)["target"], shuffled["target"])


def test_jets_of_cms_are_corrected(reference, tmp_path):
    torch.manual_seed(1)
    task = make_task(load_config(LITE["deep_sets"]))
    content = {"description": task.describe(), "state_dict": task.state_dict()}
    write_checkpoint(content, tmp_path / "checkpoint.ckpt")
    main(["predict", "--checkpoint", str(tmp_path / "checkpoint.ckpt"),
          "--input", str(reference("cms/pfnano.root")),
          "--output", str(tmp_path / "factors.parquet")])  # fmt: skip
    factors = pq.read_table(tmp_path / "factors.parquet")
    assert factors.num_rows == 60
    assert np.isfinite(factors["factor"].to_numpy()).all()
    assert {"process", "batch", "event", "jet", "jet_pt", "genjet_pt"} < set(factors.column_names)


def test_data_are_drawn_before_anything_is_trained(manifest, tmp_path):
    main(["visualize", "--config", str(LITE["deep_sets"]), "--manifest", str(manifest),
          "--output", str(tmp_path)])  # fmt: skip
    views = json.loads((tmp_path / "views.json").read_text())
    assert views["rows"] == 2000
    assert len(views["figures"]) == 6
    for name in views["figures"]:
        assert (tmp_path / f"{name}.pdf").is_file()
        assert drawn_pixels(tmp_path / f"{name}.png") > 100


def test_targets_that_are_not_finite_are_refused(jets, tmp_path):
    task = task_of("deep_sets")
    place = jets.schema.get_field_index("genjet_pt")
    for value, message in (
        (0.0, "column genjet_pt holds 0 in row group 0, of which no finite target"),
        (np.nan, "column genjet_pt holds NaN or infinity"),
    ):
        values = jets["genjet_pt"].to_numpy().copy()
        values[3] = value
        with pytest.raises(UserError, match=message):
            read(task, jets.set_column(place, jets.schema.field(place), pa.array(values)), tmp_path)


def test_lists_of_different_lengths_are_refused(jets, tmp_path):
    task = task_of("deep_sets")
    place = jets.schema.get_field_index("charged_dphi")
    shorter = pc.list_slice(jets["charged_dphi"], 0, 1)
    with pytest.raises(UserError, match="charged_px and charged_dphi differ in length"):
        read(task, jets.set_column(place, "charged_dphi", shorter), tmp_path)


def test_a_dataset_of_another_product_is_refused(manifest, tmp_path):
    other = tmp_path / "manifest.json"
    other.write_text(json.dumps(json.loads(manifest.read_text()) | {"product": "jets"}))
    with pytest.raises(UserError, match="product 'jets', and the task jet_energy reads energy"):
        main(["fit", "--config", str(LITE["deep_sets"]), "--manifest", str(other),
              "--output", str(tmp_path / "fit")])  # fmt: skip


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.on_device=true", "constituents are not padded"),
        ("data.jet=[speed]", "data.jet.0"),
        ("model.name=transformer", "model"),
        ("data.selection.genjet_pt=[30, 20]", "an interval begins at 30"),
    ],
)
def test_configurations_are_checked(override, message):
    with pytest.raises(UserError, match=message):
        load_config(LITE["deep_sets"], [override])
