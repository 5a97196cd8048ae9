"""Eras of data taking: all that depends on when collisions were recorded, as data in YAML."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ntuplizer.collisions.files import RemoteFile, read_file_index
from provenance.errors import UserError

FOLDER = Path(__file__).parent / "eras"

WorkingPoint = Literal["loose", "medium", "tight"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Certification(_Model):
    """The runs and luminosity sections that are good for physics."""

    record: int | None = Field(None, description="record of the CERN Open Data portal")
    file: str = Field(description="name of the JSON file: run → ranges of luminosity sections")


class File(_Model):
    """A file of a data set."""

    address: str = Field(min_length=1, description="path, https:// or root:// address")
    size: int | None = Field(None, ge=0, description="bytes")
    adler32: str | None = Field(
        None, pattern=r"^[0-9a-fA-F]{1,8}$", description="checksum, as the portal lists it"
    )


class Dataset(_Model):
    """Collisions that were recorded for one group of triggers."""

    record: int | None = Field(None, description="record of the CERN Open Data portal")
    folder: str | None = Field(None, description="address of the folder of the files")
    n_files: int | None = Field(None, ge=1, description="files of the data set")
    million_events: float | None = Field(None, gt=0, description="its size")
    index: str | None = Field(
        None,
        description="file index of the portal (JSON with uri, size and checksum): a path, "
        "relative to the era's file",
    )
    files: tuple[File, ...] = Field((), description="files by hand, instead of an index")

    @model_validator(mode="after")
    def _one_list(self) -> "Dataset":
        if self.index is not None and self.files:
            raise ValueError("give either index or files")
        return self


class Electrons(_Model):
    """Which electrons are leptons."""

    identification_min: int = Field(
        ge=0, le=4, description="lowest Electron_cutBased: 1 veto, 2 loose, 3 medium, 4 tight"
    )
    eta_max: float = Field(gt=0, description="largest |η|")


class Muons(_Model):
    """Which muons are leptons."""

    identification: Literal["looseId", "mediumId", "tightId"] = Field(description="flag to have")
    isolation_max: float = Field(gt=0, description="largest Muon_pfRelIso04_all")
    eta_max: float = Field(gt=0, description="largest |η|")


class PileupIdentification(_Model):
    """Which jets are not from pile-up, for CHS jets; PUPPI jets need none."""

    bit: Literal[1, 2, 4] = Field(description="value of the bit of Jet_puId that must be set")
    pt_max: float = Field(gt=0, description="from this pT in GeV on, all jets pass")


class Jets(_Model):
    """Which jets are jets."""

    identification_bit: Literal[1, 2, 4] = Field(
        description="value of the bit of Jet_jetId that must be set: 2 tight, 4 lepton veto too"
    )
    eta_max: float = Field(gt=0, description="largest |η|")
    pileup_identification: PileupIdentification | None


class BTag(_Model):
    """What makes a b-jet: the lowest discriminator at each working point."""

    discriminator: str = Field(description="branch without Jet_")
    loose: float = Field(gt=0, lt=1)
    medium: float = Field(gt=0, lt=1)
    tight: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _tighter_is_higher(self) -> "BTag":
        if not self.loose < self.medium < self.tight:
            raise ValueError("loose < medium < tight is needed")
        return self


class Era(_Model):
    """An era as its file describes it.

    Attributes
    ----------
    name
        The name of its file.
    description
        One line for people.
    certification
        Which runs are certified.
    datasets
        Data sets by name. Of an event that is in several, the copy of the first one is kept.
    triggers
        Paths without `HLT_`; one of them must have fired. Menus change: a path that a file does
        not know has not fired, but a file must know one.
    filters
        Names without `Flag_`; all must be passed.
    filters_where_present
        Filters that only later processings have.
    electrons, muons, jets, b_tag
        What an object is.
    """

    name: str
    description: str
    certification: Certification
    datasets: dict[str, Dataset] = {}
    triggers: tuple[str, ...] = Field(min_length=1)
    filters: tuple[str, ...]
    filters_where_present: tuple[str, ...] = ()
    electrons: Electrons
    muons: Muons
    jets: Jets
    b_tag: BTag


def era_names() -> list[str]:
    """Return the names of the eras that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_era(source: str | Path) -> Era:
    """Read an era.

    Parameters
    ----------
    source
        The name of an era of this package, or the path of a YAML file.

    Raises
    ------
    UserError
        When there is no such era, or when its file has a wrong key or value.
    """
    path = _path_of(source)
    try:
        return Era(name=path.stem, **yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: {place}: {first['msg']}") from None
    except (yaml.YAMLError, TypeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not the description of an era ({error})") from None


def dataset_files(era: Era, source: str | Path, name: str) -> list[RemoteFile]:
    """Return the files of a data set of an era that was read from `source`.

    Raises
    ------
    UserError
        When the era has no such data set, or when its file does not say which files it has.
    """
    if name not in era.datasets:
        known = ", ".join(era.datasets) or "none"
        raise UserError(f"era {era.name} has no data set {name!r}: it has {known}")
    dataset = era.datasets[name]
    if dataset.index is not None:
        return read_file_index(_path_of(source).parent / dataset.index)
    if not dataset.files:
        raise UserError(
            f"era {era.name}: the data set {name} lists no files: save the file index of record "
            f"{dataset.record} from the CERN Open Data portal and name it under `index`"
        )
    return [RemoteFile(file.address, file.size, file.adler32) for file in dataset.files]


def _path_of(source: str | Path) -> Path:
    if str(source) in era_names():
        return FOLDER / f"{source}.yaml"
    if not Path(source).is_file():
        known = ", ".join(era_names())
        raise UserError(f"{source}: neither an era ({known}) nor the YAML file of one")
    return Path(source)
