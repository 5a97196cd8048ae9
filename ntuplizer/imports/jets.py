"""From momenta of constituents, as any set gives them, to rows with our columns."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ntuplizer.clustering import Momenta, soft_drop_mass, subjettiness
from ntuplizer.imports import Source
from ntuplizer.manifest import DIGEST, hash_dataset
from ntuplizer.products.jets import COLUMNS
from ntuplizer.quality import ENERGY_LIMIT, finite_rows
from ntuplizer.schema import arrow_schema, tabulate
from ntuplizer.shards import read_metadata, write_tables
from provenance.errors import UserError, first_line
from provenance.files import sha256, write_json
from provenance.ledger import check_ledger, versions, write_ledger
from provenance.seal import sealed

GROUPS = {
    "identity": (
        "charge",
        "isElectron",
        "isMuon",
        "isPhoton",
        "isChargedHadron",
        "isNeutralHadron",
    ),
    "displacement": ("d0val", "d0err", "dzval", "dzerr"),
}


@dataclass(frozen=True)
class ImportedJets:
    """Some jets of a set.

    Attributes
    ----------
    counts
        (n_jets,) constituents of each.
    momenta
        (n_particles, 4) float64: px, py, pz, E in GeV, in any order within a jet.
    label
        (n_jets,) index of the class.
    features
        What is known of constituents, by our name without `part_`, (n_particles,) each.
    jet
        What the set itself says of jets, by our name without `jet_`, (n_jets,) each; the rest is
        calculated from the constituents.
    """

    counts: np.ndarray
    momenta: np.ndarray
    label: np.ndarray
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    jet: Mapping[str, np.ndarray] = field(default_factory=dict)


def import_jets(source: Source, path: Path, output: Path, label: str | None = None) -> int:
    """Write the jets of a file of a public set, and return how many there are.

    Parameters
    ----------
    source
        The set.
    path
        One of its files.
    output
        Parquet: those columns of the product `jets` that the set has. Under the key `jetclass` the
        metadata name the set, `labels`, and in `absent` the groups of features that it lacks.
    label
        The class of all jets, where the file does not say.

    Raises
    ------
    UserError
        When the file is missing, damaged or has another layout, or holds momenta or labels that
        cannot be.
    """
    started = time.perf_counter()
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    check_ledger(path)
    rows = 0

    def tables() -> Iterator[pa.Table]:
        nonlocal rows
        for jets in _sound(source, path, label):
            table = tabulate(columns_of(jets, source.radius), schema_of(source))
            if not finite_rows(table).all():
                raise UserError(f"{path}: holds a jet along the beam or a number that cannot be")
            rows += table.num_rows
            yield table

    metadata = {
        "product": source.product,
        "imported": source.name,
        "labels": list(source.labels),
        "absent": list(source.absent),
        "versions": versions(),
    }
    write_tables(output, tables(), schema_of(source), lambda: metadata)
    write_ledger(output, started, input=path.name, rows=rows, **metadata)
    return rows


def import_manifest(splits: Mapping[str, Sequence[Path]], output: Path) -> int:
    """Write the manifest of imported files, and return how many jets they hold.

    Parameters
    ----------
    splits
        Files of `import_jets` for `train`, `val` and `test`; a file is a part of its own, by name.
    output
        The manifest; paths in it are relative to its folder.

    Raises
    ------
    UserError
        When a file is missing, was not imported or is of another set than the first, is named
        twice, or a split has none.
    """
    files: list[dict[str, Any]] = []
    sets: set[str] = set()
    seen: dict[str, Path] = {}
    for split, paths in splits.items():
        if not paths:
            raise UserError(f"{output}: the split {split!r} has no file")
        for path in paths:
            metadata = read_metadata(path)
            if "imported" not in metadata:
                raise UserError(f"{path}: was not written by `python -m ntuplizer import`")
            sets.add(metadata["imported"])
            if len(sets) > 1:
                raise UserError(f"{path}: is of another set than those before: {sorted(sets)}")
            digest = sha256(path)
            if digest in seen:
                raise UserError(f"{path}: has the same content as {seen[digest]}")
            seen[digest] = path
            names = metadata["labels"]
            label = pq.read_table(path, columns=["jet_label"])["jet_label"].to_numpy()
            counts = np.bincount(label, minlength=len(names))
            files.append(
                {
                    "path": Path(os.path.relpath(path.absolute(), output.absolute().parent))
                    .as_posix(),
                    "part": path.stem,
                    "split": split,
                    "rows": len(label),
                    "sha256": digest,
                    "class_counts": {n: int(c) for n, c in zip(names, counts, strict=True) if c},
                }
            )  # fmt: skip
    product = metadata["product"]
    content = {
        "product": product,
        "imported": metadata["imported"],
        "labels": names,
        "absent": metadata["absent"],
        "files": files,
        "dataset_sha256": hash_dataset(product, files),
    }
    write_json(output, sealed(content, DIGEST))
    return sum(file["rows"] for file in files)


def _sound(source: Source, path: Path, label: str | None) -> Iterator[ImportedJets]:
    """Yield the jets of a file, as long as they can be."""
    pieces, before = iter(source.read(path, label)), 0
    while True:
        # Libraries of formats meet damage with whatever they stumble over.
        try:
            jets = next(pieces, None)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{path}: truncated or damaged ({first_line(error)})") from None
        if jets is None:
            return
        wrong = ~(np.abs(jets.momenta) <= ENERGY_LIMIT).all(axis=1)
        owner = np.repeat(np.arange(len(jets.counts)), jets.counts)
        bad = np.zeros(len(jets.counts), bool)
        bad[owner[wrong]] = True
        bad |= (jets.label < 0) | (jets.label >= len(source.labels))
        for values in jets.jet.values():
            bad |= ~np.isfinite(values)
        if bad.any():
            raise UserError(
                f"{path}: jet {before + int(bad.argmax())} has a number or a label that cannot be"
            )
        before += len(jets.counts)
        yield jets


def schema_of(source: Source) -> pa.Schema:
    """Return the columns that a set has, as the product `jets` types them."""
    lacking = {f"part_{name}" for group in source.absent for name in GROUPS[group]}
    return arrow_schema(
        column
        for column in COLUMNS
        if column.name.startswith(("part_", "jet_")) and column.name not in lacking
    )


def columns_of(jets: ImportedJets, radius: float) -> dict[str, object]:
    """Return columns by name, constituents by falling pT; jets without any are left out."""
    filled = jets.counts > 0
    counts = jets.counts[filled]
    offsets = np.concatenate(([0], np.cumsum(counts)))
    owner = np.repeat(np.arange(len(counts)), counts)
    px, py = jets.momenta[:, 0], jets.momenta[:, 1]
    order = np.lexsort((-np.hypot(px, py), owner))
    px, py, pz, energy = jets.momenta[order].T.astype(np.float64)
    momenta = Momenta(offsets, px, py, pz, energy)
    sums = np.concatenate((np.zeros((1, 4)), np.cumsum(momenta.components, axis=0)))
    total = np.diff(sums[offsets], axis=0)
    pt = np.hypot(total[:, 0], total[:, 1])
    taus = subjettiness(momenta, radius)
    jet = {
        "pt": pt,
        "eta": np.arcsinh(total[:, 2] / pt),
        "phi": np.arctan2(total[:, 1], total[:, 0]),
        "energy": total[:, 3],
        "sdmass": soft_drop_mass(momenta),
        **{f"tau{n + 1}": taus[:, n] for n in range(taus.shape[1])},
    }
    jet |= {name: values[filled] for name, values in jets.jet.items()}
    jet |= {"nparticles": counts, "label": jets.label[filled]}
    eta = np.arcsinh(pz / np.maximum(np.hypot(px, py), 1e-12))
    sign = np.where(jet["eta"] > 0, 1, -1)
    delta_phi = np.arctan2(py, px) - jet["phi"][owner]
    part = {
        "px": px,
        "py": py,
        "pz": pz,
        "energy": energy,
        "deta": (eta - jet["eta"][owner]) * sign[owner],
        "dphi": (delta_phi + np.pi) % (2 * np.pi) - np.pi,
    }
    part |= {name: values[order] for name, values in jets.features.items()}
    return {f"part_{name}": (offsets, values) for name, values in part.items()} | {
        f"jet_{name}": values for name, values in jet.items()
    }


def momenta_of(pt: np.ndarray, eta: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """Return massless momenta px, py, pz, E, (n, 4), of directions and pT, (n,) each."""
    return np.stack((pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)), 1)
