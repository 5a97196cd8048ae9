"""MadGraph5_aMC@NLO: the process directory, and its events at many parameter points."""

import os
import re
import shutil
import tarfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from generation.external.archives import unpack
from generation.external.lhe import LheFile
from generation.external.parton_densities import lhapdf_environment, sets_used
from generation.external.points import (
    PROCESS_CARD,
    PointPlan,
    point_grid,
    point_of_batch,
    run_card,
    run_seed,
)
from generation.external.programs import MADGRAPH, ProgramError, program_error, run_program
from generation.external.seeds import Use, program_seed
from generation.lhe_check import check_lhe
from generation.process import FOLDER, Process, load_process
from provenance.errors import UserError
from provenance.files import atomic_output, sha256
from provenance.ledger import write_ledger
from provenance.scratch import Scratch

DIRECTORY = "process"
# MadGraph copies the model that it used into a process directory.
MODEL_COPY = "bin/internal/ufomodel"
# The SHA-256 of the files that hold the physics of each model, by name.
KNOWN_MODELS = Path(__file__).parent / "models"
SETTINGS = (
    "set automatic_html_opening False --no_save\n"
    "set auto_update 0 --no_save\n"
    # heft and 2HDM were written for Python 2.
    "set auto_convert_model True --no_save\n"
    "set run_mode 0 --no_save\n"
)
# MadGraph would compile each subprocess anew for every run, to leave out helicities that do not
# count; amplitudes with so few legs have none worth a compilation.
OUTPUT_OPTIONS = "--hel_recycling=False"
EVENT_FILE = "unweighted_events.lhe.gz"
# A short run at the first point makes MadGraph compile, once for all jobs.
COMPILING_RUN, COMPILING_EVENTS = "compile", 10
# MadGraph sometimes ends a little below the events asked for.
MARGIN, LEAST_MARGIN = 0.02, 2
# One run that fails takes the later ones of its MadGraph with it; they are launched again.
TRIES = 3
# Members of an archive carry no time, so that the same events are the same bytes.
NO_TIME = (1980, 1, 1, 0, 0, 0)


def make_process_directory(
    name: str,
    models: Mapping[str, Path],
    parton_densities: Path | None,
    scratch: Path,
    output: Path,
) -> None:
    """Let MadGraph write the code of a process and compile it, once for all its runs.

    Parameters
    ----------
    name
        The process; its commands are in `madgraph_process.dat`.
    models
        Archives of UFO models by name, for models that MadGraph does not bring with it.
    parton_densities
        Archive of the set that the run card asks for; None when LHAPDF has it.
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
    if not (FOLDER / name / PROCESS_CARD).is_file():
        raise UserError(f"process {name!r}: MadGraph has no part in it, or there is none")
    for imported, path in models.items():
        if not path.is_file():
            raise UserError(f"model {imported}: no archive {path}; NAME=ARCHIVE is needed")
    with Scratch(name, scratch) as work:
        folder = Path(work).resolve()
        unpacked = {model: _unpack_model(path, model, folder) for model, path in models.items()}
        commands = (FOLDER / name / PROCESS_CARD).read_text(encoding="utf-8")
        commands = SETTINGS + _with_models(commands, unpacked)
        commands += f"output {DIRECTORY} {OUTPUT_OPTIONS}\n"
        (folder / "commands.mg5").write_text(commands, encoding="utf-8")
        run_program([MADGRAPH, "commands.mg5"], folder)
        # MadGraph reports many failures with exit code 0.
        if not (folder / DIRECTORY / "Cards" / "run_card.dat").is_file():
            raise program_error(MADGRAPH, folder, f"wrote no process directory for {name}")
        runs = MadGraphRuns(load_process(name), folder, parton_densities)
        runs.launch([Launch(COMPILING_RUN, 0, COMPILING_EVENTS, seed=1)])
        runs.events(COMPILING_RUN, 0, 1)
        for trace in ("Events", "HTML"):
            shutil.rmtree(folder / DIRECTORY / trace / COMPILING_RUN, ignore_errors=True)
        make_links_relative(folder / DIRECTORY)
        model = _tree_sha256(folder / DIRECTORY / MODEL_COPY)
        with (
            atomic_output(output) as temporary,
            tarfile.open(temporary, "w:gz", compresslevel=1) as archive,
        ):
            archive.add(folder / DIRECTORY, DIRECTORY)
    write_ledger(
        output, started, process=name, commands=commands.splitlines(), model_sha256=model,
        model_differs_in=_differences(commands, model),
    )  # fmt: skip


def make_links_relative(folder: Path) -> None:
    """Let the links inside a folder name their targets there so that the folder can be moved.

    MadGraph links with whole paths, `matrix1_optim.f` to `matrix1_orig.f` for one.
    """
    for link in folder.rglob("*"):
        if not link.is_symlink():
            continue
        target = link.readlink()
        if target.is_absolute() and target.is_relative_to(folder):
            link.unlink()
            link.symlink_to(os.path.relpath(target, link.parent))


def _with_models(commands: str, models: Mapping[str, Path]) -> str:
    """Replace `import model NAME[-restriction]` by the folder of a model that was fetched."""
    for name, folder in models.items():
        pattern = rf"^import model {re.escape(name)}(?=$|-)"
        commands = re.sub(pattern, f"import model {folder}", commands, flags=re.M)
    return commands


def _unpack_model(archive: Path, name: str, folder: Path) -> Path:
    unpack(archive, folder / "models")
    for found in (folder / "models").rglob("particles.py"):
        if found.parent.name in (name, f"{name}_UFO"):
            return found.parent
    raise UserError(f"{archive}: holds no UFO model {name}")


def _tree_sha256(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): sha256(file)
        for file in sorted([*folder.rglob("*.py"), *folder.rglob("restrict_*.dat")])
        if file.is_file()
    }


def _differences(commands: str, found: Mapping[str, str]) -> list[str] | None:
    """Return the files in which a model differs from the known one of its name, if there is one."""
    imported = re.search(r"^import model (?:\S*/)?(\w+)", commands, re.M)
    known = KNOWN_MODELS / f"{imported[1] if imported else 'sm'}.sha256"
    if not known.is_file():
        return None
    pairs = (line.split() for line in known.read_text(encoding="utf-8").splitlines())
    differences = [name for digest, name in pairs if found.get(name) != digest]
    if differences:
        print(  # noqa: T201
            f"note: the model {known.stem} differs from that of the published dataset in "
            f"{', '.join(differences)}",
            flush=True,
        )
    return differences


@dataclass(frozen=True)
class Launch:
    """A run for MadGraph: its name, where on the grid of points, how many events, its seed."""

    name: str
    point: int
    events: int
    seed: int


class MadGraphRuns:
    """Runs of a process directory that lies, unpacked, in a folder of its own.

    Parameters
    ----------
    process
        The process.
    folder
        Holds the directory as `process`; MadGraph runs here.
    parton_densities
        Archive of the set that the run card asks for; None when LHAPDF has it.
    """

    def __init__(self, process: Process, folder: Path, parton_densities: Path | None):
        self.process = process
        self.folder = folder
        self._environment = lhapdf_environment(parton_densities, folder)

    @classmethod
    def unpack(
        cls, process: Process, directory: Path, folder: Path, parton_densities: Path | None
    ) -> "MadGraphRuns":
        """Unpack the archive that `make_process_directory` wrote."""
        unpack(directory, folder, own=True)
        return cls(process, folder, parton_densities)

    def launch(self, launches: Sequence[Launch]) -> int:
        """Start MadGraph once and launch run after run; again for those that left no events.

        Returns
        -------
        int
            How many times MadGraph was started.

        Raises
        ------
        UserError
            When MadGraph cannot be started; whether there are events, `events` tells.
        """
        left = list(launches)
        for start in range(1, TRIES + 1):
            try:
                self._launch(left)
            except ProgramError:
                if start == TRIES:
                    raise
            left = [run for run in left if not self._event_file(run.name).is_file()]
            if not left:
                break
            # Whatever failed goes last, so that it cannot keep the others from their turn again.
            left = [*left[1:], left[0]]
        return start

    def _launch(self, launches: Sequence[Launch]) -> None:
        commands = [SETTINGS]
        for run in launches:
            point = point_grid(self.process.name)[run.point]
            card = run_card(self.process, point, run.events, run.seed)
            commands.append(f"launch {DIRECTORY} -n {run.name}\nshower=OFF\ndone\n{card}done\n")
        (self.folder / "commands.mg5").write_text("".join(commands))
        run_program([MADGRAPH, "commands.mg5"], self.folder, self._environment)

    def events(self, name: str, point: int, wanted: int, version: str = "") -> LheFile:
        """Return the events of a run, checked: enough of them, of this process, at this point.

        Parameters
        ----------
        name, point
            Name of the run, and its place on the grid.
        wanted
            Events needed.
        version
            The version that MadGraph must have; empty to take any.

        Raises
        ------
        UserError
            When there are no events, or others than those asked for.
        """
        file = self._event_file(name)
        values = point_grid(self.process.name)[point]
        if not file.is_file():
            problem = f"made no events of {self.process.name} at {values}"
            raise program_error(MADGRAPH, self.folder, problem)
        lhe = LheFile.read(file)
        if version and lhe.madgraph_version != version:
            raise UserError(
                f"MadGraph is version {lhe.madgraph_version or 'unknown'}, but the configuration's "
                f"generation.containers.madgraph is {version}"
            )
        if len(lhe.events) < wanted:
            raise UserError(
                f"MadGraph made {len(lhe.events)} of {wanted} events of {self.process.name} at "
                f"{values}"
            )
        _check_point(file, self.process, values)
        file.unlink()
        return lhe

    def _event_file(self, name: str) -> Path:
        return self.folder / DIRECTORY / "Events" / name / EVENT_FILE


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
            seed = run_seed(process, plan.seed, plan.place, point, plan.first_run + run)
            runs.append(Run(point, run, first, min(most, demand - first), seed))
    return runs


def make_hard_process(
    plan: PointPlan,
    directory: Path,
    block: int,
    blocks: int,
    events_per_run: int,
    version: str,
    parton_densities: Path | None,
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
    parton_densities
        Archive of the set that the run card asks for; None when LHAPDF has it.
    scratch
        Where to work.
    output
        A zip archive with members `<point>/<rank>.lhe` and the banner of each run.

    Raises
    ------
    UserError
        When MadGraph fails, has another version, or its events are not those asked for.
    """
    started = time.perf_counter()
    process = load_process(plan.process)
    runs = plan_runs(plan, block, blocks, events_per_run)
    sets: dict[str, dict[str, str]] = {}
    starts = 0
    with Scratch(process.name, scratch) as work:
        folder = Path(work).resolve()
        with (
            atomic_output(output) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            entries = []
            if runs:
                madgraph = MadGraphRuns.unpack(process, directory, folder, parton_densities)
                starts = madgraph.launch([_launch(run, plan) for run in runs])
                entries = [_store(archive, madgraph, plan, run, version) for run in runs]
                sets = sets_used(folder / DIRECTORY)
    write_ledger(
        output, started, process=process.name, block=block, blocks=blocks,
        events_per_batch=plan.events_per_batch, process_directory_sha256=sha256(directory),
        parton_densities_sha256=sets, batches=sum(run.batches for run in runs), starts=starts,
        runs=entries,
    )  # fmt: skip


def _launch(run: Run, plan: PointPlan) -> Launch:
    events = _with_margin(run.batches * plan.events_per_batch)
    return Launch(run.name, run.point, events, run.seed)


def _with_margin(events: int) -> int:
    return events + max(LEAST_MARGIN, round(MARGIN * events))


def _store(
    archive: zipfile.ZipFile, madgraph: MadGraphRuns, plan: PointPlan, run: Run, version: str
) -> dict:
    """Store the events of a run by batch; return its entry in the ledger."""
    lhe = madgraph.events(run.name, run.point, run.batches * plan.events_per_batch, version)
    _add(archive, f"{run.name}.banner", lhe.banner)
    for i in range(run.batches):
        text = lhe.slice(i * plan.events_per_batch, plan.events_per_batch)
        _add(archive, member(run.point, run.first_rank + i), text)
    point = point_grid(plan.process)[run.point]
    return asdict(run) | {"parameters": point, "madgraph": lhe.madgraph_version}


def hard_process_of_batch(
    madgraph: MadGraphRuns, dataset_seed: int, place: int, batch: int, events: int, version: str
) -> str:
    """Make the events of one batch that no plan foresaw; return them as a file of their own.

    The batch draws its point as every other does, and its run has a seed of its own, so that the
    events depend on the batch alone.

    Parameters
    ----------
    madgraph
        The process directory.
    dataset_seed, place, batch
        Dataset seed, the process' place among the dataset's, and the batch's number.
    events
        Events of a batch.
    version
        The version that MadGraph must have; empty to take any.

    Raises
    ------
    UserError
        When MadGraph fails or its events are not those asked for.
    """
    point = point_of_batch(madgraph.process, dataset_seed, batch)
    seed = program_seed(dataset_seed, place, batch, Use.BATCH_BEYOND_PLAN)
    name = f"batch{batch:07d}"
    madgraph.launch([Launch(name, point, _with_margin(events), seed)])
    return madgraph.events(name, point, events, version).slice(0, events)


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
