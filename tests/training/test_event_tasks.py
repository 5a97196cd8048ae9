"""Pre-training and classification on event objects: what is hidden, masked, counted and kept."""

import csv
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional

from ntuplizer.slots import B_JET, LEPTON, LIGHT_JET, MISSING
from provenance.errors import UserError
from training.baselines.event_trees import mass_features
from training.checkpoint import make_task, read_checkpoint
from training.config import load_config
from training.data.loaders import TrainingData
from training.data.object_features import QUANTITIES, TYPE, TYPE_FEATURES, present
from training.data.shards import open_dataset
from training.evaluate.evaluate import evaluate
from training.events.network import augmented, inputs_of
from training.fit import fit
from training.loop import Training
from training.predict import predict
from training.tasks.event_masses.task import log_masses
from training.tasks.event_pretraining.evaluation import evaluate_kinematics, evaluate_types
from training.tasks.event_pretraining.task import shuffle_types

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
PRETRAINING, CLASSIFICATION = (
    CONFIGS / f"event-{kind}-small.yaml" for kind in ("pretraining", "classification")
)
TINY = ["model.width=16", "model.blocks=1", "model.feedforward=32", "model.dropout=0", "steps=60",
        "data.rows_per_epoch=640", "data.batch_size=64"]  # fmt: skip
SLOTS = ("lepton", "met", "bjet1", "bjet2", "jet1", "jet2")
TYPES = np.array([LEPTON, MISSING, B_JET, B_JET, LIGHT_JET, LIGHT_JET])


def make_objects(n: int, seed: int, signal: bool = False) -> np.ndarray:
    """Make events whose b-jets are heavy, whose second light jet may be missing; signal is hard."""
    rng = np.random.default_rng(seed)
    objects = np.zeros((n, 6, 5), np.float32)
    objects[..., 0] = 20 + rng.exponential(65 if signal else 40, (n, 6))
    objects[..., 1] = rng.normal(0, 1.2, (n, 6))
    objects[..., 2] = rng.uniform(-np.pi, np.pi, (n, 6))
    objects[:, 0, 3] = 0.10566
    objects[:, 2:4, 3] = rng.normal(18, 2, (n, 2))
    objects[:, 4:, 3] = rng.normal(8, 2, (n, 2))
    objects[..., 4] = TYPES
    objects[:, 1, [1, 3]] = 0
    objects[rng.random(n) < 0.3, 5] = 0
    return objects


def write_events(path: Path, objects: np.ndarray, process: str) -> int:
    columns = {
        "process": pa.array([process] * len(objects)),
        "batch": pa.array(np.zeros(len(objects), np.int64)),
        "event": pa.array(np.arange(len(objects))),
    }
    for i, slot in enumerate(SLOTS):
        for k, name in enumerate(QUANTITIES):
            kind = np.int32 if name == "type" else np.float32
            columns[f"{slot}_{name}"] = pa.array(objects[:, i, k].astype(kind))
    pq.write_table(pa.table(columns), path, row_group_size=200)
    return len(objects)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("events")
    files = []
    for seed, (part, process) in enumerate(
        (("Background", "ttbar"), ("Signal", "2hdm"), ("Other", "wjets"))
    ):
        for k, (split, n) in enumerate((("train", 600), ("val", 300), ("test", 400))):
            objects = make_objects(n, 10 * seed + k, process == "2hdm")
            path = f"{part}_{split}.parquet"
            rows = write_events(folder / path, objects, process)
            files.append({"path": path, "part": part, "split": split, "rows": rows})
    content = {"product": "events", "labels": None, "files": files}
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder / "manifest.json"


def task_of(source, *changes):
    torch.manual_seed(1)
    return make_task(load_config(source, [*TINY, *changes])).eval()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("event-pretraining", 1_687_940), ("event-classification", 1_687_810)],
)
def test_published_networks(name, parameters):
    config = load_config(CONFIGS / f"{name}.yaml")
    task = make_task(config)
    assert sum(p.numel() for p in task.network.parameters()) == parameters
    assert not config.model.masked
    assert (config.data.batch_size, config.epochs, config.optimizer.name) == (1024, 100, "sgd")
    assert {task.part_of(name) for name, _ in task.named_parameters()} == set(config.parts)


@pytest.mark.parametrize("source", [PRETRAINING, CLASSIFICATION])
def test_empty_slots_are_seen_as_published_and_not_when_masked(source):
    full = torch.from_numpy(make_objects(40, 1))
    full = full[(full[..., TYPE] > 0).all(1)]
    emptied = full.clone()
    emptied[:, 5] = 0
    for masked in (False, True):
        task = task_of(source, f"model.masked={masked}")
        features, mask = inputs_of(emptied, task.config)
        assert (features[:, 5] == (0 if masked else -99)).all()
        embedding = task.predict({"objects": emptied})["embedding"]
        without = task.predict({"objects": emptied[:, :5]})["embedding"]
        assert torch.allclose(embedding, without, atol=1e-5) == masked
        assert mask.sum() == 5 * len(full)


def test_hidden_types_do_not_leak():
    """The guess is the same whichever kind of jet was hidden, and differs where one is seen."""
    task = task_of(PRETRAINING)
    objects = torch.from_numpy(make_objects(30, 2))
    other = objects.clone()
    other[:, 2, TYPE], other[:, 4, TYPE] = LIGHT_JET, B_JET
    hidden = torch.zeros(30, 6, dtype=torch.bool)
    guesses = []
    for jets_are_hidden in (True, False):
        hidden[:, 2] = hidden[:, 4] = jets_are_hidden
        for some in (objects, other):
            features, mask = inputs_of(some, task.config)
            guesses.append(task.network(task.hide(features, hidden), mask))
    torch.testing.assert_close(guesses[0], guesses[1])
    assert (guesses[2] - guesses[3]).abs().max() > 1e-2


def test_hidden_kinematics_do_not_leak():
    task = task_of(PRETRAINING, "hidden=kinematics")
    objects = torch.from_numpy(make_objects(30, 3))
    hidden = torch.zeros(30, 6, dtype=torch.bool)
    hidden[:, 4] = True
    other = objects.clone()
    other[:, 4, :4] = torch.tensor([300.0, 1.0, 2.0, 30.0])
    first, second = (
        task.network(task.hide(features, hidden), mask)
        for features, mask in (inputs_of(some, task.config) for some in (objects, other))
    )
    assert first.shape == (30, 6, 5)
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("counted", ["all", "hidden"])
def test_which_objects_the_loss_counts(counted):
    task = task_of(PRETRAINING, f"counted={counted}")
    objects = torch.from_numpy(make_objects(50, 4))
    torch.manual_seed(5)
    loss = task.step({"objects": objects})["loss"]
    torch.manual_seed(5)
    features, mask = inputs_of(objects, task.config)
    hidden = mask & (torch.rand(mask.shape) < 0.65)
    guess = task.network(task.hide(features, hidden), mask)
    chosen = hidden if counted == "hidden" else mask
    truth = features[..., TYPE_FEATURES].argmax(2)
    expected = functional.cross_entropy(guess[chosen], truth[chosen])
    torch.testing.assert_close(loss, expected)


def test_shuffled_types_change_places_within_events():
    task = task_of(PRETRAINING)
    objects = torch.from_numpy(make_objects(400, 6))
    features, mask = inputs_of(objects, task.config)
    shuffled = shuffle_types(features, mask, torch.rand(mask.shape))
    before, after = features[..., TYPE_FEATURES], shuffled[..., TYPE_FEATURES]
    torch.testing.assert_close(after.sum(1), before.sum(1))
    torch.testing.assert_close(shuffled[..., :5], features[..., :5])
    assert (after[~mask] == 0).all()
    assert (after[mask].sum(1) == 1).all()
    # Each place is as likely as any other: of six or five objects, two are b-jets.
    share = after[..., 1].sum(0) / mask.sum(0)
    assert (share - 2 / 5.7).abs().max() < 0.1


def test_augmentation_leaves_masses_alone():
    config = load_config(PRETRAINING)
    objects = torch.from_numpy(make_objects(200, 7))
    changed = augmented(objects, config.augmentation)
    torch.testing.assert_close(changed[..., [0, 3, 4]], objects[..., [0, 3, 4]])
    assert (changed[..., 2] - objects[..., 2]).abs()[present(objects)].median() > 0.3

    def cosines(events):
        return torch.cos(events[:, 0, 2] - events[:, 2, 2])

    torch.testing.assert_close(cosines(changed), cosines(objects), atol=1e-4, rtol=1e-4)


def test_baselines_of_hidden_types(tmp_path):
    """Slots sorted by pT are known by their order; leptons and missing momentum by mass."""
    objects = make_objects(300, 8)[:, [0, 1, 2, 4]]
    objects[..., 0] = [100, 80, 60, 40]
    types = objects[..., TYPE]
    hidden = np.ones(types.shape, bool)
    summary = evaluate_types(objects, hidden, types, tmp_path).summary
    assert summary["accuracy"] == 1
    assert summary["accuracy_of_majority"] == pytest.approx(0.25)
    assert summary["accuracy_of_pt_order"] == 1
    assert summary["accuracy_of_mass"] == pytest.approx(0.75)
    assert summary["accuracy_on_jets_of_mass"] == pytest.approx(0.5)
    # Of a few events nothing may have been hidden.
    nothing = evaluate_types(objects[:2], np.zeros((2, 4)), types[:2], tmp_path)
    assert (nothing.summary["hidden_types"], nothing.summary["accuracy"]) == (0, None)
    assert np.sum(nothing.details["confusion"]["counts"]) == 0


def test_kinematics_that_do_not_vary_cannot_be_explained(tmp_path):
    objects = make_objects(50, 8)[:, [0, 1]]
    hidden, guess = np.ones((50, 2)), np.full((50, 10), 0.5, np.float32)
    found = evaluate_kinematics(objects, hidden, guess, tmp_path).summary
    # Leptons of one kind and missing momentum have a mass each; of some η differs.
    assert found["explained_log_mass"] is None
    assert found["explained_eta"] < 0
    assert evaluate_kinematics(objects[:, 1:], hidden[:, 1:], guess[:, 5:], tmp_path).summary[
        "explained_eta"
    ] is None  # fmt: skip
    found = evaluate_kinematics(objects, np.zeros((50, 2)), guess, tmp_path).summary
    assert {found[name] for name in found if name.startswith("explained")} == {None}


def history_of(folder: Path) -> list[dict[str, float]]:
    with (folder / "history.csv").open() as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    for row in rows:
        del row["rows_per_second"]
    return rows


def fit_interrupted(config, manifest, output, monkeypatch):
    """Train to the middle of an epoch, as if killed, then go on."""
    train_on = Training._train_on

    def cut(self, drawn):
        if self.step == 25:
            raise KeyboardInterrupt
        train_on(self, drawn)

    monkeypatch.setattr(Training, "_train_on", cut)
    with pytest.raises(KeyboardInterrupt):
        fit(config, manifest, output)
    monkeypatch.setattr(Training, "_train_on", train_on)
    fit(config, manifest, output)


def test_pretraining_and_classification_from_end_to_end(manifest, tmp_path, monkeypatch, capsys):
    more = ["keep=best", "run.checkpoint_steps=5", "steps=240", "optimizer.learning_rate=0.01"]
    pretraining = load_config(PRETRAINING, [*TINY, *more])
    fit(pretraining, manifest, tmp_path / "whole")
    fit_interrupted(pretraining, manifest, tmp_path / "parts", monkeypatch)
    assert "goes on after step 25 of 240" in capsys.readouterr().err
    assert history_of(tmp_path / "parts") == history_of(tmp_path / "whole")
    start = tmp_path / "parts" / "checkpoint.ckpt"
    evaluate(start, manifest, "test", tmp_path / "types")
    summary = json.loads((tmp_path / "types" / "metrics.json").read_text())["summary"]
    for other in ("majority", "pt_order", "mass"):
        assert summary["accuracy"] > summary[f"accuracy_of_{other}"] + 0.05
    assert set(summary) < set(pretraining.numbers)

    parts = "start.parts=[embedding,encoder]"
    frozen = load_config(CLASSIFICATION, [*TINY, parts, "start.frozen=true", "steps=10"])
    fit(frozen, manifest, tmp_path / "frozen", start=start)
    paths = (start, tmp_path / "frozen" / "checkpoint.ckpt")
    before, after = (read_checkpoint(path)["state_dict"] for path in paths)
    for name, tensor in after.items():
        assert name.startswith("network.head.") or torch.equal(tensor, before[name])

    few = ["data.train_rows=600", "data.validation_share=0.25", "seed=3", "steps=150"]
    fit(
        load_config(CLASSIFICATION, [*TINY, parts, *few]), manifest, tmp_path / "tuned", start=start
    )
    checkpoint = tmp_path / "tuned" / "checkpoint.ckpt"
    evaluate(checkpoint, manifest, "test", tmp_path / "classes")
    metrics = json.loads((tmp_path / "classes" / "metrics.json").read_text())
    summary = metrics["summary"]
    assert metrics["rows"] == 800  # W + jets is of no class
    assert summary["auc"] > 0.7
    assert 0.005 < summary["auc_error"] < 0.03
    assert summary["rejection_at_50%"] > 2
    assert summary["auc_of_trees_on_objects"] > 0.7
    assert set(summary) == set(frozen.numbers)
    assert all((tmp_path / "classes" / f"{name}.png").is_file() for name in metrics["figures"])

    # Collisions have no class; what names an event is carried over.
    events = tmp_path / "events.parquet"
    test = pq.read_table(manifest.parent / "Signal_test.parquet")
    pq.write_table(test.drop_columns(["process"]), events)
    predict(checkpoint, events, tmp_path / "predicted.parquet")
    table = pq.read_table(tmp_path / "predicted.parquet")
    assert table.column_names == ["batch", "event", "probabilities", "embedding"]
    assert table["event"].equals(test["event"])
    assert table.schema.metadata[b"labels"] == b"background,signal"
    predict(start, manifest.parent / "Other_test.parquet", tmp_path / "guessed.parquet")
    table = pq.read_table(tmp_path / "guessed.parquet")
    assert table.column_names == ["process", "batch", "event", "hidden", "guess", "embedding"]


def test_the_best_validation_is_kept(manifest, tmp_path):
    """Few events are learned by heart in the end, and new ones are then guessed worse."""
    few = ["data.train_rows=40", "data.rows_per_epoch=320", "augmentation={}", "steps=200"]
    config = load_config(CLASSIFICATION, [*TINY, *few, "optimizer.learning_rate=0.01"])
    fit(config, manifest, tmp_path)
    losses = [row["val_loss"] for row in history_of(tmp_path)]
    assert min(losses) < losses[-1] - 0.01
    assert json.loads((tmp_path / "summary.json").read_text())["result"]["val_loss"] == min(losses)
    evaluate(tmp_path / "checkpoint.ckpt", manifest, "val", tmp_path / "val")
    summary = json.loads((tmp_path / "val" / "metrics.json").read_text())["summary"]
    assert summary["loss"] == pytest.approx(min(losses), rel=1e-4)


def test_validation_labels_are_drawn_and_counted(manifest):
    drawn = []
    for seed in (1, 2):
        changes = ["data.train_rows=90", "data.validation_share=0.33", f"seed={seed}"]
        config = load_config(CLASSIFICATION, [*TINY, *changes])
        reader = make_task(config).reader
        data = TrainingData(open_dataset(manifest, config, reader), reader, config)
        assert sum(group.rows for group in data.train) == 90
        assert sum(group.rows for group in data.val) == 30
        batch = next(iter(data.validation_loader()))
        rows = [(group.path, group.index, tuple(group.kept)) for group in data.train]
        labels = [reader.read([group]).scalars["process"][0] for group in data.val]
        assert set(labels) == {"ttbar", "2hdm"}
        assert set(batch.batch) == {"objects", "label"}
        drawn.append(rows)
    assert drawn[0] != drawn[1]


def test_events_with_an_empty_slot_are_left_out(manifest):
    config = load_config(CLASSIFICATION, [*TINY, "data.filled=true"])
    task = make_task(config)
    dataset = open_dataset(manifest, config, task.reader)
    data = TrainingData(dataset, task.reader, config)
    rows = task.reader.read(data.train)
    filled = present(rows.objects).all(axis=1)
    assert 0 < filled.sum() < len(rows)
    assert (task.reader.chosen(rows.scalars, len(rows)) == np.flatnonzero(
        filled & (rows.scalars["process"] != "wjets")
    )).all()  # fmt: skip
    assert task.reader.selection == "process ttbar or 2hdm, no slot empty"


def test_more_classes_are_a_supervised_pretraining(manifest, tmp_path):
    classes = [f"classes.{name}=[{name}]" for name in ("ttbar", "wjets")]
    config = load_config(
        CLASSIFICATION, [*TINY, *classes, 'classes.signal=["2hdm"]', "trees=false", "steps=20"]
    )
    fit(config, manifest, tmp_path)
    evaluate(tmp_path / "checkpoint.ckpt", manifest, "test", tmp_path / "test")
    metrics = json.loads((tmp_path / "test" / "metrics.json").read_text())
    assert metrics["rows"] == 1200
    assert set(metrics["auc_of_classes"]) == {"ttbar", "wjets", "signal"}


def test_hidden_kinematics_are_measured(manifest, tmp_path):
    config = load_config(PRETRAINING, [*TINY, "hidden=kinematics", "steps=20"])
    fit(config, manifest, tmp_path)
    evaluate(tmp_path / "checkpoint.ckpt", manifest, "test", tmp_path / "test")
    summary = json.loads((tmp_path / "test" / "metrics.json").read_text())["summary"]
    assert {"explained_log_pt", "explained_log_mass"} < set(summary) < set(config.numbers)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["classes.background=[ttbar]", "classes.signal=[ttbar]"],
            "classes background and signal both hold ttbar",
        ),
        (
            [f"classes.{name}=[{name}]" for name in ("ttbar", "wjets", "qcd")],
            "trees tell two classes",
        ),
        (["data.validation_share=0.2"], "validation_share is a share of train_rows"),
        (["start.parts=[decoder]"], "the parts of the task event_classification are embedding"),
    ],
)
def test_wrong_configurations_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        load_config(CLASSIFICATION, changes)


def test_masses_need_objects_to_combine():
    with pytest.raises(UserError, match=r"no 2 objects can be combined of the 1 of data\.slots"):
        load_config(CONFIGS / "event-masses-small.yaml", ["data.slots=[met]"])


def test_wrong_files_are_named(manifest, tmp_path):
    objects = make_objects(20, 9)
    objects[3, 2, TYPE] = 7
    write_events(tmp_path / "events.parquet", objects, "ttbar")
    task = task_of(CLASSIFICATION)
    torch.save({"description": task.describe(), "state_dict": task.state_dict()}, tmp_path / "c")
    with pytest.raises(UserError, match=r"events\.parquet: .*type 7, where 0 to 4"):
        predict(tmp_path / "c", tmp_path / "events.parquet", tmp_path / "out.parquet")
    content = json.loads(manifest.read_text())
    path = manifest.parent / content["files"][0]["path"]
    pq.write_table(pq.read_table(path).drop_columns(["process"]), tmp_path / "unnamed.parquet")
    content["files"][0]["path"] = str(tmp_path / "unnamed.parquet")
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"unnamed\.parquet: has no column process"):
        fit(task.config, tmp_path / "manifest.json", tmp_path / "out")


@pytest.mark.parametrize("again", [False, True])
def test_measurements_of_one_event_find_each_other(manifest, tmp_path, again):
    """Of smeared copies, and of rows that hold a second simulation."""
    if again:
        content = json.loads(manifest.read_text())
        for file in content["files"]:
            table = pq.read_table(manifest.parent / file["path"])
            for name in table.column_names[3:]:
                slot, _, quantity = name.rpartition("_")
                values = table[name].to_numpy()
                if quantity in {"pt", "mass"}:
                    values = values * np.float32(1.03)
                table = table.append_column(f"{slot}_again_{quantity}", pa.array(values))
            pq.write_table(table, tmp_path / file["path"])
        manifest = tmp_path / "manifest.json"
        manifest.write_text(json.dumps(content))
    changes = ["steps=150", f"again={again}", "optimizer.learning_rate=0.01"]
    config = load_config(CONFIGS / "event-contrast-small.yaml", [*TINY, *changes])
    fit(config, manifest, tmp_path)
    evaluate(tmp_path / "checkpoint.ckpt", manifest, "test", tmp_path / "test")
    summary = json.loads((tmp_path / "test" / "metrics.json").read_text())["summary"]
    assert summary["accuracy"] > 20 * summary["accuracy_of_chance"]
    assert set(summary) == set(config.numbers)
    parts = ["start.parts=[embedding,encoder]", "steps=5", "trees=false"]
    start = tmp_path / "checkpoint.ckpt"
    fit(load_config(CLASSIFICATION, [*TINY, *parts]), manifest, tmp_path / "tuned", start=start)


def test_masses_are_those_of_the_trees():
    """As `event_trees` has them, by other code, neutrinos included."""
    objects = make_objects(200, 11)
    objects[:5, 0] = 0
    expected = mass_features(objects)
    sizes = (2, 3, 4, 5, 6)
    masses, known = (x.numpy() for x in log_masses(torch.from_numpy(objects), sizes, True))
    places = [chosen for size in sizes for chosen in combinations(range(6), size)]
    assert masses.shape == (200, len(places))
    assert np.isfinite(masses).all()
    for name, slots in {
        "jj": (4, 5), "bb": (2, 3), "b1jj": (2, 4, 5), "b2l": (0, 3), "lnu": (0, 1),
        "b1lnu": (0, 1, 2), "bblnu": (0, 1, 2, 3), "bbjjlnu": (0, 1, 2, 3, 4, 5),
    }.items():  # fmt: skip
        place, truth = places.index(slots), expected[f"m_{name}"]
        np.testing.assert_array_equal(known[:, place], np.isfinite(truth))
        found = 10 ** masses[known[:, place], place] - 1
        np.testing.assert_allclose(found, truth[known[:, place]], rtol=2e-3, atol=0.02)
    # Transverse: the mass of what is missing and a b-jet at the same η = 0.
    transverse = log_masses(torch.from_numpy(objects), (2,), False)[0].numpy()
    pt, eta, phi, mass = (objects[:, :, k].astype(float) for k in range(4))
    squared = mass[:, 2] ** 2 + 2 * pt[:, 1] * (
        np.sqrt(mass[:, 2] ** 2 + (pt[:, 2] * np.cosh(eta[:, 2])) ** 2)
        - pt[:, 2] * np.cos(phi[:, 1] - phi[:, 2])
    )
    np.testing.assert_allclose(
        10 ** transverse[:, places.index((1, 2))] - 1, np.sqrt(squared), rtol=2e-3, atol=0.02
    )


def test_masses_are_learned(manifest, tmp_path):
    # More masses than a network of this width has room for would need more steps.
    changes = ["steps=200", "optimizer.learning_rate=0.01", "augmentation={}", "sizes=[2,3]",
               "neutrino=false"]  # fmt: skip
    config = load_config(CONFIGS / "event-masses-small.yaml", [*TINY, *changes])
    fit(config, manifest, tmp_path)
    evaluate(tmp_path / "checkpoint.ckpt", manifest, "test", tmp_path / "test")
    summary = json.loads((tmp_path / "test" / "metrics.json").read_text())["summary"]
    assert summary["explained"] > 0.2
    assert set(summary) == set(config.numbers)
    start = tmp_path / "checkpoint.ckpt"
    parts = ["start.parts=[embedding,encoder]", "steps=5", "trees=false"]
    fit(load_config(CLASSIFICATION, [*TINY, *parts]), manifest, tmp_path / "tuned", start=start)
