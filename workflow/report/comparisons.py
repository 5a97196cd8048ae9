"""How the detector compares with Delphes, where that was looked at."""

from pathlib import Path

from provenance.errors import UserError
from provenance.files import read_json
from workflow.report.elements import Block, Fold, Place, Section, Table, Text, cells


def section(paths: list[Path], run: str, place: Place) -> Section:
    """Return the section of all comparisons of a run.

    Parameters
    ----------
    paths
        What `python -m validation compare` wrote, the figures beside it.
    run
        Name of the run.
    place
        Of the page.

    Raises
    ------
    UserError
        When a file is no comparison.
    """
    title, anchor = "Comparison with Delphes", "delphes"
    if not paths:
        text = (
            "None was made for this run. `python -m validation compare events.root … --output "
            f"results/{run}/comparison/<name>` compares files that Delphes wrote with the same "
            "events in fastsim; the report shows what it finds there."
        )
        return Section(title, anchor, [Text(text)])
    return Section(title, anchor, [], [_comparison(path, place) for path in paths])


def _comparison(path: Path, place: Place) -> Section:
    content = read_json(path)
    try:
        tables = [
            Table(table["caption"], tuple(table["head"]), [cells(*row) for row in table["rows"]])
            for table in content["tables"]
        ]
        pictures = [
            place.take(path.with_name(stem), caption, path)
            for stem, caption in content["figures"].items()
        ]
        blocks: list[Block] = [*map(Text, content["text"]), *tables[:1], *pictures]
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not the result of `python -m validation compare`") from None
    blocks += [Fold(table.caption, [table]) for table in tables[1:]]
    return Section(f"Comparison {path.parent.name}", f"comparison-{path.parent.name}", blocks)
