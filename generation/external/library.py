"""The library of hard-process events: archives of many points, one index over them."""

import zipfile
from pathlib import Path

from generation.external.madgraph import member
from generation.external.points import PointPlan
from provenance.errors import UserError
from provenance.files import read_json, sha256, write_json
from provenance.ledger import ledger_path

FORMAT = 1


def write_library(plan_file: Path, archives: list[Path], output: Path) -> None:
    """Check that the archives hold the events of every batch of a plan; write their index.

    Parameters
    ----------
    plan_file
        The plan.
    archives
        One for each block, in order, beside the plan.
    output
        The index, in the same folder.

    Raises
    ------
    UserError
        When an archive is of another plan, was changed since it was made, or lacks events.
    """
    plan = PointPlan.open(plan_file)
    files = []
    for block, path in enumerate(archives):
        ledger = read_json(ledger_path(path))
        if (ledger["process"], ledger["block"], ledger["blocks"]) != (
            plan.process, block, len(archives),
        ):  # fmt: skip
            raise UserError(f"{path}: is not block {block} of {len(archives)} of {plan.process}")
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
            "plan": plan_file.name,
            "plan_sha256": sha256(plan_file),
            "files": files,
        },
    )


class HardProcessLibrary:
    """Hard-process events by batch.

    Parameters
    ----------
    index
        The index that `write_library` wrote.
    """

    def __init__(self, index: Path):
        content = read_json(index)
        self._folder = index.parent
        self._files = [file["path"] for file in content["files"]]
        self.plan = PointPlan.open(self._folder / content["plan"])

    def events(self, batch: int) -> str:
        """Return the Les Houches event file of a batch as text.

        Raises
        ------
        UserError
            When the library has no events for this batch.
        """
        point, rank = self.plan.slice_of(batch)
        path = self._folder / self._files[point % len(self._files)]
        try:
            with zipfile.ZipFile(path) as archive:
                return archive.read(member(point, rank)).decode()
        except (FileNotFoundError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: no events for batch {batch} ({error})") from None
