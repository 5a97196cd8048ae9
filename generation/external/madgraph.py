"""MadGraph5_aMC@NLO: the process directory, and its events at many parameter points."""

import re
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from generation.external.lhe import LheFile
from generation.external.points import (
    PROCESS_CARD,
    PointPlan,
    point_grid,
    run_card,
    run_seed,
)
from generation.external.programs import MADGRAPH, program_error, run_program
from generation.lhe_check import check_lhe
from generation.process import FOLDER, Process, load_process
from provenance.errors import UserError
from provenance.files import atomic_output, sha256
from provenance.ledger import write_ledger

DIRECTORY = "process"
# MadGraph copies the model that it used into a process directory.
MODEL_COPY = "bin/internal/ufomodel"
SETTINGS = "set automatic_html_opening False --no_save\nset run_mode 0 --no_save\n"
EVENT_FILE = "unweighted_events.lhe.gz"
# MadGraph sometimes ends a little below the events asked for.
MARGIN = 1.02
# Members of an archive carry no time, so that the same events are the same bytes.
NO_TIME = (1980, 1, 1, 0, 0, 0)


def make_process_directory(
    name: str, models: Mapping[str, Path], scratch: Path, output: Path
) -> None:
    """Let MadGraph write the code of a process, once for all its runs.

    Parameters
    ----------
    name
        The process; its commands are in `madgraph_process.dat`.
    models
        Archives of UFO models by name, for models that MadGraph does not bring with it.
    scratch
        Where to work.
    output
        The directory as a gzipped tar archive.

    Raises
    ------
    UserError
        When MadGraph fails or a model archive holds no model of that name.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=scratch, prefix=f"{name}-") as work:
        folder = Path(work)
        unpacked = {model: _unpack_model(path, model, folder) for model, path in models.items()}
        commands = (FOLDER / name / PROCESS_CARD).read_text(encoding="utf-8")
        commands = SETTINGS + _with_models(commands, unpacked) + f"output {DIRECTORY}\n"
        (folder / "commands.mg5").write_text(commands)
        run_program([MADGRAPH, "commands.mg5"], folder)
        # MadGraph reports many failures with exit code 0.
        if not (folder / DIRECTORY / "Cards" / "run_card.dat").is_file():
            raise program_error(
                MADGRAPH, folder / f"{MADGRAPH}.log", f"wrote no process directory for {name}"
            )
        model = _tree_sha256(folder / DIRECTORY / MODEL_COPY)
        with (
            atomic_output(output) as temporary,
            tarfile.open(temporary, "w:gz", compresslevel=1) as archive,
        ):
            archive.add(folder / DIRECTORY, DIRECTORY)
    write_ledger(output, started, process=name, commands=commands.splitlines(), model_sha256=model)


def _with_models(commands: str, models: Mapping[str, Path]) -> str:
    """Replace `import model NAME[-restriction]` by the folder of a model that was fetched."""
    for name, folder in models.items():
        pattern = rf"^import model {re.escape(name)}(?=$|-)"
        commands = re.sub(pattern, f"import model {folder}", commands, flags=re.M)
    return commands


def _unpack_model(archive: Path, name: str, folder: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "models", filter="data")
    for found in (folder / "models").rglob("particles.py"):
        if found.parent.name in (name, f"{name}_UFO"):
            return found.parent
    raise UserError(f"{archive}: holds no UFO model {name}")


def _tree_sha256(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): sha256(file)
        for file in sorted(folder.rglob("*.py"))
        if file.is_file()
    }


@dataclass(frozen=True)
class Run:
    """A MadGraph run: some of the batches of one parameter point."""

    point: int
    run: int
    first_rank: int
    batches: int
    seed: int

    @property
    def name(self) -> str:
        """Return MadGraph's name of the run."""
        return f"point{self.point:05d}_{self.run}"


def plan_runs(plan: PointPlan, block: int, blocks: int, events_per_run: int) -> list[Run]:
    """Return the runs of one job: every `blocks`-th point, in runs of at most `events_per_run`."""
    process = load_process(plan.process)
    most = max(1, events_per_run // plan.events_per_batch)
    runs = []
    for point, demand in enumerate(plan.demand.tolist()):
        if point % blocks != block:
            continue
        for run, first in enumerate(range(0, demand, most)):
            seed = run_seed(process, plan.seed, point, run)
            runs.append(Run(point, run, first, min(most, demand - first), seed))
    return runs


def make_hard_process(
    plan: PointPlan,
    directory: Path,
    block: int,
    blocks: int,
    events_per_run: int,
    version: str,
    scratch: Path,
    output: Path,
) -> None:
    """Run MadGraph at the points of one job and store their events, a member for each batch.

    Parameters
    ----------
    plan
        Which batches need which point.
    directory
        Archive of the process directory.
    block, blocks
        Number of this job and how many there are.
    events_per_run
        Largest number of events of a run; a point that needs more has several.
    version
        The version of MadGraph that the configuration promises; empty to take any.
    scratch
        Where to work.
    output
        Zip archive with members `<point>/<rank>.lhe` and the banner of each run.

    Raises
    ------
    UserError
        When MadGraph fails, has another version, or its events are not those asked for.
    """
    started = time.perf_counter()
    process = load_process(plan.process)
    runs = plan_runs(plan, block, blocks, events_per_run)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=f"{process.name}-") as work:
        folder = Path(work)
        if runs:
            with tarfile.open(directory) as archive:
                archive.extractall(folder, filter="tar")
            (folder / "commands.mg5").write_text("".join(_commands(process, plan, runs)))
            run_program([MADGRAPH, "commands.mg5"], folder)
        with (
            atomic_output(output) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            entries = [_store(archive, folder, process, plan, run, version) for run in runs]
    write_ledger(
        output, started, process=process.name, block=block, blocks=blocks,
        events_per_batch=plan.events_per_batch,
        batches=sum(run.batches for run in runs), runs=entries,
    )  # fmt: skip


def _commands(process: Process, plan: PointPlan, runs: list[Run]) -> Iterator[str]:
    """Yield MadGraph's commands: it starts once and launches run after run."""
    yield SETTINGS
    for run in runs:
        events = round(MARGIN * run.batches * plan.events_per_batch)
        card = run_card(process, point_grid(process.name)[run.point], events, run.seed)
        yield f"launch {DIRECTORY} -n {run.name}\nshower=OFF\ndone\n{card}done\n"


def _store(
    archive: zipfile.ZipFile,
    folder: Path,
    process: Process,
    plan: PointPlan,
    run: Run,
    version: str,
) -> dict:
    """Check the events of a run, store them by batch, and return the run's entry in the ledger."""
    file = folder / DIRECTORY / "Events" / run.name / EVENT_FILE
    point = point_grid(process.name)[run.point]
    if not file.is_file():
        raise program_error(
            MADGRAPH, folder / f"{MADGRAPH}.log", f"made no events of {process.name} at {point}"
        )
    lhe = LheFile.read(file)
    if version and lhe.madgraph_version != version:
        raise UserError(
            f"MadGraph is version {lhe.madgraph_version or 'unknown'}, but the configuration's "
            f"generation.containers.madgraph is {version}"
        )
    wanted = run.batches * plan.events_per_batch
    if len(lhe.events) < wanted:
        raise UserError(
            f"MadGraph made {len(lhe.events)} of {wanted} events of {process.name} at {point}"
        )
    _check_point(file, process, point)
    _add(archive, f"{run.name}.banner", lhe.banner)
    for i in range(run.batches):
        text = lhe.slice(i * plan.events_per_batch, plan.events_per_batch)
        _add(archive, member(run.point, run.first_rank + i), text)
    file.unlink()
    return asdict(run) | {"parameters": point, "madgraph": lhe.madgraph_version}


def _check_point(file: Path, process: Process, point: Mapping[str, float]) -> None:
    """Check every event of a file, and that it was made at the parameter point asked for."""
    found = check_lhe(file, process).point
    assert process.lhe is not None  # or `check_lhe` had refused
    for name, value in point.items():
        # A cut is known by the softest event alone.
        wrong = found[name] < value if process.lhe.point[name].pt_min_of else found[name] != value
        if wrong:
            raise UserError(f"{file}: {name} is {found[name]:g} where {value:g} was asked for")


def member(point: int, rank: int) -> str:
    """Return where the events of a batch lie in an archive of hard-process events."""
    return f"{point:05d}/{rank:06d}.lhe"


def _add(archive: zipfile.ZipFile, name: str, text: str) -> None:
    archive.writestr(zipfile.ZipInfo(name, NO_TIME), text, zipfile.ZIP_DEFLATED, 6)
