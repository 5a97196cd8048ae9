"""How events are made: backends and their programs."""

from typing import Annotated, Literal

from pydantic import Field

from workflow.config_model.sections import Section


class Archive(Section):
    """An archive from elsewhere."""

    url: str = Field(pattern=r"^(https?|file)://\S+$", description="Where the archive is fetched.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Checksum that it must have.")


class Containers(Section):
    """MadGraph, Pythia and Delphes as programs; used by `backend: containers` only."""

    image: str = Field(
        "workflow/containers/generation.sif",
        pattern=r"^[\w./][\w./:@+-]*$",
        description="Image for `--sdm apptainer`, a file or an address.",
    )
    madgraph: str = Field(
        "3.5.7",
        pattern=r"^\d+\.\d+\.\d+$",
        description="MadGraph's version; events of another one are refused. The published dataset "
        "used 2.9.18.",
    )
    models: dict[Annotated[str, Field(pattern=r"^\w+$")], Archive] = Field(
        default_factory=dict, description="UFO models to fetch, by the name that MadGraph imports."
    )
    parton_densities: Archive | None = Field(
        None,
        description="LHAPDF's set that MadGraph's run cards ask for (315000, NNPDF31_lo_as_0118); "
        "without it LHAPDF must have it.",
    )
    hard_process_jobs: int = Field(
        98,
        ge=1,
        le=1000,
        description="MadGraph jobs per process; each has its share of the points.",
    )
    events_per_run: int = Field(
        50_000, ge=100, le=1_000_000, description="Most events of one MadGraph run."
    )


class Generation(Section):
    """How events are made."""

    backend: Literal["embedded", "containers"] = Field(
        "embedded",
        description="`embedded`: Pythia 8 from its Python wheel and fastsim, in one process. "
        "`containers`: MadGraph and Delphes as programs.",
    )
    events_per_batch: int = Field(
        100, ge=1, le=1000, description="Events that share one parameter point (masses, pT cut)."
    )
    pileup_events: int = Field(
        ge=100, le=1_000_000, description="Minimum-bias events in the library shared by all jobs."
    )
    containers: Containers = Containers()
