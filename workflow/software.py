"""Where the programs of the container backend come from."""

import os
import shutil
import sys
from pathlib import Path

from generation.external.programs import DELPHES, MADGRAPH, PILEUP_CONVERTER
from workflow.config_model import Containers

# Relative to the file of rules that names it.
ENVIRONMENT = "../envs/generation.yaml"


def image(containers: Containers, root: str) -> str:
    """Return the image's address, or the absolute path of its file below the project's root."""
    if "://" in containers.image:
        return containers.image
    return str(Path(root, containers.image))


def python_path(root: str) -> dict[str, str]:
    """Return the variables by which Python finds this project, inside a container too."""
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = os.pathsep.join([root, *(folder for folder in folders if folder not in ("", root))])
    return {"PYTHONPATH": path, "APPTAINERENV_PYTHONPATH": path}


def refuse_missing_programs(madgraph: bool) -> None:
    """Stop when a program is neither on the PATH nor deployed.

    Parameters
    ----------
    madgraph
        Whether a process needs MadGraph.

    Raises
    ------
    SystemExit
        Naming the programs.
    """
    programs = [DELPHES, PILEUP_CONVERTER] + [MADGRAPH] * madgraph
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        sys.exit(
            f"error: not on the PATH: {', '.join(missing)}; generation.backend is containers, so "
            "install them or give --sdm apptainer or --sdm conda"
        )
