"""Do datasets share events? The keys of random streams in the ledgers tell batches apart."""

from collections.abc import Sequence
from pathlib import Path

from ntuplizer.manifest import MANIFEST_NAME, read_manifest
from provenance.errors import UserError
from provenance.ledger import ledger_path, read_ledger

Place = tuple[str, str]


def shared_batches(manifests: Sequence[str | Path]) -> list[str]:
    """Return a sentence for each two datasets, or splits of one, that share batches of events.

    Parameters
    ----------
    manifests
        Manifests, or the folders that hold them; the ledgers of the shards lie beside these.

    Raises
    ------
    UserError
        When a manifest or a ledger is missing or does not list its batches.
    """
    owners: dict[str, set[Place]] = {}
    for manifest in map(Path, manifests):
        folder = manifest if manifest.is_dir() else manifest.parent
        for file in read_manifest(manifest)["files"]:
            path = folder / file["path"]
            ledger = read_ledger(path)
            if not isinstance(ledger.get("batches"), list):
                raise UserError(f"{ledger_path(path)}: does not list the batches of the shard")
            for batch in ledger["batches"]:
                place = (str(folder if manifest.name == MANIFEST_NAME else manifest), file["split"])
                owners.setdefault(str(batch["key"]), set()).add(place)
    counts: dict[tuple[Place, ...], int] = {}
    for places in owners.values():
        if len(places) > 1:
            key = tuple(sorted(places))
            counts[key] = counts.get(key, 0) + 1
    return [
        f"{count} batches of events are shared by "
        + " and ".join(f"{name} ({split})" for name, split in places)
        for places, count in sorted(counts.items())
    ]
