"""The library of hard-process events: archives of many points, one index over them."""

import os
import zipfile
from pathlib import Path

from generation.external.madgraph import MadGraphRuns, hard_process_of_batch, member
from generation.external.points import PointPlan
from generation.process import load_process
from provenance.errors import UserError
from provenance.files import read_json, sha256, write_json
from provenance.ledger import ledger_path

FORMAT = 2


def write_library(
    plan_file: Path, directory: Path, archives: list[Path], version: str, output: Path
) -> None:
    """Check that the archives hold the events of every batch of a plan; write their index.

    Parameters
    ----------
    plan_file
        The plan.
    directory
        Archive of the process directory, which makes events of batches beyond the plan.
    archives
        One for each block, in order. These and the plan lie in one folder.
    version
        The version that MadGraph must have; empty to take any.
    output
        The index, in the same folder.

    Raises
    ------
    UserError
        When an archive is of another plan or process directory, was changed since it was made, or
        lacks events.
    """
    plan = PointPlan.open(plan_file)
    directory_sha256 = sha256(directory)
    files = []
    for block, path in enumerate(archives):
        ledger = read_json(ledger_path(path))
        if (ledger["process"], ledger["block"], ledger["blocks"]) != (
            plan.process, block, len(archives),
        ):  # fmt: skip
            raise UserError(f"{path}: is not block {block} of {len(archives)} of {plan.process}")
        if ledger["process_directory_sha256"] != directory_sha256:
            raise UserError(f"{path}: was made with another {directory.name}; remove it")
        if sha256(path) != ledger["sha256"]:
            raise UserError(f"{path}: is not the file that its ledger describes; remove it")
        files.append({"path": path.name, "sha256": ledger["sha256"], "batches": ledger["batches"]})
    found = sum(file["batches"] for file in files)
    if found != len(plan.batch):
        raise UserError(
            f"{output}: the archives hold {found} of the {len(plan.batch)} batches planned"
        )
    write_json(
        output,
        {
            "format": FORMAT,
            "process": plan.process,
            "seed": plan.seed,
            "events_per_batch": plan.events_per_batch,
            "madgraph": version,
            "plan": plan_file.name,
            "plan_sha256": sha256(plan_file),
            "directory": os.path.relpath(directory, output.parent),
            "directory_sha256": directory_sha256,
            "files": files,
        },
    )


class HardProcessLibrary:
    """Hard-process events by batch: those of the plan from the archives, others from MadGraph.

    Parameters
    ----------
    index
        The index that `write_library` wrote.
    scratch
        Where MadGraph works when a batch is not in the plan.
    parton_densities
        Archive of the set that the run card asks for; None when LHAPDF has it.
    """

    def __init__(self, index: Path, scratch: Path, parton_densities: Path | None = None):
        content = read_json(index)
        self._folder = index.parent
        self._files = [file["path"] for file in content["files"]]
        self._directory = self._folder / content["directory"]
        self._version = content["madgraph"]
        self.plan = PointPlan.open(self._folder / content["plan"])
        self._scratch = scratch
        self._parton_densities = parton_densities
        self._madgraph: MadGraphRuns | None = None

    def events(self, batch: int) -> tuple[str, bool]:
        """Return the Les Houches event file of a batch as text, and whether it was planned.

        Raises
        ------
        UserError
            When an archive lacks the events, or MadGraph cannot make them.
        """
        place = self.plan.slice_of(batch)
        if place is None:
            return self._beyond_plan(batch), False
        point, rank = place
        path = self._folder / self._files[point % len(self._files)]
        try:
            with zipfile.ZipFile(path) as archive:
                return archive.read(member(point, rank)).decode(), True
        except (FileNotFoundError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: no events for batch {batch} ({error})") from None

    def _beyond_plan(self, batch: int) -> str:
        if self._madgraph is None:
            folder = self._scratch / f"madgraph-{self.plan.process}"
            folder.mkdir()
            self._madgraph = MadGraphRuns.unpack(
                load_process(self.plan.process), self._directory, folder, self._parton_densities
            )
        plan = self.plan
        return hard_process_of_batch(
            self._madgraph, plan.seed, plan.place, batch, plan.events_per_batch, self._version
        )
