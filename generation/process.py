"""Processes as data: what is generated, at which parameter points, and how it decays."""

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from provenance.errors import UserError

if TYPE_CHECKING:
    # The workflow reads processes before any job starts, and has no other use for it.
    import numpy as np

FOLDER = Path(__file__).parent / "processes"

# Pythia's code for a channel whose branching ratio is taken from the table as it stands.
TABLE_MATRIX_ELEMENT = 100
FRACTION_TOLERANCE = 1e-4

Point = Mapping[str, float | int | str]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Range(_Model):
    """A value of the grid `first`, `first + step`, ..., `last`, all equally likely."""

    first: float
    last: float
    step: float = Field(gt=0)

    @model_validator(mode="after")
    def _rises(self) -> "Range":
        if self.last < self.first:
            raise ValueError(f"last, {self.last:g}, is below first, {self.first:g}")
        return self

    def values(self) -> list[float]:
        """Return the grid."""
        count = round((self.last - self.first) / self.step) + 1
        return [self.first + self.step * i for i in range(count)]

    def draw(self, rng: "np.random.Generator", _: Point) -> float:
        """Draw one value of the grid."""
        values = self.values()
        return values[int(rng.integers(len(values)))]


class Geometric(_Model):
    """A value of the grid first · ratio^(i / (count - 1)), i = 0 ... count - 1, equally likely."""

    first: float = Field(gt=0)
    ratio: float = Field(gt=0)
    count: int = Field(gt=1)
    integer: bool = False

    def values(self) -> list[float]:
        """Return the grid, rounded down where it is one of integers."""
        steps = [i / (self.count - 1) for i in range(self.count)]
        # Written with exp because the published grid of momenta was: it ends at 2499, not at 2500.
        values = [self.first * math.exp(math.log(self.ratio) * step) for step in steps]
        return [float(math.floor(value)) for value in values] if self.integer else values

    def draw(self, rng: "np.random.Generator", _: Point) -> float:
        """Draw one value of the grid."""
        return self.values()[int(rng.integers(self.count))]


class Fraction(_Model):
    """A uniformly drawn fraction of a parameter that was drawn before."""

    fraction_of: str
    low: float
    high: float

    @model_validator(mode="after")
    def _rises(self) -> "Fraction":
        if self.high < self.low:
            raise ValueError(f"high, {self.high:g}, is below low, {self.low:g}")
        return self

    def draw(self, rng: "np.random.Generator", drawn: Point) -> float:
        """Draw the fraction and return it times the other parameter."""
        return float(rng.uniform(self.low, self.high)) * float(drawn[self.fraction_of])


class Choice(_Model):
    """One of several equally likely sets of values."""

    choice: list[dict[str, float | str]] = Field(min_length=1)

    @model_validator(mode="after")
    def _same_names(self) -> "Choice":
        if any(values.keys() != self.choice[0].keys() for values in self.choice):
            raise ValueError("all choices must give values to the same parameters")
        return self


class Channel(_Model):
    """A decay channel: its branching fraction and the PDG codes of its products."""

    fraction: float = Field(gt=0, le=1)
    products: list[int] = Field(min_length=2, max_length=8)


class LheValue(_Model):
    """A parameter of events that come from MadGraph: a mass or width of its card, or a pT cut."""

    mass_of: int | None = None
    width_of: int | None = None
    pt_min_of: int | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "LheValue":
        if len(self.model_fields_set) != 1:
            raise ValueError("give one of mass_of, width_of and pt_min_of")
        return self


class LheInterface(_Model):
    """How the process looks in a Les Houches event file.

    Attributes
    ----------
    final_state
        PDG codes of the outgoing particles.
    point
        Where each parameter comes from.
    """

    final_state: list[int]
    point: dict[str, LheValue] = {}


class Process(_Model):
    """A process as its process.yaml describes it.

    Attributes
    ----------
    name
        The name of its folder.
    description
        One line for people.
    hard_process
        The Pythia settings that switch the hard process on, or the name of one that this package
        adds (`generation.pythia.HARD_PROCESSES`). Left out when events come from MadGraph.
    calculated_widths
        Higgs bosons whose widths Pythia calculates from their couplings; those of the others are
        what `settings` and `decays` or Pythia's particle data say.
    point
        How each parameter is drawn, once per batch and in this order.
    settings
        Further Pythia settings; `$name` stands for a parameter.
    decays
        Decay tables by PDG code; they replace Pythia's.
    lhe
        What events of MadGraph look like; None where Pythia alone makes the process.
    """

    name: str
    description: str
    hard_process: Literal["gg2XX"] | list[str]
    calculated_widths: list[int] = []
    point: dict[str, Range | Geometric | Fraction | Choice] = {}
    settings: list[str] = []
    decays: dict[int, list[Channel]] = {}
    lhe: LheInterface | None = None

    @model_validator(mode="after")
    def _fractions_add_up(self) -> "Process":
        for pdg, channels in self.decays.items():
            total = sum(channel.fraction for channel in channels)
            if abs(total - 1) > FRACTION_TOLERANCE:
                raise ValueError(f"the branching fractions of {pdg} add up to {total:g}, not 1")
        return self

    @model_validator(mode="after")
    def _parameters_are_drawn(self) -> "Process":
        drawn: set[str] = set()
        numbers: set[str] = set()
        for name, distribution in self.point.items():
            if isinstance(distribution, Choice):
                for values in distribution.choice:
                    drawn.update(values)
                    numbers.update(key for key, v in values.items() if isinstance(v, float))
                continue
            if isinstance(distribution, Fraction) and distribution.fraction_of not in numbers:
                raise ValueError(
                    f"point.{name} is a fraction of {distribution.fraction_of!r}, which is no "
                    "number drawn before it"
                )
            drawn.add(name)
            numbers.add(name)
        for line in self.settings:
            template = Template(line)
            if not template.is_valid():
                raise ValueError(f"settings: the $ of {line!r} is not followed by a name")
            for name in template.get_identifiers():
                if name not in drawn:
                    raise ValueError(f"settings: {line!r} uses ${name}, which point does not draw")
        return self

    def draw_point(self, rng: "np.random.Generator") -> Point:
        """Draw a parameter point: the values by name, in GeV where they are masses or momenta."""
        drawn: dict[str, float | int | str] = {}
        for name, distribution in self.point.items():
            if isinstance(distribution, Choice):
                drawn.update(distribution.choice[int(rng.integers(len(distribution.choice)))])
            else:
                drawn[name] = distribution.draw(rng, drawn)
        return drawn

    def pythia_settings(self, point: Point) -> list[str]:
        """Return the Pythia settings at a parameter point, without the hard process."""
        lines = [*_common_settings(), *self.settings]
        lines = [Template(line).substitute(point) for line in lines]
        for pdg, channels in self.decays.items():
            lines.append(f"{pdg}:doForceWidth = on")
            command = "oneChannel"
            for channel in channels:
                products = " ".join(map(str, channel.products))
                lines.append(
                    f"{pdg}:{command} = 1 {channel.fraction} {TABLE_MATRIX_ELEMENT} {products}"
                )
                command = "addChannel"
        return lines


def process_names() -> list[str]:
    """Return the names of all processes."""
    return sorted(path.parent.name for path in FOLDER.glob("*/process.yaml"))


def process_files(name: str) -> list[Path]:
    """Return the files that shape the events of a process: its own and the common settings.

    Raises
    ------
    UserError
        When there is no such process.
    """
    folder = _folder(name)
    return [FOLDER / "common.yaml", folder / "process.yaml", *sorted(folder.glob("madgraph_*.dat"))]


def beam_energy() -> float:
    """Return the energy of either beam in GeV, half of what the common settings give both."""
    values = [line.split("=")[1] for line in _common_settings() if line.startswith("Beams:eCM")]
    return float(values[-1]) / 2


def load_process(name: str) -> Process:
    """Read the process.yaml of a process.

    Raises
    ------
    UserError
        When there is no such process, or when its file has a wrong key or value.
    """
    path = _folder(name) / "process.yaml"
    try:
        return Process(name=name, **yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError, TypeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {_first_problem(error)}") from None


def _folder(name: str) -> Path:
    if name not in process_names():
        raise UserError(f"there is no process {name!r}; known are {', '.join(process_names())}")
    return FOLDER / name


def _first_problem(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"not a process description ({error})"
    # Of several models that were tried, the one that fits but for its values.
    problems = error.errors()
    problem = next((p for p in problems if p["type"] == "value_error"), problems[0])
    # Pydantic names the validator too.
    place = ".".join(str(part) for part in problem["loc"] if "(" not in str(part))
    reason = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {reason}" if place else reason


@cache
def _common_settings() -> list[str]:
    text = (FOLDER / "common.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["settings"]
