"""Damaged artefacts: whatever is read of one is what was written, or the reader names it.

For each reader 200 flipped bits and 60 truncations; a few of them in `make test`.
"""

import gzip
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from damage import campaign
from tiny import CONFIG, make_tiny_task, real_jets, write_task

from generation.external.library import HardProcessLibrary, write_library
from generation.external.madgraph import member
from generation.external.points import PointPlan
from generation.lhe_check import check_lhe, uncompressed
from generation.pileup import COLUMNS, PileupLibrary
from generation.pileup import write_library as write_pileup
from generation.process import load_process
from ntuplizer.cli import main as ntuplizer
from ntuplizer.collisions.files import adler32
from ntuplizer.manifest import read_manifest
from ntuplizer.products import get_product
from ntuplizer.shards import describe, write_tables
from ntuplizer.sources import delphes
from provenance.cli import main as check
from provenance.files import sha256
from provenance.ledger import check_ledger, ledger_path, read_ledger, write_ledger
from training.checkpoint import load_task, read_checkpoint
from training.config import load_config
from training.data.sampling import SamplingWeights, write_weights
from training.data.shards import list_row_groups, read_dataset
from training.export import export_onnx

JETS = get_product("jets")
SCHEMA = JETS.schema(JETS.Options())
EVENTS = "published/events_delphes_higgs2p_example.root"
LHE = "madgraph/heft_pp_hh_m150.lhe.gz"


@pytest.fixture(scope="module")
def task():
    return make_tiny_task()


def pileup_library(folder: Path, reference, task):
    rng = np.random.default_rng(0)
    size = rng.integers(5, 20, 10)
    columns = {name: rng.normal(size=size.sum()).astype(kind) for name, kind in COLUMNS.items()}
    write_pileup(folder / "minbias.arrow", [{"size": size, **columns}], {"format": 1})
    write_ledger(folder / "minbias.arrow", 0.0)
    return folder / "minbias.arrow", lambda path: vars(PileupLibrary.open(path))


def event_file(folder: Path, reference, task):
    path = Path(shutil.copy(reference(EVENTS), folder / "events.root"))
    write_ledger(path, 0.0)

    def read(path: Path):
        batches = delphes.batches(path, {"ParticleFlowCandidate": ("PT", "Eta", "PID")})
        return [(batch["ParticleFlowCandidate"].columns, batch.identity) for batch in batches]

    return path, read


def event_file_ledger(folder: Path, reference, task):
    path, read = event_file(folder, reference, task)
    number = next(delphes.batches(path, {})).n_events
    write_ledger(path, 0.0, batches=[{"process": "higgs", "batch": 3, "events": number}])
    return ledger_path(path), lambda ledger: read(ledger.with_suffix(""))


def dataset(folder: Path, reference) -> Path:
    """Write a dataset of three shards of four real jets; return its manifest."""
    jets = real_jets(reference, SCHEMA)
    for number, split in enumerate(("train", "val", "test")):
        rows = folder / "rows" / "rows.parquet"
        rows.parent.mkdir(exist_ok=True)
        write_tables(
            rows, [jets.slice(4 * number, 4)], SCHEMA, lambda: describe(JETS, JETS.Options())
        )
        ntuplizer(
            ["shard", str(rows), "--rows", "4", "--dataset", "d", "--seed", "1", "--part", "A",
             "--index", str(number), "--split", split,
             "--output", str(folder / f"A_{number:04d}.parquet")]
        )  # fmt: skip
    shutil.rmtree(folder / "rows")
    ntuplizer(
        ["manifest", str(folder), "--name", "d", "--seed", "1",
         "--output", str(folder / "manifest.json")]
    )  # fmt: skip
    return folder / "manifest.json"


def read_jets(path: Path, task):
    """Read a shard as a training does."""
    return vars(task.reader.read(list_row_groups([(path, "")], task.reader)))


def shard(folder: Path, reference, task):
    path = dataset(folder, reference).with_name("A_0000.parquet")
    return path, lambda path: read_jets(path, task)


def shard_ledger(folder: Path, reference, task):
    path = dataset(folder, reference).with_name("A_0000.parquet")
    return ledger_path(path), lambda ledger: read_ledger(ledger.with_suffix(""))


def manifest(folder: Path, reference, task):
    return dataset(folder, reference), read_manifest


def manifest_of_training(folder: Path, reference, task):
    def read(path: Path):
        found = read_dataset(path)
        files = [(split, file.name, part) for split, file, part in found.files]
        return found.sha256, found.product, found.labels, files

    return dataset(folder, reference), read


def checkpoint(folder: Path, reference, task):
    path = write_task(folder / "checkpoint.ckpt", task)
    return path, lambda path: dict(load_task(path).state_dict())


def saved_state(folder: Path, reference, task):
    """`last.ckpt`, which has no ledger: its records have checksums."""
    path = write_task(folder / "last.ckpt", task)
    ledger_path(path).unlink()
    return path, read_checkpoint


def exported(folder: Path, reference, task):
    export_onnx(write_task(folder / "checkpoint.ckpt", task), folder / "network.onnx")
    return folder / "network.onnx", lambda path: check([str(path)])


def sampling_weights(folder: Path, reference, task):
    source = dataset(folder, reference)
    config = load_config(CONFIG)
    write_weights(config, source, folder / "weights.json")
    digest = read_dataset(source).sha256

    def read(path: Path):
        found = SamplingWeights.load(path, task.reader, config, digest)
        return found.acceptance, found.mean_acceptance, found.sha256

    return folder / "weights.json", read


def hard_processes(folder: Path):
    """A library of hard-process events of six batches, as if MadGraph had made them."""
    plan = PointPlan.of_batches("res34p", 0, 3, 5, range(6))
    plan.write(folder / "plan.npz")
    (folder / "process.tar.gz").write_bytes(b"a process directory")
    with zipfile.ZipFile(folder / "events_0.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for point, rank in zip(plan.point.tolist(), plan.rank.tolist(), strict=True):
            archive.writestr(member(point, rank), f"<event>{point} {rank}</event>" * 20)
    write_ledger(
        folder / "events_0.zip", 0.0, process="res34p", block=0, blocks=1, batches=6,
        process_directory_sha256=sha256(folder / "process.tar.gz"),
    )  # fmt: skip
    write_library(
        folder / "plan.npz", folder / "process.tar.gz", [folder / "events_0.zip"], "",
        folder / "library.json",
    )  # fmt: skip

    def read(path: Path):
        library = HardProcessLibrary(path.with_name("library.json"), path.parent)
        return [library.events(batch) for batch in range(6)]

    return read


def hard_process_index(folder: Path, reference, task):
    return folder / "library.json", hard_processes(folder)


def hard_process_plan(folder: Path, reference, task):
    return folder / "plan.npz", hard_processes(folder)


def hard_process_archive(folder: Path, reference, task):
    return folder / "events_0.zip", hard_processes(folder)


def read_lhe(path: Path):
    checked = check_lhe(path, load_process("res2p"))
    check_ledger(path)
    with uncompressed(path) as plain:
        return checked.events, checked.point, plain.read_bytes()


def madgraph_events(folder: Path, reference, task):
    """Compressed, as MadGraph writes them, without a ledger."""
    return Path(shutil.copy(reference(LHE), folder / "events.lhe.gz")), read_lhe


def madgraph_text(folder: Path, reference, task):
    path = folder / "events.lhe"
    path.write_bytes(gzip.decompress(reference(LHE).read_bytes()))
    write_ledger(path, 0.0)
    return path, read_lhe


def top_jets(folder: Path, reference, task):
    """The top tagging set's layout, compressed."""
    rng = np.random.default_rng(0)
    table = np.zeros(4, [("values_block_0", "f4", (804,)), ("values_block_1", "i8", (2,))])
    momenta = np.zeros((4, 200, 4), "f4")
    momenta[:, :20, 1:] = rng.normal(0, 20, (4, 20, 3))
    momenta[..., 0] = np.linalg.norm(momenta[..., 1:], axis=-1)
    table["values_block_0"][:, :800] = momenta.reshape(4, 800)
    with h5py.File(folder / "top.h5", "w") as file:
        file.create_dataset("table/table", data=table, chunks=True, compression="gzip")
    return folder / "top.h5", lambda path: imported("top", path)


def jetnet_jets(folder: Path, reference, task):
    """JetNet's layout, without a checksum and without a ledger."""
    particles = np.zeros((3, 30, 4), "f4")
    particles[..., :2] = np.random.default_rng(0).normal(0, 0.1, (3, 30, 2))
    particles[..., 2:] = 1 / 30, 1
    with h5py.File(folder / "t.hdf5", "w") as file:
        file["particle_features"] = particles
        file["jet_features"] = np.array([[1000, 0.5, 90, 30]] * 3, "f4")
    return folder / "t.hdf5", lambda path: imported("jetnet", path)


def quark_gluon_jets(folder: Path, reference, task):
    jets = np.zeros((4, 11, 4))
    jets[:, :9, 0] = np.random.default_rng(0).exponential(40, (4, 9)) + 1
    jets[:, :9, 3] = 211
    np.savez(folder / "QG.npz", X=jets, y=np.array([0.0, 1, 1, 0]))
    return folder / "QG.npz", lambda path: imported("quark-gluon", path)


def imported(kind: str, path: Path):
    output = path.with_suffix(".parquet")
    ntuplizer(["import", kind, str(path), "--output", str(output)])
    return pq.read_table(output)


def cms(command: str, path: Path, *options: str):
    output = path.with_suffix(".parquet")
    ntuplizer([command, str(path), *options, "--output", str(output)])
    return pq.read_table(output)


def nanoaod_of(path: Path, *options: str):
    """Read events with their objects, however few."""
    few = [f"--option={kind}_min=0" for kind in ("leptons", "b_jets", "light_jets")]
    return cms("nanoaod", path, "--era", "2018", *few, *options)


def nanoaod(folder: Path, reference, task):
    """Without a checksum."""
    return Path(shutil.copy(reference("cms/nano_dy.root"), folder)), nanoaod_of


def nanoaod_with_a_checksum(folder: Path, reference, task):
    path = Path(shutil.copy(reference("cms/nano_dy.root"), folder))
    known = ("--adler32", adler32(path), "--size", str(path.stat().st_size))
    return path, lambda path: nanoaod_of(path, *known)


def pfnano_jets(folder: Path, reference, task):
    path = Path(shutil.copy(reference("cms/pfnano.root"), folder))
    return path, lambda path: cms("pfnano", path)


def pfnano_energies(folder: Path, reference, task):
    path = Path(shutil.copy(reference("cms/pfnano.root"), folder))
    return path, lambda path: cms("pfnano", path, "--product", "energy")


READERS = [
    nanoaod,
    nanoaod_with_a_checksum,
    pfnano_jets,
    pfnano_energies,
    top_jets,
    jetnet_jets,
    quark_gluon_jets,
    pileup_library,
    event_file,
    event_file_ledger,
    shard,
    shard_ledger,
    manifest,
    manifest_of_training,
    checkpoint,
    saved_state,
    exported,
    sampling_weights,
    hard_process_index,
    hard_process_plan,
    hard_process_archive,
    madgraph_events,
    madgraph_text,
]


def run(make, folder, reference, task, capsys, flips: int, truncations: int) -> None:
    path, read = make(folder, reference, task)
    outcomes = campaign(path, read, flips, truncations, lambda: capsys.readouterr().err)
    assert sum(outcomes.values()) == flips + truncations
    # A file without a ledger can be read although its end, which nobody needs, is missing.
    assert outcomes["named"] + outcomes["said"] >= truncations
    assert make is not nanoaod_with_a_checksum or outcomes["named"] == flips + truncations


# An export takes long, and what checks it does not look into it; files of CMS have 1,500 columns.
LONG = {exported, nanoaod, pfnano_jets, pfnano_energies}


@pytest.mark.parametrize("make", [make for make in READERS if make not in LONG])
def test_damage_is_named(make, tmp_path, reference, task, capsys):
    run(make, tmp_path, reference, task, capsys, 12, 6)


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("make", READERS)
def test_much_damage_is_named(make, tmp_path, reference, task, capsys):
    run(make, tmp_path, reference, task, capsys, 200, 60)
