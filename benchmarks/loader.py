"""Jets per second and core of this project's loader beside weaver-core's, on the same shards.

Both read the columns that Sophon needs, select, transform, shuffle, pad and batch, in one process;
the time is the CPU time of that process from the first batch to the last. The shards are the jets
of a dataset repeated to a given number, in row groups of 10,000.

weaver is not a dependency of the project: `pip install --no-deps weaver-core==0.5.3`, best in a
copy of the environment. Run as `python -m benchmarks.loader --manifest M [--json FILE]`.
"""

import argparse
import datetime
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from torch.utils.data import DataLoader

from benchmarks.part import cpu_name
from training.data.loaders import TrainingLoader
from training.data.shards import list_row_groups, read_dataset
from training.data.stream import TrainingStream
from training.jets.config import JetDataConfig
from training.jets.reader import JetReader

BATCH = 512
# Sophon's inputs in weaver's terms: (variable, subtract, multiply, low, high).
FEATURES: list[Any] = [
    ["pt_scale_log", 1.7, 0.7],
    ["e_scale_log", 2.0, 0.7],
    ["logptrel", -4.7, 0.7],
    ["logerel", -4.7, 0.7],
    ["part_deltaR", 0.2, 4.0],
    *(
        [f"part_{name}", None]
        for name in (
            *("charge", "isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon"),
            "d0",
        )
    ),
    ["part_d0err", 0, 1, 0, 1],
    ["part_dz", None],
    ["part_dzerr", 0, 1, 0, 1],
    ["part_deta", None],
    ["part_dphi", None],
]
COMPONENTS = ("px", "py", "pz", "energy")


def weaver_configuration() -> dict[str, Any]:
    """Return a data configuration of weaver with Sophon's selection and inputs."""
    scaled = {f"scaled_{name}": f"part_{name} / jet_pt * 500" for name in COMPONENTS}
    variables = {
        "part_mask": "ak.ones_like(part_energy)",
        **scaled,
        "part_pt": "np.hypot(part_px, part_py)",
        "pt_scale_log": "np.log(np.hypot(scaled_px, scaled_py))",
        "e_scale_log": "np.log(scaled_energy)",
        "logptrel": "np.log(part_pt / jet_pt)",
        "logerel": "np.log(part_energy / jet_energy)",
        "part_deltaR": "np.hypot(part_deta, part_dphi)",
        "part_d0": "np.tanh(part_d0val)",
        "part_dz": "np.tanh(part_dzval)",
    }
    columns = {
        "pf_points": [["part_deta", None], ["part_dphi", None]],
        "pf_features": FEATURES,
        "pf_vectors": [[name, None] for name in scaled],
    }
    inputs = {
        name: {"length": 128, "pad_mode": "wrap", "vars": variables}
        for name, variables in columns.items()
    }
    inputs["pf_mask"] = {"length": 128, "pad_mode": "constant", "vars": [["part_mask", None]]}
    return {
        "selection": "(jet_pt > 200) & (jet_pt < 2500) & (jet_sdmass > 20) & (jet_sdmass < 500)",
        "new_variables": variables,
        "preprocess": {"method": "manual"},
        "inputs": inputs,
        "labels": {"type": "custom", "value": {"truth_label": "jet_label"}},
    }


def repeat_dataset(manifest: Path, jets: int, folder: Path) -> list[tuple[Path, str]]:
    """Write shards of 20,000 rows with the training jets of a dataset, over and over."""
    paths = [path for path, _ in read_dataset(manifest).shards("train")]
    table = pa.concat_tables(pq.read_table(path) for path in paths)
    table = pa.concat_tables([table] * -(-20_000 // len(table))).slice(0, 20_000)
    shards = [(folder / f"jets_{i:03d}.parquet", "jets") for i in range(-(-jets // len(table)))]
    for path, _ in shards:
        # As the ntuplizer writes them.
        pq.write_table(
            table,
            path,
            compression="zstd",
            row_group_size=10_000,
            use_dictionary=False,
            write_page_checksum=True,
        )
    return shards


def own_batches(shards: list[tuple[Path, str]]) -> Iterator[int]:
    """Yield the sizes of this project's batches."""
    config = JetDataConfig(batch_size=BATCH, workers=0)
    reader = JetReader(config)
    stream = TrainingStream(list_row_groups(shards, reader), reader, config, None, seed=1)
    for drawn in TrainingLoader(stream):
        yield drawn.rows


def weaver_batches(shards: list[tuple[Path, str]], folder: Path) -> Iterator[int]:
    """Yield the sizes of weaver's batches."""
    try:
        from weaver.utils.dataset import SimpleIterDataset
    except ImportError as error:
        raise SystemExit(f"weaver-core 0.5.3 is needed for the comparison ({error})") from None
    configuration = folder / "sophon.yaml"
    configuration.write_text(
        yaml.safe_dump(weaver_configuration(), sort_keys=False), encoding="utf-8"
    )
    dataset = SimpleIterDataset(
        {"jets": [str(path) for path, _ in shards]},
        str(configuration),
        for_training=True,
        load_range_and_fraction=((0, 1), 1, 1),
        fetch_step=0.2,
        async_load=False,
        infinity_mode=True,
        name="train",
    )
    for _, labels, _ in DataLoader(dataset, batch_size=BATCH):
        yield len(labels["truth_label"])


def rate(batches: Iterator[int], jets: int) -> float:
    """Return jets per CPU second over about `jets` jets after the first batch."""
    next(batches)
    started, seen = time.process_time(), 0
    for size in islice(batches, jets // BATCH):
        seen += size
    return seen / (time.process_time() - started)


def main() -> None:
    """Measure both, thrice in turn, and print the best of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", type=Path, required=True, help="whose jets to repeat")
    parser.add_argument("--jets", type=int, default=100_000)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {"project": [], "weaver": []}
    memory = None
    with tempfile.TemporaryDirectory() as name:
        shards = repeat_dataset(options.manifest, options.jets, Path(name))
        for _ in range(3):
            rates["project"].append(rate(own_batches(shards), options.jets))
            if memory is None:
                # weaver has not run yet.
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            rates["weaver"].append(rate(weaver_batches(shards, Path(name)), options.jets))
    best = {name: round(max(values)) for name, values in rates.items()}
    results = {
        "date": datetime.date.today().isoformat(),
        "device": "one process, " + cpu_name(),
        "jets_per_cpu_second": best,
        "ratio": round(best["project"] / best["weaver"], 2),
        "peak_memory_of_the_project_gib": round(memory, 2),
    }
    print(json.dumps(results, indent=1))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
