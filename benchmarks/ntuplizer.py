"""Milliseconds per event of the product `jets`, step by step.

    python benchmarks/ntuplizer.py events.root [more.root ...] [--events 1000] [--qcd-labels]

The files are read again and again until enough events have passed. CPU time of this process; what
happens once per file or process (imports, compilation, opening) is left out and printed apart.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

# This script's own folder would hide the package of the same name.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from ntuplizer import products  # noqa: E402
from ntuplizer.batch import EventBatch  # noqa: E402
from ntuplizer.counts import Counts  # noqa: E402
from ntuplizer.ntuplize import ntuplize  # noqa: E402
from ntuplizer.rows import jets  # noqa: E402
from ntuplizer.shards import write_tables  # noqa: E402
from ntuplizer.sources import delphes  # noqa: E402

# Functions of ntuplizer.rows.jets that are steps of their own, by what they are called here.
STEPS = {
    "cluster": "cluster (anti-kT, jets and GEN-jets)",
    "label_jets": "truth labels",
    "match_gen_jets": "GEN match",
    "soft_drop_mass": "soft drop",
    "subjettiness": "N-subjettiness",
}
ARROW = "Arrow tables"


def timed(function: Callable, seconds: Counter, step: str) -> Callable:
    """Return the function, its CPU time added to `seconds[step]`."""

    def call(*args: object, **kwargs: object) -> object:
        start = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[step] += time.process_time() - start

    return call


def batches(
    paths: list[Path], branches: dict, optional: dict, n_events: int, seconds: Counter
) -> Iterator[EventBatch]:
    """Yield batches until `n_events` have passed; the time goes to `seconds["read"]`."""
    seen = 0
    while seen < n_events:
        for path in paths:
            stream = delphes.batches(path, branches, optional)
            following = timed(lambda stream=stream: next(stream, None), seconds, "read")
            while (batch := following()) is not None:
                seen += batch.n_events
                yield batch


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("events", type=Path, nargs="+", help="Delphes event files")
    parser.add_argument("--events", dest="n_events", type=int, default=1000)
    parser.add_argument("--jet-radius", type=float, default=0.8)
    parser.add_argument("--qcd-labels", action="store_true")
    options = parser.parse_args()
    given = {"jet_radius": options.jet_radius, "qcd_labels": options.qcd_labels}
    product = products.get_product("jets")
    checked = product.read_options(given)
    ntuplize(options.events[0], "jets", given)  # compiles

    seconds: Counter = Counter()
    for name, step in STEPS.items():
        setattr(jets, name, timed(getattr(jets, name), seconds, step))
    products.tabulate = timed(products.tabulate, seconds, ARROW)
    make_rows = timed(product.rows, seconds, "jets")
    delphes._open = timed(delphes._open, seconds, "opening")
    delphes._tree = timed(delphes._tree, seconds, "opening")
    counts = Counts()
    wanted = product.branches(checked), product.optional_branches(checked)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        write_tables(
            Path(folder) / "jets.parquet",
            (
                make_rows(batch, checked, counts)
                for batch in batches(options.events, *wanted, options.n_events, seconds)
            ),
            product.schema(checked),
            counts.as_dict,
        )
    total = time.process_time() - start - seconds["opening"]
    seconds["read"] -= seconds["opening"]

    table = {"read": seconds["read"]} | {step: seconds[step] for step in (*STEPS.values(), ARROW)}
    table["rest of the jets"] = seconds["jets"] - sum(table.values()) + seconds["read"]
    table["write"] = total - seconds["jets"] - seconds["read"]
    table["total"] = total
    print(f"{counts.events} events, {counts.rows} jets; ms per event on one core (CPU time)")
    for step, value in table.items():
        print(f"  {step:38s} {value / counts.events * 1e3:6.3f}")
    print(f"  {'start-up: opening the files':38s} {seconds['opening'] / counts.events * 1e3:6.3f}")


if __name__ == "__main__":
    main()
