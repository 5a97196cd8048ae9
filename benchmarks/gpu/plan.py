"""Which rows there are, and which of them share a process."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu.parquet import Parquet
from benchmarks.gpu.settings import Row, Settings
from benchmarks.gpu.steps import Steps, agreement, peaks
from benchmarks.networks import Network

WEAVER = "weaver"


@dataclass(frozen=True)
class Planned:
    """A row: preparing it gives what measures it."""

    names: dict[str, Any]
    prepare: Callable[[], Callable[[], Row]]
    # Whether it is prepared beside others: what takes long and keeps a processor busy, no GPU.
    early: bool = True

    @property
    def label(self) -> str:
        """Its name."""
        return " ".join(str(value) for value in self.names.values())


@dataclass(frozen=True)
class Unit:
    """Rows that one process measures."""

    what: str  # peaks, loader, Parquet or a network
    precision: str = "bf16"
    batch: int = 0  # of Parquet

    def rows(self, settings: Settings, folder: Path, turn: Callable[[], None]) -> list[Planned]:
        """Return its rows.

        Parameters
        ----------
        settings
            Where.
        folder
            For files that they need.
        turn
            What is measured while it is prepared calls it, and may have to wait.
        """
        if self.what == "peaks":
            return [Planned({"what": "peaks"}, partial(partial, peaks, settings), early=False)]
        if self.what == "loader":
            return list(_loader_rows(settings, folder))
        if self.what == "Parquet":
            return [_parquet_row(settings, folder, self.batch, turn)]
        weaver = self.what == WEAVER
        network = settings.weaver() if weaver else settings.entries()[self.what]
        return list(_network_rows(settings, self.what, network, self.precision))


def units(settings: Settings, with_weaver: bool) -> list[Unit]:
    """Return all units, in the order in which they are measured."""
    sizes = settings.batch_sizes(settings.entries()["sophon"])
    names = [*settings.entries(), *([WEAVER] if with_weaver else [])]
    return [
        Unit("peaks"),
        Unit("loader"),
        *(Unit("Parquet", batch=size) for size in sizes[: 1 if settings.quick else 2]),
        *(Unit(name, precision) for precision in ("bf16", "fp32") for name in names),
    ]


def _network_rows(
    settings: Settings, name: str, network: Network, precision: str
) -> Iterator[Planned]:
    def names(what: str, **more: Any) -> dict[str, Any]:
        return {"network": name, "what": what, "precision": precision, **more}

    if precision in network.equal:

        def compare() -> Callable[[], Row]:
            row = agreement(settings, network, precision)
            return lambda: row

        yield Planned(names("agreement"), compare)
    on_gpu = settings.device.type == "cuda"
    for training in (True, False):
        compiles = network.compile is not None
        for compiled in (True, False):
            captured = training and network.fixed_shapes is not None
            if compiled and not (on_gpu and (compiles or captured)):
                continue
            steps = Steps(settings, network, training, compiled, precision)
            early = compiled and compiles
            for batch in settings.batch_sizes(network):
                yield Planned(
                    names(steps.what, compiled=compiled, batch=batch),
                    partial(steps.prepare, batch),
                    early,
                )
            if precision == "bf16" and (compiled or name == "sophon"):
                kind = "compiled" if compiled else "eager"
                file = f"profile-{name}-{steps.what.split()[0]}-{kind}.txt"
                yield Planned(
                    names(f"profile of {steps.what}", compiled=compiled),
                    partial(partial, steps.profile, file),
                    early=False,
                )


def _loader_rows(settings: Settings, folder: Path) -> Iterator[Planned]:
    batch, _ = settings.batch_sizes(settings.entries()["sophon"])
    made: list[Parquet] = []

    def prepare(workers: int) -> Callable[[], Row]:
        if not made:
            made.append(Parquet(settings, folder))
        return partial(made[0].loader, batch, workers)

    for workers in (0,) if settings.quick else (1, 8):
        names = {"what": "loader", "batch": batch, "workers": workers}
        yield Planned(names, partial(prepare, workers))


def _parquet_row(settings: Settings, folder: Path, batch: int, turn: Callable[[], None]) -> Planned:
    workers = 0 if settings.quick else 8
    names = {
        "network": "sophon", "what": "training from Parquet", "precision": "bf16", "batch": batch,
        "workers": workers,
    }  # fmt: skip

    def measure() -> Callable[[], Row]:
        row = Parquet(settings, folder).training(batch, workers, turn)
        return lambda: row

    return Planned(names, measure)
