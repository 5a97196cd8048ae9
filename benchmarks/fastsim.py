"""Milliseconds per event of fastsim, module by module, beside real Delphes.

    python benchmarks/fastsim.py events.root minbias.arrow [--card CARD] [--pileup 0 50 140 200]

Simulates the generator events of a Delphes event file. CPU time of this process, the best of
several rounds, after a first round in which kernels are compiled or read from their cache.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# This script's own folder would hide packages of the same name.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np  # noqa: E402

from generation.delphes_file import read_generator_records  # noqa: E402
from generation.fastsim.card import read_card  # noqa: E402
from generation.fastsim.engine import Detector  # noqa: E402
from generation.pileup import PileupLibrary  # noqa: E402
from generation.record import GeneratorRecord  # noqa: E402

FAT_JETS = Path(__file__).parents[1] / "delphes_cards" / "jetclass2_fatjet.tcl"
# Delphes 3.5 with the fat-jet card and 50 pile-up interactions, one core of a 2-core x86 machine.
DELPHES_PILEUP, DELPHES_MS = 50.0, (27.0, 32.0)


def set_pileup(detector: Detector, mean: float) -> None:
    """Change the mean number of pile-up interactions."""
    for module in detector.modules:
        if module.config.type == "PileUpMerger":
            module.interactions = mean


def measure(
    detector: Detector, record: GeneratorRecord, rounds: int
) -> tuple[float, dict[str, float]]:
    """Return the best CPU time of a round, in all and by module, in ms per event."""
    total, modules = np.inf, {}
    for seed in range(rounds):
        detector.seconds.clear()
        start = time.process_time()
        detector.simulate(record, seed)
        total = min(total, time.process_time() - start)
        for name, seconds in detector.seconds.items():
            modules[name] = min(modules.get(name, np.inf), seconds)
    scale = 1e3 / record.n_events
    return scale * total, {name: scale * seconds for name, seconds in modules.items()}


def start_up(options: argparse.Namespace) -> tuple[float, float]:
    """Return the CPU time of a process that simulates one event: compiling, and with the cache."""
    command = [sys.executable, __file__, str(options.events), str(options.library), "--start"]
    command += ["--card", str(options.card)]
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        times = []
        for _ in range(2):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return times[0], times[1]


def main() -> None:
    """Run the benchmark and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("events", type=Path, help="Delphes event file, real or embedded")
    parser.add_argument("library", type=Path, help="minimum-bias library")
    parser.add_argument("--card", type=Path, default=FAT_JETS)
    parser.add_argument("--pileup", type=float, nargs="+", default=[0.0, 50.0, 140.0, 200.0])
    parser.add_argument("--n-events", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--start", action="store_true", help="simulate one event and stop")
    options = parser.parse_args()

    detector = Detector(read_card(options.card), PileupLibrary.open(options.library))
    record = next(read_generator_records(options.events, options.n_events))
    detector.simulate(record.select_events(0, 1), 0)
    if options.start:
        return

    totals = []
    for mean in options.pileup:
        set_pileup(detector, mean)
        total, modules = measure(detector, record, options.rounds)
        totals.append(total)
        if mean == DELPHES_PILEUP:
            print(f"{'module':34s} ms/event")
            for name, milliseconds in modules.items():
                print(f"{name:34s} {milliseconds:8.3f}")
            low, high = (delphes / total for delphes in DELPHES_MS)
            print(
                f"{'all':34s} {total:8.3f}   Delphes 3.5: {DELPHES_MS[0]:.0f} to "
                f"{DELPHES_MS[1]:.0f}, {low:.1f} to {high:.1f} times as much\n"
            )
    print("pile-up    ms/event")
    for mean, total in zip(options.pileup, totals, strict=True):
        print(f"{mean:7.0f} {total:11.2f}")
    if len(totals) > 2:
        slope, offset = np.polyfit(options.pileup, totals, 1)
        worst = np.max(np.abs(np.polyval([slope, offset], options.pileup) / totals - 1.0))
        print(f"linear: {offset:.2f} + {slope:.4f} per interaction, within {100 * worst:.0f} %")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"largest memory: {peak:.0f} MB")
    print("start-up: {:.1f} s CPU with compilation, {:.1f} s after".format(*start_up(options)))


if __name__ == "__main__":
    main()
