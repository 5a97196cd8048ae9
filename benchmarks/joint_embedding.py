"""What pre-training by joint embedding is worth, in one go: the tables of docs/jepa.md.

    python -m benchmarks.joint_embedding DATA OUTPUT --seconds 170 --processes 6

DATA holds the datasets of `config/jepa-small.yaml` (`unlabelled`, `labelled`, `top`,
`quark_gluon`). Recipes are pre-trained side by side for the same time; one is chosen by rule, the
highest AUC of a linear probe with 2,000 labels on the validation split of `labelled`, the mean of
three draws of labels. Then the studies run on the test splits, seed by seed, until the time is up.

What is compared at each size and seed is trained on the same jets. Rates (of the linear probes: the
strength of their prior) are tuned for each way and size on a fifth of the labels of the first seed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch.optim.lr_scheduler import LambdaLR

from ntuplizer.disjoint import shared_batches
from provenance.errors import UserError
from provenance.files import read_json, write_json
from training.baselines.jet_trees import TREES, jet_table
from training.checkpoint import read_checkpoint, start_from
from training.config import FitConfig, load_config
from training.data.reader import Batch, RowGroup
from training.data.shards import list_row_groups, open_dataset, training_rows
from training.devices import best_device
from training.evaluate.metrics import rejection
from training.fit import fit
from training.jets.constituents import jets_of
from training.models.jet_encoder import JetEncoder
from training.models.jet_shape import jet_shape
from training.optimizers import make_optimizer, make_schedule
from training.tasks.probe.config import Config
from training.tasks.probe.task import Probe

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "training" / "configs"
LENGTH = 64
PATCHES = {"tokens": "patches", "patches": 16, "blocks": 4, "registers": 4, "length_groups": 1}
CONSTITUENTS = {"tokens": "constituents", "blocks": 4, "registers": 4, "embedding": [128]}
TOY = {"width": 32, "heads": 4, "blocks": 2, "feedforward_ratio": 2, "pair_bias": [16]}
TOKENS = "regulariser={kind: vicreg, of: tokens, weight: 0.05, projector: [256, 128]}"
# The context is nearly all that is not hidden.
WIDE = "masks={targets: 4, target_ratio: [0.1, 0.15], context_ratio: [0.85, 1.0]}"
THIRD = "masks={targets: 1, target_ratio: [0.3, 0.4], context_ratio: [1.0, 1.0]}"
# What differs from training/configs/joint-embedding.yaml. The first is that file's own recipe.
RECIPES: dict[str, list[str]] = {
    "published": [],
    "features": [TOKENS, "masked_features=1.0"],
    "shape": [TOKENS, "masked_features=1.0", "jet_shape=3.0"],
    "wide": [TOKENS, "masked_features=1.0", "jet_shape=3.0", WIDE, "model.target_layers=2"],
    "constituents": [TOKENS, "masked_features=1.0", "jet_shape=3.0", THIRD],
}
SUPERVISED = "supervised"
COMMON = [
    f"data.max_constituents={LENGTH}", "data.workers=1", "data.validation_rows=2048",
    "run.compile=false", "model.predictor.blocks=2", "data.batch_size=256",
    "optimizer.learning_rate=1.0e-3", "collapse={effective_rank: 1.1}",
]  # fmt: skip
STUDIES: dict[str, dict[str, Any]] = {
    "groups": {"dataset": "labelled", "settings": []},
    "top": {"dataset": "top", "settings": ["data.labels=[QCD, top]", "data.classes=null"]},
    "quark_gluon": {
        "dataset": "quark_gluon",
        "settings": [
            "data.labels=[gluon, quark]", "data.classes=null",
            "data.selection={jet_pt: [200, 2500], jet_sdmass: [-1, 500]}",
        ],
    },
}  # fmt: skip
# In the order in which they are measured. The last is more than there are: all.
SIZES = (500, 5_000, 1_000_000, 2_000, 20_000)
SEEDS = (1, 2, 3, 4, 5)
# What is trained: how the encoder begins, whether it is frozen, class-attention blocks.
NETWORKS = {
    "scratch": (None, False, 1),
    "fine-tuned": ("chosen", False, 1),
    "attentive": ("chosen", True, 1),
    "attentive, random encoder": (None, True, 1),
    "fine-tuned, 188 labels": (SUPERVISED, False, 1),
    "shuffled labels": ("chosen", False, 1),
}
RATES = (3e-4, 1e-3, 3e-3)
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
STEPS, BATCH = 200, 128
CHOICE_LABELS, CHOICE_SEEDS = 2_000, (101, 102, 103)
HELD_OUT = 0.2
POLL = 0.2


def encoder_settings(recipe: str, toy: bool) -> dict[str, Any]:
    """Return the sizes of the encoder of a recipe."""
    sizes = CONSTITUENTS if recipe == "constituents" else PATCHES
    return sizes | (TOY if toy else {})


def pretraining(recipe: str, toy: bool, more: Sequence[str] = ()) -> FitConfig:
    """Return the configuration of a pre-training."""
    encoder = f"model.encoder={json.dumps(encoder_settings(recipe, toy))}"
    if recipe == SUPERVISED:
        own = [x for x in COMMON if not x.startswith(("model.predictor", "collapse"))]
        settings = [encoder, *own, "data.classes=null", "model.classifier.class_blocks=1"]
        return load_config(CONFIGS / "probe.yaml", [*settings, "optimizer.ema_decay=null", *more])
    settings = [encoder, *COMMON, *RECIPES[recipe]]
    return load_config(CONFIGS / "joint-embedding.yaml", [*settings, *more])


def pretrain(recipe: str, data: Path, output: Path, end: float, toy: bool) -> None:
    """Pre-train until a time: a few steps tell the speed, and so the number of steps."""
    manifest = data / "unlabelled" / "manifest.json"
    more = ["run.precision=32-true"] if best_device().type == "cpu" else []
    trial = [*more, "steps=30", "data.rows_per_epoch=3840", "data.validation_rows=256"]
    fit(pretraining(recipe, toy, trial), manifest, output / "trial")
    summary = read_json(output / "trial" / "summary.json")
    config = pretraining(recipe, toy)
    rate = summary["result"]["rows_per_second"] / config.data.batch_size
    steps = max(int(0.85 * rate * (end - time.time() - 2)), 20)
    every = max(steps // 8, 1) * config.data.batch_size
    more += [f"steps={steps}", f"data.rows_per_epoch={every}"]
    fit(pretraining(recipe, toy, more), manifest, output)
    shutil.rmtree(output / "trial")
    if recipe != SUPERVISED:
        write_json(output / "validation.json", validated(recipe, data, output.parent, toy))


class Study:
    """A task of the studies: its jets on a device, and what is trained on some of them.

    Parameters
    ----------
    name
        One of `STUDIES`.
    data, output
        Folders of datasets and results.
    recipe
        Whose encoder is used.
    toy
        Use the small sizes.
    """

    def __init__(self, name: str, data: Path, output: Path, recipe: str, toy: bool):
        self.name, self.output, self.recipe = name, output, recipe
        self.manifest = data / STUDIES[name]["dataset"] / "manifest.json"
        encoder = f"model.encoder={json.dumps(encoder_settings(recipe, toy))}"
        self.settings = [
            encoder, *STUDIES[name]["settings"], f"data.max_constituents={LENGTH}",
            "data.workers=0", f"data.batch_size={BATCH}", "optimizer.ema_decay=null",
        ]  # fmt: skip
        self.device = best_device()
        self.reader = Probe(self.config()).reader
        self.dataset = open_dataset(self.manifest, self.config(), self.reader)
        self._drawn: tuple[tuple[int, int], Batch, np.ndarray] | None = None

    def config(self, *more: str) -> Config:
        """Return the configuration of a probe."""
        config = load_config(CONFIGS / "probe.yaml", [*self.settings, *more])
        assert isinstance(config, Config)
        return config

    def batch(self, groups: list[RowGroup]) -> Batch:
        """Return all selected jets of row groups as one batch on the device."""
        rows = self.reader.read(groups)
        chosen = self.reader.chosen(rows.scalars, len(rows))
        return {k: x.to(self.device) for k, x in self.reader.collate(rows, chosen).items()}

    def split(self, name: str) -> tuple[Batch, np.ndarray]:
        """Return the jets of a split, and what the trees are told of them."""
        groups = list_row_groups(self.dataset.shards(name), self.reader)
        return self.batch(groups), jet_table(groups, self.reader)[0]

    @cached_property
    def test(self) -> tuple[Batch, np.ndarray]:
        """The jets of the test split."""
        return self.split("test")

    def labelled(self, size: int, seed: int) -> tuple[Batch, np.ndarray]:
        """Return so many training jets, the ones that a probe of this size and seed trains on."""
        if self._drawn is None or self._drawn[0] != (size, seed):
            config = self.config(f"data.train_rows={size}", f"seed={seed}")
            groups = training_rows(self.dataset, self.reader, config)
            self._drawn = (size, seed), self.batch(groups), jet_table(groups, self.reader)[0]
        return self._drawn[1:]

    def checkpoint(self, start: str) -> Path:
        """Return the checkpoint that ways begin with."""
        folder = self.recipe if start == "chosen" else start
        return self.output / folder / "checkpoint.ckpt"

    def probe(self, start: str | None, frozen: bool, blocks: int, seed: int, *more: str) -> Probe:
        """Return a classifier whose encoder is new or a checkpoint's."""
        settings = [f"model.classifier.class_blocks={blocks}", f"seed={seed}", *more]
        if start is not None:
            settings += ["start.parts=[encoder]", f"start.frozen={str(frozen).lower()}"]
        torch.manual_seed(seed)
        task = Probe(self.config(*settings))
        if start is not None:
            start_from(task, self.checkpoint(start))
        elif frozen:
            task.freeze(["encoder"])
        return task.to(self.device)

    def train(self, task: Probe, batch: Batch, steps: int, seed: int) -> Probe:
        """Train on a batch that holds all jets."""
        optimizer = make_optimizer(task, task.config.optimizer)
        schedule = make_schedule(optimizer, task.config.optimizer.schedule, steps)
        assert isinstance(schedule, LambdaLR)
        rng = np.random.default_rng(seed)
        task.train()
        for chosen in draws(len(batch["label"]), steps, rng):
            index = torch.from_numpy(chosen).to(self.device)
            loss = task.step({k: x.index_select(0, index) for k, x in batch.items()})["loss"]
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        return task.eval()

    @torch.no_grad()
    def probabilities(self, task: Probe, batch: Batch) -> np.ndarray:
        """Return the probabilities, (n, classes)."""
        return np.concatenate([task.predict(b)["probabilities"].cpu() for b in pieces(batch)])

    def network(self, way: str, size: int, seed: int, rate: float) -> np.ndarray:
        """Train a way and return the probabilities of the test jets."""
        start, frozen, blocks = NETWORKS[way]
        batch = self.labelled(size, seed)[0]
        if way == "shuffled labels":
            label = batch["label"].cpu().numpy()
            dealt = np.random.default_rng(seed).permutation(label)
            batch = batch | {"label": torch.from_numpy(dealt).to(self.device)}
        task = self.probe(start, frozen, blocks, seed, f"optimizer.learning_rate={rate}")
        return self.probabilities(self.train(task, batch, STEPS, seed), self.test[0])

    def tuned_rate(self, way: str, size: int) -> float:
        """Return the rate that a fifth of the labels of the first seed finds best."""
        start, frozen, blocks = NETWORKS[way]
        whole = self.labelled(size, SEEDS[0])[0]
        learn, held = halves(len(whole["label"]))
        parts = [
            {k: x[torch.from_numpy(i).to(self.device)] for k, x in whole.items()}
            for i in (learn, held)
        ]
        losses = []
        for rate in RATES:
            task = self.probe(start, frozen, blocks, 1, f"optimizer.learning_rate={rate}")
            found = self.probabilities(self.train(task, parts[0], STEPS, 1), parts[1])
            losses.append(cross_entropy(found, parts[1]["label"].cpu().numpy()))
        return RATES[int(np.argmin(losses))]

    @torch.no_grad()
    def embed(self, encoder: JetEncoder, batch: Batch) -> np.ndarray:
        """Return the mean of the tokens, (n, width)."""
        found = []
        for piece in pieces(batch):
            found.append(encoder.encode(jets_of(piece)).average().cpu())
        return torch.cat(found).double().numpy()


def draws(rows: int, steps: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the rows of each step; every pass is shuffled, short ones go on in the next."""
    left = np.empty(0, np.int64)
    for _ in range(steps):
        while len(left) < BATCH:
            left = np.concatenate((left, rng.permutation(rows)))
        yield left[:BATCH]
        left = left[BATCH:]


def pieces(batch: Batch) -> Iterator[Batch]:
    """Cut a batch into such as fit."""
    rows = len(batch["mask"])
    for begin in range(0, rows, 2048):
        yield {k: x[begin : begin + 2048] for k, x in batch.items()}


def halves(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which labels are learned from and which are held out while tuning."""
    order = np.random.default_rng(0).permutation(rows)
    held = round(HELD_OUT * rows)
    return order[held:], order[:held]


def cross_entropy(probabilities: np.ndarray, label: np.ndarray) -> float:
    """Return the mean of −ln p of the true class."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(label)), label], 1e-9)).mean())


def linear(x: np.ndarray, label: np.ndarray, strength: float) -> Any:
    """Fit logistic regression on standardised numbers to convergence."""
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=strength, max_iter=300).fit(scaler.transform(x), label)
    return lambda other: model.predict_proba(scaler.transform(other))


def tuned_strength(x: np.ndarray, label: np.ndarray) -> float:
    """Return the strength that a fifth of the labels finds best."""
    learn, held = halves(len(label))
    losses = [
        cross_entropy(linear(x[learn], label[learn], s)(x[held]), label[held]) for s in STRENGTHS
    ]
    return STRENGTHS[int(np.argmin(losses))]


def scores(probabilities: np.ndarray, label: np.ndarray) -> dict[str, float | None]:
    """Return accuracy, the mean AUC of each class against the others, and rejections.

    Rejections are those of the first of two classes, or geometric means over classes.
    """
    classes = range(probabilities.shape[1])
    areas = [roc_auc_score(label == i, probabilities[:, i]) for i in classes]
    found = {"accuracy": float((probabilities.argmax(1) == label).mean()), "auc": np.mean(areas)}
    for efficiency in (0.3, 0.5):
        rejections = [
            rejection(probabilities[label == i, i], probabilities[label != i, i], efficiency)
            for i in (classes if len(classes) > 2 else [1])
        ]
        known = [np.log(r) for r in rejections if r]
        name = f"rejection_at_{efficiency:.0%}"
        found[name] = float(np.exp(np.mean(known))) if known else None
    return {k: None if v is None else float(v) for k, v in found.items()}


def validated(recipe: str, data: Path, output: Path, toy: bool) -> dict[str, Any]:
    """Return what the rule looks at: linear probes on the validation split of `labelled`."""
    study = Study("groups", data, output, recipe, toy)
    held = study.batch(list_row_groups(study.dataset.shards("val"), study.reader))
    label = held["label"].cpu().numpy()
    areas: dict[str, list[float]] = {"pre-trained": [], "random": []}
    for seed in CHOICE_SEEDS:
        batch = study.labelled(CHOICE_LABELS, seed)[0]
        known = batch["label"].cpu().numpy()
        for name, start in (("pre-trained", "chosen"), ("random", None)):
            encoder = study.probe(start, True, 0, seed).network.encoder
            x, y = study.embed(encoder, batch), study.embed(encoder, held)
            found = linear(x, known, tuned_strength(x, known))(y)
            areas[name].append(scores(found, label)["auc"] or 0.0)
    return {
        **{name: float(np.mean(values)) for name, values in areas.items()},
        "areas": areas,
        "jets": len(label),
        "history": read_checkpoint(output / recipe / "checkpoint.ckpt")["history"],
        "finished": (output / recipe / "summary.json").exists(),
        "parameters": sum(p.numel() for p in encoder.parameters()),
    }


def choose(data: Path, output: Path, toy: bool) -> dict[str, Any]:
    """Choose a recipe by the rule; writes `choice.json`.

    Recipes that did not come to their end count only when none did.
    """
    found: dict[str, Any] = {}
    for recipe in RECIPES:
        path = output / recipe / "validation.json"
        if path.exists():
            found[recipe] = read_json(path)
    if not found:
        begun = [recipe for recipe in RECIPES if saved(output / recipe)]
        found = {recipe: validated(recipe, data, output, toy) for recipe in begun}
    if not found:
        raise UserError(f"{output}: no recipe was pre-trained")
    chosen = max(found, key=lambda recipe: found[recipe]["pre-trained"])
    stopped = {
        recipe: read_checkpoint(output / recipe / "last.ckpt")["history"]
        for recipe in RECIPES
        if recipe not in found and (output / recipe / "last.ckpt").exists()
    }
    choice = {
        "chosen": chosen,
        "validation": found,
        "stopped": stopped,
        "device": device_name(),
    }
    write_json(output / "choice.json", choice)
    return choice


def saved(folder: Path) -> bool:
    """Say whether a pre-training left a checkpoint; one that was stopped left its last."""
    checkpoint, last = folder / "checkpoint.ckpt", folder / "last.ckpt"
    if not checkpoint.exists() and last.exists():
        shutil.copy(last, checkpoint)
    return checkpoint.exists()


def device_name() -> str:
    """Return what it runs on."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def work(number: int, data: Path, output: Path, end: float, toy: bool) -> None:
    """Measure points until all are done or the time is over, beside other processes."""
    torch.set_num_threads(1)
    results, claims = output / "results", output / "claims"
    for folder in (results, claims):
        folder.mkdir(parents=True, exist_ok=True)
    while not (output / "choice.json").exists():
        if time.time() > end:
            return
        time.sleep(POLL)
    recipe = read_json(output / "choice.json")["chosen"]
    studies: dict[str, Study] = {}
    with (results / f"{number}.jsonl").open("w") as stream:
        for seed in SEEDS:
            for size in SIZES:
                for name in STUDIES:
                    if time.time() > end or not claimed(claims / f"{name}-{size}-{seed}"):
                        continue
                    if name not in studies:
                        studies[name] = Study(name, data, output, recipe, toy)
                    for row in point(studies[name], size, seed, end):
                        row |= {"study": name, "size": size, "seed": seed}
                        stream.write(json.dumps(row) + "\n")
                        stream.flush()


def claimed(path: Path) -> bool:
    """Say whether this process is the first to ask for a point."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def point(study: Study, size: int, seed: int, end: float) -> Iterator[dict[str, Any]]:
    """Yield what each way measures at a size and seed."""
    batch, table = study.labelled(size, seed)
    jets = len(batch["label"])
    if size < 1_000_000 and jets < size:
        return
    label, (held, held_table) = batch["label"].cpu().numpy(), study.test
    truth = held["label"].cpu().numpy()
    tuned_file = study.output / "claims" / f"tuned-{study.name}-{size}.json"
    first = seed == SEEDS[0]
    while not first and not tuned_file.exists():
        if time.time() > end:
            return
        time.sleep(POLL)
    tuned = {} if first else read_json(tuned_file)

    def row(way: str, found: np.ndarray, began: float) -> dict[str, Any]:
        if seed == SEEDS[0]:
            name = f"{study.name}-{size}-{way}".replace(" ", "_").replace(",", "")
            np.save(study.output / "results" / f"{name}.npy", found.astype(np.float16))
        took = round(time.time() - began, 2)
        return {
            "way": way, "jets": jets, "tuned": tuned.get(way), "seconds": took,
            **scores(found, truth),
        }  # fmt: skip

    tables = {"linear, shape of the jet": None, "linear, random encoder": None,
              "linear": "chosen", "linear, 188 labels": SUPERVISED}  # fmt: skip
    for way, start in tables.items():
        began = time.time()
        if way == "linear, shape of the jet":
            x, y = (jet_shape(jets_of(b)).double().cpu().numpy() for b in (batch, held))
        elif start is not None and not study.checkpoint(start).exists():
            continue
        else:
            encoder = study.probe(start, True, 0, seed).network.encoder
            x, y = (study.embed(encoder, b) for b in (batch, held))
        if first:
            tuned[way] = tuned_strength(x, label)
        yield row(way, linear(x, label, tuned[way])(y), began)
        if first and way == "linear":
            np.savez_compressed(
                study.output / "results" / f"embedding-{study.name}.npz",
                embedding=y.astype(np.float16),
                label=truth,
            )
    began = time.time()
    trees = HistGradientBoostingClassifier(random_state=seed, early_stopping=False, **TREES)
    yield row("trees", trees.fit(table, label).predict_proba(held_table), began)
    for way, (start, _, _) in NETWORKS.items():
        if way == "shuffled labels" and size < 1_000_000:
            continue
        if start is not None and not study.checkpoint(start).exists():
            continue
        if time.time() > end:
            return
        began = time.time()
        if first:
            same = tuned.get("fine-tuned") if way == "shuffled labels" else None
            tuned[way] = same or study.tuned_rate(way, size)
        if way not in tuned:
            continue
        yield row(way, study.network(way, size, seed, tuned[way]), began)
    if first:
        write_json(tuned_file, tuned)


def slim(checkpoint: Path, output: Path) -> None:
    """Copy of a checkpoint what serves to evaluate it."""
    content = read_checkpoint(checkpoint)
    torch.save({key: content[key] for key in ("description", "state_dict", "history")}, output)


def drive(
    data: Path,
    output: Path,
    seconds: float,
    processes: int,
    recipes: Sequence[str],
    toy: bool,
) -> None:
    """Run everything within a time."""
    begin = time.time()
    output.mkdir(parents=True, exist_ok=True)
    end, pretrained = begin + seconds, begin + 0.45 * seconds
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    common = [str(data), str(output), *(["--toy"] if toy else [])]

    def begun(*arguments: str, log: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "benchmarks.joint_embedding", *common, *arguments]
        with (output / f"{log}.log").open("w") as stream:
            return subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)

    (output / "disjoint.json").write_text(json.dumps(shared_batches(
        [path for path in sorted(data.iterdir()) if (path / "manifest.json").exists()]
    )))  # fmt: skip
    running = {
        recipe: begun("--pretrain", recipe, "--end", str(pretrained), log=recipe)
        for recipe in (*recipes, SUPERVISED)
    }
    workers = [
        begun("--work", str(i), "--end", str(end - 4), log=f"work-{i}") for i in range(processes)
    ]
    for process in running.values():
        try:
            process.wait(max(begin + 0.55 * seconds - time.time(), 1))
        except subprocess.TimeoutExpired:
            process.kill()
    saved(output / SUPERVISED)
    choice = choose(data, output, toy)
    slim(output / choice["chosen"] / "checkpoint.ckpt", output / "chosen.ckpt")
    said = f"chosen {choice['chosen']} after {time.time() - begin:.0f} s\n"
    sys.stdout.write(said)
    for process in workers:
        try:
            process.wait(max(end - time.time(), 1))
        except subprocess.TimeoutExpired:
            process.kill()
    sys.stdout.write(f"done after {time.time() - begin:.0f} s\n")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.joint_embedding")
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seconds", type=float, default=170)
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=[*RECIPES])
    parser.add_argument("--toy", action="store_true", help="small networks, for a trial on a CPU")
    parser.add_argument("--pretrain", help="one recipe, of the driver's own calls")
    parser.add_argument("--work", type=int)
    parser.add_argument("--end", type=float, help="time at which to be done")
    options = parser.parse_args()
    if options.pretrain is not None:
        output = options.output / options.pretrain
        pretrain(options.pretrain, options.data, output, options.end, options.toy)
    elif options.work is not None:
        work(options.work, options.data, options.output, options.end, options.toy)
    else:
        given = options.seconds, options.processes, options.recipes, options.toy
        drive(options.data, options.output, *given)


if __name__ == "__main__":
    main()
