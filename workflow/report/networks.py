"""The networks of a run side by side, and a section for each as its task evaluated it."""

from collections import Counter
from collections.abc import Mapping, Sequence

from workflow.report.elements import (
    Block,
    Cell,
    Gallery,
    Place,
    Section,
    Table,
    Text,
    cell,
    cells,
    readable,
)
from workflow.report.inputs import Inputs, Network


def section(
    networks: Sequence[Network], datasets: Mapping[str, str], inputs: Inputs, place: Place
) -> Section:
    """Return the section of all networks.

    Parameters
    ----------
    networks
        In the order of the configuration.
    datasets
        Name by checksum of the content.
    inputs
        What the run left.
    place
        Of the page.
    """
    if not networks:
        return Section("Networks", "networks", [Text("None was trained: none is configured.")])
    # Those that can be compared stand beside each other.
    ordered = sorted(networks, key=lambda n: (n.metrics["dataset_sha256"], n.metrics["task"]))
    return Section(
        "Networks",
        "networks",
        [
            Text(
                "All networks side by side, those of one dataset and task beside each other. "
                "Numbers are of the split that is named, with the weights that were kept; a dash "
                "stands where a task does not measure a quantity or the sample cannot tell it. "
                "Numbers of different tasks have the same name where they mean the same, but are "
                "comparable on the same dataset only."
            ),
            side_by_side(ordered, datasets, inputs),
        ],
        [own_section(network, datasets, place) for network in networks],
    )


def side_by_side(networks: Sequence[Network], datasets: Mapping[str, str], inputs: Inputs) -> Table:
    """Return the table of all numbers, a column for each network."""
    facts = {
        "task": [readable(n.metrics["task"]) for n in networks],
        "dataset": [datasets.get(n.metrics["dataset_sha256"], "another") for n in networks],
        "split": [n.metrics["split"] for n in networks],
        "begins with": [_start(n, inputs) for n in networks],
        "parameters": [n.ledger.get("parameters") for n in networks],
        "steps": [n.ledger.get("steps") for n in networks],
        "training, minutes": [_minutes(n) for n in networks],
    }
    having = Counter(name for network in networks for name in network.metrics["summary"])
    names = sorted(having, key=lambda name: -having[name])
    rows = [
        cells(readable(name), *(_number(n.metrics["summary"].get(name)) for n in networks))
        for name in names
    ]
    head = ("Quantity", *(n.name for n in networks))
    return Table(
        "All networks",
        head,
        rows,
        facts=[cells(readable(name), *values) for name, values in facts.items()],
    )


def own_section(network: Network, datasets: Mapping[str, str], place: Place) -> Section:
    """Return the section of one network: what its task measured and drew."""
    metrics = network.metrics
    digest = metrics["dataset_sha256"]
    text = (
        f"Task {metrics['task']}, measured on the {metrics['split']} split of the dataset "
        f"{datasets.get(digest, 'with the content ' + digest[:16])}."
    )
    meanings = metrics.get("meanings", {})
    head = ("Quantity", "Value", *(["Meaning"] if meanings else []))
    rows = [
        cells(readable(name), _number(value), *([meanings.get(name, "")] if meanings else []))
        for name, value in metrics["summary"].items()
    ]
    blocks: list[Block] = [Text(text), Table(f"Numbers of {network.name}", head, rows)]
    pictures = [
        place.take(network.path.with_name(stem), caption, network.path)
        for stem, caption in metrics["figures"].items()
    ]
    return Section(
        f"Network {network.name}", f"network-{network.name}", [*blocks, Gallery(pictures)]
    )


def _start(network: Network, inputs: Inputs) -> str:
    start = inputs.configuration.get("training", {}).get(network.name, {}).get("from") or {}
    return str(start.get("training") or start.get("checkpoint") or "nothing")


def _minutes(network: Network) -> float | None:
    seconds = network.ledger.get("wall_seconds")
    return None if seconds is None else round(seconds / 60, 1)


def _number(value: object) -> Cell:
    return cell(value if isinstance(value, int | float | str) else None)
