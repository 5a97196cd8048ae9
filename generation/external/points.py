"""Which events of the hard process a batch takes.

MadGraph integrates a parameter point for minutes and then makes events in milliseconds, so it runs
once for each point and its events serve all batches that draw this point. Batches of a point are
ranked by their number: rank r takes the r-th slice of the point's events, so that no event is used
twice and every batch finds the same events whichever job simulates it.
"""

import io
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generation.external.seeds import MOST_PROCESSES, Use, point_stream, program_seed
from generation.process import FOLDER, Geometric, Process, Range, load_process
from generation.seeds import BATCHES
from provenance.errors import UserError
from provenance.files import atomic_output

PROCESS_CARD = "madgraph_process.dat"
RUN_CARD = "madgraph_run.dat"
# What the run card takes beside parameters of the process.
RUN_PARAMETERS = {"events", "seed"}


def has_hard_process(process: str) -> bool:
    """Say whether MadGraph makes the hard process; otherwise Pythia does."""
    return (FOLDER / process / PROCESS_CARD).is_file()


@cache
def point_grid(name: str) -> list[dict[str, float]]:
    """Return all parameter points of the hard process, in a fixed order.

    Its parameters are those that the run card names; what only the decays depend on, a point of
    `process.yaml` has in addition.

    Raises
    ------
    UserError
        When the run card names a parameter that does not lie on a grid.
    """
    process = load_process(name)
    card = _run_card_template(name)
    keys = {key for key in card.get_identifiers() if key not in RUN_PARAMETERS}
    grids = {
        key: parameter.values()
        for key, parameter in process.point.items()
        if key in keys and isinstance(parameter, Range | Geometric)
    }
    for key in sorted(keys - grids.keys()):
        raise UserError(f"{process.name}/{RUN_CARD}: ${key} is not on a grid in process.yaml")
    return [dict(zip(grids, point, strict=True)) for point in itertools.product(*grids.values())]


def point_of_batch(process: Process, dataset_seed: int, batch: int) -> int:
    """Return the point that a batch draws, as an index into `point_grid`."""
    drawn = process.draw_point(point_stream(dataset_seed, process, batch))
    index = _point_index(process.name)
    names = point_grid(process.name)[0]
    return index[tuple(drawn[name] for name in names)]


@cache
def _point_index(name: str) -> dict[tuple[object, ...], int]:
    return {tuple(point.values()): i for i, point in enumerate(point_grid(name))}


def run_seed(process: Process, dataset_seed: int, place: int, point: int, run: int) -> int:
    """Return the seed of a MadGraph run, an injective map of its arguments into 1 to 900,000,000.

    Raises
    ------
    UserError
        When a point has more runs than there are seeds for.
    """
    runs = BATCHES // len(point_grid(process.name))
    if not 0 <= run < runs:
        raise UserError(f"{process.name}: run {run} of a point; at most {runs} runs have a seed")
    return program_seed(dataset_seed, place, point * runs + run, Use.POINT)


@dataclass(frozen=True)
class PointPlan:
    """The slice of hard-process events that belongs to each batch of a dataset.

    Attributes
    ----------
    process, place, seed, events_per_batch
        What the plan is for; `place` is the process' among those of the dataset.
    first_run
        Number of the first run of each point: plans of one process and seed that share no run
        share no event.
    batch
        (n,) int64, ascending.
    point
        (n,) int32, index into `point_grid`.
    rank
        (n,) int32, number of the batch among those with this point.
    """

    process: str
    place: int
    seed: int
    events_per_batch: int
    first_run: int
    batch: NDArray[np.int64]
    point: NDArray[np.int32]
    rank: NDArray[np.int32]

    @classmethod
    def of_batches(
        cls,
        name: str,
        place: int,
        seed: int,
        events_per_batch: int,
        batches: Iterable[int],
        first_run: int = 0,
    ) -> "PointPlan":
        """Draw the point of each batch and rank the batches of each point.

        Raises
        ------
        UserError
            When there is no batch, a number is out of range, or MadGraph has no part in the
            process.
        """
        process = load_process(name)
        if not has_hard_process(name):
            raise UserError(f"process {name}: MadGraph has no part in it, so there is no plan")
        if events_per_batch < 1:
            raise UserError(f"{events_per_batch} events per batch asked for; at least 1 is needed")
        batches = list(itertools.islice(batches, BATCHES + 1))
        if not 0 < len(batches) <= BATCHES:
            raise UserError(
                f"{len(batches) or 'no'} batches asked for; 1 to {BATCHES} are possible"
            )
        if not 0 <= place < MOST_PROCESSES:
            raise UserError(
                f"place {place} is out of range: 0 to {MOST_PROCESSES - 1} are possible"
            )
        batch = np.unique(np.fromiter(batches, np.int64))
        points = (point_of_batch(process, seed, number) for number in batch.tolist())
        point = np.fromiter(points, np.int32, len(batch))
        ranks = _ranks(point)
        return cls(name, place, seed, events_per_batch, first_run, batch, point, ranks)

    @property
    def demand(self) -> NDArray[np.int64]:
        """Return how many batches each point serves, (n_points,)."""
        return np.bincount(self.point, minlength=len(point_grid(self.process)))

    def slice_of(self, batch: int) -> tuple[int, int] | None:
        """Return the point and the rank of a batch; None when it is not in the plan."""
        i = int(np.searchsorted(self.batch, batch))
        if i == len(self.batch) or self.batch[i] != batch:
            return None
        return int(self.point[i]), int(self.rank[i])

    def write(self, path: Path) -> None:
        """Write the plan as a NumPy archive whose bytes depend on its content alone."""
        settings = {
            "process": self.process, "place": self.place, "events": self.events_per_batch,
            "seed": np.uint64(self.seed), "first_run": self.first_run,
        }  # fmt: skip
        arrays: dict[str, Any] = {key: np.asarray(value) for key, value in settings.items()} | {
            "batch": self.batch, "point": self.point, "rank": self.rank,
        }  # fmt: skip
        with atomic_output(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def open(cls, path: Path) -> "PointPlan":
        """Read a plan.

        Raises
        ------
        UserError
            When the file is missing or is not a plan.
        """
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                return cls(
                    str(arrays["process"]), int(arrays["place"]), int(arrays["seed"]),
                    int(arrays["events"]), int(arrays["first_run"]),
                    arrays["batch"], arrays["point"], arrays["rank"],
                )  # fmt: skip
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except Exception as error:  # damage is met with by a dozen types
            raise UserError(f"{path}: not a plan of hard processes ({error})") from None


def _ranks(point: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return how many earlier entries have the same value, for each entry."""
    order = np.argsort(point, kind="stable")
    starts = np.r_[0, np.flatnonzero(np.diff(point[order])) + 1] if len(point) else []
    first = np.repeat(starts, np.diff(np.r_[starts, len(point)]).astype(int))
    ranks = np.empty(len(point), np.int32)
    ranks[order] = np.arange(len(point)) - first
    return ranks


def run_card(process: Process, point: Mapping[str, float], events: int, seed: int) -> str:
    """Return MadGraph's commands that set up one run."""
    numbers = {name: f"{value:g}" for name, value in point.items()}
    return _run_card_template(process.name).substitute(numbers, events=events, seed=seed)


def _run_card_template(name: str) -> Template:
    """Return the run card of a process without its comments."""
    lines = (FOLDER / name / RUN_CARD).read_text(encoding="utf-8").splitlines()
    return Template("".join(f"{line}\n" for line in lines if not line.startswith("#")))
