"""Pre-train recipes, choose one, measure until the time is up."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.joint_embedding.points import ALL, SEEDS, SHAPE, items
from benchmarks.joint_embedding.recipes import LARGE, RECIPES, SMALL, SUPERVISED, pretraining
from benchmarks.joint_embedding.scoring import explained, linear, scores, tuned_strength
from benchmarks.joint_embedding.study import Study
from ntuplizer.disjoint import shared_batches
from provenance.errors import UserError
from provenance.files import read_json, write_json
from training.checkpoint import read_checkpoint
from training.devices import best_device
from training.fit import fit

CHOICE_LABELS, CHOICE_SEEDS = 2_000, (101, 102, 103)
POLL = 0.2


def pretrain(recipe: str, data: Path, output: Path, steps: int, small: bool) -> None:
    """Pre-train, and measure what the rule looks at."""
    more = [f"steps={steps}"]
    more.append(f"data.rows_per_epoch={max(steps // 10, 1) * (SMALL if small else LARGE).batch}")
    if best_device().type == "cpu":
        more.append("run.precision=32-true")
    folder = output / recipe
    if not (folder / "summary.json").exists():
        fit(pretraining(recipe, small, more), data / "unlabelled" / "manifest.json", folder)
    if recipe != SUPERVISED and not (folder / "validation.json").exists():
        write_json(folder / "validation.json", validated(recipe, data, output, small))


def validated(recipe: str, data: Path, output: Path, small: bool) -> dict[str, Any]:
    """Return what the rule looks at: linear probes on the validation split of `labelled`.

    Beside it, how much of the variance of what `jet_shape` asks for a linear map of the embedding
    tells, the mean over its numbers.
    """
    study = Study("groups", data, output, recipe, small)
    label, held = study.truth("train"), study.truth("val")
    known_shape, held_shape = (study.numbers(SHAPE, 0, split) for split in ("train", "val"))
    areas: dict[str, list[float]] = {"pre-trained": [], "random": []}
    told: dict[str, list[float]] = {"pre-trained": [], "random": []}
    for seed in CHOICE_SEEDS:
        places = study.drawn(CHOICE_LABELS, seed)
        for name, way in (("pre-trained", "linear"), ("random", "linear, random encoder")):
            x, y = (study.numbers(way, seed, split) for split in ("train", "val"))
            strength = tuned_strength(x[places], label[places])
            found = linear(x[places], label[places], strength)(y)
            areas[name].append(scores(found, held)["auc"] or 0.0)
            told[name].append(explained(x, known_shape, y, held_shape))
    return {
        **{name: float(np.mean(values)) for name, values in areas.items()},
        "areas": areas,
        "told": {name: float(np.mean(values)) for name, values in told.items()},
        "jets": len(held),
        "history": read_checkpoint(output / recipe / "checkpoint.ckpt")["history"],
        "parameters": sum(
            p.numel() for p in study.probe(None, True, 1).network.encoder.parameters()
        ),
        "seconds": read_json(output / recipe / "summary.json")["wall_seconds"],
    }


def choose(output: Path) -> dict[str, Any]:
    """Choose a recipe by the rule; writes `choice.json`."""
    found = {
        recipe: read_json(path)
        for recipe in RECIPES
        if (path := output / recipe / "validation.json").exists()
    }
    if not found:
        raise UserError(f"{output}: no recipe was pre-trained to its end")
    choice = {
        "chosen": max(found, key=lambda recipe: found[recipe]["pre-trained"]),
        "validation": found,
        "stopped": {
            recipe: read_checkpoint(path)["history"]
            for recipe in RECIPES
            if recipe not in found and (path := output / recipe / "last.ckpt").exists()
        },
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
    write_json(output / "choice.json", choice)
    return choice


def work(data: Path, output: Path, end: float, small: bool) -> None:
    """Measure until all is done or the time is over, beside other processes."""
    torch.set_num_threads(1)
    results, claims = output / "results", output / "claims"
    results.mkdir(exist_ok=True)
    recipe = read_json(output / "choice.json")["chosen"]
    studies: dict[str, Study] = {}
    for item in items():
        path = results / f"{item.name}.json"
        if path.exists() or not claimed(claims / item.name):
            continue
        if time.time() > end:
            return
        if item.study not in studies:
            studies[item.study] = Study(item.study, data, output, recipe, small)
        study = studies[item.study]
        jets = len(study.drawn(item.size, item.seed))
        if item.size < ALL and jets < item.size:
            continue
        began = time.process_time()
        found, tuned = study.measure(item)
        truth = study.truth("test")
        row = {**item._asdict(), "jets": jets, "tuned": tuned, **scores(found, truth)}
        if item.seed == SEEDS[0] and item.way == "linear":
            held = study.numbers("linear", item.seed, "test").astype(np.float16)
            np.savez_compressed(
                results / f"embedding-{item.study}.npz", embedding=held, label=truth
            )
        np.save(results / f"{item.name}.npy", found.astype(np.float16))
        write_json(path, row | {"seconds": round(time.process_time() - began, 2)})


def claimed(path: Path) -> bool:
    """Say whether this process is the first to ask for something."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def drive(
    data: Path,
    output: Path,
    seconds: float,
    processes: int,
    recipes: Sequence[str],
    steps: int,
    small: bool,
) -> None:
    """Run everything within a time."""
    begin = time.time()
    end = begin + seconds
    claims = output / "claims"
    claims.mkdir(parents=True, exist_ok=True)
    for claim in claims.iterdir():
        claim.unlink()
    environment = dict(os.environ, OMP_NUM_THREADS="1")

    def begun(log: str, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "benchmarks.joint_embedding", str(data), str(output)]
        command += [*(["--small"] if small else []), *arguments]
        with (output / f"{log}.log").open("a") as stream:
            return subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)

    folders = [path for path in sorted(data.iterdir()) if (path / "manifest.json").exists()]
    (output / "disjoint.json").write_text(json.dumps(shared_batches(folders)))
    waiting: list[str] = [*recipes, SUPERVISED]
    running: list[subprocess.Popen] = []
    while waiting or running:
        while waiting and len(running) < processes:
            recipe = waiting.pop(0)
            running.append(begun(recipe, "--pretrain", recipe, "--steps", str(steps)))
        running = [process for process in running if process.poll() is None]
        time.sleep(POLL)
    choice = choose(output)
    sys.stdout.write(f"chosen {choice['chosen']} after {time.time() - begin:.0f} s\n")
    workers = [begun(f"work-{i}", "--work", "--end", str(end)) for i in range(processes)]
    for process in workers:
        process.wait()
    sys.stdout.write(f"done after {time.time() - begin:.0f} s\n")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.joint_embedding")
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seconds", type=float, default=3600, help="then nothing new begins")
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=[*RECIPES])
    parser.add_argument("--steps", type=int, default=1500, help="of each pre-training")
    parser.add_argument("--small", action="store_true", help="small networks, for a CPU")
    parser.add_argument("--pretrain", help="one recipe, of the driver's own calls")
    parser.add_argument("--work", action="store_true", help="measure, of the driver's own calls")
    parser.add_argument("--end", type=float, help="time after which nothing new begins")
    options = parser.parse_args()
    data, output, small = options.data, options.output, options.small
    if options.pretrain is not None:
        pretrain(options.pretrain, data, output, options.steps, small)
    elif options.work:
        work(data, output, options.end, small)
    else:
        given = options.seconds, options.processes, options.recipes, options.steps
        drive(data, output, *given, small)


if __name__ == "__main__":
    main()
