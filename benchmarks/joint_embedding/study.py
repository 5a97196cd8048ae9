"""A task of the studies: its jets, and what is trained on some of them."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.joint_embedding.points import (
    ANY_MASS,
    EMBEDDED,
    LONGER,
    NETWORKS,
    SEEDS,
    SHAPE,
    STUDIES,
    TIMES,
    TREE,
    Item,
)
from benchmarks.joint_embedding.recipes import CONFIGS, LARGE, SMALL, encoder_settings
from benchmarks.joint_embedding.scoring import cross_entropy, halves, linear, tuned_strength
from provenance.files import read_json, write_json
from training.baselines.jet_trees import TREES, jet_table
from training.checkpoint import start_from
from training.config import load_config
from training.data.reader import Batch
from training.data.shards import draw_subset, list_row_groups, open_dataset
from training.devices import best_device
from training.jets.constituents import jets_of
from training.models.jet_encoder import JetEncoder
from training.models.jet_shape import jet_shape
from training.optimizers import make_optimizer, make_schedule
from training.tasks.probe.config import Config
from training.tasks.probe.task import Probe

TUNED_AT = (500, 5_000)
STEPS = 200


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
