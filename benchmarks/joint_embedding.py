"""What pre-training by joint embedding is worth, in one go: the tables of docs/jepa.md.

    python -m benchmarks.joint_embedding DATA OUTPUT --seconds 3600 --processes 6
    python -m benchmarks.joint_embedding DATA OUTPUT --seconds 3600 --processes 2 --small

DATA holds the datasets of `config/jepa-small.yaml` (`unlabelled`, `labelled`, `top`,
`quark_gluon`). Recipes are pre-trained for as many steps; one is chosen by rule, the highest AUC of
a linear probe with 2,000 labels on the validation split of `labelled`, the mean of three draws of
labels. Then the studies run on the test splits until the time is up. Called again it goes on.
`--small` takes the networks of `joint-embedding-small.yaml`, for a CPU.

What is compared at each size and seed is trained on the same jets. Rates are tuned for each way on
a fifth of the labels of the first seed, at 500 and 5,000 labels, which more labels take over; the
strength of the prior of linear probes by cross-validation among the labels of each draw.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch.optim.lr_scheduler import LambdaLR

from ntuplizer.disjoint import shared_batches
from provenance.errors import UserError
from provenance.files import read_json, write_json
from training.baselines.jet_trees import TREES, jet_table
from training.checkpoint import read_checkpoint, start_from
from training.config import FitConfig, load_config
from training.data.reader import Batch
from training.data.shards import draw_subset, list_row_groups, open_dataset
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
# What differs from the configuration of the pre-training, piece by piece. The first is that file's
# own recipe.
RECIPES: dict[str, tuple[str, ...]] = {
    "published": (),
    "features": ("tokens", "features"),
    "shape": ("tokens", "features", "shape"),
    "wide": ("tokens", "features", "wide", "shape"),
    "whole": ("tokens", "features", "wide", "shape", "all"),
    "heavy": ("tokens", "features", "wide", "heavy shape", "all"),
    "constituents": ("tokens", "features", "third", "shape"),
}
PIECES: dict[str, tuple[str, ...]] = {
    "tokens": ("regulariser={kind: vicreg, of: tokens, weight: 0.05, projector: [256, 128]}",),
    "features": ("masked_features=1.0",),
    "shape": ("jet_shape=3.0",),
    "heavy shape": ("jet_shape=10.0",),
    "all": ("jet_shape_from=all",),
    # The context is nearly all that is not hidden.
    "wide": (
        "masks={targets: 4, target_ratio: [0.1, 0.15], context_ratio: [0.85, 1.0]}",
        "model.target_layers=2",
    ),
    "third": ("masks={targets: 1, target_ratio: [0.3, 0.4], context_ratio: [1.0, 1.0]}",),
}
# Where networks are small, what is cheaper.
SMALL_PIECES = {
    "tokens": ("regulariser={kind: vicreg, of: tokens, weight: 0.05, projector: [64, 64]}",),
    "wide": (
        "masks={targets: 2, target_ratio: [0.15, 0.25], context_ratio: [0.85, 1.0]}",
        "model.target_layers=2",
    ),
}
# Sizes of large encoders of patches.
PATCHES = {"patches": 16, "blocks": 4, "registers": 4, "length_groups": 1}
SUPERVISED = "supervised"
STUDIES: dict[str, dict[str, Any]] = {
    "groups": {"dataset": "labelled", "settings": []},
    "top": {"dataset": "top", "settings": ["data.labels=[QCD, top]", "data.classes=null"]},
    "quark_gluon": {
        "dataset": "quark_gluon",
        "settings": ["data.labels=[gluon, quark]", "data.classes=null"],
    },
}
# Of top, quarks and gluons jets of any mass are used, so that 5,000 labels are there.
ANY_MASS = "data.selection={jet_pt: [200, 2500], jet_sdmass: [-1, 500]}"
# The last is more than there are: all.
ALL = 1_000_000
SEEDS = (1, 2, 3, 4, 5)
EMBEDDED = {  # linear probes: how the encoder begins
    "linear": "chosen",
    "linear, random encoder": None,
    "linear, 188 labels": SUPERVISED,
}
SHAPE, TREE = "linear, shape of the jet", "trees"
# What is trained: how the encoder begins, whether it is frozen.
NETWORKS = {
    "scratch": (None, False),
    "fine-tuned": ("chosen", False),
    "attentive": ("chosen", True),
    "attentive, random encoder": (None, True),
    "fine-tuned, 188 labels": (SUPERVISED, False),
    "shuffled labels": ("chosen", False),
}
# The same with more steps: what fine-tuning saves a new encoder, and what it does not.
LONGER = {"scratch, longer": "scratch", "fine-tuned, longer": "fine-tuned"}
TIMES = 5
CHEAP = (*EMBEDDED, SHAPE, TREE)
# What is measured first, should the time end: sizes and ways, with every seed.
ORDER: tuple[tuple[tuple[int, ...], tuple[str, ...]], ...] = (
    ((500, 5_000), (*CHEAP, "scratch", "fine-tuned")),
    ((5_000,), tuple(LONGER)),
    ((ALL, 2_000), (*CHEAP, "scratch", "fine-tuned")),
    ((500, 5_000, ALL, 2_000), ("attentive", "attentive, random encoder")),
    ((500, 5_000), ("fine-tuned, 188 labels",)),
    ((ALL,), ("shuffled labels",)),
    ((ALL, 2_000), ("fine-tuned, 188 labels",)),
    ((20_000,), (*CHEAP, *NETWORKS)),
)
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
TUNED_AT = (500, 5_000)
STEPS = 200
CHOICE_LABELS, CHOICE_SEEDS = 2_000, (101, 102, 103)
FIFTHS, FEW = 5, 2_000
POLL = 0.2


class Networks(NamedTuple):
    """Networks of a size, and how they are trained."""

    pretraining: str  # configuration
    probe: str
    common: tuple[str, ...]
    batch: int
    studied: int  # batch of what is trained in the studies
    rates: tuple[float, ...]  # of which one is chosen there


LARGE = Networks(
    "joint-embedding.yaml",
    "probe.yaml",
    (
        "data.max_constituents=64", "data.workers=1", "data.validation_rows=2048",
        "run.compile=false", "model.predictor.blocks=2", "collapse={effective_rank: 1.1}",
        "optimizer.learning_rate=1.0e-3",
    ),
    256,
    128,
    (3e-4, 1e-3, 3e-3),
)  # fmt: skip
SMALL = Networks(
    "joint-embedding-small.yaml",
    "probe-small.yaml",
    ("data.validation_rows=1024", "optimizer.learning_rate=2.0e-3"),
    128,
    64,
    (1e-3, 4e-3),
)


class Item(NamedTuple):
    """One thing to measure."""

    study: str
    size: int
    seed: int
    way: str

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.study}-{self.size}-{self.seed}-{self.way}".replace(",", "").replace(" ", "_")


def items() -> Iterator[Item]:
    """Yield what is to be measured, the most wanted first."""
    for sizes, ways in ORDER:
        for seed in SEEDS:
            for study in STUDIES:
                yield from (Item(study, size, seed, way) for size in sizes for way in ways)


def encoder_settings(recipe: str, small: bool) -> list[str]:
    """Return what differs from the encoder of the configuration."""
    if recipe == "constituents":
        sizes: dict[str, Any] = {"tokens": "constituents", "registers": 4}
        if small:
            sizes |= {"width": 32, "heads": 4, "blocks": 2, "feedforward_ratio": 2}
            sizes |= {"embedding": [32], "pair_bias": [16]}
        else:
            sizes |= {"blocks": 4, "embedding": [128]}
        return [f"model.encoder={json.dumps(sizes)}"]
    if small:
        return ["model.encoder.length_groups=1"]
    return [f"model.encoder.{name}={value}" for name, value in PATCHES.items()]


def pretraining(recipe: str, small: bool, more: Sequence[str] = ()) -> FitConfig:
    """Return the configuration of a pre-training."""
    networks = SMALL if small else LARGE
    settings = [*encoder_settings(recipe, small), *networks.common]
    settings.append(f"data.batch_size={networks.batch}")
    if recipe != SUPERVISED:
        parts = PIECES | (SMALL_PIECES if small else {})
        settings += [setting for piece in RECIPES[recipe] for setting in parts[piece]]
        return load_config(CONFIGS / networks.pretraining, [*settings, *more])
    own = [x for x in settings if not x.startswith(("model.predictor", "collapse"))]
    own += ["data.classes=null", "model.classifier.class_blocks=1", "optimizer.ema_decay=null"]
    return load_config(CONFIGS / networks.probe, [*own, *more])


def pretrain(recipe: str, data: Path, output: Path, steps: int, small: bool) -> None:
    """Pre-train, and measure what the rule looks at."""
    more = [f"steps={steps}"]
    more.append(f"data.rows_per_epoch={max(steps // 10, 1) * (SMALL if small else LARGE).batch}")
    if best_device().type == "cpu":
        more.append("run.precision=32-true")
    folder = output / recipe
    if not (folder / "summary.json").exists():
        fit(pretraining(recipe, small, more), data / "unlabelled" / "manifest.json", folder)
    if recipe != SUPERVISED and not (folder / "validation.json").exists():
        write_json(folder / "validation.json", validated(recipe, data, output, small))


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
    small
        Use the small networks.
    """

    def __init__(self, name: str, data: Path, output: Path, recipe: str, small: bool):
        self.name, self.output, self.recipe = name, output, recipe
        self.networks = SMALL if small else LARGE
        self.settings = [
            *encoder_settings(recipe, small),
            *(x for x in self.networks.common if x.startswith("data.max_constituents")),
            *STUDIES[name]["settings"],
            *([] if name == "groups" else [ANY_MASS]),
            "data.workers=0",
            "optimizer.ema_decay=null",
        ]
        self.device = best_device()
        self.reader = Probe(self.config()).reader
        manifest = data / STUDIES[name]["dataset"] / "manifest.json"
        self.dataset = open_dataset(manifest, self.config(), self.reader)
        self._splits: dict[str, tuple[Batch, np.ndarray]] = {}
        self._embedded: dict[tuple[str | None, int, str], np.ndarray] = {}

    def config(self, *more: str) -> Config:
        """Return the configuration of a probe."""
        config = load_config(CONFIGS / self.networks.probe, [*self.settings, *more])
        assert isinstance(config, Config)
        return config

    def split(self, name: str) -> tuple[Batch, np.ndarray]:
        """Return the selected jets of a split, and what the trees are told of them."""
        if name not in self._splits:
            groups = list_row_groups(self.dataset.shards(name), self.reader)
            rows = self.reader.read(groups)
            chosen = self.reader.chosen(rows.scalars, len(rows))
            batch = {k: x.to(self.device) for k, x in self.reader.collate(rows, chosen).items()}
            self._splits[name] = batch, jet_table(groups, self.reader)[0]
        return self._splits[name]

    @cached_property
    def _places(self) -> dict[tuple[Path, int], np.ndarray]:
        """Of each row group of the training jets: the place of its rows among the selected."""
        groups = list_row_groups(self.dataset.shards("train"), self.reader)
        found, begin = {}, 0
        for group in groups:
            rows = self.reader.read([group])
            chosen = self.reader.chosen(rows.scalars, len(rows))
            places = np.full(len(rows), -1)
            places[chosen] = begin + np.arange(len(chosen))
            found[group.path, group.index] = places
            begin += len(chosen)
        return found

    def drawn(self, size: int, seed: int) -> np.ndarray:
        """Return the places of the jets that a probe of this size and seed trains on."""
        groups = list_row_groups(self.dataset.shards("train"), self.reader)
        places = [
            self._places[group.path, group.index][slice(None) if group.kept is None else group.kept]
            for group in draw_subset(groups, self.reader, size, seed)
        ]
        found = np.concatenate(places)
        return found[found >= 0]

    def truth(self, split: str) -> np.ndarray:
        """Return the classes, (n,)."""
        return self.split(split)[0]["label"].cpu().numpy()

    def checkpoint(self, start: str) -> Path:
        """Return the checkpoint that ways begin with."""
        folder = self.recipe if start == "chosen" else start
        return self.output / folder / "checkpoint.ckpt"

    def probe(self, start: str | None, frozen: bool, seed: int, *more: str) -> Probe:
        """Return a classifier whose encoder is new or a checkpoint's."""
        settings = ["model.classifier.class_blocks=1", f"seed={seed}", *more]
        if start is not None:
            settings += ["start.parts=[encoder]", f"start.frozen={str(frozen).lower()}"]
        torch.manual_seed(seed)
        task = Probe(self.config(*settings))
        if start is not None:
            start_from(task, self.checkpoint(start))
        elif frozen:
            task.freeze(["encoder"])
        return task.to(self.device)

    def train(self, task: Probe, batch: Batch, seed: int, steps: int = STEPS) -> Probe:
        """Train on a batch that holds all jets."""
        optimizer = make_optimizer(task, task.config.optimizer)
        schedule = make_schedule(optimizer, task.config.optimizer.schedule, steps)
        assert isinstance(schedule, LambdaLR)
        rng = np.random.default_rng(seed)
        task.train()
        for chosen in draws(len(batch["label"]), self.networks.studied, steps, rng):
            index = torch.from_numpy(chosen).to(self.device)
            loss = task.step({k: x.index_select(0, index) for k, x in batch.items()})["loss"]
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        return task.eval()

    def some(self, places: np.ndarray) -> Batch:
        """Return some of the training jets."""
        index = torch.from_numpy(places).to(self.device)
        return {k: x.index_select(0, index) for k, x in self.split("train")[0].items()}

    @torch.no_grad()
    def probabilities(self, task: Probe, batch: Batch) -> np.ndarray:
        """Return the probabilities, (n, classes)."""
        return np.concatenate([task.predict(b)["probabilities"].cpu() for b in pieces(batch)])

    def measure(self, item: Item) -> tuple[np.ndarray, float | None]:
        """Return the probabilities of the test jets, and what was tuned."""
        places = self.drawn(item.size, item.seed)
        label = self.truth("train")[places]
        if item.way == TREE:
            table = self.split("train")[1][places]
            trees = HistGradientBoostingClassifier(
                random_state=item.seed, early_stopping=False, **TREES
            )
            return trees.fit(table, label).predict_proba(self.split("test")[1]), None
        way = LONGER.get(item.way, item.way)
        if way in NETWORKS:
            tuned = self.tuned(way, item.size)
            batch = self.some(places)
            if item.way == "shuffled labels":
                dealt = np.random.default_rng(item.seed).permutation(label)
                batch["label"] = torch.from_numpy(dealt).to(self.device)
            steps = STEPS * (TIMES if item.way in LONGER else 1)
            task = self.train(self.network(way, item.seed, tuned), batch, item.seed, steps)
            return self.probabilities(task, self.split("test")[0]), tuned
        known, held = (self.numbers(item.way, item.seed, split) for split in ("train", "test"))
        strength = tuned_strength(known[places], label)
        return linear(known[places], label, strength)(held), strength

    def network(self, way: str, seed: int, rate: float) -> Probe:
        """Return what a way trains."""
        start, frozen = NETWORKS[way]
        return self.probe(start, frozen, seed, f"optimizer.learning_rate={rate}")

    def numbers(self, way: str, seed: int, split: str) -> np.ndarray:
        """Return what a linear probe looks at: embeddings or the shape of the jets."""
        if way == SHAPE:
            key: tuple[str | None, int, str] = (SHAPE, 0, split)
        else:
            key = EMBEDDED[way], 0 if EMBEDDED[way] else seed, split
        if key not in self._embedded:
            batch = self.split(split)[0]
            if way == SHAPE:
                found = torch.cat([jet_shape(jets_of(b)) for b in pieces(batch)])
                self._embedded[key] = found.double().cpu().numpy()
            else:
                encoder = self.probe(key[0], True, seed).network.encoder
                self._embedded[key] = embed(encoder, batch)
        return self._embedded[key]

    def tuned(self, way: str, size: int) -> float:
        """Return the rate that a fifth of the labels of the first seed finds best."""
        way = "fine-tuned" if way == "shuffled labels" else way
        size = max(s for s in TUNED_AT if s <= size)
        path = self.output / "tuned" / f"{Item(self.name, size, SEEDS[0], way).name}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"tuned": self.best_rate(way, self.drawn(size, SEEDS[0]))})
        return float(read_json(path)["tuned"])

    def best_rate(self, way: str, places: np.ndarray) -> float:
        """Return the best rate of a network."""
        learn, held = (self.some(places[i]) for i in halves(len(places)))
        losses = []
        for rate in self.networks.rates:
            task = self.train(self.network(way, 1, rate), learn, 1)
            found = self.probabilities(task, held)
            losses.append(cross_entropy(found, held["label"].cpu().numpy()))
        return self.networks.rates[int(np.argmin(losses))]


@torch.no_grad()
def embed(encoder: JetEncoder, batch: Batch) -> np.ndarray:
    """Return the mean of the tokens, (n, width)."""
    found = []
    for piece in pieces(batch):
        found.append(encoder.encode(jets_of(piece)).average().cpu())
    return torch.cat(found).double().numpy()


def draws(rows: int, batch: int, steps: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the rows of each step; every pass is shuffled, short ones go on in the next."""
    left = np.empty(0, np.int64)
    for _ in range(steps):
        while len(left) < batch:
            left = np.concatenate((left, rng.permutation(rows)))
        yield left[:batch]
        left = left[batch:]


def pieces(batch: Batch) -> Iterator[Batch]:
    """Cut a batch into such as fit."""
    rows = len(batch["mask"])
    for begin in range(0, rows, 2048):
        yield {k: x[begin : begin + 2048] for k, x in batch.items()}


def halves(rows: int, fold: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return which labels are learned from and which, a fifth, are held out while tuning."""
    fifths = np.array_split(np.random.default_rng(0).permutation(rows), FIFTHS)
    held = fifths.pop(fold)
    return np.concatenate(fifths), held


def cross_entropy(probabilities: np.ndarray, label: np.ndarray) -> float:
    """Return the mean of −ln p of the true class."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(label)), label], 1e-9)).mean())


def linear(x: np.ndarray, label: np.ndarray, strength: float) -> Any:
    """Fit logistic regression on standardised numbers to convergence."""
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=strength, max_iter=1000).fit(scaler.transform(x), label)
    return lambda other: model.predict_proba(scaler.transform(other))


def tuned_strength(x: np.ndarray, label: np.ndarray) -> float:
    """Return the strength that cross-validation finds best; one fold of many labels is enough."""
    folds = [halves(len(label), i) for i in range(FIFTHS if len(label) <= FEW else 1)]
    losses = [
        sum(
            cross_entropy(linear(x[learn], label[learn], strength)(x[held]), label[held])
            for learn, held in folds
        )
        for strength in STRENGTHS
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


def validated(recipe: str, data: Path, output: Path, small: bool) -> dict[str, Any]:
    """Return what the rule looks at: linear probes on the validation split of `labelled`.

    Beside it, how much of the variance of what `jet_shape` asks for a linear map of the embedding
    tells, the mean over its numbers.
    """
    study = Study("groups", data, output, recipe, small)
    label, held = study.truth("train"), study.truth("val")
    known_shape, held_shape = (study.numbers(SHAPE, 0, split) for split in ("train", "val"))
    areas: dict[str, list[float]] = {"pre-trained": [], "random": []}
    told: dict[str, list[float]] = {"pre-trained": [], "random": []}
    for seed in CHOICE_SEEDS:
        places = study.drawn(CHOICE_LABELS, seed)
        for name, way in (("pre-trained", "linear"), ("random", "linear, random encoder")):
            x, y = (study.numbers(way, seed, split) for split in ("train", "val"))
            strength = tuned_strength(x[places], label[places])
            found = linear(x[places], label[places], strength)(y)
            areas[name].append(scores(found, held)["auc"] or 0.0)
            told[name].append(explained(x, known_shape, y, held_shape))
    return {
        **{name: float(np.mean(values)) for name, values in areas.items()},
        "areas": areas,
        "told": {name: float(np.mean(values)) for name, values in told.items()},
        "jets": len(held),
        "history": read_checkpoint(output / recipe / "checkpoint.ckpt")["history"],
        "parameters": sum(
            p.numel() for p in study.probe(None, True, 1).network.encoder.parameters()
        ),
        "seconds": read_json(output / recipe / "summary.json")["wall_seconds"],
    }


def explained(x: np.ndarray, told: np.ndarray, y: np.ndarray, held: np.ndarray) -> float:
    """Return the share of the variance of numbers (n, k) that a linear map tells, their mean."""
    scaler = StandardScaler().fit(x)
    found = Ridge().fit(scaler.transform(x), told).predict(scaler.transform(y))
    return float((1 - ((found - held) ** 2).mean(axis=0) / held.var(axis=0)).mean())


def choose(output: Path) -> dict[str, Any]:
    """Choose a recipe by the rule; writes `choice.json`."""
    found = {
        recipe: read_json(path)
        for recipe in RECIPES
        if (path := output / recipe / "validation.json").exists()
    }
    if not found:
        raise UserError(f"{output}: no recipe was pre-trained to its end")
    choice = {
        "chosen": max(found, key=lambda recipe: found[recipe]["pre-trained"]),
        "validation": found,
        "stopped": {
            recipe: read_checkpoint(path)["history"]
            for recipe in RECIPES
            if recipe not in found and (path := output / recipe / "last.ckpt").exists()
        },
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
    write_json(output / "choice.json", choice)
    return choice


def work(data: Path, output: Path, end: float, small: bool) -> None:
    """Measure until all is done or the time is over, beside other processes."""
    torch.set_num_threads(1)
    results, claims = output / "results", output / "claims"
    results.mkdir(exist_ok=True)
    recipe = read_json(output / "choice.json")["chosen"]
    studies: dict[str, Study] = {}
    for item in items():
        path = results / f"{item.name}.json"
        if path.exists() or not claimed(claims / item.name):
            continue
        if time.time() > end:
            return
        if item.study not in studies:
            studies[item.study] = Study(item.study, data, output, recipe, small)
        study = studies[item.study]
        jets = len(study.drawn(item.size, item.seed))
        if item.size < ALL and jets < item.size:
            continue
        began = time.process_time()
        found, tuned = study.measure(item)
        truth = study.truth("test")
        row = {**item._asdict(), "jets": jets, "tuned": tuned, **scores(found, truth)}
        if item.seed == SEEDS[0] and item.way == "linear":
            held = study.numbers("linear", item.seed, "test").astype(np.float16)
            np.savez_compressed(
                results / f"embedding-{item.study}.npz", embedding=held, label=truth
            )
        np.save(results / f"{item.name}.npy", found.astype(np.float16))
        write_json(path, row | {"seconds": round(time.process_time() - began, 2)})


def claimed(path: Path) -> bool:
    """Say whether this process is the first to ask for something."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def drive(
    data: Path,
    output: Path,
    seconds: float,
    processes: int,
    recipes: Sequence[str],
    steps: int,
    small: bool,
) -> None:
    """Run everything within a time."""
    begin = time.time()
    end = begin + seconds
    claims = output / "claims"
    claims.mkdir(parents=True, exist_ok=True)
    for claim in claims.iterdir():
        claim.unlink()
    environment = dict(os.environ, OMP_NUM_THREADS="1")

    def begun(log: str, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "benchmarks.joint_embedding", str(data), str(output)]
        command += [*(["--small"] if small else []), *arguments]
        with (output / f"{log}.log").open("a") as stream:
            return subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)

    folders = [path for path in sorted(data.iterdir()) if (path / "manifest.json").exists()]
    (output / "disjoint.json").write_text(json.dumps(shared_batches(folders)))
    waiting: list[str] = [*recipes, SUPERVISED]
    running: list[subprocess.Popen] = []
    while waiting or running:
        while waiting and len(running) < processes:
            recipe = waiting.pop(0)
            running.append(begun(recipe, "--pretrain", recipe, "--steps", str(steps)))
        running = [process for process in running if process.poll() is None]
        time.sleep(POLL)
    choice = choose(output)
    sys.stdout.write(f"chosen {choice['chosen']} after {time.time() - begin:.0f} s\n")
    workers = [begun(f"work-{i}", "--work", "--end", str(end)) for i in range(processes)]
    for process in workers:
        process.wait()
    sys.stdout.write(f"done after {time.time() - begin:.0f} s\n")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.joint_embedding")
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seconds", type=float, default=3600, help="then nothing new begins")
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=[*RECIPES])
    parser.add_argument("--steps", type=int, default=1500, help="of each pre-training")
    parser.add_argument("--small", action="store_true", help="small networks, for a CPU")
    parser.add_argument("--pretrain", help="one recipe, of the driver's own calls")
    parser.add_argument("--work", action="store_true", help="measure, of the driver's own calls")
    parser.add_argument("--end", type=float, help="time after which nothing new begins")
    options = parser.parse_args()
    data, output, small = options.data, options.output, options.small
    if options.pretrain is not None:
        pretrain(options.pretrain, data, output, options.steps, small)
    elif options.work:
        work(data, output, options.end, small)
    else:
        given = options.seconds, options.processes, options.recipes, options.steps
        drive(data, output, *given, small)


if __name__ == "__main__":
    main()
