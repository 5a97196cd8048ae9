"""The studies of a run: a section each."""

from collections.abc import Iterator
from pathlib import Path

from provenance.errors import UserError
from provenance.files import read_json
from workflow.report.elements import Cell, Place, Section, Table, Text, cells, title


def sections(paths: list[Path], place: Place) -> Iterator[Section]:
    """Yield the section of each study, from its `study.json` and the figure beside it.

    Raises
    ------
    UserError
        When a file is no study.
    """
    for path in paths:
        study = read_json(path)
        if not isinstance(study.get("results"), list):
            raise UserError(f"{path}: not the result of `python -m workflow study`")
        yield _section(path, study, place)


def _section(path: Path, study: dict, place: Place) -> Section:
    metric, size, baseline = title(study["metric"]), study["size_key"], study["baseline"]
    differences = f"; differences to {baseline} are paired by seed" if baseline else ""
    text = (
        f"{metric} of {study['training']} on the test split; errors are standard "
        f"errors of the mean over seeds{differences}."
    )
    if study.get("note"):
        text += f" {study['note']}."
    head = ["Way", *([size] if size else []), "Seeds", "Mean", "±"]
    head += ["Gain", "± of the gain"] if baseline else []
    rows: list[tuple[Cell, ...]] = []
    for row in study["results"]:
        values = [row["way"], *([row["size"]] if size else []), len(row["seeds"])]
        values += [row["mean"], row["error"]]
        values += [row.get("gain"), row.get("gain_error")] if baseline else []
        rows.append(cells(*values))
    table = Table(f"{metric} by way", tuple(head), rows)
    caption = f"{metric} of the study {study['name']}; bars are standard errors."
    picture = place.take(path.with_suffix(""), caption, path)
    return Section(f"Study {study['name']}", f"study-{study['name']}", [Text(text), picture, table])
