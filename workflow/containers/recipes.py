"""Write the image's recipes, for Docker and for Apptainer, from one list.

Run as `python -m workflow.containers.recipes` after a change of `sources.yaml` or of
`workflow/envs/generation.yaml`; a test keeps them in step.
"""

from pathlib import Path
from string import Template
from typing import Any

import yaml

FOLDER = Path(__file__).parent
ENVIRONMENT = "workflow/envs/generation.yaml"
SMOKE_TEST = "workflow/containers/smoke_test.sh"
ROOT = FOLDER.parents[1]
NAMES = ("Dockerfile", "generation.def")


def recipes() -> dict[str, str]:
    """Return the text of each recipe by the name of its file."""
    sources = _read(FOLDER / "sources.yaml")
    densities = sources["parton_densities"]
    labels = _labels(sources)
    values = {
        "base": sources["base"],
        "environment": ENVIRONMENT,
        "smoke_test": SMOKE_TEST,
        **densities,
    }
    docker = {
        "labels": " \\\n".join(f'      {name}="{value}"' for name, value in labels.items()),
        "copies": "\n".join(
            f"COPY {name} /opt/smoke-test/{name}" for name in sources["smoke_test"]
        ),
    }
    apptainer = {
        "labels": "\n".join(f"    {name} {value}" for name, value in labels.items()),
        "copies": "\n".join(f"    {name} /opt/smoke-test/{name}" for name in sources["smoke_test"]),
    }
    return {
        name: Template((FOLDER / f"{name}.template").read_text("utf-8")).substitute(values | own)
        for name, own in zip(NAMES, (docker, apptainer), strict=True)
    }


def _labels(sources: dict[str, Any]) -> dict[str, str]:
    """Return the image's labels: the versions of its programs, and its parton densities."""
    dependencies = _read(ROOT / ENVIRONMENT)["dependencies"]
    versions = dict(entry.split("=", 1) for entry in dependencies if entry.count("=") == 1)
    densities = sources["parton_densities"]
    return {f"version.{name}": versions[name] for name in sources["labels"]} | {
        "parton-densities": densities["name"],
        "parton-densities.sha256": densities["sha256"],
    }


def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text("utf-8"))


def main() -> None:
    """Write both recipes."""
    for name, text in recipes().items():
        (FOLDER / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
