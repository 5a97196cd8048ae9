"""Every network that a run trains: its trainings and the points of its studies.

A study is no second way of training: each of its points is a fit like any other, with a few keys
changed, and so a job of its own. Points that ask for the same network, in one study or in several,
share it, under the name that the first of them gives it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import product
from typing import Any

from ntuplizer.products import get_product
from provenance.errors import UserError
from training.config import FitConfig, load_config
from workflow.config_model import ROOT, Config, Start, Study, Training, Way

# Keys of a study's sizes that mean the training that its points begin with.
OF_START = "from."
NO_SIZE = "-"


@dataclass(frozen=True)
class Fit:
    """One network to train.

    Attributes
    ----------
    name
        Its folder below `training/` and `evaluation/`.
    dataset
        Name of the dataset that it learns from.
    config
        The complete training configuration.
    start
        Name of the fit whose checkpoint it begins with; None: it begins anew, or with a file that
        the configuration names.
    flat_sampling
        Whether its jets are drawn with sampling weights.
    """

    name: str
    dataset: str
    config: FitConfig
    start: str | None
    flat_sampling: bool

    @property
    def text(self) -> str:
        """The configuration as one line of JSON, without what is left to its default.

        A new key with its default leaves the text, and so the trained network, alone.
        """
        # What was given, not what differs: names that tell the models of a union apart stay.
        changed = self.config.model_dump(mode="json", exclude_unset=True)
        # In order: of classes the first one has index 0.
        return json.dumps({"task": self.config.task, **changed})


@dataclass(frozen=True)
class Point:
    """One point of a study: which fit it is, and which number of its evaluation counts."""

    way: str
    size: int | None
    seed: int
    fit: str
    metric: str


def _grid(name: str, study: Study) -> list[Point]:
    """Return the points of a study, ways × sizes × seeds, each with a network of its own."""
    sizes: list[int | None] = [None] if study.sizes is None else [*study.sizes.values]
    points = []
    for (way, content), size, seed in product(study.all_ways().items(), sizes, study.seeds):
        fit = f"{name}/{_folder(content.of or way)}_{NO_SIZE if size is None else size}_{seed}"
        points.append(Point(way, size, seed, fit, content.metric or study.metric))
    return points


def _folder(way: str) -> str:
    return way.replace(" ", "-")


def resolve_fits(config: Config) -> tuple[dict[str, Fit], dict[str, list[Point]]]:
    """Return every fit of a run by name, its configuration complete and checked, and all points.

    Returns
    -------
    fits
        By name.
    points
        Of each study, in the order ways × sizes × seeds.

    Raises
    ------
    UserError
        When a training configuration or an override is wrong, naming the file, the key and the
        value; when a task cannot read the product of its dataset.
    """
    resolver = _Resolver(config)
    for name in config.training:
        resolver.add_training(name)
    points = {name: resolver.add_study(name, study) for name, study in config.studies.items()}
    fits = resolver.fits
    for name, fit in fits.items():
        before = None if fit.start is None else fits[fit.start]
        if before is not None and not set(before.config.products).intersection(fit.config.products):
            raise UserError(
                f"{name} begins with {before.name}, whose task {before.config.task} reads "
                f"{' or '.join(before.config.products)} and not "
                f"{' or '.join(fit.config.products)}"
            )
    return fits, points


class _Resolver:
    """Collects fits, each network once."""

    def __init__(self, config: Config):
        self.config = config
        self.fits: dict[str, Fit] = {}
        self._names: dict[tuple[object, ...], str] = {}  # by what a network depends on

    def add_training(self, name: str) -> None:
        """Add a training, after the one that it begins with."""
        if name in self.fits:
            return
        training = self.config.training[name]
        if training.start is not None and training.start.training is not None:
            self.add_training(training.start.training)
        fit = self._fit(name, training, training.start, {}, f"training.{name}")
        # Under its own name, even where another training is the same.
        self.fits[name] = fit
        self._names.setdefault(_content(fit, vectorised=False), name)

    def add_study(self, name: str, study: Study) -> list[Point]:
        """Add the networks of a study that nothing else asks for; return its points."""
        base = self.config.training[study.training]
        ways = study.all_ways()
        _check_starts(name, study, base)
        shared: dict[str, str] = {}
        points = _grid(name, study)
        for point in points:
            way = ways[point.way]
            if way.of is not None:
                continue
            start = _start(base, way)
            changes: dict[str, Any] = dict(way.set)
            if study.sizes is not None and study.sizes.key.startswith(OF_START):
                if start is not None:
                    start = self._resized_start(name, study, point, start)
            elif study.sizes is not None:
                changes[study.sizes.key] = point.size
            changed = base.model_copy(
                update={"seed": point.seed, "config": way.config or base.config}
            )
            where = f"studies.{name} ({point.way})"
            fit = self._fit(point.fit, changed, start, changes, where)
            shared[point.fit] = self._share(fit, study.vectorised)
        points = [replace(point, fit=shared[point.fit]) for point in points]
        for point in points:
            own = f"ways.{point.way}." if ways[point.way].metric is not None else ""
            config = self.fits[point.fit].config
            _check_metric(f"studies.{name}.{own}metric", point.metric, config)
        return points

    def _share(self, fit: Fit, vectorised: bool) -> str:
        """Return the name of the fit that is the same network; add this one where there is none."""
        name = self._names.setdefault(_content(fit, vectorised), fit.name)
        self.fits.setdefault(name, fit)
        return name

    def _resized_start(self, name: str, study: Study, point: Point, start: Start) -> Start:
        """Return the start of a point whose size belongs to it; add its fit, one for each size."""
        if start.training is None or study.sizes is None:
            raise UserError(
                f"studies.{name}: {study.sizes and study.sizes.key} needs `from: training`"
            )
        before = self.config.training[start.training]
        own = f"{name}/from_{start.training}_{point.size}"
        changes = {study.sizes.key.removeprefix(OF_START): point.size}
        where = f"studies.{name} (from {start.training})"
        fit = self._fit(own, before, before.start, changes, where)
        return start.model_copy(update={"training": self._share(fit, vectorised=False)})

    def _fit(
        self,
        name: str,
        training: Training,
        start: Start | None,
        changes: Mapping[str, Any],
        where: str,
    ) -> Fit:
        overrides = dict(training.set)
        if training.seed is not None:
            overrides["seed"] = training.seed
        overrides |= changes
        if start is not None:
            overrides |= {"start.parts": start.parts, "start.frozen": start.frozen}
            if start.checkpoint is not None:
                overrides["start.checkpoint"] = str(ROOT / start.checkpoint)
        try:
            settings = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
            config = load_config(ROOT / training.config, settings)
            _check(config, self.config, training, start)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        before = None if start is None else start.training
        return Fit(name, training.dataset, config, before, training.flat_sampling)


def _content(fit: Fit, vectorised: bool) -> tuple[object, ...]:
    """Return all that a network depends on; in an ensemble some numbers are drawn otherwise."""
    return fit.dataset, fit.config.model_dump_json(), fit.start, fit.flat_sampling, vectorised


def _check_metric(key: str, metric: str, fit: FitConfig) -> None:
    """Refuse a metric that no evaluation of the task can hold."""
    if metric in fit.numbers:
        return
    nearest = get_close_matches(metric, fit.numbers, 1)
    known = ", ".join(fit.numbers) or "nothing that its configuration names"
    raise UserError(
        f"{key} is {metric}, which the task {fit.task} does not measure; "
        + (f"the nearest name is {nearest[0]}" if nearest else f"it measures {known}")
    )


def _start(base: Training, way: Way) -> Start | None:
    start = way.start if "start" in way.model_fields_set else base.start
    if start is not None and way.frozen is not None:
        start = start.model_copy(update={"frozen": way.frozen})
    return start


def _check_starts(name: str, study: Study, base: Training) -> None:
    """Refuse what speaks of a start where there is none, and would change nothing."""
    starts = {way: _start(base, content) for way, content in study.all_ways().items()}
    for way, content in study.all_ways().items():
        if content.frozen and starts[way] is None:
            raise UserError(
                f"studies.{name}.ways.{way}.frozen: it begins with nothing that could stay as it "
                "is: name that with `from`"
            )
    if (
        study.sizes is not None
        and study.sizes.key.startswith(OF_START)
        and not any(starts.values())
    ):
        raise UserError(
            f"studies.{name}.sizes.key is {study.sizes.key}: no way begins with another training"
        )


def _check(fit: FitConfig, config: Config, training: Training, start: Start | None) -> None:
    """Refuse a training configuration that its dataset, or what it begins with, does not suit."""
    if start is None and (fit.start.parts or fit.start.frozen or fit.start.checkpoint):
        raise UserError(f"{training.config} begins with another network: name it with `from`")
    holds = config.products[training.dataset]
    if holds not in fit.products:
        raise UserError(
            f"the task {fit.task} reads {' or '.join(fit.products)}, and the dataset "
            f"{training.dataset} holds {holds}"
        )
    if training.flat_sampling and not fit.has_sampling_weights:
        raise UserError(f"flat_sampling: the task {fit.task} has none as it is configured")
    dataset = config.datasets.get(training.dataset)
    if dataset is None:
        return
    product = get_product(holds)
    for name in dataset.parts:
        columns = {column.name for column in product.columns(dataset.product_options(name))}
        fit.check_dataset(columns, {p for part in dataset.parts.values() for p in part.processes})
