"""Pre-training: the slow teacher, hidden constituents, collapse, going on after a kill."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import drawn_pixels
from sklearn.neighbors import KNeighborsClassifier
from torch.nn import functional

from provenance.errors import UserError
from training.checkpoint import load_task, make_task, read_checkpoint
from training.config import load_config
from training.data.shards import list_row_groups, read_dataset
from training.evaluate.evaluate import evaluate
from training.fit import fit
from training.jets.constituents import jets_of
from training.models.arrangement import Room
from training.models.joint_embedding import StepRoom
from training.predict import predict
from training.tasks.joint_embedding.evaluation import evaluate_embeddings, neighbour_accuracy
from training.tasks.joint_embedding.task import token_features

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
SMALL = CONFIGS / "joint-embedding-small.yaml"
TINY = [
    "steps=12",
    "data.rows_per_epoch=256",
    "data.max_constituents=20",
    "model.encoder.patches=6",
    "model.encoder.width=16",
    "model.encoder.blocks=1",
    "model.predictor.blocks=1",
]
CONSTITUENTS = [
    *TINY[:3],
    "model.encoder={tokens: constituents, width: 16, heads: 2, blocks: 1, embedding: [16], "
    "pair_bias: [8], registers: 1}",
    "model.predictor.blocks=1",
    "masks={kind: random, targets: 1, target_ratio: [0.3, 0.4], context_ratio: [1.0, 1.0]}",
]
# No slow teacher, no predictor, no regulariser: nothing but collapse is left to learn.
DRILL = [
    "teacher.decay=[0, 0]",
    "model.predictor=null",
    "regulariser.kind=none",
    "masked_features=0",
]
KILLED = """
import os, signal, sys
from pathlib import Path
from training.config import load_config
from training.fit import fit
from training.loop import Training

train_on = Training._train_on

def killed(self, drawn):
    if self.step == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    train_on(self, drawn)

Training._train_on = killed
config, manifest, output, *settings = sys.argv[1:]
fit(load_config(config, settings), Path(manifest), Path(output))
"""


def batch_of(task, manifest, jets=24, begin=0):
    groups = list_row_groups(read_dataset(manifest).shards("train"), task.reader)
    rows = task.reader.read(groups)
    return task.reader.draw(rows, np.arange(begin, begin + jets * 9, 9), 0)


@pytest.fixture(params=[TINY, CONSTITUENTS], ids=["patches", "constituents"])
def settings(request):
    return request.param


def test_the_teacher_follows_by_steps(settings, manifest, tmp_path):
    config = load_config(SMALL, [*settings, "steps=3", "teacher.decay=[0.4, 1.0]"])
    torch.manual_seed(config.seed)
    before = make_task(config).network.encoder.state_dict()
    fit(config, manifest, tmp_path / "out")
    state = read_checkpoint(tmp_path / "out" / "checkpoint.ckpt")["state_dict"]
    name = "registers"
    # A mean of its start and two students: in the last step it stays.
    student, teacher = state[f"network.encoder.{name}"], state[f"network.teacher.{name}"]
    assert not torch.equal(teacher, before[name])
    assert (teacher - before[name]).norm() < (student - before[name]).norm()
    fit(load_config(SMALL, [*settings, "steps=3", "teacher.decay=[1.0, 1.0]"]), manifest,
        tmp_path / "still")  # fmt: skip
    state = read_checkpoint(tmp_path / "still" / "checkpoint.ckpt")["state_dict"]
    assert torch.equal(state[f"network.teacher.{name}"], before[name])


def test_buffers_follow_too():
    network = make_task(load_config(SMALL, TINY)).network
    for own, value in ((network.encoder, 3.0), (network.teacher, 1.0)):
        own.register_buffer("number", torch.tensor(int(value)))
        own.register_buffer("average", torch.tensor(value))
    network.update_teacher(0.75)
    assert (float(network.teacher.average), int(network.teacher.number)) == (1.5, 3)


def test_the_student_learns_nothing_of_what_is_hidden(settings, manifest):
    task = make_task(load_config(SMALL, settings)).eval()
    batch = batch_of(task, manifest)
    jets = jets_of(batch)
    context = batch["context"]
    visible = context if jets.patches is None else context.gather(1, jets.patches.of) & jets.mask
    hidden = jets.mask & ~visible
    assert hidden.any(dim=1).float().mean() > 0.9
    changed = jets._replace(
        features=torch.where(hidden[..., None], 1 - jets.features, jets.features),
        vectors=torch.where(hidden[..., None], 3 * jets.vectors, jets.vectors),
    )
    one, two = (task.network.encoder(x, context) for x in (jets, changed))
    assert torch.equal(one.values, two.values)
    assert torch.equal(one.registers, two.registers)
    # The same jets alone and in other company.
    few = {name: x[:5] for name, x in batch.items()}
    alone = task.network.encoder(jets_of(few), few["context"])
    torch.testing.assert_close(alone.registers, one.registers[:5], atol=1e-5, rtol=0)


def test_groups_are_taken_from_the_student_only(manifest):
    task = make_task(load_config(SMALL, [*TINY, "group_dropout={displacement: 0.5}"]))
    batch = batch_of(task, manifest)
    torch.manual_seed(0)
    changed = task._without_groups(batch["features"])
    taken = batch["mask"][:, 0] & (changed[:, 0, 11] == 0)
    assert 0 < taken.sum() < len(taken)
    assert not changed[taken][..., 6:10].any()
    kept = [0, 1, 2, 3, 4, 5, 10]
    assert torch.equal(changed[..., kept][~taken], batch["features"][..., kept][~taken])
    task.eval()
    # Held-out jets are seen whole.
    first, second = task.step(batch)["distance"], task.step(batch)["distance"]
    assert torch.equal(first, second)


@pytest.mark.parametrize("constituents", [1, 2])
def test_a_last_batch_may_hide_one_token_or_none(settings, manifest, constituents):
    few = [*settings, f"data.max_constituents={constituents}"]
    task = make_task(load_config(SMALL, few)).eval()
    numbers = task.step(batch_of(task, manifest, jets=1))
    assert all(torch.isfinite(value) for value in numbers.values())
    assert (numbers["distance"] > 0) == (constituents > 1)


def test_features_of_a_patch_are_the_mean_of_its_own(manifest):
    task = make_task(load_config(SMALL, TINY))
    jets = jets_of(batch_of(task, manifest, 3))
    found = token_features(jets)
    for jet in range(3):
        for patch in range(6):
            own = jets.mask[jet] & (jets.patches.of[jet] == patch)
            if own.any():
                expected = jets.features[jet, own, :10].mean(dim=0)
                torch.testing.assert_close(found[jet, patch], expected)


def test_targets_can_be_means_of_blocks(manifest):
    more = [*TINY, "model.encoder.blocks=3", "model.target_layers=2"]
    task = make_task(load_config(SMALL, more)).eval()
    jets = jets_of(batch_of(task, manifest, 8))
    teacher, made = task.network.teacher, []
    for block in teacher.blocks:
        block.register_forward_hook(lambda _, __, output: made.append(output))
    (found, registers), _, packed = teacher.encode(jets, layers=2)
    last = [functional.layer_norm(x, (16,)) for x in made[-2:]]
    expected = torch.stack(last).mean(dim=0)
    # In another order, with registers between.
    torch.testing.assert_close(
        sum(x.double().square().sum() for x in (found, registers)),
        expected.double().square().sum(),
    )
    assert len(packed.rows) == len(found)
    with pytest.raises(UserError, match="target_layers is 4, but the encoder has 3 blocks"):
        load_config(SMALL, [*more, "model.target_layers=4"])


def test_the_shape_of_a_jet_is_asked_of_all_its_tokens(manifest):
    found = {}
    for tokens in ("visible", "all"):
        more = ["jet_shape=1.0", f"jet_shape_from={tokens}"]
        torch.manual_seed(3)
        task = make_task(load_config(SMALL, [*TINY, *more])).eval()
        batch = batch_of(task, manifest)
        found[tokens] = []
        first = torch.zeros_like(batch["patch_mask"])
        first[:, 0] = True
        for context in (batch["context"], first):
            masks = {"context": context, "targets": (batch["patch_mask"] & ~context)[:, None]}
            found[tokens].append(float(task.step(batch | masks)["jet_shape"].detach()))
    assert found["all"][0] == found["all"][1]
    assert abs(found["visible"][0] - found["visible"][1]) > 1e-4


@pytest.mark.parametrize("kind", ["none", "vicreg", "sigreg"])
def test_every_loss_trains_what_it_needs(settings, manifest, kind):
    of = "tokens" if kind == "vicreg" else "jets"
    regulariser = f"regulariser={{kind: {kind}, of: {of}, projector: [32]}}"
    more = [regulariser, "masked_features=1.0", "jet_shape=1.0"]
    task = make_task(load_config(SMALL, [*settings, *more]))
    numbers = task.train().step(batch_of(task, manifest))
    numbers["loss"].backward()
    without = [n for n, p in task.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert not any(p.requires_grad for p in task.network.teacher.parameters())
    assert ("regulariser" in numbers) == (kind != "none")


TERMS = [
    "regulariser={kind: vicreg, of: tokens}",
    "masked_features=1.0",
    "jet_shape=1.0",
    "jet_shape_from=all",
]
GROUPS = ["group_dropout.identity=0.5", "group_dropout.displacement=0.5"]


DEEP = ["model.encoder.blocks=3", "model.encoder.registers=2"]


# What is drawn for jets must not depend on their number.
WITHOUT_GROUPS = ["group_dropout.identity=0.999999", "group_dropout.displacement=0.999999"]
SIGREG = [
    "regulariser.kind=sigreg",
    "regulariser.of=jets",
    "group_dropout={identity: 0, displacement: 0}",
    *DEEP,
]


@pytest.mark.parametrize("more", [WITHOUT_GROUPS, SIGREG], ids=["vicreg", "sigreg"])
def test_room_to_spare_changes_nothing(settings, more, manifest):
    task = make_task(load_config(SMALL, [*settings, *TERMS, *more])).train()
    results = []
    batch = batch_of(task, manifest)
    roomy = task.with_fixed_shapes(batch)
    assert roomy["mask"].shape == (64, 64)
    assert roomy["real"].sum() == 24
    assert sum(roomy["room"].everything.tokens) > batch.get("patch_mask", batch["mask"]).sum()
    for own in (batch, roomy):
        task.zero_grad()
        torch.manual_seed(3)
        numbers = task.step(own)
        numbers["loss"].backward()
        gradients = {n: p.grad.clone() for n, p in task.named_parameters() if p.grad is not None}
        results.append(({name: x.detach() for name, x in numbers.items()}, gradients))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    # What is no tensor counts among the shapes of a captured step: there are few, though loaders
    # make batches of several sizes.
    batches = [batch_of(task, manifest, 24 - i % 3, i) for i in range(9)]
    assert len({batch["sizes"] for batch in batches}) == 9
    rooms = [task.with_fixed_shapes(batch)["room"] for batch in (*batches, *batches)]
    assert len(set(rooms[9:])) == 1
    # Pinned memory has lists in the place of tuples.
    *needed, hidden = batch["sizes"]
    listed = [[list(x) if isinstance(x, tuple) else x for x in own] for own in needed]
    needed = StepRoom(*(Room(*own) for own in listed), hidden)
    assert hash(task.with_fixed_shapes(batch | {"sizes": needed})["room"])
    assert {k for k, x in roomy.items() if not isinstance(x, torch.Tensor)} == {"room"}


def test_there_is_room_for_jets_of_nothing(settings, manifest):
    task = make_task(load_config(SMALL, [*settings, *TERMS, SIGREG[2]])).train()
    batch = batch_of(task, manifest)
    del batch["sizes"]
    batch = {n: torch.zeros_like(x) if x.dtype == torch.bool else x for n, x in batch.items()}
    with torch.no_grad():
        found, wanted = (task.step(own) for own in (task.with_fixed_shapes(batch), batch))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_registers_see_nothing_of_the_room_to_spare(settings, manifest):
    task = make_task(load_config(SMALL, [*settings, *DEEP])).eval()
    batch = task.with_fixed_shapes(batch_of(task, manifest))
    room = batch.pop("room")
    with torch.no_grad():
        found = task.embed(jets_of(batch), room.everything)
        # What is only room lies behind the last jet: here another one, and there is more of it.
        turned = jets_of({name: x.flip(0) for name, x in batch.items()})
        twice = {
            name: tuple(2 * n for n in getattr(room.everything, name))
            for name in ("longest", "tokens", "pairs")
        }
        larger = room.everything._replace(constituents=2 * room.everything.constituents, **twice)
        torch.testing.assert_close(task.embed(turned, larger).flip(0), found, atol=1e-5, rtol=0)


def test_a_step_of_fixed_shapes_waits_for_nothing(settings, manifest, refuse_to_wait):
    task = make_task(load_config(SMALL, [*settings, *TERMS, *GROUPS])).train()
    batch = task.with_fixed_shapes(batch_of(task, manifest))
    with refuse_to_wait:
        task.step(batch)["loss"].backward()
        task.after_step(0.5)
    del batch["room"]
    with refuse_to_wait, pytest.raises(AssertionError, match="nonzero"):
        task.step(batch)


def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(settings, manifest, tmp_path):
    more = [*settings, "run.checkpoint_steps=3", "masked_features=1.0"]
    fit(load_config(SMALL, more), manifest, tmp_path / "whole")
    command = [sys.executable, "-c", KILLED, SMALL, manifest, tmp_path / "parts", *more]
    result = subprocess.run(command, check=False, capture_output=True, env=os.environ)
    assert result.returncode == -signal.SIGKILL
    fit(load_config(SMALL, more), manifest, tmp_path / "parts")
    whole, parts = (read_checkpoint(tmp_path / name / "last.ckpt") for name in ("whole", "parts"))
    assert whole["step"] == parts["step"] == 12
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, parts["state_dict"][name]), name
    assert any(name.startswith("network.teacher") for name in whole["state_dict"])
    assert whole["loader"] == parts["loader"]
    assert whole["schedule"]["last_epoch"] == parts["schedule"]["last_epoch"]
    for before, after in zip(whole["history"], parts["history"], strict=True):
        del before["rows_per_second"], after["rows_per_second"]
        assert before == after


def test_a_collapse_ends_the_training_and_a_healthy_one_does_not(manifest, tmp_path):
    # Validations every 20 steps, two of which below a limit end the training: 40 steps at most
    # after the collapse.
    watch = ["steps=400", "data.rows_per_epoch=1280", "optimizer.learning_rate=0.003"]
    with pytest.raises(UserError, match=r"collapsed: the .* on held-out jets was below") as error:
        fit(load_config(SMALL, [*TINY, *watch, *DRILL]), manifest, tmp_path / "drill")
    history = read_checkpoint(tmp_path / "drill" / "last.ckpt")["history"]
    assert history[-1]["step"] < 400
    assert f"after step {history[-1]['step']:.0f}" in str(error.value)
    # It has collapsed whenever it is called again.
    with pytest.raises(UserError, match=f"after step {history[-1]['step']:.0f}"):
        fit(load_config(SMALL, [*TINY, *watch, *DRILL]), manifest, tmp_path / "drill")
    first = next(i for i, row in enumerate(history) if row["val_target_std"] < 0.1)
    assert history[-1]["step"] - history[first]["step"] <= 20
    fit(load_config(SMALL, [*TINY, *watch, "steps=120"]), manifest, tmp_path / "healthy")
    last = read_checkpoint(tmp_path / "healthy" / "checkpoint.ckpt")["history"][-1]
    assert last["val_target_std"] > 0.3
    assert last["val_prediction_std"] > 0.01
    assert last["val_effective_rank"] > 2


def test_evaluation_draws_masks_and_neighbours(manifest, tmp_path):
    fit(load_config(SMALL, TINY), manifest, tmp_path / "out")
    checkpoint = tmp_path / "out" / "checkpoint.ckpt"
    evaluate(checkpoint, manifest, "test", tmp_path / "test")
    metrics = json.loads((tmp_path / "test" / "metrics.json").read_text())
    assert metrics["figures"].keys() == {"embedding", "masks", "training"}
    assert all(drawn_pixels(tmp_path / "test" / f"{name}.png") > 500 for name in metrics["figures"])
    assert 1 <= metrics["summary"]["effective_rank"] <= 16
    assert 0 < metrics["summary"]["neighbour_accuracy"] <= 1
    assert metrics["summary"].keys() == set(load_task(checkpoint).config.numbers)
    # What is predicted is what is measured, without a label.
    shard = manifest.parent / "QCD_0005.parquet"
    unlabelled = pq.read_table(shard).drop_columns(["jet_label"])
    pq.write_table(unlabelled, tmp_path / "jets.parquet", write_page_checksum=True)
    predict(checkpoint, tmp_path / "jets.parquet", tmp_path / "found.parquet")
    found = pq.read_table(tmp_path / "found.parquet")
    assert found.column_names == ["jet_pt", "jet_sdmass", "embedding"]
    assert len(found) == len(unlabelled)
    assert not load_task(checkpoint).network.teacher.training


def test_a_collapsed_network_can_be_looked_at(tmp_path):
    same = np.full((30, 8), 0.1, np.float32)
    summary = evaluate_embeddings(same, np.arange(30) % 2, ("a", "b"), tmp_path).summary
    assert summary["effective_rank"] == 1
    assert (tmp_path / "embedding.png").exists()


def test_jets_need_no_label(manifest, tmp_path):
    for entry in json.loads(manifest.read_text())["files"]:
        path = manifest.parent / entry["path"]
        table = pq.read_table(path).drop_columns(["jet_label"])
        pq.write_table(table, path, row_group_size=40, write_page_checksum=True)
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"labels": None}))
    fit(load_config(SMALL, [*TINY, "data.label=null"]), manifest, tmp_path / "out")
    evaluate(tmp_path / "out" / "checkpoint.ckpt", manifest, "test", tmp_path / "test")
    metrics = json.loads((tmp_path / "test" / "metrics.json").read_text())
    assert metrics["figures"].keys() == {"masks", "training"}


def test_neighbours_tell_classes_apart():
    rng = np.random.default_rng(1)
    label = rng.integers(0, 3, 600)
    embedding = rng.normal(size=(600, 4)) + 3 * np.eye(4)[label]
    accuracy, chance = neighbour_accuracy(embedding, label)
    model = KNeighborsClassifier(10).fit(embedding[:300], label[:300])
    assert accuracy == pytest.approx(model.score(embedding[300:], label[300:]), abs=0.03)
    assert accuracy > 0.9
    assert chance == np.bincount(label).max() / 600
    assert neighbour_accuracy(rng.normal(size=(600, 4)), label)[0] == pytest.approx(1 / 3, abs=0.1)


def test_rows_cannot_stay_on_the_device():
    with pytest.raises(UserError, match="on_device keeps batches, and masks change"):
        load_config(SMALL, ["data.on_device=true"])
