"""The library of hard-process events: archives of many points, one index over them."""

import os
import zipfile
from pathlib import Path

from generation.external.madgraph import MadGraphRuns, hard_process_of_batch, member
from generation.external.points import PointPlan
from generation.process import load_process
from provenance.errors import UserError
from provenance.files import read_json, sha256, write_json
from provenance.ledger import check_ledger, ledger_path
from provenance.seal import check_seal, sealed

FORMAT = 3
SEAL = "library_sha256"


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
        ledger = check_ledger(path)
        if not ledger:
            raise UserError(f"{ledger_path(path)}: no such file; remove {path.name}")
        made_for = [ledger.get(key) for key in ("process", "block", "blocks")]
        if made_for != [plan.process, block, len(archives)]:
            raise UserError(f"{path}: is not block {block} of {len(archives)} of {plan.process}")
        if ledger.get("process_directory_sha256") != directory_sha256:
            raise UserError(f"{path}: was made with another {directory.name}; remove it")
        files.append({"path": path.name, "sha256": ledger["sha256"], "batches": ledger["batches"]})
    found = sum(file["batches"] for file in files)
    if found != len(plan.batch):
        raise UserError(
            f"{output}: the archives hold {found} of the {len(plan.batch)} batches planned"
        )
    content = {
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
    }
    write_json(output, sealed(content, SEAL))


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

    Raises
    ------
    UserError
        When the index or the plan is missing, or was changed since it was written.
    """

    def __init__(self, index: Path, scratch: Path, parton_densities: Path | None = None):
        content = read_json(index)
        if content.get("format") != FORMAT:
            raise UserError(f"{index}: not a library of hard processes of format {FORMAT}")
        check_seal(index, content, SEAL)
        self._folder = index.parent
        self._files = [file["path"] for file in content["files"]]
        self._directory = self._folder / content["directory"]
        self._version = content["madgraph"]
        self._directory_sha256 = content["directory_sha256"]
        plan = self._folder / content["plan"]
        if plan.is_file() and sha256(plan) != content["plan_sha256"]:
            raise UserError(f"{plan}: damaged, or changed since {index.name} was written")
        self.plan = PointPlan.open(plan)
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
        except Exception as error:  # damage is met with by a dozen types
            raise UserError(f"{path}: no events for batch {batch} ({error})") from None

    def _beyond_plan(self, batch: int) -> str:
        if self._madgraph is None:
            if sha256(self._directory) != self._directory_sha256:
                raise UserError(f"{self._directory}: damaged, or changed since it was made")
            folder = self._scratch / f"madgraph-{self.plan.process}"
            folder.mkdir()
            self._madgraph = MadGraphRuns.unpack(
                load_process(self.plan.process), self._directory, folder, self._parton_densities
            )
        plan = self.plan
        return hard_process_of_batch(
            self._madgraph, plan.seed, plan.place, batch, plan.events_per_batch, self._version
        )
