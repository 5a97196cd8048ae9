"""The report: one self-contained HTML file with what was built and what was learned."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ntuplizer.display.draw import style
from ntuplizer.manifest import read_manifest
from provenance.errors import UserError
from provenance.files import atomic_output, read_json
from workflow.report import comparisons, datasets, networks, origins, studies
from workflow.report.elements import Place
from workflow.report.inputs import Inputs, Network

TEMPLATES = Path(__file__).parent / "templates"


def write_report(inputs: Inputs, output: Path) -> None:
    """Write the report of a run, and beside it a folder with PDF and data of its figures.

    Parameters
    ----------
    inputs
        What the run left.
    output
        The HTML file; the folder has its name without the suffix.

    Raises
    ------
    UserError
        When a file is missing or not what it should be.
    """
    manifests = {path: read_manifest(path) for path in inputs.manifests}
    for path, manifest in manifests.items():
        if not manifest["files"]:
            raise UserError(f"{path}: lists no files, so there is nothing to report")
    trained = [read_network(path, inputs) for path in inputs.metrics]
    names = {manifest["dataset_sha256"]: manifest["name"] for manifest in manifests.values()}
    place = Place(output)
    with style():
        sections = [
            *(datasets.section(path, manifest, place) for path, manifest in manifests.items()),
            comparisons.section(inputs.comparisons, inputs.name, place),
            networks.section(trained, names, inputs, place),
            *studies.sections(inputs.studies, place),
            origins.section(inputs, manifests, trained),
        ]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["marked"] = marked
    page = environment.get_template("page.html.jinja").render(
        name=inputs.name,
        tiles=tiles(manifests, trained, inputs),
        sections=sections,
        style=(TEMPLATES / "page.css").read_text(encoding="utf-8"),
        script=(TEMPLATES / "page.js").read_text(encoding="utf-8"),
    )
    with atomic_output(output) as temporary:
        temporary.write_text(page, encoding="utf-8")


def marked(text: str) -> Markup:
    """Return text with what stands in backticks as code; all else is escaped."""
    parts = (escape(part) for part in text.split("`"))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part
        for number, part in enumerate(parts)
    )


def read_network(path: Path, inputs: Inputs) -> Network:
    """Return a network's evaluation, with the ledger of its checkpoint.

    Raises
    ------
    UserError
        When the file is no evaluation.
    """
    metrics = read_json(path)
    wanted = {"task": str, "split": str, "summary": dict, "dataset_sha256": str, "figures": dict}
    if any(not isinstance(metrics.get(key), kind) for key, kind in wanted.items()):
        raise UserError(f"{path}: not the result of `python -m training evaluate`")
    ledgers = (read_json(ledger) for ledger in inputs.checkpoints)
    checkpoint = metrics.get("checkpoint_sha256")
    made = next((ledger for ledger in ledgers if ledger.get("sha256") == checkpoint), {})
    return Network(path, path.parent.name, metrics, made)


def tiles(
    manifests: dict[Path, dict], trained: list[Network], inputs: Inputs
) -> list[tuple[int, str]]:
    """Return the numbers at the head of the page with what they count."""
    found = [
        (manifest["totals"]["rows"], f"rows of {manifest['name']}")
        for manifest in manifests.values()
    ]
    return [*found, (len(trained), "networks"), (len(inputs.studies), "studies")]
