"""Gathering a study: what its points measured, with errors, in JSON and a figure."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from provenance.errors import UserError
from provenance.files import read_json, refuse_replacing, sha256, write_json
from workflow.config_model import Study
from workflow.fits import Point
from workflow.jobs.description import Job


class StudyJob(Job):
    """A study to gather; `study_job` writes it."""

    name: str
    training: str
    size_key: str | None
    metric: str
    baseline: str | None
    note: str | None
    points: list[Point] = Field(min_length=1)


def study_job(name: str, study: Study, points: Sequence[Point]) -> str:
    """Return the description of a study as one line of JSON."""
    return json.dumps(
        {
            "name": name,
            "training": study.training,
            "size_key": None if study.sizes is None else study.sizes.key,
            "metric": study.metric,
            "baseline": study.baseline,
            "note": study.note,
            "points": [asdict(point) for point in points],
        },
        sort_keys=True,
    )


def gather_study(job: str, evaluations: Path, output: Path) -> None:
    """Write a study's numbers and its figure.

    Parameters
    ----------
    job
        From `study_job`.
    evaluations
        Folder of the evaluations; a point's is the folder named by its `fit`.
    output
        JSON: for each way and size the values by seed, their mean and its standard error, and the
        mean of the differences to the baseline, paired by seed, with its standard error. A figure
        is written beside it, as PNG and PDF.

    Raises
    ------
    UserError
        When the job is malformed, or an evaluation is missing or did not measure the metric.
    """
    StudyJob.read(job)
    description = json.loads(job)
    _check_baseline(description["points"], description["baseline"])
    files = [evaluations / point["fit"] / "metrics.json" for point in description["points"]]
    refuse_replacing([output], files)
    for point, file in zip(description["points"], files, strict=True):
        summary, metric = read_json(file).get("summary", {}), point["metric"]
        if not isinstance(summary.get(metric), int | float):
            known = ", ".join(summary) or "nothing"
            raise UserError(f"{file}: measured no {metric}; its summary has {known}")
        point["value"] = float(summary[metric])
        point["metrics_sha256"] = sha256(file)
    results = summarise(description["points"], description["baseline"])
    from workflow.figures import draw_study

    draw_study(output.with_suffix(""), results, description)
    write_json(output, description | {"results": results})


def _check_baseline(points: Sequence[dict[str, Any]], baseline: str | None) -> None:
    """Check that the baseline has the sizes and seeds of all ways."""
    known = {(point["way"], point["size"], point["seed"]) for point in points}
    for way, size, seed in known if baseline is not None else ():
        if (baseline, size, seed) not in known:
            raise UserError(
                f"--job: points: the baseline {baseline} has none of the size {size} and the seed "
                f"{seed}, which {way} has"
            )


def summarise(points: Sequence[dict[str, Any]], baseline: str | None) -> list[dict[str, Any]]:
    """Return mean, standard error and paired differences of each way at each size.

    Parameters
    ----------
    points
        With `way`, `size`, `seed` and `value`.
    baseline
        The way that is subtracted, at the same size and seed; None: no differences.
    """
    values: dict[tuple[str, int | None], dict[int, float]] = {}
    for point in points:
        values.setdefault((point["way"], point["size"]), {})[point["seed"]] = point["value"]
    results = []
    for (way, size), by_seed in values.items():
        row: dict[str, Any] = {"way": way, "size": size, "seeds": list(by_seed)}
        row["values"] = list(by_seed.values())
        row["mean"], row["error"] = mean_and_error(row["values"])
        if baseline is not None and way != baseline:
            other = values[baseline, size]
            gains = [value - other[seed] for seed, value in by_seed.items()]
            row["gain"], row["gain_error"] = mean_and_error(gains)
        results.append(row)
    return results


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and its standard error; of one value the error is unknown."""
    if len(values) < 2:
        return float(np.mean(values)), None
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values)))
